#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

int file_write_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t put = write(fd, at, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

int file_read_all(int fd, void *into, size_t room, size_t *n)
{
	char *at = into;

	*n = 0;
	while (*n < room) {
		ssize_t got = read(fd, at + *n, room - *n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return 0;
		*n += (size_t)got;
	}
	return 0;
}

int file_replace(const char *path, const void *p, size_t n, struct err *e)
{
	return file_replace_mode(path, p, n, 0600, e);
}

int file_replace_mode(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	char beside[PATH_MAX];
	struct stat st;
	int fd, sys;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* rename() would replace a device */
		return err_set(e, ERR_CONFIG, "%s is not a regular file: it is left alone", path);
	if (!str_fmt(beside, sizeof(beside), "%s.%ld", path, (long)getpid()))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	sys = mode != 0600 && fchmod(fd, mode) != 0 ? errno : file_write_all(fd, p, n);
	if (!sys && fsync(fd) != 0 && errno != EINVAL)
		sys = errno;
	if (close(fd) != 0 && !sys)
		sys = errno;
	if (!sys && rename(beside, path) != 0)
		sys = errno;
	if (!sys)
		return 0;
	(void)unlink(beside);
	return err_sys(e, sys, "write %s", path);
}
