// output.c: see output.h.
#include "traces/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(const char *path, int why, gmt_error *err) {
	(void)snprintf(err->text, sizeof(err->text), "cannot write %.300s: %s", path, strerror(why));
	return false;
}

bool output_is(const char *path, const char *input) {
	struct stat a, b;
	return stat(path, &a) == 0 && S_ISREG(a.st_mode) && stat(input, &b) == 0 && a.st_dev == b.st_dev &&
		a.st_ino == b.st_ino;
}

// usualMode: what a file gets that is made by fopen.
static mode_t usualMode(void) {
	const mode_t mask = umask(0);
	(void)umask(mask);
	return 0666 & ~mask;
}

// openBeside makes the file that will take the place of path. NULL: it is to be written itself.
static FILE *openBeside(output *o) {
	struct stat st;
	const bool there = lstat(o->path, &st) == 0;
	if ((there && (!S_ISREG(st.st_mode) || st.st_nlink != 1 || access(o->path, W_OK) != 0)) ||
		snprintf(o->temp, sizeof(o->temp), "%s.XXXXXX", o->path) >= (int)sizeof(o->temp)) {
		return NULL;
	}
	const int fd = mkostemp(o->temp, O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (f != NULL && fchmod(fd, there ? st.st_mode & 07777 : usualMode()) == 0) {
		return f;
	}
	if (f != NULL) {
		(void)fclose(f);
	} else if (fd >= 0) {
		(void)close(fd);
	}
	if (fd >= 0) {
		(void)unlink(o->temp);
	}
	return NULL;
}

bool output_open(output *o, const char *path, const char *input, gmt_error *err) {
	*o = (output){.path = path};
	if (input != NULL && output_is(path, input)) {
		(void)snprintf(err->text, sizeof(err->text), "%.300s would replace the file that is read", path);
		return false;
	}
	o->f = openBeside(o);
	if (o->f == NULL) {
		o->temp[0] = 0;
		o->f = fopen(path, "we");
	}
	return o->f != NULL || failed(path, errno, err);
}

bool output_close(output *o, bool good, gmt_error *err) {
	int why = fflush(o->f) != 0 ? errno : 0;
	if (ferror(o->f) != 0 && why == 0) {
		why = errno != 0 ? errno : EIO;
	}
	if (fclose(o->f) != 0 && why == 0) {
		why = errno;
	}
	if (why == 0 && good && (o->temp[0] == 0 || rename(o->temp, o->path) == 0)) {
		return true;
	}
	why = why != 0 ? why : errno;
	if (o->temp[0] != 0) {
		(void)unlink(o->temp);
	}
	return failed(o->path, why, err);
}
