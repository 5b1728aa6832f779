// args.h: the options of a command that have a value: `--name value` and `--name=value` are the same.
#ifndef GOMEM_CLI_ARGS_H
#define GOMEM_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

// args_takes says whether argv[*i] is the option name, and gives its value: what follows =, or the next argument, to which *i moves then.
// NULL: there is no value, or an empty one.
static inline bool args_takes(int argc, char **argv, int *i, const char *name, const char **value) {
	const size_t n = strlen(name);
	const char *a = argv[*i], *v = "";
	if (strncmp(a, name, n) != 0 || (a[n] != 0 && a[n] != '=')) {
		return false;
	}
	if (a[n] == '=') {
		v = a + n + 1;
	} else if (*i + 1 < argc) {
		v = argv[++*i];
	}
	*value = *v == 0 ? NULL : v;
	return true;
}

// args_only gives the words for an option that has no meaning for this kind of file.
static inline const char *args_only(const char *file, const char *option, bool trace, char why[512]) {
	(void)snprintf(why, 512, "%.300s: %s applies to %s only, and this is a %s", file, option,
		trace ? "recordings" : "traces of stock Go", trace ? "trace of stock Go" : "recording");
	return why;
}

#endif
