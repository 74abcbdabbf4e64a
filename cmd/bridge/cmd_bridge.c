/*
 * `bridge`: reads what it is asked for, brings listeners and command together, and ends.
 *
 *     listeners first --> variables --> the command --> its end --> what it sent goes out -->
 * status
 */
#include "cmd/bridge/cmd_bridge.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/bridge/child.h"
#include "cmd/bridge/ev.h"
#include "cmd/bridge/lo.h"
#include "cmd/bridge/options.h"
#include "cmd/bridge/signals.h"

enum { DRAIN_MS = 2000, ORPHANED_MS = 3000 };

struct session {
	const struct bridge_args *args;
	struct ev *ev;
	struct bridge *bridge;
	struct signals signals;
	struct ev_watch signal_watch;
	struct child child;
	struct ev_timer kill; /* of a command that outlives our parent */
	bool draining;
};

/* ---- signals, and the command's end ---- */

static void on_drained(void *arg)
{
	struct session *s = arg;

	ev_stop(s->ev);
}

static void on_child_ended(struct session *s)
{
	ev_disarm(s->ev, &s->kill);
	s->draining = true;
	bridge_drain(s->bridge, DRAIN_MS, on_drained, s);
}

static void on_kill(void *arg)
{
	struct session *s = arg;

	child_signal(&s->child, SIGKILL);
}

static void on_parent_died(struct session *s)
{
	log_debug("bridge", "the parent process has ended");
	if (!s->child.pid) {
		ev_stop(s->ev);
		return;
	}
	child_signal(&s->child, SIGTERM);
	child_signal(&s->child, SIGCONT);
	ev_arm(s->ev, &s->kill, ORPHANED_MS, on_kill, s);
}

static void on_signal(struct session *s, const struct signal_seen *seen)
{
	if (seen->number == SIGCHLD) {
		if (s->child.pid && child_ended(&s->child))
			on_child_ended(s);
	} else if (seen->number == SIGNALS_PARENT_DIED) {
		on_parent_died(s);
	} else if (s->child.pid) {
		if (!seen->from_terminal)
			child_signal(&s->child, seen->number);
	} else if (seen->number == SIGTERM || seen->number == SIGINT || seen->number == SIGHUP ||
		   seen->number == SIGQUIT) {
		ev_stop(s->ev);
	}
}

static void on_signals(void *arg, unsigned what)
{
	struct session *s = arg;
	struct signal_seen seen;

	(void)what;
	while (signals_next(&s->signals, &seen))
		on_signal(s, &seen);
}

/* ---- the command's variables ---- */

/* The first TCP listener; a Unix one if there is no other. */
static const struct addr *listener_for_env(const struct session *s)
{
	for (size_t i = 0; i < s->args->bridge.listen_count; i++)
		if (bridge_address(s->bridge, i)->ss.ss_family != AF_UNIX)
			return bridge_address(s->bridge, i);
	return bridge_address(s->bridge, 0);
}

/* "0.0.0.0" and "::" are no places to connect to. */
static void host_of(const struct addr *a, char host[static ADDR_TEXT])
{
	addr_format_host(a, host);
	if (addr_not_one_host(a))
		(void)str_fmt(host, ADDR_TEXT, "%s",
			      a->ss.ss_family == AF_INET6 ? "::1" : "127.0.0.1");
}

static int set_variables(const struct session *s, struct err *e)
{
	const struct addr *a = listener_for_env(s);
	char host[ADDR_TEXT], program[PROXY_VAR_PROGRAM];
	struct proxy_vars_opts o = s->args->vars;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	o.host = host;
	o.port = addr_port(a);
	if (n > 0 && n < (ssize_t)sizeof(program) - 1) {
		program[n] = '\0';
		o.program = program;
	}
	if (a->ss.ss_family == AF_UNIX) {
		addr_format(a, host);
		o.unix_path = host + strlen("unix:");
		o.host = NULL;
	} else {
		host_of(a, host);
	}
	return proxy_vars_export(&o, e);
}

/* ---- from the beginning to the end ---- */

static bool listens_on_loopback(const struct bridge_opts *o)
{
	for (size_t i = 0; i < o->listen_count; i++)
		if (o->listen[i].ss.ss_family != AF_UNIX && addr_is_loopback(&o->listen[i]))
			return true;
	return false;
}

static int open_session(struct session *s, const struct rlimit *files, struct err *e)
{
	const struct bridge_args *a = s->args;
	bool command = a->command != NULL;

	if (listens_on_loopback(&a->bridge) && lo_up(e) != 0)
		return -1;
	if (ev_new(&s->ev, e) != 0 ||
	    signals_open(&s->signals, command, a->die_with_parent, e) != 0 ||
	    ev_watch(s->ev, &s->signal_watch, s->signals.fd, EV_READ, on_signals, s, e) != 0 ||
	    bridge_new(&s->bridge, s->ev, &a->bridge, e) != 0)
		return -1;
	if (a->env && set_variables(s, e) != 0)
		return -1;
	return command ? child_start(&s->child, a->command, &s->signals, files, e) : 0;
}

static int failed(const struct err *e, int status)
{
	fprintf(stderr, "awsocks: bridge: %s\n", e->msg);
	return status ? status : err_exit_status(e->code);
}

static int run(const struct bridge_args *a, const struct rlimit *files)
{
	struct session s = { .args = a, .signals.fd = -1 };
	struct err e = { 0 };
	int status = 0;

	if (open_session(&s, files, &e) != 0 || ev_run(s.ev, &e) != 0)
		status = failed(&e, s.child.status);
	else
		status = s.child.status;
	bridge_free(s.bridge);
	if (s.signals.fd >= 0)
		close(s.signals.fd);
	ev_free(s.ev);
	return status;
}

/* All that the system allows; the command gets what there was before. */
static void raise_limit(struct rlimit *before, struct rlimit *now)
{
	if (getrlimit(RLIMIT_NOFILE, before) != 0)
		*before = (struct rlimit){ 256, 256 };
	*now = *before;
	now->rlim_cur = now->rlim_max;
	if (setrlimit(RLIMIT_NOFILE, now) != 0)
		*now = *before;
}

int cmd_bridge(int argc, char **argv)
{
	struct rlimit before, now;
	struct bridge_args a;
	struct err e;
	const char *level;

	raise_limit(&before, &now);
	if (bridge_args_parse(&a, argc, argv, now.rlim_cur, &e) != 0)
		return failed(&e, 0);
	if (a.help)
		return printf("usage: awsocks bridge %s\n\n%s", bridge_args_usage,
			      bridge_args_help) < 0;
	level = a.log_level ? a.log_level : a.command ? "warn" : "info";
	if (log_set_level(level, &e) != 0)
		return failed(&e, 0);
	return run(&a, &before);
}
