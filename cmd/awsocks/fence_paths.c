/*
 * The files that a running awsocks opens, from its settings. A file is listed by
 * its directory: editors replace files by rename, logs are rotated, and the new
 * one has to count. One that lies directly in a home directory or the like is listed
 * by itself. Symbolic links are followed, and where they end is listed too.
 *
 * Programs and libraries lie all over a system (/nix, /opt, /snap ...), so every
 * directory of / may be read, except those of the users: /home, /root, /tmp,
 * /run/user and whatever contains $HOME.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/fence.h"
#include "cmd/awsocks/open_listeners.h"
#include "cmd/awsocks/project.h"
#include "credentials/profile.h"

enum { PATHS_MAX = 4096, CLOSED_MAX = 8 };

extern char **environ;

int fence_paths_add(struct fence_paths *p, const char *path, unsigned rights, struct err *e)
{
	struct fence_path *item;

	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->item[i].path, path) == 0) {
			p->item[i].rights |= rights;
			return 0;
		}
	if (p->count == PATHS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d paths for the fence", PATHS_MAX);
	item = mem_resize(p->item, (p->count + 1) * sizeof(*item));
	if (!item)
		return err_set(e, ERR_NOMEM, "fence");
	p->item = item;
	if (!str_fmt(item[p->count].path, PATH_TEXT, "%s", path))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	item[p->count++].rights = rights;
	return 0;
}

void fence_paths_free(struct fence_paths *p)
{
	mem_free(p->item);
	*p = (struct fence_paths){ NULL, 0 };
}

/* --- directories of the users --- */

struct closed {
	char path[CLOSED_MAX][PATH_MAX];
	size_t count;
};

/* Is `path` `below`, or something that contains it? */
static bool contains(const char *path, const char *below)
{
	size_t n = strlen(path);

	return strncmp(path, below, n) == 0 && (below[n] == '/' || !below[n] || path[n - 1] == '/');
}

static const char *home_dir(char out[static PATH_MAX])
{
	const char *home = getenv("HOME");
	const struct passwd *pw = home ? NULL : getpwuid(getuid());

	if (!home && pw)
		home = pw->pw_dir;
	if (!home || !realpath(home, out))
		return NULL;
	return out;
}

static const char *const always_closed[] = { "/home", "/root", "/tmp", "/var/tmp", "/run/user" };
enum { ALWAYS_CLOSED = sizeof(always_closed) / sizeof(always_closed[0]) };

static void find_closed(struct closed *c)
{
	c->count = 0;
	/* /home is a link to /var/home on some systems. */
	for (size_t i = 0; i < ALWAYS_CLOSED; i++)
		if (!realpath(always_closed[i], c->path[c->count++]))
			c->count--;
	if (home_dir(c->path[c->count]))
		c->count++;
}

/* Lists `dir` for reading, without what is closed in it. A home of / closes nothing but those
 * that are always closed. */
static int add_system(struct fence_paths *p, const struct closed *c, const char *dir, struct err *e)
{
	bool holds_closed = false;
	const struct dirent *entry;
	int result = 0;
	DIR *d;

	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->path[i], "/") != 0 && contains(c->path[i], dir))
			return 0;
		holds_closed |= contains(dir, c->path[i]);
	}
	if (!holds_closed)
		return fence_paths_add(p, dir, FENCE_READ, e);
	d = opendir(dir);
	while (d && result == 0 && (entry = readdir(d)) != NULL) {
		char path[PATH_TEXT];
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    !str_fmt(path, sizeof(path), "%s/%s", strcmp(dir, "/") ? dir : "",
			     entry->d_name) ||
		    lstat(path, &st) != 0 || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
			continue;
		result = S_ISDIR(st.st_mode) ? add_system(p, c, path, e)
					     : fence_paths_add(p, path, FENCE_READ, e);
	}
	if (d)
		closedir(d);
	return result;
}

/* --- files --- */

/* A right to a directory is one to all below it: for one that contains what is closed, or is it,
 * that would hardly be a fence. */
static bool is_wide(const char *dir)
{
	char home[PATH_MAX];

	for (size_t i = 0; i < ALWAYS_CLOSED; i++)
		if (contains(dir, always_closed[i]))
			return true;
	if (str_starts(dir, "/home/") && !strchr(dir + strlen("/home/"), '/'))
		return true; /* somebody's, when root starts this */
	return home_dir(home) && strcmp(home, "/") != 0 && contains(dir, home);
}

static bool has(const struct fence_paths *p, const char *path, unsigned rights)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->item[i].path, path) == 0)
			return (p->item[i].rights & rights) == rights;
	return false;
}

/* By its directory; in a wide one, and unless files have to be made there, by itself. */
static int add_place(struct fence_paths *p, const char *file, const char *dir, unsigned rights,
		     struct err *e)
{
	char end[PATH_MAX];

	if (has(p, dir, rights))
		return 0;
	if (!is_wide(dir))
		return fence_paths_add(p, dir, rights, e);
	if (rights & FENCE_MAKE) {
		log_warn("sandbox",
			 "%s lies directly in %s, and so all of that stays writable: give it a "
			 "directory of its own",
			 file, dir);
		return fence_paths_add(p, dir, rights, e);
	}
	if (!realpath(file, end))
		end[0] = '\0';
	if (*end && has(p, end, rights))
		return 0;
	log_warn(
		"sandbox",
		"%s lies directly in %s: a new file in its place (as editors and log rotation make "
		"it) needs a restart, or give it a directory of its own",
		file, dir);
	return *end ? fence_paths_add(p, end, rights, e) : 0;
}

/* A file as it is named and as its links end. */
int fence_paths_add_file(struct fence_paths *p, const char *file, unsigned rights, struct err *e)
{
	char name[PATH_TEXT], dir[PATH_MAX], end[PATH_MAX];
	struct stat st;

	if (!file || !*file || !str_fmt(name, sizeof(name), "%s", file))
		return 0;
	/* A device, a FIFO: itself only. */
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		return realpath(file, end)
			       ? fence_paths_add(p, end, rights & ~(unsigned)FENCE_MAKE, e)
			       : 0;
	if (!realpath(dirname(name), dir))
		return 0; /* opening it will tell */
	if (add_place(p, file, dir, rights, e) != 0)
		return -1;
	if (!realpath(file, end) || strcmp(dirname(end), dir) == 0)
		return 0;
	return add_place(p, file, end, rights, e);
}

/* "~/x" is below the home. */
static int add_home_file(struct fence_paths *p, const char *file, unsigned rights, struct err *e)
{
	const char *home = getenv("HOME");
	char path[PATH_TEXT];

	if (!file || !str_starts(file, "~/") || !home)
		return fence_paths_add_file(p, file, rights, e);
	return str_fmt(path, sizeof(path), "%s%s", home, file + 1)
		       ? fence_paths_add_file(p, path, rights, e)
		       : 0;
}

static int add_dir(struct fence_paths *p, const char *dir, unsigned rights, struct err *e)
{
	char end[PATH_MAX];

	return dir && *dir && realpath(dir, end) ? fence_paths_add(p, end, rights, e) : 0;
}

/* "/a:/b". */
static int add_dirs(struct fence_paths *p, const char *list, struct err *e)
{
	char dir[PATH_TEXT];
	size_t n;

	for (; list && *list; list += n + (list[n] == ':')) {
		n = strcspn(list, ":");
		if (str_fmt(dir, sizeof(dir), "%.*s", (int)n, list) &&
		    add_dir(p, dir, FENCE_READ, e) != 0)
			return -1;
	}
	return 0;
}

/* --- what is read --- */

/* What AWS tools, OpenSSL and the C library take from the environment. */
static int add_environment(struct fence_paths *p, struct err *e)
{
	static const char *const files[] = { "AWS_CONFIG_FILE",
					     "AWS_SHARED_CREDENTIALS_FILE",
					     "AWS_CA_BUNDLE",
					     "AWS_WEB_IDENTITY_TOKEN_FILE",
					     "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
					     "SSL_CERT_FILE",
					     "OPENSSL_CONF",
					     "HOSTALIASES" };
	static const char *const dirs[] = { "SSL_CERT_DIR", "OPENSSL_MODULES", "LD_LIBRARY_PATH" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (add_home_file(p, getenv(files[i]), FENCE_READ, e) != 0)
			return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (add_dirs(p, getenv(dirs[i]), e) != 0)
			return -1;
	return 0;
}

static int add_aws(struct fence_paths *p, const struct setup *s, struct err *e)
{
	const char *const *env = (const char *const *)environ;
	struct aws_files *files = NULL;
	char home[PATH_MAX], aws[PATH_MAX + 8];
	int result = 0;

	if (home_dir(home) && str_fmt(aws, sizeof(aws), "%s/.aws", home))
		result = add_dir(p, aws, FENCE_READ, e);
	/* Files with a mistake in them are reported when they are needed. */
	if (result == 0 && aws_files_load(env, &files, NULL) == 0) {
		result = add_home_file(p, aws_files_config_path(files), FENCE_READ, e);
		if (result == 0)
			result = add_home_file(p, aws_files_credentials_path(files), FENCE_READ, e);
	}
	if (result == 0)
		result = fence_paths_add_sign_in(p, s, files, e);
	for (size_t i = 0; result == 0 && i < s->count; i++) {
		const struct options *o = &s->profile[i].options;
		const char *profile = profile_name(o->aws_profile, env);

		result = add_home_file(p, profile_get(files, profile, "web_identity_token_file"),
				       FENCE_READ, e);
		if (result == 0)
			result = fence_paths_add_file(p, o->ca_bundle, FENCE_READ, e);
		if (result == 0)
			result = add_home_file(
				p, profile_ca_file(files, profile_name(o->aws_profile, env), env),
				FENCE_READ, e);
	}
	aws_files_free(files);
	return result;
}

static int add_project(struct fence_paths *p, const struct options *o, struct err *e)
{
	struct project project;
	int result;

	if (!o->project_file || project_find(&project, NULL, NULL) != 0)
		return 0; /* loading the rules tells */
	result = fence_paths_add_file(p, project.path, FENCE_READ, e);
	project_free(&project);
	return result;
}

static int add_rules(struct fence_paths *p, const struct setup *s, struct err *e)
{
	const struct options *o = &s->profile[0].options;
	enum opt_level level = o->origin[OPT_ID_rules].level;
	bool from_config = level == LEVEL_DEFAULTS || level == LEVEL_PROFILE;
	char path[PATH_TEXT];

	for (size_t i = 0; i < o->rules.count; i++) {
		const char *file = o->rules.item[i].text;

		if (from_config && setup_path(s, file, path, e) != 0)
			return -1;
		if (fence_paths_add_file(p, from_config ? path : file, FENCE_READ, e) != 0)
			return -1;
	}
	for (size_t i = 0; s->config && i < s->config->listener_count; i++) {
		const char *file = s->config->listener[i].rules;

		if (file && (setup_path(s, file, path, e) != 0 ||
			     fence_paths_add_file(p, path, FENCE_READ, e) != 0))
			return -1;
		file = s->config->listener[i].users_file;
		if (file && (setup_path(s, file, path, e) != 0 ||
			     fence_paths_add_file(p, path, FENCE_READ, e) != 0))
			return -1;
	}
	if (users_option_path(s, path, e) != 0 || fence_paths_add_file(p, path, FENCE_READ, e) != 0)
		return -1;
	return add_project(p, o, e);
}

/* --- what is written --- */

static int add_socket_dir(struct fence_paths *p, const char *file, const char *dir, struct err *e)
{
	char home[PATH_MAX];

	if (!has(p, dir, FENCE_SOCKET) && home_dir(home) && strcmp(home, "/") != 0 &&
	    contains(dir, home))
		log_warn("sandbox",
			 "%s lies directly in %s, and so any file there may be removed: give it a "
			 "directory of its own",
			 file, dir);
	/* Read, for its lock (net/listen_bind.c). */
	return fence_paths_add(p, dir, FENCE_SOCKET | (is_wide(dir) ? 0u : FENCE_READ), e);
}

static int add_socket(struct fence_paths *p, const char *address, struct err *e)
{
	char path[PATH_TEXT], dir[PATH_MAX];

	if (!str_starts(address, "unix:"))
		return 0;
	address += strlen("unix:");
	if (path_make_parents(address, e) != 0)
		return err_wrap(e, "listen at unix:%s", address);
	if (!str_fmt(path, sizeof(path), "%s", address) || !realpath(dirname(path), dir))
		return 0;
	return add_socket_dir(p, address, dir, e);
}

static int add_sockets(struct fence_paths *p, const struct setup *s, const char *control,
		       struct err *e)
{
	const struct options *o = &s->profile[0].options;
	char path[PATH_TEXT], dir[PATH_MAX];

	for (size_t i = 0; i < o->listen.count; i++)
		if (add_socket(p, o->listen.item[i].text, e) != 0)
			return -1;
	for (size_t i = 0; s->config && i < s->config->listener_count; i++)
		if (add_socket(p, s->config->listener[i].address, e) != 0)
			return -1;
	if (!*control || !str_fmt(path, sizeof(path), "%s", control) ||
	    !realpath(dirname(path), dir))
		return 0;
	return add_socket_dir(p, control, dir, e);
}

/* Where its directory is wide it is made now, and that file is the one to be written; unless
 * it is to be renamed there. */
static int add_log(struct fence_paths *p, const char *file, bool rotates, struct err *e)
{
	char name[PATH_TEXT], dir[PATH_MAX];
	unsigned rights = FENCE_READ | FENCE_WRITE | FENCE_MAKE;

	if (!file || strcmp(file, "-") == 0 || !str_fmt(name, sizeof(name), "%s", file))
		return 0;
	if (!rotates && realpath(dirname(name), dir) && is_wide(dir)) {
		int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
		if (fd >= 0) /* otherwise opening it will tell */
			close(fd);
		rights = FENCE_READ | FENCE_WRITE;
	}
	return fence_paths_add_file(p, file, rights, e);
}

/* Made now: later nothing can be made beside it. */
static int add_notes(struct fence_paths *p, const struct setup *s, struct err *e)
{
	char dir[PATH_TEXT], end[PATH_MAX];
	bool needed = false;

	for (size_t i = 0; i < s->count; i++)
		needed = needed || s->profile[i].options.auto_stop;
	if (path_state_file(STARTED_DIR, dir, NULL) != 0)
		return 0;
	if (needed)
		(void)mkdir(dir, 0700); /* writing there will tell */
	if (!realpath(dir, end))
		return 0;
	return fence_paths_add(p, end, FENCE_READ | (needed ? FENCE_WRITE | FENCE_MAKE : 0), e);
}

static int add_written(struct fence_paths *p, const struct options *o, struct err *e)
{
	const unsigned rights = FENCE_WRITE | FENCE_MAKE;

	if (add_log(p, o->audit_log, o->audit_max_size > 0, e) != 0)
		return -1;
	if (add_log(p, o->log_file, false, e) != 0)
		return -1;
	if (fence_paths_add_file(p, o->pid_file, rights, e) != 0)
		return -1;
	if (fence_paths_add_file(p, o->learn, rights | FENCE_READ, e) != 0)
		return -1;
	return fence_paths_add_file(p, o->ready_file, rights, e);
}

int fence_paths_collect(struct fence_paths *p, const struct setup *s, const char *control,
			struct err *e)
{
	struct closed *closed = mem_alloc(sizeof(*closed));
	int result;

	if (!closed)
		return err_set(e, ERR_NOMEM, "fence");
	find_closed(closed);
	result = add_system(p, closed, "/", e);
	mem_free(closed);
	if (result != 0 || add_environment(p, e) != 0 || add_aws(p, s, e) != 0 ||
	    fence_paths_add_file(p, s->config_path, FENCE_READ, e) != 0 ||
	    add_rules(p, s, e) != 0 || add_sockets(p, s, control, e) != 0 ||
	    add_notes(p, s, e) != 0)
		return -1;
	return add_written(p, &s->profile[0].options, e);
}
