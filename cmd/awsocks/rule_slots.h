#ifndef CMD_AWSOCKS_RULE_SLOTS_H
#define CMD_AWSOCKS_RULE_SLOTS_H
/*
 * The rules of each listener while the program runs: loaded, watched, and
 * swapped whole on reload. A bad new version is reported and the old stays.
 *
 * All worker threads read them, without a lock: what a rule set says never
 * changes, a slot's pointer to it does, at once and for everyone. Old ones
 * are freed when each of the other threads' loops has had a letter since: then nobody can
 * still be in the middle of a decision.
 */
#include "cmd/awsocks/rules.h"
#include "net/loop.h"

struct cJSON;
struct rule_slots;

/* setup is borrowed. */
MUST_CHECK int rule_slots_new(struct rule_slots **, const struct setup *, struct err *);
/* Loads the rules of one listener (see rules.h); its index is the number of those before it. */
MUST_CHECK int rule_slots_add(struct rule_slots *, const char *listener_rules, bool project,
			      bool login_hosts, struct err *);
/* Begins to watch the files; changed ones are loaded again, but one that has become empty is taken
 * for half written: only rule_slots_reload() takes it. */
void rule_slots_watch(struct rule_slots *, struct loop *);
/* The loops of the threads that read the rules besides the caller's. Borrowed, until n is 0 again
 * (before the loops are freed). */
void rule_slots_readers(struct rule_slots *, struct loop *const *loop, size_t n);
/* No file is looked at any more. */
void rule_slots_unwatch(struct rule_slots *);
/* All slots again, or none: *e tells what was wrong. */
MUST_CHECK int rule_slots_reload(struct rule_slots *, struct err *);
/* For app_listener_opts: arg from rule_slots_arg(). From any reader's thread; valid until its
 * loop's callback returns. */
const struct router *rule_slots_router(void *arg);
void *rule_slots_arg(struct rule_slots *, size_t index);
/* The files that the rules of now were read from, as strings of a JSON array; of rule_slots_arg(),
 * from the main thread. */
void rule_slots_describe(void *arg, struct cJSON *array);
/* May the rules of any listener, as they are now, choose that kind of route? */
bool rule_slots_can(const struct rule_slots *, enum route_kind);
void rule_slots_free(struct rule_slots *);
#endif
