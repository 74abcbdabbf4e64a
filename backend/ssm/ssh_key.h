#ifndef SSM_SSH_KEY_H
#define SSM_SSH_KEY_H
/*
 * A key pair for one SSH login: Ed25519, made by OpenSSL, written in OpenSSH's own format
 * (openssh-portable, PROTOCOL.key) without a passphrase.
 */
#include "base/err.h"

enum { SSH_PUBLIC_TEXT = 128 };

/* Makes a pair, and a new file (0600) for its private half. public_text: "ssh-ed25519 AAAA...
 * awsocks". -1: *e, and there is no file. */
MUST_CHECK int ssh_key_make(const char *file, char public_text[static SSH_PUBLIC_TEXT],
			    struct err *);
void ssh_key_remove(const char *file); /* overwrites, then unlinks; nothing if there is none */
#endif
