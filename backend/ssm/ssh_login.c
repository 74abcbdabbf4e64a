/*
 * From a session and a key to a master that serves us: ssh is started, its helper comes for the
 * connection, and its control socket appears when it has logged in.
 */
#include <string.h>
#include <unistd.h>

#include "backend/ssm/ssh_command.h"
#include "backend/ssm/ssh_master_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/dialer.h"
#include "net/process.h"
#include "net/tcp.h"
#include "stream/relay.h"
#include "stream/stream.h"

enum {
	LOGIN_MS = 45000, /* the key lives for 60 s */
	LOOK_MS = 15,
	ERR_KEEP = 16 * 1024
};

static void fill_login(const struct ssh_master *m, struct ssh_login *l)
{
	const struct ssh_env *env = m->env;

	*l = (struct ssh_login){
		.instance = env->session->target,
		.user = env->user                 ? env->user
			: m->auth == SSH_AUTH_OWN ? NULL
						  : SSH_USER_DEFAULT,
		.identity = m->auth == SSH_AUTH_PUSHED ? m->key
			    : m->auth == SSH_AUTH_FILE ? env->key
						       : NULL,
		.own_keys = m->auth == SSH_AUTH_OWN,
		.no_agent = m->auth == SSH_AUTH_PUSHED,
		.compression = env->compression,
		.known_hosts = env->known_hosts,
		.control = m->control,
		.helper = env->helper,
		.carrier = m->carrier,
	};
}

static void on_ssh_ended(void *arg, const struct process_result *r)
{
	struct ssh_master *m = arg;
	struct ssh_login login;
	struct err why;

	m->ssh = NULL;
	fill_login(m, &login);
	if (r->why)
		why = *r->why;
	else if (r->signal)
		(void)err_set(&why, ERR_CLOSED, "ssh was ended by signal %d", r->signal);
	else if (!ssh_complaint(r->err_text, r->err_len, &login, &why) && m->unanswered)
		why = m->why;
	log_debug("ssm", "%s: ssh's last words: %.*s", login.instance,
		  (int)(r->err_len < 1000 ? r->err_len : 1000), r->err_text);
	ssh_master_give_up(m, &why);
}

static void on_mux_ready(void *arg)
{
	struct ssh_master *m = arg;

	if (m->dying)
		return;
	timer_disarm(m->loop, &m->limit);
	ssh_master_remove_key(m);
	m->ready = true;
	log_info("ssm", "%s: logged in by SSH over session %s", m->env->session->target,
		 ssh_master_session(m));
	m->handler->ready(m->arg);
}

static void on_mux_changed(void *arg)
{
	struct ssh_master *m = arg;

	if (!m->over)
		m->handler->changed(m->arg);
}

static void on_mux_ended(void *arg, const struct err *why)
{
	ssh_master_await_words(arg, why);
}

static void on_mux_freed(void *arg)
{
	struct ssh_master *m = arg;

	m->mux = NULL;
	ssh_master_kick(m);
}

static const struct ssh_mux_handler mux_handler = {
	.ready = on_mux_ready,
	.changed = on_mux_changed,
	.ended = on_mux_ended,
	.freed = on_mux_freed,
};

static void on_control(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct ssh_master *m = arg;
	struct ssh_mux_opts o = { .loop = m->loop };
	struct stream *link;
	struct err e;

	(void)to;
	m->dialing = NULL;
	if (fd < 0) {
		ssh_master_await_words(m, why);
		return;
	}
	link = tcp_stream_adopt(m->loop, fd, &e);
	m->mux = link ? ssh_mux_new(&o, link, &mux_handler, m, &e) : NULL;
	if (!m->mux)
		ssh_master_give_up(m, &e);
}

static int socket_address(const char *path, struct addr *at, struct err *e)
{
	char text[SSH_SUN_PATH + 8];

	(void)str_fmt(text, sizeof(text), "unix:%s", path);
	return addr_parse(text, at, e);
}

/* The control socket appears under its name when ssh has logged in and listens. */
static void on_look(void *arg)
{
	struct ssh_master *m = arg;
	struct net_dial_opts o = { .limit_ms = 5000 };
	struct addr at;
	struct err e;

	if (access(m->control, F_OK) != 0) {
		timer_arm(m->loop, &m->look, LOOK_MS, on_look, m);
		return;
	}
	if (socket_address(m->control, &at, &e) == 0)
		m->dialing = net_dial_addr(m->loop, &at, &o, on_control, m, &e);
	if (!m->dialing)
		ssh_master_give_up(m, &e);
}

static void on_login_limit(void *arg)
{
	struct err e;

	(void)err_set(&e, ERR_TIMEOUT, "no SSH login within %d s", LOGIN_MS / 1000);
	ssh_master_give_up(arg, &e);
}

static void on_relayed(void *arg, const struct relay_result *r)
{
	struct ssh_master *m = arg;
	struct err e;

	m->relay = NULL;
	if (r->why)
		e = *r->why;
	else
		(void)err_set(&e, ERR_CLOSED, "the connection to sshd ended");
	ssh_master_await_words(m, &e);
	ssh_master_kick(m);
}

static void on_carrier(void *arg, int fd, const struct addr *peer)
{
	struct ssh_master *m = arg;
	struct stream *ours, *theirs;
	struct err e;

	(void)peer;
	listen_close(m->listener);
	m->listener = NULL;
	ours = tcp_stream_adopt(m->loop, fd, &e);
	theirs = ours ? ssh_rider_stream(&m->rider, &e) : NULL;
	if (theirs)
		m->relay = relay_start(ours, theirs, NULL, 0, on_relayed, m);
	if (m->relay) {
		smux_wake(theirs); /* sshd has spoken already, perhaps */
		return;
	}
	if (theirs) {
		stream_close(theirs);
		(void)err_set(&e, ERR_NOMEM, "ssh connection");
	}
	if (ours)
		stream_close(ours);
	ssh_master_give_up(m, &e);
}

static int run_ssh(struct ssh_master *m, struct err *e)
{
	struct process_opts o = { .kind = SPAWN_SSH, .service = true, .err_max = ERR_KEEP };
	struct ssh_login login;
	struct ssh_args *args = mem_alloc(sizeof(*args));
	int r = args ? 0 : err_set(e, ERR_NOMEM, "ssh");

	fill_login(m, &login);
	if (r == 0)
		r = ssh_command(args, &login, e);
	if (r == 0) {
		o.argv = args->argv;
		m->ssh = process_start(m->loop, &o, on_ssh_ended, m, e);
	}
	mem_free(args);
	return m->ssh ? 0 : -1;
}

void ssh_master_login(struct ssh_master *m)
{
	struct addr at;
	struct err e;

	if (!m->session_up || !m->key_there || m->over)
		return;
	(void)unlink(m->control); /* of a process that had our number and was killed */
	if (socket_address(m->carrier, &at, &e) == 0)
		m->listener = listen_open(m->loop, &at, on_carrier, m, &e);
	if (!m->listener || run_ssh(m, &e) != 0) {
		ssh_master_give_up(m, &e);
		return;
	}
	timer_arm(m->loop, &m->limit, LOGIN_MS, on_login_limit, m);
	timer_arm(m->loop, &m->look, LOOK_MS, on_look, m);
}
