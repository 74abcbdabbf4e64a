#include "cmd/awsocks/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static int read_all(int fd, const char *path, char *into, size_t room, size_t *n, struct err *e)
{
	int sys = file_read_all(fd, into, room, n);

	if (sys)
		return err_sys(e, sys, "read %s", path);
	if (*n < room)
		return 0;
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

int text_file_write(const char *path, const char *text, struct err *e)
{
	return file_replace(path, text, strlen(text), e);
}
