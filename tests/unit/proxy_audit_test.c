/* Audit lines, escaping, and what happens when they cannot be written. */
#include "tests/support/cmocka_all.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
	audit_text(&r.user, "alice");
	audit_text(&r.host, "a.test");
	audit_text(&r.rule, "a \"b\"\\\n\x01.yaml:1");
	audit_text(&r.route, "proxy:x");
	audit_text(&r.address, "1.2.3.4:443");
	audit_text(&r.session, "s-1");
	audit_text(&r.error, "gr\xc3\xbc\xc3\x9f \xff \xe2\x82 \xf0\x9f\x98\x80 \xed\xa0\x80");
	assert_int_equal(
		audit_open(&a, &(struct audit_opts){ .path = path, .clock = &clock_fixed }, &e), 0);
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
		"\"127.0.0.1:5\",\"uid\":1000,\"pid\":42,\"user\":\"alice\",\"proto\":\"socks5\","
		"\"host\":\"a.test\","
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
		assert_int_equal(
			audit_open(&a, &(struct audit_opts){ .path = path, .clock = &clock_fixed },
				   &e),
			0);
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
	assert_int_equal(
		audit_open(&a,
			   &(struct audit_opts){ .path = "/nonexistent/x", .clock = &clock_fixed },
			   &e),
		-1);
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

	assert_int_equal(
		audit_open(&a, &(struct audit_opts){ .path = "/dev/full", .clock = &clock_fixed },
			   &e),
		0);
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
	assert_int_equal(
		audit_open(&a, &(struct audit_opts){ .path = "-", .clock = &clock_fixed }, &e), 0);
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

/* ---- rotation ---- */

static uint64_t now_ms;
static uint64_t mono_moving(const struct clock *c)
{
	(void)c;
	return now_ms;
}
static const struct clock clock_moving = { mono_moving, wall };

struct folder {
	char dir[64], log[80];
};

static void folder_begin(struct folder *f)
{
	snprintf(f->dir, sizeof(f->dir), "/tmp/awsocks-rotate-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->log, sizeof(f->log), "%s/a", f->dir);
	now_ms = 1000000;
}

static void folder_end(const struct folder *f)
{
	char path[96];

	for (int i = 0; i < 12; i++) {
		snprintf(path, sizeof(path), i ? "%s.%d" : "%s", f->log, i);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
}

static struct audit_file *rotating(const struct folder *f, uint64_t max, unsigned keep)
{
	struct audit_opts o = {
		.path = f->log, .clock = &clock_moving, .max_size = max, .keep = keep
	};
	struct audit_file *file;
	struct err e;

	assert_int_equal(audit_file_open(&file, &o, &e), 0);
	return file;
}

static const char *text_of(const struct folder *f, int k, char out[static 256])
{
	char path[96];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), k ? "%s.%d" : "%s", f->log, k);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return "none";
	n = read(fd, out, 255);
	close(fd);
	assert_true(n >= 0);
	out[n] = 0;
	return out;
}

static void put_lines(struct audit_file *file, const char *lines)
{
	for (; *lines; lines++)
		audit_file_write(file, (char[]){ *lines, '\n' }, 2);
}

static void by_size(void **state)
{
	struct audit_file *file;
	struct folder f;
	char text[256];

	(void)state;
	folder_begin(&f);
	file = rotating(&f, 6, 2);
	put_lines(file, "abcdefghijk");
	audit_file_close(file);
	assert_string_equal(text_of(&f, 0, text), "j\nk\n");
	assert_string_equal(text_of(&f, 1, text), "g\nh\ni\n");
	assert_string_equal(text_of(&f, 2, text), "d\ne\nf\n");
	assert_string_equal(text_of(&f, 3, text), "none");
	/* What is there counts, and a line of the last run that has no end is none of ours. */
	file = rotating(&f, 8, 2);
	put_lines(file, "lm");
	assert_string_equal(text_of(&f, 0, text), "j\nk\nl\nm\n");
	audit_file_write(file, "a line longer than that\n", 24);
	assert_int_equal(audit_file_counts(file).rotated, 1);
	audit_file_close(file);
	assert_string_equal(text_of(&f, 0, text), "a line longer than that\n");
	assert_int_equal(truncate(f.log, 5), 0);
	file = rotating(&f, 0, 0);
	put_lines(file, "n");
	audit_file_close(file);
	assert_string_equal(text_of(&f, 0, text), "a lin\nn\n");
	folder_end(&f);
}

/* Somebody else has renamed it: the new one is not ours to rename. */
static void by_others_too(void **state)
{
	struct audit_file *file;
	struct folder f;
	char text[256], other[96];

	(void)state;
	folder_begin(&f);
	file = rotating(&f, 4, 3);
	put_lines(file, "ab");
	snprintf(other, sizeof(other), "%s.1", f.log);
	assert_int_equal(rename(f.log, other), 0);
	put_lines(file, "c");
	audit_file_close(file);
	assert_string_equal(text_of(&f, 0, text), "c\n");
	assert_string_equal(text_of(&f, 1, text), "a\nb\n");
	assert_string_equal(text_of(&f, 2, text), "none");
	folder_end(&f);
}

static void lose_the_folder(void)
{
	struct audit_file *file;
	struct audit_counts n;
	struct folder f;
	char text[256];

	folder_begin(&f);
	file = rotating(&f, 0, 0);
	put_lines(file, "a");
	unlink(f.log);
	assert_int_equal(rmdir(f.dir), 0);
	put_lines(file, "b"); /* not looked at again so soon */
	now_ms += 1000;
	put_lines(file, "cd");
	n = audit_file_counts(file);
	assert_int_equal(n.lines, 2);
	assert_int_equal(n.lost, 2);
	assert_int_equal(mkdir(f.dir, 0700), 0);
	now_ms += 1000;
	put_lines(file, "e");
	assert_string_equal(text_of(&f, 0, text), "e\n");
	audit_file_close(file);
	folder_end(&f);
}

static void not_rotate(void)
{
	struct audit_file *file;
	struct folder f;
	char text[256], in_the_way[96];

	folder_begin(&f);
	snprintf(in_the_way, sizeof(in_the_way), "%s.1", f.log);
	assert_int_equal(mkdir(in_the_way, 0700), 0); /* a file cannot be renamed to it */
	file = rotating(&f, 4, 1);
	put_lines(file, "abcde");
	assert_string_equal(text_of(&f, 0, text), "a\nb\nc\nd\ne\n");
	assert_int_equal(rmdir(in_the_way), 0);
	put_lines(file, "f");
	now_ms += 10000;
	put_lines(file, "g");
	audit_file_close(file);
	assert_string_equal(text_of(&f, 0, text), "g\n");
	assert_string_equal(text_of(&f, 1, text), "a\nb\nc\nd\ne\nf\n");
	folder_end(&f);
}

static void troubles_end_nothing(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(logged(lose_the_folder, text, sizeof(text)), 4);
	assert_non_null(strstr(text, "the file was removed"));
	assert_non_null(strstr(text, "2 lines were lost"));
	assert_int_equal(logged(not_rotate, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "not rotated"));
}

/* The disk takes half of a line: its end comes first when there is room. */
static void fill_up(void)
{
	struct rlimit before, small = { 7, RLIM_INFINITY };
	struct audit_file *file;
	struct folder f;
	char text[256];

	folder_begin(&f);
	file = rotating(&f, 0, 0);
	audit_file_write(file, "first\n", 6);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	audit_file_write(file, "second\n", 7);
	audit_file_write(file, "third\n", 6);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	audit_file_write(file, "fourth\n", 7);
	assert_string_equal(text_of(&f, 0, text), "first\nsecond\nfourth\n");
	assert_int_equal(audit_file_counts(file).lost, 1);
	audit_file_close(file);
	folder_end(&f);
}

/* The log of the test is a file as well: it is read only when the limit is gone. */
static void a_full_disk_tears_no_line(void **state)
{
	(void)state;
	fill_up();
}

struct crowd {
	struct audit_file *file;
	int who;
};

enum { CROWD = 4, CROWD_LINES = 500 };

static void *write_many(void *arg)
{
	const struct crowd *c = arg;
	char line[32];

	for (int i = 0; i < CROWD_LINES; i++)
		audit_file_write(c->file, line,
				 (size_t)snprintf(line, sizeof(line), "%d %06d\n", c->who, i));
	return NULL;
}

/* Threads write while the file is rotated and opened anew: every line is there, whole, once. */
static void from_many_threads(void **state)
{
	struct crowd crowd[CROWD];
	pthread_t thread[CROWD];
	struct folder f;
	struct err e;
	size_t lines = 0;
	bool seen[CROWD][CROWD_LINES] = { 0 };

	(void)state;
	folder_begin(&f);
	crowd[0].file = rotating(&f, 2000, 10);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = (struct crowd){ crowd[0].file, i };
		assert_int_equal(pthread_create(&thread[i], NULL, write_many, &crowd[i]), 0);
	}
	for (int i = 0; i < 50; i++)
		assert_int_equal(audit_file_reopen(crowd[0].file, &e), 0);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(audit_file_counts(crowd[0].file).lines, CROWD * CROWD_LINES);
	assert_int_equal(audit_file_counts(crowd[0].file).lost, 0);
	audit_file_close(crowd[0].file);
	for (int k = 0; k <= 10; k++) {
		char path[96], line[32];
		FILE *in;
		int who, i;

		snprintf(path, sizeof(path), k ? "%s.%d" : "%s", f.log, k);
		in = fopen(path, "r");
		for (; in && fgets(line, sizeof(line), in); lines++) {
			assert_int_equal(strlen(line), 9);
			assert_int_equal(sscanf(line, "%1d %6d\n", &who, &i), 2);
			assert_true(who < CROWD && i < CROWD_LINES && !seen[who][i]);
			seen[who][i] = true;
		}
		if (in)
			fclose(in);
	}
	assert_int_equal(lines, CROWD * CROWD_LINES);
	folder_end(&f);
}

static void only_files_rotate(void **state)
{
	struct audit_opts o = { .path = "-", .clock = &clock_moving, .max_size = 1 };
	struct audit_file *file;
	struct err e;

	(void)state;
	assert_int_equal(audit_file_open(&file, &o, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
	o.path = "/dev/null";
	assert_int_equal(audit_file_open(&file, &o, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line),
		cmocka_unit_test(reopened_and_appended),
		cmocka_unit_test(losses_are_said_once),
		cmocka_unit_test(by_size),
		cmocka_unit_test(by_others_too),
		cmocka_unit_test(troubles_end_nothing),
		cmocka_unit_test(a_full_disk_tears_no_line),
		cmocka_unit_test(from_many_threads),
		cmocka_unit_test(only_files_rotate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
