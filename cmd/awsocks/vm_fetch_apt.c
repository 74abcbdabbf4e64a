/*
 * A kernel from apt: the newest image that a metapackage stands for, and on Ubuntu its modules. apt
 * checks the archive's signature and each package's digest, and refuses what it cannot check.
 *
 * Where the system's lists do not know the package (another processor, a container without lists)
 * lists of our own are read into a private directory, with the system's sources and keys; nothing
 * of the system changes, and it needs no root.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/str.h"
#include "cmd/awsocks/vm_fetch.h"
#include "vm/program.h"

enum { OUTPUT_MAX = 4 * 1024 * 1024, ARGS = 32, ARG_TEXT = 4096, LIMIT_MS = 20 * 60 * 1000 };

/* Debian's cloud kernel; Ubuntu's for VMs; Debian's ordinary one. */
static const struct metapackage {
	const char *name;
	bool with_arch; /* amd64 follows */
} metapackages[] = {
	{ "linux-image-cloud-", true },
	{ "linux-image-virtual", false },
	{ "linux-image-", true },
};

struct command {
	const char *argv[ARGS + 1];
	size_t count;
	char text[ARG_TEXT];
	size_t used;
};

static int word(struct command *c, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int word(struct command *c, struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->text + c->used, sizeof(c->text) - c->used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(c->text) - c->used || c->count == ARGS)
		return err_set(e, ERR_INTERNAL, "apt: too many words");
	c->argv[c->count++] = c->text + c->used;
	c->used += (size_t)n + 1;
	return 0;
}

static int begin(struct command *c, const struct fetch *f, const char *program, struct err *e)
{
	*c = (struct command){ .count = 0 };
	if (word(c, e, "%s", program) != 0)
		return -1;
	if (!f->own_lists)
		return 0;
	return word(c, e, "-oAPT::Architecture=%s", f->debian_arch) == 0 &&
			       word(c, e, "-oAPT::Architectures::=%s", f->debian_arch) == 0 &&
			       word(c, e, "-oDir::State=%s/apt", f->tmp) == 0 &&
			       word(c, e, "-oDir::State::lists=%s/apt/lists", f->tmp) == 0 &&
			       word(c, e, "-oDir::State::status=%s/apt/status", f->tmp) == 0 &&
			       word(c, e, "-oDir::Cache=%s/apt/cache", f->tmp) == 0 &&
			       word(c, e, "-oAcquire::Languages=none") == 0 &&
			       word(c, e,
				    "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled="
				    "false") == 0
		       ? 0
		       : -1;
}

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	return buf_add(arg, p, n, e);
}

/* out may be NULL. */
static int run(const struct command *c, const char *cwd, struct buf *out, struct err *e)
{
	const struct program p = { .argv = c->argv,
				   .cwd = cwd,
				   .out = out ? take : NULL,
				   .arg = out,
				   .limit_ms = LIMIT_MS };

	return program_run(&p, e);
}

/* ---- what there is ---- */

/* The value of "Field: value" in a control paragraph; "": there is none. */
static void field(const char *text, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	*out = '\0';
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ':') {
			line += n + 1 + strspn(line + n + 1, " ");
			(void)str_fmt(out, size, "%.*s", (int)strcspn(line, "\n"), line);
			return;
		}
	}
}

/* The paragraph of a package, NUL-terminated; -1: apt knows none. */
static int show(const struct fetch *f, const char *name, struct buf *out, struct err *e)
{
	struct command c;

	if (begin(&c, f, "apt-cache", e) != 0 || word(&c, e, "show") != 0 ||
	    word(&c, e, "--no-all-versions") != 0 ||
	    word(&c, e, "%s:%s", name, f->debian_arch) != 0)
		return -1;
	buf_clear(out);
	if (run(&c, NULL, out, e) != 0)
		return -1;
	if (!buf_len(out))
		return err_set(e, ERR_CONFIG, "apt knows no %.80s", name);
	return buf_add(out, "", 1, e);
}

/* The first package of Depends that begins so: "a (= 1), b | c". */
static bool depends(const char *text, const char *prefix, char *out, size_t size)
{
	char list[4096];

	field(text, "Depends", list, sizeof(list));
	for (char *p = list; *p; p += strcspn(p, ",|")) {
		p += strspn(p, ",| ");
		if (str_starts(p, prefix))
			return str_fmt(out, size, "%.*s", (int)strcspn(p, " ,|:("), p);
	}
	return false;
}

/* f->debs[i] is a package's name until it has been downloaded. */
static int take_image(struct fetch *f, const char *image, struct buf *text, struct err *e)
{
	char version[FETCH_NAME];

	if (show(f, image, text, e) != 0)
		return -1;
	field((const char *)buf_ptr(text), "Version", version, sizeof(version));
	field((const char *)buf_ptr(text), "SHA256", f->digest, sizeof(f->digest));
	(void)str_fmt(f->source, sizeof(f->source), "%s %s (apt)", image, version);
	(void)str_fmt(f->debs[0], PATH_TEXT, "%s", image);
	f->count = 1;
	if (depends((const char *)buf_ptr(text), "linux-modules-", f->debs[1], PATH_TEXT))
		f->count = 2;
	return 0;
}

static int find(struct fetch *f, struct buf *text, struct err *e)
{
	char meta[64], image[FETCH_NAME];

	for (size_t i = 0; i < sizeof(metapackages) / sizeof(*metapackages); i++) {
		(void)str_fmt(meta, sizeof(meta), "%s%s", metapackages[i].name,
			      metapackages[i].with_arch ? f->debian_arch : "");
		if (show(f, meta, text, e) == 0 &&
		    depends((const char *)buf_ptr(text), "linux-image-", image, sizeof(image)))
			return take_image(f, image, text, e);
		if (e->code == ERR_UNSUPPORTED || e->code == ERR_NOMEM)
			return -1;
	}
	return err_set(e, ERR_CONFIG, "apt knows no kernel image for %s", f->debian_arch);
}

/* ---- lists of our own ---- */

static int make_dir(const struct fetch *f, const char *name, struct err *e)
{
	char path[PATH_TEXT];

	if (fetch_path(f, name, path, e) != 0)
		return -1;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return err_sys(e, errno, "make directory %s", path);
	return 0;
}

static int read_lists(struct fetch *f, struct err *e)
{
	const char *const dirs[] = {
		"apt",       "apt/lists",          "apt/lists/partial",
		"apt/cache", "apt/cache/archives", "apt/cache/archives/partial"
	};
	char status[PATH_TEXT];
	struct command c;
	FILE *none;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		if (make_dir(f, dirs[i], e) != 0)
			return -1;
	if (fetch_path(f, "apt/status", status, e) != 0)
		return -1;
	none = fopen(status, "we");
	if (!none || fclose(none) != 0)
		return err_sys(e, errno, "write %s", status);
	f->own_lists = true;
	fprintf(stderr, "awsocks: reading the package lists for %s (not the system's own)\n",
		f->debian_arch);
	/* Otherwise apt takes a list that could not be had for no failure. */
	if (begin(&c, f, "apt-get", e) != 0 || word(&c, e, "-q") != 0 ||
	    word(&c, e, "-oAPT::Update::Error-Mode=any") != 0 || word(&c, e, "update") != 0)
		return -1;
	return run(&c, NULL, NULL, e);
}

/* One list of many may be missing, and the package be there: so the failure counts only if it is
 * not. */
static int find_in_own(struct fetch *f, struct buf *text, struct err *e)
{
	struct err update = { .code = ERR_NONE };

	(void)read_lists(f, &update);
	if (find(f, text, e) == 0)
		return 0;
	if (update.code)
		*e = update;
	return -1;
}

int fetch_apt_find(struct fetch *f, struct err *e)
{
	struct buf text;
	int rc;

	buf_init(&text, OUTPUT_MAX);
	f->own_lists = false;
	rc = find(f, &text, e);
	if (rc != 0 && e->code == ERR_CONFIG)
		rc = find_in_own(f, &text, e);
	buf_free(&text);
	return rc;
}

/* ---- getting them ---- */

static int collect(struct fetch *f, const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	size_t wanted = f->count;

	if (!d)
		return err_sys(e, errno, "%s", dir);
	f->count = 0;
	while ((entry = readdir(d)) != NULL && f->count < FETCH_DEBS)
		if (str_ends(entry->d_name, ".deb") &&
		    str_fmt(f->debs[f->count], PATH_TEXT, "%s/%s", dir, entry->d_name))
			f->count++;
	closedir(d);
	if (f->count != wanted)
		return err_set(e, ERR_IO, "apt-get download left %zu packages, not %zu", f->count,
			       wanted);
	return 0;
}

int fetch_apt_get(struct fetch *f, struct err *e)
{
	char dir[PATH_TEXT];
	struct command c;

	if (make_dir(f, "debs", e) != 0 || fetch_path(f, "debs", dir, e) != 0 ||
	    begin(&c, f, "apt-get", e) != 0 || word(&c, e, "-q") != 0 ||
	    word(&c, e, "-oAPT::Get::AllowUnauthenticated=false") != 0 ||
	    word(&c, e, "download") != 0)
		return -1;
	for (size_t i = 0; i < f->count; i++)
		if (word(&c, e, "%s:%s", f->debs[i], f->debian_arch) != 0)
			return -1;
	if (run(&c, dir, NULL, e) != 0)
		return -1;
	return collect(f, dir, e);
}
