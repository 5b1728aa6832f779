// gotrace_input.c: the bytes of a Go trace: from a file or from memory, plain, gzip or zstd.
//
//   memory       == at most two buffers and what the decompressor takes, at most 128 MB of window, whatever the file claims
//   decompressed <= GT_EXPANSION_FREE + GT_EXPANSION * what was read of the file
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#include "gomem/poison.h"
#include "traces/gotrace_wire.h"

enum { BUFFER = 1 << 17 };

int gt_compression(const uint8_t *p, size_t n) {
	if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
		return GT_GZIP;
	}
	return n >= 4 && gmt_get32(p) == ZSTD_MAGICNUMBER ? GT_ZSTD : GT_PLAIN;
}

// read_raw reads bytes of the file as they are: more than 0, 0 at the end, -1 and why. Memory is there from the beginning.
static int read_raw(gt_input *in, const char **why) {
	ssize_t got = 0;
	do {
		got = in->fd < 0 ? 0 : read(in->fd, in->buffer, BUFFER);
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		*why = strerror(errno);
		return -1;
	}
	in->ended = got == 0;
	if (got > 0) {
		in->file += (uint64_t)got;
		in->raw_at = 0;
		in->raw_n = (size_t)got;
	}
	return (int)got;
}

static int open_file(gt_input *in, const char *path, gmt_error *err) {
	struct stat st;
	in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (in->fd < 0) {
		return gmt_fail(err, path, GMT_NO_OFFSET, "cannot open: %s", strerror(errno));
	}
	if (fstat(in->fd, &st) != 0) {
		return gmt_fail(err, path, GMT_NO_OFFSET, "cannot stat: %s", strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return gmt_fail(err, path, GMT_NO_OFFSET, "not a trace: %s",
			S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file");
	}
	in->size = (uint64_t)st.st_size;
	return 0;
}

static bool open_stream(gt_input *in) {
	if (in->kind == GT_ZSTD) {
		in->stream = ZSTD_createDStream();
		return in->stream != NULL;
	}
	z_stream *z = calloc(1, sizeof(*z));
	in->stream = z;
	if (z != NULL && inflateInit2(z, 15 + 16) != Z_OK) {
		free(z);
		in->stream = NULL;
	}
	return in->stream != NULL;
}

// open_raw makes the first bytes of the file ready. false: out of memory, or they cannot be read, and why.
static bool open_raw(gt_input *in, const char **why) {
	if (in->fd < 0) {
		in->raw_n = (size_t)in->size;
		in->file = in->size;
		return true;
	}
	in->buffer = malloc(BUFFER);
	in->raw = in->buffer;
	*why = "out of memory";
	return in->buffer != NULL && read_raw(in, why) >= 0;
}

int gt_input_open(gt_input *in, const char *path, const uint8_t *mem, size_t n, gmt_error *err) {
	const char *why = NULL;
	*in = (gt_input){.fd = -1, .raw = mem, .size = n};
	if (mem == NULL && open_file(in, path, err) != 0) {
		return -1;
	}
	if (!open_raw(in, &why)) {
		return gmt_fail(err, path, GMT_NO_OFFSET, "cannot read: %s", why);
	}
	in->kind = gt_compression(in->raw, in->raw_n);
	if (in->kind == GT_PLAIN) {
		return 0;
	}
	in->out = malloc(BUFFER);
	return in->out != NULL && open_stream(in) ? 0 : gmt_fail(err, path, GMT_NO_OFFSET, "out of memory");
}

void gt_input_close(gt_input *in) {
	if (in->fd >= 0) {
		(void)close(in->fd);
	}
	if (in->stream != NULL && in->kind == GT_ZSTD) {
		(void)ZSTD_freeDStream(in->stream);
	} else if (in->stream != NULL) {
		(void)inflateEnd(in->stream);
		free(in->stream);
	}
	free(in->buffer);
	free(in->out);
}

// inflate_some decompresses from raw to out. How many bytes came out, or -1 and why.
static int inflate_some(gt_input *in, const char **why) {
	z_stream *z = in->stream;
	if (!in->middle && inflateReset(z) != Z_OK) {
		*why = "gzip cannot begin";
		return -1;
	}
	size_t most = in->raw_n - in->raw_at < BUFFER ? in->raw_n - in->raw_at : BUFFER;
	z->next_in = (Bytef *)(uintptr_t)(in->raw + in->raw_at); // zlib only reads it
	z->avail_in = (uInt)most;
	z->next_out = in->out;
	z->avail_out = BUFFER;
	int result = inflate(z, Z_NO_FLUSH);
	in->raw_at += most - z->avail_in;
	if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
		*why = z->msg != NULL ? z->msg : result == Z_MEM_ERROR ? "out of memory" : "gzip data is damaged";
		return -1;
	}
	in->middle = result != Z_STREAM_END;
	return BUFFER - (int)z->avail_out;
}

static int unzstd_some(gt_input *in, const char **why) {
	ZSTD_inBuffer from = {in->raw, in->raw_n, in->raw_at};
	ZSTD_outBuffer to = {in->out, BUFFER, 0};
	size_t result = ZSTD_decompressStream(in->stream, &to, &from);
	if (ZSTD_isError(result)) {
		*why = ZSTD_getErrorName(result);
		return -1;
	}
	in->raw_at = from.pos;
	in->middle = result != 0;
	return (int)to.pos;
}

static int more_compressed(gt_input *in, const char **why) {
	for (;;) {
		if (in->raw_at == in->raw_n && !in->ended && read_raw(in, why) < 0) {
			return -1;
		}
		if (in->raw_at == in->raw_n && !in->middle) {
			return 0;
		}
		size_t before = in->raw_at;
		int got = in->kind == GT_GZIP ? inflate_some(in, why) : unzstd_some(in, why);
		if (got > 0 && in->offset + (uint64_t)got > GT_EXPANSION_FREE + in->file * GT_EXPANSION) {
			*why = "it becomes more than 64 MiB, and more than 100 times its size: no trace does";
			return -1;
		}
		if (got > 0) {
			poison_defined((uintptr_t)in->out, (size_t)got);
			in->p = in->out;
			in->end = in->out + got;
			return 1;
		}
		if (got < 0) {
			return -1;
		}
		if (in->raw_at == before && (in->ended || in->raw_at < in->raw_n)) { // no progress
			*why = "the compressed file ends here, in the middle";
			return -1;
		}
	}
}

int gt_input_more(gt_input *in, const char **why) {
	if (in->p < in->end) {
		return 1;
	}
	if (in->kind != GT_PLAIN) {
		return more_compressed(in, why);
	}
	int got = in->raw_at < in->raw_n ? 1 : in->ended ? 0 : read_raw(in, why);
	if (got > 0) {
		in->p = in->raw + in->raw_at;
		in->end = in->raw + in->raw_n;
		in->raw_at = in->raw_n;
	}
	return got > 0 ? 1 : got;
}

int gt_input_bytes(gt_input *in, uint8_t *to, size_t n, size_t *got, const char **why) {
	*got = 0;
	while (*got < n) {
		int more = gt_input_more(in, why);
		if (more <= 0) {
			return more;
		}
		size_t k = (size_t)(in->end - in->p) < n - *got ? (size_t)(in->end - in->p) : n - *got;
		memcpy(to + *got, in->p, k);
		in->p += k;
		in->offset += k;
		*got += k;
	}
	return 0;
}
