/*
 * All is made in a private directory beside its place and then renamed, under a lock: whoever looks
 * for a kernel sees whole ones only. What an interrupted one left behind, the next removes.
 */
#include "cmd/awsocks/vm_fetch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "config/settings.h"
#include "vm/kernel_impl.h"
#include "vm/kernel_package.h"

#define BEING_MADE ".fetch-"
#define NOTE       "source" /* "sha256 HEX", then where it comes from */

/* Their help is in vm_options. */
enum { ARCH = 0, TO, SOURCE, DEB, SHA256, FORCE };
static const struct arg_opt options[] = {
	[ARCH] = { "arch", 0, "ARCH", NULL, NULL, "" },
	[TO] = { "to", 0, "DIR", NULL, NULL, "" },
	[SOURCE] = { "source", 0, "SOURCE", NULL, NULL, "" },
	[DEB] = { "deb", 0, "FILE", NULL, NULL, "" },
	[SHA256] = { "sha256", 0, "HEX", NULL, NULL, "" },
	[FORCE] = { "force", 0, NULL, NULL, NULL, "" },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

struct words {
	const char *arch, *to, *source, *deb, *sha256;
	bool force;
};

/* ---- places ---- */

static int choose_arch(struct fetch *f, const char *given, struct err *e)
{
	struct utsname host;

	if (!given && uname(&host) == 0)
		given = host.machine;
	f->arch = kernel_arch(given ? given : "");
	if (strcmp(f->arch, "x86_64") == 0)
		f->debian_arch = "amd64";
	else if (strcmp(f->arch, "aarch64") == 0)
		f->debian_arch = "arm64";
	else
		return err_set(e, ERR_USAGE, "--arch: x86_64 or aarch64 expected, not '%.60s'",
			       f->arch);
	return 0;
}

static int choose_root(struct fetch *f, const char *to, struct err *e)
{
	char dir[PATH_TEXT], here[PATH_TEXT];
	bool fits;

	if (!to) {
		if (path_state_file("kernel", dir, e) != 0)
			return -1;
	} else if (to[0] == '/') {
		fits = str_fmt(dir, sizeof(dir), "%s", to);
		if (!fits)
			return err_set(e, ERR_USAGE, "--to: path too long");
	} else {
		if (!getcwd(here, sizeof(here)) || !str_fmt(dir, sizeof(dir), "%s/%s", here, to))
			return err_set(e, ERR_USAGE, "--to: path too long");
	}
	/* room for VERSION and what is in it */
	if (!str_fmt(f->root, sizeof(f->root) - 512, "%s/%s", dir, f->arch))
		return err_set(e, ERR_USAGE, "--to: path too long");
	if (!str_fmt(here, sizeof(here), "%s/x", f->root))
		return err_set(e, ERR_USAGE, "--to: path too long");
	/* A kernel is no secret, and whoever names a place may want it for others. What goes wrong
	 * here, the next line tells. */
	if (to) {
		(void)mkdir(dir, 0755);
		(void)mkdir(f->root, 0755);
	}
	return path_make_parents(here, e);
}

static int lock(const struct fetch *f, struct err *e)
{
	char path[PATH_TEXT];
	int fd;

	(void)str_fmt(path, sizeof(path), "%s/.lock", f->root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return err_set(e, ERR_LIMIT, "another fetch-kernel is at work in %s", f->root);
}

static void remove_left_overs(const struct fetch *f)
{
	DIR *d = opendir(f->root);
	const struct dirent *entry;
	char path[PATH_TEXT];

	while (d && (entry = readdir(d)) != NULL)
		if (str_starts(entry->d_name, BEING_MADE) &&
		    str_fmt(path, sizeof(path), "%s/%s", f->root, entry->d_name))
			fetch_remove_tree(path);
	if (d)
		closedir(d);
}

/* ---- one that is there ---- */

static bool has_digest(const char *dir, const char *name, const char *digest)
{
	char path[PATH_TEXT], line[256] = "";
	FILE *in;
	bool same;

	if (!str_fmt(path, sizeof(path), "%s/%s/" NOTE, dir, name))
		return false;
	in = fopen(path, "re");
	if (!in)
		return false;
	same = fgets(line, sizeof(line), in) && str_starts(line, "sha256 ") &&
	       str_eq_nocase(str_trim(line + strlen("sha256 ")), digest);
	(void)fclose(in);
	return same;
}

/* Its version. */
static bool is_there(const struct fetch *f, char version[static 128])
{
	DIR *d = opendir(f->root);
	const struct dirent *entry;
	bool found = false;

	while (d && *f->digest && !found && (entry = readdir(d)) != NULL)
		found = entry->d_name[0] != '.' && has_digest(f->root, entry->d_name, f->digest) &&
			str_fmt(version, 128, "%s", entry->d_name);
	if (d)
		closedir(d);
	return found;
}

/* ---- making one ---- */

static int put_note(const struct fetch *f, const char *dir, struct err *e)
{
	char path[PATH_TEXT], text[FETCH_DIGEST + FETCH_NAME + 32];

	if (!str_fmt(path, sizeof(path), "%s/" NOTE, dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
	(void)str_fmt(text, sizeof(text), "sha256 %s\n%s\n", f->digest, f->source);
	return file_replace_mode(path, text, strlen(text), 0644, e);
}

/* An older one of that version makes room: for a moment there is none. */
static int put_in_place(const struct fetch *f, const char *made, const char *version, struct err *e)
{
	char final[PATH_TEXT], old[PATH_TEXT];

	if (!str_fmt(final, sizeof(final), "%s/%s", f->root, version) ||
	    fetch_path(f, "old", old, e) != 0)
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", f->root);
	if (rename(final, old) != 0 && errno != ENOENT)
		return err_sys(e, errno, "replace %s", final);
	if (chmod(made, 0755) != 0 || rename(made, final) != 0)
		return err_sys(e, errno, "write %s", final);
	return 0;
}

static int install(struct fetch *f, char version[static 128], struct err *e)
{
	const char *debs[FETCH_DEBS];
	char made[PATH_TEXT];
	const struct kernel_package package = {
		.arch = f->arch, .debs = debs, .count = f->count, .dir = made
	};

	for (size_t i = 0; i < f->count; i++)
		debs[i] = f->debs[i];
	if (fetch_path(f, "new", made, e) != 0)
		return -1;
	if (mkdir(made, 0700) != 0)
		return err_sys(e, errno, "make directory %s", made);
	if (!*f->digest && fetch_digest(f->debs[0], f->digest, e) != 0)
		return -1;
	if (kernel_package_unpack(&package, version, e) != 0 || put_note(f, made, e) != 0)
		return -1;
	return put_in_place(f, made, version, e);
}

static int make_tmp(struct fetch *f, struct err *e)
{
	if (!str_fmt(f->tmp, sizeof(f->tmp), "%s/" BEING_MADE "XXXXXX", f->root))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", f->root);
	if (mkdtemp(f->tmp))
		return 0;
	f->tmp[0] = '\0';
	return err_sys(e, errno, "make a directory in %s", f->root);
}

static void say(const struct fetch *f, const char *version, bool there)
{
	printf("%s %s: %s/%s\n", there ? "already there:" : "kernel", version, f->root, version);
}

/* ---- sources ---- */

typedef int step_fn(struct fetch *, struct err *);

static int from(struct fetch *f, step_fn *find, step_fn *get, struct err *e)
{
	char version[128];

	if (find(f, e) != 0)
		return -1;
	if (!f->force && is_there(f, version)) {
		say(f, version, true);
		return 0;
	}
	fprintf(stderr, "awsocks: getting %s\n", f->source);
	if (get(f, e) != 0 || install(f, version, e) != 0)
		return -1;
	say(f, version, false);
	return 0;
}

static int file_find(struct fetch *f, struct err *e)
{
	return fetch_check(f->debs[0], f->digest, e);
}

static int file_get(struct fetch *f, struct err *e)
{
	(void)e;
	f->count = 1;
	return 0;
}

static int from_file(struct fetch *f, const struct words *w, struct err *e)
{
	if (!w->sha256)
		return err_set(e, ERR_USAGE,
			       "--deb: --sha256 is needed too, from whom you trust (apt-cache show "
			       "PACKAGE prints it)");
	if (strlen(w->sha256) != FETCH_DIGEST - 1 ||
	    strspn(w->sha256, "0123456789abcdefABCDEF") != FETCH_DIGEST - 1)
		return err_set(e, ERR_USAGE, "--sha256: 64 hexadecimal digits expected");
	if (!str_fmt(f->debs[0], PATH_TEXT, "%s", w->deb))
		return err_set(e, ERR_USAGE, "--deb: path too long");
	(void)str_fmt(f->digest, sizeof(f->digest), "%s", w->sha256);
	(void)str_fmt(f->source, sizeof(f->source), "%s",
		      strrchr(w->deb, '/') ? strrchr(w->deb, '/') + 1 : w->deb);
	return from(f, file_find, file_get, e);
}

static int from_anywhere(struct fetch *f, struct err *e)
{
	struct err apt;

	if (from(f, fetch_apt_find, fetch_apt_get, &apt) == 0)
		return 0;
	fprintf(stderr, "awsocks: not from apt: %s\n", apt.msg);
	fetch_remove_tree(f->tmp);
	f->digest[0] = '\0';
	f->count = 0;
	if (make_tmp(f, e) != 0)
		return -1;
	return from(f, fetch_pinned_find, fetch_pinned_get, e);
}

static int run_from(struct fetch *f, const struct words *w, struct err *e)
{
	if (w->deb)
		return from_file(f, w, e);
	if (w->sha256)
		return err_set(e, ERR_USAGE, "--sha256 goes with --deb");
	if (!w->source)
		return from_anywhere(f, e);
	if (strcmp(w->source, "apt") == 0)
		return from(f, fetch_apt_find, fetch_apt_get, e);
	if (strcmp(w->source, "debian") == 0)
		return from(f, fetch_pinned_find, fetch_pinned_get, e);
	return err_set(e, ERR_USAGE, "--source: apt or debian expected, not '%.60s'", w->source);
}

static int run(const struct words *w, struct err *e)
{
	struct fetch f = { .force = w->force };
	int locked, rc;

	if (choose_arch(&f, w->arch, e) != 0 || choose_root(&f, w->to, e) != 0)
		return -1;
	locked = lock(&f, e);
	if (locked < 0)
		return -1;
	remove_left_overs(&f);
	rc = make_tmp(&f, e);
	if (rc == 0)
		rc = run_from(&f, w, e);
	if (*f.tmp)
		fetch_remove_tree(f.tmp);
	close(locked);
	return rc;
}

int cmd_vm_fetch(int argc, char **argv)
{
	struct words w = { 0 };
	struct arg_opt own[sizeof(options) / sizeof(*options)];
	struct args args;
	struct err e;
	int status;

	(void)umask(022); /* one process, and all that it makes may be read */
	memcpy(own, options, sizeof(own));
	own[ARCH].value = &w.arch;
	own[TO].value = &w.to;
	own[SOURCE].value = &w.source;
	own[DEB].value = &w.deb;
	own[SHA256].value = &w.sha256;
	own[FORCE].flag = &w.force;
	if (args_parse(&args, argc, argv, own, &e) != 0)
		return command_fail(&e);
	if (args.help)
		status = command_help("vm");
	else if (args.count)
		status = err_set(&e, ERR_USAGE, "unknown argument '%.60s'", args.positional[0]);
	else
		status = run(&w, &e);
	args_free(&args);
	if (status >= 0)
		return status;
	(void)err_wrap(&e, "vm fetch-kernel");
	return command_fail(&e);
}
