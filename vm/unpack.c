#include "vm/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "vm/program.h"

enum { MAGIC_BYTES = 6 };

static int open_file(const char *path, struct stat *st, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */

	if (fd < 0 || fstat(fd, st) != 0) {
		(void)err_sys(e, errno, "%s", path);
	} else if (!S_ISREG(st->st_mode)) {
		(void)err_set(e, ERR_CONFIG, "%s is not a regular file", path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int unpack_head(const char *path, void *into, size_t n, size_t *got, struct err *e)
{
	struct stat st;
	int fd = open_file(path, &st, e), sys;

	if (fd < 0)
		return -1;
	sys = file_read_all(fd, into, n, got);
	close(fd);
	return sys ? err_sys(e, sys, "%s", path) : 0;
}

const char *unpack_program(const void *p, size_t n)
{
	if (n >= 2 && memcmp(p, "\x1f\x8b", 2) == 0)
		return "gzip";
	if (n >= 6 && memcmp(p, "\xfd\x37zXZ\0", 6) == 0)
		return "xz";
	if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
		return "zstd";
	return NULL;
}

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	return buf_add(arg, p, n, e);
}

static int read_plain(const char *path, struct buf *into, struct err *e)
{
	struct stat st;
	int fd = open_file(path, &st, e), sys;
	uint8_t *room;
	size_t n = 0;

	if (fd < 0)
		return -1;
	room = buf_reserve(into, (size_t)st.st_size, e);
	sys = room ? file_read_all(fd, room, (size_t)st.st_size, &n) : 0;
	close(fd);
	if (!room)
		return err_wrap(e, "%s", path);
	buf_commit(into, n);
	return sys ? err_sys(e, sys, "%s", path) : 0;
}

int unpack_file(const char *path, struct buf *into, struct err *e)
{
	uint8_t head[MAGIC_BYTES];
	size_t n = 0;
	const char *name;

	if (unpack_head(path, head, sizeof(head), &n, e) != 0)
		return -1;
	name = unpack_program(head, n);
	if (!name)
		return read_plain(path, into, e);
	const char *const argv[] = { name, "-dc", NULL };
	const struct program p = { .argv = argv, .input = path, .out = take, .arg = into };

	if (program_run(&p, e) == 0)
		return 0;
	if (e && e->code == ERR_UNSUPPORTED)
		return err_set(e, ERR_CONFIG, "%s is packed, and the program %s is not installed",
			       path, name);
	return err_wrap(e, "%s", path);
}
