#ifndef CMD_BRIDGE_ALONE_H
#define CMD_BRIDGE_ALONE_H
/* What only the static program needs: awsocks has these commands with more ways to find a
 * listener. argv[0] is the command's name. 0, or -1 with *e. */
#include "base/err.h"

MUST_CHECK int alone_connect(int argc, char **argv, struct err *);
MUST_CHECK int alone_env(int argc, char **argv, struct err *);
#endif
