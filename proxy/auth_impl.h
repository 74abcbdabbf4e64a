#ifndef PROXY_AUTH_IMPL_H
#define PROXY_AUTH_IMPL_H
/* Shared by auth.c, auth_users.c and auth_memory.c. */
#include "base/passwd.h"
#include "proxy/auth.h"

enum { AUTH_ID = 16, AUTH_MAC = 32, AUTH_PEERS = 256 };

/* auth_users.c */

/* Told apart from all other lists, also a later one at the same place. */
const uint8_t *auth_users_id(const struct auth_users *);
/* What to compute for that name; false: there is no such user, and the result does not count. */
bool auth_users_hash(const struct auth_users *, const char *name, size_t n, uint32_t pick,
		     struct passwd_hash *);

/* auth_memory.c: what was right, and who was wrong how often. */
struct auth_memory {
	uint8_t key[AUTH_MAC];
	uint8_t right[AUTH_REMEMBERED][AUTH_MAC];
	size_t right_count, right_next;
	struct auth_peer {
		uint8_t key[LIMITS_KEY];
		unsigned left; /* wrong answers that it still has */
		uint64_t since_ms;
	} peer[AUTH_PEERS];
	size_t peers;
};

void auth_memory_init(struct auth_memory *);
void auth_memory_wipe(struct auth_memory *); /* it forgets all, and has a new key */
/* Of users, name and password. -1: the library failed. */
MUST_CHECK int auth_memory_mac(const struct auth_memory *, const struct auth_question *,
			       uint8_t mac[static AUTH_MAC], struct err *);
/* A number that hangs on the name alone. */
uint32_t auth_memory_pick(const struct auth_memory *, const char *name, size_t n);
bool auth_memory_knows(const struct auth_memory *, const uint8_t mac[static AUTH_MAC]);
void auth_memory_learn(struct auth_memory *, const uint8_t mac[static AUTH_MAC]);
/* 0: the peer may try; otherwise how long it has to wait, in ms. */
uint64_t auth_memory_wait(struct auth_memory *, const uint8_t peer[static LIMITS_KEY],
			  uint64_t now_ms);
/* It tries; given back when it was right. */
void auth_memory_take(struct auth_memory *, const uint8_t peer[static LIMITS_KEY], uint64_t now_ms);
void auth_memory_give(struct auth_memory *, const uint8_t peer[static LIMITS_KEY]);
#endif
