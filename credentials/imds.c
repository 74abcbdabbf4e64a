/*
 * Credentials of the instance's role: GET of the role's name, GET of its credentials (EC2 User
 * Guide, "Retrieve security credentials from instance metadata").
 */
#include <string.h>

#include "base/clock.h"
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
	struct source base;
	struct imds_opts opts; /* without its texts */
	char *otherwise;
};

struct imds_call {
	struct source_call base;
	struct imds_talk talk;
	char role[NAME_MAX_LEN + 1];
	char path[sizeof(ROLE_PATH) + 3 * NAME_MAX_LEN];
};

static void drop(struct source_call *call)
{
	imds_talk_end(&((struct imds_call *)call)->talk);
}

static void fail(struct imds_call *ic, const struct err *why)
{
	struct imds *i = (struct imds *)ic->base.base.provider;
	struct err e = *why;

	if (i->otherwise) { /* the last of the chain: what is missing is all the others, too */
		(void)err_set(&e, ERR_CREDS, "%s (%s)", i->otherwise, why->msg);
		/* Whoever was answered before is on an instance, and this may be over soon. */
		e.passes = cause_passes(why);
	}
	source_fail(&ic->base, &e);
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
	struct imds *i = (struct imds *)ic->base.base.provider;
	char source[NAME_MAX_LEN + 40];
	struct creds *c = NULL;
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
	source_end(&ic->base, c, NULL);
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

static int begin(struct source_call *call, struct err *e)
{
	struct imds_call *ic = (struct imds_call *)call;
	const struct imds *i = (struct imds *)call->base.provider;

	ic->talk.http = i->opts.http;
	ic->talk.at = i->opts.at;
	ic->talk.missing = "the role: none is attached to the instance";
	ic->talk.arg = ic;
	return imds_talk_ask(&ic->talk, ROLE_PATH, on_role, e);
}

static void imds_free(struct provider *p)
{
	mem_free(((struct imds *)p)->otherwise);
}

static const struct source_ops ops = {
	.base = { .name = "instance metadata", SOURCE_CALLS },
	.call_size = sizeof(struct imds_call),
	.begin = begin,
	.drop = drop,
	.free = imds_free,
};

struct provider *imds_new(const struct imds_opts *o, struct err *e)
{
	struct imds *i = source_new(sizeof(*i), &ops, e);

	if (!i)
		return NULL;
	i->otherwise = mem_strdup(o->otherwise);
	i->opts = *o;
	if (i->otherwise || !o->otherwise)
		return &i->base.base;
	(void)err_set(e, ERR_NOMEM, "credentials");
	source_close(&i->base.base);
	return NULL;
}
