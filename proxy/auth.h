#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H
/*
 * Who may use a listener that asks for names and passwords. One `struct auth`
 * for each loop: it has passwords checked on the thread pool, one at a time, so that
 * a flood of them costs one core and the memory of one; those that wait are bounded.
 *
 * A right password is remembered as a MAC under a key of this process, so that the next
 * connection costs nothing; at most AUTH_REMEMBERED, the oldest goes. auth_forget() forgets all.
 *
 * A name that there is none of costs the same time as a wrong password. Each peer has
 * AUTH_BURST wrong answers, one more comes back every AUTH_BACK_MS; beyond that it is refused
 * unchecked, also with a right password: what is at the same address shares that.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "proxy/limits.h"

struct auth;
struct auth_users;
struct loop;

enum { AUTH_BURST = 10, AUTH_BACK_MS = 10000, AUTH_WAITING = 64, AUTH_REMEMBERED = 256 };

/* ---- users: never change once made; from any thread ---- */

struct auth_user_opts {
	const char *name, *hash; /* base/passwd.h */
};
/* n > 0. ERR_CONFIG: a hash that is none. */
MUST_CHECK int auth_users_new(struct auth_users **, const struct auth_user_opts *, size_t n,
			      struct err *);
struct auth_users *auth_users_ref(struct auth_users *); /* NULL gives NULL */
void auth_users_unref(struct auth_users *);             /* the last one frees it; NULL allowed */
size_t auth_users_count(const struct auth_users *);
/* Is it the name of one? For logs: a wrong name may be a password in the wrong place. */
bool auth_users_has(const struct auth_users *, const char *name);

/* ---- asking ---- */

/* why NULL: right; otherwise ERR_DENIED (wrong), or why it could not be checked. From the loop. */
typedef void auth_done_fn(void *arg, const struct err *why);

struct auth_ask { /* zeroed: asks nothing */
	struct list node;
	struct auth_job *job; /* NULL: asks nothing */
	auth_done_fn *done;
	void *arg;
};
struct auth_question {
	const struct auth_users *users;
	uint8_t peer[LIMITS_KEY];    /* whose failures they are: limits_key() */
	const char *name, *password; /* copied */
	size_t name_n, password_n;
};
enum auth_answer { AUTH_NO = -1, AUTH_WAIT = 0, AUTH_YES = 1 };

struct auth *auth_new(struct loop *, struct err *);
void auth_free(struct auth *); /* after those who ask; NULL allowed */
void auth_forget(struct auth *);
/* AUTH_NO: *e says why: ERR_DENIED (wrong), ERR_LIMIT (too many wrong ones: e->passes is false;
 * too many wait: true). AUTH_WAIT: done() follows, once. */
enum auth_answer auth_check(struct auth *, const struct auth_question *, struct auth_ask *,
			    auth_done_fn *, void *arg, struct err *e);
void auth_cancel(struct auth_ask *); /* then done() never comes; allowed when it asks nothing */
#endif
