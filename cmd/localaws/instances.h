#ifndef LOCALAWS_INSTANCES_H
#define LOCALAWS_INSTANCES_H
/* The account's instances: a fixed table made from `--instance`. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { INSTANCE_TEXT = 128 };
enum instance_state {
	INSTANCE_PENDING = 0,
	INSTANCE_RUNNING,
	INSTANCE_SHUTTING_DOWN,
	INSTANCE_TERMINATED,
	INSTANCE_STOPPING,
	INSTANCE_STOPPED,
	INSTANCE_STATE_COUNT
};
struct instance {
	char id[INSTANCE_TEXT], name[INSTANCE_TEXT], ip[INSTANCE_TEXT];
	enum instance_state state;
};
struct instances {
	struct instance *at;
	size_t count;
};
enum { INSTANCES_MAX = 5000 };

/* "id=i-…,name=…,state=running[,ip=…]"; only id is needed. */
MUST_CHECK int instances_add(struct instances *, const char *text, struct err *);
const struct instance *instances_find(const struct instances *, const char *id);
void instances_free(struct instances *);
const char *instance_state_name(enum instance_state);
int instance_state_code(enum instance_state); /* EC2's numbers */
#endif
