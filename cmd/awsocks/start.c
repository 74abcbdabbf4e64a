/*
 * `awsocks [start] [PROFILE...]`: from settings to a running proxy.
 *
 *   settings -> the fence -> rules -> (with --no-lazy: AWS) -> listeners -> ready -> the loop
 *
 * Everything that can be wrong with files and options is found before the
 * first listener opens; the exit status says which kind it was (sysexits.h).
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/background.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/confine.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/learning.h"
#include "cmd/awsocks/notify.h"
#include "cmd/awsocks/open_listeners.h"
#include "cmd/awsocks/rule_slots.h"
#include "cmd/awsocks/run_files.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/target_query.h"
#include "cmd/awsocks/terminal.h"
#include "cmd/awsocks/vm_setup.h"
#include "net/activation.h"

enum { SIGNALS = 3, DESCRIPTORS = 65536 };

struct run {
	struct setup setup;
	struct rule_slots *rules;
	struct app *app;
	struct learning *learning; /* NULL: no --learn */
	struct activation given;
	struct notify notify;
	struct vm_setup vm;
	struct confine confine;
	struct background background;
	struct terminal *terminal; /* NULL: none */
	struct control *control;
	char control_path[PATH_TEXT];
	struct loop_signal *signal[SIGNALS];
	bool ready, stopping;
	bool wrote_pid, wrote_ready;
	/* --no-lazy: what the first try said. */
	size_t starting;
	struct err start_err;
};

static const struct options *options_of(const struct run *r)
{
	return &r->setup.profile[0].options;
}

/* --- stopping and reloading ---------------------------------------------- */

static void on_control_closed(void *arg)
{
	struct run *r = arg;

	app_stop(r->app, (unsigned)options_of(r)->grace);
}

static void stop(void *arg)
{
	struct run *r = arg;

	if (r->stopping)
		return;
	r->stopping = true;
	terminal_leave(r->terminal); /* the next signal may be the end */
	rule_slots_unwatch(r->rules);
	if (r->learning)
		learning_stop(r->learning);
	notify_stopping(&r->notify);
	if (r->ready) /* otherwise the reason has been told, and that is enough */
		log_info("start", "stopping");
	if (!r->control) {
		on_control_closed(r);
		return;
	}
	control_close(r->control, on_control_closed, r);
	r->control = NULL;
}

static void remove_files(const struct run *r)
{
	const struct options *o = options_of(r);

	if (r->wrote_pid)
		(void)unlink(o->pid_file);
	if (r->wrote_ready)
		(void)unlink(o->ready_file);
}

static void on_stop_signal(void *arg)
{
	struct run *r = arg;

	if (r->stopping) {
		/* Asked twice: a person waits. Sessions end by their idle limit. */
		log_warn("start", "stopped at once");
		remove_files(r);
		_exit(err_exit_status(ERR_CLOSED));
	}
	stop(r);
}

static int read_again(struct run *r, struct err *e)
{
	if (r->learning)
		learning_write(r->learning);
	if (background_reopen(&r->background, e) != 0 || app_reopen_logs(r->app, e) != 0 ||
	    reload_users(r->app, &r->setup, e) != 0 || rule_slots_reload(r->rules, e) != 0 ||
	    app_renew_sockets(r->app, e) != 0)
		return -1;
	log_info("start", "reloaded");
	return 0;
}

static int reload(void *arg, struct err *e)
{
	struct run *r = arg;
	int result;

	if (r->stopping)
		return err_set(e, ERR_CLOSED, "awsocks is stopping");
	notify_reloading(&r->notify, loop_clock(app_loop(r->app)));
	result = read_again(r, e);
	notify_ready(&r->notify);
	return result;
}

static void on_reload_signal(void *arg)
{
	struct err e = { 0 };

	if (reload(arg, &e) != 0)
		log_error("start", "not reloaded, the old rules stay: %s", e.msg);
}

static void describe(void *arg, struct cJSON *into)
{
	struct run *r = arg;

	app_describe(r->app, into);
	fence_describe(&r->confine.report, into);
	if (r->learning)
		learning_describe(r->learning, into);
}

static int take_code(void *arg, const char *code, struct err *e)
{
	struct run *r = arg;

	return app_take_code(r->app, code, e);
}

static int vm_command(void *arg, const char *what, struct cJSON *reply, struct err *e)
{
	struct run *r = arg;

	return app_vm_command(r->app, what, reply, e);
}

static int open_signals(struct run *r, struct err *e)
{
	struct loop *loop = app_loop(r->app);

	(void)signal(SIGPIPE, SIG_IGN);
	r->signal[0] = signal_open(loop, SIGTERM, on_stop_signal, r, e);
	r->signal[1] = r->signal[0] ? signal_open(loop, SIGINT, on_stop_signal, r, e) : NULL;
	r->signal[2] = r->signal[1] ? signal_open(loop, SIGHUP, on_reload_signal, r, e) : NULL;
	return r->signal[2] ? 0 : -1;
}

static void close_signals(struct run *r)
{
	for (size_t i = 0; i < SIGNALS; i++)
		if (r->signal[i])
			signal_close(r->signal[i]);
}

/* The control socket is a convenience: without it the proxy still serves. */
static int open_control(struct run *r, struct err *e)
{
	static const struct control_ops ops = { describe, reload, stop, take_code, vm_command };
	const char *given = options_of(r)->control;
	struct err why = { 0 };

	if (path_control(given, r->control_path, &why) == 0)
		r->control = control_open(app_loop(r->app), r->control_path, &ops, r, &why);
	if (r->control)
		return 0;
	r->control_path[0] = '\0';
	if (given) {
		if (e)
			*e = why;
		return -1;
	}
	log_warn("start",
		 "no control socket (status, reload and stop will not find this one; "
		 "give --control PATH): %s",
		 why.msg);
	return 0;
}

/* --- --no-lazy ------------------------------------------------------------ */

static void on_started(void *arg, const struct err *why)
{
	struct run *r = arg;

	if (why && !r->start_err.code)
		r->start_err = *why;
	if (--r->starting == 0 && !r->stopping)
		loop_stop(app_loop(r->app));
}

/* Who waits for it wants one answer to "is it there?", whether that took too long or not. */
static int what_start_said(const struct run *r, struct err *e)
{
	if (!r->start_err.code)
		return 0;
	*e = r->start_err;
	if (e->code == ERR_TIMEOUT)
		e->code = ERR_HOSTUNREACH;
	return -1;
}

/* The VM first: AWS is asked through it. */
static int start_vm(struct run *r, struct err *e)
{
	if (!r->vm.driver)
		return 0;
	if (!app_vm_wait(r->app, on_started, r, e))
		return -1;
	r->starting = 1;
	app_run(r->app);
	return what_start_said(r, e) == 0 ? 0 : err_wrap(e, "the VM does not start");
}

/* Initialises the asked profiles before anything listens. Who has a VM need not have an instance.
 */
static int start_backends(struct run *r, struct err *e)
{
	for (size_t i = 0; i < r->setup.asked; i++) {
		struct route route = { .kind = ROUTE_PROXY };
		struct backend *b;

		if (r->vm.driver && !options_name_target(&r->setup.profile[i].options))
			continue;
		(void)str_fmt(route.profile, sizeof(route.profile), "%s", r->setup.profile[i].name);
		b = app_backend(r->app, &route, e);
		if (!b)
			return -1;
		r->starting++;
		backend_start(b, on_started, r);
	}
	if (r->starting)
		app_run(r->app);
	return what_start_said(r, e);
}

/* --- the command ---------------------------------------------------------- */

static int make_app(struct run *r, struct err *e)
{
	const struct options *o = options_of(r);
	struct app_profile_opts *profiles = mem_alloc(r->setup.count * sizeof(*profiles));
	struct app_opts opts = { .profile = profiles,
				 .profile_count = r->setup.count,
				 .audit_path = o->audit_log,
				 .learn = r->learning ? learning_table(r->learning) : NULL,
				 .audit_max_size = o->audit_max_size,
				 .audit_keep = (unsigned)o->audit_keep,
				 .ssh_dir = *r->confine.ssh_dir ? r->confine.ssh_dir : NULL,
				 .remote_mfa = true,
				 .terminal = r->terminal,
				 .vm = &r->vm,
				 .workers = o->workers ? (size_t)o->workers : loop_cores() };
	int result;

	if (!profiles)
		return err_set(e, ERR_NOMEM, "start");
	for (size_t i = 0; i < r->setup.count; i++) {
		profiles[i].name = r->setup.profile[i].name;
		profiles[i].options = &r->setup.profile[i].options;
	}
	result = app_new(&r->app, &opts, e);
	mem_free(profiles);
	return result;
}

static int start_workers(struct run *r, struct err *e)
{
	struct loop *const *others;
	size_t n;

	others = app_other_loops(r->app, &n);
	rule_slots_readers(r->rules, others, n);
	return app_start_workers(r->app, e);
}

static void say_missing_instance(const struct run *r)
{
	const struct options *o = options_of(r);

	if (!options_name_target(o) && rule_slots_can(r->rules, ROUTE_PROXY))
		log_warn("start", "no instance is named (--instance-id, --name): connections that "
				  "the rules send to proxy will be refused");
}

static int write_files(struct run *r, struct err *e)
{
	const struct options *o = options_of(r);

	if (o->pid_file && write_pid_file(o->pid_file, e) != 0)
		return -1;
	r->wrote_pid = o->pid_file;
	if (o->ready_file && write_ready_file(o->ready_file, r->app, r->control_path, e) != 0)
		return -1;
	r->wrote_ready = o->ready_file;
	return 0;
}

/* A connection takes two descriptors or more, and the usual soft limit of 1024 is there for
 * programs that use select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_info("start", "the limit of open files stays as it is: %s", strerror(errno));
}

/* Who ends us by a signal meanwhile would leave the VM's private directory: nobody knows of it yet.
 * From the fork on the spawner does. */
static int make_vm_and_confine(struct run *r, struct err *e)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set, before;
	int result;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		(void)sigaddset(&set, ends[i]);
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	result = vm_setup_make(&r->vm, &r->setup, e);
	if (result == 0)
		result = confine_start(&r->confine, &r->setup, e);
	if (result != 0)
		vm_setup_end(&r->vm);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}

static int prepare(struct run *r, struct err *e)
{
	const struct options *o = options_of(r);

	if (log_set_level(o->log_level, e) != 0)
		return err_wrap(e, "--log-level");
	log_set_format(o->log_format == LOG_FORMAT_JSON ? LOG_JSON : LOG_TEXT);
	if (setup_unbuilt(&r->setup, e) != 0)
		return -1;
	notify_open(&r->notify);
	if (prepare_listeners(&r->setup, e) != 0 || make_vm_and_confine(r, e) != 0)
		return -1;
	r->terminal = terminal_open();
	raise_descriptor_limit(); /* ours: children get the one that we were started with */
	if (confine_close(&r->confine, &r->setup, e) != 0 ||
	    rule_slots_new(&r->rules, &r->setup, e) != 0 ||
	    (o->learn && learning_open(&r->learning, o->learn, e) != 0) || make_app(r, e) != 0 ||
	    confine_attach(&r->confine, app_loop(r->app), e) != 0 || open_signals(r, e) != 0)
		return -1;
	if (o->vm_start == VM_START_START)
		app_vm_start(r->app);
	if (!o->lazy && (start_vm(r, e) != 0 || (!r->stopping && start_backends(r, e) != 0)))
		return -1;
	if (r->stopping) /* a signal came meanwhile, and all is closed */
		return 0;
	if (open_listeners(r->app, r->rules, &r->setup, &r->given, e) != 0 ||
	    open_control(r, e) != 0)
		return -1;
	if (start_workers(r, e) != 0)
		return -1;
	rule_slots_watch(r->rules, app_loop(r->app));
	if (r->learning)
		learning_start(r->learning, app_loop(r->app));
	if (o->lazy || r->vm.driver)
		say_missing_instance(r);
	return write_files(r, e);
}

/* Ends what runs, also when the start failed half way. false: see app_free(). */
static bool shut_down(struct run *r)
{
	bool all_ended;

	if (r->app && !r->stopping) {
		stop(r);
		app_run(r->app);
	}
	rule_slots_free(r->rules);
	close_signals(r);
	confine_end(&r->confine);
	notify_close(&r->notify);
	all_ended = app_free(r->app);
	terminal_free(r->terminal);
	if (all_ended) /* otherwise a job may be writing it still */
		learning_close(r->learning);
	return all_ended;
}

static int run(struct run *r)
{
	struct err e = { 0 };
	int status = 0;

	r->ready = prepare(r, &e) == 0;
	if (!r->ready) {
		background_fail(&r->background, &e);
		status = command_fail(&e);
	} else if (!r->stopping && !background_ready(&r->background)) {
		log_warn("start", "who started it has gone before it was ready");
		status = err_exit_status(ERR_CLOSED);
	} else if (!r->stopping) {
		notify_ready(&r->notify);
		app_run(r->app);
	}
	remove_files(r);
	if (!shut_down(r))
		command_leave(status);
	return status;
}

static int go_to_background(struct run *r, int *status, struct err *e)
{
	const struct options *o = options_of(r);

	if (o->daemon && o->audit_log && strcmp(o->audit_log, "-") == 0)
		return err_set(e, ERR_USAGE,
			       "--audit-log -: with --daemon there is no standard output");
	/* They were passed to this process, not to the child that goes on. */
	if (activation_take(&r->given, e) != 0)
		return -1;
	return background_begin(&r->background, o->daemon, o->log_file, status, e);
}

int cmd_start(int argc, char **argv)
{
	struct run r = { .notify.fd = -1, .confine.vm = &r.vm };
	struct err e = { 0 };
	int status = 0;

	if (setup_load(&r.setup, argc, argv, NULL, NULL, NULL, &e) != 0)
		return command_fail(&e);
	if (r.setup.args.help)
		status = command_help("start");
	else if (setup_profiles(&r.setup, r.setup.args.positional, r.setup.args.count, &e) != 0)
		status = command_fail(&e);
	else if (go_to_background(&r, &status, &e) != 0)
		status = command_fail(&e);
	else if (!r.background.is_parent)
		status = run(&r);
	setup_free(&r.setup);
	return status;
}
