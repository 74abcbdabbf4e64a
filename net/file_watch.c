/*
 * The directory is watched, not the file: a watch on the file itself dies with
 * the first editor that saves by rename. An event only arms a short timer;
 * when it fires, the file's identity, size and times are compared with those
 * last seen, so that other files of the directory and bursts cost nothing more.
 * Further events of the file itself put the timer off, for it may be half
 * written; those of others do not: a log in the same directory would put it
 * off for ever. The event of who began to write just before the timer fired may not
 * have been read yet: a file that is not as it was when the timer was armed waits as
 * long again. (Cut to nothing, it would be a good file without rules.)
 */
#include "net/file_watch.h"

#include <string.h>

#include "base/mem.h"
#include "net/loop_impl.h"

enum { SETTLE_MS = 50 };

struct file_watch {
	uv_fs_event_t event; /* first: freed in its close callback */
	struct loop *loop;
	struct loop_timer settle;
	bool settling;
	loop_fn *changed;
	void *arg;
	char *path;
	uv_stat_t seen;   /* zeroed: no such file */
	uv_stat_t before; /* as it was when the timer was armed */
};

static uv_stat_t look(const char *path)
{
	uv_stat_t st = { 0 };
	uv_fs_t request;

	if (uv_fs_stat(NULL, &request, path, NULL) == 0)
		st = request.statbuf;
	uv_fs_req_cleanup(&request);
	return st;
}

static bool same_time(const uv_timespec_t *a, const uv_timespec_t *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same(const uv_stat_t *a, const uv_stat_t *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

static void on_settled(void *arg);

static void settle(struct file_watch *w)
{
	w->settling = true;
	w->before = look(w->path);
	timer_arm(w->loop, &w->settle, SETTLE_MS, on_settled, w);
}

static void on_settled(void *arg)
{
	struct file_watch *w = arg;
	uv_stat_t now = look(w->path);

	w->settling = false;
	if (!same(&now, &w->before)) {
		settle(w);
		return;
	}
	if (same(&now, &w->seen))
		return;
	w->seen = now;
	w->changed(w->arg);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct file_watch *w = (struct file_watch *)event;

	(void)events;
	(void)status;
	if (w->settling && (!name || strcmp(name, base_name(w->path)) != 0))
		return;
	settle(w);
}

/* The directory part of a path, in place of its copy. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void freed(uv_handle_t *handle)
{
	struct file_watch *w = (struct file_watch *)handle;

	mem_free(w->path);
	mem_free(w);
}

struct file_watch *file_watch_open(struct loop *loop, const char *path, loop_fn *changed, void *arg,
				   struct err *e)
{
	struct file_watch *w = mem_alloc(sizeof(*w));
	char *dir = directory_of(path);
	int failed;

	if (w)
		w->path = mem_strdup(path);
	if (!w || !dir || !w->path) {
		(void)err_set(e, ERR_NOMEM, "watch of %s", path);
		goto out;
	}
	w->loop = loop;
	w->changed = changed;
	w->arg = arg;
	w->seen = look(path);
	failed = uv_fs_event_init(loop_uv(loop), &w->event);
	if (failed) {
		(void)err_sys(e, -failed, "watch of %s", path);
		goto out;
	}
	failed = uv_fs_event_start(&w->event, on_event, dir, 0);
	mem_free(dir);
	if (!failed)
		return w;
	(void)err_sys(e, -failed, "watch of %s", path);
	uv_close((uv_handle_t *)&w->event, freed);
	return NULL;
out:
	mem_free(dir);
	if (w)
		mem_free(w->path);
	mem_free(w);
	return NULL;
}

const char *file_watch_path(const struct file_watch *w)
{
	return w->path;
}

void file_watch_close(struct file_watch *w)
{
	if (!w)
		return;
	timer_disarm(w->loop, &w->settle);
	uv_close((uv_handle_t *)&w->event, freed);
}
