/* The portal of IAM Identity Center (version 2019-06-10): GetRoleCredentials. */
#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

enum { ROLE_LIFE_S = 3600 };

static void refuse(struct rest_call_in *c, int status, const char *type, const char *message)
{
	cJSON *body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "message", message);
	cJSON_AddStringToObject(body, "__type", type);
	rest_refuse(c, status, type, body);
}

static bool signed_in(struct rest_call_in *c)
{
	const struct http1_field *bearer = http1_find(c->request->head, "x-amz-sso_bearer_token");
	const struct sign_in *s = &c->w->sign_in;

	if (!bearer || fault_take(&c->w->faults, FAULT_REFUSE_TOKEN))
		return false;
	for (size_t i = 0; i < SIGN_IN_TOKENS; i++)
		if (*s->tokens[i].access && http1_text_is(bearer->value, s->tokens[i].access))
			return s->tokens[i].expires_ms > world_wall_ms(c->w);
	return false;
}

static bool account_ok(const char *account)
{
	return account && strlen(account) == 12 && strspn(account, "0123456789") == 12;
}

static void give_role(struct rest_call_in *c, const char *account, const char *role)
{
	double life = fault_value(&c->w->faults, FAULT_EXPIRE_CREDENTIALS, ROLE_LIFE_S);
	char arn[300];
	struct err e;
	const struct key *key;
	cJSON *out, *at;

	(void)str_fmt(arn, sizeof(arn),
		      "arn:aws:iam::%s:role/AWSReservedSSO_%.64s_0123456789abcdef", account, role);
	if (!keys_role_account(&c->w->keys, arn)) {
		refuse(c, 403, "ForbiddenException", "No access");
		return;
	}
	key = keys_issue(&c->w->keys, arn, "user", world_wall_ms(c->w) + (int64_t)(life * 1000),
			 &e);
	if (!key) {
		refuse(c, 500, "InternalServerException", e.msg);
		return;
	}
	out = cJSON_CreateObject();
	at = cJSON_AddObjectToObject(out, "roleCredentials");
	cJSON_AddStringToObject(at, "accessKeyId", key->id);
	cJSON_AddStringToObject(at, "secretAccessKey", key->secret.text);
	cJSON_AddStringToObject(at, "sessionToken", key->token.text);
	cJSON_AddNumberToObject(at, "expiration", (double)key->expires_ms);
	rest_answer(c, 200, out);
}

void portal_role(struct rest_call_in *c)
{
	struct form form;
	const char *account, *role;

	if (form_parse(&form, c->request->query.p, c->request->query.n, NULL) != 0) {
		refuse(c, 400, "InvalidRequestException", "the query cannot be read");
		return;
	}
	account = form_get(&form, "account_id");
	role = form_get(&form, "role_name");
	if (!account_ok(account) || !role || !*role)
		refuse(c, 400, "InvalidRequestException",
		       "role_name and an account_id of 12 digits expected");
	else if (!signed_in(c))
		refuse(c, 401, "UnauthorizedException", "Session token not found or invalid");
	else if (fault_take(&c->w->faults, FAULT_FORBID_ROLE))
		refuse(c, 403, "ForbiddenException", "No access");
	else
		give_role(c, account, role);
	form_free(&form);
}
