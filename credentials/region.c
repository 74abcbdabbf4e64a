#include "credentials/region.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/imds_talk.h"
#include "net/loop.h"

#define REGION_PATH "/latest/meta-data/placement/region"

struct region_ask {
	struct imds_talk talk;
	char profile[64]; /* for messages */
	region_fn *fn;
	void *arg;
};

static int none(const char *profile, const char *because, struct err *e)
{
	return err_set(e, ERR_CONFIG,
		       "no AWS region: give --region, AWS_REGION, or region in the AWS profile "
		       "'%.60s' (%s)",
		       profile, because);
}

void region_cancel(struct region_ask *r)
{
	if (!r)
		return;
	imds_talk_end(&r->talk);
	mem_free(r);
}

static bool is_region(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && n < 64 && !s[n];
}

static void on_answer(void *arg, const char *text, size_t n, const struct err *why)
{
	struct region_ask *r = arg;
	region_fn *fn = r->fn;
	void *to = r->arg;
	bool good = text && strlen(text) == n && is_region(text);
	struct err e, odd;

	if (!good) {
		if (text) {
			(void)err_set(&odd, ERR_PROTO, "instance metadata: '%.40s' is no region",
				      text);
			why = &odd;
		}
		(void)none(r->profile, why->msg, &e);
		if (why->code == ERR_NOMEM)
			e.code = ERR_NOMEM;
	}
	fn(to, good ? text : NULL, good ? NULL : &e);
	region_cancel(r);
}

struct region_ask *region_ask(const struct region_opts *o, region_fn *fn, void *arg, struct err *e)
{
	struct region_ask *r;

	if (imds_disabled(o->environ, o->files, o->profile)) {
		(void)none(o->profile, "instance metadata are not asked, as the settings want it",
			   e);
		return NULL;
	}
	r = mem_alloc(sizeof(*r));
	if (!r) {
		(void)err_set(e, ERR_NOMEM, "region");
		return NULL;
	}
	(void)str_fmt(r->profile, sizeof(r->profile), "%s", o->profile);
	r->fn = fn;
	r->arg = arg;
	r->talk.http = o->http;
	r->talk.arg = r;
	r->talk.missing = "the region";
	if (imds_find(o->environ, o->files, o->profile, &r->talk.at, e) == 0 &&
	    imds_talk_ask(&r->talk, REGION_PATH, on_answer, e) == 0)
		return r;
	region_cancel(r);
	return NULL;
}
