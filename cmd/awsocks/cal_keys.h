#ifndef CMD_AWSOCKS_CAL_KEYS_H
#define CMD_AWSOCKS_CAL_KEYS_H
/*
 * The line of a VM's key in the host's ~/.ssh/authorized_keys (sshd(8), AUTHORIZED_KEYS FILE
 * FORMAT): only `ssh -L` to one loopback port. permitlisten names a port below 1024, which the
 * system gives to root alone: so `-R` opens no port. (A Unix socket is another matter: no option
 * of a key forbids -R /PATH, see cal_keys_sockets_open().) The file is replaced whole or not at
 * all, its mode is kept, and no other line is touched.
 */
#include <stdbool.h>

#include "cmd/awsocks/paths.h"

/* key: a line of an id_*.pub ("ssh-ed25519 AAAA... comment"); port: what permitopen allows. */
enum { CAL_KEY_LINE = 4096 };
MUST_CHECK int cal_key_line(char out[static CAL_KEY_LINE], const char *key, const char *port,
			    const char *vm, struct err *e);
/* Adds the line, in place of other lines of that VM. changed: false when all was so already. */
MUST_CHECK int cal_keys_install(const char *line, const char *vm, bool *changed, struct err *e);
/* Lets the VM's line, if there is one (*found), lead to that port. */
MUST_CHECK int cal_keys_repin(const char *port, const char *vm, bool *found, struct err *e);
/* Does nothing in sshd_config forbid `ssh -R /PATH`, which makes a socket in this user's
 * directories? Its text alone is looked at. */
bool cal_keys_sockets_open(void);
/* May others write the home directory, ~/.ssh or authorized_keys? Then sshd takes no key from there
 * (StrictModes, sshd_config(5)). */
bool cal_keys_too_open(void);
/* Removes the lines of that VM. */
MUST_CHECK int cal_keys_remove(const char *vm, bool *changed, struct err *e);
#endif
