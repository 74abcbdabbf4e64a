/* Audit lines, escaping, and what happens when they cannot be written. */
#include "tests/support/cmocka_all.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/audit.h"

static uint64_t mono(const struct clock *c)
{
	(void)c;
	return 5042;
}
static int64_t wall(const struct clock *c)
{
	(void)c;
	return 0;
}
static const struct clock clock_fixed = { mono, wall };

static void path_of(char out[static 64], const char *what)
{
	snprintf(out, 64, "/tmp/awsocks-%s-%d", what, getpid());
	unlink(out);
}

static size_t content(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, out, size - 1);

	close(fd);
	assert_true(n >= 0);
	out[n] = 0;
	return (size_t)n;
}

static void one_line(void **state)
{
	struct audit_record r = {
		.id = 7,
		.wall_ms = 1795316645678,
		.mono_ms = 5000,
		.listener = "default",
		.proto = "socks5",
		.port = 443,
		.has_peer_id = true,
		.uid = 1000,
		.pid = 42,
		.mark = AUDIT_FALLBACK,
		.up = 1,
		.down = 1ull << 40,
	};
	char path[64], text[2048];
	struct audit *a;
	struct err e;
	struct stat st;

	(void)state;
	path_of(path, "audit");
	audit_text(&r.peer, "127.0.0.1:5");
	audit_text(&r.host, "a.test");
	audit_text(&r.rule, "a \"b\"\\\n\x01.yaml:1");
	audit_text(&r.route, "proxy:x");
	audit_text(&r.address, "1.2.3.4:443");
	audit_text(&r.session, "s-1");
	audit_text(&r.error, "gr\xc3\xbc\xc3\x9f \xff \xe2\x82 \xf0\x9f\x98\x80 \xed\xa0\x80");
	assert_int_equal(audit_open(&a, path, &clock_fixed, &e), 0);
	audit_write(a, &r);
	audit_record_free(&r);
	audit_write(a, &r); /* an empty one is well-formed too */
	audit_close(a);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	content(path, text, sizeof(text));
	unlink(path);
	*strchr(text, '\n') = 0;
	assert_string_equal(
		text,
		"{\"ts\":\"2026-11-22T03:04:05.678Z\",\"id\":7,\"listener\":\"default\",\"peer\":"
		"\"127.0.0.1:5\",\"uid\":1000,\"pid\":42,\"proto\":\"socks5\",\"host\":\"a.test\","
		"\"port\":443,\"rule\":\"a \\\"b\\\"\\\\\\u000a\\u0001.yaml:1\",\"action\":"
		"\"allow\",\"route\":\"proxy:x\",\"fallback\":true,\"address\":\"1.2.3.4:443\","
		"\"session\":\"s-1\",\"bytes_up\":1,\"bytes_down\":1099511627776,\"ms\":42,"
		"\"error\":\"gr\xc3\xbc\xc3\x9f ? ?? \xf0\x9f\x98\x80 ???\"}");
	for (char *line = text; line; line = line == text ? strchr(text, 0) + 1 : NULL) {
		cJSON *json = cJSON_Parse(line);

		assert_non_null(json);
		cJSON_Delete(json);
	}
}

static void reopened_and_appended(void **state)
{
	struct audit_record r = { .id = 1 };
	char path[64], moved[80], text[2048];
	struct audit *a;
	struct err e;

	(void)state;
	path_of(path, "audit");
	snprintf(moved, sizeof(moved), "%s.1", path);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(audit_open(&a, path, &clock_fixed, &e), 0);
		audit_write(a, &r);
		if (!i)
			audit_close(a);
	}
	assert_int_equal(rename(path, moved), 0);
	audit_write(a, &r);
	assert_int_equal(audit_reopen(a, &e), 0);
	audit_write(a, &r);
	audit_close(a);
	content(moved, text, sizeof(text));
	assert_non_null(strchr(strchr(strchr(text, '\n') + 1, '\n') + 1, '\n'));
	content(path, text, sizeof(text));
	assert_true(text[0] == '{' && strchr(text, '\n')[1] == 0);
	unlink(path);
	unlink(moved);
	assert_int_equal(audit_open(&a, "/nonexistent/x", &clock_fixed, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	audit_write(NULL, &r);
	audit_close(NULL);
}

/* Lines that standard error got while f ran. */
static size_t logged(void (*f)(void), char *text, size_t size)
{
	char path[64];
	int saved = dup(2), fd;

	path_of(path, "stderr");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	dup2(fd, 2);
	f();
	dup2(saved, 2);
	close(saved);
	close(fd);
	content(path, text, size);
	unlink(path);
	size = 0;
	for (; (text = strchr(text, '\n')); text++)
		size++;
	return size;
}

static void write_to_full(void)
{
	struct audit_record r = { .id = 1 };
	struct audit *a;
	struct err e;

	assert_int_equal(audit_open(&a, "/dev/full", &clock_fixed, &e), 0);
	for (int i = 0; i < 5; i++)
		audit_write(a, &r);
	audit_close(a);
}

static void write_to_stalled_pipe(void)
{
	struct audit_record r = { .id = 1 };
	char sink[4096];
	struct audit *a;
	struct err e;
	int saved = dup(1), p[2];

	assert_int_equal(pipe(p), 0);
	fflush(stdout);
	dup2(p[1], 1);
	assert_int_equal(audit_open(&a, "-", &clock_fixed, &e), 0);
	for (int i = 0; i < 2000; i++) /* more than a pipe holds; it would block */
		audit_write(a, &r);
	for (int i = 0; i < 4; i++)
		assert_true(read(p[0], sink, sizeof(sink)) > 0);
	audit_write(a, &r);
	audit_close(a);
	dup2(saved, 1);
	close(saved);
	close(p[0]);
	close(p[1]);
}

static void losses_are_said_once(void **state)
{
	char text[4096];

	(void)state;
	if (access("/dev/full", W_OK) == 0)
		assert_int_equal(logged(write_to_full, text, sizeof(text)), 1);
	assert_int_equal(logged(write_to_stalled_pipe, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "lines were lost"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line),
		cmocka_unit_test(reopened_and_appended),
		cmocka_unit_test(losses_are_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
