#ifndef SSM_LIFECYCLE_H
#define SSM_LIFECYCLE_H
/*
 * Starting the instance, and stopping what we started (--auto-start, --auto-stop, --idle-stop).
 *
 *   STARTING    StartInstances if it is stopped; DescribeInstances until it runs
 *   CONNECTING  GetConnectionStatus until its agent is connected, for 3 min; StartSession may
 *               still answer TargetNotConnected for a while, and is asked again by the session
 *
 * Ours is what StartInstances found stopped: another who started it meanwhile keeps it. A call
 * that is under way when the backend ends is waited for, so that nothing is left running unseen.
 */
#include <stdbool.h>
#include <stdint.h>

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
	unsigned poll_ms;
	uint64_t begun_ms, connect_until_ms, used_ms, closed_ms;
	char progress[LIFECYCLE_TEXT]; /* for status, "" when there is none */
};

void lifecycle_init(struct ssm *, const struct ssm_opts *);
/* Has the state of an instance that is named by its id to be known? */
bool lifecycle_needs_state(const struct ssm *);
/* Not running, but it will be, by itself or by us: STARTING. */
bool lifecycle_must_wait(const struct ssm *, const struct ec2_instance *);
void lifecycle_enter_starting(void *ssm, unsigned attempt);
void lifecycle_enter_connecting(void *ssm, unsigned attempt);
/* For status, and for the log when it is new. */
void lifecycle_tell(struct ssm *, const char *id, const char *state);
void lifecycle_active(struct ssm *);    /* --idle-stop begins to count */
void lifecycle_stop_step(struct ssm *); /* polls no more; StartInstances is not taken back */
/* Stops what is ours, at most for a minute; ssm_free_if_over() is called when that is done. */
void lifecycle_close(struct ssm *);
#endif
