#include "cmd/localaws/service.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/admin.h"
#include "cmd/localaws/api.h"
#include "cmd/localaws/auth.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

#define CHANNEL_PATH "/v1/data-channel/"

/* How each protocol words a refused signature. */
static const struct {
	int status;
	const char *code, *text; /* text NULL: auth's own */
} refusals[][AUTH_MISMATCH + 1] = {
	[API_JSON] = {
		[AUTH_MISSING] = { 400, "MissingAuthenticationTokenException", NULL },
		[AUTH_INCOMPLETE] = { 400, "IncompleteSignatureException", NULL },
		[AUTH_UNKNOWN_KEY] = { 400, "UnrecognizedClientException", NULL },
		[AUTH_BAD_TOKEN] = { 400, "UnrecognizedClientException", NULL },
		[AUTH_EXPIRED] = { 400, "ExpiredTokenException", NULL },
		[AUTH_SKEWED] = { 400, "InvalidSignatureException", NULL },
		[AUTH_SCOPE] = { 400, "InvalidSignatureException", NULL },
		[AUTH_MISMATCH] = { 400, "InvalidSignatureException", NULL },
	},
	[API_STS] = {
		[AUTH_MISSING] = { 403, "MissingAuthenticationToken",
				   "Request is missing Authentication Token" },
		[AUTH_INCOMPLETE] = { 400, "IncompleteSignature", NULL },
		[AUTH_UNKNOWN_KEY] = { 403, "InvalidClientTokenId", NULL },
		[AUTH_BAD_TOKEN] = { 403, "InvalidClientTokenId", NULL },
		[AUTH_EXPIRED] = { 403, "ExpiredToken", NULL },
		[AUTH_SKEWED] = { 403, "SignatureDoesNotMatch", NULL },
		[AUTH_SCOPE] = { 403, "SignatureDoesNotMatch", NULL },
		[AUTH_MISMATCH] = { 403, "SignatureDoesNotMatch", NULL },
	},
	[API_EC2] = {
		[AUTH_MISSING] = { 400, "MissingParameter",
				   "The request must contain the parameter AWSAccessKeyId" },
		[AUTH_INCOMPLETE] = { 400, "IncompleteSignature", NULL },
		[AUTH_UNKNOWN_KEY] = { 401, "AuthFailure", "AWS was not able to validate the "
							   "provided access credentials" },
		[AUTH_BAD_TOKEN] = { 401, "AuthFailure", "AWS was not able to validate the "
							 "provided access credentials" },
		[AUTH_EXPIRED] = { 400, "RequestExpired", "Request has expired." },
		[AUTH_SKEWED] = { 400, "RequestExpired", "Request has expired." },
		[AUTH_SCOPE] = { 401, "AuthFailure", NULL },
		[AUTH_MISMATCH] = { 401, "AuthFailure", "AWS was not able to validate the "
							"provided access credentials" },
	},
};

/* --- operations --- */

static bool authorised(struct api_call *c, const char *service)
{
	const struct request *q = c->request;
	struct auth_request r = { .head = q->head,
				  .path = q->path,
				  .query = q->query,
				  .body = q->body,
				  .body_len = q->body_len,
				  .service = service };
	char text[512] = "";
	struct auth_caller caller;
	enum auth_result result = auth_verify(c->w, &r, &caller, text, sizeof(text));
	const char *fixed;

	c->caller = caller.key;
	(void)str_fmt(c->region, sizeof(c->region), "%s", caller.region);
	if (result == AUTH_OK)
		return true;
	fixed = refusals[c->protocol][result].text;
	log_info("auth", "%s request refused: %s", service, text);
	api_error(c, refusals[c->protocol][result].status, refusals[c->protocol][result].code, "%s",
		  fixed ? fixed : text);
	return false;
}

static bool struck_by_fault(struct api_call *c, const char *service, const char *op)
{
	if (c->protocol == API_EC2 && fault_take_at(&c->w->faults, FAULT_DENY_EC2, NULL, op)) {
		api_error(c, 403, "UnauthorizedOperation",
			  "You are not authorized to perform this operation.");
		return true;
	}
	if (fault_take_at(&c->w->faults, FAULT_THROTTLE_API, service, op)) {
		if (c->protocol == API_EC2)
			api_error(c, 503, "RequestLimitExceeded", "Request limit exceeded.");
		else
			api_error(c, 400,
				  c->protocol == API_STS ? "Throttling" : "ThrottlingException",
				  "Rate exceeded");
		return true;
	}
	if (fault_take_at(&c->w->faults, FAULT_FAIL_API, service, op)) {
		api_error(c, 500,
			  c->protocol == API_JSON  ? "InternalServerError"
			  : c->protocol == API_EC2 ? "InternalError"
						   : "InternalFailure",
			  "An internal error has occurred");
		return true;
	}
	return false;
}

static const struct api_op *find_op(const struct api_op *ops, const char *name, size_t n)
{
	for (; ops->name; ops++)
		if (strlen(ops->name) == n && memcmp(ops->name, name, n) == 0)
			return ops;
	return NULL;
}

/* service: whose signature it must have; NULL: none. */
static void run(struct api_call *c, const struct api_op *op, const char *service)
{
	struct api_count *count = api_count_of(&c->w->apis, op->name);

	count->calls++;
	c->reply->service = service;
	if ((!service || authorised(c, service)) && !struck_by_fault(c, service, op->name))
		op->run(c);
	if (c->reply->status != 200)
		count->failed++;
	log_debug("api", "%s.%s: %d", service ? service : "unsigned", op->name, c->reply->status);
}

static void json_call(struct api_call *c, struct http1_text target)
{
	static const struct {
		const char *prefix, *service;
		const struct api_op *ops;
	} services[] = { { "AmazonSSM.", "ssm", api_ssm_ops },
			 { "AWSEC2InstanceConnectService.", "ec2-instance-connect", api_eic_ops } };
	const struct api_op *op = NULL;
	const char *service = NULL;
	cJSON *input;

	for (size_t i = 0; i < sizeof(services) / sizeof(*services) && !op; i++) {
		size_t skip = strlen(services[i].prefix);

		service = services[i].service;
		if (target.n > skip && memcmp(target.p, services[i].prefix, skip) == 0)
			op = find_op(services[i].ops, target.p + skip, target.n - skip);
	}
	if (!op) {
		api_error(c, 400, "UnknownOperationException", "%s", "");
		return;
	}
	input = cJSON_ParseWithLength((const char *)c->request->body, c->request->body_len);
	if (cJSON_IsObject(input)) {
		c->input = input;
		run(c, op, service);
	} else {
		api_error(c, 400, "SerializationException", "the body is not a JSON object");
	}
	cJSON_Delete(input);
}

static void form_call(struct api_call *c, const struct form *form)
{
	const char *action = form_get(form, "Action"), *version = form_get(form, "Version");
	const struct api_op *op;

	c->form = form;
	c->protocol = version && strcmp(version, "2011-06-15") == 0 ? API_STS : API_EC2;
	if (!action || !version) {
		api_error(c, 400, "MissingAction", "The request must contain Action and Version");
		return;
	}
	if (c->protocol == API_EC2 && strcmp(version, "2016-11-15") != 0) {
		api_error(c, 400, "NoSuchVersion", "The requested version (%.40s) is not valid",
			  version);
		return;
	}
	op = c->protocol == API_STS ? find_op(api_sts_unsigned_ops, action, strlen(action)) : NULL;
	if (op) {
		run(c, op, NULL);
		return;
	}
	op = find_op(c->protocol == API_STS ? api_sts_ops : api_ec2_ops, action, strlen(action));
	if (op)
		run(c, op, c->protocol == API_STS ? "sts" : "ec2");
	else
		api_error(c, 400, "InvalidAction",
			  "The action %.60s is not valid for this web service.", action);
}

static void query_call(struct api_call *c)
{
	const struct request *q = c->request;
	bool post = http1_text_is(q->head->method, "POST");
	struct form form;
	struct err e = { 0 };
	int failed = post ? form_parse(&form, (const char *)q->body, q->body_len, &e)
			  : form_parse(&form, q->query.p, q->query.n, &e);

	if (failed) {
		c->protocol = API_EC2;
		api_error(c, 400, "InvalidParameterValue", "%s", e.msg);
		return;
	}
	if (form_get(&form, "Action")) {
		form_call(c, &form);
	} else {
		/* What the real service says to a plain GET. */
		static const char unknown[] = "<UnknownOperationException/>\n";

		c->reply->status = 404;
		c->reply->type = "application/xml";
		if (buf_add(&c->reply->body, unknown, sizeof(unknown) - 1, NULL) != 0)
			log_error("http", "out of memory");
	}
	form_free(&form);
}

/* --- the data channel's upgrade --- */

static void deny(struct reply *r, int status, const char *text)
{
	r->status = status;
	r->type = "text/plain";
	if (buf_addf(&r->body, NULL, "%s\n", text) != 0)
		log_error("http", "out of memory");
}

static bool query_has(struct http1_text query, const char *name, const char *value)
{
	struct form f;
	const char *have;
	bool same;

	if (form_parse(&f, query.p, query.n, NULL) != 0)
		return false;
	have = form_get(&f, name);
	same = have && strcmp(have, value) == 0;
	form_free(&f);
	return same;
}

static bool is_own_channel(struct world *w, const struct key *caller, const char *id)
{
	const struct session *s = session_find(w, id);

	return !s || strcmp(s->params.account, caller->account) == 0;
}

static bool channel_signature_ok(struct world *w, const struct request *q, const char *id,
				 struct reply *r)
{
	struct auth_request a = {
		.head = q->head, .path = q->path, .query = q->query, .service = "ssmmessages"
	};
	struct auth_caller caller;
	char text[512] = "";
	enum auth_result result = auth_verify(w, &a, &caller, text, sizeof(text));

	if (result == AUTH_MISSING && !w->opts->require_signed_ws) {
		w->stats.websockets_unsigned++;
		return true;
	}
	if (result == AUTH_OK && is_own_channel(w, caller.key, id))
		return true;
	if (result == AUTH_OK)
		(void)str_fmt(text, sizeof(text), "the session is another account's");
	log_info("auth", "data channel refused: %s", text);
	deny(r, 403, text);
	return false;
}

static void open_channel(struct world *w, const struct request *q, struct reply *r)
{
	const struct http1_head *h = q->head;
	const struct http1_field *key = http1_find(h, "sec-websocket-key");
	const struct http1_field *version = http1_find(h, "sec-websocket-version");
	size_t skip = strlen(CHANNEL_PATH), n = q->path.n - skip;
	struct api_count *count = api_count_of(&w->apis, "OpenDataChannel");
	char id[sizeof(r->session_id)];

	count->calls++;
	r->service = "ssmmessages";
	(void)str_fmt(id, sizeof(id), "%.*s", (int)n, q->path.p + skip);
	if (!http1_text_is(h->method, "GET") || !h->upgrade ||
	    !http1_has_token(h, "upgrade", "websocket") || !key || key->value.n != 24 || !version ||
	    !http1_text_is(version->value, "13") || n == 0 || n >= sizeof(r->session_id))
		deny(r, 400, "this is not a websocket upgrade");
	else if (!query_has(q->query, "role", "publish_subscribe"))
		deny(r, 400, "role must be publish_subscribe");
	else if (fault_take(&w->faults, FAULT_DENY_CHANNEL))
		deny(r, 403,
		     "not authorized to perform: ssmmessages:OpenDataChannel because no "
		     "identity-based policy allows it");
	else if (channel_signature_ok(w, q, id, r))
		r->upgrade = true;
	if (r->upgrade)
		(void)str_fmt(r->session_id, sizeof(r->session_id), "%s", id);
	else
		count->failed++;
}

static bool path_starts(const struct request *q, const char *prefix)
{
	size_t n = strlen(prefix);

	return q->path.n >= n && memcmp(q->path.p, prefix, n) == 0;
}

void service_handle(struct world *w, const struct request *q, struct reply *r)
{
	const struct http1_field *target = http1_find(q->head, "x-amz-target");
	struct api_call c = { .w = w, .request = q, .reply = r };

	if (path_starts(q, "/_localaws/")) {
		admin_handle(w, q, r);
		return;
	}
	if (sign_in_handle(w, q, r))
		return;
	w->stats.requests++;
	if (metadata_handle(w, q, r))
		return;
	world_settle(w);
	if (path_starts(q, CHANNEL_PATH))
		open_channel(w, q, r);
	else if (q->path.n != 1)
		deny(r, 404, "no such resource");
	else if (target)
		json_call(&c, target->value);
	else
		query_call(&c);
}
