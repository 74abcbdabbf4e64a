#include "cmd/awsocks/mfa.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"

struct mfa {
	struct mfa_asker asker;
	struct loop *loop;
	bool remote;
	int tty; /* -1: none */
	struct loop_watch input;
	struct list asks;
};

struct mfa_ask {
	struct list node;
	struct mfa *mfa;
	char profile[128], serial[300];
	mfa_code_fn *fn;
	void *to;
	struct loop_timer limit;
	struct loop_post post;
	char code[8];
};

static struct mfa_ask *oldest(struct mfa *m)
{
	return list_empty(&m->asks) ? NULL : CONTAINER_OF(m->asks.next, struct mfa_ask, node);
}

/* A process in the background that reads a terminal is stopped by the system. */
static bool in_foreground(const struct mfa *m)
{
	return m->tty >= 0 && tcgetpgrp(m->tty) == getpgrp();
}

static void say(struct mfa *m, const char *text)
{
	/* A terminal that takes no more shows nothing: `awsocks mfa` still works. */
	if (write(m->tty, text, strlen(text)) < 0)
		log_debug("mfa", "the terminal takes no text");
}

static void prompt(struct mfa *m)
{
	const struct mfa_ask *a = oldest(m);
	char text[512];

	if (!a || !m->input.added)
		return;
	(void)str_fmt(text, sizeof(text), "MFA code of %s (profile %s): ", a->serial, a->profile);
	say(m, text);
}

static void cancel(struct mfa_ask *a)
{
	struct mfa *m = a->mfa;

	list_del(&a->node);
	timer_disarm(m->loop, &a->limit);
	loop_unpost(&a->post);
	mem_wipe(a->code, sizeof(a->code));
	mem_free(a);
	if (list_empty(&m->asks))
		watch_del(m->loop, &m->input);
}

static void on_limit(void *arg)
{
	struct mfa_ask *a = arg;
	mfa_code_fn *fn = a->fn;
	void *to = a->to;
	struct err e;

	(void)err_set(&e, ERR_CREDS,
		      "nobody gave the one-time code of %s within %d min: try again, and give it "
		      "with awsocks mfa",
		      a->serial, MFA_LIMIT_MS / 60000);
	cancel(a);
	fn(to, NULL, &e);
}

static void deliver(void *arg)
{
	struct mfa_ask *a = arg;
	mfa_code_fn *fn = a->fn;
	void *to = a->to;
	char code[8];

	memcpy(code, a->code, sizeof(code));
	cancel(a);
	fn(to, code, NULL);
	mem_wipe(code, sizeof(code));
}

static bool is_code(const char *s)
{
	return strlen(s) == 6 && strspn(s, "0123456789") == 6;
}

int mfa_answer(struct mfa *m, const char *code, struct err *e)
{
	struct mfa_ask *a = oldest(m);

	if (!code || !is_code(code))
		return err_set(e, ERR_USAGE, "a one-time code has six digits");
	for (; a && *a->code;) /* answered in this very turn */
		a = a->node.next == &m->asks ? NULL
					     : CONTAINER_OF(a->node.next, struct mfa_ask, node);
	if (!a)
		return err_set(e, ERR_USAGE, "no one-time code is asked for now");
	memcpy(a->code, code, 7);
	loop_post(m->loop, &a->post, deliver, a);
	return 0;
}

/* A terminal gives a whole line at a time (canonical mode), so one read does. */
static void on_line(void *arg, unsigned ready)
{
	struct mfa *m = arg;
	char line[64];
	ssize_t n = read(m->tty, line, sizeof(line) - 1);
	struct err e;

	(void)ready;
	if (n <= 0) {
		watch_del(m->loop, &m->input);
		return;
	}
	line[n] = '\0';
	if (mfa_answer(m, str_trim(line), &e) != 0)
		prompt(m);
	mem_wipe(line, sizeof(line));
}

static struct mfa_ask *ask(void *arg, const char *profile, const char *serial, mfa_code_fn *fn,
			   void *to, struct err *e)
{
	struct mfa *m = arg;
	struct mfa_ask *a = mem_alloc(sizeof(*a));

	if (!a) {
		(void)err_set(e, ERR_NOMEM, "one-time code");
		return NULL;
	}
	a->mfa = m;
	a->fn = fn;
	a->to = to;
	(void)str_fmt(a->profile, sizeof(a->profile), "%s", profile);
	(void)str_fmt(a->serial, sizeof(a->serial), "%s", serial);
	list_add_tail(&m->asks, &a->node);
	timer_arm(m->loop, &a->limit, MFA_LIMIT_MS, on_limit, a);
	if (m->remote)
		log_warn("mfa", "profile %s needs the one-time code of %s: awsocks mfa", profile,
			 serial);
	if (!m->input.added && in_foreground(m) &&
	    watch_add(m->loop, &m->input, m->tty, WATCH_READ, on_line, m, NULL) != 0)
		log_debug("mfa", "the terminal cannot be watched");
	if (oldest(m) == a)
		prompt(m);
	return a;
}

struct mfa *mfa_new(struct loop *loop, bool remote)
{
	struct mfa *m = mem_alloc(sizeof(*m));

	if (!m)
		return NULL;
	m->asker = (struct mfa_asker){ ask, cancel, m };
	m->loop = loop;
	m->remote = remote;
	m->tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	list_init(&m->asks);
	return m;
}

void mfa_free(struct mfa *m)
{
	if (!m)
		return;
	watch_del(m->loop, &m->input);
	if (m->tty >= 0)
		close(m->tty);
	mem_free(m);
}

const struct mfa_asker *mfa_asker_of(struct mfa *m)
{
	return m && (m->remote || in_foreground(m)) ? &m->asker : NULL;
}

void mfa_describe(const struct mfa *m, struct cJSON *array)
{
	LIST_EACH (node, &m->asks) {
		const struct mfa_ask *a = CONTAINER_OF(node, struct mfa_ask, node);
		struct cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "profile", a->profile);
		cJSON_AddStringToObject(o, "serial", a->serial);
		cJSON_AddItemToArray(array, o);
	}
}
