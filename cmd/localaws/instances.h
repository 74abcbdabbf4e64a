#ifndef LOCALAWS_INSTANCES_H
#define LOCALAWS_INSTANCES_H
/*
 * The accounts' instances: a table made from `--instance`, and what becomes of them. A change
 * that takes time is written down when it begins and takes effect when somebody looks.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cmd/localaws/keys.h"

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
enum { INSTANCE_TAGS = 8 };
struct instance_tag {
	char key[INSTANCE_TEXT], value[INSTANCE_TEXT];
};
struct instance {
	char id[INSTANCE_TEXT], name[INSTANCE_TEXT], ip[INSTANCE_TEXT], zone[32], launch[32];
	char account[ACCOUNT_TEXT]; /* the first one if nothing is said */
	char region[32];            /* "": in whichever is asked */
	/* Name is not among them; aws:autoscaling:groupName may be. */
	struct instance_tag tag[INSTANCE_TAGS];
	size_t tag_count;
	enum instance_state state, next; /* next: what it becomes at change_ms, if that is not 0 */
	uint64_t change_ms;
	uint64_t connect_ms; /* its agent is connected from then on */
};
struct instances {
	struct instance *at;
	size_t count;
};
enum { INSTANCES_MAX = 5000 };

#define INSTANCE_GROUP_TAG "aws:autoscaling:groupName"

/* "id=i-…,name=…,state=running[,ip=…][,zone=…][,asg=…][,launch=…][,account=…]
 * [,region=…][,tag:KEY=VALUE]"; only id is needed. */
MUST_CHECK int instances_add(struct instances *, const char *text, struct err *);
MUST_CHECK int instances_copy(struct instances *to, const struct instances *from, struct err *);
struct instance *instances_find(const struct instances *, const char *id);
void instances_free(struct instances *);
/* Makes what was due by now. connect_delay_ms: from running to connected. */
void instances_settle(struct instances *, uint64_t now_ms, uint64_t connect_delay_ms);
/* `via` now, `to` after delay_ms. */
void instance_change(struct instance *, enum instance_state via, enum instance_state to,
		     uint64_t now_ms, uint64_t delay_ms);
/* What an Auto Scaling group does when one of its own is lost: the first that lives is
 * terminated, and another like it launched. ERR_USAGE: the group has none. */
MUST_CHECK int instances_replace(struct instances *, const char *group, uint64_t now_ms,
				 uint64_t start_delay_ms, uint64_t stop_delay_ms, size_t *old,
				 size_t *fresh, struct err *);
/* "" when it has none of that key; "Name" counts. */
const char *instance_tag(const struct instance *, const char *key);
bool instance_is_connected(const struct instance *, uint64_t now_ms); /* to SSM */
const char *instance_state_name(enum instance_state);
int instance_state_code(enum instance_state); /* EC2's numbers */
#endif
