// args.h: the options of a command that have a value: `--name value` and `--name=value` are the same.
#ifndef GOMEM_CLI_ARGS_H
#define GOMEM_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
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

#endif
