/*
 * listeners.d/NAME.yaml beside config.yaml: listeners that a program wrote (`awsocks cal setup`),
 * so that it need not edit what people write. Each is a configuration of listeners alone.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/text_file.h"

enum { FILES_MAX = 256 };

struct names {
	char *item[FILES_MAX];
	size_t count;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		mem_free(n->item[i]);
}

static int add_name(struct names *n, const char *name, const char *dir, struct err *e)
{
	if (name[0] == '.' || !str_ends(name, ".yaml"))
		return 0;
	if (n->count == FILES_MAX)
		return err_set(e, ERR_CONFIG, "%s has more than %d files", dir, FILES_MAX);
	n->item[n->count] = mem_strdup(name);
	if (!n->item[n->count])
		return err_set(e, ERR_NOMEM, "%s", dir);
	n->count++;
	return 0;
}

/* No directory is an empty one. */
static int read_names(struct names *n, const char *dir, struct err *e)
{
	const struct dirent *d;
	DIR *open = opendir(dir);
	int rc = 0;

	if (!open)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, errno, "%s", dir);
	while (rc == 0 && (d = readdir(open)) != NULL)
		rc = add_name(n, d->d_name, dir, e);
	closedir(open);
	qsort(n->item, n->count, sizeof(n->item[0]), by_name);
	return rc;
}

static bool has_name(const struct config_file *f, const char *name)
{
	for (size_t i = 0; i < f->listener_count; i++)
		if (f->listener[i].name && strcmp(f->listener[i].name, name) == 0)
			return true;
	return false;
}

/* Moves the listeners of `from`, which loses them. */
static int take(struct setup *s, struct config_file *from, struct err *e)
{
	struct config_file *to = s->config;
	size_t all = to->listener_count + from->listener_count;
	struct config_listener *l = mem_resize(to->listener, (all + 1) * sizeof(*l));

	if (!l)
		return err_set(e, ERR_NOMEM, "%s", from->name);
	to->listener = l;
	for (size_t i = 0; i < from->listener_count; i++) {
		char *name = from->listener[i].name;

		if (name && has_name(to, name))
			return err_set(e, ERR_CONFIG,
				       "%s:%u: another listener has the name '%.40s'", from->name,
				       from->listener[i].line, name);
		from->listener[i].file = mem_strdup(from->name);
		to->listener[to->listener_count++] = from->listener[i];
		from->listener[i] = (struct config_listener){ .mode = -1 };
		s->dropped_in++;
	}
	return 0;
}

static int read_one(struct setup *s, const char *path, problem_fn *report, void *arg, struct err *e)
{
	struct config_file *f;
	char *text;
	size_t n;
	int rc;

	if (text_file_read(path, &text, &n, e) != 0)
		return -1;
	rc = config_parse(text, n, path, &f, report, arg, e);
	mem_free(text);
	if (rc != 0)
		return -1;
	if (f->profile_count || f->defaults.count || f->routing)
		rc = err_set(e, ERR_CONFIG,
			     "%s:1:1: only listeners: here; the rest belongs in "
			     "config.yaml",
			     path);
	if (rc == 0 && !s->config)
		rc = config_parse("", 0, path, &s->config, NULL, NULL, e);
	if (rc == 0)
		rc = take(s, f, e);
	config_free(f);
	return rc;
}

int setup_drop_ins(struct setup *s, const char *dir, problem_fn *report, void *arg, struct err *e)
{
	char path[PATH_TEXT], folder[PATH_TEXT];
	struct names names = { .count = 0 };
	int rc;

	if (!str_fmt(folder, sizeof(folder), "%s/listeners.d", dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
	rc = read_names(&names, folder, e);
	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		if (!str_fmt(path, sizeof(path), "%s/%s", folder, names.item[i]))
			rc = err_set(e, ERR_CONFIG, "path too long: %.80s...", folder);
		else
			rc = read_one(s, path, report, arg, e);
	}
	names_free(&names);
	return rc;
}
