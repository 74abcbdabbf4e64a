/* Who is let in: what is asked, remembered, forgotten, counted, queued and called back. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "net/loop.h"
#include "proxy/auth.h"
#include "tests/support/limit.h"

/* Hashes that cost nothing (ln=1): of "right" and of "other". */
#define HASH_RIGHT \
	"$scrypt$ln=1,r=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$XiVRIuDAZ/VqpVW6bAuppR7IE6NJOK9AfPuasxpwmGQ"
#define HASH_OTHER \
	"$scrypt$ln=1,r=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$ZeF0BsC56ogXJ4fiosenDnhypr7bKYNqk0nY2I2zNMY"

struct fixture {
	struct loop *loop;
	struct auth *auth;
	struct auth_users *users;
	struct loop_timer guard;
	unsigned pending, right, wrong, failed;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("no verdict in time");
}

static struct auth_users *make_users(const char *name, const char *hash)
{
	const struct auth_user_opts o[] = { { name, hash }, { "bob", HASH_OTHER } };
	struct auth_users *u;
	struct err e;

	assert_int_equal(auth_users_new(&u, o, 2, &e), 0);
	return u;
}

static int setup(void **state)
{
	static struct fixture f;
	struct err e;

	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_new(&f.loop, &e), 0);
	f.auth = auth_new(f.loop, &e);
	assert_non_null(f.auth);
	f.users = make_users("alice", HASH_RIGHT);
	timer_arm(f.loop, &f.guard, TEST_LIMIT_MS, too_late, NULL);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	timer_disarm(f->loop, &f->guard);
	auth_free(f->auth);
	auth_users_unref(f->users);
	assert_true(loop_free(f->loop));
	return 0;
}

static void done(void *arg, const struct err *why)
{
	struct fixture *f = arg;

	f->right += !why;
	f->wrong += why && why->code == ERR_DENIED;
	f->failed += why && why->code != ERR_DENIED;
	if (--f->pending == 0)
		loop_stop(f->loop);
}

static enum auth_answer ask_from(struct fixture *f, uint8_t peer, struct auth_ask *ask,
				 const char *name, const char *password, struct err *e)
{
	struct auth_question q = { .users = f->users,
				   .peer = { 4, 10, 0, 0, peer },
				   .name = name,
				   .name_n = strlen(name),
				   .password = password,
				   .password_n = strlen(password) };
	enum auth_answer answer = auth_check(f->auth, &q, ask, done, f, e);

	f->pending += answer == AUTH_WAIT;
	return answer;
}

/* The verdict, waited for. */
static bool is_right(struct fixture *f, const char *name, const char *password)
{
	struct auth_ask ask;
	struct err e;
	unsigned before = f->right;
	enum auth_answer answer = ask_from(f, 1, &ask, name, password, &e);

	if (answer == AUTH_WAIT)
		loop_run(f->loop);
	return answer == AUTH_YES || f->right > before;
}

static void right_and_wrong(void **state)
{
	struct fixture *f = *state;

	assert_true(is_right(f, "alice", "right"));
	assert_true(is_right(f, "bob", "other"));
	assert_false(is_right(f, "alice", "other"));
	assert_false(is_right(f, "bob", "right"));
	assert_false(is_right(f, "nobody", "right"));
	assert_false(is_right(f, "", "right"));
	assert_false(is_right(f, "alice", ""));
	assert_int_equal(f->failed, 0);
	assert_true(auth_users_has(f->users, "bob"));
	assert_false(auth_users_has(f->users, "nobody"));
	assert_int_equal(auth_users_count(f->users), 2);
}

static void what_was_right_is_remembered_until_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct auth_ask ask;
	struct auth_users *old = f->users;
	struct err e;

	assert_true(is_right(f, "alice", "right"));
	assert_int_equal(ask_from(f, 2, &ask, "alice", "right", &e), AUTH_YES);
	assert_int_equal(ask_from(f, 2, &ask, "alic", "eright", &e), AUTH_WAIT);
	loop_run(f->loop);
	assert_int_equal(f->wrong, 1);
	/* another list, though it looks the same, is another question */
	f->users = make_users("alice", HASH_RIGHT);
	auth_users_unref(old);
	assert_int_equal(ask_from(f, 2, &ask, "alice", "right", &e), AUTH_WAIT);
	loop_run(f->loop);
	assert_int_equal(ask_from(f, 2, &ask, "alice", "right", &e), AUTH_YES);
	auth_forget(f->auth);
	assert_int_equal(ask_from(f, 2, &ask, "alice", "right", &e), AUTH_WAIT);
	loop_run(f->loop);
}

static void wrong_ones_are_counted_for_each_peer(void **state)
{
	struct fixture *f = *state;
	enum auth_answer answer = AUTH_WAIT;
	struct auth_ask ask;
	char guess[20];
	struct err e;

	assert_true(is_right(f, "alice", "right"));
	/* One may come back meanwhile, where computing ten takes so long. */
	for (int i = 0; i < 5 * AUTH_BURST && answer == AUTH_WAIT; i++) {
		(void)str_fmt(guess, sizeof(guess), "%d", i);
		answer = ask_from(f, 1, &ask, "alice", guess, &e);
		if (answer == AUTH_WAIT)
			loop_run(f->loop);
	}
	assert_int_equal(answer, AUTH_NO);
	assert_in_range(f->wrong, AUTH_BURST, 4 * AUTH_BURST);
	assert_int_equal(ask_from(f, 1, &ask, "alice", "right", &e), AUTH_NO);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_false(e.passes);
	assert_int_equal(ask_from(f, 2, &ask, "alice", "right", &e), AUTH_YES);
	auth_forget(f->auth);
	assert_true(is_right(f, "alice", "right"));
}

static void right_ones_are_not_counted(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3 * AUTH_BURST; i++) {
		struct auth_users *old = f->users;

		f->users = make_users("alice", HASH_RIGHT);
		auth_users_unref(old);
		assert_true(is_right(f, "alice", "right"));
	}
}

static void those_who_ask_the_same_share_the_verdict(void **state)
{
	struct fixture *f = *state;
	struct auth_ask ask[3 * AUTH_BURST];
	struct err e;

	for (size_t i = 0; i < 3 * AUTH_BURST; i++)
		assert_int_equal(ask_from(f, 1, &ask[i], "alice", "wrong", &e), AUTH_WAIT);
	loop_run(f->loop);
	assert_int_equal(f->wrong, 3 * AUTH_BURST);
	assert_true(is_right(f, "alice", "right")); /* it was one wrong answer */
}

static void the_queue_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct auth_ask ask[AUTH_WAITING + 1];
	struct err e;

	for (uint8_t i = 0; i < AUTH_WAITING; i++)
		assert_int_equal(ask_from(f, i, &ask[i], "alice", "right", &e), AUTH_WAIT);
	assert_int_equal(ask_from(f, 200, &ask[AUTH_WAITING], "alice", "right", &e), AUTH_NO);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_true(e.passes);
	loop_run(f->loop);
	assert_int_equal(f->right, AUTH_WAITING);
}

static void who_goes_away_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct auth_ask ask[3], none = { .job = NULL };
	struct err e;

	assert_int_equal(ask_from(f, 1, &ask[0], "alice", "right", &e), AUTH_WAIT);
	assert_int_equal(ask_from(f, 1, &ask[1], "alice", "x", &e), AUTH_WAIT);
	assert_int_equal(ask_from(f, 1, &ask[2], "alice", "y", &e), AUTH_WAIT);
	auth_cancel(&ask[0]); /* being computed */
	auth_cancel(&ask[1]); /* queued */
	auth_cancel(&ask[1]);
	auth_cancel(&none);
	f->pending -= 2;
	loop_run(f->loop);
	assert_int_equal(f->wrong, 1);
	assert_int_equal(f->right, 0);
}

static void it_may_end_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct auth_ask ask[3];
	char password[2] = "a";
	struct err e;

	for (size_t i = 0; i < 3; i++, password[0]++)
		assert_int_equal(ask_from(f, 1, &ask[i], "alice", password, &e), AUTH_WAIT);
	for (size_t i = 0; i < 3; i++)
		auth_cancel(&ask[i]);
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_LOOP(right_and_wrong),
		WITH_LOOP(what_was_right_is_remembered_until_it_is_forgotten),
		WITH_LOOP(wrong_ones_are_counted_for_each_peer),
		WITH_LOOP(right_ones_are_not_counted),
		WITH_LOOP(those_who_ask_the_same_share_the_verdict),
		WITH_LOOP(the_queue_is_bounded),
		WITH_LOOP(who_goes_away_is_not_called),
		WITH_LOOP(it_may_end_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
