/* `awsocks-bridge env`: the variables for --to, AWSOCKS, or the bridge's own first port. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/env_text.h"
#include "cmd/bridge/alone.h"

enum { HOST = 256 };

struct wanted {
	const char *to, *shell, *all_proxy;
	bool all, no_ssh, unset;
};

/* 1: argv[i] is it, and has a value. 2: the value is the next word. */
static int option(const char *word, const char *next, const char *name, const char **value)
{
	size_t n = strlen(name);

	if (strncmp(word, name, n) != 0)
		return 0;
	if (word[n] == '=') {
		*value = word + n + 1;
		return 1;
	}
	if (word[n] || !next)
		return 0;
	*value = next;
	return 2;
}

static int parse(int argc, char **argv, struct wanted *w, struct err *e)
{
	for (int i = 1; i < argc;) {
		const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
		int used = option(word, next, "--to", &w->to);

		used = used ? used : option(word, next, "--shell", &w->shell);
		used = used ? used : option(word, next, "--all-proxy", &w->all_proxy);
		if (!used && strcmp(word, "--all") == 0)
			used = w->all = true;
		else if (!used && strcmp(word, "--no-ssh") == 0)
			used = w->no_ssh = true;
		else if (!used && strcmp(word, "--unset") == 0)
			used = w->unset = true;
		if (!used)
			return err_set(e, ERR_USAGE, "env: unexpected '%.60s'", word);
		i += used;
	}
	return 0;
}

static int place(const char *text, char host[static HOST], struct proxy_vars_opts *o, struct err *e)
{
	const char *behind = strstr(text, "://"), *at = behind ? behind + 3 : text;

	if (str_starts(at, "unix:")) {
		o->unix_path = at + strlen("unix:");
		return 0;
	}
	if (str_host_port(at, host, HOST, &o->port, e) != 0)
		return -1;
	o->host = *host ? host : "127.0.0.1";
	return 0;
}

static const char *where(const struct wanted *w)
{
	const char *env = getenv("AWSOCKS");

	if (w->to)
		return w->to;
	return env && *env ? env : "127.0.0.1:1080";
}

static int set(struct buf *text, const struct wanted *w, enum env_shell shell, struct err *e)
{
	struct proxy_vars_opts o = { .extra = w->all, .no_ssh = w->no_ssh };
	char host[HOST], program[PROXY_VAR_PROGRAM];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	o.program = "awsocks-bridge";
	if (n > 0 && n < (ssize_t)sizeof(program) - 1) {
		program[n] = '\0';
		o.program = program;
	}
	if (proxy_vars_all_find(w->all_proxy, &o.all_proxy, e) != 0)
		return -1;
	if (place(where(w), host, &o, e) != 0)
		return err_wrap(e, w->to ? "--to" : "AWSOCKS");
	return env_text_set(text, shell, &o, e);
}

static int fill(struct buf *text, const struct wanted *w, struct err *e)
{
	enum env_shell shell;

	if (w->shell && env_shell_find(w->shell, &shell, e) != 0)
		return -1;
	if (!w->shell && !env_shell_guess(getenv("SHELL"), &shell))
		shell = ENV_SH;
	return w->unset ? env_text_unset(text, shell, e) : set(text, w, shell, e);
}

int alone_env(int argc, char **argv, struct err *e)
{
	struct wanted w = { 0 };
	struct buf text;
	int rc;

	if (parse(argc, argv, &w, e) != 0)
		return -1;
	buf_init(&text, ENV_TEXT_MAX);
	rc = fill(&text, &w, e);
	if (rc == 0 && (fwrite(buf_ptr(&text), 1, buf_len(&text), stdout) != buf_len(&text) ||
			fflush(stdout) != 0))
		rc = err_set(e, ERR_IO, "standard output");
	buf_free(&text);
	return rc;
}
