#ifndef CMD_AWSOCKS_CAL_CONF_H
#define CMD_AWSOCKS_CAL_CONF_H
/*
 * What CAL says about one of its VMs: the `awsocks:` sections of ~/.cal/config.yaml (under
 * isolation: defaults:) and of ~/.cal/isolation/vms/NAME/vm.yaml. All else in these files is CAL's.
 * A value's sources, the strongest first: argv, environment, vm.yaml, config.yaml, built-in.
 */
#include "base/problems.h"
#include "cmd/awsocks/paths.h"

enum cal_key {
	CAL_WAY = 0, /* gateway, bridge, ssh */
	CAL_SOCKS,   /* auto, on, off */
	CAL_LISTEN,  /* HOST:PORT where awsocks listens for this VM; NULL: to be chosen */
	CAL_NAME,    /* of that listener; NULL: cal-VM */
	CAL_ADDRESS, /* who may use it: the VM's address or network; NULL: the gateway's /24 */
	CAL_SOCKS_PORT,
	CAL_HTTP_PORT, /* in the VM */
	CAL_GATEWAY,   /* the host, as the VM sees it */
	CAL_HOST_USER,
	CAL_SSH_PORT, /* of the host's sshd */
	CAL_KEY_COUNT
};
struct cal_conf {
	char vm[64];
	const char *value[CAL_KEY_COUNT]; /* borrowed: argv, environment, trees below, literals */
	const struct yaml *rules;         /* a map, or a text: a file's path; NULL: none */
	const char *rules_from;           /* the file that says so */
	struct yaml *tree[2];
	char path[2][PATH_TEXT]; /* of config.yaml and vm.yaml */
};

/* given: from argv; its members may be NULL. Every problem goes to report(), with
 * file:line:column; *e has the first. cal_conf_free() in any case. */
MUST_CHECK int cal_conf_load(struct cal_conf *, const char *vm,
			     const char *const given[CAL_KEY_COUNT], problem_fn *report, void *arg,
			     struct err *e);
void cal_conf_free(struct cal_conf *);
/* A VM's name: letters, digits, - _ . only, at most 63 of them, and none of that at its start. */
MUST_CHECK int cal_check_vm(const char *name, struct err *e);
/* Letters, digits, - _ . only, fewer than 64, no - first: nothing that a shell would see. */
MUST_CHECK int cal_check_word(const char *text, struct err *e);
/* HOST:PORT on this host's loopback. */
bool cal_is_loopback(const char *listen);
#endif
