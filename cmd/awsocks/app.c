#include "cmd/awsocks/app.h"

#include <cjson/cJSON.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/direct.h"
#include "backend/ssm/start_buckets.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/choose.h"
#include "cmd/awsocks/mfa.h"
#include "cmd/awsocks/vm_setup.h"
#include "config/options.h"
#include "credentials/sso.h"
#include "net/egress.h"
#include "net/host_guard.h"
#include "net/http.h"
#include "net/tcp.h"
#include "net/ws.h"
#include "proxy/audit.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"

static const struct app_profile *first_profile(const struct app *a)
{
	return a->profile_count ? &a->profile[0] : NULL;
}

static int take_profiles(struct app *a, const struct app_opts *o, struct err *e)
{
	a->profile = mem_alloc(o->profile_count * sizeof(*a->profile));
	if (!a->profile)
		return err_set(e, ERR_NOMEM, "profiles");
	for (size_t i = 0; i < o->profile_count; i++) {
		struct app_profile *p = &a->profile[i];

		if (!str_fmt(p->name, sizeof(p->name), "%s",
			     o->profile[i].name ? o->profile[i].name : ""))
			return err_set(e, ERR_CONFIG, "profile name too long: %.80s",
				       o->profile[i].name);
		p->options = o->profile[i].options;
		p->session = o->profile[i].session;
		a->profile_count++;
	}
	return 0;
}

/* The default of --max-connections follows the limit of open files, which is as it will stay. */
static int make_limits(struct app *a, struct err *e)
{
	const struct options *o = first_profile(a)->options;
	struct limits_opts l = { .total = (size_t)o->max_connections,
				 .per_peer = (size_t)o->max_connections_per_peer };
	struct rlimit files;

	if (!l.total && getrlimit(RLIMIT_NOFILE, &files) == 0)
		l.total = limits_auto(files.rlim_cur < SIZE_MAX ? (size_t)files.rlim_cur
								: SIZE_MAX);
	return limits_new(&a->limits, &l, e);
}

static int make_workers(struct app *a, size_t n, struct err *e)
{
	if (n > WORKERS_MAX)
		return err_set(e, ERR_CONFIG, "more than %d workers", WORKERS_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (worker_new(&a->worker[i], a, i, e) != 0)
			return -1;
		a->workers++;
		a->every_loop[i] = a->worker[i]->loop;
	}
	a->loop = a->worker[0]->loop;
	return 0;
}

int app_start_workers(struct app *a, struct err *e)
{
	for (size_t i = 1; i < a->workers; i++)
		if (worker_start(a->worker[i], e) != 0)
			return -1;
	return 0;
}

static int open_audit(struct app *a, const struct app_opts *o, struct err *e)
{
	struct audit_opts opts = { .path = o->audit_path,
				   .clock = loop_clock(a->loop),
				   .max_size = o->audit_max_size,
				   .keep = o->audit_keep };

	return o->audit_path ? audit_open(&a->audit, &opts, e) : 0;
}

int app_new(struct app **out, const struct app_opts *o, struct err *e)
{
	struct app *a = mem_alloc(sizeof(*a));

	*out = NULL;
	if (!a)
		return err_set(e, ERR_NOMEM, "start");
	list_init(&a->listeners);
	if (take_profiles(a, o, e) != 0 || make_limits(a, e) != 0 ||
	    make_workers(a, o->workers ? o->workers : 1, e) != 0)
		goto fail;
	a->started_ms = loop_now_ms(a->loop);
	a->chooser = chooser_new(a->loop);
	a->mfa = mfa_new(a->loop, o->remote_mfa, o->terminal);
	(void)str_fmt(a->ssh_dir, sizeof(a->ssh_dir), "%s", o->ssh_dir ? o->ssh_dir : "");
	a->learn = o->learn;
	if (open_audit(a, o, e) != 0 || (o->vm && o->vm->driver && app_vm_open(a, o->vm, e) != 0))
		goto fail;
	*out = a;
	return 0;
fail:
	(void)app_free(a); /* nobody has asked for a name yet */
	return -1;
}

int app_take_code(struct app *a, const char *code, struct err *e)
{
	return a->mfa ? mfa_answer(a->mfa, code, e) : err_set(e, ERR_NOMEM, "one-time code");
}

struct loop *app_loop(struct app *a)
{
	return a->loop;
}

struct loop *const *app_other_loops(struct app *a, size_t *n)
{
	*n = a->workers - 1;
	return a->every_loop + 1;
}

static struct app_profile *find_profile(struct app *a, const char *name)
{
	for (size_t i = 0; i < a->profile_count; i++)
		if (!*name || str_eq_nocase(a->profile[i].name, name))
			return &a->profile[i];
	return NULL;
}

struct backend *app_backend(struct app *a, const struct route *route, struct err *e)
{
	struct app_profile *p;

	switch (route->kind) {
	case ROUTE_DIRECT: return a->worker[0]->direct;
	case ROUTE_PROXY:
		p = find_profile(a, route->profile);
		if (p)
			return p->backend ? p->backend : app_aws_backend(a, p, e);
		(void)err_set(e, ERR_CONFIG, "proxy:%s: no such profile in config.yaml",
			      route->profile);
		return NULL;
	default:
		if (!a->vm)
			(void)err_set(e, ERR_UNSUPPORTED,
				      "vm-direct needs a running awsocks in --mode vm");
		return a->vm;
	}
}

void app_run(struct app *a)
{
	loop_run(a->loop);
}

/* --- stopping, stage by stage ------------------------------------------ */

static void next_stage(struct app *a);

void app_closed_one(struct app *a)
{
	if (--a->pending == 0)
		next_stage(a);
}

static void one_closed(void *arg)
{
	app_closed_one(arg);
}

static void close_backends(struct app *a)
{
	/* One more than there are, so that the last step is always a later one. */
	a->pending = 1;
	for (size_t i = 0; i < a->profile_count; i++)
		if (a->profile[i].backend) {
			a->pending++;
			backend_close(a->profile[i].backend, one_closed, a);
		}
	a->pending++;
	backend_close(a->worker[0]->direct, one_closed, a);
	chooser_free(a->chooser); /* a late answer would find its backend gone */
	a->chooser = NULL;
	one_closed(a);
}

static void close_net(struct app *a)
{
	a->worker[0]->direct = NULL;
	for (size_t i = 0; i < a->profile_count; i++) {
		a->profile[i].backend = NULL;
		app_aws_free(&a->profile[i]);
	}
	http_free(a->http);
	a->http = NULL;
	start_buckets_free(a->starts);
	a->starts = NULL;
	a->pending = 1;
	if (a->ws) {
		a->pending++;
		ws_context_free(a->ws, one_closed, a);
		a->ws = NULL;
	}
	one_closed(a);
}

/* From here on nothing is handed over to us. */
static void drain(struct app *a)
{
	a->pending = 2;
	for (size_t i = 1; i < a->workers; i++)
		a->pending += !a->worker[i]->has_ended;
	worker_close_seats(a->worker[0], a->grace_ms, one_closed, a);
	one_closed(a);
}

void app_worker_ended(struct worker *w)
{
	w->has_ended = true;
	if (w->app->stage == APP_DRAINING)
		app_closed_one(w->app);
}

static void join_workers(struct app *a)
{
	for (size_t i = 1; i < a->workers; i++)
		worker_join(a->worker[i]);
}

static void next_stage(struct app *a)
{
	switch (++a->stage) {
	case APP_DRAINING: drain(a); return;
	case APP_CLOSING_BACKENDS:
		join_workers(a);
		close_backends(a);
		return;
	case APP_CLOSING_NET: close_net(a); return;
	case APP_CLOSING_VM:
		a->pending = 1;
		app_vm_close(a);
		return;
	default: loop_stop(a->loop);
	}
}

void app_stop(struct app *a, unsigned grace_ms)
{
	if (a->stage != APP_RUNNING)
		return;
	a->stage = APP_QUIETING;
	a->grace_ms = grace_ms;
	app_listeners_close(a);
	a->pending = a->workers;
	for (size_t i = 1; i < a->workers; i++)
		worker_stop(a->worker[i], grace_ms);
	one_closed(a);
}

bool app_free(struct app *a)
{
	bool all_ended = true;

	if (!a)
		return true;
	for (size_t i = 0; i < a->profile_count; i++)
		app_aws_free(&a->profile[i]);
	sso_renewals_free(a->renewals);
	chooser_free(a->chooser);
	mfa_free(a->mfa);
	egress_free(a->egress);
	if (a->ssh_dir_ours)
		path_private_remove(a->ssh_dir);
	if (a->machine) { /* app_new() failed; the loop's end lets it end */
		a->stage = APP_CLOSING_VM;
		a->pending = 1;
		app_vm_close(a);
	}
	for (size_t i = WORKERS_MAX; i > 0; i--)
		all_ended = worker_free(a->worker[i - 1]) && all_ended;
	app_listeners_free(a); /* what a loop's end still ran may have looked at them */
	audit_close(a->audit);
	limits_free(a->limits);
	mem_free(a->profile);
	mem_free(a);
	return all_ended;
}

int app_reopen_logs(struct app *a, struct err *e)
{
	return a->audit ? audit_reopen(a->audit, e) : 0;
}
