#ifndef LOCALAWS_SSH_KEYS_H
#define LOCALAWS_SSH_KEYS_H
/*
 * Public keys that EC2 Instance Connect has been given: each lives 60 s, as on an instance, and
 * stands in the file of `--authorized-keys` so long, which an sshd may use.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "net/loop.h"

struct cJSON;
struct world;

enum { SSH_KEY_LIFE_MS = 60000, SSH_KEYS_MAX = 1000, SSH_KEY_TEXT = 4097, SSH_USER_TEXT = 33 };

struct ssh_keys {
	struct world *w;
	struct list all;
	size_t count;
	struct loop_timer expiry;
};

void ssh_keys_init(struct ssh_keys *, struct world *);
void ssh_keys_free(struct ssh_keys *);
/* Pushing the same again renews it; the oldest goes when there are too many. -1: no memory, or
 * the file cannot be written. */
int ssh_keys_push(struct ssh_keys *, const char *instance, const char *user, const char *key);
/* [{"instance","user","key","left_ms"} ...] */
struct cJSON *ssh_keys_describe(const struct ssh_keys *);
#endif
