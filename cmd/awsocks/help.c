/* `awsocks help`, `version`, and `man` (hidden: it makes docs/awsocks.1). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/text_file.h"
#include "config/doc.h"

enum { HELP_MAX = 256 * 1024 };

/* Prints and frees; the exit status. */
static int print(struct buf *b, int rc, const struct err *e)
{
	bool ok = rc == 0 && (buf_len(b) == 0 || fwrite(buf_ptr(b), buf_len(b), 1, stdout) == 1) &&
		  fflush(stdout) == 0;

	buf_free(b);
	if (rc != 0)
		return command_fail(e);
	return ok ? 0 : err_exit_status(ERR_IO);
}

static int list_commands(struct buf *b, bool built, struct err *e)
{
	for (const struct command *c = commands; c->name; c++)
		if (c->brief && (c->run != NULL) == built &&
		    buf_addf(b, e, "  %-12s %s\n", c->name, c->brief) != 0)
			return -1;
	return 0;
}

static int list_unbuilt(struct buf *b, struct err *e)
{
	bool any = false;

	for (const struct command *c = commands; c->name; c++)
		any |= c->brief && !c->run;
	if (any && buf_addf(b, e, "\nNot built yet:\n") != 0)
		return -1;
	return any ? list_commands(b, false, e) : 0;
}

static int overview(struct buf *b, struct err *e)
{
	if (buf_addf(b, e,
		     "awsocks " AWSOCKS_VERSION
		     ": a SOCKS and HTTP proxy into AWS, through Systems Manager\n"
		     "\n"
		     "usage: awsocks [start] [PROFILE...] [options]\n"
		     "       awsocks COMMAND [arguments]\n"
		     "\n"
		     "  awsocks --name bastion                     proxy on 127.0.0.1:1080\n"
		     "  awsocks --route-default direct --route-proxy '*.internal.example.com'\n"
		     "  curl --proxy socks5h://127.0.0.1:1080 http://db.internal.example.com/\n"
		     "\nCommands:\n") != 0 ||
	    list_commands(b, true, e) != 0 || list_unbuilt(b, e) != 0)
		return -1;
	return buf_addf(
		b, e,
		"\nEvery option can also stand in config.yaml (defaults:, profiles:) under its "
		"name, or in\nthe environment: --route-default is AWSOCKS_ROUTE_DEFAULT.\n");
}

static int help_text(struct buf *b, const char *name, struct err *e)
{
	const struct command *c = name ? command_find(name) : NULL;

	if (!name)
		return overview(b, e) != 0 ? -1 : doc_help(b, NULL, true, e);
	if (!c)
		return err_set(e, ERR_USAGE, "no command '%.40s': awsocks help lists them", name);
	if (buf_addf(b, e, "usage: awsocks %s%s%s\n\n%s%s", c->name, *c->args ? " " : "", c->args,
		     c->brief ? c->brief : "", c->run ? "\n" : " (not built yet)\n") != 0 ||
	    (c->more && buf_addf(b, e, "\n%s", c->more) != 0))
		return -1;
	return doc_help(b, c->own, c->general, e);
}

int command_help(const char *name)
{
	struct buf b;
	struct err e;
	int rc;

	buf_init(&b, HELP_MAX);
	rc = help_text(&b, name, &e);
	return print(&b, rc, &e);
}

int cmd_help(int argc, char **argv)
{
	return command_help(argc > 1 ? argv[1] : NULL);
}

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return printf("awsocks " AWSOCKS_VERSION "\n") < 0 ? err_exit_status(ERR_IO) : 0;
}

/* A hyphen of a command line is a minus for roff. */
static int man_args(struct buf *b, const char *args, struct err *e)
{
	int bad = *args ? buf_add(b, " ", 1, e) : 0;

	for (; *args && !bad; args++)
		bad = *args == '-' ? buf_add(b, "\\-", 2, e) : buf_add(b, args, 1, e);
	return bad;
}

static int man_commands(struct buf *b, struct err *e)
{
	if (buf_addf(b, e, ".Bl -tag -width Ds\n") != 0)
		return -1;
	for (const struct command *c = commands; c->name; c++) {
		if (!c->brief || !c->run)
			continue;
		if (buf_addf(b, e, ".It Cm %s", c->name) != 0 || man_args(b, c->args, e) != 0 ||
		    buf_addf(b, e, "%s\n%c%s.\n", *c->args ? "\\&" : "",
			     c->brief[0] >= 'a' && c->brief[0] <= 'z' ? c->brief[0] - 32
								      : c->brief[0],
			     c->brief + 1) != 0)
			return -1;
	}
	return buf_addf(b, e, ".El\n");
}

/* The template with @COMMANDS@ and @OPTIONS@ (each a line of its own) filled in. */
static int fill(struct buf *b, const char *text, struct err *e)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		int rc;

		if (str_starts(text, "@COMMANDS@\n"))
			rc = man_commands(b, e);
		else if (str_starts(text, "@OPTIONS@\n"))
			rc = doc_man(b, e);
		else
			rc = buf_add(b, text, n + (text[n] == '\n'), e);
		if (rc != 0)
			return -1;
		text += n + (text[n] == '\n');
	}
	return 0;
}

/* `awsocks man docs/awsocks.1.in`; `make man` keeps the result in docs/awsocks.1. */
int cmd_man(int argc, char **argv)
{
	struct buf b;
	struct err e;
	char *text = NULL;
	size_t n;
	int rc = -1;

	buf_init(&b, HELP_MAX);
	if (argc != 2)
		(void)err_set(&e, ERR_USAGE, "usage: awsocks man TEMPLATE");
	else if (text_file_read(argv[1], &text, &n, &e) == 0)
		rc = fill(&b, text, &e);
	mem_free(text);
	return print(&b, rc, &e);
}
