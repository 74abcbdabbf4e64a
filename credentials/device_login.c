#include "credentials/device_login.h"

#include <stdbool.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/rest.h"
#include "net/loop.h"

#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"
enum {
	INTERVAL_S = 5,        /* unless the service says another one */
	SLOWER_S = 5,          /* RFC 8628, 3.5 */
	INTERVAL_MAX_S = 60,   /* a bound for what the service says */
	CODES_MAX = 3,         /* shown, one after the other */
	CLIENT_MARGIN_S = 600, /* one that ends sooner is not used any more */
	BODY_MAX = 64 * 1024,
};

struct device_login {
	struct device_login_opts o;
	char *session, *start_url, *region, *scopes, *oidc_url, *ca_file;
	char *client_path, *token_path;
	struct secret client_id, client_secret, device_code;
	int64_t client_expires_ms, code_ends_ms;
	unsigned interval_s, codes;
	bool client_kept; /* it came from the file */
	struct sso_token token;
	struct file_job *job;
	struct rest_call *rest;
	struct rest_shared shared;
	struct loop_timer pause;
	struct loop_post post;
	struct err why;
};

static void ask_code(struct device_login *d);
static void register_client(struct device_login *d);

static int64_t now_ms(const struct device_login *d)
{
	return clock_wall_ms(loop_clock(d->o.loop));
}

static void fail(struct device_login *d, const struct err *why)
{
	d->o.done(d->o.arg, 0, why);
}

/* --- calls --- */

/* Members one after the other: name, text, ..., NULL. */
static int add_members(struct buf *b, const char *const *pairs, struct err *e)
{
	for (size_t i = 0; pairs[i]; i += 2)
		if (buf_addf(b, e, "%s\"%s\":", i ? "," : "{", pairs[i]) != 0 ||
		    json_add_quoted(b, pairs[i + 1], e) != 0)
			return -1;
	return 0;
}

/* Adds the end, and sends. */
static void call(struct device_login *d, const char *op, const char *path, struct buf *b,
		 rest_fn *fn)
{
	char url[512];
	struct err e;

	if (!str_fmt(url, sizeof(url), "%s%s", d->oidc_url, path))
		(void)err_set(&e, ERR_CONFIG, "endpoint too long: %.60s...", d->oidc_url);
	else if (buf_add(b, "}", 2, &e) == 0) /* with its NUL */
		d->rest = rest_send(d->o.loop, d->o.http,
				    &(struct rest_request){ .op = op,
							    .url = url,
							    .body = (const char *)buf_ptr(b),
							    .ca_file = d->ca_file,
							    .shared = &d->shared },
				    fn, d, &e);
	if (!d->rest)
		fail(d, &e);
}

static void odd_answer(struct device_login *d, const char *op, const struct rest_error *error)
{
	struct err e;

	(void)err_set(&e, ERR_PROTO, "%s: the answer is not complete (request %s)", op,
		      error->request_id);
	fail(d, &e);
}

/* --- the token --- */

static void on_written(void *arg, const char *text, size_t n, const struct err *why)
{
	struct device_login *d = arg;

	(void)n;
	d->job = NULL;
	if (text)
		d->o.done(d->o.arg, d->token.expires_ms, NULL);
	else
		fail(d, why);
}

static int fill_token(struct device_login *d, const char *body, size_t n, struct err *e)
{
	if (sso_token_begin(&d->token, &d->o.where, e) != 0 ||
	    sso_token_renew(&d->token, body, n, now_ms(d), e) != 0)
		return -1;
	/* The older way has no use for them, as the AWS CLI sees it. */
	return d->session ? sso_token_client(&d->token, d->client_id.text, d->client_secret.text,
					     d->client_expires_ms, e)
			  : 0;
}

static void take_token(struct device_login *d, const char *body, size_t n,
		       const struct rest_error *error)
{
	char *text = NULL;
	struct err e;

	if (fill_token(d, body, n, &e) != 0) {
		(void)err_wrap(&e, "oidc: CreateToken (request %s)", error->request_id);
		fail(d, &e);
		return;
	}
	text = sso_token_print(&d->token);
	if (!text)
		(void)err_set(&e, ERR_NOMEM, "token");
	else
		d->job = file_job_write(d->o.loop, d->token_path, text, on_written, d, &e);
	json_text_free(text);
	if (!d->job)
		fail(d, &e);
}

static void poll_later(struct device_login *d);

static bool says(const struct rest_error *error, const char *type, const char *word)
{
	return strcmp(error->code, type) == 0 || strcmp(error->kind, word) == 0;
}

static void on_token(void *arg, const char *body, size_t n, const struct rest_error *error,
		     const struct err *why)
{
	struct device_login *d = arg;
	struct err e;

	d->rest = NULL;
	if (body) {
		take_token(d, body, n, error);
	} else if (says(error, "AuthorizationPendingException", "authorization_pending")) {
		poll_later(d);
	} else if (says(error, "SlowDownException", "slow_down")) {
		d->interval_s += SLOWER_S;
		poll_later(d);
	} else if (says(error, "ExpiredTokenException", "expired_token")) {
		ask_code(d);
	} else if (says(error, "AccessDeniedException", "access_denied")) {
		(void)err_set(&e, ERR_DENIED, "the sign-in was denied in the browser");
		fail(d, &e);
	} else {
		fail(d, why);
	}
}

static void poll(void *arg)
{
	struct device_login *d = arg;
	const char *const members[] = {
		"grantType", DEVICE_GRANT,      "deviceCode",   d->device_code.text,
		"clientId",  d->client_id.text, "clientSecret", d->client_secret.text,
		NULL
	};
	struct buf b;
	struct err e;

	if (now_ms(d) >= d->code_ends_ms) {
		ask_code(d);
		return;
	}
	buf_init(&b, BODY_MAX);
	if (add_members(&b, members, &e) == 0)
		call(d, "oidc: CreateToken", "/token", &b, on_token);
	else
		fail(d, &e);
	buf_free(&b);
}

static void poll_later(struct device_login *d)
{
	if (d->interval_s > INTERVAL_MAX_S)
		d->interval_s = INTERVAL_MAX_S;
	timer_arm(d->o.loop, &d->pause, (uint64_t)d->interval_s * 1000, poll, d);
}

/* --- the code --- */

/* It is shown on a terminal, which would obey a control character. */
static bool printable(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool take_code(struct device_login *d, const cJSON *root, struct err *e)
{
	struct device_code code = { .url = json_text(root, "verificationUri"),
				    .url_with_code = json_text(root, "verificationUriComplete"),
				    .user_code = json_text(root, "userCode") };
	const char *device = json_text(root, "deviceCode");
	int64_t interval;

	if (!code.url || !code.user_code || !device ||
	    !json_number(root, "expiresIn", &code.life_s) || code.life_s < 0 ||
	    code.life_s > INT32_MAX)
		return false;
	if (!code.url_with_code)
		code.url_with_code = code.url;
	if (!printable(code.url) || !printable(code.url_with_code) || !printable(code.user_code))
		return false;
	if (secret_set(&d->device_code, device, e) != 0)
		return false;
	d->interval_s = INTERVAL_S;
	if (json_number(root, "interval", &interval) && interval > 0)
		d->interval_s = (unsigned)(interval < INTERVAL_MAX_S ? interval : INTERVAL_MAX_S);
	d->code_ends_ms = now_ms(d) + code.life_s * 1000;
	d->o.show(d->o.arg, &code);
	return true;
}

static void on_code(void *arg, const char *body, size_t n, const struct rest_error *error,
		    const struct err *why)
{
	struct device_login *d = arg;
	cJSON *root;
	struct err e;

	d->rest = NULL;
	if (!body && d->client_kept && says(error, "InvalidClientException", "invalid_client")) {
		register_client(d); /* the service knows better how long it lives */
		return;
	}
	if (!body) {
		fail(d, why);
		return;
	}
	root = json_secret_parse(body, n);
	if (take_code(d, root, &e))
		poll_later(d);
	else
		odd_answer(d, "oidc: StartDeviceAuthorization", error);
	json_secret_free(root);
}

static void ask_code(struct device_login *d)
{
	const char *const members[] = { "clientId",
					d->client_id.text,
					"clientSecret",
					d->client_secret.text,
					"startUrl",
					d->start_url,
					NULL };
	struct buf b;
	struct err e;

	if (d->codes++ == CODES_MAX) {
		(void)err_set(&e, ERR_TIMEOUT, "nobody confirmed any of %d codes", CODES_MAX);
		fail(d, &e);
		return;
	}
	buf_init(&b, BODY_MAX);
	if (add_members(&b, members, &e) == 0)
		call(d, "oidc: StartDeviceAuthorization", "/device_authorization", &b, on_code);
	else
		fail(d, &e);
	buf_free(&b);
}

/* --- the client --- */

static void on_client_written(void *arg, const char *text, size_t n, const struct err *why)
{
	struct device_login *d = arg;

	(void)text;
	(void)n;
	(void)why; /* then the next sign-in registers another one */
	d->job = NULL;
	ask_code(d);
}

/* As the AWS CLI keeps its own: clientId, clientSecret, expiresAt, scopes. */
static char *client_text(const struct device_login *d)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *list = d->scopes ? cJSON_AddArrayToObject(root, "scopes") : NULL;
	char until[25], one[128], *text = NULL;

	sso_date(d->client_expires_ms, until);
	for (size_t i = 0; list && sso_scope(d->scopes, i, one); i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(one));
	if (root && json_set(root, "clientId", d->client_id.text, NULL) == 0 &&
	    json_set(root, "clientSecret", d->client_secret.text, NULL) == 0 &&
	    json_set(root, "expiresAt", until, NULL) == 0)
		text = json_print(root);
	json_secret_free(root);
	return text;
}

static void keep_client(struct device_login *d)
{
	char *text = client_text(d);
	struct err e;

	if (text)
		d->job = file_job_write(d->o.loop, d->client_path, text, on_client_written, d, &e);
	json_text_free(text);
	if (!d->job)
		ask_code(d);
}

static bool take_client(struct device_login *d, const cJSON *root, struct err *e)
{
	const char *id = json_text(root, "clientId"), *secret = json_text(root, "clientSecret");

	return id && secret && secret_set(&d->client_id, id, e) == 0 &&
	       secret_set(&d->client_secret, secret, e) == 0;
}

static void on_client(void *arg, const char *body, size_t n, const struct rest_error *error,
		      const struct err *why)
{
	struct device_login *d = arg;
	cJSON *root;
	struct err e;
	int64_t ends_s;
	bool ok;

	d->rest = NULL;
	if (!body) {
		fail(d, why);
		return;
	}
	root = json_secret_parse(body, n);
	ok = json_number(root, "clientSecretExpiresAt", &ends_s) && ends_s >= 0 &&
	     ends_s < INT64_C(253402300800) && take_client(d, root, &e);
	json_secret_free(root);
	if (!ok) {
		odd_answer(d, "oidc: RegisterClient", error);
		return;
	}
	d->client_expires_ms = ends_s * 1000;
	keep_client(d);
}

static int client_body(const struct device_login *d, struct buf *b, struct err *e)
{
	char name[40], one[128];
	const char *const members[] = { "clientName", name, "clientType", "public", NULL };

	(void)str_fmt(name, sizeof(name), "awsocks-%lld", (long long)(now_ms(d) / 1000));
	if (add_members(b, members, e) != 0)
		return -1;
	if (!d->scopes)
		return 0;
	for (size_t i = 0; sso_scope(d->scopes, i, one); i++)
		if (buf_addf(b, e, "%s", i ? "," : ",\"scopes\":[") != 0 ||
		    json_add_quoted(b, one, e) != 0)
			return -1;
	return sso_scope(d->scopes, 0, one) ? buf_addf(b, e, "]") : 0;
}

static void register_client(struct device_login *d)
{
	struct buf b;
	struct err e;

	d->client_kept = false;
	d->codes = 0;
	buf_init(&b, BODY_MAX);
	if (client_body(d, &b, &e) == 0)
		call(d, "oidc: RegisterClient", "/client/register", &b, on_client);
	else
		fail(d, &e);
	buf_free(&b);
}

static bool kept_client(struct device_login *d, const char *text, size_t n)
{
	cJSON *root = json_secret_parse(text, n);
	const char *until = json_text(root, "expiresAt");
	bool ok = until && clock_parse_iso(until, &d->client_expires_ms, NULL) == 0 &&
		  d->client_expires_ms - now_ms(d) > CLIENT_MARGIN_S * 1000 &&
		  take_client(d, root, NULL);

	json_secret_free(root);
	return ok;
}

static void on_client_file(void *arg, const char *text, size_t n, const struct err *why)
{
	struct device_login *d = arg;

	(void)why; /* none, or one that cannot be read: a new one is registered */
	d->job = NULL;
	d->client_kept = text && kept_client(d, text, n);
	if (d->client_kept)
		ask_code(d);
	else
		register_client(d);
}

/* --- life --- */

void device_login_free(struct device_login *d)
{
	if (!d)
		return;
	file_job_cancel(d->job);
	rest_cancel(d->rest);
	timer_disarm(d->o.loop, &d->pause);
	sso_token_free(&d->token);
	secret_free(&d->client_id);
	secret_free(&d->client_secret);
	secret_free(&d->device_code);
	mem_free(d->session);
	mem_free(d->start_url);
	mem_free(d->region);
	mem_free(d->scopes);
	mem_free(d->oidc_url);
	mem_free(d->ca_file);
	mem_free(d->client_path);
	mem_free(d->token_path);
	mem_free(d);
}

static bool kept(char **to, const char *text)
{
	*to = mem_strdup(text);
	return *to || !text;
}

static int fill(struct device_login *d, struct err *e)
{
	const struct device_login_opts *o = &d->o;
	char name[SSO_NAME];

	if (!kept(&d->session, o->where.session) || !kept(&d->start_url, o->where.start_url) ||
	    !kept(&d->region, o->where.region) || !kept(&d->scopes, o->scopes) ||
	    !kept(&d->oidc_url, o->oidc_url) || !kept(&d->ca_file, o->ca_file))
		return err_set(e, ERR_NOMEM, "login");
	d->o.where = (struct sso_where){ d->session, d->start_url, d->region };
	if (sso_token_name(&d->o.where, name, e) != 0)
		return -1;
	d->token_path = sso_file_path(o->environ, SSO_TOKENS, name, e);
	if (!d->token_path || sso_client_name(&d->o.where, d->scopes, "awsocks", name, e) != 0)
		return -1;
	d->client_path = sso_file_path(o->environ, SSO_TOKENS, name, e);
	return d->client_path ? 0 : -1;
}

struct device_login *device_login_start(const struct device_login_opts *o, struct err *e)
{
	struct device_login *d = mem_alloc(sizeof(*d));

	if (!d) {
		(void)err_set(e, ERR_NOMEM, "login");
		return NULL;
	}
	d->o = *o;
	rest_shared_init(&d->shared, &o->retry);
	if (fill(d, e) == 0)
		d->job = file_job_read(o->loop, d->client_path, on_client_file, d, e);
	if (d->job)
		return d;
	device_login_free(d);
	return NULL;
}
