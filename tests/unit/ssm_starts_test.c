/* StartSession calls of several backends: one bucket for each account and region. */
#include "tests/unit/ssm_world.h"

#include "backend/backend.h"
#include "backend/ssm.h"
#include "backend/ssm/start_buckets.h"
#include "stream/stream.h"

enum { EACH = START_BURST / 2 + 1 };

struct account {
	struct backend *b;
	int streams;
	bool closed;
};

static void h_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void h_none(void *arg)
{
	(void)arg;
}
static void h_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct account *)arg)->streams--;
}
static const struct stream_handler held = { h_data, h_none, h_none, h_closed };

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct account *a = arg;

	assert_null(why);
	a->streams++;
	stream_attach(d->stream, &held, a);
}

static void on_closed(void *arg)
{
	((struct account *)arg)->closed = true;
}

static void make(struct account *a, const char *region, struct start_buckets *shared)
{
	struct ssm_opts o = { .loop = &W->loop,
			      .ws = &W->ws_context,
			      .aws = &W->aws,
			      .starts = shared,
			      .region = region,
			      .ssm_endpoint = "http://127.0.0.1:9",
			      .endpoint_overridden = true,
			      .target.id = "i-0123456789abcdef0" };

	*a = (struct account){ .b = ssm_backend_new(&o, NULL) };
	assert_non_null(a->b);
}

static void dial_some(struct account *a)
{
	char host[EACH][20];

	for (int i = 0; i < EACH; i++) {
		struct dest d = { .host = host[i], .port = 80 };

		snprintf(host[i], sizeof(host[i]), "silent%d", i);
		assert_non_null(backend_dial(a->b, &d, on_dialed, a, NULL));
	}
}

static void end_both(struct account *a, struct account *b)
{
	backend_close(a->b, on_closed, a);
	backend_close(b->b, on_closed, b);
	RUN_UNTIL(a->closed && b->closed, 4000);
	assert_int_equal(a->streams + b->streams, 0);
	world_end();
}

/* How many calls are made at once by two backends that want EACH sessions. */
static int at_once(const char *region_a, const char *region_b, bool share)
{
	struct start_buckets *shared = share ? start_buckets_new(NULL) : NULL;
	struct account a, b;
	int starts;

	world_begin();
	make(&a, region_a, shared);
	make(&b, region_b, shared);
	dial_some(&a);
	dial_some(&b);
	run(300);
	starts = W->starts;
	RUN_UNTIL(a.streams == EACH && b.streams == EACH, 5000); /* all in the end */
	end_both(&a, &b);
	start_buckets_free(shared);
	return starts;
}

static void one_account_has_one_bucket(void **state)
{
	(void)state;
	assert_int_equal(at_once("us-east-1", "us-east-1", true), START_BURST);
	assert_int_equal(at_once("us-east-1", "eu-west-1", true), 2 * EACH);
	assert_int_equal(at_once("us-east-1", "us-east-1", false), 2 * EACH);
}

/* What is refused to one for its rate is not asked for by the other, until it is the time. */
static void a_refusal_counts_for_all(void **state)
{
	struct start_buckets *shared = start_buckets_new(NULL);
	struct account a, b;
	int starts;

	(void)state;
	world_begin();
	make(&a, "us-east-1", shared);
	make(&b, "us-east-1", shared);
	W->start_code = "ThrottlingException";
	dial_some(&a);
	run(100);
	starts = W->starts;
	assert_true(starts > 0);
	dial_some(&b);
	run(800);
	assert_int_equal(W->starts, starts);
	W->start_code = NULL;
	RUN_UNTIL(a.streams == EACH && b.streams == EACH, 10000);
	end_both(&a, &b);
	start_buckets_free(shared);
}

static void assert_owner(const char *key_id, const char *account, const char *owner)
{
	struct creds *c = creds_new(key_id, "secret", NULL, 0, account, "test", NULL);
	char text[START_OWNER];

	start_owner(c, text);
	assert_string_equal(text, owner);
	creds_unref(c);
}

static void whose_they_are(void **state)
{
	(void)state;
	assert_owner("AKIAIOSFODNN7EXAMPLE", "123456789012", "123456789012");
	assert_owner("ASIAQNZGKIQY56JQ7WML", NULL, "029608264753");
	assert_owner("AKIAQNZGKIQY5AAAAAAA", NULL, "029608264753"); /* another key of theirs */
	assert_owner("AKIAIOSFODNN7EXAMPLE", NULL, "AKIAIOSFODNN7EXAMPLE"); /* before 2019 */
	assert_owner("ASIAQ1111111EXAMPLE1", NULL, "ASIAQ1111111EXAMPLE1");
	assert_owner("short", NULL, "short");
}

static void a_bounded_number(void **state)
{
	struct start_buckets *b = start_buckets_new(NULL);
	struct start_bucket *last = NULL, *first = NULL;
	char id[16];

	(void)state;
	for (int i = 0; i < START_BUCKETS_MAX + 3; i++) {
		struct creds *c;
		struct start_bucket *one;

		snprintf(id, sizeof(id), "key%d", i);
		c = creds_new(id, "secret", NULL, 0, NULL, "test", NULL);
		one = start_buckets_of(b, c, "us-east-1");
		assert_ptr_equal(start_buckets_of(b, c, "us-east-1"), one);
		assert_true(i >= START_BUCKETS_MAX ? one == last : one != last);
		first = first ? first : one;
		last = one;
		creds_unref(c);
	}
	assert_ptr_not_equal(first, last);
	start_buckets_free(b);
	start_buckets_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_account_has_one_bucket),
		cmocka_unit_test(a_refusal_counts_for_all),
		cmocka_unit_test(whose_they_are),
		cmocka_unit_test(a_bounded_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
