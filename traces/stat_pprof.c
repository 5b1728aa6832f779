// stat_pprof.c: a census as a profile for `go tool pprof` (third_party/pprof/profile.proto), by protobuf-c and zlib.
//
// A sample is a group: the objects of one type in one span class. Its frames: the type (if it is known), then the class. The values are
// those of Go's heap profile, in its order; in use means at the peak. Sums over all samples == taken, taken_bytes, used, used_bytes.
#include "traces/stat.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if GOMEM_PPROF
#include <zlib.h>

#include "profile.pb-c.h"
#include "traces/output.h"

enum { VALUES = 4 };

typedef struct sample {
	Perftools__Profiles__Sample sample;
	uint64_t locations[2];
	int64_t values[VALUES];
} sample;

typedef struct frame {
	Perftools__Profiles__Location location;
	Perftools__Profiles__Function function;
	Perftools__Profiles__Line line, *lines;
} frame;

// All that the profile points into. Frames: one for each class, then one for each type.
typedef struct builder {
	Perftools__Profiles__Profile profile;
	Perftools__Profiles__ValueType types[VALUES], *typeList[VALUES];
	sample *samples;
	Perftools__Profiles__Sample **sampleList;
	frame *frames;
	Perftools__Profiles__Location **locationList;
	Perftools__Profiles__Function **functionList;
	char **strings;
	char (*classNames)[48];
	int64_t comment;
} builder;

static const char *const valueNames[] = {"", "alloc_objects", "count", "alloc_space", "bytes", "inuse_objects",
	"inuse_space", "gomem: objects by type and size class; inuse is at the peak of the heap"};
enum { FIXED_STRINGS = sizeof(valueNames) / sizeof(valueNames[0]) };

static bool builder_make(builder *b, const census_source *s) {
	size_t frames = CENSUS_HEAP + s->ntypes + 1U, groups = s->census->ngroups + 1U;
	b->samples = calloc(groups, sizeof(*b->samples));
	b->sampleList = calloc(groups, sizeof(*b->sampleList));
	b->frames = calloc(frames, sizeof(*b->frames));
	b->locationList = calloc(frames, sizeof(*b->locationList));
	b->functionList = calloc(frames, sizeof(*b->functionList));
	b->strings = calloc(FIXED_STRINGS + frames, sizeof(*b->strings));
	b->classNames = calloc(CENSUS_HEAP, sizeof(*b->classNames));
	return b->samples != NULL && b->sampleList != NULL && b->frames != NULL && b->locationList != NULL &&
		b->functionList != NULL && b->strings != NULL && b->classNames != NULL;
}

static void builder_free(builder *b) {
	free(b->samples), free(b->sampleList), free(b->frames), free(b->locationList), free(b->functionList);
	free(b->strings), free(b->classNames);
}

static void add_values(builder *b) {
	static const int names[VALUES] = {1, 3, 5, 6}, units[VALUES] = {2, 4, 2, 4};
	for (int i = 0; i < VALUES; i++) {
		perftools__profiles__value_type__init(&b->types[i]);
		b->types[i].type = names[i];
		b->types[i].unit = units[i];
		b->typeList[i] = &b->types[i];
	}
	b->profile.n_sample_type = VALUES;
	b->profile.sample_type = b->typeList;
	b->comment = FIXED_STRINGS - 1;
	b->profile.n_comment = 1;
	b->profile.comment = &b->comment;
	b->profile.default_sample_type = 6;
}

// add_frames makes a function and a location of each name; both have the id 1 + index, and string FIXED_STRINGS + index.
static void add_frames(builder *b, const census_source *s) {
	size_t n = CENSUS_HEAP + s->ntypes + 1U;
	for (size_t i = 0; i < FIXED_STRINGS; i++) {
		b->strings[i] = (char *)(uintptr_t)valueNames[i];
	}
	for (size_t i = 0; i < n; i++) {
		frame *f = &b->frames[i];
		perftools__profiles__location__init(&f->location);
		perftools__profiles__function__init(&f->function);
		perftools__profiles__line__init(&f->line);
		bool class = i < CENSUS_HEAP;
		const char *type = class || i == CENSUS_HEAP ? "(no type)" : s->types[i - CENSUS_HEAP].name;
		if (class) {
			(void)stat_class((unsigned)i, b->classNames[i]);
		}
		b->strings[FIXED_STRINGS + i] = class ? b->classNames[i] : (char *)(uintptr_t)type;
		f->function.id = f->location.id = f->line.function_id = i + 1;
		f->function.name = f->function.system_name = (int64_t)(FIXED_STRINGS + i);
		f->lines = &f->line;
		f->location.n_line = 1;
		f->location.line = &f->lines;
		b->locationList[i] = &f->location;
		b->functionList[i] = &f->function;
	}
	b->profile.n_location = b->profile.n_function = n;
	b->profile.location = b->locationList;
	b->profile.function = b->functionList;
	b->profile.n_string_table = FIXED_STRINGS + n;
	b->profile.string_table = b->strings;
}

static void add_samples(builder *b, const census_source *s) {
	const census *c = s->census;
	for (uint32_t g = 0; g < c->ngroups; g++) {
		const census_group *ever = c->groups[g], none = {0};
		const census_group *peak = g < c->peak.ngroups ? &c->peak.groups[g] : &none;
		sample *one = &b->samples[g];
		perftools__profiles__sample__init(&one->sample);
		const int64_t values[VALUES] = {
			(int64_t)ever->taken, (int64_t)ever->taken_bytes, (int64_t)peak->used, (int64_t)peak->used_bytes};
		memcpy(one->values, values, sizeof(values));
		size_t n = 0;
		if (s->trace) {
			one->locations[n++] = CENSUS_HEAP + (ever->type <= s->ntypes ? ever->type : 0) + 1U;
		}
		one->locations[n++] = ever->class + 1U;
		one->sample.n_location_id = n;
		one->sample.location_id = one->locations;
		one->sample.n_value = VALUES;
		one->sample.value = one->values;
		b->sampleList[g] = &one->sample;
	}
	b->profile.n_sample = c->ngroups;
	b->profile.sample = b->sampleList;
}

static bool write_gzip(const char *path, const char *input, const uint8_t *p, size_t n, gmt_error *err) {
	output o;
	if (!output_open(&o, path, input, err)) {
		return false;
	}
	const int fd = fcntl(fileno(o.f), F_DUPFD_CLOEXEC, 0); // gzclose closes it
	gzFile out = fd < 0 ? NULL : gzdopen(fd, "wb");
	bool good = out != NULL;
	for (size_t done = 0; good && done < n;) {
		unsigned part = n - done > 1 << 20 ? 1 << 20 : (unsigned)(n - done);
		good = gzwrite(out, p + done, part) == (int)part;
		done += part;
	}
	if (out != NULL) {
		good = gzclose(out) == Z_OK && good;
	} else if (fd >= 0) {
		(void)close(fd);
	}
	return output_close(&o, good, err);
}

static bool write_profile(const char *path, const char *input, const builder *b, gmt_error *err) {
	size_t n = perftools__profiles__profile__get_packed_size(&b->profile);
	uint8_t *packed = malloc(n + 1);
	if (packed == NULL) {
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		return false;
	}
	(void)perftools__profiles__profile__pack(&b->profile, packed);
	bool good = write_gzip(path, input, packed, n, err);
	free(packed);
	return good;
}

bool stat_pprof(const char *path, const char *input, const census_source *s, gmt_error *err) {
	builder b = {.samples = NULL};
	perftools__profiles__profile__init(&b.profile);
	if (!builder_make(&b, s)) {
		builder_free(&b);
		(void)snprintf(err->text, sizeof(err->text), "out of memory");
		return false;
	}
	add_values(&b);
	add_frames(&b, s);
	add_samples(&b, s);
	if (s->trace) {
		b.profile.duration_nanos = (int64_t)s->plan.end;
	}
	bool good = write_profile(path, input, &b, err);
	builder_free(&b);
	return good;
}

#else

bool stat_pprof(const char *path, const char *input, const census_source *s, gmt_error *err) {
	(void)s;
	(void)input;
	(void)snprintf(err->text, sizeof(err->text), "cannot write %.300s: this gomem was built without protobuf-c", path);
	return false;
}

#endif
