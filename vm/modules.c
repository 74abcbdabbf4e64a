#include "vm/modules.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "vm/module_info.h"
#include "vm/unpack.h"

enum { LIST_MAX = 8 * 1024 * 1024, MODULE_MAX = 8 * 1024 * 1024, DEPTH = 16 };

/* ---- names ---- */

static char same(char c)
{
	return c == '-' ? '_' : c;
}

bool module_is(const char *path, size_t n, const char *name)
{
	size_t at = n, length = strlen(name);

	while (at && path[at - 1] != '/')
		at--;
	path += at;
	n -= at;
	if (n < length + 3 || memcmp(path + length, ".ko", 3) != 0 ||
	    (n > length + 3 && path[length + 3] != '.'))
		return false;
	for (size_t i = 0; i < length; i++)
		if (same(path[i]) != same(name[i]))
			return false;
	return true;
}

/* The path in a list of lines "PATH" or "PATH: NEEDED...". */
static bool find_line(const struct buf *lists, const char *name, char *path, size_t size)
{
	const char *p = (const char *)buf_ptr(lists);

	while (*p) {
		size_t n = strcspn(p, ":\n");

		if (module_is(p, n, name))
			return str_fmt(path, size, "%.*s", (int)n, p);
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return false;
}

bool modules_find(const struct modules *m, const char *name, char *path, size_t size)
{
	return find_line(&m->lists, name, path, size);
}

/* ---- lists ---- */

static int read_list(const struct modules *m, const char *name, struct buf *into, struct err *e)
{
	char path[VM_PATH];

	if (!str_fmt(path, sizeof(path), "%s/%s", m->dir, name))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", m->dir);
	if (access(path, R_OK) != 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "%s", path);
	if (buf_len(into) && buf_add(into, "\n", 1, e) != 0)
		return -1;
	return unpack_file(path, into, e);
}

int modules_open(struct modules *m, const char *dir, const char *version, struct err *e)
{
	memset(m, 0, sizeof(*m));
	m->dir = dir;
	m->version = version;
	buf_init(&m->lists, 2 * LIST_MAX);
	buf_init(&m->builtin, LIST_MAX);
	if (read_list(m, "modules.dep", &m->lists, e) != 0 ||
	    read_list(m, "modules.order", &m->lists, e) != 0 ||
	    read_list(m, "modules.builtin", &m->builtin, e) != 0)
		return -1;
	if (!buf_len(&m->lists) && !buf_len(&m->builtin))
		return err_set(e, ERR_CONFIG, "%s has neither modules.dep nor modules.order", dir);
	return buf_add(&m->lists, "", 1, e) == 0 ? buf_add(&m->builtin, "", 1, e) : -1;
}

void modules_close(struct modules *m)
{
	for (size_t i = 0; i < m->count; i++)
		buf_free(&m->list[i].file);
	m->count = 0;
	buf_free(&m->lists);
	buf_free(&m->builtin);
}

/* ---- files ---- */

static bool find_file(const struct modules *m, const char *listed, char *out, size_t size)
{
	const char *const suffixes[] = { ".ko", ".ko.xz", ".ko.gz", ".ko.zst" };
	const char *slash = strrchr(listed, '/');
	const char *end = strstr(slash ? slash : listed, ".ko");

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (str_fmt(out, size, "%s/%.*s%s", m->dir, (int)(end - listed), listed,
			    suffixes[i]) &&
		    access(out, F_OK) == 0)
			return true;
	return false;
}

/* Everything there is but that module. */
static int miss(struct modules *m, const char *name, const char *what, struct err *e)
{
	(void)str_fmt(m->missing, sizeof(m->missing), "%s", name);
	return err_set(e, ERR_CONFIG, "kernel module %s %s %s", name, what, m->dir);
}

static int check_kernel(const struct modules *m, const struct module *mod, struct err *e)
{
	const char *magic = module_info(buf_ptr(&mod->file), buf_len(&mod->file), "vermagic");
	size_t n = m->version ? strlen(m->version) : 0;

	if (!magic)
		return err_set(e, ERR_CONFIG, "%s in %s is not a kernel module", mod->name, m->dir);
	if (!n || (strncmp(magic, m->version, n) == 0 && (magic[n] == ' ' || !magic[n])))
		return 0;
	return err_set(e, ERR_CONFIG, "modules of %.*s do not fit the kernel, which is %s: %s",
		       (int)strcspn(magic, " "), magic, m->version, m->dir);
}

static int read_module(struct modules *m, struct module *mod, const char *listed, struct err *e)
{
	char path[VM_PATH];

	if (!find_file(m, listed, path, sizeof(path)))
		return miss(m, mod->name, "is listed, but its file is not in", e);
	if (unpack_file(path, &mod->file, e) != 0)
		return -1;
	return check_kernel(m, mod, e);
}

/* ---- order ---- */

static bool has(const struct modules *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->list[i].name, name) == 0)
			return true;
	return false;
}

static int add(struct modules *m, const char *name, unsigned depth, struct err *e);

/* depends=A,B */
static int add_needed(struct modules *m, const struct module *mod, unsigned depth, struct err *e)
{
	const char *p = module_info(buf_ptr(&mod->file), buf_len(&mod->file), "depends");
	char name[MODULE_NAME];

	for (; p && *p; p += *p == ',') {
		size_t n = strcspn(p, ",");

		if (n && (!str_fmt(name, sizeof(name), "%.*s", (int)n, p) || strchr(name, '/')))
			return err_set(e, ERR_CONFIG, "%s needs a module of a strange name",
				       mod->name);
		if (n && add(m, name, depth + 1, e) != 0)
			return m->missing[0] ? err_wrap(e, "%s", mod->name) : -1;
		p += n;
	}
	return 0;
}

static int append(struct modules *m, struct module *mod, struct err *e)
{
	if (m->count == MODULES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d modules are needed", MODULES_MAX);
	m->list[m->count++] = *mod;
	buf_init(&mod->file, 0);
	return 0;
}

static int add(struct modules *m, const char *name, unsigned depth, struct err *e)
{
	struct module mod = { .name = "" };
	char listed[VM_PATH];
	int rc;

	for (size_t i = 0; name[i] && i < sizeof(mod.name) - 1; i++)
		mod.name[i] = same(name[i]);
	if (has(m, mod.name) || find_line(&m->builtin, mod.name, listed, sizeof(listed)))
		return 0;
	if (depth > DEPTH)
		return err_set(e, ERR_CONFIG, "%s: modules need each other in a circle", mod.name);
	if (!modules_find(m, mod.name, listed, sizeof(listed)))
		return miss(m, mod.name, "is neither built in nor listed in", e);
	buf_init(&mod.file, MODULE_MAX);
	rc = read_module(m, &mod, listed, e);
	if (rc == 0)
		rc = add_needed(m, &mod, depth, e);
	if (rc == 0)
		rc = append(m, &mod, e);
	buf_free(&mod.file);
	return rc;
}

int modules_add(struct modules *m, const char *name, bool needed, struct err *e)
{
	int rc;

	m->missing[0] = '\0';
	rc = add(m, name, 0, e);
	if (rc == 0 || needed || !m->missing[0])
		return rc;
	m->missing[0] = '\0';
	return 0;
}

int modules_add_for(struct modules *m, enum vm_transport transport, struct err *e)
{
	const char *const links[] = {
		[VM_VIRTIO_SERIAL] = "virtio_console", [VM_VSOCK] = "vmw_vsock_virtio_transport"
	};

	/* Alpine and others have these two as modules: DHCP's raw socket, and IPv6 */
	if (modules_add(m, "af_packet", false, e) != 0 || modules_add(m, "ipv6", false, e) != 0)
		return -1;
	if (modules_add(m, "virtio_pci", true, e) != 0 ||
	    modules_add(m, links[transport], true, e) != 0)
		return -1;
	/* vfkit's console is one of virtio's, though its link is not. */
	return modules_add(m, "virtio_console", false, e) != 0
		       ? -1
		       : modules_add(m, "virtio_net", true, e);
}
