/*
 * Each line is one write(2) on a descriptor in append mode, so that several processes may share a
 * file. Threads take turns: the kernel would make them wait for the inode anyway, and so
 * nobody's line falls between a file's last line and its renaming, or into a line that was cut.
 *
 * Once a second a write looks whether the file is still there (its last name may be gone, with
 * or without its directory) and how big it is; all else is known from what was written. Who renames
 * the file besides us (logrotate) is noticed when it is our turn to: what has another inode
 * is not renamed.
 *
 * A rotation that fails leaves the file that is open in use, and is tried again 10 s later.
 */
#include "proxy/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum { LOOK_MS = 1000, ROTATE_AGAIN_MS = 10000 };

struct audit_file {
	char *path;
	int fd;
	const struct clock *clock;
	uint64_t max_size;
	unsigned keep;
	bool regular;         /* it can be removed, and rotated */
	pthread_mutex_t turn; /* of all that follows, and of fd */
	uint64_t size;
	uint64_t looked_ms, rotate_ms; /* the last look; when a rotation may be tried next */
	bool gone;                     /* the file has no name any more, and none can be made */
	bool rotate_said;              /* that it does not work */
	bool torn;                     /* its last line has no end, and nothing to finish it with */
	struct buf rest;               /* of a line that was cut */
	bool troubled;                 /* said, and not yet over */
	uint64_t lost_now;             /* lines since then */
	struct audit_counts counts;
};

static int open_file(const char *path, struct err *e)
{
	/* O_NONBLOCK: a FIFO that nobody reads would hold the whole program here; files do not
	 * mind. */
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0600);

	if (fd < 0 && errno == ENXIO)
		err_set(e, ERR_IO, "audit log %s: nobody reads from it", path);
	else if (fd < 0)
		err_sys(e, errno, "audit log %s", path);
	return fd;
}

/* The last run may have ended within a line. */
static bool ends_within_a_line(const char *path, off_t size)
{
	int fd = size > 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	char last = '\n';

	if (fd < 0)
		return false;
	(void)(pread(fd, &last, 1, size - 1) == 1);
	close(fd);
	return last != '\n';
}

/* What is known of a file that was opened just now. */
static void take(struct audit_file *f, int fd)
{
	struct stat st;

	f->fd = fd;
	f->regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	f->size = f->regular ? (uint64_t)st.st_size : 0;
	f->torn = f->regular && ends_within_a_line(f->path, st.st_size);
	f->gone = false;
	f->looked_ms = clock_mono_ms(f->clock);
}

static int begin(struct audit_file *f, const struct audit_opts *o, struct err *e)
{
	int fd = STDOUT_FILENO;

	if (strcmp(o->path, "-") != 0 && (fd = open_file(o->path, e)) < 0)
		return -1;
	take(f, fd);
	if (fd == STDOUT_FILENO)
		f->regular = false; /* whatever it is, it is not ours */
	if (!f->max_size || f->regular)
		return 0;
	if (fd != STDOUT_FILENO)
		close(fd);
	return err_set(e, ERR_CONFIG, "audit log %s: only a file can be rotated by its size",
		       o->path);
}

int audit_file_open(struct audit_file **out, const struct audit_opts *o, struct err *e)
{
	struct audit_file *f = mem_alloc(sizeof(*f));

	*out = NULL;
	if (!f || !(f->path = mem_strdup(o->path))) {
		mem_free(f);
		return err_set(e, ERR_NOMEM, "audit log");
	}
	f->clock = o->clock;
	f->max_size = o->max_size;
	f->keep = o->keep ? o->keep : 1;
	buf_init(&f->rest, AUDIT_LINE_MAX);
	if (begin(f, o, e) != 0 || pthread_mutex_init(&f->turn, NULL) != 0) {
		mem_free(f->path);
		mem_free(f);
		return -1;
	}
	*out = f;
	return 0;
}

/* ---- troubles ---- */

static void trouble(struct audit_file *f, const char *why)
{
	if (!f->troubled)
		log_error("audit", "%s: a line is lost or late: %s (said once)", f->path, why);
	f->troubled = true;
}

static void lost(struct audit_file *f, const char *why)
{
	f->lost_now++;
	f->counts.lost++;
	trouble(f, why);
}

static void works(struct audit_file *f)
{
	if (!f->troubled)
		return;
	log_warn("audit", "%s: written again; %" PRIu64 " lines were lost", f->path, f->lost_now);
	f->troubled = false;
	f->lost_now = 0;
}

/* ---- bytes ---- */

/* A file of ours is opened so that it never waits. Stdout may, and may be the log's pipe too. */
static ssize_t put(struct audit_file *f, const void *p, size_t n)
{
	ssize_t done;

	if (f->fd == STDOUT_FILENO)
		return log_write(f->fd, p, n);
	do
		done = write(f->fd, p, n);
	while (done < 0 && errno == EINTR);
	if (done > 0)
		f->size += (uint64_t)done;
	return done;
}

static const char *why_not(ssize_t done)
{
	if (done >= 0)
		return "it was cut short (no space left?)";
	return errno == EAGAIN ? "its reader does not read" : strerror(errno);
}

/* The end of a line that was cut. */
static bool finish_line(struct audit_file *f)
{
	ssize_t done;

	if (f->torn && (done = put(f, "\n", 1)) != 1) {
		trouble(f, why_not(done));
		return false;
	}
	f->torn = false;
	if (!buf_len(&f->rest))
		return true;
	done = put(f, buf_ptr(&f->rest), buf_len(&f->rest));
	if (done > 0)
		buf_drop(&f->rest, (size_t)done);
	if (!buf_len(&f->rest))
		return true;
	trouble(f, why_not(done));
	return false;
}

/* The rest can go nowhere any more. */
static void forget_rest(struct audit_file *f)
{
	if (!buf_len(&f->rest) || finish_line(f))
		return;
	buf_clear(&f->rest);
	f->counts.lines--;
	lost(f, "the file was changed for another");
}

static void write_line(struct audit_file *f, const char *line, size_t n)
{
	ssize_t done = put(f, line, n);

	if (done < 0) {
		lost(f, why_not(done));
		return;
	}
	f->counts.lines++;
	if ((size_t)done == n) {
		works(f);
		return;
	}
	trouble(f, why_not(done));
	if (buf_add(&f->rest, line + done, n - (size_t)done, NULL) != 0)
		f->torn = done > 0;
}

/* ---- other files ---- */

static int change(struct audit_file *f, struct err *e)
{
	int fd = open_file(f->path, e);

	if (fd < 0)
		return -1;
	forget_rest(f);
	close(f->fd);
	take(f, fd);
	return 0;
}

int audit_file_reopen(struct audit_file *f, struct err *e)
{
	int rc = 0;

	(void)pthread_mutex_lock(&f->turn);
	if (f->fd != STDOUT_FILENO)
		rc = change(f, e);
	f->rotate_ms = 0;
	(void)pthread_mutex_unlock(&f->turn);
	return rc;
}

static void look(struct audit_file *f, uint64_t now)
{
	struct stat st;
	struct err e;

	if (!f->regular || now - f->looked_ms < LOOK_MS)
		return;
	f->looked_ms = now;
	if (fstat(f->fd, &st) != 0)
		return;
	f->size = (uint64_t)st.st_size;
	if (st.st_nlink > 0)
		return;
	if (!f->gone)
		log_warn("audit", "%s: the file was removed", f->path);
	f->gone = true;
	if (change(f, &e) == 0)
		log_warn("audit", "%s: made again", f->path);
	else
		trouble(f, e.msg);
}

static bool name_of(const struct audit_file *f, unsigned k, char out[static PATH_MAX])
{
	return k ? str_fmt(out, PATH_MAX, "%s.%u", f->path, k)
		 : str_fmt(out, PATH_MAX, "%s", f->path);
}

/* Is what the path names now the file that we write to? */
static bool is_ours(const struct audit_file *f)
{
	struct stat at, open_now;

	return stat(f->path, &at) == 0 && fstat(f->fd, &open_now) == 0 &&
	       at.st_dev == open_now.st_dev && at.st_ino == open_now.st_ino;
}

/* PATH.k becomes PATH.k+1, the last one first; the oldest is replaced. */
static int shift(const struct audit_file *f, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (unsigned k = f->keep; k > 0; k--) {
		if (!name_of(f, k - 1, from) || !name_of(f, k, to))
			return err_set(e, ERR_CONFIG, "audit log: path too long: %.80s", f->path);
		if (rename(from, to) != 0 && errno != ENOENT)
			return err_sys(e, errno, "audit log: rename %s", from);
	}
	return 0;
}

static void rotate(struct audit_file *f, uint64_t now)
{
	struct err e;

	if (now < f->rotate_ms || buf_len(&f->rest))
		return;
	if ((!is_ours(f) || shift(f, &e) == 0) && change(f, &e) == 0) {
		f->counts.rotated++;
		f->rotate_said = false;
		return;
	}
	f->rotate_ms = now + ROTATE_AGAIN_MS;
	if (!f->rotate_said)
		log_error("audit", "not rotated, and so it grows on: %s (said once)", e.msg);
	f->rotate_said = true;
}

void audit_file_write(struct audit_file *f, const void *line, size_t n)
{
	uint64_t now = clock_mono_ms(f->clock);

	(void)pthread_mutex_lock(&f->turn);
	look(f, now);
	if (f->max_size && f->size && f->size + n > f->max_size)
		rotate(f, now);
	if (f->gone || !finish_line(f))
		lost(f, "the lines before it are not written either");
	else
		write_line(f, line, n);
	(void)pthread_mutex_unlock(&f->turn);
}

void audit_file_lost(struct audit_file *f, const char *why)
{
	(void)pthread_mutex_lock(&f->turn);
	lost(f, why);
	(void)pthread_mutex_unlock(&f->turn);
}

const char *audit_file_path(const struct audit_file *f)
{
	return f->path;
}

struct audit_counts audit_file_counts(struct audit_file *f)
{
	struct audit_counts c;

	(void)pthread_mutex_lock(&f->turn);
	c = f->counts;
	(void)pthread_mutex_unlock(&f->turn);
	return c;
}

void audit_file_close(struct audit_file *f)
{
	if (!f)
		return;
	forget_rest(f);
	if (f->fd != STDOUT_FILENO)
		close(f->fd);
	buf_free(&f->rest);
	(void)pthread_mutex_destroy(&f->turn);
	mem_free(f->path);
	mem_free(f);
}
