// output.c: see output.h.
#include "traces/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

bool output_keeps(const char *path, const char *input, gmt_error *err) {
	if (input == NULL || !output_is(path, input)) {
		return true;
	}
	(void)snprintf(err->text, sizeof(err->text), "%.300s would replace the file that is read", path);
	return false;
}

// ---- what is left if the command is killed: nothing

static char unfinished[PATH_MAX]; // the one file that is being made; a handler can't be told of it otherwise
static const int killers[] = {SIGHUP, SIGINT, SIGTERM};
enum { KILLERS = sizeof(killers) / sizeof(killers[0]) };
static struct sigaction were[KILLERS];

static void killed(int sig) {
	(void)unlink(unfinished);
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static void watch(const output *o) {
	memcpy(unfinished, o->temp, sizeof(unfinished));
	for (unsigned i = 0; i < KILLERS; i++) {
		(void)sigaction(killers[i], NULL, &were[i]);
		if (were[i].sa_handler == SIG_DFL) {
			(void)signal(killers[i], killed);
		}
	}
	(void)signal(SIGXFSZ, SIG_IGN); // a write that fails tells enough
}

static void unwatch(void) {
	for (unsigned i = 0; i < KILLERS; i++) {
		(void)sigaction(killers[i], &were[i], NULL);
	}
}

// makeWatched: no signal comes between the file and who would remove it.
static int makeWatched(output *o) {
	sigset_t wait, old;
	(void)sigemptyset(&wait);
	for (unsigned i = 0; i < KILLERS; i++) {
		(void)sigaddset(&wait, killers[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &wait, &old);
	const int fd = mkostemp(o->temp, O_CLOEXEC);
	if (fd >= 0) {
		watch(o);
	}
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return fd;
}

// ----

// usualMode: what a file gets that is made by fopen.
static mode_t usualMode(void) {
	const mode_t mask = umask(0);
	(void)umask(mask);
	return 0666 & ~mask;
}

// replaceable: a file of nobody else, with one name, that may be written.
static bool replaceable(const struct stat *st, const char *path) {
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && st->st_uid == geteuid() && st->st_gid == getegid() &&
		(st->st_mode & 07000) == 0 && access(path, W_OK) == 0;
}

// openBeside makes the file that will take the place of path. NULL: path is to be written itself.
static FILE *openBeside(output *o) {
	struct stat st;
	const bool there = lstat(o->path, &st) == 0;
	if ((there && !replaceable(&st, o->path)) ||
		snprintf(o->temp, sizeof(o->temp), "%s.XXXXXX", o->path) >= (int)sizeof(o->temp)) {
		return NULL;
	}
	const int fd = makeWatched(o);
	if (fd < 0) {
		return NULL;
	}
	FILE *f = fdopen(fd, "w");
	if (f != NULL && fchmod(fd, there ? st.st_mode & 0777 : usualMode()) == 0) {
		return f;
	}
	(void)(f != NULL ? fclose(f) : close(fd));
	(void)unlink(o->temp);
	unwatch();
	return NULL;
}

bool output_open(output *o, const char *path, const char *input, gmt_error *err) {
	*o = (output){.path = path};
	if (!output_keeps(path, input, err)) {
		return false;
	}
	o->f = openBeside(o);
	if (o->f == NULL) {
		o->temp[0] = 0;
		o->f = fopen(path, "we");
	}
	return o->f != NULL || failed(path, errno, err);
}

// copyOver writes what was made to where nothing can be renamed to: a mount of one file, say.
static int copyOver(const output *o) {
	FILE *from = fopen(o->temp, "re"), *to = from == NULL ? NULL : fopen(o->path, "we");
	int why = to == NULL ? errno : 0;
	static char part[1 << 16];
	for (size_t n; why == 0 && (n = fread(part, 1, sizeof(part), from)) > 0;) {
		why = fwrite(part, 1, n, to) == n ? 0 : errno;
	}
	if (from != NULL) {
		(void)fclose(from);
	}
	if (to != NULL && fclose(to) != 0 && why == 0) {
		why = errno;
	}
	return why;
}

bool output_close(output *o, bool good, gmt_error *err) {
	int why = fflush(o->f) != 0 ? errno : 0;
	if (why == 0 && (ferror(o->f) != 0 || !good)) {
		why = errno != 0 ? errno : EIO;
	}
	if (fclose(o->f) != 0 && why == 0) {
		why = errno;
	}
	if (o->temp[0] != 0) {
		if (why == 0 && rename(o->temp, o->path) != 0) {
			why = copyOver(o);
			(void)unlink(o->temp);
		} else if (why != 0) {
			(void)unlink(o->temp);
		}
		unwatch();
	}
	return why == 0 || failed(o->path, why, err);
}
