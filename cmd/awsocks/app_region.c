/*
 * A profile whose region nobody names: this host may be an instance, whose metadata know it. They
 * are asked when the first connection needs the backend, without waiting in place, so another
 * backend stands in until they have answered: connections queue at it, then it makes the real one
 * (app_aws.c) and passes everything on. After a failure it pauses, then files and metadata are
 * looked at anew.
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/backend_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "config/options.h"
#include "credentials/profile.h"
#include "credentials/region.h"

enum { PAUSE_MS = 2000, QUEUE_MAX = 1000 };

struct late {
	struct backend base;
	struct app *app;
	struct app_profile *profile;
	struct region_ask *asking;
	struct backend *real; /* NULL: not yet */
	struct list dials;    /* that wait for it */
	size_t waiting;
	struct err why; /* of the last failure */
	uint64_t next_ms;
	struct loop_post post;
	void (*started)(void *arg, const struct err *);
	void *started_arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct late_dial {
	struct dial base;
	struct list node;
	struct dest dest;
	char host[256];
	struct dial *real; /* NULL: it waits */
	struct loop_post post;
	struct err why;
};

static struct late *of(struct backend *b)
{
	return CONTAINER_OF(b, struct late, base);
}

static struct loop *loop_of(const struct late_dial *d)
{
	return of(d->base.backend)->app->loop;
}

/* --- dials --- */

static void dial_free(struct late_dial *d)
{
	if (list_linked(&d->node))
		of(d->base.backend)->waiting--;
	list_del(&d->node);
	loop_unpost(&d->post);
	mem_free(d);
}

static void on_dialed(void *arg, const struct dialed *result, const struct err *why)
{
	struct late_dial *d = arg;
	dialed_fn *done = d->base.done;
	void *to = d->base.arg;

	dial_free(d);
	done(to, result, why);
}

static void on_failed(void *arg)
{
	struct late_dial *d = arg;
	struct err why = d->why;

	on_dialed(d, NULL, &why);
}

static void pass_on(struct late *l, const struct err *why)
{
	struct list *node;

	while ((node = list_pop(&l->dials))) {
		struct late_dial *d = CONTAINER_OF(node, struct late_dial, node);

		l->waiting--;
		if (why)
			d->why = *why;
		else
			d->real = backend_dial(l->real, &d->dest, on_dialed, d, &d->why);
		if (!d->real)
			loop_post(loop_of(d), &d->post, on_failed, d);
	}
}

/* --- the region --- */

static void tell_started(struct late *l, const struct err *why)
{
	void (*started)(void *arg, const struct err *) = l->started;

	l->started = NULL;
	if (started && l->real)
		backend_start(l->real, started, l->started_arg);
	else if (started)
		started(l->started_arg, why);
}

static void settle(struct late *l, const struct err *why)
{
	if (!l->real) {
		l->why = *why;
		l->next_ms = loop_now_ms(l->app->loop) + PAUSE_MS;
		log_warn("aws", "%s: %s", l->base.name, why->msg);
	}
	pass_on(l, l->real ? NULL : why);
	tell_started(l, why);
}

static void make(struct late *l, const char *region)
{
	struct err e = { 0 };

	l->real = app_aws_make(l->app, l->profile, region, &e);
	settle(l, &e);
}

static void on_region(void *arg, const char *region, const struct err *why)
{
	struct late *l = arg;

	l->asking = NULL;
	if (!region) {
		settle(l, why);
		return;
	}
	log_info("aws", "%s: the region is %s, as instance metadata say", l->base.name, region);
	make(l, region);
}

/* The files may say it by now. */
static void find(struct late *l, const struct aws_files *files)
{
	const struct options *o = l->profile->options;
	const char *name = profile_name(o->aws_profile, app_environment());
	const char *region = profile_region(files, name, o->region, app_environment());
	struct err e;

	if (region) {
		make(l, region);
		return;
	}
	l->asking = region_ask(&(struct region_opts){ .loop = l->app->loop,
						      .http = l->app->http,
						      .environ = app_environment(),
						      .files = files,
						      .profile = name },
			       on_region, l, &e);
	if (!l->asking)
		settle(l, &e);
}

static void on_wake(void *arg)
{
	struct late *l = arg;
	struct aws_files *files;
	struct err e;

	if (aws_files_load(app_environment(), &files, &e) != 0) {
		settle(l, &e);
		return;
	}
	find(l, files);
	aws_files_free(files);
}

static void want(struct late *l)
{
	if (l->asking || l->closed)
		return;
	loop_unpost(&l->post);
	loop_post(l->app->loop, &l->post, on_wake, l);
}

static bool pauses(const struct late *l)
{
	return loop_now_ms(l->app->loop) < l->next_ms;
}

/* --- the contract --- */

static struct dial *late_dial(struct backend *b, const struct dest *dest, dialed_fn *done,
			      void *arg, struct err *e)
{
	struct late *l = of(b);
	struct late_dial *d;

	if (l->real)
		return backend_dial(l->real, dest, done, arg, e);
	if (pauses(l)) {
		if (e)
			*e = l->why;
		return NULL;
	}
	d = l->waiting < QUEUE_MAX && !l->closed ? mem_alloc(sizeof(*d)) : NULL;
	if (!d || !str_fmt(d->host, sizeof(d->host), "%s", dest->host)) {
		(void)err_set(e, d ? ERR_PROTO : ERR_LIMIT, "%s: %s", b->name,
			      d ? "the host's name is too long" : "too many connections wait");
		mem_free(d);
		return NULL;
	}
	d->base = (struct dial){ b, done, arg };
	d->dest = *dest;
	d->dest.host = d->host;
	l->waiting++;
	list_add_tail(&l->dials, &d->node);
	want(l);
	return &d->base;
}

static void late_cancel(struct dial *dial)
{
	struct late_dial *d = CONTAINER_OF(dial, struct late_dial, base);

	backend_cancel(d->real);
	dial_free(d);
}

static enum backend_state late_state(const struct backend *b)
{
	const struct late *l = (const struct late *)b;

	if (l->real)
		return backend_state(l->real);
	if (l->asking || l->waiting)
		return BACKEND_INITIALIZING;
	return l->why.code == ERR_NONE ? BACKEND_IDLE : BACKEND_FAILED;
}

static bool late_first_init(const struct backend *b)
{
	const struct late *l = (const struct late *)b;

	return l->real ? backend_first_init(l->real) : late_state(b) == BACKEND_INITIALIZING;
}

static void late_wake(struct backend *b)
{
	struct late *l = of(b);

	if (l->real)
		backend_wake(l->real);
	else if (!pauses(l))
		want(l);
}

static void late_start(struct backend *b, void (*started)(void *arg, const struct err *), void *arg)
{
	struct late *l = of(b);

	l->started = started;
	l->started_arg = arg;
	if (l->real)
		tell_started(l, NULL);
	else
		want(l);
}

static void late_set_creds(struct backend *b, struct creds *c)
{
	if (of(b)->real)
		backend_set_creds(of(b)->real, c);
}

static void late_describe(struct backend *b, struct cJSON *into)
{
	struct late *l = of(b);

	if (l->real) {
		l->real->ops->describe(l->real, into);
		return;
	}
	cJSON_AddStringToObject(into, "step", l->asking ? "region" : "");
	cJSON_AddStringToObject(into, "reason", l->why.msg);
	cJSON_AddNumberToObject(into, "dials", (double)l->waiting);
}

static void late_free(void *arg)
{
	struct late *l = arg;
	void (*closed)(void *arg) = l->closed;
	void *to = l->closed_arg;

	mem_free(l);
	closed(to);
}

static void late_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	struct late *l = of(b);
	struct err e;

	l->closed = closed;
	l->closed_arg = arg;
	l->started = NULL;
	region_cancel(l->asking);
	l->asking = NULL;
	loop_unpost(&l->post);
	(void)err_set(&e, ERR_CLOSED, "%s is closing", b->name);
	pass_on(l, &e);
	if (l->real)
		backend_close(l->real, late_free, l);
	else
		loop_post(l->app->loop, &l->post, late_free, l);
}

static const struct backend_ops ops = {
	.dial = late_dial,
	.cancel = late_cancel,
	.state = late_state,
	.first_init = late_first_init,
	.wake = late_wake,
	.start = late_start,
	.set_creds = late_set_creds,
	.describe = late_describe,
	.close = late_close,
};

struct backend *app_region_backend(struct app *a, struct app_profile *p, struct err *e)
{
	struct late *l = mem_alloc(sizeof(*l));

	if (!l) {
		(void)err_set(e, ERR_NOMEM, "start");
		return NULL;
	}
	l->base.ops = &ops;
	(void)str_fmt(l->base.name, sizeof(l->base.name), "ssm:%s", *p->name ? p->name : "default");
	l->app = a;
	l->profile = p;
	list_init(&l->dials);
	return &l->base;
}
