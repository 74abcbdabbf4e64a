#include "cmd/awsocks/env_text.h"

#include <stdlib.h>
#include <string.h>

enum { MERGED_MAX = 16 * 1024, MARKS = 64 };

struct output {
	struct buf *text;
	enum env_shell shell;
	/* by proxy_vars_name()'s number: has a value now, has one without --all, is merged */
	bool listed[MARKS], usual[MARKS], merged[MARKS];
};

static int put(struct output *o, const char *name, const char *value, struct err *e)
{
	return *value ? env_shell_set(o->text, o->shell, name, value, e)
		      : env_shell_unset(o->text, o->shell, name, e);
}

/* A variable that the user's own words may stand in. ours NULL: without ours. */
static int put_merged(struct output *o, const char *name, const char *ours, struct err *e)
{
	/* What a file is read into has other variables than this process. */
	const char *existing = env_shell_is_file(o->shell) ? NULL : getenv(name);
	char merged[MERGED_MAX];

	if (proxy_vars_merge(name, existing, ours, merged, sizeof(merged), e) != 0)
		return -1;
	return put(o, name, merged, e);
}

static bool *mark_of(bool marks[static MARKS], const char *name)
{
	size_t i = 0;

	while (i + 1 < MARKS && proxy_vars_name(i) && strcmp(proxy_vars_name(i), name) != 0)
		i++;
	return &marks[i];
}

static int set(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
	       struct err *e)
{
	struct output *o = arg;

	*mark_of(o->listed, name) = true;
	return kind == PROXY_VAR_MERGE ? put_merged(o, name, value, e) : put(o, name, value, e);
}

static int mark_usual(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		      struct err *e)
{
	struct output *o = arg;

	(void)value;
	(void)e;
	*mark_of(o->usual, name) = true;
	*mark_of(o->merged, name) = kind == PROXY_VAR_MERGE;
	return 0;
}

/* Which are set without --all, and which of them are merged. */
static int learn_usual(struct output *o, struct err *e)
{
	const struct proxy_vars_opts any = { .host = "127.0.0.1", .port = 1 };

	return proxy_vars_each(&any, mark_usual, o, e);
}

/* The usual ones that this environment has and that are not set now: whatever set them, they
 * name another proxy. Those of --all may be the user's own. */
static int unset_stale(struct output *o, struct err *e)
{
	const char *name, *existing;

	for (size_t i = 0; i < MARKS && (name = proxy_vars_name(i)) != NULL; i++) {
		existing = getenv(name);
		if (o->listed[i] || !o->usual[i] || !existing)
			continue;
		if (o->merged[i] ? put_merged(o, name, NULL, e) != 0 : put(o, name, "", e) != 0)
			return -1;
	}
	return 0;
}

static int unset_all(struct output *o, struct err *e)
{
	const char *name;

	for (size_t i = 0; i < MARKS && (name = proxy_vars_name(i)) != NULL; i++)
		if (o->merged[i] ? put_merged(o, name, NULL, e) != 0 : put(o, name, "", e) != 0)
			return -1;
	return 0;
}

int env_text_set(struct buf *text, enum env_shell shell, const struct proxy_vars_opts *opts,
		 struct err *e)
{
	struct output o = { .text = text, .shell = shell };

	if (learn_usual(&o, e) != 0 || env_shell_begin(text, shell, e) != 0 ||
	    proxy_vars_each(opts, set, &o, e) != 0)
		return -1;
	if (!env_shell_is_file(shell) && unset_stale(&o, e) != 0)
		return -1;
	return env_shell_end(text, shell, e);
}

int env_text_unset(struct buf *text, enum env_shell shell, struct err *e)
{
	struct output o = { .text = text, .shell = shell };

	if (env_shell_is_file(shell))
		return err_set(e, ERR_USAGE, "--unset: a file cannot unset a variable");
	return learn_usual(&o, e) != 0 ? -1 : unset_all(&o, e);
}
