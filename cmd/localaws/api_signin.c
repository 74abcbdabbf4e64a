/*
 * AWS sign-in (version 2023-01-01): CreateOAuth2Token with a refresh token and
 * a proof of possession of the key that it was given to. Refresh tokens count
 * once. `aws login` itself, which goes through a browser, is not played: POST
 * /_localaws/login-session gives the file that it would have written.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

enum { LIFE_S = 900 };

static void refuse(struct rest_call_in *c, int status, const char *type, const char *error,
		   const char *message)
{
	cJSON *body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "error", error);
	cJSON_AddStringToObject(body, "message", message);
	rest_refuse(c, status, type, body);
}

static void invalid(struct rest_call_in *c, const char *message)
{
	refuse(c, 400, "ValidationException", "INVALID_REQUEST", message);
}

static void give(struct rest_call_in *c, struct login_grant *g)
{
	double life = fault_value(&c->w->faults, FAULT_EXPIRE_CREDENTIALS, LIFE_S);
	struct err e;
	const struct key *key = keys_issue(&c->w->keys, "arn:aws:iam::" KEYS_ACCOUNT ":role/login",
					   "user", world_wall_ms(c->w) + (int64_t)(life * 1000),
					   &e);
	cJSON *out, *at;

	if (!key) {
		refuse(c, 500, "InternalServerException", "server_error", e.msg);
		return;
	}
	sign_in_random("login-", g->refresh);
	out = cJSON_CreateObject();
	at = cJSON_AddObjectToObject(out, "accessToken");
	cJSON_AddStringToObject(at, "accessKeyId", key->id);
	cJSON_AddStringToObject(at, "secretAccessKey", key->secret.text);
	cJSON_AddStringToObject(at, "sessionToken", key->token.text);
	cJSON_AddStringToObject(out, "tokenType",
				"urn:aws:params:oauth:token-type:access_token_sigv4");
	cJSON_AddNumberToObject(out, "expiresIn", life);
	cJSON_AddStringToObject(out, "refreshToken", g->refresh);
	rest_answer(c, 200, out);
}

static struct login_grant *find(struct rest_call_in *c, const char *refresh, const char *client)
{
	struct sign_in *s = &c->w->sign_in;

	for (size_t i = 0; i < SIGN_IN_LOGINS; i++)
		if (*s->logins[i].refresh && strcmp(s->logins[i].refresh, refresh) == 0 &&
		    strcmp(s->logins[i].client_id, client) == 0 &&
		    s->logins[i].expires_ms > world_wall_ms(c->w))
			return &s->logins[i];
	return NULL;
}

void signin_token(struct rest_call_in *c)
{
	const char *grant = rest_text(c, "grantType"), *client = rest_text(c, "clientId");
	const char *refresh = rest_text(c, "refreshToken");
	char x[44], y[44], why[160];
	struct login_grant *g;

	if (!grant || !client || !refresh || strcmp(grant, "refresh_token") != 0) {
		invalid(c, "clientId, grantType refresh_token and refreshToken expected");
		return;
	}
	if (!proof_check(c, x, y, why, sizeof(why))) {
		invalid(c, why);
		return;
	}
	g = find(c, refresh, client);
	if (fault_take(&c->w->faults, FAULT_REFUSE_LOGIN))
		refuse(c, 400, "AccessDeniedException", "INSUFFICIENT_PERMISSIONS",
		       "not authorized to perform: signin:CreateOAuth2Token");
	else if (!g)
		refuse(c, 400, "AccessDeniedException", "TOKEN_EXPIRED",
		       "The refresh token has expired or was used");
	else if (strcmp(g->x, x) != 0 || strcmp(g->y, y) != 0)
		invalid(c, "the proof is signed with another key");
	else
		give(c, g);
}
