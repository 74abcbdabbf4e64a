/*
 * credential_process: the user's own program prints credentials as JSON. The
 * line is split like a shell would, but no shell runs it; it has 60 s. Its
 * standard input stays ours, because such programs may ask at the terminal.
 * What it prints is wiped by net/process.c when it has been read; JSON's
 * copies are wiped here.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/json_secret.h"
#include "credentials/provider_impl.h"
#include "credentials/words.h"
#include "net/process.h"

enum { LIMIT_MS = 60000, OUT_MAX = 64 * 1024, ERR_MAX = 16 * 1024, ERR_SHOWN = 160 };

struct command {
	struct source base; /* words: "profile x (credential_process)" */
	struct loop *loop;
	const char *const *env;
	char **argv; /* one block */
};

struct command_call {
	struct source_call base;
	struct process *process;
};

/* --- the answer --- */

static struct creds *from_json(const cJSON *root, const char *source, struct err *e)
{
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "Version");
	const char *id = json_text(root, "AccessKeyId");
	const char *secret = json_text(root, "SecretAccessKey");
	const char *until = json_text(root, "Expiration");
	int64_t expires = 0;

	if (!cJSON_IsObject(root)) {
		(void)err_set(e, ERR_CREDS, "%s: its output is not a JSON object", source);
		return NULL;
	}
	if (!cJSON_IsNumber(version) || version->valueint != 1) {
		(void)err_set(e, ERR_CREDS, "%s: its output has another Version than 1", source);
		return NULL;
	}
	if (!id || !secret) {
		(void)err_set(e, ERR_CREDS, "%s: its output has no %s", source,
			      id ? "SecretAccessKey" : "AccessKeyId");
		return NULL;
	}
	if (until && clock_parse_iso(until, &expires, e) != 0) {
		e->code = ERR_CREDS;
		(void)err_wrap(e, "%s: Expiration", source);
		return NULL;
	}
	return creds_new(id, secret, json_text(root, "SessionToken"), expires,
			 json_text(root, "AccountId"), source, e);
}

struct creds *command_parse(const char *json, size_t n, const char *source, struct err *e)
{
	cJSON *root = json_secret_parse(json, n);
	struct err local;
	struct creds *c = from_json(root, source, e ? e : &local);

	json_secret_free(root);
	return c;
}

/* The last line of what it said that is not blank: there the cause stands. */
static const char *last_line(const char *text, size_t n, int *len)
{
	size_t begin;

	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	for (begin = n; begin && text[begin - 1] != '\n'; begin--)
		;
	*len = (int)(n - begin < ERR_SHOWN ? n - begin : ERR_SHOWN);
	return text + begin;
}

/* Its arguments may be secret, so the error names the program alone. */
static struct creds *from_result(const struct process_result *r, const char *program,
				 const char *source, struct err *e)
{
	const char *said;
	int len;

	if (r->why) {
		*e = *r->why;
		(void)err_wrap(e, "%s", source);
		return NULL;
	}
	if (r->status == 0 && r->signal == 0)
		return command_parse(r->out, r->out_len, source, e);
	said = last_line(r->err_text, r->err_len, &len);
	(void)err_set(e, ERR_CREDS, "%s: ended with %s %d%s%.*s: run %.60s yourself to mend it",
		      source, r->signal ? "signal" : "status", r->signal ? r->signal : r->status,
		      len ? ": " : "", len, said, program);
	e->passes = true; /* of a program nobody knows; it matters only after it has answered */
	return NULL;
}

/* --- the provider --- */

static void on_exit_of(void *arg, const struct process_result *result)
{
	struct command_call *cc = arg;
	struct command *c = (struct command *)cc->base.base.provider;
	struct err e;
	struct creds *creds = from_result(result, c->argv[0], c->base.words, &e);

	cc->process = NULL;
	source_end(&cc->base, creds, &e);
}

static int begin(struct source_call *call, struct err *e)
{
	struct command_call *cc = (struct command_call *)call;
	const struct command *c = (struct command *)call->base.provider;

	cc->process = process_start(c->loop,
				    &(struct process_opts){ .argv = (const char *const *)c->argv,
							    .env = c->env,
							    .kind = SPAWN_CREDENTIAL_PROCESS,
							    .inherit_stdin = true,
							    .out_max = OUT_MAX,
							    .err_max = ERR_MAX,
							    .limit_ms = LIMIT_MS },
				    on_exit_of, cc, e);
	return cc->process ? 0 : err_wrap(e, "%s", c->base.words);
}

static void drop(struct source_call *call)
{
	struct command_call *cc = (struct command_call *)call;

	if (cc->process)
		process_cancel(cc->process);
}

static void command_free(struct provider *p)
{
	mem_free(((struct command *)p)->argv);
}

static const struct source_ops ops = {
	.base = { .name = "credential_process", SOURCE_CALLS },
	.call_size = sizeof(struct command_call),
	.begin = begin,
	.drop = drop,
	.free = command_free,
};

static int fill(struct command *c, const struct command_opts *o, struct err *e)
{
	size_t count, n = strlen(o->profile) + 40;

	c->base.words = mem_alloc(n);
	if (!c->base.words)
		return err_set(e, ERR_NOMEM, "credentials");
	(void)str_fmt(c->base.words, n, "profile %s (credential_process)", o->profile);
	if (words_split(o->command, &c->argv, &count, e) != 0)
		return err_wrap(e, "%s", c->base.words);
	return count ? 0 : err_set(e, ERR_CONFIG, "%s: an empty command", c->base.words);
}

struct provider *command_new(const struct command_opts *o, struct err *e)
{
	struct command *c = source_new(sizeof(*c), &ops, e);

	if (!c)
		return NULL;
	c->loop = o->loop;
	c->env = o->environ;
	if (fill(c, o, e) != 0) {
		source_close(&c->base.base);
		return NULL;
	}
	return &c->base.base;
}
