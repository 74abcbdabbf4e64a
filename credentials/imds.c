/*
 * Credentials of the instance's role: GET of the role's name, GET of its credentials (EC2 User
 * Guide, "Retrieve security credentials from instance metadata").
 */
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "credentials/imds_talk.h"
#include "credentials/provider_impl.h"

#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"
enum { NAME_MAX_LEN = 128, EXTEND_MS = 300000 };

int64_t imds_extension_ms(uint32_t random)
{
	return EXTEND_MS + (int64_t)(random % EXTEND_MS);
}

struct imds {
	struct provider base;
	struct imds_opts opts; /* without its texts */
	char *otherwise;
	struct list calls;
};

struct imds_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
	struct imds_talk talk;
	char role[NAME_MAX_LEN + 1];
	char path[sizeof(ROLE_PATH) + 3 * NAME_MAX_LEN];
};

static void call_free(struct imds_call *ic)
{
	list_del(&ic->node);
	imds_talk_end(&ic->talk);
	mem_free(ic);
}

static void fail(struct imds_call *ic, const struct err *why)
{
	struct imds *i = (struct imds *)ic->base.provider;
	creds_fn *fn = ic->fn;
	void *arg = ic->arg;
	struct err e = *why;

	if (i->otherwise) { /* the last of the chain: what is missing is all the others, too */
		(void)err_set(&e, ERR_CREDS, "%s (%s)", i->otherwise, why->msg);
		/* Whoever was answered before is on an instance, and this may be over soon. */
		e.passes = cause_passes(why);
	}
	call_free(ic);
	fn(arg, NULL, &e);
}

/* IMDS serves the old ones on when it cannot make new ones. */
static void extend(const struct imds *i, struct creds *c)
{
	int64_t now = clock_wall_ms(loop_clock(i->opts.loop));
	uint32_t random;

	if (c->expires_ms > now)
		return;
	random_bytes(&random, sizeof(random));
	/* So long that the cache's margin, a fifth, leaves what is wanted. */
	c->expires_ms = now + imds_extension_ms(random) * 5 / 4;
	log_warn("creds", "instance metadata serves credentials that have expired: used on, and "
			  "asked for again in 5 to 10 minutes");
}

static void on_credentials(void *arg, const char *text, size_t n, const struct err *why)
{
	struct imds_call *ic = arg;
	struct imds *i = (struct imds *)ic->base.provider;
	char source[NAME_MAX_LEN + 40];
	struct creds *c = NULL;
	creds_fn *fn = ic->fn;
	void *to = ic->arg;
	struct err e;

	(void)str_fmt(source, sizeof(source), "instance metadata (role %s)", ic->role);
	if (text)
		c = metadata_parse(text, n, source, &e);
	if (text && !c && e.code == ERR_PROTO && imds_talk_repeat(&ic->talk, NULL) == 0)
		return;
	if (!c) {
		fail(ic, text ? &e : why);
		return;
	}
	extend(i, c); /* nobody else has it yet */
	call_free(ic);
	fn(to, c, NULL);
	creds_unref(c);
}

/* The first line is the role's name. */
static int take_role(struct imds_call *ic, const char *text, struct err *e)
{
	size_t n = strcspn(text, "\r\n");
	char encoded[3 * NAME_MAX_LEN + 1];

	if (!n || n > NAME_MAX_LEN)
		return err_set(e, ERR_CREDS,
			       "instance metadata: no role is attached to the instance");
	(void)str_fmt(ic->role, sizeof(ic->role), "%.*s", (int)n, text);
	(void)str_uri_encode(text, n, false, encoded);
	(void)str_fmt(ic->path, sizeof(ic->path), ROLE_PATH "%s", encoded);
	return 0;
}

static void on_role(void *arg, const char *text, size_t n, const struct err *why)
{
	struct imds_call *ic = arg;
	struct err e;

	(void)n;
	if (!text) {
		fail(ic, why);
		return;
	}
	if (take_role(ic, text, &e) != 0 ||
	    imds_talk_ask(&ic->talk, ic->path, on_credentials, &e) != 0)
		fail(ic, &e);
}

static struct provider_call *imds_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct imds *i = (struct imds *)p;
	struct imds_call *ic = mem_alloc(sizeof(*ic));

	if (!ic) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	ic->base.provider = p;
	ic->fn = fn;
	ic->arg = arg;
	list_add_tail(&i->calls, &ic->node);
	ic->talk.http = i->opts.http;
	ic->talk.at = i->opts.at;
	ic->talk.missing = "the role: none is attached to the instance";
	ic->talk.arg = ic;
	if (imds_talk_ask(&ic->talk, ROLE_PATH, on_role, e) != 0) {
		call_free(ic);
		return NULL;
	}
	return &ic->base;
}

static void imds_cancel(struct provider_call *call)
{
	call_free((struct imds_call *)call);
}

static void imds_close(struct provider *p)
{
	struct imds *i = (struct imds *)p;

	while (!list_empty(&i->calls))
		call_free(CONTAINER_OF(i->calls.next, struct imds_call, node));
	mem_free(i->otherwise);
	mem_free(i);
}

static const struct provider_ops ops = {
	.name = "instance metadata",
	.get = imds_get,
	.cancel = imds_cancel,
	.close = imds_close,
};

struct provider *imds_new(const struct imds_opts *o, struct err *e)
{
	struct imds *i = mem_alloc(sizeof(*i));

	if (i) {
		i->base.ops = &ops;
		list_init(&i->calls);
		i->otherwise = mem_strdup(o->otherwise);
		i->opts = *o;
	}
	if (i && (i->otherwise || !o->otherwise))
		return &i->base;
	(void)err_set(e, ERR_NOMEM, "credentials");
	if (i)
		imds_close(&i->base);
	return NULL;
}
