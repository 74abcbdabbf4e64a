#ifndef CMD_AWSOCKS_CAL_HOST_H
#define CMD_AWSOCKS_CAL_HOST_H
/*
 * The host's side of one CAL VM: its listener, in listeners.d/cal-VM.yaml beside awsocks'
 * config.yaml, and its rules, in cal/VM.rules.yaml there. Both are written whole each time.
 */
#include "cmd/awsocks/cal_conf.h"

struct cal_host {
	char listen[128], name[80]; /* of the listener */
	char port[8];               /* of listen */
	bool changed;               /* another listener than before */
};
/* Chooses the address: what was given, else that of the last set-up when it still fits, else the
 * first free port from 1080 (on loopback for ssh, from 11080) that no other listener of
 * config.yaml or listeners.d has. dir: as setup_config_dir() says. */
MUST_CHECK int cal_host_write(struct cal_host *, const struct cal_conf *, const char *dir,
			      struct err *e);
/* The listener of the last set-up; found: whether there was one. */
MUST_CHECK int cal_host_find(struct cal_host *, const char *vm, const char *dir, bool *found,
			     struct err *e);
/* Removes both files. found: whether there were any. */
MUST_CHECK int cal_host_remove(const char *vm, const char *dir, bool *found, struct err *e);
/* The VMs that were set up, in order; at most `max` names. */
enum { CAL_VMS_MAX = 128 };
MUST_CHECK int cal_host_list(const char *dir, char names[][64], size_t max, size_t *count,
			     struct err *e);
#endif
