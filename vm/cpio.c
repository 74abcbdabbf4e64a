#include "vm/cpio.h"

#include <string.h>

#include "base/file.h"
#include "base/str.h"

enum {
	HEADER = 110,
	NAME_MAX_BYTES = 256,
	DIRECTORY = 0040000, /* as the format numbers them, whatever this system does */
	REGULAR = 0100000
};

void cpio_begin(struct cpio *c, int fd)
{
	*c = (struct cpio){ .fd = fd };
}

static int put(struct cpio *c, const void *p, size_t n, struct err *e)
{
	int sys = file_write_all(c->fd, p, n);

	if (sys)
		return err_sys(e, sys, "write the initramfs");
	c->at += (off_t)n;
	return 0;
}

static int pad(struct cpio *c, struct err *e)
{
	return put(c, "\0\0\0", (size_t)(-c->at & 3), e);
}

static int add(struct cpio *c, const char *name, unsigned mode, size_t n, struct err *e)
{
	char head[HEADER + 1];
	size_t length = strlen(name) + 1;

	if (n > UINT32_MAX || length > NAME_MAX_BYTES)
		return err_set(e, ERR_LIMIT, "initramfs: %.80s is too large", name);
	/* magic, inode, mode, uid, gid, links, time, size, device, device of a node, name, check */
	(void)str_fmt(head, sizeof(head),
		      "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		      (unsigned)++c->entries, mode, 0U, 0U, 1U, 0U, (unsigned)n, 0U, 0U, 0U, 0U,
		      (unsigned)length, 0U);
	if (put(c, head, HEADER, e) != 0 || put(c, name, length, e) != 0)
		return -1;
	return pad(c, e);
}

int cpio_dir(struct cpio *c, const char *name, unsigned mode, struct err *e)
{
	return add(c, name, DIRECTORY | mode, 0, e);
}

int cpio_file(struct cpio *c, const char *name, unsigned mode, const void *p, size_t n, off_t *at,
	      struct err *e)
{
	if (add(c, name, REGULAR | mode, n, e) != 0)
		return -1;
	if (at)
		*at = c->at;
	return put(c, p, n, e) == 0 ? pad(c, e) : -1;
}

int cpio_end(struct cpio *c, struct err *e)
{
	return add(c, "TRAILER!!!", 0, 0, e);
}
