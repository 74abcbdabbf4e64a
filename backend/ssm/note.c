#include "backend/ssm/note.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "ec2/instance.h"

/* Ids come from AWS: nothing else is a file's name. */
static bool name(char out[static NOTE_PATH], const char *dir, const char *id)
{
	return ec2_is_id(id) && str_fmt(out, NOTE_PATH, "%s/%s", dir, id);
}

/* The file of that path, locked by us alone; -1: none, or another has it (*busy). */
static int open_locked(const char *path, int flags, bool *busy)
{
	struct stat st;
	int fd = open(path, O_CLOEXEC | O_NOFOLLOW | flags, 0600);

	*busy = false;
	if (fd < 0)
		return -1;
	*busy = flock(fd, LOCK_EX | LOCK_NB) != 0;
	/* Who had it may have removed it between the two calls. */
	if (!*busy && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* Always as long: what was there needs not be cut off (the fence has no call for that). */
static int write_time(int fd, int64_t wall_ms)
{
	char text[26];

	clock_iso(wall_ms, text);
	text[24] = '\n';
	return file_write_all(fd, text, 25);
}

int note_make(struct note *n, const char *dir, const char *id, int64_t wall_ms, struct err *e)
{
	bool busy;
	int sys;

	if (n->held)
		note_remove(n);
	if (!name(n->path, dir, id))
		return err_set(e, ERR_CONFIG, "no file can be made for instance %.64s", id);
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "%s", dir);
	n->fd = open_locked(n->path, O_RDWR | O_CREAT, &busy);
	if (n->fd < 0)
		return busy ? err_set(e, ERR_CONFIG, "%s is locked by another awsocks", n->path)
			    : err_sys(e, errno, "%s", n->path);
	n->held = true;
	sys = write_time(n->fd, wall_ms);
	if (sys == 0)
		return 0;
	note_remove(n);
	return err_sys(e, sys, "%s", n->path);
}

bool note_take(struct note *n, const char *dir, const char *id, int64_t *started_ms)
{
	char text[26] = "";
	size_t len = 0;
	bool busy;

	*started_ms = 0;
	if (n->held || !name(n->path, dir, id))
		return false;
	n->fd = open_locked(n->path, O_RDWR, &busy);
	if (n->fd < 0)
		return false;
	n->held = true;
	if (file_read_all(n->fd, text, sizeof(text) - 1, &len) == 0 && len >= 24) {
		text[24] = '\0';
		if (clock_parse_iso(text, started_ms, NULL) != 0)
			*started_ms = 0;
	}
	return true;
}

enum note_state note_look(const char *dir, const char *id)
{
	char path[NOTE_PATH];
	bool busy;
	int fd;

	if (!name(path, dir, id))
		return NOTE_NONE;
	fd = open_locked(path, O_RDONLY, &busy);
	if (fd < 0)
		return busy ? NOTE_HELD : NOTE_NONE;
	(void)close(fd);
	return NOTE_LEFT;
}

void note_remove(struct note *n)
{
	if (!n->held)
		return;
	(void)unlink(n->path);
	note_leave(n);
}

void note_leave(struct note *n)
{
	if (n->held)
		(void)close(n->fd);
	n->held = false;
}
