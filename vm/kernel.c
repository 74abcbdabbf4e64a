/*
 * Candidates, one after the other, until one can be read, is for this guest, and has its modules;
 * what stood in the way of the others is gathered for the message.
 */
#include "vm/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "vm/kernel_impl.h"

enum { NAMES_MAX = 64, NAME_TEXT = 128, WHY_TEXT = 220 };

struct search {
	const struct kernel_places *places;
	const struct vm_image_opts *opts;
	struct vm_kernel *out;
	char why[WHY_TEXT]; /* "FILE: REASON; FILE: REASON" */
	unsigned more;      /* that did not fit */
};

/* Names in a directory, newest first. */
struct names {
	char text[NAMES_MAX][NAME_TEXT];
	size_t count;
};

/* ---- versions ---- */

static int compare_numbers(const char **a, const char **b)
{
	size_t na, nb;
	int rc;

	*a += strspn(*a, "0");
	*b += strspn(*b, "0");
	na = strspn(*a, "0123456789");
	nb = strspn(*b, "0123456789");
	rc = na != nb ? (na < nb ? -1 : 1) : strncmp(*a, *b, na);
	*a += na;
	*b += nb;
	return rc;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int kernel_compare(const char *a, const char *b)
{
	while (*a && *b) {
		if (is_digit(*a) && is_digit(*b)) {
			int rc = compare_numbers(&a, &b);

			if (rc)
				return rc;
		} else if (*a != *b) {
			/* a release follows its candidates: 6.1~rc1 < 6.1 */
			return *a == '~' ? -1 : *b == '~' ? 1 : *a < *b ? -1 : 1;
		} else {
			a++;
			b++;
		}
	}
	if (*a == '~' || *b == '~')
		return *a == '~' ? -1 : 1;
	return *a ? 1 : *b ? -1 : 0;
}

const char *kernel_arch(const char *machine)
{
	if (strcmp(machine, "arm64") == 0)
		return "aarch64";
	return strcmp(machine, "amd64") == 0 ? "x86_64" : machine;
}

/* ---- modules ---- */

static bool has_lists(const char *dir)
{
	const char *const lists[] = { "modules.dep", "modules.order", "modules.builtin" };
	char path[VM_PATH + 32];

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (str_fmt(path, sizeof(path), "%s/%s", dir, lists[i]) && access(path, R_OK) == 0)
			return true;
	return false;
}

bool kernel_modules_of(const struct kernel_places *places, const struct vm_image_opts *opts,
		       struct vm_kernel *k)
{
	const char *slash = strrchr(k->file, '/');
	const char *dir = slash ? k->file : ".";
	int n = slash ? (int)(slash - k->file) : 1;

	if (opts->modules)
		return str_fmt(k->modules, VM_PATH, "%s", opts->modules);
	return (str_fmt(k->modules, VM_PATH, "%.*s/modules", n, dir) && has_lists(k->modules)) ||
	       (str_fmt(k->modules, VM_PATH, "%.*s", n, dir) && has_lists(k->modules)) ||
	       (str_fmt(k->modules, VM_PATH, "%s/%s", places->modules, k->version) &&
		has_lists(k->modules)) ||
	       (str_fmt(k->modules, VM_PATH, "%.*s/../lib/modules/%s", n, dir, k->version) &&
		has_lists(k->modules));
}

/* ---- candidates ---- */

static bool no_modules(const struct vm_kernel *k, struct err *e)
{
	(void)err_set(e, ERR_CONFIG, "%s: no modules of %s beside it or in /lib/modules", k->file,
		      k->version);
	return false;
}

static bool usable(struct search *s, const char *file, struct err *e)
{
	struct vm_kernel *k = s->out;

	if (!str_fmt(k->file, VM_PATH, "%s", file)) {
		(void)err_set(e, ERR_CONFIG, "path too long: %.80s...", file);
		return false;
	}
	if (vm_kernel_version(file, s->opts->arch, k->version, e) != 0)
		return false;
	return kernel_modules_of(s->places, s->opts, k) || no_modules(k, e);
}

static bool try_file(struct search *s, const char *file)
{
	struct err why = { .code = ERR_NONE };
	size_t n = strlen(s->why);

	if (usable(s, file, &why))
		return true;
	if (why.sys == EACCES || why.sys == EPERM)
		(void)err_set(&why, ERR_CONFIG,
			      "%s may not be read by this user (chmod a+r, as root)", file);
	if (strstr(s->why, file)) /* the running one is also one of /boot */
		return false;
	if (n + strlen(why.msg) + 3 > sizeof(s->why))
		s->more++;
	else
		(void)str_fmt(s->why + n, sizeof(s->why) - n, "; %s", why.msg);
	return false;
}

static int newer(const void *a, const void *b)
{
	return kernel_compare(b, a);
}

/* Those of dir whose name begins and ends so, without the beginning. */
static void list(struct names *out, const char *dir, const char *begin, const char *within)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;

	out->count = 0;
	while (d && out->count < NAMES_MAX && (entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;

		if (name[0] != '.' && str_starts(name, begin) && strstr(name, within) &&
		    str_fmt(out->text[out->count], NAME_TEXT, "%s", name + strlen(begin)))
			out->count++;
	}
	if (d)
		closedir(d);
	qsort(out->text, out->count, NAME_TEXT, newer);
}

static bool try_fetched(struct search *s, struct names *names)
{
	char dir[VM_PATH], file[VM_PATH];

	if (!s->opts->fetched ||
	    !str_fmt(dir, sizeof(dir), "%s/%s", s->opts->fetched, s->opts->arch))
		return false;
	list(names, dir, "", "");
	for (size_t i = 0; i < names->count; i++)
		if (str_fmt(file, sizeof(file), "%s/%s/vmlinuz", dir, names->text[i]) &&
		    try_file(s, file))
			return true;
	return false;
}

static bool try_boot(struct search *s, struct names *names, const char *within)
{
	char file[VM_PATH];

	list(names, s->places->boot, "vmlinuz-", within);
	for (size_t i = 0; i < names->count; i++)
		if (str_fmt(file, sizeof(file), "%s/vmlinuz-%s", s->places->boot, names->text[i]) &&
		    try_file(s, file))
			return true;
	return false;
}

/* Fedora and others have it beside its modules. */
static bool try_running(struct search *s)
{
	const struct kernel_places *p = s->places;
	char file[VM_PATH];

	return (str_fmt(file, sizeof(file), "%s/vmlinuz-%s", p->boot, p->running) &&
		access(file, F_OK) == 0 && try_file(s, file)) ||
	       (str_fmt(file, sizeof(file), "%s/%s/vmlinuz", p->modules, p->running) &&
		access(file, F_OK) == 0 && try_file(s, file));
}

static int none(const struct search *s, struct err *e)
{
	char more[32] = "";

	if (s->more)
		(void)str_fmt(more, sizeof(more), "; and %u more", s->more);
	return err_set(e, ERR_CONFIG,
		       "no kernel for a VM of %s (awsocks vm fetch-kernel gets one)%s%s%s",
		       s->opts->arch, *s->why ? ": " : "; none is in /boot",
		       *s->why ? s->why + 2 : "", more);
}

static int find_named(struct search *s, struct err *e)
{
	if (usable(s, s->opts->kernel, e))
		return 0;
	if (e && e->code == ERR_IO) /* a wrong setting, whatever the system calls it */
		e->code = ERR_CONFIG;
	return err_wrap(e, "kernel of the VM");
}

int kernel_find_in(const struct kernel_places *places, const struct vm_image_opts *opts,
		   struct vm_kernel *out, struct err *e)
{
	struct search s = { .places = places, .opts = opts, .out = out };
	struct names *names;
	bool found;

	if (opts->kernel)
		return find_named(&s, e);
	names = mem_alloc(sizeof(*names));
	if (!names)
		return err_set(e, ERR_NOMEM, "names of kernels");
	found = try_fetched(&s, names);
	if (!found && places->running)
		found = try_boot(&s, names, "-cloud-") || try_running(&s) ||
			try_boot(&s, names, "");
	mem_free(names);
	return found ? 0 : none(&s, e);
}

int vm_kernel_find(const struct vm_image_opts *opts, struct vm_kernel *out, struct err *e)
{
	struct kernel_places places = { .boot = "/boot", .modules = "/lib/modules" };
	struct utsname host;

	/* This system's kernels are of its own processor; macOS has none. */
	if (uname(&host) == 0 && strcmp(host.sysname, "Linux") == 0 &&
	    strcmp(kernel_arch(host.machine), opts->arch) == 0)
		places.running = host.release;
	return kernel_find_in(&places, opts, out, e);
}
