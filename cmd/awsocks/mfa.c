#include "cmd/awsocks/mfa.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/terminal.h"
#include "net/loop.h"

struct mfa {
	struct mfa_asker asker;
	struct loop *loop;
	bool remote;
	struct terminal *terminal, *own; /* NULL: none */
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
	bool given_up;
	char code[8];
};

static struct mfa_ask *oldest(struct mfa *m)
{
	return list_empty(&m->asks) ? NULL : CONTAINER_OF(m->asks.next, struct mfa_ask, node);
}

static void prompt(void *arg)
{
	const struct mfa *m = arg;
	const struct mfa_ask *a = oldest(arg);
	char text[512];

	if (!a || !m->terminal)
		return;
	(void)str_fmt(text, sizeof(text), "MFA code of %s (profile %s): ", a->serial, a->profile);
	str_printable(text); /* it is a file's */
	terminal_say(m->terminal, text);
}

static void cancel(struct mfa_ask *a)
{
	struct mfa *m = a->mfa;
	bool was_shown = oldest(m) == a;

	list_del(&a->node);
	timer_disarm(m->loop, &a->limit);
	loop_unpost(&a->post);
	mem_wipe(a->code, sizeof(a->code));
	mem_free(a);
	if (list_empty(&m->asks))
		terminal_done(m->terminal);
	else if (was_shown)
		prompt(m); /* the next one's */
}

static void on_limit(void *arg)
{
	struct mfa_ask *a = arg;
	mfa_code_fn *fn = a->fn;
	void *to = a->to;
	struct err e;

	if (a->given_up)
		(void)err_set(&e, ERR_CREDS, "the one-time code of %s was not given", a->serial);
	else
		(void)err_set(&e, ERR_CREDS,
			      "nobody gave the one-time code of %s within %d min: try again, and "
			      "give it with awsocks mfa",
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

/* The end of input: who can be told the code in no other way waits no longer. */
static void give_up(struct mfa *m)
{
	LIST_EACH (node, &m->asks) {
		struct mfa_ask *a = CONTAINER_OF(node, struct mfa_ask, node);

		a->given_up = true;
		timer_arm(m->loop, &a->limit, 0, on_limit, a);
	}
}

static void on_line(void *arg, char *line)
{
	struct mfa *m = arg;
	struct err e;

	if (line && mfa_answer(m, str_trim(line), &e) != 0)
		prompt(m);
	else if (!line && !m->remote)
		give_up(m);
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
	terminal_ask(m->terminal, m->loop, &(struct terminal_user){ on_line, prompt, m });
	if (oldest(m) == a)
		prompt(m);
	return a;
}

struct mfa *mfa_new(struct loop *loop, bool remote, struct terminal *terminal)
{
	struct mfa *m = mem_alloc(sizeof(*m));

	if (!m)
		return NULL;
	m->asker = (struct mfa_asker){ ask, cancel, m };
	m->loop = loop;
	m->remote = remote;
	m->own = terminal ? NULL : terminal_open();
	m->terminal = terminal ? terminal : m->own;
	list_init(&m->asks);
	return m;
}

void mfa_free(struct mfa *m)
{
	if (!m)
		return;
	terminal_done(m->terminal);
	terminal_free(m->own);
	mem_free(m);
}

const struct mfa_asker *mfa_asker_of(struct mfa *m)
{
	return m && (m->remote || terminal_is_ours(m->terminal)) ? &m->asker : NULL;
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
