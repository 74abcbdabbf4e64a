#include "credentials/aws_retry.h"

#include <string.h>

#include "base/random.h"
#include "base/str.h"
#include "credentials/aws_error.h"
#include "credentials/env.h"
#include "credentials/profile.h"

enum { BUCKET = 500, COST = 5, COST_TIMEOUT = 10, ATTEMPTS_MAX = 100, WAIT_MAX_MS = 20000 };

/* ---- the configuration ---- */

static const struct {
	const char *name;
	unsigned attempts;
} modes[] = {
	[AWS_RETRY_STANDARD] = { "standard", 3 },
	[AWS_RETRY_LEGACY] = { "legacy", 5 },
	[AWS_RETRY_ADAPTIVE] = { "adaptive", 3 },
};

static const char *setting(const struct aws_files *files, const char *profile,
			   const char *const *env, const char *name, const char *key,
			   const char **where)
{
	const char *value = env_get(env, name);

	*where = value ? name : key;
	return value ? value : profile_get(files, profile, key);
}

int aws_retry_read(const struct aws_files *files, const char *profile, const char *const *env,
		   struct aws_retry *out, struct err *e)
{
	const char *where, *mode, *attempts;
	uint64_t n = 0;
	size_t i = 0;

	*out = (struct aws_retry){ 0 };
	mode = setting(files, profile, env, "AWS_RETRY_MODE", "retry_mode", &where);
	while (mode && i < sizeof(modes) / sizeof(*modes) && !str_eq_nocase(mode, modes[i].name))
		i++;
	if (i == sizeof(modes) / sizeof(*modes))
		return err_set(e, ERR_CONFIG, "%s '%.40s' is not standard, legacy or adaptive",
			       where, mode);
	out->mode = (enum aws_retry_mode)i;
	attempts = setting(files, profile, env, "AWS_MAX_ATTEMPTS", "max_attempts", &where);
	if (attempts && str_number(attempts, 1, ATTEMPTS_MAX, &n, e) != 0) {
		if (e)
			e->code = ERR_CONFIG;
		return err_wrap(e, "%s", where);
	}
	out->attempts = (unsigned)n;
	return 0;
}

unsigned aws_retry_attempts(const struct aws_retry *r)
{
	return r->attempts ? r->attempts : modes[r->mode].attempts;
}

/* ---- the bucket ---- */

void aws_bucket_init(struct aws_bucket *b, const struct aws_retry *r)
{
	b->endless = r->mode == AWS_RETRY_LEGACY;
	b->left = BUCKET;
}

bool aws_bucket_take(struct aws_bucket *b, bool timeout, unsigned *cost)
{
	unsigned price = timeout ? COST_TIMEOUT : COST;

	if (b->endless)
		return true;
	if (b->left < price)
		return false;
	b->left -= price;
	*cost = price;
	return true;
}

void aws_bucket_give(struct aws_bucket *b, unsigned cost)
{
	b->left += cost ? cost : 1;
	if (b->left > BUCKET)
		b->left = BUCKET;
}

/* ---- the rate ---- */

static const double beta = 0.7, scale = 0.4, smooth = 0.8, least_fill = 0.5;

static double cube_root(double x)
{
	double r = x > 1 ? x : 1;

	if (x <= 0)
		return 0;
	for (int i = 0; i < 100; i++)
		r = (2 * r + x / (r * r)) / 3;
	return r;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static void refill(struct aws_rate *r, double now_s)
{
	if (r->on)
		r->tokens = smaller(r->most, r->tokens + (now_s - r->refilled_s) * r->fill);
	r->refilled_s = now_s;
}

unsigned aws_rate_wait_ms(struct aws_rate *r, uint64_t now_ms)
{
	double wait_ms;

	if (!r->on)
		return 0;
	refill(r, (double)now_ms / 1000);
	r->tokens -= 1;
	wait_ms = r->tokens < 0 ? -r->tokens / r->fill * 1000 : 0;
	return (unsigned)smaller(wait_ms, WAIT_MAX_MS);
}

/* Requests a second, over half seconds, smoothed. */
static void measure(struct aws_rate *r, double now_s)
{
	double bucket = (double)(uint64_t)(now_s * 2) / 2;

	if (r->bucket == 0)
		r->bucket = bucket;
	r->count += 1;
	if (bucket > r->bucket) {
		r->measured = r->count / (bucket - r->bucket) * smooth + r->measured * (1 - smooth);
		r->count = 0;
		r->bucket = bucket;
	}
}

void aws_rate_answered(struct aws_rate *r, uint64_t now_ms, bool throttled)
{
	double now_s = (double)now_ms / 1000, rate, t;

	measure(r, now_s);
	if (throttled) {
		rate = r->on ? smaller(r->measured, r->fill) : r->measured;
		r->last_most = rate;
		r->throttled_s = now_s;
		rate *= beta;
		refill(r, now_s);
		r->on = true;
	} else {
		if (!r->on)
			return;
		t = now_s - r->throttled_s - cube_root(r->last_most * (1 - beta) / scale);
		rate = scale * t * t * t + r->last_most;
		refill(r, now_s);
	}
	rate = smaller(rate, 2 * r->measured);
	r->fill = larger(rate, least_fill);
	r->most = larger(rate, 1);
	r->tokens = smaller(r->tokens, r->most);
}

/* ---- the calls of a client ---- */

void aws_budget_init(struct aws_budget *b, const struct aws_retry *r)
{
	*b = (struct aws_budget){ .retry = *r };
	aws_bucket_init(&b->bucket, r);
}

bool aws_budget_again(struct aws_budget *b, struct aws_tries *t, bool timeout, uint64_t left_ms,
		      unsigned *pause_ms)
{
	uint32_t random;

	if (++t->failed >= aws_retry_attempts(&b->retry))
		return false;
	random_bytes(&random, sizeof(random));
	*pause_ms = aws_retry_delay_ms(t->failed - 1, random);
	return *pause_ms < left_ms && aws_bucket_take(&b->bucket, timeout, &t->cost);
}

unsigned aws_budget_turn_ms(struct aws_budget *b, struct aws_tries *t, uint64_t now_ms)
{
	unsigned wait_ms = 0;

	if (b->retry.mode == AWS_RETRY_ADAPTIVE && !t->has_turn)
		wait_ms = aws_rate_wait_ms(&b->rate, now_ms);
	t->has_turn = true;
	return wait_ms;
}

void aws_budget_answered(struct aws_budget *b, struct aws_tries *t, uint64_t now_ms, bool throttled)
{
	t->has_turn = false;
	if (b->retry.mode == AWS_RETRY_ADAPTIVE)
		aws_rate_answered(&b->rate, now_ms, throttled);
}

void aws_budget_succeeded(struct aws_budget *b, const struct aws_tries *t)
{
	aws_bucket_give(&b->bucket, t->cost);
}
