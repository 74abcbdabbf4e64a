/*
 * The audit log's file. Each line is built whole and written by one write(2)
 * on a descriptor in append mode, so that several threads and processes may share
 * a file without a lock. Reopening puts the new file under the same descriptor
 * (dup2), so that a thread that writes meanwhile has the one or the other.
 * The proxy goes on when a line cannot be written: the loss is logged once,
 * and again, with the number of lines lost, when writing works.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/audit.h"

/* A pipe that polls writable takes PIPE_BUF bytes (4096 on Linux) at once; usual lines are far
 * shorter, the ceiling is for the worst escaping. */
enum { LINE_MAX_BYTES = 32 * 1024, TEXT_MAX_BYTES = 512 };

struct audit {
	char *path;
	int fd;
	const struct clock *clock;
	atomic_uint_least64_t lost; /* lines since the last that was written */
	atomic_bool torn;           /* the last line was cut */
};

static const char *const actions[] = { "allow", "block", "refuse" };

void audit_text(char **field, const char *text)
{
	mem_free(*field);
	*field = mem_strdup(text);
}

void audit_record_free(struct audit_record *r)
{
	mem_free(r->peer);
	mem_free(r->exe);
	mem_free(r->host);
	mem_free(r->rule);
	mem_free(r->route);
	mem_free(r->address);
	mem_free(r->session);
	mem_free(r->error);
	*r = (struct audit_record){ 0 };
}

/* O_NONBLOCK: a FIFO that nobody reads would hold the whole program here; files do not mind. */
static int open_file(const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0600);

	if (fd < 0 && errno == ENXIO)
		err_set(e, ERR_IO, "audit log %s: nobody reads from it", path);
	else if (fd < 0)
		err_sys(e, errno, "audit log %s", path);
	return fd;
}

int audit_open(struct audit **out, const char *path, const struct clock *clock, struct err *e)
{
	struct audit *a = mem_alloc(sizeof(*a));

	*out = NULL;
	if (!a || !(a->path = mem_strdup(path))) {
		mem_free(a);
		return err_set(e, ERR_NOMEM, "audit log");
	}
	a->clock = clock;
	a->fd = strcmp(path, "-") == 0 ? STDOUT_FILENO : open_file(path, e);
	if (a->fd < 0) {
		mem_free(a->path);
		mem_free(a);
		return -1;
	}
	*out = a;
	return 0;
}

int audit_reopen(struct audit *a, struct err *e)
{
	int fd, failed;

	if (a->fd == STDOUT_FILENO)
		return 0;
	fd = open_file(a->path, e);
	if (fd < 0)
		return -1;
	failed = dup2(fd, a->fd) < 0 || fcntl(a->fd, F_SETFD, FD_CLOEXEC) < 0;
	if (failed)
		(void)err_sys(e, errno, "audit log %s", a->path);
	close(fd);
	if (failed)
		return -1;
	atomic_store(&a->torn, false);
	return 0;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->fd != STDOUT_FILENO)
		close(a->fd);
	mem_free(a->path);
	mem_free(a);
}

/* Length of the UTF-8 sequence at s; 0: it is none (RFC 3629). */
static size_t utf8(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	for (size_t i = 0; i < 3; i++) {
		uint32_t code = s[0] & (unsigned char)~forms[i].mask;
		size_t more = i + 1, k;

		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		for (k = 1; k <= more && (s[k] & 0xc0) == 0x80; k++)
			code = code << 6 | (s[k] & 0x3f);
		if (k <= more || code < forms[i].least || code > 0x10ffff ||
		    (code >= 0xd800 && code < 0xe000))
			return 0;
		return more + 1;
	}
	return 0;
}

/* ,"name":"text"; nothing for NULL. */
static int add_text(struct buf *b, const char *name, const char *text, struct err *e)
{
	const unsigned char *s = (const unsigned char *)text;
	int bad;

	if (!text)
		return 0;
	bad = buf_addf(b, e, ",\"%s\":\"", name);
	for (size_t i = 0, step; s[i] && i < TEXT_MAX_BYTES && !bad; i += step) {
		step = 1;
		if (s[i] == '"' || s[i] == '\\')
			bad = buf_addf(b, e, "\\%c", s[i]);
		else if (s[i] < 0x20 || s[i] == 0x7f)
			bad = buf_addf(b, e, "\\u%04x", s[i]);
		else if (s[i] < 0x80)
			bad = buf_add(b, &s[i], 1, e);
		else if ((step = utf8(&s[i])) > 0)
			bad = buf_add(b, &s[i], step, e);
		else
			bad = buf_add(b, "?", step = 1, e);
	}
	return bad ? -1 : buf_add(b, "\"", 1, e);
}

static int add_line(struct buf *b, const struct audit *a, const struct audit_record *r,
		    struct err *e)
{
	char ts[25];
	uint64_t now = clock_mono_ms(a->clock);
	int bad = 0;

	clock_iso(r->wall_ms, ts);
	if (atomic_load(&a->torn))
		bad |= buf_add(b, "\n", 1, e);
	bad |= buf_addf(b, e, "{\"ts\":\"%s\",\"id\":%" PRIu64, ts, r->id);
	bad |= add_text(b, "listener", r->listener, e);
	bad |= add_text(b, "peer", r->peer, e);
	if (r->has_peer_id)
		bad |= buf_addf(b, e, ",\"uid\":%ld,\"pid\":%ld", r->uid, r->pid);
	bad |= add_text(b, "exe", r->exe, e);
	bad |= add_text(b, "proto", r->proto, e);
	bad |= add_text(b, "host", r->host, e);
	if (r->host)
		bad |= buf_addf(b, e, ",\"port\":%u", (unsigned)r->port);
	bad |= add_text(b, "rule", r->rule, e);
	bad |= add_text(b, "action", actions[r->action], e);
	bad |= add_text(b, "route", r->route, e);
	if (r->mark != AUDIT_PLAIN)
		bad |= buf_addf(b, e, ",\"%s\":true",
				r->mark == AUDIT_BYPASS ? "bypass" : "fallback");
	bad |= add_text(b, "address", r->address, e);
	bad |= add_text(b, "session", r->session, e);
	bad |= buf_addf(b, e, ",\"bytes_up\":%" PRIu64 ",\"bytes_down\":%" PRIu64, r->up, r->down);
	if (r->dropped)
		bad |= buf_addf(b, e, ",\"dropped\":%" PRIu64, r->dropped);
	bad |= buf_addf(b, e, ",\"ms\":%" PRIu64, now > r->mono_ms ? now - r->mono_ms : 0);
	bad |= add_text(b, "error", r->error, e);
	bad |= buf_add(b, "}\n", 2, e);
	return bad ? -1 : 0;
}

static void failed(struct audit *a, const char *why)
{
	if (atomic_fetch_add(&a->lost, 1) == 0)
		log_error("audit", "%s: a line is lost: %s (said once)", a->path, why);
}

/* A file of ours is opened so that it never waits. Stdout may, and may be the log's pipe too. */
static ssize_t write_line(const struct audit *a, const uint8_t *p, size_t n)
{
	ssize_t done;

	if (a->fd == STDOUT_FILENO)
		return log_write(a->fd, p, n);
	do
		done = write(a->fd, p, n);
	while (done < 0 && errno == EINTR);
	return done;
}

static const char *why_not(ssize_t done)
{
	if (done >= 0)
		return "cut short (no space left?)";
	return errno == EAGAIN ? "its reader does not read" : strerror(errno);
}

static void put(struct audit *a, const uint8_t *p, size_t n)
{
	ssize_t done = write_line(a, p, n);
	uint64_t lost;

	if (done > 0 && atomic_load(&a->torn) != ((size_t)done < n))
		atomic_store(&a->torn, (size_t)done < n);
	if (done < 0 || (size_t)done < n) {
		failed(a, why_not(done));
		return;
	}
	if (atomic_load(&a->lost) == 0)
		return;
	lost = atomic_exchange(&a->lost, 0);
	if (lost)
		log_warn("audit", "%s: written again; %" PRIu64 " lines were lost", a->path, lost);
}

void audit_write(struct audit *a, const struct audit_record *r)
{
	struct err e = { 0 };
	struct buf b;

	if (!a)
		return;
	buf_init(&b, LINE_MAX_BYTES);
	if (add_line(&b, a, r, &e))
		failed(a, e.msg);
	else
		put(a, buf_ptr(&b), buf_len(&b));
	buf_free(&b);
}
