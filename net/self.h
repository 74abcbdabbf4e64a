#ifndef NET_SELF_H
#define NET_SELF_H
#include <stdbool.h>
#include <stddef.h>

/* The absolute path of the running program; false: the system does not say. */
bool self_path(char *out, size_t size);
#endif
