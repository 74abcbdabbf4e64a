/* base/log.h: levels by area, and lines that a peer cannot forge. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/limit.h"

static void levels(void **state)
{
	static const struct {
		const char *spec, *area;
		enum log_level level;
		int want; /* -1: the spec is wrong */
	} cases[] = {
		{ "info", "any", LOG_INFO, 1 },
		{ "info", "any", LOG_DEBUG, 0 },
		{ "error", "any", LOG_WARN, 0 },
		{ "debug", "any", LOG_DEBUG, 1 },
		{ "warn,ssm=debug", "ssm", LOG_DEBUG, 1 },
		{ "warn,ssm=debug", "proxy", LOG_INFO, 0 },
		{ "warn,ssm=debug", "ss", LOG_DEBUG, 0 },
		{ "ssm=error,info", "ssm", LOG_WARN, 0 },
		{ "ssm=error,info", "proxy", LOG_INFO, 1 },
		{ "loud", "", LOG_INFO, -1 },
		{ "inf", "", LOG_INFO, -1 },
		{ "infos", "", LOG_INFO, -1 },
		{ "ssm=", "", LOG_INFO, -1 },
		{ "ssm=loud", "", LOG_INFO, -1 },
		{ ",info", "", LOG_INFO, -1 },
		{ "a-name-that-is-much-too-long=info", "", LOG_INFO, -1 },
		{ "a=info,b=info,c=info,d=info,e=info,f=info,g=info,h=info,i=info,"
		  "j=info,k=info,l=info,m=info,n=info,o=info,p=info,q=info",
		  "", LOG_INFO, -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		int r = log_set_level(cases[i].spec, &e);

		print_message("'%s'\n", cases[i].spec);
		assert_int_equal(r, cases[i].want < 0 ? -1 : 0);
		if (r)
			assert_int_equal(e.code, ERR_USAGE);
		else
			assert_int_equal(log_wants(cases[i].level, cases[i].area), cases[i].want);
	}
}

/* What one call writes to stderr. */
static void captured(char *out, size_t size, const char *text)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	log_error("area", "%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	n = read(ends[0], out, size - 1);
	assert_true(n >= 0);
	out[n] = '\0';
	assert_int_equal(read(ends[0], out + n, 1), 0); /* one write */
	close(ends[0]);
}

static void lines(void **state)
{
	static const struct {
		enum log_format format;
		const char *text, *end;
	} cases[] = {
		{ LOG_TEXT, "plain", " error area: plain\n" },
		{ LOG_TEXT, "a\nb\x1b[0m", " error area: a\\x0ab\\x1b[0m\n" },
		{ LOG_TEXT, "say \"x\" \\ \xc3\xa4", " error area: say \"x\" \\ \xc3\xa4\n" },
		{ LOG_JSON, "plain",
		  "\",\"level\":\"error\",\"area\":\"area\",\"msg\":\"plain\"}\n" },
		{ LOG_JSON, "\"\\\n", "\"msg\":\"\\\"\\\\\\u000a\"}\n" },
	};
	struct err e;

	(void)state;
	assert_int_equal(log_set_level("info", &e), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char line[4096];
		size_t n = strlen(cases[i].end);

		log_set_format(cases[i].format);
		captured(line, sizeof(line), cases[i].text);
		print_message("%s", line);
		assert_true(strlen(line) > n);
		assert_string_equal(line + strlen(line) - n, cases[i].end);
		assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
	}
	log_set_format(LOG_TEXT);
}

static void a_long_line_is_cut(void **state)
{
	static char text[8000];
	char line[8192];

	(void)state;
	memset(text, '\n', sizeof(text) - 1);
	captured(line, sizeof(line), text);
	assert_true(strlen(line) < 2300);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

/* Of which the writing end waits for room; its size. */
static int full_pipe(int ends[2])
{
	char page[4096] = { 0 };
	int size;
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	assert_true(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
	for (size = 0; (n = write(ends[1], page, sizeof(page))) > 0; size += (int)n)
		;
	assert_true(fcntl(ends[1], F_SETFL, 0) == 0);
	return size;
}

/* Nobody reads: the lines are lost, nothing waits, and it is said once there is room. */
static void a_full_pipe_holds_nothing_up(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO), size = full_pipe(ends), lost;
	char page[4096], text[8192];
	ssize_t n;

	(void)state;
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	for (lost = 0; lost < 3; lost++)
		log_error("area", "nobody reads this");
	for (; size > 0; size -= (int)n)
		assert_true((n = read(ends[0], page, sizeof(page))) > 0);
	log_error("area", "somebody reads this");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	n = read(ends[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "3 lines were lost"));
	assert_non_null(strstr(text, "somebody reads this"));
	assert_null(strstr(text, "nobody reads this"));
	close(ends[0]);
}

enum { RACERS = 4, RACES = 400 };

struct race {
	pthread_rwlock_t start;
	atomic_int through;
};

static void *log_a_long_line(void *arg)
{
	struct race *r = arg;

	(void)pthread_rwlock_rdlock(&r->start);
	(void)pthread_rwlock_unlock(&r->start);
	log_error("area", "%02045d", 1);
	atomic_fetch_add(&r->through, 1);
	return NULL;
}

/* Says what was lost before, which would take the room. */
static void forget_lost(void)
{
	int saved = dup(STDERR_FILENO), sink = open("/dev/null", O_WRONLY);

	assert_true(dup2(sink, STDERR_FILENO) >= 0);
	log_error("area", "nothing");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(sink);
	close(saved);
}

/* One of them fits into the pipe, and all find that there is room. */
static bool race_for_room(void)
{
	static struct race r; /* of threads that may still be in it when the test has failed */
	const struct timespec tick = { .tv_nsec = 1000000 };
	char page[4096];
	int ends[2], saved = dup(STDERR_FILENO);
	pthread_t thread[RACERS];

	(void)full_pipe(ends);
	assert_true(read(ends[0], page, sizeof(page)) > 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	assert_int_equal(pthread_rwlock_init(&r.start, NULL), 0);
	assert_int_equal(pthread_rwlock_wrlock(&r.start), 0);
	atomic_store(&r.through, 0);
	for (int i = 0; i < RACERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, log_a_long_line, &r), 0);
	(void)pthread_rwlock_unlock(&r.start);
	for (int i = 0; i < TEST_LIMIT_MS && atomic_load(&r.through) < RACERS; i++)
		nanosleep(&tick, NULL);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	if (atomic_load(&r.through) < RACERS)
		return false;
	for (int i = 0; i < RACERS; i++)
		pthread_join(thread[i], NULL);
	pthread_rwlock_destroy(&r.start);
	close(ends[0]);
	return true;
}

/* What there is room for is found and used by one thread at a time. */
static void threads_do_not_wait_for_a_reader(void **state)
{
	(void)state;
	for (int i = 0; i < RACES; i++) {
		forget_lost();
		assert_true(race_for_room());
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels),
		cmocka_unit_test(lines),
		cmocka_unit_test(a_long_line_is_cut),
		cmocka_unit_test(a_full_pipe_holds_nothing_up),
		cmocka_unit_test(threads_do_not_wait_for_a_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
