#include "cmd/awsocks/rule_slots.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/file_watch.h"

enum { SLOTS_MAX = 64, WATCHES_MAX = 256 };

struct slot {
	struct rule_slots *of;
	struct rule_set set;
	char *listener_rules; /* NULL: none of its own */
	bool project;
};

struct rule_slots {
	const struct setup *setup;
	struct loop *loop; /* NULL: not watching */
	struct slot slot[SLOTS_MAX];
	size_t count;
	struct file_watch *watch[WATCHES_MAX];
	size_t watches;
};

static void say_problem(void *arg, const char *text)
{
	(void)arg;
	log_error("rules", "%s", text);
}

static void say_warning(void *arg, const char *text)
{
	(void)arg;
	log_warn("rules", "%s", text);
}

static int load(const struct rule_slots *s, const struct slot *slot, struct rule_set *set,
		struct err *e)
{
	struct rule_request request = {
		.setup = s->setup,
		.listener_rules = slot->listener_rules,
		.project = slot->project,
		.report = s->loop ? say_problem : NULL,
		.warn = say_warning,
	};

	if (rules_load(set, &request, e) != 0)
		return -1;
	if (rules_check_profiles(set, s->setup, e) == 0)
		return 0;
	rules_free(set);
	return -1;
}

int rule_slots_new(struct rule_slots **out, const struct setup *setup, struct err *e)
{
	*out = mem_alloc(sizeof(**out));
	if (!*out)
		return err_set(e, ERR_NOMEM, "rules");
	(*out)->setup = setup;
	return 0;
}

int rule_slots_add(struct rule_slots *s, const char *listener_rules, bool project, struct err *e)
{
	struct slot *slot = &s->slot[s->count];

	if (s->count == SLOTS_MAX)
		return err_set(e, ERR_CONFIG, "more than %d listeners", SLOTS_MAX);
	slot->of = s;
	slot->project = project;
	slot->listener_rules = mem_strdup(listener_rules);
	if (listener_rules && !slot->listener_rules)
		return err_set(e, ERR_NOMEM, "rules");
	if (load(s, slot, &slot->set, e) != 0) {
		mem_free(slot->listener_rules);
		return -1;
	}
	s->count++;
	return 0;
}

/* --- watching ----------------------------------------------------------- */

static void unwatch(struct rule_slots *s)
{
	while (s->watches)
		file_watch_close(s->watch[--s->watches]);
}

static void on_change(void *arg)
{
	struct rule_slots *s = arg;
	struct err e = { 0 };

	if (rule_slots_reload(s, &e) == 0)
		log_info("rules", "reloaded");
	else
		log_error("rules", "not reloaded, the old rules stay: %s", e.msg);
}

/* The watch of a path among the first n; NULL: none. */
static struct file_watch *find_watch(struct file_watch *const *watch, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (watch[i] && strcmp(file_watch_path(watch[i]), path) == 0)
			return watch[i];
	return NULL;
}

/* A watch that is there already is kept: it was looking before the file was
 * read, and so sees what was written since. */
static void watch_file(struct rule_slots *s, const char *path, struct file_watch **old, size_t n)
{
	struct file_watch *w = find_watch(old, n, path);
	struct err e = { 0 };

	if (s->watches == WATCHES_MAX || find_watch(s->watch, s->watches, path))
		return;
	for (size_t i = 0; i < n; i++)
		if (old[i] == w)
			old[i] = NULL;
	if (!w)
		w = file_watch_open(s->loop, path, on_change, s, &e);
	if (w)
		s->watch[s->watches++] = w;
	else
		log_warn("rules", "%s (use `awsocks reload` after a change)", e.msg);
}

void rule_slots_watch(struct rule_slots *s, struct loop *loop)
{
	struct file_watch *old[WATCHES_MAX];
	size_t n = s->watches;

	memcpy(old, s->watch, n * sizeof(*old));
	s->loop = loop;
	s->watches = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct rule_set *set = &s->slot[i].set;

		for (size_t k = 0; k < set->file_count; k++)
			if (set->file[k].watch)
				watch_file(s, set->file[k].path, old, n);
	}
	while (n)
		file_watch_close(old[--n]);
}

/* --- reloading ---------------------------------------------------------- */

static void free_sets(struct rule_set *set, size_t n)
{
	while (n)
		rules_free(&set[--n]);
	mem_free(set);
}

int rule_slots_reload(struct rule_slots *s, struct err *e)
{
	struct rule_set *fresh = mem_alloc(s->count * sizeof(*fresh));
	size_t loaded = 0;

	if (!fresh)
		return err_set(e, ERR_NOMEM, "rules");
	for (; loaded < s->count; loaded++)
		if (load(s, &s->slot[loaded], &fresh[loaded], e) != 0) {
			free_sets(fresh, loaded);
			return -1;
		}
	for (size_t i = 0; i < s->count; i++) {
		struct rule_set old = s->slot[i].set;

		s->slot[i].set = fresh[i];
		fresh[i] = old;
	}
	free_sets(fresh, s->count);
	if (s->loop)
		rule_slots_watch(s, s->loop);
	return 0;
}

const struct rule_set *rule_slots_get(const struct rule_slots *s, size_t index)
{
	return &s->slot[index].set;
}

const struct router *rule_slots_router(void *arg)
{
	const struct slot *slot = arg;

	return slot->set.router;
}

void *rule_slots_arg(struct rule_slots *s, size_t index)
{
	return &s->slot[index];
}

void rule_slots_free(struct rule_slots *s)
{
	if (!s)
		return;
	unwatch(s);
	for (size_t i = 0; i < s->count; i++) {
		rules_free(&s->slot[i].set);
		mem_free(s->slot[i].listener_rules);
	}
	mem_free(s);
}
