#ifndef CMD_AWSOCKS_SELF_H
#define CMD_AWSOCKS_SELF_H
#include <stdbool.h>
#include <stddef.h>

/* The absolute path of the running program; false: the system does not say. */
bool self_path(char *out, size_t size);
#endif
