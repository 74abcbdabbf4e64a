#ifndef CMD_AWSOCKS_CAL_H
#define CMD_AWSOCKS_CAL_H
/* `awsocks cal ...`: what its parts share. */
#include "cmd/awsocks/cal_conf.h"
#include "config/settings.h"

struct cal_ask {
	struct args args;
	const char *vm, *given[CAL_KEY_COUNT];
	const char *key, *host_key, *ssh, *environments, *control;
	bool print, safe_mode;
	char dir[PATH_TEXT]; /* of config.yaml */
};

/* Each returns 0, or -1 and *e. */
MUST_CHECK int cal_setup(const struct cal_ask *, struct err *e);
MUST_CHECK int cal_uninstall(const struct cal_ask *, struct err *e);
MUST_CHECK int cal_host_status(const struct cal_ask *, struct err *e);
MUST_CHECK int cal_host_env(const struct cal_ask *, struct err *e);
MUST_CHECK int cal_banner(const struct cal_ask *, struct err *e);
/* Is this a VM that was set up? */
bool cal_in_vm(void);
/* The in-VM functions and then `call`, by sh in place of this process; returns on failure only. */
MUST_CHECK int cal_run_shell(const char *call, struct err *e);
/* A mistake in CAL's files, on standard error. */
void cal_report(void *arg, const char *text);
#endif
