/*
 * In front of a role: the file in which the AWS CLI keeps what STS gave it, so
 * that a one-time code is asked for once, by whichever of the two is first.
 * Its name is a digest of the call's parameters (botocore,
 * CachedCredentialFetcher); what has less than 15 min left is not used.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/provider_impl.h"
#include "credentials/sso_files.h"

enum { NAME_JSON_MAX = 16 * 1024, LEFT_MS = 15 * 60 * 1000 };

struct cli {
	struct provider base;
	struct loop *loop;
	struct provider *inner;
	char *path, *refused;
	struct list calls;
};

struct cli_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
	struct file_job *job;
	struct provider_call *asking;
	struct creds *creds; /* being written */
};

static int add(struct buf *b, const char *name, const char *value, struct err *e)
{
	if (!value)
		return 0;
	if (buf_addf(b, e, "%s\"%s\": ", buf_len(b) > 1 ? ", " : "", name) != 0)
		return -1;
	return json_add_quoted(b, value, e);
}

int cli_cache_name(const struct cli_cache_key *k, char out[41], struct err *e)
{
	struct buf b;
	int failed;

	buf_init(&b, NAME_JSON_MAX);
	failed = buf_addf(&b, e, "{");
	if (!failed && k->duration_s)
		failed = buf_addf(&b, e, "\"DurationSeconds\": %u", k->duration_s);
	if (!failed)
		failed = add(&b, "ExternalId", k->external_id, e) != 0 ||
			 add(&b, "RoleArn", k->arn, e) != 0 ||
			 add(&b, "RoleSessionName", k->session_name, e) != 0 ||
			 add(&b, "SerialNumber", k->mfa_serial, e) != 0 ||
			 buf_addf(&b, e, "}") != 0 ||
			 json_sha1(buf_ptr(&b), buf_len(&b), out, e) != 0;
	buf_free(&b);
	return failed ? -1 : 0;
}

char *cli_cache_print(const struct creds *c)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *at = root ? cJSON_AddObjectToObject(root, "Credentials") : NULL;
	char until[25], *text = NULL;

	clock_iso(c->expires_ms, until);
	(void)str_fmt(until + 19, 4, "UTC"); /* as the CLI writes it */
	if (at && json_set_creds(at, c, until) == 0)
		text = json_print(root);
	json_secret_free(root);
	return text;
}

static void call_free(struct cli_call *cc)
{
	list_del(&cc->node);
	file_job_cancel(cc->job);
	provider_cancel(cc->asking);
	creds_unref(cc->creds);
	mem_free(cc);
}

/* Takes c. */
static void answer(struct cli_call *cc, struct creds *c, const struct err *why)
{
	creds_fn *fn = cc->fn;
	void *arg = cc->arg;
	struct err e = why ? *why : (struct err){ 0 };

	call_free(cc);
	fn(arg, c, c ? NULL : &e);
	creds_unref(c);
}

static void on_written(void *arg, const char *text, size_t n, const struct err *why)
{
	struct cli_call *cc = arg;
	struct creds *c = cc->creds;

	(void)n;
	cc->job = NULL;
	cc->creds = NULL;
	if (!text)
		log_debug("creds", "not kept for the AWS CLI: %s", why->msg);
	answer(cc, c, NULL);
}

static void on_fetched(void *arg, struct creds *c, const struct err *why)
{
	struct cli_call *cc = arg;
	struct cli *p = (struct cli *)cc->base.provider;
	char *text;
	struct err e;

	cc->asking = NULL;
	if (!c) {
		answer(cc, NULL, why);
		return;
	}
	text = cli_cache_print(c);
	cc->creds = creds_ref(c);
	cc->job = text ? file_job_write(p->loop, p->path, text, on_written, cc, &e) : NULL;
	json_text_free(text);
	if (!cc->job)
		on_written(cc, NULL, 0, &(struct err){ .code = ERR_NOMEM, .msg = "out of memory" });
}

static bool good(const struct cli *p, const struct creds *c)
{
	int64_t now = clock_wall_ms(loop_clock(p->loop));

	return c->expires_ms - now >= LEFT_MS &&
	       (!p->refused || strcmp(p->refused, c->access_key_id) != 0);
}

static void on_read(void *arg, const char *text, size_t n, const struct err *why)
{
	struct cli_call *cc = arg;
	struct cli *p = (struct cli *)cc->base.provider;
	struct creds *c = NULL;
	struct err e;

	(void)why; /* there is none yet */
	cc->job = NULL;
	if (text)
		c = sso_role_parse(text, n, provider_describe(p->inner), &e);
	if (c && good(p, c)) {
		answer(cc, c, NULL);
		return;
	}
	creds_unref(c);
	cc->asking = provider_get(p->inner, on_fetched, cc, &e);
	if (!cc->asking)
		answer(cc, NULL, &e);
}

static struct provider_call *cli_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct cli *c = (struct cli *)p;
	struct cli_call *cc = mem_alloc(sizeof(*cc));

	if (!cc) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	cc->base.provider = p;
	cc->fn = fn;
	cc->arg = arg;
	list_add_tail(&c->calls, &cc->node);
	cc->job = file_job_read(c->loop, c->path, on_read, cc, e);
	if (cc->job)
		return &cc->base;
	call_free(cc);
	return NULL;
}

static void cli_cancel(struct provider_call *call)
{
	call_free((struct cli_call *)call);
}

static void cli_close(struct provider *p)
{
	struct cli *c = (struct cli *)p;

	while (!list_empty(&c->calls))
		call_free(CONTAINER_OF(c->calls.next, struct cli_call, node));
	provider_close(c->inner);
	mem_free(c->path);
	mem_free(c->refused);
	mem_free(c);
}

static const char *cli_describe(const struct provider *p)
{
	return provider_describe(((const struct cli *)p)->inner);
}

static const struct provider_ops ops = {
	.name = "AWS CLI's cache",
	.get = cli_get,
	.cancel = cli_cancel,
	.close = cli_close,
	.describe = cli_describe,
};

struct provider *cli_cache_new(const struct cli_cache_opts *o, struct err *e)
{
	struct cli *c = mem_alloc(sizeof(*c));
	char name[41];

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		provider_close(o->inner);
		return NULL;
	}
	c->base.ops = &ops;
	c->loop = o->loop;
	c->inner = o->inner;
	list_init(&c->calls);
	c->refused = mem_strdup(o->refused);
	if (cli_cache_name(&o->key, name, e) == 0)
		c->path = sso_file_path(o->environ, SSO_ROLES, name, e);
	if (c->path && (c->refused || !o->refused))
		return &c->base;
	if (c->path)
		(void)err_set(e, ERR_NOMEM, "credentials");
	cli_close(&c->base);
	return NULL;
}
