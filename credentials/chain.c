/*
 * A fetch, in its steps:
 *
 *   thread pool: read ~/.aws -> plan_make(): which source -> make it -> ask it
 *
 * The files are read anew each time, so that a rewritten file counts at the
 * next refresh. The source lives as long as its fetch; roles nest, each
 * signing with the one below it. In front of all stands cache.c, which sees
 * to it that there is one fetch at a time.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "credentials/chain_impl.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "credentials/region.h"

enum { FETCH_LIMIT_MS = 120000, SLACK_MS = 30000 };

/* What the thread pool works on: owns its memory, so that a cancelled call can
 * leave it behind. */
struct reading {
	const char *const *env;
	struct aws_files *files;
	struct err why;
	int result;
	struct chain_call *call; /* NULL: cancelled */
};

struct chain_call {
	struct source_call base;
	struct reading *reading;
	struct loop_work *work;
	struct aws_files *files;
	struct plan *plan; /* while the region is asked for */
	struct region_ask *asking_region;
	struct provider *source;
	struct provider_call *asking;
	struct loop_timer limit;
	struct loop_post post;
	struct creds *creds;
	struct err why;
};

static void reading_free(struct reading *r)
{
	aws_files_free(r->files);
	mem_free(r);
}

static void drop(struct source_call *call)
{
	struct chain_call *cc = (struct chain_call *)call;
	struct chain *c = (struct chain *)call->base.provider;

	if (cc->reading) {
		cc->reading->call = NULL;
		work_cancel(cc->work);
	}
	timer_disarm(c->loop, &cc->limit);
	loop_unpost(&cc->post);
	provider_cancel(cc->asking);
	provider_close(cc->source);
	region_cancel(cc->asking_region);
	plan_free(cc->plan);
	aws_files_free(cc->files);
	creds_unref(cc->creds);
}

/* --- the end of a call: on a turn of its own, so that no source is closed in its callback --- */

static void deliver(void *arg)
{
	struct chain_call *cc = arg;
	struct creds *c = cc->creds;

	cc->creds = NULL;
	source_end(&cc->base, c, &cc->why);
}

static void finish(struct chain_call *cc, struct creds *creds, const struct err *why)
{
	struct chain *c = (struct chain *)cc->base.base.provider;

	timer_disarm(c->loop, &cc->limit);
	if (creds) {
		char *last = mem_strdup(creds->source);

		cc->creds = creds_ref(creds);
		if (last) {
			mem_free(c->last);
			c->last = last;
		}
	} else {
		cc->why = *why;
	}
	loop_post(c->loop, &cc->post, deliver, cc);
}

static void on_limit(void *arg)
{
	struct chain_call *cc = arg;
	struct err why;

	provider_cancel(cc->asking);
	cc->asking = NULL;
	region_cancel(cc->asking_region);
	cc->asking_region = NULL;
	(void)err_set(&why, ERR_TIMEOUT, "credentials: no answer in time");
	finish(cc, NULL, &why);
}

static void on_creds(void *arg, struct creds *creds, const struct err *why)
{
	struct chain_call *cc = arg;

	cc->asking = NULL;
	finish(cc, creds, why);
}

static bool asks_somebody(const struct plan *p)
{
	while (p && !p->mfa_serial)
		p = p->source;
	return p != NULL;
}

/* The bucket of retries and the rate go on while the settings stay. */
static int read_retry(struct chain *c, const struct aws_files *files, struct err *e)
{
	const struct aws_retry *had = &c->rest.budget.retry;
	struct aws_retry now;

	if (aws_retry_read(files, profile_name(c->profile, c->env), c->env, &now, e) != 0)
		return -1;
	if (now.mode != had->mode || now.attempts != had->attempts)
		aws_budget_init(&c->rest.budget, &now);
	return 0;
}

/* Takes p. */
static int ask_source(struct chain_call *cc, struct plan *p, struct err *e)
{
	struct chain *c = (struct chain *)cc->base.base.provider;

	if (read_retry(c, cc->files, e) == 0)
		cc->source = chain_source(c, cc->files, p, e);
	plan_free(p);
	if (cc->source)
		cc->asking = provider_get(cc->source, on_creds, cc, e);
	return cc->asking ? 0 : -1;
}

static void on_region(void *arg, const char *region, const struct err *why)
{
	struct chain_call *cc = arg;
	struct chain *c = (struct chain *)cc->base.base.provider;
	struct plan *p = cc->plan;
	struct err e;

	(void)why; /* then there is none: see chain_region() */
	cc->asking_region = NULL;
	cc->plan = NULL;
	if (region) {
		mem_free(c->found_region);
		c->found_region = mem_strdup(region);
	}
	if (ask_source(cc, p, &e) != 0)
		finish(cc, NULL, &e);
}

static bool calls_a_region(const struct plan *p)
{
	while (p && p->step != PLAN_ROLE && p->step != PLAN_WEB_IDENTITY && p->step != PLAN_LOGIN)
		p = p->source;
	return p != NULL;
}

/* True: the instance's region is asked for first. The last place to look, as for the AWS CLI. */
static bool waits_for_region(struct chain_call *cc, struct plan *p)
{
	struct chain *c = (struct chain *)cc->base.base.provider;
	const char *profile = profile_name(c->profile, c->env);

	if (c->sts_endpoint || c->found_region || !calls_a_region(p) ||
	    profile_region(cc->files, profile, c->region, c->env))
		return false;
	cc->asking_region = region_ask(&(struct region_opts){ .loop = c->loop,
							      .http = c->http,
							      .environ = c->env,
							      .files = cc->files,
							      .profile = profile },
				       on_region, cc, NULL);
	if (cc->asking_region)
		cc->plan = p;
	return cc->asking_region != NULL;
}

static int ask(struct chain_call *cc, struct err *e)
{
	struct chain *c = (struct chain *)cc->base.base.provider;
	struct plan *p;

	if (plan_make(&(struct plan_opts){ .files = cc->files,
					   .environ = c->env,
					   .profile = c->profile,
					   .profile_explicit = c->profile_explicit },
		      &p, e) != 0)
		return -1;
	if (asks_somebody(p))
		timer_arm(c->loop, &cc->limit, MFA_LIMIT_MS + SLACK_MS, on_limit, cc);
	return waits_for_region(cc, p) ? 0 : ask_source(cc, p, e);
}

/* --- the thread pool's part --- */

static void read_files(void *arg)
{
	struct reading *r = arg;

	r->result = aws_files_load(r->env, &r->files, &r->why);
}

static void on_read(void *arg, bool cancelled)
{
	struct reading *r = arg;
	struct chain_call *cc = r->call;
	struct err e = r->why;

	(void)cancelled;
	if (cc) {
		cc->reading = NULL;
		cc->work = NULL;
		cc->files = r->files;
		r->files = NULL;
		if (r->result != 0 || ask(cc, &e) != 0)
			finish(cc, NULL, &e);
	}
	reading_free(r);
}

static int begin(struct source_call *call, struct err *e)
{
	struct chain_call *cc = (struct chain_call *)call;
	struct chain *c = (struct chain *)call->base.provider;
	struct reading *r = mem_alloc(sizeof(*r));

	if (!r)
		return err_set(e, ERR_NOMEM, "credentials");
	r->env = c->env;
	r->call = cc;
	cc->work = work_start(c->loop, read_files, on_read, r, e);
	if (!cc->work) {
		mem_free(r);
		return -1;
	}
	cc->reading = r;
	timer_arm(c->loop, &cc->limit, FETCH_LIMIT_MS, on_limit, cc);
	return 0;
}

/* --- the provider --- */

static void chain_free(struct provider *p)
{
	struct chain *c = (struct chain *)p;

	mem_free(c->profile);
	mem_free(c->region);
	mem_free(c->found_region);
	mem_free(c->sts_endpoint);
	mem_free(c->ca_file);
	mem_free(c->last);
	mem_free(c->refused);
	sso_renewals_free(c->own_renewals);
}

static const char *chain_describe(const struct provider *p)
{
	const struct chain *c = (const struct chain *)p;

	return c->last ? c->last : "not asked yet";
}

/* What other programs keep for us may be just that: it is not to be taken from there again. */
static void chain_expire(struct provider *p, const struct creds *bad)
{
	struct chain *c = (struct chain *)p;
	char *refused = mem_strdup(bad->access_key_id);

	if (!refused)
		return;
	mem_free(c->refused);
	c->refused = refused;
}

static const struct source_ops ops = {
	.base = { .name = "chain",
		  .get = source_get,
		  .cancel = source_cancel,
		  .close = source_close,
		  .describe = chain_describe,
		  .expire = chain_expire },
	.call_size = sizeof(struct chain_call),
	.begin = begin,
	.drop = drop,
	.free = chain_free,
};

/* A copy of what was given; false: out of memory. */
static bool kept(char **to, const char *text)
{
	*to = text && *text ? mem_strdup(text) : NULL;
	return *to || !text || !*text;
}

struct provider *chain_new(const struct chain_opts *o, struct err *e)
{
	struct chain *c = source_new(sizeof(*c), &ops, e);

	if (!c)
		return NULL;
	c->loop = o->loop;
	c->http = o->http;
	c->env = o->environ;
	c->mfa = o->mfa;
	c->profile_explicit = o->profile_explicit;
	rest_shared_init(&c->rest, &(struct aws_retry){ 0 });
	if (!o->renewals)
		c->own_renewals = sso_renewals_new(e);
	c->renewals = o->renewals ? o->renewals : c->own_renewals;
	if (!c->renewals || !kept(&c->profile, o->profile) || !kept(&c->region, o->region) ||
	    !kept(&c->sts_endpoint, o->sts_endpoint) || !kept(&c->ca_file, o->ca_file)) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		source_close(&c->base.base);
		return NULL;
	}
	return cache_new(o->loop, loop_clock(o->loop), &c->base.base, e);
}
