/* Each allocation of the check of passwords fails in turn: everybody gets a verdict or was told at
 * once, also where a verdict makes another asker go, and nothing stays behind. */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "net/loop.h"
#include "proxy/auth.h"
#include "tests/support/limit.h"
#include "tests/support/mem_fail.h"

enum { ASKS = 4 };

/* Hashes that cost nothing (ln=1): of "right". */
#define HASH \
	"$scrypt$ln=1,r=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$XiVRIuDAZ/VqpVW6bAuppR7IE6NJOK9AfPuasxpwmGQ"

struct turn {
	struct loop *loop;
	struct auth *auth;
	struct auth_users *users;
	struct asker {
		struct turn *of;
		struct auth_ask ask;
		struct asker *ends; /* who goes when this one is told */
		bool waits;
	} asker[ASKS];
	unsigned pending, told;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("no verdict in time");
}

static void settled(struct turn *t)
{
	if (--t->pending == 0)
		loop_stop(t->loop);
}

static void leave(struct asker *a)
{
	auth_cancel(&a->ask);
	if (a->waits)
		settled(a->of);
	a->waits = false;
}

static void done(void *arg, const struct err *why)
{
	struct asker *a = arg;

	assert_true(a->waits);
	assert_true(!why || why->code == ERR_NOMEM || why->code == ERR_DENIED);
	a->waits = false;
	a->of->told++;
	if (a->ends)
		leave(a->ends);
	settled(a->of);
}

static void ask(struct turn *t, size_t i, const char *password)
{
	struct auth_question q = { .users = t->users,
				   .peer = { 4, 10, 0, 0, 1 },
				   .name = "alice",
				   .name_n = 5,
				   .password = password,
				   .password_n = strlen(password) };
	struct asker *a = &t->asker[i];
	struct err e = { 0 };
	enum auth_answer answer = auth_check(t->auth, &q, &a->ask, done, a, &e);

	a->of = t;
	a->waits = answer == AUTH_WAIT;
	t->pending += a->waits;
	if (answer == AUTH_NO)
		assert_int_equal(e.code, ERR_NOMEM);
}

/* The second and third are one question, which waits behind the first. */
static void all_ask(struct turn *t)
{
	ask(t, 0, "right");
	ask(t, 1, "guess");
	ask(t, 2, "guess");
	ask(t, 3, "guesses");
	t->asker[1].ends = &t->asker[2];
	if (t->pending)
		loop_run(t->loop);
	assert_int_equal(t->pending, 0);
}

static void every_allocation_fails_once(void **state)
{
	const struct auth_user_opts user = { "alice", HASH };
	struct loop *loop;
	struct loop_timer guard = { 0 };
	struct err e = { 0 };
	size_t before;

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	timer_arm(loop, &guard, TEST_LIMIT_MS, too_late, NULL);
	before = mem_held;
	mem_secret = "guess";
	while (mem_fail_next()) {
		struct turn t = { .loop = loop };

		t.auth = auth_new(loop, &e);
		if (t.auth && auth_users_new(&t.users, &user, 1, &e) == 0)
			all_ask(&t);
		else
			assert_int_equal(e.code, ERR_NOMEM);
		auth_free(t.auth);
		auth_users_unref(t.users);
		assert_int_equal(mem_held, before);
		assert_int_equal(mem_secrets_freed, 0);
	}
	timer_disarm(loop, &guard);
	assert_true(loop_free(loop));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
