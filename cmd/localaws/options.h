#ifndef LOCALAWS_OPTIONS_H
#define LOCALAWS_OPTIONS_H
/*
 * The command line. Everything is checked here, so that what comes later may
 * rely on it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cmd/localaws/faults.h"
#include "cmd/localaws/instances.h"
#include "cmd/localaws/names.h"
#include "net/addr.h"

enum { ACCOUNTS_MAX = 16 };
enum throttle_kind { THROTTLE_NONE = 0, THROTTLE_AGENT, THROTTLE_RATE };

struct options {
	struct addr listen;
	const char *ready_file; /* argv's; NULL: none */
	const char
		*authorized_keys; /* where pushed SSH keys stand while they live; NULL: nowhere */
	const char *state_dir; /* for the CA; NULL: beside the ready file, or a new one in /tmp */
	const char *region, *agent_version, *access_key_id, *secret_access_key;
	const char *mfa_serial, *mfa_code; /* asked for at AssumeRole by a user; NULL: not asked */
	char mfa_text[300];
	char account[ACCOUNTS_MAX][ACCOUNT_TEXT]; /* besides the first one; each gets a key */
	size_t accounts;
	const char *container_token; /* what the EKS endpoint wants for Authorization */
	bool tls, print_env, require_signed_ws, resolve_system, allow_dial, help, version;
	enum throttle_kind throttle;
	uint64_t throttle_rate; /* bytes per second */
	size_t page_size;       /* EC2 and SSM pages, 0: as the request says */
	uint64_t idle_ms;       /* a session without client input ends after it */
	struct faults faults;
	struct instances instances;
	struct names names;
};

/* 0: out is the caller's, to be freed by options_free(). */
MUST_CHECK int options_parse(int argc, char **argv, struct options *out, struct err *);
void options_free(struct options *);
void options_help(void); /* to stdout */
#endif
