/* `awsocks trust FILE`: the content of a project's rule file is remembered as trusted. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/project.h"
#include "cmd/awsocks/text_file.h"
#include "routing/router.h"

const struct arg_opt trust_options[] = {
	{ "revoke", 0, NULL, NULL, NULL, "Forget every trusted content of that file." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

/* The directory made canonical, the name as it is: what project_find() will look for. */
static int canonical(const char *file, char out[static PATH_TEXT], struct err *e)
{
	char copy[PATH_TEXT], dir[PATH_MAX];
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;

	if (strcmp(name, PROJECT_FILE) != 0)
		return err_set(e, ERR_USAGE,
			       "%.200s: only files named " PROJECT_FILE
			       " need trust; other rule files are named with --rules",
			       file);
	if (!str_fmt(copy, sizeof(copy), "%s", file))
		return err_set(e, ERR_USAGE, "path too long");
	if (!realpath(dirname(copy), dir))
		return err_sys(e, errno, "%.200s", file);
	if (!str_fmt(out, PATH_TEXT, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name))
		return err_set(e, ERR_USAGE, "path too long");
	return 0;
}

static void say(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

/* What would be refused at every start is not worth trusting. */
static int check_rules(const char *path, const char *text, size_t n, struct err *e)
{
	struct router_opts o = { .mode_vm = true };
	struct router *r;
	int rc;

	if (router_new(&r, &o, e) != 0)
		return -1;
	rc = router_add_yaml(r, text, n, path, 0, say, NULL, e);
	router_free(r);
	return rc == 0 ? 0 : err_set(e, ERR_CONFIG, "%s is not trusted: it has mistakes", path);
}

static int add(const char *path, struct err *e)
{
	char *text, digest[TRUST_DIGEST];
	size_t n;
	int rc;

	if (text_file_read(path, &text, &n, e) != 0)
		return -1;
	rc = check_rules(path, text, n, e);
	if (rc == 0)
		rc = trust_add(path, text, n, e);
	trust_digest(path, text, n, digest);
	mem_free(text);
	if (rc == 0)
		printf("trusted %s\nsha256 of path and content: %s\n", path, digest);
	return rc;
}

static int revoke(const char *path, struct err *e)
{
	size_t count;

	if (trust_revoke(path, &count, e) != 0)
		return -1;
	printf(count ? "no longer trusted: %s\n" : "was not trusted: %s\n", path);
	return 0;
}

int cmd_trust(int argc, char **argv)
{
	bool undo = false;
	struct arg_opt own[] = { trust_options[0], trust_options[1] };
	struct args args;
	struct err e;
	char path[PATH_TEXT];
	int status = 0;

	own[0].flag = &undo;
	if (args_parse(&args, argc, argv, own, &e) != 0)
		return command_fail(&e);
	if (args.help)
		status = command_help("trust");
	else if (args.count != 1)
		status = err_set(&e, ERR_USAGE, "usage: awsocks trust FILE [--revoke]");
	else if (canonical(args.positional[0], path, &e) != 0)
		status = -1;
	else
		status = undo ? revoke(path, &e) : add(path, &e);
	args_free(&args);
	return status < 0 ? command_fail(&e) : status;
}
