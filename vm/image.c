/*
 * The initramfs is written beside its final name, and renamed: a guest that runs on the old one
 * keeps it. Nothing in it depends on the time, so the same parts give the same file.
 */
#include "vm/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/cpio.h"
#include "vm/kernel.h"
#include "vm/module_info.h"
#include "vm/modules.h"
#include "vm/unpack.h"

enum {
	AGENT_MAX = 32 * 1024 * 1024,
	KERNEL_MAX = 256 * 1024 * 1024,
	SETTINGS_MAX = 16 * 1024, /* that the agent reads */
	NONCE_HEX = 2 * FRAME_NONCE,
	PROGRAM_INTERPRETER = 3, /* PT_INTERP */
	PROGRAMS_AT = 32,
	PROGRAM_SIZE = 54,
	PROGRAM_COUNT = 56
};
static const char nonce_key[] = "nonce=";

struct parts {
	const struct vm_image_opts *opts;
	struct vm_kernel kernel;
	struct modules modules;
	struct buf agent, conf;
};

/* ---- the agent ---- */

static unsigned number(const uint8_t *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

/* Does it ask for a dynamic linker? There is none in the guest. */
static bool is_dynamic(const uint8_t *p, size_t n)
{
	size_t at = number(p + PROGRAMS_AT), size = number(p + PROGRAM_SIZE);

	for (unsigned i = number(p + PROGRAM_COUNT); i && at + size <= n; i--, at += size)
		if (number(p + at) == PROGRAM_INTERPRETER)
			return true;
	return false;
}

static int read_agent(struct parts *p, struct err *e)
{
	const struct vm_image_opts *o = p->opts;
	unsigned want = strcmp(o->arch, "aarch64") == 0 ? ELF_AARCH64 : ELF_X86_64;
	const uint8_t *bytes;

	if (access(o->agent, F_OK) != 0)
		return err_set(e, ERR_CONFIG,
			       "the VM's agent is missing: %s: %s (make build-agent)", o->agent,
			       strerror(errno));
	if (unpack_file(o->agent, &p->agent, e) != 0)
		return err_wrap(e, "the VM's agent");
	bytes = buf_ptr(&p->agent);
	if (elf_machine(bytes, buf_len(&p->agent)) != want)
		return err_set(e, ERR_CONFIG, "the VM's agent %s is no program for %s", o->agent,
			       o->arch);
	if (is_dynamic(bytes, buf_len(&p->agent)))
		return err_set(e, ERR_CONFIG,
			       "the VM's agent %s is not static, so it cannot run in the guest "
			       "(make build-agent)",
			       o->agent);
	return 0;
}

/* ---- the kernel ---- */

static int place(const struct parts *p, const char *name, char out[static VM_PATH], struct err *e)
{
	if (str_fmt(out, VM_PATH, "%s/%s", p->opts->dir, name))
		return 0;
	return err_set(e, ERR_CONFIG, "path too long: %.80s...", p->opts->dir);
}

/* vfkit takes no packed Image. */
static int take_kernel(const struct parts *p, struct vm_image *out, struct err *e)
{
	uint8_t head[8];
	struct buf image;
	size_t n;
	int rc;

	if (unpack_head(p->kernel.file, head, sizeof(head), &n, e) != 0)
		return -1;
	(void)str_fmt(out->version, sizeof(out->version), "%s", p->kernel.version);
	if (!unpack_program(head, n)) {
		(void)str_fmt(out->kernel, VM_PATH, "%s", p->kernel.file);
		return 0;
	}
	buf_init(&image, KERNEL_MAX);
	rc = place(p, "kernel", out->kernel, e);
	if (rc == 0)
		rc = unpack_file(p->kernel.file, &image, e);
	if (rc == 0)
		rc = file_replace(out->kernel, buf_ptr(&image), buf_len(&image), e);
	buf_free(&image);
	return rc;
}

/* ---- the initramfs ---- */

static int make_conf(struct parts *p, struct err *e)
{
	const char *const names[] = { [VM_VIRTIO_SERIAL] = "virtio", [VM_VSOCK] = "vsock" };
	const char *more = p->opts->settings ? p->opts->settings : "";
	size_t n = strlen(more);

	if (buf_addf(&p->conf, e, "%s%0*d\ntransport=%s\n%s%s", nonce_key, NONCE_HEX, 0,
		     names[p->opts->transport], more, n && more[n - 1] != '\n' ? "\n" : "") == 0)
		return 0;
	return err_wrap(e, "settings of the VM's agent");
}

static int write_dirs(struct cpio *c, struct err *e)
{
	const char *const dirs[] = { "dev", "etc", "m", "proc", "sys" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		if (cpio_dir(c, dirs[i], 0755, e) != 0)
			return -1;
	return 0;
}

static int write_modules(const struct modules *m, struct cpio *c, struct err *e)
{
	char name[MODULE_NAME + 8];
	struct buf order;
	int rc = 0;

	buf_init(&order, (size_t)MODULES_MAX * sizeof(name));
	for (size_t i = 0; rc == 0 && i < m->count; i++) {
		const struct module *mod = &m->list[i];

		(void)str_fmt(name, sizeof(name), "m/%s.ko", mod->name);
		rc = cpio_file(c, name, 0644, buf_ptr(&mod->file), buf_len(&mod->file), NULL, e);
		if (rc == 0)
			rc = buf_addf(&order, e, "%s.ko\n", mod->name);
	}
	if (rc == 0)
		rc = cpio_file(c, "m/order", 0644, buf_ptr(&order), buf_len(&order), NULL, e);
	buf_free(&order);
	return rc;
}

static int write_all(const struct parts *p, int fd, struct vm_image *out, struct err *e)
{
	struct cpio c;
	off_t conf;

	cpio_begin(&c, fd);
	if (write_dirs(&c, e) != 0 ||
	    cpio_file(&c, "conf", 0600, buf_ptr(&p->conf), buf_len(&p->conf), &conf, e) != 0 ||
	    cpio_file(&c, "init", 0755, buf_ptr(&p->agent), buf_len(&p->agent), NULL, e) != 0 ||
	    write_modules(&p->modules, &c, e) != 0 || cpio_end(&c, e) != 0)
		return -1;
	out->nonce_at = conf + (off_t)sizeof(nonce_key) - 1;
	out->initrd_size = (uint64_t)c.at;
	return 0;
}

static int write_initrd(const struct parts *p, struct vm_image *out, struct err *e)
{
	char fresh[VM_PATH];
	int fd, rc;

	if (place(p, "initrd", out->initrd, e) != 0 || place(p, "initrd.new", fresh, e) != 0)
		return -1;
	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write %s", fresh);
	rc = write_all(p, fd, out, e);
	if (close(fd) != 0 && rc == 0)
		rc = err_sys(e, errno, "write %s", fresh);
	if (rc == 0 && rename(fresh, out->initrd) != 0)
		rc = err_sys(e, errno, "write %s", out->initrd);
	if (rc != 0)
		(void)unlink(fresh);
	return rc;
}

/* ---- all of it ---- */

static int make(struct parts *p, struct vm_image *out, struct err *e)
{
	if (read_agent(p, e) != 0 || vm_kernel_find(p->opts, &p->kernel, e) != 0 ||
	    take_kernel(p, out, e) != 0)
		return -1;
	if (modules_open(&p->modules, p->kernel.modules, p->kernel.version, e) != 0 ||
	    modules_add_for(&p->modules, p->opts->transport, e) != 0)
		return err_wrap(e, "modules of the VM's kernel");
	return make_conf(p, e) == 0 ? write_initrd(p, out, e) : -1;
}

int vm_image_make(const struct vm_image_opts *opts, struct vm_image *out, struct err *e)
{
	struct parts *p = mem_alloc(sizeof(*p));
	int rc;

	if (!p)
		return err_set(e, ERR_NOMEM, "the VM's image");
	memset(out, 0, sizeof(*out));
	p->opts = opts;
	buf_init(&p->agent, AGENT_MAX);
	buf_init(&p->conf, SETTINGS_MAX);
	rc = make(p, out, e);
	modules_close(&p->modules);
	buf_free(&p->agent);
	buf_free(&p->conf);
	mem_free(p);
	return rc;
}

int vm_image_nonce(const struct vm_image *image, const uint8_t nonce[FRAME_NONCE], struct err *e)
{
	char hex[NONCE_HEX + 1];
	int fd = open(image->initrd, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t put;
	int sys;

	if (fd < 0)
		return err_sys(e, errno, "%s", image->initrd);
	str_hex(nonce, FRAME_NONCE, hex);
	put = pwrite(fd, hex, NONCE_HEX, image->nonce_at);
	sys = put == NONCE_HEX ? 0 : put < 0 ? errno : EIO;
	if (close(fd) != 0 && !sys)
		sys = errno;
	mem_wipe(hex, sizeof(hex));
	return sys ? err_sys(e, sys, "write %s", image->initrd) : 0;
}
