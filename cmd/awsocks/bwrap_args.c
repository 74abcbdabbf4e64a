/*
 * `awsocks bwrap-args --listener NAME`: what bubblewrap needs so that a sandbox without network
 * has that Unix listener, and nothing else of this host.
 *
 *     bwrap --ro-bind / / $(awsocks bwrap-args --listener box --bridge) COMMAND
 *
 * It is the socket's directory that is bound: a socket that is bound by itself is a dead one when
 * awsocks has started anew. Read-only is enough to connect. So it must be a directory of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "cmd/awsocks/env.h"
#include "cmd/awsocks/env_shell.h"
#include "cmd/awsocks/own.h"

enum { OUTPUT_MAX = 64 * 1024 };

const struct arg_opt bwrap_args_options[] = {
	{ "listener", 0, "NAME", NULL, NULL, "The Unix listener of that name or address." },
	{ "to", 0, "unix:/PATH", NULL, NULL, "Its socket; asks nobody." },
	{ "bridge", 0, NULL, NULL, NULL,
	  "End with awsocks-bridge, so that the command that follows finds a proxy at "
	  "127.0.0.1:1080, and its variables set." },
	{ "null", 0, NULL, NULL, NULL, "A NUL behind each, for bwrap --args FD." },
	{ "quote", 0, NULL, NULL, NULL, "Quoted for sh, in one line, for eval." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

struct asked {
	struct env_request request;
	bool null, quote, bridge;
};

enum form { FORM_LINES = 0, FORM_NULL, FORM_QUOTED };

struct output {
	struct buf text;
	enum form form;
	const struct env_vars *vars;
	char folder[ADDR_TEXT], bridge[PATH_TEXT]; /* bridge "": there is none */
};

/* What $(...) leaves as it is. */
static bool is_plain(const char *word)
{
	return *word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789./_-+,@:=%")];
}

static int add(struct output *o, const char *word, struct err *e)
{
	switch (o->form) {
	case FORM_NULL: return buf_add(&o->text, word, strlen(word) + 1, e);
	case FORM_QUOTED:
		if (buf_len(&o->text) && buf_add(&o->text, " ", 1, e) != 0)
			return -1;
		return env_shell_word(&o->text, word, e);
	case FORM_LINES:
	default:
		if (!is_plain(word))
			return err_set(e, ERR_USAGE,
				       "'%.120s' would not survive a shell's $(...): --quote with "
				       "eval, or --null with bwrap --args",
				       word);
		return buf_addf(&o->text, e, "%s\n", word);
	}
}

static int add_all(struct output *o, const char *const *words, struct err *e)
{
	for (; *words; words++)
		if (add(o, *words, e) != 0)
			return -1;
	return 0;
}

/* ---- the directory ---- */

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]);
}

/* Whoever gets the directory gets all that is in it: the control socket, another's listener. */
static int check_alone(const char *folder, const char *socket_name, struct err *e)
{
	DIR *d = opendir(folder);
	const struct dirent *entry;
	int rc = 0;

	if (!d)
		return err_sys(e, errno, "%s", folder);
	while (rc == 0 && (entry = readdir(d)) != NULL)
		/* beside it only what belongs to it: proxy.sock.lock */
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !str_starts(entry->d_name, socket_name))
			rc = err_set(
				e, ERR_CONFIG,
				"the sandbox would get all of %s, and '%.60s' is there too: give "
				"the listener a directory of its own",
				folder, entry->d_name);
	closedir(d);
	return rc;
}

static int take_folder(struct output *o, struct err *e)
{
	const struct env_place *p = &o->vars->place;
	const char *slash = strrchr(p->unix_path, '/');

	if (*p->host)
		return err_set(e, ERR_USAGE,
			       "listener %s is at %s:%u, which a sandbox without network cannot "
			       "reach: name one at unix:/PATH, as in --listen "
			       "unix:$XDG_RUNTIME_DIR/awsocks/box/proxy.sock",
			       *p->name ? p->name : "default", p->host, p->port);
	if (slash == p->unix_path)
		return err_set(e, ERR_CONFIG,
			       "unix:%s is in /: give the listener a directory of "
			       "its own",
			       p->unix_path);
	(void)str_fmt(o->folder, sizeof(o->folder), "%.*s", (int)(slash - p->unix_path),
		      p->unix_path);
	/* As start will make it: the sandbox may be there first, and wait. */
	if (path_make_parents(p->unix_path, e) != 0)
		return -1;
	return check_alone(o->folder, slash + 1, e);
}

/* ---- what goes in ---- */

static int add_folder(struct output *o, struct err *e)
{
	const char *const tmpfs[] = { "--tmpfs", "/tmp", NULL };
	const char *const bind[] = { "--unshare-net", "--ro-bind", o->folder, o->folder, NULL };
	const char *const bridge[] = { "--ro-bind", o->bridge, o->bridge, NULL };

	if (is_below(o->folder, "/tmp")) {
		fprintf(stderr,
			"awsocks: %s is below /tmp: a --tmpfs /tmp behind these arguments would "
			"hide it (before it stands one)\n",
			o->folder);
		if (add_all(o, tmpfs, e) != 0)
			return -1;
	}
	if (add_all(o, bind, e) != 0)
		return -1;
	return *o->bridge ? add_all(o, bridge, e) : 0;
}

static int set_variable(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
			struct err *e)
{
	const char *const words[] = { "--setenv", name, value, NULL };
	struct output *o = arg;

	(void)kind;
	/* The one with blanks in it; the bridge sets it too. */
	if (o->form == FORM_LINES && !is_plain(value) && strcmp(name, "GIT_SSH_COMMAND") == 0)
		return 0;
	/* Brackets are a pattern for the shell, and there is no loopback server to reach. */
	if (str_eq_nocase(name, "NO_PROXY"))
		return 0;
	return add_all(o, words, e);
}

/* The host's own proxy is out of reach. */
static int unset_variable(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
			  struct err *e)
{
	const char *const words[] = { "--unsetenv", name, NULL };

	(void)value;
	if (kind == PROXY_VAR_MERGE || strcmp(name, "AWSOCKS") == 0 || !getenv(name))
		return 0;
	return add_all(arg, words, e);
}

static int add_variables(struct output *o, struct err *e)
{
	const struct proxy_vars_opts tcp = { .host = "127.0.0.1", .port = 1 };
	struct proxy_vars_opts ours = o->vars->opts;

	ours.program = o->bridge;
	ours.no_ssh = !*o->bridge;
	if (proxy_vars_each(&tcp, unset_variable, o, e) != 0)
		return -1;
	return proxy_vars_each(&ours, set_variable, o, e);
}

static int add_bridge(struct output *o, struct err *e)
{
	char to[HOST_MAX + 16];
	const char *const words[] = { o->bridge, "bridge", "--listen", "127.0.0.1:1080", "--to", to,
				      "--env",   "--",     NULL };

	env_place_format(&o->vars->place, to);
	return add_all(o, words, e);
}

/* bwrap knows no such option, and says so: without it, `bwrap ... $(awsocks bwrap-args ...)` would
 * run the command with the host's whole network when there is nothing to put there. */
static int fail(const struct asked *a, const struct err *e)
{
	(void)fputs("--awsocks-bwrap-args-failed", stdout);
	(void)fputc(a->null ? '\0' : '\n', stdout);
	return command_fail(e);
}

static int print(struct output *o)
{
	size_t n = buf_len(&o->text);
	bool ok = fwrite(buf_ptr(&o->text), 1, n, stdout) == n;

	if (ok && o->form == FORM_QUOTED)
		ok = fputc('\n', stdout) != EOF;
	return ok && fflush(stdout) == 0 ? 0 : err_exit_status(ERR_IO);
}

static int make(struct output *o, bool bridge, struct err *e)
{
	if (take_folder(o, e) != 0)
		return -1;
	(void)path_program("awsocks-bridge", true, o->bridge);
	if (!*o->bridge && bridge)
		return err_set(e, ERR_UNSUPPORTED,
			       "--bridge: no awsocks-bridge beside this program or in PATH");
	if (!*o->bridge)
		fprintf(stderr, "awsocks: no awsocks-bridge beside this program or in PATH: only "
				"curl can use the socket in that sandbox\n");
	if (add_folder(o, e) != 0 || add_variables(o, e) != 0)
		return -1;
	return bridge ? add_bridge(o, e) : 0;
}

static int run(const struct asked *a, struct err *e)
{
	struct env_vars v;
	struct output o = { .form = a->null    ? FORM_NULL
				    : a->quote ? FORM_QUOTED
					       : FORM_LINES,
			    .vars = &v };
	int rc;

	if (!a->request.where.listener && !a->request.where.to)
		return err_set(e, ERR_USAGE,
			       "usage: awsocks bwrap-args --listener NAME "
			       "[--bridge] [--null | --quote]");
	if (a->null && (a->quote || a->bridge))
		return err_set(e, ERR_USAGE,
			       "--null is for bwrap --args, which takes options only: it goes with "
			       "neither --quote nor --bridge");
	if (env_vars_find(&a->request, &v, e) != 0)
		return -1;
	buf_init(&o.text, OUTPUT_MAX);
	rc = make(&o, a->bridge, e) != 0 ? -1 : print(&o);
	buf_free(&o.text);
	return rc;
}

int cmd_bwrap_args(int argc, char **argv)
{
	struct asked a = { 0 };
	struct arg_opt own[sizeof(bwrap_args_options) / sizeof(bwrap_args_options[0])];
	struct args args;
	struct err e;
	int status;

	memcpy(own, bwrap_args_options, sizeof(own));
	own[0].value = &a.request.where.listener;
	own[1].value = &a.request.where.to;
	own[2].flag = &a.bridge;
	own[3].flag = &a.null;
	own[4].flag = &a.quote;
	if (args_parse(&args, argc, argv, own, &e) != 0)
		return fail(&a, &e);
	a.request.where.control = settings_get(&args.settings, OPT_ID_control);
	if (args.help)
		status = command_help("bwrap-args");
	else if (args.count)
		status = err_set(&e, ERR_USAGE, "bwrap-args: '%.60s': no such argument",
				 args.positional[0]);
	else
		status = run(&a, &e);
	args_free(&args);
	return status < 0 ? fail(&a, &e) : status;
}
