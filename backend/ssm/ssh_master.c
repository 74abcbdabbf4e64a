#include "backend/ssm/ssh_master_impl.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "backend/ssm/eic.h"
#include "backend/ssm/ssh_key.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/dialer.h"
#include "net/loop.h"
#include "net/process.h"
#include "net/tcp.h"
#include "stream/relay.h"
#include "stream/stream.h"

/*
 * Three things can end first: the session (its reason is the best there is, but for one that ends
 * with the connection to sshd: that may have told ssh why), ssh (it says why on standard error),
 * the control socket (then ssh is dying: its words are waited for, for a moment).
 * ssh_master_give_up() ends what is left; the memory goes when mux and relay have gone, in
 * on_post().
 */
enum {
	PUSH_MS = 20000,
	WORDS_MS = 5000,   /* a busy machine lets it wait */
	CONTROL_EXTRA = 18 /* what ssh adds while it makes the control socket */
};

/* --- the end --- */

static void on_post(void *arg)
{
	struct ssh_master *m = arg;
	const struct ssh_master_handler *handler = m->handler;
	void *handler_arg = m->arg;

	if (!m->over)
		return;
	if (!m->told && !m->silent) {
		m->told = true;
		handler->ended(handler_arg, &m->why, m->aws_code);
	}
	if (m->mux || m->relay)
		return;
	loop_unpost(&m->post);
	mem_free(m);
	handler->freed(handler_arg);
}

void ssh_master_kick(struct ssh_master *m)
{
	loop_post(m->loop, &m->post, on_post, m);
}

void ssh_master_remove_key(struct ssh_master *m)
{
	if (m->key_file)
		ssh_key_remove(m->key);
	m->key_file = false;
}

static void stop_waiting(struct ssh_master *m)
{
	eic_cancel(m->push);
	m->push = NULL;
	if (m->listener)
		listen_close(m->listener);
	m->listener = NULL;
	if (m->dialing)
		net_dial_cancel(m->dialing);
	m->dialing = NULL;
	timer_disarm(m->loop, &m->limit);
	timer_disarm(m->loop, &m->look);
	ssh_master_remove_key(m);
}

void ssh_master_give_up(struct ssh_master *m, const struct err *why)
{
	if (m->over)
		return;
	m->over = true;
	m->why = *why;
	if (!m->silent)
		log_info("ssm", "%s: ssh %s: %s", m->env->session->target,
			 m->ready ? "ended" : "failed", why->msg);
	stop_waiting(m);
	process_cancel(m->ssh);
	m->ssh = NULL;
	(void)unlink(m->control);
	if (m->mux)
		ssh_mux_close(m->mux, why);
	if (m->relay)
		relay_abort(m->relay);
	ssh_rider_leave(&m->rider);
	ssh_master_kick(m);
}

static void on_words_limit(void *arg)
{
	struct ssh_master *m = arg;
	struct err why = m->why;

	ssh_master_give_up(m, &why);
}

/* ssh is about to end, and will say why. */
void ssh_master_await_words(struct ssh_master *m, const struct err *why)
{
	if (m->over || m->dying)
		return;
	m->dying = true;
	m->why = *why;
	timer_disarm(m->loop, &m->look);
	if (m->ssh)
		timer_arm(m->loop, &m->limit, WORDS_MS, on_words_limit, m);
	else
		ssh_master_give_up(m, why);
}

/* --- the session --- */

static void on_session_active(void *arg)
{
	struct ssh_master *m = arg;

	m->session_up = true;
	ssh_master_login(m);
}

static void on_session_refused(void *arg)
{
	struct ssh_master *m = arg;
	struct err e;

	(void)err_set(&e, ERR_TARGET, "no SSH server at port %u of %s", m->env->port,
		      m->env->session->target);
	ssh_master_give_up(m, &e);
}

static void on_session_changed(void *arg)
{
	struct ssh_master *m = arg;

	if (m->ready && !m->over)
		m->handler->changed(m->arg);
}

static void on_session_ended(void *arg, const struct err *why, const char *aws_code, bool raw)
{
	struct ssh_master *m = arg;
	struct err e = *why;

	str_fmt(m->aws_code, sizeof(m->aws_code), "%s", aws_code);
	if (m->over)
		return;
	if (raw && why->code == ERR_CLOSED && m->session_up && !m->ready) {
		/* the agent dies so when its dial fails, and when sshd has refused us */
		(void)err_set(&e, ERR_TARGET,
			      "no SSH server answers at port %u of %s: the session ended (%.120s)",
			      m->env->port, m->env->session->target, why->msg);
		if (m->ssh && !m->listener) { /* it has come for the connection */
			ssh_master_await_words(m, &e);
			m->why = e; /* it may be dying already */
			m->unanswered = true;
			return;
		}
	}
	ssh_master_give_up(m, &e);
}

static const struct ssh_rider_handler rider_handler = {
	.active = on_session_active,
	.refused = on_session_refused,
	.changed = on_session_changed,
	.ended = on_session_ended,
};

/* --- the key --- */

static void on_pushed(void *arg, const struct err *why)
{
	struct ssh_master *m = arg;

	m->push = NULL;
	if (why) {
		log_info("ssm",
			 "%s: EC2 Instance Connect does not take a key (%s): trying ssh's own",
			 m->env->session->target, why->msg);
		ssh_master_remove_key(m);
		m->auth = m->env->auth = SSH_AUTH_OWN;
	}
	m->key_there = true;
	ssh_master_login(m);
}

static int push_key(struct ssh_master *m, struct err *e)
{
	char text[SSH_PUBLIC_TEXT];
	const struct ssh_env *env = m->env;
	struct eic_key k = { .endpoint = env->eic_endpoint,
			     .instance = env->session->target,
			     .user = env->user ? env->user : SSH_USER_DEFAULT,
			     .zone = env->zone[0] ? env->zone : NULL,
			     .public_text = text };

	(void)unlink(m->key);
	if (ssh_key_make(m->key, text, e) != 0)
		return -1;
	m->key_file = true;
	m->push = eic_send(env->session->api.aws, &k, PUSH_MS, on_pushed, m, e);
	return m->push ? 0 : -1;
}

/* --- the owner's words --- */

static int name_files(struct ssh_master *m, struct err *e)
{
	unsigned n = ++m->env->made;
	const char *dir = m->env->dir;

	if (str_fmt(m->control, sizeof(m->control) - CONTROL_EXTRA, "%s/%u.c", dir, n) &&
	    str_fmt(m->carrier, sizeof(m->carrier), "%s/%u.s", dir, n) &&
	    str_fmt(m->key, sizeof(m->key), "%s/%u.k", dir, n))
		return 0;
	return err_set(e, ERR_CONFIG, "the path of ssh's control socket is too long: %.120s", dir);
}

static void begin(void *arg)
{
	struct ssh_master *m = arg;
	struct err e;

	if (m->over) {
		on_post(m);
		return;
	}
	m->key_there = m->auth != SSH_AUTH_PUSHED;
	if (ssh_rider_join(m->env, &m->rider, &rider_handler, m, m->share, &e) != 0 ||
	    (!m->key_there && push_key(m, &e) != 0))
		ssh_master_give_up(m, &e);
}

struct ssh_master *ssh_master_new(struct ssh_env *env, const struct ssh_master_handler *handler,
				  void *arg, bool share, struct err *e)
{
	struct ssh_master *m = mem_alloc(sizeof(*m));

	if (!m) {
		(void)err_set(e, ERR_NOMEM, "ssh master");
		return NULL;
	}
	m->env = env;
	m->loop = env->session->loop;
	m->handler = handler;
	m->arg = arg;
	m->auth = env->auth;
	m->share = share;
	if (name_files(m, e) != 0) {
		mem_free(m);
		return NULL;
	}
	loop_post(m->loop, &m->post, begin, m);
	return m;
}

void ssh_master_end(struct ssh_master *m)
{
	struct err why;

	m->silent = true;
	(void)err_set(&why, ERR_CLOSED, "the SSH connection is being ended");
	ssh_master_give_up(m, &why);
}

struct ssh_dial *ssh_master_dial(struct ssh_master *m, const char *host, uint16_t port,
				 ssh_dialed_fn *done, void *arg, struct err *e)
{
	if (ssh_master_ready(m))
		return ssh_mux_dial(m->mux, host, port, done, arg, e);
	(void)err_set(e, ERR_CLOSED, "the SSH connection takes no dials");
	return NULL;
}

bool ssh_master_ready(const struct ssh_master *m)
{
	return m->ready && !m->over && !m->dying && m->mux && ssh_mux_ready(m->mux);
}

bool ssh_master_lost(const struct ssh_master *m)
{
	const struct session *s = ssh_rider_session(&m->rider);

	return s && session_lost(s);
}

bool ssh_master_away(const struct ssh_master *m)
{
	const struct session *s = ssh_rider_session(&m->rider);

	return s && session_away(s);
}

size_t ssh_master_streams(const struct ssh_master *m)
{
	return m->mux ? ssh_mux_streams(m->mux) : 0;
}

void ssh_master_counts(const struct ssh_master *m, uint64_t *up, uint64_t *down)
{
	*up = *down = 0;
	if (m->mux)
		ssh_mux_counts(m->mux, up, down);
}

const char *ssh_master_session(const struct ssh_master *m)
{
	const struct session *s = ssh_rider_session(&m->rider);

	return s ? session_id(s) : "";
}

void ssh_master_describe(const struct ssh_master *m, cJSON *into)
{
	const struct session *s = ssh_rider_session(&m->rider);
	uint64_t up, down;

	ssh_master_counts(m, &up, &down);
	if (s)
		session_describe(s, into);
	cJSON_AddStringToObject(into, "transport", "ssh");
	cJSON_AddBoolToObject(into, "logged_in", m->ready);
	cJSON_AddNumberToObject(into, "channels", (double)ssh_master_streams(m));
	cJSON_AddNumberToObject(into, "channels_up", (double)up);
	cJSON_AddNumberToObject(into, "channels_down", (double)down);
}
