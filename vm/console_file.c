/*
 * Looked at now and then rather than watched: a file that grows all the time is never told of by
 * net/file_watch.h, which waits until a change is over. It is opened anew each time, since its
 * writer may have put another one in its place.
 */
#include "vm/console_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop.h"

enum { PIECE = 4096 };

struct console_file {
	struct loop *loop;
	const struct console_file_handler *handler;
	void *arg;
	char *path;
	struct loop_timer look;
	ino_t file; /* that `at` is of */
	off_t at;
};

/* The end is that of now: a guest that goes on writing keeps nobody here. */
static void read_from(struct console_file *c, int fd, off_t end)
{
	char piece[PIECE];

	while (c->at < end) {
		off_t left = end - c->at;
		ssize_t n = pread(fd, piece, left < PIECE ? (size_t)left : PIECE, c->at);

		if (n <= 0)
			return;
		c->at += n;
		c->handler->said(c->arg, piece, (size_t)n);
	}
}

void console_file_read(struct console_file *c)
{
	int fd = open(c->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return; /* it may be about to be replaced */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_ino != c->file || st.st_size < c->at)
			c->at = 0;
		c->file = st.st_ino;
		read_from(c, fd, st.st_size < CONSOLE_FILE_MAX ? st.st_size : CONSOLE_FILE_MAX);
	}
	close(fd);
}

static void look(void *arg)
{
	struct console_file *c = arg;

	console_file_read(c);
	if (c->at < CONSOLE_FILE_MAX)
		timer_arm(c->loop, &c->look, CONSOLE_FILE_LOOK_MS, look, c);
	else
		c->handler->flooded(c->arg);
}

static int make(const char *path, struct err *e)
{
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "VM's console: %s", path);
	close(fd);
	return 0;
}

struct console_file *console_file_open(struct loop *l, const char *path,
				       const struct console_file_handler *handler, void *arg,
				       struct err *e)
{
	struct console_file *c = mem_alloc(sizeof(*c));

	if (c)
		c->path = mem_strdup(path);
	if (!c || !c->path) {
		mem_free(c);
		(void)err_set(e, ERR_NOMEM, "VM's console");
		return NULL;
	}
	c->loop = l;
	c->handler = handler;
	c->arg = arg;
	if (make(path, e) != 0) {
		mem_free(c->path);
		mem_free(c);
		return NULL;
	}
	timer_arm(l, &c->look, CONSOLE_FILE_LOOK_MS, look, c);
	return c;
}

void console_file_close(struct console_file *c)
{
	if (!c)
		return;
	timer_disarm(c->loop, &c->look);
	(void)unlink(c->path);
	mem_free(c->path);
	mem_free(c);
}
