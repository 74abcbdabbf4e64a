#ifndef CMD_BRIDGE_CMD_BRIDGE_H
#define CMD_BRIDGE_CMD_BRIDGE_H
/* The subcommands that awsocks and the static awsocks-bridge have in common: argv[0] is the
 * command's name, the result an exit status. */

int cmd_bridge(int argc, char **argv);
/* Opens what is closed of the descriptors 0, 1 and 2, so that no socket gets their number. Works
 * where there is no /dev too. */
void standard_descriptors_fill(void);
#endif
