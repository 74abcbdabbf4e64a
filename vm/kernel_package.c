/*
 * The packages are read as a stream: first for the kernel, the lists and the modules that are
 * needed usually; what these need in turn is known when they have been unpacked, and then the
 * packages are read again for that. Nothing of a name in them becomes a path but the part behind
 * lib/modules/VERSION, and that only if it has no ".." in it.
 */
#include "vm/kernel_package.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/deb.h"
#include "vm/modules.h"

enum { WANTED_MAX = 64, ROUNDS_MAX = 12, FILE_BYTES_MAX = 256 * 1024 * 1024 };

struct unpacking {
	const struct kernel_package *package;
	char wanted[WANTED_MAX][MODULE_NAME];
	size_t count;
	bool kernel_done;
	char path[VM_PATH]; /* that is being written */
	int fd;
	struct err why; /* from file(), told by data() */
};

/* What is needed nearly always, so that the packages are read once only. */
static const char *const usual[] = {
	"virtio",
	"virtio_ring",
	"virtio_pci",
	"virtio_pci_modern_dev",
	"virtio_pci_legacy_dev",
	"virtio_net",
	"failover",
	"net_failover",
	"virtio_console",
	"vsock",
	"dimlib",
	"af_packet",
	"vmw_vsock_virtio_transport_common",
	"ipv6",
	"vmw_vsock_virtio_transport",
};

/* ---- which files ---- */

static const char *skip(const char *name, const char *prefix)
{
	return name && str_starts(name, prefix) ? name + strlen(prefix) : NULL;
}

/* Behind lib/modules/VERSION/, or NULL. */
static const char *in_modules(const char *name)
{
	const char *rest = skip(name, "usr/lib/modules/");

	if (!rest)
		rest = skip(name, "lib/modules/");
	rest = rest ? strchr(rest, '/') : NULL;
	return rest && rest[1] && !strstr(rest, "..") ? rest + 1 : NULL;
}

static bool is_kernel(const struct unpacking *u, const char *name)
{
	const char *inside = in_modules(name);
	const char *boot = skip(name, "boot/vmlinuz-");

	return !u->kernel_done && ((boot && *boot && !strchr(boot, '/')) ||
				   (inside && strcmp(inside, "vmlinuz") == 0));
}

static bool is_list(const char *inside)
{
	return strcmp(inside, "modules.order") == 0 || strcmp(inside, "modules.dep") == 0 ||
	       strcmp(inside, "modules.builtin") == 0;
}

static bool is_wanted(const struct unpacking *u, const char *inside)
{
	for (size_t i = 0; i < u->count; i++)
		if (module_is(inside, strlen(inside), u->wanted[i]))
			return true;
	return false;
}

/* ---- writing them ---- */

static int make_parents(struct unpacking *u)
{
	char *from = u->path + strlen(u->package->dir) + 1;

	for (char *slash = strchr(from, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(u->path, 0755) != 0 && errno != EEXIST)
			return err_sys(&u->why, errno, "make directory %s", u->path);
		*slash = '/';
	}
	return 0;
}

static void open_for(struct unpacking *u, const char *folder, const char *name, uint64_t size)
{
	if (size > FILE_BYTES_MAX) {
		(void)err_set(&u->why, ERR_LIMIT, "%.80s is larger than %d MiB", name,
			      FILE_BYTES_MAX >> 20);
		return;
	}
	if (!str_fmt(u->path, sizeof(u->path), "%s/%s%s", u->package->dir, folder, name)) {
		(void)err_set(&u->why, ERR_CONFIG, "path too long: %.80s", name);
		return;
	}
	if (make_parents(u) != 0)
		return;
	u->fd = open(u->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (u->fd < 0)
		(void)err_sys(&u->why, errno, "write %s", u->path);
}

static bool file(void *arg, const char *name, uint64_t size)
{
	struct unpacking *u = arg;
	const char *inside = in_modules(name);

	if (u->why.code)
		return false;
	if (is_kernel(u, name)) {
		u->kernel_done = true;
		open_for(u, "", "vmlinuz", size);
	} else if (inside && (is_list(inside) || is_wanted(u, inside))) {
		open_for(u, "modules/", inside, size);
	} else {
		return false;
	}
	return true;
}

static int data(void *arg, const void *p, size_t n, struct err *e)
{
	struct unpacking *u = arg;
	int sys = 0;

	if (u->why.code) {
		if (e)
			*e = u->why;
		return -1;
	}
	if (n)
		sys = file_write_all(u->fd, p, n);
	if (!n || sys) {
		if (close(u->fd) != 0 && !sys)
			sys = errno;
		u->fd = -1;
	}
	return sys ? err_sys(e, sys, "write %s", u->path) : 0;
}

static const struct tar_handler handler = { .file = file, .data = data };

/* ---- rounds ---- */

static int read_all(struct unpacking *u, struct err *e)
{
	const struct kernel_package *p = u->package;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = deb_read(p->debs[i], p->dir, &handler, u, e);
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
	return rc;
}

/* All modules for both transports. missing: the first one that there is not; may be "". */
static int look(const char *dir, const char *version, char missing[static MODULE_NAME],
		struct err *e)
{
	char path[VM_PATH];
	struct modules *m = mem_alloc(sizeof(*m));
	int rc;

	missing[0] = '\0';
	if (!m)
		return err_set(e, ERR_NOMEM, "modules");
	if (!str_fmt(path, sizeof(path), "%s/modules", dir)) {
		mem_free(m);
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
	}
	rc = modules_open(m, path, version, e);
	if (rc == 0)
		rc = modules_add_for(m, VM_VIRTIO_SERIAL, e);
	if (rc == 0)
		rc = modules_add_for(m, VM_VSOCK, e);
	(void)str_fmt(missing, MODULE_NAME, "%s", m->missing);
	modules_close(m);
	mem_free(m);
	return rc;
}

/* false: it was asked for already, and is not there. */
static bool want(struct unpacking *u, const char *name)
{
	for (size_t i = 0; i < u->count; i++)
		if (strcmp(u->wanted[i], name) == 0)
			return false;
	if (u->count == WANTED_MAX)
		return false;
	return str_fmt(u->wanted[u->count++], MODULE_NAME, "%s", name);
}

static int read_rounds(struct unpacking *u, char version[static 128], struct err *e)
{
	const struct kernel_package *p = u->package;
	char kernel[VM_PATH], missing[MODULE_NAME];

	if (!str_fmt(kernel, sizeof(kernel), "%s/vmlinuz", p->dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", p->dir);
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		if (read_all(u, e) != 0)
			return -1;
		if (!u->kernel_done)
			return err_set(e, ERR_CONFIG, "%s: there is no kernel in it", p->debs[0]);
		if (vm_kernel_version(kernel, p->arch, version, e) != 0)
			return -1;
		if (look(p->dir, version, missing, e) == 0)
			return 0;
		if (!missing[0] || !want(u, missing))
			break;
	}
	return err_wrap(e, "%s", p->debs[0]);
}

int kernel_package_unpack(const struct kernel_package *package, char version[static 128],
			  struct err *e)
{
	struct unpacking *u = mem_alloc(sizeof(*u));
	int rc;

	if (!u)
		return err_set(e, ERR_NOMEM, "unpacking a kernel");
	u->package = package;
	u->fd = -1;
	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
		(void)want(u, usual[i]);
	rc = read_rounds(u, version, e);
	mem_free(u);
	return rc;
}
