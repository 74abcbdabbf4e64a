#ifndef CMD_AGENT_AGENT_H
#define CMD_AGENT_AGENT_H
/* The agent at work: a link to the host, and what the host asks for. */
#include "base/err.h"
#include "vm/agent_conf.h"
#include "cmd/agent/say.h"

/* Until the host has gone, asks for it or breaks the protocol. fd, of transport_open(), is its own.
 * 0: the first two; -1: *e tells. */
MUST_CHECK int agent_run(const struct agent_conf *, struct say *, int fd, struct err *);
#endif
