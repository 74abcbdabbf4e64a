/* Channels through an OpenSSH master, against a scripted one on a socket pair. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/ssm/ssh_mux.h"
#include "backend/ssm/ssh_wire.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

enum { WINDOW = 4096, TURNS = 40, IN_MAX = 1 << 20 };

struct rig {
	struct loop *l;
	struct ssh_mux *mux;
	int fd; /* the master's end */
	uint8_t in[IN_MAX];
	size_t in_n;
	size_t fds;
	int readies, endeds, freeds, changes;
	enum err_code why;
	char msg[320];
};

struct user {
	struct rig *r;
	struct ssh_dial *dial;
	struct stream *s;
	uint8_t got[65536];
	size_t n;
	size_t credit; /* given when the dial is answered */
	int dones, eofs, closeds, writables;
	enum err_code why;
	char msg[320];
	bool close_on_data;
};

/* --- the mux's owner --- */

static void on_ready(void *arg)
{
	((struct rig *)arg)->readies++;
}
static void on_changed(void *arg)
{
	((struct rig *)arg)->changes++;
}
static void on_ended(void *arg, const struct err *why)
{
	struct rig *r = arg;

	r->endeds++;
	r->why = why->code;
	memcpy(r->msg, why->msg, sizeof(r->msg));
}
static void on_freed(void *arg)
{
	((struct rig *)arg)->freeds++;
}
static const struct ssh_mux_handler handler = { on_ready, on_changed, on_ended, on_freed };

/* --- a stream's owner --- */

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct user *u = arg;

	if (u->n + n <= sizeof(u->got))
		memcpy(u->got + u->n, p, n);
	u->n += n;
	if (u->close_on_data)
		stream_close(u->s);
}
static void u_eof(void *arg)
{
	((struct user *)arg)->eofs++;
}
static void u_writable(void *arg)
{
	((struct user *)arg)->writables++;
}
static void u_closed(void *arg, const struct err *why)
{
	struct user *u = arg;

	u->closeds++;
	u->s = NULL;
	u->why = why ? why->code : ERR_NONE;
	if (why)
		memcpy(u->msg, why->msg, sizeof(u->msg));
}
static const struct stream_handler user_handler = { u_data, u_eof, u_writable, u_closed };

static void u_done(void *arg, struct stream *s, const struct err *why)
{
	struct user *u = arg;

	u->dones++;
	u->dial = NULL;
	u->s = s;
	if (!s) {
		u->why = why->code;
		memcpy(u->msg, why->msg, sizeof(u->msg));
		return;
	}
	stream_attach(s, &user_handler, u);
	stream_credit(s, u->credit);
}

static void dial(struct rig *r, struct user *u, const char *host)
{
	struct err e;
	size_t credit = u->credit;

	*u = (struct user){ .r = r, .credit = credit };
	u->dial = ssh_mux_dial(r->mux, host, 80, u_done, u, &e);
	assert_non_null(u->dial);
}

/* --- the scripted master --- */

static void stop(void *arg)
{
	loop_stop(arg);
}

/* So many turns of the loop, however long each takes. */
struct turns {
	struct loop *l;
	struct loop_post post;
	int left;
};

static void turn_over(void *arg)
{
	struct turns *t = arg;

	if (--t->left > 0)
		loop_post(t->l, &t->post, turn_over, t);
	else
		stop(t->l);
}

/* Everything that is due is done, and what the mux sent is taken. */
static void turn(struct rig *r)
{
	for (int i = 0; i < 4; i++) {
		struct turns t = { .l = r->l, .left = 16 };
		ssize_t n;

		loop_post(r->l, &t.post, turn_over, &t);
		loop_run(r->l);
		n = r->fd < 0 ? 0
			      : recv(r->fd, r->in + r->in_n, sizeof(r->in) - r->in_n, MSG_DONTWAIT);
		if (n > 0)
			r->in_n += (size_t)n;
	}
}

static void say(struct rig *r, const void *p, size_t n)
{
	assert_int_equal(send(r->fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
	turn(r);
}

static uint8_t *put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (24 - 8 * i));
	return to + 4;
}

/* One packet of words and, if text is not NULL, a string behind them. */
static void packet(struct rig *r, uint8_t type, int words, const uint32_t *word, const char *text,
		   size_t n)
{
	static uint8_t b[70000];
	uint8_t *to = b + 6;

	for (int i = 0; i < words; i++)
		to = put32(to, word[i]);
	if (text) {
		to = put32(to, (uint32_t)n);
		memcpy(to, text, n);
		to += n;
	}
	put32(b, (uint32_t)(to - b - 4));
	b[4] = 0;
	b[5] = type;
	say(r, b, (size_t)(to - b));
}

#define WORDS(...)                                                    \
	(sizeof((uint32_t[]){ __VA_ARGS__ }) / 4), (const uint32_t[]) \
	{                                                             \
		__VA_ARGS__                                           \
	}

static void opened(struct rig *r, uint32_t id, uint32_t peer, uint32_t window)
{
	packet(r, SSH_OPENED, WORDS(id, peer, window, 32768), NULL, 0);
}
static void data(struct rig *r, uint32_t id, const char *p, size_t n)
{
	packet(r, SSH_DATA, WORDS(id), p, n);
}
static void plain(struct rig *r, uint8_t type, uint32_t id)
{
	packet(r, type, WORDS(id), NULL, 0);
}
static void refused(struct rig *r, uint32_t id, uint32_t reason, const char *text)
{
	packet(r, SSH_REFUSED, WORDS(id, reason), text, strlen(text));
}

static uint32_t at32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What has come since the last time: "OPEN1:host:80 DATA7:hello WINDOW7+4096 EOF7 CLOSE7". */
static const char *heard(struct rig *r)
{
	static char text[8192];
	char *to = text;
	size_t at = 0, len;
	struct err e;

	turn(r);
	*to = '\0';
	while (ssh_frame(r->in + at, r->in_n - at, &len, &e) == 1) {
		const uint8_t *p = r->in + at + 4;
		size_t room = sizeof(text) - (size_t)(to - text);

		if (to != text)
			to += snprintf(to, room, " ");
		if (p[1] == SSH_OPEN)
			to += snprintf(to, room, "OPEN%u:%.*s:%u", at32(p + 18), (int)at32(p + 30),
				       p + 34, at32(p + 34 + at32(p + 30)));
		else if (p[1] == SSH_DATA && len < 100)
			to += snprintf(to, room, "DATA%u:%.*s", at32(p + 2), (int)at32(p + 6),
				       p + 10);
		else if (p[1] == SSH_DATA)
			to += snprintf(to, room, "DATA%u[%u]", at32(p + 2), at32(p + 6));
		else if (p[1] == SSH_WINDOW)
			to += snprintf(to, room, "WINDOW%u+%u", at32(p + 2), at32(p + 6));
		else
			to += snprintf(to, room, "%s%u",
				       p[1] == SSH_EOF              ? "EOF"
				       : p[1] == SSH_CLOSE          ? "CLOSE"
				       : p[1] == SSH_REFUSED        ? "REFUSED"
				       : p[1] == SSH_REQUEST_FAILED ? "NO"
								    : "?",
				       at32(p + 2));
		at += len;
	}
	assert_int_equal(at, r->in_n); /* only whole packets */
	r->in_n = 0;
	return text;
}

static void greet(struct rig *r)
{
	uint8_t hello[12] = { 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 4 };
	uint8_t proxied[12] = { 0, 0, 0, 8, 0x80, 0, 0, 0xf, 0, 0, 0, 1 };
	static const uint8_t asked[12] = { 0, 0, 0, 8, 0x10, 0, 0, 0xf, 0, 0, 0, 1 };

	turn(r);
	assert_int_equal(r->in_n, 12);
	assert_memory_equal(r->in, hello, 12);
	r->in_n = 0;
	say(r, hello, 12);
	assert_int_equal(r->in_n, 12);
	assert_memory_equal(r->in, asked, 12);
	assert_int_equal(r->readies, 0);
	assert_false(ssh_mux_ready(r->mux));
	r->in_n = 0;
	say(r, proxied, 12);
	assert_int_equal(r->readies, 1);
	assert_true(ssh_mux_ready(r->mux));
}

static void end_mux(struct rig *r)
{
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "enough");
	ssh_mux_close(r->mux, &why);
}

static int setup_with(void **state, unsigned linger_ms)
{
	struct rig *r = mem_alloc(sizeof(*r));
	struct ssh_mux_opts o = { .window = WINDOW, .send_max = 8192, .linger_ms = linger_ms };
	struct stream *link;
	int fd[2];
	struct err e;

	r->fds = fds_open();
	if (loop_new(&r->l, &e) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		return -1;
	o.loop = r->l;
	r->fd = fd[1];
	link = tcp_stream_new(r->l, fd[0], &e);
	r->mux = link ? ssh_mux_new(&o, link, &handler, r, &e) : NULL;
	*state = r;
	return r->mux ? 0 : -1;
}

static int setup(void **state)
{
	return setup_with(state, TEST_LIMIT_MS);
}

static int setup_short_limit(void **state)
{
	return setup_with(state, 30);
}

static int teardown(void **state)
{
	struct rig *r = *state;
	size_t left;

	if (!r->freeds)
		end_mux(r);
	for (int i = 0; i < TURNS && !r->freeds; i++)
		turn(r);
	if (!r->freeds)
		return -1;
	if (r->fd >= 0)
		close(r->fd);
	loop_free(r->l);
	left = r->fds;
	mem_free(r);
	return fds_open() == left ? 0 : -1;
}

/* A user with an open channel: ours is `id`, sshd's is 7. */
static void open_user(struct rig *r, struct user *u, uint32_t id, uint32_t peer, uint32_t window)
{
	char want[64];

	dial(r, u, "host");
	snprintf(want, sizeof(want), "OPEN%u:host:80", id);
	assert_string_equal(heard(r), want);
	opened(r, id, peer, window);
	assert_int_equal(u->dones, 1);
	assert_non_null(u->s);
}

static void end_user(struct user *u)
{
	if (u->s)
		stream_close(u->s);
	turn(u->r);
	assert_int_equal(u->closeds, 1);
}

/* --- tests --- */

static void a_stream_lives_and_ends(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 1000 };
	uint64_t up, down;

	greet(r);
	open_user(r, &u, 1, 7, 1000);
	assert_int_equal(ssh_mux_streams(r->mux), 1);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"hello", 5), 5);
	assert_string_equal(heard(r), "DATA7:hello");
	data(r, 1, "world", 5);
	assert_int_equal(u.n, 5);
	assert_memory_equal(u.got, "world", 5);
	stream_shutdown(u.s);
	assert_string_equal(heard(r), "EOF7");
	data(r, 1, "after", 5); /* the answer to a half-close */
	assert_int_equal(u.n, 10);
	plain(r, SSH_EOF, 1);
	assert_int_equal(u.eofs, 1);
	assert_int_equal(u.closeds, 0);
	plain(r, SSH_CLOSE, 1);
	assert_int_equal(u.closeds, 1);
	assert_int_equal(u.why, ERR_NONE);
	assert_string_equal(heard(r), "CLOSE7");
	assert_int_equal(ssh_mux_streams(r->mux), 0);
	ssh_mux_counts(r->mux, &up, &down);
	assert_int_equal(up, 5);
	assert_int_equal(down, 10);
	assert_int_equal(r->endeds, 0);
}

static void our_close_is_the_last_word(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 1000 };

	greet(r);
	open_user(r, &u, 1, 7, 1000);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"bye", 3), 3);
	stream_close(u.s);
	assert_int_equal(u.closeds, 0); /* not from inside the call */
	assert_string_equal(heard(r), "DATA7:bye EOF7 CLOSE7");
	assert_int_equal(u.closeds, 1);
	data(r, 1, "late", 4); /* was on its way */
	packet(r, SSH_WINDOW, WORDS(1, 500), NULL, 0);
	packet(r, SSH_REQUEST, WORDS(1), "keepalive@openssh.com", 21); /* cut: no want-reply */
	assert_int_equal(r->endeds, 1);
	(void)heard(r);
}

static void nothing_follows_a_close(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 1000 };

	greet(r);
	open_user(r, &u, 1, 7, 1000);
	stream_close(u.s);
	assert_string_equal(heard(r), "EOF7 CLOSE7");
	for (int i = 0; i < 10; i++)
		data(r, 1, "late", 4);
	packet(r, SSH_WINDOW, WORDS(1, 500), NULL, 0);
	plain(r, SSH_EOF, 1);
	plain(r, SSH_CLOSE, 1);
	assert_string_equal(heard(r), "");
	assert_int_equal(r->endeds, 0);
	data(r, 1, "x", 1); /* now the number is nobody's */
	assert_int_equal(r->endeds, 1);
	assert_int_equal(r->why, ERR_PROTO);
}

static void abort_sends_no_end_of_file(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 1000 };

	greet(r);
	open_user(r, &u, 1, 7, 2);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"half", 4), 4);
	assert_string_equal(heard(r), "DATA7:ha");
	stream_abort(u.s);
	assert_string_equal(heard(r), "CLOSE7");
	assert_int_equal(u.closeds, 1);
}

static void windows_hold(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 100 };
	static char big[WINDOW];

	greet(r);
	open_user(r, &u, 1, 7, 10);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"0123456789abcdef", 16), 16);
	assert_string_equal(heard(r), "DATA7:0123456789");
	packet(r, SSH_WINDOW, WORDS(1, 4), NULL, 0);
	assert_string_equal(heard(r), "DATA7:abcd");
	/* ours is opened again by what the owner has taken, and not by what has come */
	memset(big, 'x', sizeof(big));
	data(r, 1, big, WINDOW);
	assert_int_equal(u.n, 100);
	assert_string_equal(heard(r), "");
	stream_credit(u.s, 3000);
	assert_string_equal(heard(r), "WINDOW7+3100");
	assert_int_equal(u.n, 3100);
	stream_credit(u.s, 10000);
	assert_string_equal(heard(r), "");
	assert_int_equal(u.n, WINDOW);
	data(r, 1, big, 2000);
	assert_string_equal(heard(r), "WINDOW7+2996");
	end_user(&u);
}

static void too_much_data_ends_all(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 }, other = { 0 };
	static char big[WINDOW + 1];

	greet(r);
	open_user(r, &u, 1, 7, 10);
	dial(r, &other, "other");
	assert_string_equal(heard(r), "OPEN2:other:80");
	data(r, 1, big, WINDOW + 1);
	assert_int_equal(r->why, ERR_PROTO);
	assert_int_equal(u.closeds, 1);
	assert_int_equal(u.why, ERR_PROTO);
	assert_int_equal(other.dones, 1);
	assert_null(other.s);
	assert_int_equal(r->freeds, 1);
}

static void writable_after_a_short_write(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 };
	static uint8_t big[20000];

	greet(r);
	open_user(r, &u, 1, 7, 0);
	assert_int_equal(stream_write(u.s, big, sizeof(big)), 8192);
	turn(r);
	assert_int_equal(u.writables, 0);
	packet(r, SSH_WINDOW, WORDS(1, 8000), NULL, 0);
	assert_string_equal(heard(r), "DATA7[8000]");
	assert_int_equal(u.writables, 1);
	assert_int_equal(stream_write(u.s, big, 100), 100);
	stream_abort(u.s);
	turn(r);
}

static void a_dial_is_answered(void **state)
{
	static const struct {
		uint32_t reason;
		const char *text;
		enum err_code code;
	} rows[] = {
		{ 2, "Connection refused", ERR_REFUSED },
		{ 2, "Name or service not known", ERR_RESOLVE },
		{ 2, "Temporary failure in name resolution", ERR_RESOLVE },
		{ 2, "Network is unreachable", ERR_NETUNREACH },
		{ 2, "No route to host", ERR_HOSTUNREACH },
		{ 2, "Connection timed out", ERR_TIMEOUT },
		{ 2, "something new", ERR_DIAL },
		{ 2, "", ERR_DIAL },
		{ 1, "open failed", ERR_DENIED },
		{ 3, "", ERR_UNSUPPORTED },
		{ 4, "", ERR_LIMIT },
		{ 99, "bell \a", ERR_DIAL },
	};
	struct rig *r = *state;

	greet(r);
	for (uint32_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct user u = { 0 };

		dial(r, &u, "there");
		turn(r);
		refused(r, i + 1, rows[i].reason, rows[i].text);
		assert_int_equal(u.dones, 1);
		assert_null(u.s);
		assert_int_equal(u.why, rows[i].code);
		assert_non_null(strstr(u.msg, rows[i].reason < 3 ? "there:80" : "sshd"));
		assert_null(strchr(u.msg, '\a'));
	}
	assert_int_equal(ssh_mux_streams(r->mux), 0);
	r->in_n = 0;
}

static void a_dial_given_up_is_closed_when_answered(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 }, second = { 0 }, third = { 0 };

	greet(r);
	dial(r, &u, "unsent");
	ssh_mux_cancel(u.dial);
	assert_string_equal(heard(r), "");
	dial(r, &second, "slow");
	assert_string_equal(heard(r), "OPEN2:slow:80");
	ssh_mux_cancel(second.dial);
	assert_string_equal(heard(r), "");
	opened(r, 2, 9, 100);
	assert_string_equal(heard(r), "EOF9 CLOSE9");
	plain(r, SSH_CLOSE, 2);
	dial(r, &third, "never");
	turn(r);
	ssh_mux_cancel(third.dial);
	turn(r);
	r->in_n = 0;
	refused(r, 3, 2, "Connection refused");
	assert_string_equal(heard(r), "");
	assert_int_equal(u.dones + second.dones + third.dones, 0);
	assert_int_equal(ssh_mux_streams(r->mux), 0);
	assert_int_equal(r->endeds, 0);
}

static void dials_wait_for_the_master(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 };

	dial(r, &u, "early");
	turn(r);
	greet(r);
	assert_string_equal(heard(r), "OPEN1:early:80");
	opened(r, 1, 7, 10);
	assert_int_equal(u.dones, 1);
	end_user(&u);
}

static void a_stalled_reader_holds_nobody_up(void **state)
{
	struct rig *r = *state;
	struct user slow = { 0 }, quick = { .credit = 100000 };
	static char big[WINDOW];

	greet(r);
	open_user(r, &slow, 1, 7, 10);
	open_user(r, &quick, 2, 8, 10);
	data(r, 1, big, WINDOW);
	data(r, 2, "now", 3);
	assert_int_equal(slow.n, 0);
	assert_int_equal(quick.n, 3);
	end_user(&slow);
	end_user(&quick);
	(void)heard(r);
}

static void the_last_bytes_have_a_limit(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 };
	struct loop_timer t = { 0 };
	const char *text = "";

	greet(r);
	open_user(r, &u, 1, 7, 1);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"ab", 2), 2);
	assert_string_equal(heard(r), "DATA7:a");
	stream_close(u.s);
	for (int ms = 0; ms < TEST_LIMIT_MS && !*text; ms++) {
		timer_arm(r->l, &t, 1, stop, r->l);
		loop_run(r->l);
		text = heard(r);
	}
	timer_disarm(r->l, &t);
	assert_string_equal(text, "EOF7 CLOSE7");
}

static void signs_of_life_are_answered(void **state)
{
	struct rig *r = *state;
	struct user u = { 0 };
	uint8_t ask[] = { 0,   0,   0,   32,  0,   98,  0,   0,   0,   1,   0,   0,
			  0,   21,  'k', 'e', 'e', 'p', 'a', 'l', 'i', 'v', 'e', '@',
			  'o', 'p', 'e', 'n', 's', 's', 'h', '.', 'c', 'o', 'm', 1 };

	greet(r);
	open_user(r, &u, 1, 7, 10);
	say(r, ask, sizeof(ask));
	assert_string_equal(heard(r), "NO7");
	ask[sizeof(ask) - 1] = 0;
	say(r, ask, sizeof(ask));
	assert_string_equal(heard(r), "");
	packet(r, SSH_EXTENDED_DATA, WORDS(1, 1), "noise", 5); /* counted, not delivered */
	assert_int_equal(u.n, 0);
	packet(r, SSH_OPEN, WORDS(0, 44, 1000, 1000), NULL, 0); /* nobody asked for that */
	assert_string_equal(heard(r), "REFUSED44");
	end_user(&u);
}

static void the_end_of_the_master(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 100 }, waiting = { 0 }, whole = { 0 };
	struct err e;

	greet(r);
	open_user(r, &u, 1, 7, 10);
	open_user(r, &whole, 2, 8, 10);
	data(r, 2, "all of it", 9);
	plain(r, SSH_EOF, 2);
	plain(r, SSH_CLOSE, 2);
	dial(r, &waiting, "host");
	turn(r);
	close(r->fd);
	r->fd = -1;
	turn(r);
	assert_int_equal(r->endeds, 1);
	assert_int_equal(r->why, ERR_CLOSED);
	assert_int_equal(u.closeds, 1);
	assert_int_equal(u.why, ERR_CLOSED);
	assert_int_equal(waiting.dones, 1);
	assert_null(waiting.s);
	assert_null(ssh_mux_dial(r->mux, "host", 80, u_done, &waiting, &e));
	/* what was complete is still delivered, and ends cleanly */
	assert_int_equal(whole.closeds, 0);
	assert_int_equal(r->freeds, 0);
	stream_credit(whole.s, 100);
	turn(r);
	assert_int_equal(whole.n, 9);
	assert_int_equal(whole.eofs, 1);
	assert_int_equal(whole.closeds, 1);
	assert_int_equal(whole.why, ERR_NONE);
	turn(r);
	assert_int_equal(r->freeds, 1);
}

static void strange_masters(void **state)
{
	static const struct {
		uint8_t bytes[24];
		size_t n;
		enum err_code code;
	} rows[] = {
		{ { 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 3 }, 12, ERR_UNSUPPORTED },
		{ { 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 4 }, 12, ERR_PROTO },
		{ { 0, 0, 0, 0 }, 4, ERR_PROTO },
		{ { 0xff, 0xff, 0xff, 0xff }, 4, ERR_PROTO },
		{ { 0, 0, 0, 4, 0, 0, 0, 1 }, 8, ERR_PROTO },
		{ { 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 8, 0x80, 0, 0, 2, 0, 0, 0, 1 },
		  24,
		  ERR_UNSUPPORTED },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		void *one;
		struct rig *r;

		assert_int_equal(setup(&one), 0);
		r = one;
		turn(r);
		say(r, rows[i].bytes, rows[i].n);
		assert_int_equal(r->endeds, 1);
		assert_int_equal(r->readies, 0);
		assert_int_equal(r->why, rows[i].code);
		assert_int_equal(teardown(&one), 0);
	}
}

static void out_of_place(void **state)
{
	static const uint8_t types[] = { SSH_DATA, SSH_EOF, SSH_CLOSE, SSH_WINDOW, SSH_OPENED };
	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		struct user u = { 0 };
		void *one;
		struct rig *r;

		assert_int_equal(setup(&one), 0);
		r = one;
		greet(r);
		if (types[i] == SSH_OPENED)
			open_user(r, &u, 1, 7, 1);
		else
			dial(r, &u, "host");
		turn(r);
		packet(r, types[i], WORDS(1, 1, 1, 1), NULL, 0);
		assert_int_equal(r->endeds, 1);
		assert_int_equal(r->why, ERR_PROTO);
		turn(r);
		assert_int_equal(teardown(&one), 0);
	}
}

static void closing_in_the_middle(void **state)
{
	struct rig *r = *state;
	struct user u = { .credit = 100 };

	greet(r);
	open_user(r, &u, 1, 7, 10);
	u.close_on_data = true;
	data(r, 1, "x", 1);
	assert_int_equal(u.closeds, 1);
	assert_string_equal(heard(r), "EOF7 CLOSE7");
	end_mux(r);
	turn(r);
	assert_int_equal(r->endeds, 0); /* the owner knows */
	assert_int_equal(r->freeds, 1);
}

/* The first loop of a process opens what libuv keeps for good. */
static int warm_up(void **state)
{
	struct loop *l;

	(void)state;
	if (loop_new(&l, NULL) != 0)
		return -1;
	loop_free(l);
	return 0;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_stream_lives_and_ends),
		T(our_close_is_the_last_word),
		T(nothing_follows_a_close),
		T(abort_sends_no_end_of_file),
		T(windows_hold),
		T(too_much_data_ends_all),
		T(writable_after_a_short_write),
		T(a_dial_is_answered),
		T(a_dial_given_up_is_closed_when_answered),
		T(dials_wait_for_the_master),
		T(a_stalled_reader_holds_nobody_up),
		cmocka_unit_test_setup_teardown(the_last_bytes_have_a_limit, setup_short_limit,
						teardown),
		T(signs_of_life_are_answered),
		T(the_end_of_the_master),
		cmocka_unit_test(strange_masters),
		cmocka_unit_test(out_of_place),
		T(closing_in_the_middle),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
