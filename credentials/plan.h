#ifndef CREDENTIALS_PLAN_H
#define CREDENTIALS_PLAN_H
/*
 * Which source of credentials a configuration means: the chain of the AWS CLI
 * v2, decided from the files and the environment alone, nobody asked. Pure,
 * so that its order can be tested as a table; chain.c carries it out.
 */
#include <stdbool.h>

#include "base/err.h"

struct aws_files;
struct creds;

enum plan_step {
	PLAN_STATIC = 0,
	PLAN_PROCESS,
	PLAN_ROLE,
	PLAN_WEB_IDENTITY,
	PLAN_CONTAINER,
	PLAN_INSTANCE,
	PLAN_SSO,
	PLAN_LOGIN
};

struct plan {
	enum plan_step step;
	char *profile;
	struct creds *creds;                         /* PLAN_STATIC */
	char *command;                               /* PLAN_PROCESS */
	char *role_arn, *external_id, *session_name; /* PLAN_ROLE; the last two may be NULL */
	char *mfa_serial;                            /* PLAN_ROLE; NULL: none is asked for */
	unsigned duration_s;                         /* 0: not given */
	/* PLAN_WEB_IDENTITY, with role_arn and session_name. */
	char *token_file;
	bool from_environment;
	/* PLAN_INSTANCE as the last step: that all the others have nothing; else NULL. */
	char *otherwise;
	struct plan *source;
};

struct plan_opts {
	const struct aws_files *files;
	const char *const *environ;
	const char *profile; /* as chain_opts */
	bool profile_explicit;
};
/* The first step that the configuration calls for. ERR_CREDS: none does; ERR_CONFIG: it is
 * wrong or incomplete.
 * A step that is called for and wrong ends the search, the next one is not tried. */
MUST_CHECK int plan_make(const struct plan_opts *, struct plan **out, struct err *);
void plan_free(struct plan *); /* NULL allowed */
#endif
