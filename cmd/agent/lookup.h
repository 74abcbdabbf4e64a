#ifndef CMD_AGENT_LOOKUP_H
#define CMD_AGENT_LOOKUP_H
#include "cmd/agent/resolver.h"

/* Blocks. Both families in turn, as RFC 8305, 4 has it; IPv6 only where a route for it is. */
void lookup(const char *name, struct resolved *);
#endif
