#ifndef CMD_AWSOCKS_CAL_SCRIPT_H
#define CMD_AWSOCKS_CAL_SCRIPT_H
/* Shell text for a VM: what sets it up, in one file to be run there by sh. */
#include "base/buf.h"
#include "cmd/awsocks/cal_conf.h"
#include "cmd/awsocks/cal_host.h"

enum { CAL_SCRIPT_MAX = 4 * 1024 * 1024 };
/* bridge: the program to ship, or NULL; host_key: a public key of the host's sshd, or NULL for
 * /etc/ssh/ssh_host_*_key.pub. */
MUST_CHECK int cal_script(struct buf *, const struct cal_conf *, const struct cal_host *,
			  const char *host_key, struct err *e);
/* The lines of one of cal_text.h. */
MUST_CHECK int cal_text_add(struct buf *, const char *const *lines, struct err *e);
/* The user's name on this host: HOST_USER of the configuration, or who runs this. */
MUST_CHECK int cal_host_user(const struct cal_conf *, char out[static 64], struct err *e);
#endif
