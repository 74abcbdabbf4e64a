/*
 * Written from the EC2 User Guide ("Use IMDSv2", "Instance metadata
 * categories"), the ECS Developer Guide ("Task IAM role") and the EKS Pod
 * Identity Agent's documentation. Version 1 is switched off, as
 * HttpTokens=required does it.
 *
 * Credentials are kept and served again until half of their life, at most
 * 5 min of it, is left: "new credentials are available at least five minutes
 * before the old ones expire".
 */
#include "cmd/localaws/metadata.h"

#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/str.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/world.h"

#define ROLES "/latest/meta-data/iam/security-credentials"
enum { LIFE_S = 6 * 3600, RENEW_MS = 300000, TTL_MAX_S = 21600 };
enum whose { INSTANCE = 0, CONTAINER };

static const char *const role_arn[] = { "arn:aws:iam::" KEYS_ACCOUNT ":role/localaws-instance",
					"arn:aws:iam::" KEYS_ACCOUNT ":role/localaws-task" };

static void put(struct reply *r, int status, const char *type, const char *text)
{
	r->status = status;
	r->type = type;
	if (buf_addf(&r->body, NULL, "%s", text) != 0)
		log_error("metadata", "out of memory");
}

/* --- credentials, in the form that both use --- */

static const struct key *current_key(struct world *w, enum whose whose)
{
	char *id = w->metadata.key_id[whose];
	const struct key *key = keys_find(&w->keys, id, strlen(id));
	double life = fault_value(&w->faults, FAULT_EXPIRE_CREDENTIALS, LIFE_S) * 1000;
	int64_t now = world_wall_ms(w),
		spare = life / 2 < RENEW_MS ? (int64_t)(life / 2) : RENEW_MS;

	if (key && (key->expires_ms - now > spare || fault_on(&w->faults, FAULT_STALE_METADATA)))
		return key;
	key = keys_issue(&w->keys, role_arn[whose],
			 whose == INSTANCE ? w->opts->instances.at[0].id : "task",
			 now + (int64_t)life, NULL);
	if (key)
		(void)str_fmt(id, sizeof(w->metadata.key_id[whose]), "%s", key->id);
	return key;
}

static void put_credentials(struct world *w, struct reply *r, enum whose whose)
{
	const struct key *key = current_key(w, whose);
	char until[25], now[25];

	if (!key || dice_percent(&w->dice, fault_value(&w->faults, FAULT_FAIL_REFRESH, 0))) {
		put(r, 500, "application/json",
		    "{\"code\":\"InternalServerError\",\"message\":\"unable to generate "
		    "credentials\"}");
		return;
	}
	clock_iso(key->expires_ms, until);
	(void)str_fmt(until + 19, 2, "Z");
	clock_iso(world_wall_ms(w), now);
	(void)str_fmt(now + 19, 2, "Z");
	r->status = 200;
	r->type = whose == INSTANCE ? "text/plain" : "application/json";
	if (buf_addf(&r->body, NULL, "{") != 0 ||
	    (whose == INSTANCE
		     ? buf_addf(
			       &r->body, NULL,
			       "\"Code\":\"Success\",\"LastUpdated\":\"%s\",\"Type\":\"AWS-HMAC\",",
			       now)
		     : buf_addf(&r->body, NULL, "\"RoleArn\":\"%s\",", role_arn[whose])) != 0 ||
	    buf_addf(&r->body, NULL,
		     "\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\",\"Token\":\"%s\","
		     "\"Expiration\":\"%s\"%s}",
		     key->id, key->secret.text, key->token.text, until,
		     whose == INSTANCE ? "" : ",\"AccountId\":\"" KEYS_ACCOUNT "\"") != 0)
		log_error("metadata", "out of memory");
}

/* --- the instance metadata service --- */

static void put_token(struct world *w, const struct request *q, struct reply *r)
{
	const struct http1_field *f = http1_find(q->head, "x-aws-ec2-metadata-token-ttl-seconds");
	struct metadata *m = &w->metadata;
	size_t at = m->next++ % METADATA_TOKENS;
	uint8_t raw[42];
	uint64_t ttl;
	char text[16];

	if (!f || f->value.n >= sizeof(text) ||
	    !str_fmt(text, sizeof(text), "%.*s", (int)f->value.n, f->value.p) ||
	    str_number(text, 1, TTL_MAX_S, &ttl, NULL) != 0) {
		put(r, 400, "text/plain", "Bad Request");
		return;
	}
	random_bytes(raw, sizeof(raw));
	str_base64(raw, sizeof(raw), m->token[at].text);
	m->token[at].until_ms = (long long)world_now_ms(w) + (long long)ttl * 1000;
	r->metadata_ttl_s = ttl;
	put(r, 200, "text/plain", m->token[at].text);
}

static bool token_ok(struct world *w, const struct request *q, struct reply *r)
{
	const struct http1_field *f = http1_find(q->head, "x-aws-ec2-metadata-token");
	long long now = (long long)world_now_ms(w);

	for (size_t i = 0; f && i < METADATA_TOKENS; i++) {
		const char *text = w->metadata.token[i].text;

		if (*text && w->metadata.token[i].until_ms > now &&
		    secret_equal(f->value.p, f->value.n, text, strlen(text))) {
			r->metadata_ttl_s = (uint64_t)(w->metadata.token[i].until_ms - now) / 1000;
			return true;
		}
	}
	return false;
}

static void get_metadata(struct world *w, const struct request *q, struct reply *r)
{
	const char *region = *w->opts->region ? w->opts->region : "us-east-1";
	char zone[80];

	(void)str_fmt(zone, sizeof(zone), "%sa", region);
	if (http1_text_is(q->path, ROLES) || http1_text_is(q->path, ROLES "/"))
		put(r, 200, "text/plain", "localaws-instance");
	else if (http1_text_is(q->path, ROLES "/localaws-instance"))
		put_credentials(w, r, INSTANCE);
	else if (http1_text_is(q->path, "/latest/meta-data/placement/region"))
		put(r, 200, "text/plain", region);
	else if (http1_text_is(q->path, "/latest/meta-data/placement/availability-zone") ||
		 http1_text_is(q->path, "/latest/meta-data/placement/availability-zone/"))
		put(r, 200, "text/plain", zone);
	else if (http1_text_is(q->path, "/latest/meta-data/instance-id"))
		put(r, 200, "text/plain", w->opts->instances.at[0].id);
	else
		put(r, 404, "text/html", "<h1>404 - Not Found</h1>\n");
}

static void imds(struct world *w, const struct request *q, struct reply *r)
{
	struct api_count *count = api_count_of(&w->apis, "InstanceMetadata");

	count->calls++;
	if (http1_find(q->head, "x-forwarded-for")) /* a proxy in between: never */
		put(r, 403, "text/plain", "Forbidden");
	else if (http1_text_is(q->path, "/latest/api/token"))
		if (http1_text_is(q->head->method, "PUT"))
			put_token(w, q, r);
		else
			put(r, 405, "text/plain", "Method Not Allowed");
	else if (!token_ok(w, q, r))
		put(r, 401, "text/html", "<h1>401 - Unauthorized</h1>\n");
	else
		get_metadata(w, q, r);
	if (r->status != 200)
		count->failed++;
}

/* --- containers --- */

static void container(struct world *w, const struct request *q, struct reply *r, bool token)
{
	const struct http1_field *f = http1_find(q->head, "authorization");
	const char *want = w->opts->container_token;
	struct api_count *count = api_count_of(&w->apis, "ContainerCredentials");

	count->calls++;
	if (!http1_text_is(q->head->method, "GET"))
		put(r, 405, "text/plain", "Method Not Allowed");
	else if (token && (!f || !secret_equal(f->value.p, f->value.n, want, strlen(want))))
		put(r, 401, "application/json",
		    "{\"code\":\"AccessDenied\",\"message\":\"Service account token is missing "
		    "or not valid\"}");
	else
		put_credentials(w, r, CONTAINER);
	if (r->status != 200)
		count->failed++;
}

static bool starts(const struct request *q, const char *prefix)
{
	return q->path.n >= strlen(prefix) && memcmp(q->path.p, prefix, strlen(prefix)) == 0;
}

bool metadata_handle(struct world *w, const struct request *q, struct reply *r)
{
	if (starts(q, "/latest/"))
		imds(w, q, r);
	else if (starts(q, "/v2/credentials/"))
		container(w, q, r, false);
	else if (http1_text_is(q->path, "/v1/credentials"))
		container(w, q, r, true);
	else
		return false;
	return true;
}
