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
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/provider_impl.h"
#include "credentials/sso_files.h"

enum { NAME_JSON_MAX = 16 * 1024, LEFT_MS = 15 * 60 * 1000 };

struct cli {
	struct source base;
	struct loop *loop;
	struct provider *inner;
	char *path, *refused;
};

struct cli_call {
	struct source_call base;
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

static void drop(struct source_call *call)
{
	struct cli_call *cc = (struct cli_call *)call;

	file_job_cancel(cc->job);
	provider_cancel(cc->asking);
	creds_unref(cc->creds);
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
	source_end(&cc->base, c, NULL);
}

static void on_fetched(void *arg, struct creds *c, const struct err *why)
{
	struct cli_call *cc = arg;
	struct cli *p = (struct cli *)cc->base.base.provider;
	char *text;
	struct err e;

	cc->asking = NULL;
	if (!c) {
		source_end(&cc->base, NULL, why);
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
	struct cli *p = (struct cli *)cc->base.base.provider;
	struct creds *c = NULL;
	struct err e;

	(void)why; /* there is none yet */
	cc->job = NULL;
	if (text)
		c = sso_role_parse(text, n, provider_describe(p->inner), &e);
	if (c && good(p, c)) {
		source_end(&cc->base, c, NULL);
		return;
	}
	creds_unref(c);
	cc->asking = provider_get(p->inner, on_fetched, cc, &e);
	if (!cc->asking)
		source_end(&cc->base, NULL, &e);
}

static int begin(struct source_call *call, struct err *e)
{
	struct cli_call *cc = (struct cli_call *)call;
	const struct cli *c = (struct cli *)call->base.provider;

	cc->job = file_job_read(c->loop, c->path, on_read, cc, e);
	return cc->job ? 0 : -1;
}

static void cli_free(struct provider *p)
{
	struct cli *c = (struct cli *)p;

	provider_close(c->inner);
	mem_free(c->path);
	mem_free(c->refused);
}

static const char *cli_describe(const struct provider *p)
{
	return provider_describe(((const struct cli *)p)->inner);
}

static const struct source_ops ops = {
	.base = { .name = "AWS CLI's cache",
		  .get = source_get,
		  .cancel = source_cancel,
		  .close = source_close,
		  .describe = cli_describe },
	.call_size = sizeof(struct cli_call),
	.begin = begin,
	.drop = drop,
	.free = cli_free,
};

struct provider *cli_cache_new(const struct cli_cache_opts *o, struct err *e)
{
	struct cli *c = source_new(sizeof(*c), &ops, e);
	char name[41];

	if (!c) {
		provider_close(o->inner);
		return NULL;
	}
	c->loop = o->loop;
	c->inner = o->inner;
	c->refused = mem_strdup(o->refused);
	if (cli_cache_name(&o->key, name, e) == 0)
		c->path = sso_file_path(o->environ, SSO_ROLES, name, e);
	if (c->path && (c->refused || !o->refused))
		return &c->base.base;
	if (c->path)
		(void)err_set(e, ERR_NOMEM, "credentials");
	source_close(&c->base.base);
	return NULL;
}
