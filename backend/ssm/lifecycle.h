#ifndef SSM_LIFECYCLE_H
#define SSM_LIFECYCLE_H
/*
 * Starting the instance, and stopping what we started (--auto-start, --auto-stop, --idle-stop).
 *
 *   STARTING    StartInstances if it is stopped; DescribeInstances until it runs
 *   CONNECTING  GetConnectionStatus until its agent is connected, for 3 min; StartSession may
 *               still answer TargetNotConnected for a while, and is asked again by the session.
 *               Also at the first initialisation of one that is not connected, for --init-timeout
 *
 * Ours is what StartInstances found stopped: another who started it meanwhile keeps it. A call
 * that is under way when the backend ends is waited for, so that nothing is left running unseen;
 * for the case that we are killed there is a note (note.h), which the next one takes over.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/ssm/note.h"
#include "base/err.h"
#include "ec2/instance.h"
#include "net/loop.h"

struct ssm;
struct ssm_opts;

enum { LIFECYCLE_TEXT = 120 };

struct lifecycle {
	bool auto_start, auto_stop;
	bool ours;     /* we have started it */
	bool stopping; /* StopInstances is under way, or to be repeated */
	bool over;     /* the backend has ended, and nothing is left to be done here */
	unsigned idle_stop_ms;
	char id[64]; /* which one is ours, or to be started */
	struct ec2_power *power;
	struct loop_timer poll, idle;
	unsigned poll_ms, connect_ms;
	uint64_t begun_ms, connect_until_ms, used_ms, closed_ms;
	char *notes; /* where they are; NULL: none are made */
	struct note note;
	char progress[LIFECYCLE_TEXT]; /* for status, "" when there is none */
};

MUST_CHECK int lifecycle_init(struct ssm *, const struct ssm_opts *, struct err *);
void lifecycle_free(struct ssm *);
/* Has the state of an instance that is named by its id to be known? */
bool lifecycle_needs_state(const struct ssm *);
/* Not running, but it will be, by itself or by us: STARTING. */
bool lifecycle_must_wait(const struct ssm *, const struct ec2_instance *);
void lifecycle_enter_starting(void *ssm, unsigned attempt);
void lifecycle_enter_connecting(void *ssm, unsigned attempt);
/* Not connected, and the first initialisation may still take a while: true, and CONNECTING. */
bool lifecycle_waits_for_agent(struct ssm *);
/* For status, and for the log when it is new. */
void lifecycle_tell(struct ssm *, const char *id, const char *state);
void lifecycle_active(struct ssm *);    /* --idle-stop begins to count */
void lifecycle_stop_step(struct ssm *); /* polls no more; StartInstances is not taken back */
/* lifecycle_note.c: what is ours is written down; what was another's that was killed is ours. */
void lifecycle_note(struct ssm *);
void lifecycle_adopt(struct ssm *, const struct ec2_instance *);
bool lifecycle_has_note(const struct ssm *, const char *id); /* one that was left */
/* Stops what is ours, at most for a minute; ssm_free_if_over() is called when that is done. */
void lifecycle_close(struct ssm *);
#endif
