#include "backend/ssm/api.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/creds.h"
#include "credentials/endpoint.h"

enum { TOKEN_MAX = 16384, REASON_MAX = 256 };

static const struct {
	const char *name;
	bool has_host, has_local_port;
} documents[] = {
	[API_REMOTE_HOST] = { "AWS-StartPortForwardingSessionToRemoteHost", true, true },
	[API_PORT] = { "AWS-StartPortForwardingSession", false, true },
	[API_SSH] = { "AWS-StartSSHSession", false, false },
};

struct api_call {
	struct aws_call *call;
	char op[24]; /* for messages */
	api_session_fn *session;
	api_status_fn *status;
	api_done_fn *done;
	void *arg;
	struct api api;
	bool needs_url;
};

/* --- replies --- */

static const char *text_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

static bool id_is_plain(const char *id)
{
	size_t n = strlen(id);

	if (n == 0 || n >= API_ID_MAX)
		return false;
	for (; *id; id++)
		if ((unsigned char)*id <= ' ' || (unsigned char)*id >= 0x7f || *id == '"' ||
		    *id == '\\')
			return false;
	return true;
}

static int redirect(const struct api *, const char *url, char out[static API_URL_MAX],
		    struct err *);

/* other: room for another URL than AWS's. */
static int check_session(const struct api_call *c, struct api_session *s,
			 char other[static API_URL_MAX], struct err *e)
{
	if (!id_is_plain(s->id))
		return err_set(e, ERR_PROTO, "reply without a usable SessionId");
	if (strlen(s->token) > TOKEN_MAX || strlen(s->url) >= API_URL_MAX)
		return err_set(e, ERR_PROTO, "reply with an oversized token or StreamUrl");
	if (c->needs_url && (!s->token[0] || !s->url[0]))
		return err_set(e, ERR_PROTO, "reply without token or StreamUrl");
	if (!s->url[0])
		return 0;
	if (!c->api.ssmmessages)
		return api_check_url(&c->api, s->url, e);
	if (redirect(&c->api, s->url, other, e) != 0)
		return -1;
	s->url = other;
	return 0;
}

static void session_reply(struct api_call *c, const cJSON *root)
{
	struct api_session s = { text_of(root, "SessionId"), text_of(root, "StreamUrl"),
				 text_of(root, "TokenValue") };
	char other[API_URL_MAX];
	struct err e;

	if (check_session(c, &s, other, &e) == 0) {
		c->session(c->arg, &s, "", NULL);
		return;
	}
	(void)err_wrap(&e, "%s", c->op);
	s.url = s.token = "";
	c->session(c->arg, id_is_plain(s.id) ? &s : NULL, "", &e);
}

static void fail(struct api_call *c, const char *code, const struct err *why)
{
	if (c->session)
		c->session(c->arg, NULL, code, why);
	else if (c->status)
		c->status(c->arg, false, code, why);
	else
		c->done(c->arg, why);
}

static void wipe_texts(cJSON *object)
{
	cJSON *item;

	cJSON_ArrayForEach(item, object)
	{
		if (cJSON_IsString(item))
			mem_wipe(item->valuestring, strlen(item->valuestring));
	}
}

static void on_reply(void *arg, const struct aws_reply *reply, const char *aws_code,
		     const struct err *why)
{
	struct api_call *c = arg;
	cJSON *root = reply ? cJSON_ParseWithLength(reply->body, reply->body_len) : NULL;
	struct err e;

	if (!reply) {
		fail(c, aws_code ? aws_code : "", why);
	} else if (c->done) {
		c->done(c->arg, NULL);
	} else if (!cJSON_IsObject(root)) {
		(void)err_set(&e, ERR_PROTO, "%s: reply that is not JSON", c->op);
		fail(c, "", &e);
	} else if (c->session) {
		session_reply(c, root);
	} else {
		c->status(c->arg, str_eq_nocase(text_of(root, "Status"), "connected"), "", NULL);
	}
	wipe_texts(root); /* the token among them */
	cJSON_Delete(root);
	mem_free(c);
}

/* --- requests --- */

/* Takes body. */
static struct api_call *send_call(const struct api *api, const char *op, cJSON *body,
				  unsigned limit_ms, const struct api_call *like, struct err *e)
{
	struct api_call *c = mem_alloc(sizeof(*c));
	char *text = body ? cJSON_PrintUnformatted(body) : NULL;
	char target[48];
	struct aws_request r = { .protocol = AWS_JSON11, .service = "ssm", .limit_ms = limit_ms };

	cJSON_Delete(body);
	if (!c || !text) {
		mem_free(c);
		cJSON_free(text);
		(void)err_set(e, ERR_NOMEM, "%s", op);
		return NULL;
	}
	*c = *like;
	c->api = *api;
	str_fmt(c->op, sizeof(c->op), "%s", op);
	str_fmt(target, sizeof(target), "AmazonSSM.%s", op);
	r.endpoint = api->endpoint;
	r.target = target;
	r.body = text;
	c->call = aws_send(api->aws, &r, on_reply, c, e);
	cJSON_free(text);
	if (c->call)
		return c;
	mem_free(c);
	return NULL;
}

static bool add_parameter(cJSON *parameters, const char *name, const char *value)
{
	cJSON *list = cJSON_AddArrayToObject(parameters, name);
	cJSON *text = cJSON_CreateString(value);

	if (list && text && cJSON_AddItemToArray(list, text))
		return true;
	cJSON_Delete(text);
	return false;
}

static cJSON *start_body(const char *target, enum api_document document, const char *host,
			 uint16_t port)
{
	cJSON *root = cJSON_CreateObject(), *parameters;
	char number[8], reason[REASON_MAX + 1];
	bool good;

	str_fmt(number, sizeof(number), "%u", port);
	str_fmt(reason, sizeof(reason), "awsocks %s:%u", host, port);
	good = cJSON_AddStringToObject(root, "Target", target) &&
	       cJSON_AddStringToObject(root, "DocumentName", documents[document].name);
	parameters = cJSON_AddObjectToObject(root, "Parameters");
	good = good && parameters &&
	       (!documents[document].has_host || add_parameter(parameters, "host", host)) &&
	       add_parameter(parameters, "portNumber", number) &&
	       (!documents[document].has_local_port ||
		add_parameter(parameters, "localPortNumber", "0")) &&
	       cJSON_AddStringToObject(root, "Reason", reason);
	if (good)
		return root;
	cJSON_Delete(root);
	return NULL;
}

static cJSON *one_field(const char *key, const char *value)
{
	cJSON *root = cJSON_CreateObject();

	if (cJSON_AddStringToObject(root, key, value))
		return root;
	cJSON_Delete(root);
	return NULL;
}

struct api_call *api_start(const struct api *api, const char *target, enum api_document document,
			   const char *host, uint16_t port, unsigned limit_ms, api_session_fn *fn,
			   void *arg, struct err *e)
{
	struct api_call like = { .session = fn, .arg = arg, .needs_url = true };

	return send_call(api, "StartSession", start_body(target, document, host, port), limit_ms,
			 &like, e);
}

struct api_call *api_resume(const struct api *api, const char *session_id, unsigned limit_ms,
			    api_session_fn *fn, void *arg, struct err *e)
{
	struct api_call like = { .session = fn, .arg = arg };

	return send_call(api, "ResumeSession", one_field("SessionId", session_id), limit_ms, &like,
			 e);
}

struct api_call *api_terminate(const struct api *api, const char *session_id, unsigned limit_ms,
			       api_done_fn *fn, void *arg, struct err *e)
{
	struct api_call like = { .done = fn, .arg = arg };

	return send_call(api, "TerminateSession", one_field("SessionId", session_id), limit_ms,
			 &like, e);
}

struct api_call *api_status(const struct api *api, const char *target, unsigned limit_ms,
			    api_status_fn *fn, void *arg, struct err *e)
{
	struct api_call like = { .status = fn, .arg = arg };

	return send_call(api, "GetConnectionStatus", one_field("Target", target), limit_ms, &like,
			 e);
}

void api_cancel(struct api_call *c)
{
	if (!c)
		return;
	aws_cancel(c->call);
	mem_free(c);
}

/* --- the stream's URL --- */

struct url_parts {
	char scheme[8], host[256], authority[272];
	const char *path; /* inside the URL, up to query_at */
	size_t path_len;
	const char *query; /* NULL: none */
};

static int split(const char *url, struct url_parts *u, struct err *e)
{
	const char *sep = strstr(url, "://"), *end;
	size_t n;

	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
			return err_set(e, ERR_PROTO, "URL with a character that may not be in one");
	if (!sep || !str_fmt(u->scheme, sizeof(u->scheme), "%.*s", (int)(sep - url), url))
		return err_set(e, ERR_PROTO, "URL without a scheme");
	end = sep + 3 + strcspn(sep + 3, "/?");
	n = (size_t)(end - sep - 3);
	if (n == 0 || n >= sizeof(u->authority) || memchr(sep + 3, '@', n))
		return err_set(e, ERR_PROTO, "URL without a plain host");
	str_fmt(u->authority, sizeof(u->authority), "%.*s", (int)n, sep + 3);
	n = u->authority[0] == '[' ? strcspn(u->authority, "]") + 1 : strcspn(u->authority, ":");
	if (!str_fmt(u->host, sizeof(u->host), "%.*s", (int)n, u->authority))
		return err_set(e, ERR_PROTO, "URL with an oversized host");
	str_lower(u->host);
	u->path = end;
	u->path_len = strcspn(end, "?");
	u->query = end[u->path_len] == '?' ? end + u->path_len + 1 : NULL;
	return 0;
}

static bool is_loopback(const char *host)
{
	unsigned a, b, c, d;
	char rest;

	if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a == 127 &&
	       b < 256 && c < 256 && d < 256;
}

int api_check_url(const struct api *api, const char *url, struct err *e)
{
	struct url_parts u, own;
	bool ours;

	if (split(url, &u, e) != 0)
		return err_wrap(e, "StreamUrl");
	/* An emulator may be called localhost, and say 127.0.0.1 itself. */
	ours = api->overridden && split(api->endpoint, &own, NULL) == 0 &&
	       (strcmp(u.host, own.host) == 0 || (is_loopback(u.host) && is_loopback(own.host)));
	if (strcmp(u.scheme, "wss") == 0 && (ours || endpoint_is_ssmmessages(u.host, api->region)))
		return 0;
	if (strcmp(u.scheme, "ws") == 0 && ours && is_loopback(u.host))
		return 0;
	return err_set(
		e, ERR_PROTO,
		"StreamUrl %.8s://%.120s is not at AWS's ssmmessages service in %.40s%s: the "
		"session's token is not sent there (ssmmessages-endpoint names another host)",
		u.scheme, u.authority, api->region,
		api->overridden ? " nor at the endpoint in force" : "");
}

int api_read_ssmmessages(const char *text, char out[static API_URL_MAX], struct err *e)
{
	static const struct {
		const char *said, *meant;
	} schemes[] = { { "wss://", "wss://" },
			{ "https://", "wss://" },
			{ "ws://", "ws://" },
			{ "http://", "ws://" } };
	const char *scheme = "wss://", *rest = text;
	struct url_parts u;
	struct err why;
	size_t n;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (rest == text && str_starts(text, schemes[i].said)) {
			scheme = schemes[i].meant;
			rest = text + strlen(schemes[i].said);
		}
	n = strlen(rest);
	while (n && rest[n - 1] == '/')
		n--;
	if (!str_fmt(out, API_URL_MAX, "%s%.*s", scheme, (int)(n < API_URL_MAX ? n : API_URL_MAX),
		     rest) ||
	    split(out, &u, &why) != 0 || u.query || strstr(rest, "://"))
		return err_set(e, ERR_CONFIG,
			       "ssmmessages-endpoint '%.100s': HOST or wss://HOST expected", text);
	if (strcmp(scheme, "ws://") == 0 && !is_loopback(u.host))
		return err_set(e, ERR_CONFIG,
			       "ssmmessages-endpoint '%.100s': without TLS only to loopback", text);
	return 0;
}

/* What AWS said, at the user's host. */
static int redirect(const struct api *api, const char *url, char out[static API_URL_MAX],
		    struct err *e)
{
	struct url_parts u;

	if (split(url, &u, e) != 0)
		return err_wrap(e, "StreamUrl");
	if (!str_fmt(out, API_URL_MAX, "%s%s", api->ssmmessages, u.path))
		return err_set(e, ERR_PROTO, "reply with an oversized StreamUrl");
	return 0;
}

bool api_url_presigned(const char *url)
{
	const char *query = strchr(url, '?');

	return query && (strstr(query, "?X-Amz-") || strstr(query, "&X-Amz-"));
}

static int sign(const struct url_parts *u, const char *path, const char *region,
		const struct creds *creds, int64_t wall_ms, struct sigv4_result *out, struct err *e)
{
	char host[sizeof(u->authority)];
	struct http_header header = { "host", host };
	struct sigv4_request r = { .method = "GET",
				   .path = path,
				   .query = u->query,
				   .headers = &header,
				   .header_count = 1,
				   .body = "",
				   .region = region,
				   .service = "ssmmessages",
				   .wall_ms = wall_ms,
				   .double_encode_path = true,
				   .normalize_path = true,
				   .query_as_form = true };

	/* as the websocket client sends it: without the scheme's own port */
	str_fmt(host, sizeof(host), "%s", u->authority);
	if (str_ends(host, strcmp(u->scheme, "ws") == 0 ? ":80" : ":443"))
		host[strlen(host) - strlen(strcmp(u->scheme, "ws") == 0 ? ":80" : ":443")] = '\0';
	return sigv4_sign(&r, creds, out, e);
}

int api_sign_upgrade(const char *url, const char *region, const struct creds *creds,
		     int64_t wall_ms, struct api_upgrade *out, struct err *e)
{
	struct url_parts u;
	char *path;
	int r;

	*out = (struct api_upgrade){ 0 };
	if (split(url, &u, e) != 0)
		return err_wrap(e, "StreamUrl");
	path = u.path_len ? mem_strndup(u.path, u.path_len) : mem_strdup("/");
	if (!path)
		return err_set(e, ERR_NOMEM, "websocket's signature");
	r = sign(&u, path, region, creds, wall_ms, &out->signature, e);
	mem_free(path);
	if (r != 0)
		return -1;
	out->headers[out->count++] = (struct http_header){ "Authorization",
							   out->signature.authorization };
	out->headers[out->count++] = (struct http_header){ "X-Amz-Date", out->signature.amz_date };
	if (creds->session_token.text)
		out->headers[out->count++] = (struct http_header){ "X-Amz-Security-Token",
								   creds->session_token.text };
	return 0;
}

void api_upgrade_free(struct api_upgrade *u)
{
	sigv4_result_free(&u->signature);
	*u = (struct api_upgrade){ 0 };
}
