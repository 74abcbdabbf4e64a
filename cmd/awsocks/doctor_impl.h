#ifndef AWSOCKS_DOCTOR_IMPL_H
#define AWSOCKS_DOCTOR_IMPL_H
/* What the files of `awsocks doctor` share. */
#include <stdbool.h>
#include <stddef.h>

#include "cmd/awsocks/aws_side.h"
#include "ec2/instance.h"
#include "net/loop.h"

struct options;
struct session;

enum { DOCTOR_CANDIDATES = 10 };
struct doctor {
	const struct options *options;
	struct aws_side aws;
	char target[404], agent[40], account[200];
	struct ec2_instance instance;
	size_t count; /* of matching instances */
	struct ec2_instance candidate[DOCTOR_CANDIDATES];
	bool session_was_begun, session_was_active;
	struct session *session;
	struct loop_post end; /* of the session, whose target is not connected */
	struct loop_timer end_limit;
	bool interrupted;
	struct err held; /* ... as AWS says it */
	int status;      /* to exit with */
};

/* A line for people. */
void doctor_good(const char *link, const char *text);
/* The last lines: what is wrong and what mends it; returns -1. */
int doctor_broken(struct doctor *, const char *link, const struct err *why, const char *cure);
bool doctor_denied(const char *code); /* AWS's, for what a policy does not allow */
extern const char doctor_agent_cure[];

/* An answer of AWS's that is no answer, or none at all: which link that is of. */
int doctor_no_answer(struct doctor *, const char *link, const char *variable);

/* Links of the chain, in this order. -1: doctor_broken() was called, or the rest cannot be
 * tried. */
int doctor_instance(struct doctor *);
int doctor_power(struct doctor *); /* may we start and stop it, where that is asked for? */
int doctor_agent(struct doctor *);
int doctor_session(struct doctor *);
#endif
