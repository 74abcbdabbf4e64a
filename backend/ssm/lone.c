/*
 * A session for one stream: `awsocks connect i-0abc 22`. It ends when the stream's owner has closed
 * it, or with the far end.
 */
#include <string.h>

#include "backend/ssm/ssm_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

struct lone {
	struct list node;
	struct ssm *ssm;
	struct session *session; /* NULL: over */
	unsigned sessions;       /* not freed yet */
	enum api_document document;
	uint16_t port;
	struct loop_timer limit;
	struct loop_post post;
	void (*done)(void *arg, struct stream *, const char *id, const struct err *why);
	void *arg;
	struct err why;
	bool served;
};

static void release(struct lone *l)
{
	struct ssm *s = l->ssm;

	if (l->sessions || l->done)
		return;
	timer_disarm(s->loop, &l->limit);
	loop_unpost(&l->post);
	list_del(&l->node);
	mem_free(l);
	ssm_free_if_over(s);
}

static void answer(struct lone *l, struct stream *stream, const char *id, const struct err *why)
{
	void (*done)(void *, struct stream *, const char *, const struct err *) = l->done;

	timer_disarm(l->ssm->loop, &l->limit);
	l->done = NULL;
	if (done)
		done(l->arg, stream, id, why);
}

static void on_failed(void *arg)
{
	struct lone *l = arg;

	answer(l, NULL, "", &l->why);
	release(l);
}

static void fail(struct lone *l, const struct err *why)
{
	if (l->why.code == ERR_NONE) /* the first is the cause of what follows */
		l->why = *why;
	loop_post(l->ssm->loop, &l->post, on_failed, l);
}

static void on_active(void *arg)
{
	struct lone *l = arg;
	struct stream *stream;
	struct err e;

	if (!l->done) /* given up meanwhile */
		return;
	stream = session_stream(l->session, &e);
	if (!stream) {
		fail(l, &e);
		session_end(l->session);
		return;
	}
	l->served = true;
	answer(l, stream, session_id(l->session), NULL);
	smux_wake(stream); /* sshd has spoken already, perhaps */
}

static void on_decided(void *arg, struct stream *stream, enum smux_fate fate)
{
	(void)arg;
	(void)stream;
	(void)fate; /* a refused stream ends by itself */
}

static void on_acked(void *arg)
{
	(void)arg;
}

static void on_changed(void *arg)
{
	struct lone *l = arg;

	if (l->served && l->session && session_streams(l->session) == 0)
		session_end(l->session);
}

static void start(struct lone *l);

static bool try_other_document(struct lone *l)
{
	if (l->document != API_SSH || l->ssm->ssh_env.document != SSM_DOCUMENT_AUTO || !l->done ||
	    l->why.code != ERR_NONE || !session_document_refused(l->session))
		return false;
	log_info("ssm", "AWS-StartSSHSession is refused: by port forwarding then");
	l->document = API_PORT;
	start(l);
	return true;
}

static void on_ended(void *arg, const struct err *why)
{
	struct lone *l = arg;
	struct err closed;

	if (try_other_document(l))
		return;
	l->session = NULL;
	(void)err_set(&closed, ERR_CLOSED, "the session has ended");
	if (l->done)
		fail(l, why ? why : &closed);
}

static void on_freed(void *arg)
{
	struct lone *l = arg;

	l->sessions--;
	release(l);
}

static const struct session_handler handler = {
	.active = on_active,
	.decided = on_decided,
	.acked = on_acked,
	.changed = on_changed,
	.ended = on_ended,
	.freed = on_freed,
};

static void start(struct lone *l)
{
	struct session_goal goal = { l->document, "localhost", l->port };
	struct err e;

	l->session = session_new(&l->ssm->env, &goal, &handler, l, &e);
	if (l->session)
		l->sessions++;
	else
		fail(l, &e);
}

static void on_limit(void *arg)
{
	struct lone *l = arg;
	struct err e;

	if (!session_held(&l->ssm->env, &e))
		(void)err_set(&e, ERR_TIMEOUT, "no session to port %u of %s in time", l->port,
			      l->ssm->target);
	if (l->session)
		session_end(l->session);
	fail(l, &e);
}

struct lone *lone_dial(struct ssm *s, uint16_t port, unsigned limit_ms,
		       void (*done)(void *arg, struct stream *, const char *session_id,
				    const struct err *why),
		       void *arg, struct err *e)
{
	struct lone *l = mem_alloc(sizeof(*l));

	if (!l) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	l->ssm = s;
	l->port = port;
	l->done = done;
	l->arg = arg;
	l->document = s->ssh_env.document == SSM_DOCUMENT_PORT ? API_PORT : API_SSH;
	list_add_tail(&s->lones, &l->node);
	timer_arm(s->loop, &l->limit, limit_ms, on_limit, l);
	start(l);
	return l;
}

void lone_cancel(struct lone *l)
{
	l->done = NULL;
	timer_disarm(l->ssm->loop, &l->limit);
	loop_unpost(&l->post);
	if (l->session)
		session_end(l->session);
	release(l);
}

void lones_end(struct ssm *s)
{
	LIST_EACH (it, &s->lones) {
		struct lone *l = CONTAINER_OF(it, struct lone, node);

		if (l->session)
			session_end(l->session);
	}
}

void lones_drop(struct ssm *s)
{
	LIST_EACH (it, &s->lones) {
		struct lone *l = CONTAINER_OF(it, struct lone, node);

		if (l->session)
			session_drop(l->session);
	}
}
