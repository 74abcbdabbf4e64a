#ifndef CMD_AGENT_TRANSPORT_H
#define CMD_AGENT_TRANSPORT_H
#include "base/err.h"
#include "vm/agent_conf.h"

/*
 * The byte pipe to the host; blocks for 10 s at most. virtio: the port of that name, once the
 * kernel has found it. vsock: a connection to the host (CID 2), which may listen only a moment
 * after the guest has started. stdin: descriptor 0, a socket; standard input is /dev/null then.
 * Non-blocking, -1: *e tells.
 */
MUST_CHECK int transport_open(const struct agent_conf *, struct err *);
#endif
