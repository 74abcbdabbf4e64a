#include "cmd/awsocks/rule_slots.h"

#include <cjson/cJSON.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/file_watch.h"

enum { SLOTS_MAX = 64, WATCHES_MAX = 256 };

struct slot {
	_Atomic(struct rule_set *) set; /* written by the main thread alone */
	char *listener_rules;           /* NULL: none of its own */
	bool project, login_hosts;
};

struct rule_slots {
	const struct setup *setup;
	struct loop *loop; /* NULL: not watching */
	struct loop *const *reader;
	size_t readers;
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

static void set_free(struct rule_set *set)
{
	if (set)
		rules_free(set);
	mem_free(set);
}

/* NULL: *e tells. */
static struct rule_set *load(const struct rule_slots *s, const struct slot *slot, struct err *e)
{
	struct rule_request request = {
		.setup = s->setup,
		.listener_rules = slot->listener_rules,
		.project = slot->project,
		.login_hosts = slot->login_hosts,
		.report = s->loop ? say_problem : NULL,
		.warn = say_warning,
	};
	struct rule_set *set = mem_alloc(sizeof(*set));

	if (!set)
		(void)err_set(e, ERR_NOMEM, "rules");
	else if (rules_load(set, &request, e) == 0 && rules_check_profiles(set, s->setup, e) == 0)
		return set;
	set_free(set);
	return NULL;
}

int rule_slots_new(struct rule_slots **out, const struct setup *setup, struct err *e)
{
	*out = mem_alloc(sizeof(**out));
	if (!*out)
		return err_set(e, ERR_NOMEM, "rules");
	(*out)->setup = setup;
	return 0;
}

int rule_slots_add(struct rule_slots *s, const char *listener_rules, bool project, bool login_hosts,
		   struct err *e)
{
	struct slot *slot = &s->slot[s->count];
	struct rule_set *set;

	if (s->count == SLOTS_MAX)
		return err_set(e, ERR_CONFIG, "more than %d listeners", SLOTS_MAX);
	slot->project = project;
	slot->login_hosts = login_hosts;
	slot->listener_rules = mem_strdup(listener_rules);
	if (listener_rules && !slot->listener_rules)
		return err_set(e, ERR_NOMEM, "rules");
	set = load(s, slot, e);
	if (!set) {
		mem_free(slot->listener_rules);
		return -1;
	}
	atomic_init(&slot->set, set);
	s->count++;
	return 0;
}

/* --- watching ----------------------------------------------------------- */

void rule_slots_unwatch(struct rule_slots *s)
{
	while (s->watches)
		file_watch_close(s->watch[--s->watches]);
}

static int reload(struct rule_slots *s, bool asked, struct err *e);

static void on_change(void *arg)
{
	struct rule_slots *s = arg;
	struct err e = { 0 };

	if (reload(s, false, &e) == 0)
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
		const struct rule_set *set = atomic_load(&s->slot[i].set);

		for (size_t k = 0; k < set->file_count; k++)
			if (set->file[k].watch)
				watch_file(s, set->file[k].path, old, n);
	}
	while (n)
		file_watch_close(old[--n]);
}

/* --- reloading ---------------------------------------------------------- */

/* Rule sets in one parcel: the new ones until the swap, then the old ones until every reader's
 * loop has let the parcel's letter through. */
struct parcel {
	atomic_size_t pending;
	size_t count, readers;
	struct loop_mail *letter; /* one for each reader */
	struct rule_set *set[SLOTS_MAX];
};

static void parcel_free(struct parcel *p)
{
	for (size_t i = 0; i < p->count; i++)
		set_free(p->set[i]);
	mem_free(p->letter);
	mem_free(p);
}

static struct parcel *parcel_new(size_t readers, struct err *e)
{
	struct parcel *p = mem_alloc(sizeof(*p));

	if (p)
		p->letter = mem_alloc((readers + 1) * sizeof(*p->letter));
	if (p && p->letter) {
		p->readers = readers;
		atomic_init(&p->pending, readers);
		return p;
	}
	(void)err_set(e, ERR_NOMEM, "rules");
	mem_free(p);
	return NULL;
}

static void passed(void *arg)
{
	struct parcel *p = arg;

	if (atomic_fetch_sub(&p->pending, 1) == 1)
		parcel_free(p);
}

/* Our own thread is in no decision; the others are in none once they read their mail. */
static void retire(struct parcel *p, struct loop *const *reader)
{
	size_t n = p->readers; /* with the last letter it is gone */

	if (!n)
		parcel_free(p);
	for (size_t i = 0; i < n; i++)
		loop_send(reader[i], &p->letter[i], passed, p);
}

static bool was_full(const struct rule_set *before, const char *path)
{
	for (size_t i = 0; i < before->file_count; i++)
		if (strcmp(before->file[i].path, path) == 0)
			return !before->file[i].empty;
	return false;
}

/* Who writes a file anew cuts it first, and may be slow to go on: without a byte it is a good file
 * without rules, and what it blocks would pass until then. */
static int refuse_emptied(const struct rule_set *before, const struct rule_set *now, struct err *e)
{
	for (size_t i = 0; i < now->file_count; i++)
		if (now->file[i].empty && was_full(before, now->file[i].path))
			return err_set(
				e, ERR_CONFIG,
				"%s is empty now (if it is meant to be, run: awsocks reload)",
				now->file[i].path);
	return 0;
}

/* asked: not only because a file has changed. */
static int reload(struct rule_slots *s, bool asked, struct err *e)
{
	struct parcel *p = parcel_new(s->readers, e);

	if (!p)
		return -1;
	for (; p->count < s->count; p->count++) {
		const struct rule_set *before = atomic_load(&s->slot[p->count].set);
		struct rule_set *now = load(s, &s->slot[p->count], e);

		if (!now || (!asked && refuse_emptied(before, now, e) != 0)) {
			set_free(now);
			parcel_free(p);
			return -1;
		}
		p->set[p->count] = now;
	}
	for (size_t i = 0; i < s->count; i++)
		p->set[i] = atomic_exchange(&s->slot[i].set, p->set[i]);
	retire(p, s->reader);
	if (s->loop)
		rule_slots_watch(s, s->loop);
	return 0;
}

int rule_slots_reload(struct rule_slots *s, struct err *e)
{
	return reload(s, true, e);
}

void rule_slots_readers(struct rule_slots *s, struct loop *const *loop, size_t n)
{
	s->reader = loop;
	s->readers = n;
}

const struct router *rule_slots_router(void *arg)
{
	struct slot *slot = arg;

	return atomic_load_explicit(&slot->set, memory_order_acquire)->router;
}

void rule_slots_describe(void *arg, struct cJSON *array)
{
	struct slot *slot = arg;
	const struct rule_set *set = atomic_load_explicit(&slot->set, memory_order_acquire);

	for (size_t i = 0; i < set->file_count; i++)
		cJSON_AddItemToArray(array, cJSON_CreateString(set->file[i].path));
}

bool rule_slots_can(const struct rule_slots *s, enum route_kind kind)
{
	for (size_t i = 0; i < s->count; i++)
		if (router_can(atomic_load_explicit(&s->slot[i].set, memory_order_acquire)->router,
			       kind))
			return true;
	return false;
}

void *rule_slots_arg(struct rule_slots *s, size_t index)
{
	return &s->slot[index];
}

void rule_slots_free(struct rule_slots *s)
{
	if (!s)
		return;
	rule_slots_unwatch(s);
	for (size_t i = 0; i < s->count; i++) {
		set_free(atomic_load(&s->slot[i].set));
		mem_free(s->slot[i].listener_rules);
	}
	mem_free(s);
}
