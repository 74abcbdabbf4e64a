/* Which service a path belongs to, and what they have in common. */
#include "cmd/localaws/sign_in.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"

static const struct operation {
	const char *method, *path, *name;
	rest_op *run;
	enum { OIDC = 0, PORTAL, SIGNIN } service;
} operations[] = {
	{ "POST", "/client/register", "RegisterClient", oidc_register, OIDC },
	{ "POST", "/device_authorization", "StartDeviceAuthorization", oidc_device_authorization,
	  OIDC },
	{ "POST", "/token", "CreateToken", oidc_token, OIDC },
	{ "GET", "/federation/credentials", "GetRoleCredentials", portal_role, PORTAL },
	{ "POST", "/v1/token", "CreateOAuth2Token", signin_token, SIGNIN },
};

const char *rest_text(const struct rest_call_in *c, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c->input, name));
}

void rest_answer(struct rest_call_in *c, int status, cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);

	c->reply->status = status;
	c->reply->type = "application/json";
	c->reply->json_id = true;
	buf_clear(&c->reply->body);
	if (!text || buf_add(&c->reply->body, text, strlen(text), NULL) != 0) {
		log_error("http", "out of memory");
		c->reply->status = 500;
	}
	cJSON_free(text);
	cJSON_Delete(root);
}

void rest_refuse(struct rest_call_in *c, int status, const char *type, cJSON *body)
{
	c->reply->error_type = type;
	rest_answer(c, status, body);
}

void sign_in_random(const char *prefix, char out[SIGN_IN_TEXT])
{
	unsigned char bytes[24];
	char hex[49];

	random_bytes(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), hex);
	(void)str_fmt(out, SIGN_IN_TEXT, "%s%s", prefix, hex);
}

void sign_in_url(const struct rest_call_in *c, const char *path, char *out, size_t size)
{
	const struct http1_field *host = http1_find(c->request->head, "host");

	(void)str_fmt(out, size, "%s://%.*s%s", c->w->tls ? "https" : "http",
		      host ? (int)host->value.n : 0, host ? host->value.p : "", path);
}

/* Each service in its own words. */
static void refuse_plainly(struct rest_call_in *c, const struct operation *op, int status,
			   const char *type, const char *word)
{
	cJSON *body = cJSON_CreateObject();

	if (op->service == OIDC) {
		cJSON_AddStringToObject(body, "error", word);
	} else {
		if (op->service == SIGNIN)
			cJSON_AddStringToObject(body, "error", word);
		cJSON_AddStringToObject(body, "message", word);
	}
	rest_refuse(c, status, type, body);
}

static bool struck_by_fault(struct rest_call_in *c, const struct operation *op)
{
	static const char *const names[] = {
		[PORTAL] = "portal.sso", [OIDC] = "oidc", [SIGNIN] = "signin"
	};
	const char *service = names[op->service];

	if (fault_take_at(&c->w->faults, FAULT_THROTTLE_API, service, op->name)) {
		if (op->service == OIDC)
			refuse_plainly(c, op, 400, "SlowDownException", "slow_down");
		else
			refuse_plainly(c, op, 429,
				       op->service == PORTAL ? "TooManyRequestsException"
							     : "TooManyRequestsError",
				       "Rate exceeded");
		return true;
	}
	if (fault_take_at(&c->w->faults, FAULT_FAIL_API, service, op->name)) {
		refuse_plainly(c, op, 500, "InternalServerException", "server_error");
		return true;
	}
	return false;
}

static void run(struct rest_call_in *c, const struct operation *op)
{
	struct api_count *count = api_count_of(&c->w->apis, op->name);
	bool post = strcmp(op->method, "POST") == 0;
	cJSON *input = post ? cJSON_ParseWithLength((const char *)c->request->body,
						    c->request->body_len)
			    : NULL;

	count->calls++;
	c->input = input;
	if (post && !cJSON_IsObject(input))
		refuse_plainly(c, op, 400, "InvalidRequestException", "invalid_request");
	else if (!struck_by_fault(c, op))
		op->run(c);
	cJSON_Delete(input);
	if (c->reply->status != 200)
		count->failed++;
	log_debug("api", "%s: %d", op->name, c->reply->status);
}

bool sign_in_handle(struct world *w, const struct request *q, struct reply *r)
{
	struct rest_call_in c = { .w = w, .request = q, .reply = r };

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (http1_text_is(q->path, operations[i].path) &&
		    http1_text_is(q->head->method, operations[i].method)) {
			w->stats.requests++;
			run(&c, &operations[i]);
			return true;
		}
	return false;
}
