/* One job at a time: it is handed a copy, and makes text and file of it. */
#include "cmd/awsocks/learning.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/paths.h"
#include "proxy/learn_rules.h"

struct learning {
	const char *path;
	struct learn *table;
	struct loop *loop;
	struct loop_timer timer;
	uint64_t written; /* the version that the file has, or will have */
	bool busy;        /* a job is under way */
	bool failed;      /* the last one; said */
};

struct job {
	struct learning *owner;
	struct learn_taken taken;
	int64_t wall_ms;
	struct err why;
};

static int write_file(const char *path, struct learn_taken *t, int64_t wall_ms, struct err *e)
{
	struct buf text;
	int rc;

	buf_init(&text, LEARN_FILE_MAX);
	rc = learn_rules(t, wall_ms, &text, e);
	if (rc == 0)
		rc = file_replace(path, buf_ptr(&text), buf_len(&text), e);
	buf_free(&text);
	return rc;
}

/* ---- the files that are there ---- */

/* 1: written by --learn; 0: nothing there; -1: *e tells. */
static int look_at(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char start[sizeof(LEARN_MARK)] = "";
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(e, errno, "--learn: %s", path);
	n = read(fd, start, strlen(LEARN_MARK));
	close(fd);
	if (n == (ssize_t)strlen(LEARN_MARK) && strcmp(start, LEARN_MARK) == 0)
		return 1;
	return err_set(e, ERR_CONFIG,
		       "--learn: %s was not written by --learn: it is left alone, name another one",
		       path);
}

static int put_aside(const char *path, struct err *e)
{
	char aside[PATH_TEXT];
	int there = look_at(path, e);

	if (there <= 0)
		return there;
	if (!str_fmt(aside, sizeof(aside), "%s.1", path))
		return err_set(e, ERR_CONFIG, "--learn: path too long: %.80s...", path);
	if (look_at(aside, e) < 0)
		return -1;
	return rename(path, aside) == 0 ? 0 : err_sys(e, errno, "--learn: rename %s", path);
}

/* So that what is wrong with the place is told at the start. */
static int write_first(struct learning *l, struct err *e)
{
	struct learn_taken t;
	int rc;

	if (learn_take(l->table, &t, e) != 0)
		return -1;
	rc = write_file(l->path, &t, clock_wall_ms(&clock_system), e);
	learn_taken_free(&t);
	return rc == 0 ? 0 : err_wrap(e, "--learn");
}

int learning_open(struct learning **out, const char *path, struct err *e)
{
	struct learning *l = mem_alloc(sizeof(*l));

	*out = NULL;
	if (!l)
		return err_set(e, ERR_NOMEM, "--learn");
	l->path = path;
	if (learn_new(&l->table, e) != 0 || put_aside(path, e) != 0 || write_first(l, e) != 0) {
		learn_free(l->table);
		mem_free(l);
		return -1;
	}
	*out = l;
	return 0;
}

struct learn *learning_table(struct learning *l)
{
	return l->table;
}

/* ---- writing ---- */

static void run(void *arg)
{
	struct job *j = arg;

	(void)(write_file(j->owner->path, &j->taken, j->wall_ms, &j->why) == 0);
}

static void tell(struct learning *l, const struct err *why)
{
	if (why->code != ERR_NONE && !l->failed)
		log_error("learn", "not written: %s (said once)", why->msg);
	else if (why->code == ERR_NONE && l->failed)
		log_info("learn", "%s: written again", l->path);
	l->failed = why->code != ERR_NONE;
	if (l->failed)
		l->written = 0; /* whoever comes next tries */
}

static void done(void *arg, bool cancelled)
{
	struct job *j = arg;

	(void)cancelled;
	j->owner->busy = false;
	tell(j->owner, &j->why);
	learn_taken_free(&j->taken);
	mem_free(j);
}

static int begin(struct learning *l, struct err *e)
{
	struct job *j = mem_alloc(sizeof(*j));

	if (!j)
		return err_set(e, ERR_NOMEM, "--learn");
	j->owner = l;
	j->wall_ms = clock_wall_ms(loop_clock(l->loop));
	if (learn_take(l->table, &j->taken, e) == 0) {
		l->written = j->taken.version;
		l->busy = work_start(l->loop, run, done, j, e) != NULL;
		if (l->busy)
			return 0;
		learn_taken_free(&j->taken);
	}
	mem_free(j);
	return -1;
}

void learning_write(struct learning *l)
{
	struct err e = { 0 };

	if (!l->loop || l->busy || learn_version(l->table) == l->written)
		return;
	if (begin(l, &e) != 0)
		tell(l, &e);
}

static void again(void *arg)
{
	struct learning *l = arg;

	learning_write(l);
	timer_arm(l->loop, &l->timer, LEARNING_MS, again, l);
}

void learning_start(struct learning *l, struct loop *loop)
{
	l->loop = loop;
	timer_arm(loop, &l->timer, LEARNING_MS, again, l);
}

void learning_stop(struct learning *l)
{
	if (l->loop)
		timer_disarm(l->loop, &l->timer);
	l->loop = NULL;
}

void learning_describe(struct learning *l, struct cJSON *into)
{
	struct cJSON *o = cJSON_AddObjectToObject(into, "learn");

	cJSON_AddStringToObject(o, "path", l->path);
	cJSON_AddNumberToObject(o, "requests", (double)learn_version(l->table));
	cJSON_AddBoolToObject(o, "failed", l->failed);
}

/* Its job, if there was one, ended with the loop. */
void learning_close(struct learning *l)
{
	struct err e = { 0 };

	if (!l)
		return;
	if (learn_version(l->table) != l->written && write_first(l, &e) != 0)
		tell(l, &e);
	learn_free(l->table);
	mem_free(l);
}
