#include "cmd/awsocks/paths.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "net/self.h"

static int make_dir(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(e, errno, "make directory %s", path);
	if (stat(path, &st) != 0)
		return err_sys(e, errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_IO, "%s is not a directory", path);
	return 0;
}

/* Makes each missing directory of an absolute path. */
static int make_dirs(const char *path, struct err *e)
{
	char part[PATH_TEXT];

	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		if (!str_fmt(part, sizeof(part), "%.*s", (int)(p - path), path))
			return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
		if (make_dir(part, e) != 0)
			return -1;
	}
	return make_dir(path, e);
}

int path_make_parents(const char *file, struct err *e)
{
	const char *slash = strrchr(file, '/');
	char dir[PATH_TEXT];

	if (!slash || slash == file)
		return 0;
	if (!str_fmt(dir, sizeof(dir), "%.*s", (int)(slash - file), file))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", file);
	return make_dirs(dir, e);
}

static int find_group(const char *name, gid_t *out, struct err *e)
{
	const struct group *g;
	uint64_t n;

	if (str_number(name, 0, INT32_MAX, &n, NULL) == 0) {
		*out = (gid_t)n;
		return 0;
	}
	g = getgrnam(name); /* one thread only, before any other runs */
	if (!g)
		return err_set(e, ERR_CONFIG, "group %.60s: this system has none of that name",
			       name);
	*out = g->gr_gid;
	return 0;
}

static int give_to_group(const char *dir, bool made, gid_t gid, const char *name, struct err *e)
{
	struct stat st;

	if (made && (chown(dir, (uid_t)-1, gid) != 0 || chmod(dir, 02710) != 0)) {
		(void)err_sys(e, errno, "group %.60s for %s", name, dir);
		(void)rmdir(dir);
		return -1;
	}
	if (stat(dir, &st) != 0)
		return err_sys(e, errno, "%s", dir);
	if (st.st_gid == gid && (st.st_mode & S_ISGID))
		return 0;
	return err_set(e, ERR_CONFIG,
		       "%s is there already, and what is made in it does not get the group: chgrp "
		       "%.60s %s; chmod 2710 %s",
		       dir, name, dir, dir);
}

int path_make_socket_dir(const char *file, const char *group, struct err *e)
{
	const char *slash = strrchr(file, '/');
	char dir[PATH_TEXT];
	struct stat st;
	bool made;
	gid_t gid = 0;

	if (!slash || slash == file)
		return 0;
	if (!str_fmt(dir, sizeof(dir), "%.*s", (int)(slash - file), file))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", file);
	made = stat(dir, &st) != 0;
	if ((group && find_group(group, &gid, e) != 0) || make_dirs(dir, e) != 0)
		return -1;
	return group ? give_to_group(dir, made, gid, group, e) : 0;
}

/* <variable or ~/fallback>/awsocks. */
static int base_dir(const char *variable, const char *fallback, char *out, struct err *e)
{
	const char *base = getenv(variable), *home = getenv("HOME");
	bool fits;

	if (base && base[0] == '/')
		fits = str_fmt(out, PATH_TEXT, "%s/awsocks", base);
	else if (home && home[0] == '/')
		fits = str_fmt(out, PATH_TEXT, "%s/%s/awsocks", home, fallback);
	else
		return err_set(e, ERR_CONFIG, "neither %s nor HOME is set", variable);
	return fits ? 0 : err_set(e, ERR_CONFIG, "%s is too long", variable);
}

int path_state(char out[static PATH_TEXT], struct err *e)
{
	if (base_dir("XDG_STATE_HOME", ".local/state", out, e) != 0)
		return -1;
	return make_dirs(out, e);
}

int path_state_file(const char *name, char out[static PATH_TEXT], struct err *e)
{
	char dir[PATH_TEXT];

	if (path_state(dir, e) != 0)
		return -1;
	return str_fmt(out, PATH_TEXT, "%s/%s", dir, name)
		       ? 0
		       : err_set(e, ERR_CONFIG, "XDG_STATE_HOME is too long");
}

int path_private(char out[static PRIVATE_TEXT], struct err *e)
{
	const char *const bases[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp" };
	int sys = ENOENT;

	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		if (!bases[i] || bases[i][0] != '/' ||
		    !str_fmt(out, PRIVATE_TEXT, "%s/awsocks-XXXXXX", bases[i]))
			continue;
		if (mkdtemp(out))
			return 0;
		sys = errno;
	}
	out[0] = '\0';
	return err_sys(e, sys, "a private directory in /tmp");
}

void path_private_remove(const char *path)
{
	DIR *d = *path ? opendir(path) : NULL;
	const struct dirent *entry;

	while (d && (entry = readdir(d)) != NULL)
		(void)unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	if (*path)
		(void)rmdir(path);
}

int path_runtime(char out[static PATH_TEXT], struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	/* The variable often names a directory that this user's session has not got. */
	if (run && run[0] == '/' && stat(run, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (!str_fmt(out, PATH_TEXT, "%s/awsocks", run))
			return err_set(e, ERR_CONFIG, "XDG_RUNTIME_DIR is too long");
		return make_dirs(out, e);
	}
	if (path_state(out, e) != 0)
		return -1;
	if (strlen(out) + sizeof("/run") > PATH_TEXT)
		return err_set(e, ERR_CONFIG, "XDG_STATE_HOME is too long");
	memcpy(out + strlen(out), "/run", sizeof("/run"));
	return make_dirs(out, e);
}

int path_control(const char *given, char out[static PATH_TEXT], struct err *e)
{
	if (given && *given) {
		if (!str_fmt(out, PATH_TEXT, "%s", given))
			return err_set(e, ERR_USAGE, "--control: path too long");
		return 0;
	}
	if (path_runtime(out, e) != 0)
		return err_wrap(e, "control socket");
	if (strlen(out) + sizeof("/control.sock") > PATH_TEXT)
		return err_set(e, ERR_CONFIG, "control socket: path too long");
	memcpy(out + strlen(out), "/control.sock", sizeof("/control.sock"));
	return 0;
}

void path_sibling(const char *name, char out[static PATH_TEXT])
{
	char self[PATH_TEXT];
	const char *slash = self_path(self, sizeof(self)) ? strrchr(self, '/') : NULL;

	if (slash && str_fmt(out, PATH_TEXT, "%.*s/%s", (int)(slash - self), self, name) &&
	    access(out, X_OK) == 0)
		return;
	(void)str_fmt(out, PATH_TEXT, "%s", name);
}

bool path_program(const char *name, bool ours, char out[static PATH_TEXT])
{
	const char *dir = getenv("PATH");
	size_t n;

	if (ours) {
		path_sibling(name, out);
		if (*out == '/')
			return true;
	}
	for (dir = dir ? dir : "/usr/bin:/bin"; *dir; dir += n + (dir[n] == ':')) {
		n = strcspn(dir, ":");
		if (*dir == '/' && str_fmt(out, PATH_TEXT, "%.*s/%s", (int)n, dir, name) &&
		    access(out, X_OK) == 0)
			return true;
	}
	out[0] = '\0';
	return false;
}
