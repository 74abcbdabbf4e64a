#ifndef CONFIG_USERS_H
#define CONFIG_USERS_H
/*
 * Users of a listener: a list of { name: alice, hash: "..." }, in `users:` of config.yaml or in
 * a file of its own (--users), as `awsocks passwd` prints it.
 */
#include <stddef.h>

#include "base/problems.h"

enum { USERS_MAX = 4096 };

struct config_user {
	char *name, *hash; /* valid ones: base/passwd.h */
};
struct config_users {
	struct config_user *item;
	size_t count;
};

/* Adds what the list says; every problem is told. */
void users_read(struct problems *, const struct yaml *, struct config_users *);
/* A file's text, which `name` stands for in messages. On failure nothing is to be freed. */
MUST_CHECK int users_parse(const char *text, size_t n, const char *name, struct config_users *out,
			   struct err *);
void users_free(struct config_users *);
#endif
