/*
 * By port sessions or by SSH: what the user said, or with AUTO what works. Port sessions are
 * preferred: they need nothing on the instance but the agent, and no key.
 */
#include <string.h>

#include "backend/ssm/pool.h"
#include "backend/ssm/ssh_pool.h"
#include "backend/ssm/ssm_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum { SSH_PORT = 22 };

bool ssm_is_of_one_host(enum err_code code)
{
	return code == ERR_RESOLVE || code == ERR_DENIED || code == ERR_DIAL || code == ERR_NOMEM;
}

bool ssm_lost(const struct ssm *s)
{
	return s->by_ssh ? ssh_pool_lost(s->ssh) : pool_lost(s->pool);
}

bool ssm_alive(const struct ssm *s)
{
	return s->by_ssh ? ssh_pool_alive(s->ssh) : pool_alive(s->pool);
}

const char *ssm_transport_name(const struct ssm *s)
{
	return s->by_ssh ? "ssh" : "port";
}

void ssm_tell_transport(struct ssm *s)
{
	if (s->told_transport || s->transport != SSM_AUTO)
		return;
	s->told_transport = true;
	if (s->by_ssh)
		log_info("ssm", "%s: transport ssh, because port sessions do not work: %s",
			 s->base.name, s->port_why.msg);
	else
		log_info("ssm",
			 "%s: transport port: it needs nothing on the instance but the agent",
			 s->base.name);
}

/* Does it mean that port sessions to other hosts are not to be had at all? */
static bool port_is_out(const struct err *why, const char *aws_code)
{
	return why->code == ERR_UNSUPPORTED || str_starts(aws_code, "AccessDenied") ||
	       strcmp(aws_code, "InvalidDocument") == 0;
}

void ssm_name_other_way(const struct ssm *s, const char *aws_code, struct err *why)
{
	struct err was = *why;

	if (s->transport == SSM_PORT && port_is_out(why, aws_code))
		(void)err_set(why, was.code, "%.200s; --transport auto goes by SSH then", was.msg);
}

bool ssm_switch_to_ssh(struct ssm *s, const struct err *why, const char *aws_code)
{
	if (s->transport != SSM_AUTO || s->by_ssh || !port_is_out(why, aws_code))
		return false;
	s->port_why = *why;
	s->by_ssh = true;
	s->told_transport = false;
	ssm_tell_transport(s);
	return true;
}

bool ssm_dial_by_ssh(struct ssm *s, const char *host, uint16_t port)
{
	if (s->by_ssh || s->transport != SSM_AUTO)
		return s->by_ssh;
	if (!pool_is_full(s->pool, host, port) || ssh_pool_pauses(s->ssh)) {
		s->told_full = false;
		return false;
	}
	if (!s->told_full)
		log_info(
			"ssm",
			"%s: all sessions are in use by other hosts (--sessions-total): more hosts "
			"go by SSH",
			s->base.name);
	s->told_full = true;
	return true;
}

/* --- making --- */

static int copy_texts(struct ssm *s, const struct ssm_ssh_opts *o, struct err *e)
{
	const char *const text[SSH_TEXTS] = {
		[SSH_TEXT_DIR] = o->dir,       [SSH_TEXT_HOSTS] = o->known_hosts,
		[SSH_TEXT_HELPER] = o->helper, [SSH_TEXT_EIC] = o->eic_endpoint,
		[SSH_TEXT_USER] = o->user,     [SSH_TEXT_KEY] = o->key,
	};

	for (int i = 0; i < SSH_TEXTS; i++) {
		s->ssh_text[i] = mem_strdup(text[i]);
		if (text[i] && !s->ssh_text[i])
			return err_set(e, ERR_NOMEM, "ssm backend");
	}
	return 0;
}

static enum ssh_auth auth_of(const char *key)
{
	if (!key || !*key)
		return SSH_AUTH_PUSHED;
	return strcmp(key, "agent") == 0 ? SSH_AUTH_OWN : SSH_AUTH_FILE;
}

static const struct ssh_pool_handler ssh_handler;

int ssm_ssh_new(struct ssm *s, const struct ssm_opts *o, struct err *e)
{
	struct ssh_pool_opts p = { .env = &s->ssh_env,
				   .masters = o->sessions ? o->sessions : 4,
				   .idle_ms = o->session_idle_ms ? o->session_idle_ms : 300000,
				   .busy_rate = o->ssh.busy_rate };

	s->transport = o->transport;
	s->by_ssh = o->transport == SSM_SSH;
	s->ssh_env.document = o->ssh.document;
	if (o->transport == SSM_PORT || o->transport == SSM_SESSION)
		return 0;
	if (!o->ssh.dir || !o->ssh.known_hosts || !o->ssh.helper || !o->ssh.eic_endpoint)
		return err_set(e, ERR_INTERNAL, "ssm: an option of ssh is missing");
	if (copy_texts(s, &o->ssh, e) != 0)
		return -1;
	s->ssh_env = (struct ssh_env){
		.session = &s->env,
		.dir = s->ssh_text[SSH_TEXT_DIR],
		.known_hosts = s->ssh_text[SSH_TEXT_HOSTS],
		.helper = s->ssh_text[SSH_TEXT_HELPER],
		.eic_endpoint = s->ssh_text[SSH_TEXT_EIC],
		.user = s->ssh_text[SSH_TEXT_USER],
		.key = s->ssh_text[SSH_TEXT_KEY],
		.port = o->ssh.port ? o->ssh.port : SSH_PORT,
		.compression = o->ssh.compression,
		.auth = auth_of(o->ssh.key),
		.document = o->ssh.document,
	};
	s->ssh = ssh_pool_new(&p, &ssh_handler, s, e);
	return s->ssh ? 0 : -1;
}

void ssm_ssh_free(struct ssm *s)
{
	for (int i = 0; i < SSH_TEXTS; i++)
		mem_free(s->ssh_text[i]);
}

/* --- the pool's reports --- */

static void on_up(void *arg)
{
	struct ssm *s = arg;

	s->life.progress[0] = '\0';
	if (s->fsm.state == FSM_SESSION && s->by_ssh)
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

static void on_failed(void *arg, const struct err *why, const char *aws_code)
{
	struct ssm *s = arg;
	struct err e = *why;

	(void)aws_code;
	if (!s->by_ssh)
		return; /* its dials hear of it; the others go on */
	if (s->port_why.code != ERR_NONE)
		(void)err_set(&e, why->code, "%.130s; and by SSH: %.170s", s->port_why.msg,
			      why->msg);
	if (s->fsm.state == FSM_SESSION) {
		fsm_failed(&s->fsm, s->step, &e);
	} else if (ssm_takes_dials(s) && !ssh_pool_alive(s->ssh)) {
		ssm_stop_step(s);
		fsm_failed(&s->fsm, s->step, &e);
	}
}

static void on_changed(void *arg)
{
	struct ssm *s = arg;

	if (s->by_ssh)
		ssm_pool_changed(s);
}

static const struct ssh_pool_handler ssh_handler = {
	.up = on_up,
	.failed = on_failed,
	.changed = on_changed,
};
