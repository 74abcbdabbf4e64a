/* From a record to its line; audit_file.c writes it. */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/audit.h"

/* A pipe that polls writable takes PIPE_BUF bytes (4096 on Linux) at once; usual lines are far
 * shorter, AUDIT_LINE_MAX is for the worst escaping. */
enum { TEXT_MAX_BYTES = 512 };

struct audit {
	struct audit_file *file;
	const struct clock *clock;
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
	mem_free(r->user);
	mem_free(r->host);
	mem_free(r->rule);
	mem_free(r->route);
	mem_free(r->first_route);
	mem_free(r->address);
	mem_free(r->session);
	mem_free(r->error);
	*r = (struct audit_record){ 0 };
}

int audit_open(struct audit **out, const struct audit_opts *o, struct err *e)
{
	struct audit *a = mem_alloc(sizeof(*a));

	*out = NULL;
	if (!a)
		return err_set(e, ERR_NOMEM, "audit log");
	a->clock = o->clock;
	if (audit_file_open(&a->file, o, e) != 0) {
		mem_free(a);
		return -1;
	}
	*out = a;
	return 0;
}

int audit_reopen(struct audit *a, struct err *e)
{
	return audit_file_reopen(a->file, e);
}

const char *audit_path(const struct audit *a)
{
	return audit_file_path(a->file);
}

struct audit_counts audit_counts(struct audit *a)
{
	return audit_file_counts(a->file);
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	audit_file_close(a->file);
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
	bad |= buf_addf(b, e, "{\"ts\":\"%s\",\"id\":%" PRIu64, ts, r->id);
	bad |= add_text(b, "listener", r->listener, e);
	bad |= add_text(b, "peer", r->peer, e);
	if (r->has_peer_id)
		bad |= buf_addf(b, e, ",\"uid\":%ld,\"pid\":%ld", r->uid, r->pid);
	bad |= add_text(b, "exe", r->exe, e);
	bad |= add_text(b, "user", r->user, e);
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

void audit_write(struct audit *a, const struct audit_record *r)
{
	struct err e = { 0 };
	struct buf b;

	if (!a)
		return;
	buf_init(&b, AUDIT_LINE_MAX);
	if (add_line(&b, a, r, &e))
		audit_file_lost(a->file, e.msg);
	else
		audit_file_write(a->file, buf_ptr(&b), buf_len(&b));
	buf_free(&b);
}
