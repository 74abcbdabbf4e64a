#ifndef CMD_BRIDGE_USER_H
#define CMD_BRIDGE_USER_H
/* Who `connect` is at a listener that asks for a name and a password (RFC 1929). Never from argv:
 * an argument list can be read by all users. */
#include <stddef.h>

#include "base/err.h"

enum { USER_PART = 255, USER_TEXT = 2 * USER_PART + 1 };

struct user {
	char text[USER_TEXT + 1]; /* "NAME:PASSWORD" */
	size_t name_n;            /* 0: nobody */
};

/* The first line of that file ("NAME:PASSWORD"; a pipe will do), else AWSOCKS_PROXY_USER, else
 * nobody. What was read is not repeated in *e. */
MUST_CHECK int user_find(struct user *, const char *file, struct err *);
void user_wipe(struct user *);
#endif
