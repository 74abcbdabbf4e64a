#ifndef CMD_AWSOCKS_CONTROL_H
#define CMD_AWSOCKS_CONTROL_H
/*
 * The control socket: a Unix socket (0600, in a 0700 directory) on which a
 * running awsocks answers `status`, `reload`, `stop`, `mfa` and `vm`. One JSON object a
 * line in each direction: {"cmd":"status"} -> {"ok":true,"status":{...}} or
 * {"ok":false,"error":"...","exit":69}.
 */
#include "base/err.h"
#include "net/loop.h"

struct cJSON;
struct control;

struct control_ops {
	void (*status)(void *arg, struct cJSON *into);
	int (*reload)(void *arg, struct err *);
	void (*stop)(void *arg);
	int (*mfa)(void *arg, const char *code, struct err *); /* {"cmd":"mfa","value":"123456"} */
	/* {"cmd":"vm","value":"status"}, "start", "stop", "console": reply gets "vm":{...}. */
	int (*vm)(void *arg, const char *what, struct cJSON *reply, struct err *);
};

/* NULL: *e tells (ERR_LIMIT: a live awsocks has that socket already). */
struct control *control_open(struct loop *, const char *path, const struct control_ops *, void *arg,
			     struct err *);
/* Removes the socket; closed() comes from the loop. */
void control_close(struct control *, loop_fn *closed, void *arg);

/* The other side, for short-lived commands: sends one request and waits at
 * most 5 s. *reply is the caller's (cJSON_Delete). An answer with "ok":false is an error. */
MUST_CHECK int control_ask(const char *path, const char *command, struct cJSON **reply,
			   struct err *);
/* The same with a value, of letters and digits. */
MUST_CHECK int control_tell(const char *path, const char *command, const char *value,
			    struct cJSON **reply, struct err *);
#endif
