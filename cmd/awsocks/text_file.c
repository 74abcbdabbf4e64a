#include "cmd/awsocks/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/paths.h"

static int read_all(int fd, const char *path, char *into, size_t room, size_t *n, struct err *e)
{
	*n = 0;
	while (*n < room) {
		ssize_t got = read(fd, into + *n, room - *n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "read %s", path);
		if (got == 0)
			return 0;
		*n += (size_t)got;
	}
	return err_set(e, ERR_CONFIG, "%s is larger than 1 MiB", path);
}

int text_file_read(const char *path, char **text, size_t *n, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for a FIFO's writer */
	struct stat st;
	int rc = -1;

	*text = NULL;
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fstat(fd, &st) != 0)
		(void)err_sys(e, errno, "%s", path);
	else if (!S_ISREG(st.st_mode))
		(void)err_set(e, ERR_CONFIG, "%s is not a regular file", path);
	else if (!(*text = mem_alloc(TEXT_FILE_MAX + 2)))
		(void)err_set(e, ERR_NOMEM, "%s", path);
	else
		rc = read_all(fd, path, *text, TEXT_FILE_MAX + 1, n, e);
	close(fd);
	if (rc == 0)
		return 0;
	mem_free(*text);
	*text = NULL;
	return -1;
}

/* 0, or the errno. */
static int write_all(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n) {
		ssize_t put = write(fd, text, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		text += put;
		n -= (size_t)put;
	}
	return 0;
}

int text_file_write(const char *path, const char *text, struct err *e)
{
	char temporary[PATH_TEXT];
	struct stat st;
	int fd, sys;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* rename() would replace a device */
		return err_set(e, ERR_CONFIG, "%s is not a regular file: it is left alone", path);
	if (!str_fmt(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid()))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	sys = write_all(fd, text);
	if (close(fd) != 0 && !sys)
		sys = errno;
	if (!sys && rename(temporary, path) != 0)
		sys = errno;
	if (!sys)
		return 0;
	(void)unlink(temporary);
	return err_sys(e, sys, "write %s", path);
}
