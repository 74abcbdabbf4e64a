#ifndef CMD_BRIDGE_LO_H
#define CMD_BRIDGE_LO_H
#include "base/err.h"

/* A new network namespace has its loopback interface down: a listener can be bound there, and
 * nobody reaches it. Brings it up where that is allowed; -1: it is down and stays so. Where there
 * is none, or nobody can tell, all is well. */
MUST_CHECK int lo_up(struct err *);
#endif
