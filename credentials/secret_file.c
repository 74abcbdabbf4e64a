#include "credentials/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"

static int read_all(int fd, const char *path, struct buf *b, struct err *e)
{
	uint8_t *to;
	ssize_t n;

	do {
		to = buf_reserve(b, 4096, e);
		if (!to)
			return err_wrap(e, "%s", path);
		n = read(fd, to, 4096);
		if (n > 0)
			buf_commit(b, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? err_sys(e, errno, "cannot read %s", path) : 0;
}

int secret_file_read(const char *path, struct buf *b, int64_t *modified_ms, struct err *e)
{
	struct stat st;
	int result = -1, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_sys(e, errno, "cannot read %s", path);
	if (fstat(fd, &st) != 0)
		(void)err_sys(e, errno, "cannot read %s", path);
	else if (!S_ISREG(st.st_mode))
		(void)err_set(e, ERR_CONFIG, "%s is not a file", path);
	else if (st.st_size > SECRET_FILE_MAX)
		(void)err_set(e, ERR_LIMIT, "%s is larger than %d KiB", path,
			      SECRET_FILE_MAX / 1024);
	else
		result = read_all(fd, path, b, e);
	if (modified_ms && result == 0)
		*modified_ms = (int64_t)st.st_mtime * 1000;
	close(fd);
	return result;
}

static int make_parents(const char *path, struct err *e)
{
	char dir[PATH_MAX];

	if (!str_fmt(dir, sizeof(dir), "%s", path))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	for (char *at = strchr(dir + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(dir, 0700) != 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot make the directory %s", dir);
		*at = '/';
	}
	return 0;
}

static int write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t done = write(fd, text, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		text += done;
		n -= (size_t)done;
	}
	return fsync(fd);
}

/* A rename lasts once its directory is on the disk. Not every file system can, or says so. */
static void sync_parent(char *path)
{
	int fd;

	*strrchr(path, '/') = '\0';
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

int secret_file_write(const char *path, const char *text, size_t n, struct err *e)
{
	char temp[PATH_MAX];
	int fd, failed;

	if (!strchr(path, '/') || !str_fmt(temp, sizeof(temp), "%s.XXXXXX.tmp", path))
		return err_set(e, ERR_CONFIG, "'%.80s' cannot be written: no such path", path);
	if (make_parents(path, e) != 0)
		return -1;
	fd = mkostemps(temp, (int)strlen(".tmp"), O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return err_sys(e, errno, "cannot write beside %s", path);
	failed = write_all(fd, text, n) == 0 ? 0 : errno;
	if (close(fd) != 0 && !failed)
		failed = errno;
	if (!failed && rename(temp, path) != 0)
		failed = errno;
	if (failed) {
		(void)unlink(temp);
		return err_sys(e, failed, "cannot write %s", path);
	}
	sync_parent(temp);
	return 0;
}
