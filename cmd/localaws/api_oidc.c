/*
 * IAM Identity Center OIDC (version 2019-06-10): RegisterClient,
 * StartDeviceAuthorization, and CreateToken with a device code or a refresh
 * token. Who signs in approves at /_localaws/device. Refresh tokens count once.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "base/random.h"
#include "base/str.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"
enum { CLIENT_LIFE_S = 90 * 86400, DEVICE_LIFE_S = 600, TOKEN_LIFE_S = 28800, INTERVAL_S = 1 };

static const struct {
	const char *word, *type;
	int status;
} refusals[] = {
	{ "invalid_request", "InvalidRequestException", 400 },
	{ "invalid_client", "InvalidClientException", 401 },
	{ "invalid_client_metadata", "InvalidClientMetadataException", 400 },
	{ "invalid_grant", "InvalidGrantException", 400 },
	{ "unsupported_grant_type", "UnsupportedGrantTypeException", 400 },
	{ "authorization_pending", "AuthorizationPendingException", 400 },
	{ "slow_down", "SlowDownException", 400 },
	{ "expired_token", "ExpiredTokenException", 400 },
	{ "access_denied", "AccessDeniedException", 400 },
};

static void refuse(struct rest_call_in *c, const char *word, const char *description)
{
	cJSON *body = cJSON_CreateObject();
	size_t i = 0;

	while (strcmp(refusals[i].word, word) != 0)
		i++;
	cJSON_AddStringToObject(body, "error", word);
	if (description)
		cJSON_AddStringToObject(body, "error_description", description);
	else
		cJSON_AddNullToObject(body, "error_description");
	rest_refuse(c, refusals[i].status, refusals[i].type, body);
}

/* --- clients --- */

static bool wants_access(const cJSON *scopes)
{
	const cJSON *it;

	cJSON_ArrayForEach(it, scopes)
	{
		const char *text = cJSON_GetStringValue(it);

		if (text && strcmp(text, "sso:account:access") == 0)
			return true;
	}
	return false;
}

void oidc_register(struct rest_call_in *c)
{
	struct sign_in *s = &c->w->sign_in;
	const char *name = rest_text(c, "clientName"), *type = rest_text(c, "clientType");
	int64_t now = world_wall_ms(c->w), issued_s = now / 1000, expires_s;
	struct oidc_client *client = &s->clients[s->client_count % SIGN_IN_CLIENTS];
	cJSON *out;

	if (!name || !*name || !type || strcmp(type, "public") != 0) {
		refuse(c, "invalid_client_metadata", "clientName and clientType public expected");
		return;
	}
	s->client_count++;
	sign_in_random("client-", client->id);
	sign_in_random("secret-", client->secret);
	client->expires_ms =
		now +
		(int64_t)(fault_value(&c->w->faults, FAULT_CLIENT_LIFE, CLIENT_LIFE_S) * 1000);
	expires_s = client->expires_ms / 1000;
	client->may_refresh = wants_access(cJSON_GetObjectItemCaseSensitive(c->input, "scopes"));
	out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "clientId", client->id);
	cJSON_AddStringToObject(out, "clientSecret", client->secret);
	cJSON_AddNumberToObject(out, "clientIdIssuedAt", (double)issued_s);
	cJSON_AddNumberToObject(out, "clientSecretExpiresAt", (double)expires_s);
	rest_answer(c, 200, out);
}

/* NULL: refused. */
static const struct oidc_client *the_client(struct rest_call_in *c)
{
	const struct sign_in *s = &c->w->sign_in;
	const char *id = rest_text(c, "clientId"), *secret = rest_text(c, "clientSecret");

	for (size_t i = 0; id && secret && i < SIGN_IN_CLIENTS; i++)
		if (*s->clients[i].id && strcmp(s->clients[i].id, id) == 0 &&
		    strcmp(s->clients[i].secret, secret) == 0 &&
		    s->clients[i].expires_ms > world_wall_ms(c->w))
			return &s->clients[i];
	if (id && secret)
		refuse(c, "invalid_client", "Client is unknown or has expired");
	else
		refuse(c, "invalid_request", "clientId and clientSecret expected");
	return NULL;
}

/* --- the device --- */

static void make_user_code(char out[10])
{
	static const char letters[] = "BCDFGHJKLMNPQRSTVWXZ";

	for (int i = 0; i < 9; i++)
		out[i] = letters[random_below(sizeof(letters) - 1)];
	out[4] = '-';
	out[9] = '\0';
}

void oidc_device_authorization(struct rest_call_in *c)
{
	struct sign_in *s = &c->w->sign_in;
	const struct oidc_client *client = the_client(c);
	const char *start_url = rest_text(c, "startUrl");
	double life = fault_value(&c->w->faults, FAULT_DEVICE_LIFE, DEVICE_LIFE_S);
	struct oidc_device *d = &s->devices[s->device_count % SIGN_IN_DEVICES];
	char url[512], complete[600];
	cJSON *out;

	if (!client)
		return;
	if (!start_url || !str_starts(start_url, "http")) {
		refuse(c, "invalid_request", "Invalid start url provided");
		return;
	}
	s->device_count++;
	*d = (struct oidc_device){ .expires_ms = world_wall_ms(c->w) + (int64_t)(life * 1000) };
	sign_in_random("device-", d->code);
	make_user_code(d->user_code);
	(void)str_fmt(d->client_id, sizeof(d->client_id), "%s", client->id);
	(void)str_fmt(d->start_url, sizeof(d->start_url), "%s", start_url);
	sign_in_url(c, "/_localaws/device", url, sizeof(url));
	(void)str_fmt(complete, sizeof(complete), "%s?user_code=%s", url, d->user_code);
	out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "deviceCode", d->code);
	cJSON_AddStringToObject(out, "userCode", d->user_code);
	cJSON_AddStringToObject(out, "verificationUri", url);
	cJSON_AddStringToObject(out, "verificationUriComplete", complete);
	cJSON_AddNumberToObject(out, "expiresIn", life);
	cJSON_AddNumberToObject(out, "interval", INTERVAL_S);
	rest_answer(c, 200, out);
}

/* --- tokens --- */

static void give_token(struct rest_call_in *c, const struct oidc_client *client)
{
	struct sign_in *s = &c->w->sign_in;
	double life = fault_value(&c->w->faults, FAULT_TOKEN_LIFE, TOKEN_LIFE_S);
	struct oidc_token *t = &s->tokens[s->token_count++ % SIGN_IN_TOKENS];
	cJSON *out = cJSON_CreateObject();

	*t = (struct oidc_token){ .expires_ms = world_wall_ms(c->w) + (int64_t)(life * 1000) };
	(void)str_fmt(t->client_id, sizeof(t->client_id), "%s", client->id);
	sign_in_random("access-", t->access);
	if (client->may_refresh)
		sign_in_random("refresh-", t->refresh);
	cJSON_AddStringToObject(out, "accessToken", t->access);
	cJSON_AddStringToObject(out, "tokenType", "Bearer");
	cJSON_AddNumberToObject(out, "expiresIn", life);
	if (*t->refresh)
		cJSON_AddStringToObject(out, "refreshToken", t->refresh);
	rest_answer(c, 200, out);
}

static void by_device(struct rest_call_in *c, const struct oidc_client *client)
{
	struct sign_in *s = &c->w->sign_in;
	const char *code = rest_text(c, "deviceCode");
	int64_t now = world_wall_ms(c->w), last;
	struct oidc_device *d = NULL;

	for (size_t i = 0; code && i < SIGN_IN_DEVICES; i++)
		if (*s->devices[i].code && strcmp(s->devices[i].code, code) == 0 &&
		    strcmp(s->devices[i].client_id, client->id) == 0)
			d = &s->devices[i];
	if (!d || d->state == DEVICE_USED) {
		refuse(c, "invalid_grant", "Invalid device code provided");
		return;
	}
	last = d->polled_ms;
	d->polled_ms = now;
	if (d->expires_ms <= now) {
		refuse(c, "expired_token", "Device code has expired");
	} else if (fault_take(&c->w->faults, FAULT_SLOW_DOWN) ||
		   (d->state == DEVICE_PENDING && last && now - last < INTERVAL_S * 800)) {
		refuse(c, "slow_down", NULL);
	} else if (d->state == DEVICE_PENDING) {
		refuse(c, "authorization_pending", NULL);
	} else if (d->state == DEVICE_DENIED) {
		refuse(c, "access_denied", NULL);
	} else {
		d->state = DEVICE_USED;
		give_token(c, client);
	}
}

static void by_refresh(struct rest_call_in *c, const struct oidc_client *client)
{
	struct sign_in *s = &c->w->sign_in;
	const char *refresh = rest_text(c, "refreshToken");

	for (size_t i = 0; refresh && i < SIGN_IN_TOKENS; i++) {
		struct oidc_token *t = &s->tokens[i];

		if (!*t->refresh || strcmp(t->refresh, refresh) != 0 ||
		    strcmp(t->client_id, client->id) != 0)
			continue;
		t->refresh[0] = '\0';
		give_token(c, client);
		return;
	}
	refuse(c, "invalid_grant", "Invalid refresh token provided");
}

void oidc_token(struct rest_call_in *c)
{
	const char *grant = rest_text(c, "grantType");
	const struct oidc_client *client = the_client(c);

	if (!client)
		return;
	if (grant && strcmp(grant, DEVICE_GRANT) == 0)
		by_device(c, client);
	else if (grant && strcmp(grant, "refresh_token") == 0)
		by_refresh(c, client);
	else
		refuse(c, "unsupported_grant_type", NULL);
}
