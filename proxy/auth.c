/*
 * The queue of one loop:
 *
 *   auth_check() -> job, queued -> work on the pool -> checked() -> done() of all who ask
 *                \-> the job of the same name and password, if there is one
 *
 * Connections that come at the same time with the same password wait for one
 * result, and are one attempt. A job whose askers have all gone is dropped from
 * the queue; one that is being computed counts.
 */
#include "proxy/auth.h"

#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "net/loop.h"
#include "proxy/auth_impl.h"

struct auth_job {
	struct list node;
	struct list asks;
	struct auth *auth; /* NULL: gone */
	struct loop_work *work;
	uint8_t mac[AUTH_MAC], peer[LIMITS_KEY];
	/* the pool's alone while it runs */
	struct passwd_hash hash;
	struct secret password;
	int result;
	struct err why;
	bool known; /* there is such a user */
	bool told;  /* those who ask are being called: whoever does so frees it */
};

struct auth {
	struct loop *loop;
	struct list jobs; /* the first one is being computed */
	size_t waiting;
	bool computing;
	struct auth_memory memory;
};

static void job_free(struct auth_job *j)
{
	secret_free(&j->password);
	mem_wipe(j->mac, sizeof(j->mac));
	mem_free(j);
}

/* ---- computing ---- */

static void compute(void *arg)
{
	struct auth_job *j = arg;

	j->result = passwd_check(&j->hash, j->password.text, j->password.len, &j->why);
}

static int wrong(struct err *e)
{
	return err_set(e, ERR_DENIED, "wrong user name or password");
}

static void next(struct auth *a);

/* Asks may be cancelled, and new ones made, by what done() does. */
static void conclude(struct auth_job *j, const struct err *why)
{
	struct list *node;

	j->told = true;
	while ((node = list_pop(&j->asks))) {
		struct auth_ask *ask = CONTAINER_OF(node, struct auth_ask, node);

		ask->job = NULL;
		ask->done(ask->arg, why);
	}
}

static void judge(struct auth_job *j)
{
	struct auth *a = j->auth;
	bool right = j->result == 1 && j->known;

	if (j->result < 0 || right)
		auth_memory_give(&a->memory, j->peer);
	if (right)
		auth_memory_learn(&a->memory, j->mac);
	else if (j->result >= 0)
		(void)wrong(&j->why);
	conclude(j, right ? NULL : &j->why);
}

static void computed(void *arg, bool cancelled)
{
	struct auth_job *j = arg;
	struct auth *a = j->auth;

	if (cancelled || !a) {
		job_free(j);
		return;
	}
	list_del(&j->node);
	a->waiting--;
	judge(j); /* what is asked meanwhile is queued */
	job_free(j);
	a->computing = false;
	next(a);
}

static int begin(struct auth_job *j, struct err *e)
{
	j->work = work_start(j->auth->loop, compute, computed, j, e);
	if (!j->work)
		return -1;
	j->auth->computing = true;
	return 0;
}

/* Out of the queue, as if it had never been asked. */
static void drop(struct auth_job *j)
{
	struct auth *a = j->auth;

	list_del(&j->node);
	a->waiting--;
	auth_memory_give(&a->memory, j->peer);
	job_free(j);
}

static void next(struct auth *a)
{
	struct err e;

	while (!a->computing && !list_empty(&a->jobs)) {
		struct auth_job *j = CONTAINER_OF(a->jobs.next, struct auth_job, node);

		if (begin(j, &e) == 0)
			return;
		a->computing = true; /* what is asked meanwhile is queued */
		conclude(j, &e);
		a->computing = false;
		drop(j);
	}
}

/* ---- asking ---- */

static struct auth_job *job_like(const struct auth *a, const uint8_t mac[static AUTH_MAC],
				 const uint8_t peer[static LIMITS_KEY])
{
	LIST_EACH (node, &a->jobs) {
		struct auth_job *j = CONTAINER_OF(node, struct auth_job, node);

		if (secret_equal(j->mac, AUTH_MAC, mac, AUTH_MAC) &&
		    memcmp(j->peer, peer, LIMITS_KEY) == 0)
			return j;
	}
	return NULL;
}

static struct auth_job *job_new(struct auth *a, const struct auth_question *q,
				const uint8_t mac[static AUTH_MAC], struct err *e)
{
	struct auth_job *j = mem_alloc(sizeof(*j));

	if (!j) {
		(void)err_set(e, ERR_NOMEM, "password");
		return NULL;
	}
	list_init(&j->asks);
	j->auth = a;
	memcpy(j->mac, mac, AUTH_MAC);
	memcpy(j->peer, q->peer, LIMITS_KEY);
	if (secret_setn(&j->password, q->password, q->password_n, e) != 0) {
		job_free(j);
		return NULL;
	}
	j->known = auth_users_hash(q->users, q->name, q->name_n,
				   auth_memory_pick(&a->memory, q->name, q->name_n), &j->hash);
	return j;
}

static int too_often(uint64_t wait_ms, struct err *e)
{
	return err_set(e, ERR_LIMIT,
		       "too many wrong passwords from this address: try again in %u s",
		       (unsigned)(wait_ms / 1000 + 1));
}

static struct auth_job *queue(struct auth *a, const struct auth_question *q,
			      const uint8_t mac[static AUTH_MAC], struct err *e)
{
	struct auth_job *j;

	if (a->waiting >= AUTH_WAITING) {
		(void)err_set(e, ERR_LIMIT, "too many passwords are being checked: try again");
		e->passes = true;
		return NULL;
	}
	j = job_new(a, q, mac, e);
	if (!j)
		return NULL;
	auth_memory_take(&a->memory, q->peer, loop_now_ms(a->loop));
	list_add_tail(&a->jobs, &j->node);
	a->waiting++;
	return j;
}

static enum auth_answer ask(struct auth *a, const struct auth_question *q,
			    const uint8_t mac[static AUTH_MAC], struct auth_ask *ask, struct err *e)
{
	struct auth_job *j = job_like(a, mac, q->peer);
	uint64_t wait_ms = j ? 0 : auth_memory_wait(&a->memory, q->peer, loop_now_ms(a->loop));

	if (wait_ms) {
		(void)too_often(wait_ms, e);
		return AUTH_NO;
	}
	if (!j && auth_memory_knows(&a->memory, mac))
		return AUTH_YES;
	if (!j)
		j = queue(a, q, mac, e);
	if (!j)
		return AUTH_NO;
	if (!a->computing && begin(j, e) != 0) {
		drop(j);
		return AUTH_NO;
	}
	ask->job = j;
	list_add_tail(&j->asks, &ask->node);
	return AUTH_WAIT;
}

enum auth_answer auth_check(struct auth *a, const struct auth_question *q, struct auth_ask *to,
			    auth_done_fn *done, void *arg, struct err *e)
{
	uint8_t mac[AUTH_MAC];
	enum auth_answer answer;

	*to = (struct auth_ask){ .done = done, .arg = arg };
	if (!q->name_n || q->name_n > PASSWD_MAX || q->password_n > PASSWD_MAX) {
		(void)wrong(e);
		return AUTH_NO;
	}
	if (auth_memory_mac(&a->memory, q, mac, e) != 0)
		return AUTH_NO;
	answer = ask(a, q, mac, to, e);
	mem_wipe(mac, sizeof(mac));
	return answer;
}

void auth_cancel(struct auth_ask *ask)
{
	struct auth_job *j = ask->job;

	if (!j)
		return;
	list_del(&ask->node);
	ask->job = NULL;
	if (list_empty(&j->asks) && !j->work && !j->told)
		drop(j);
}

/* ---- birth and end ---- */

struct auth *auth_new(struct loop *loop, struct err *e)
{
	struct auth *a = mem_alloc(sizeof(*a));

	if (!a) {
		(void)err_set(e, ERR_NOMEM, "users");
		return NULL;
	}
	a->loop = loop;
	list_init(&a->jobs);
	auth_memory_init(&a->memory);
	return a;
}

void auth_forget(struct auth *a)
{
	auth_memory_wipe(&a->memory);
}

void auth_free(struct auth *a)
{
	struct list *node;

	if (!a)
		return;
	while ((node = list_pop(&a->jobs))) {
		struct auth_job *j = CONTAINER_OF(node, struct auth_job, node);

		j->auth = NULL;
		if (j->work)
			work_cancel(j->work); /* computed() frees it */
		else
			job_free(j);
	}
	auth_memory_wipe(&a->memory);
	mem_free(a);
}
