/* The host's end of the link, with a guest in the same process. */
#include "tests/unit/vm_guest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"
#include "tests/support/until.h"
#include "vm/conn.h"

struct fix {
	struct loop *l;
	struct vm_conn *c;
	struct vm_conn_opts opts;
	struct frame_hello hello;
	struct guest g;
	size_t fds;
	struct until clock;
	struct loop_post check;
	bool (*until)(struct fix *);
	bool in_call;
	uint64_t since_ms, looked_ms, stood_ms; /* the last: the longest time between two looks */
	int hellos, networks, losses;
	struct err lost_why;
	bool free_when_lost;
	/* dials */
	int dones;
	struct err why;
	char address[ADDR_TEXT];
	struct stream *s;
	struct err stream_why;
	bool stream_closed, stream_broke, eof;
	struct buf got;
	bool refuse_all;
	enum vm_user user;
	int asked;
};

static bool lost(struct fix *f)
{
	return f->losses > 0;
}
static bool up(struct fix *f)
{
	return vm_conn_network(f->c) != NULL;
}
static bool done(struct fix *f)
{
	return f->dones > 0;
}
static bool gone(struct fix *f)
{
	return f->stream_closed;
}
static bool at_eof(struct fix *f)
{
	return f->eof;
}

/* ---- running the loop until something is so ---- */

static bool is_so(void *arg)
{
	struct fix *f = arg;

	return f->until(f);
}

static void run_until(struct fix *f, bool (*until)(struct fix *))
{
	f->until = until;
	until_so(&f->clock, is_so);
}

/* ---- the conn's owner ---- */

static void on_hello(void *arg, const struct frame_hello *h)
{
	struct fix *f = arg;

	f->hellos++;
	assert_string_equal(h->agent, "test 1");
}

static void on_network(void *arg, const struct frame_network *n)
{
	(void)n;
	((struct fix *)arg)->networks++;
}

static void on_lost(void *arg, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->losses++;
	f->lost_why = *why;
	if (f->free_when_lost) {
		vm_conn_free(f->c, why);
		f->c = NULL;
	}
}
static const struct vm_conn_handler handler = { .hello = on_hello,
						.network = on_network,
						.lost = on_lost };

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	buf_init(&f.got, 16 * 1024 * 1024);
	if (loop_new(&f.l, &e) != 0)
		return -1;
	until_begin(&f.clock, f.l, TEST_LIMIT_MS, &f);
	memset(f.opts.nonce, 0x5a, sizeof(f.opts.nonce));
	f.opts.loop = f.l;
	f.hello = (struct frame_hello){
		.least = 1, .most = 1, .caps = FRAME_CAP_IPV6, .agent = "test 1"
	};
	memset(f.hello.nonce, 0x5a, sizeof(f.hello.nonce));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	vm_conn_free(f->c, NULL);
	if (f->g.link)
		guest_end(&f->g);
	until_end(&f->clock);
	loop_free(f->l);
	buf_free(&f->got);
	return fds_open() == f->fds ? 0 : -1;
}

static void begin(struct fix *f)
{
	struct err e;
	int fd[2];

	unix_pair(fd);
	f->in_call = true;
	f->c = vm_conn_new(fd[0], &f->opts, &handler, f, &e);
	f->in_call = false;
	assert_non_null(f->c);
	guest_start(&f->g, f->l, fd[1], &f->hello);
}

static void begin_up(struct fix *f)
{
	begin(f);
	guest_network(&f->g, true);
	run_until(f, up);
}

/* ---- dials ---- */

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct fix *f = arg;

	assert_int_equal(buf_add(&f->got, p, n, NULL), 0);
	stream_credit(f->s, n);
}
static void on_eof(void *arg)
{
	((struct fix *)arg)->eof = true;
}
static void on_closed(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->stream_closed = true;
	f->s = NULL;
	if (why) {
		f->stream_broke = true;
		f->stream_why = *why;
	}
}
static const struct stream_handler stream_handler = { .data = on_data,
						      .eof = on_eof,
						      .closed = on_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	assert_true(!d != !why);
	f->dones++;
	if (why)
		f->why = *why;
	if (!d)
		return;
	f->s = d->stream;
	(void)snprintf(f->address, sizeof(f->address), "%s", d->address);
	stream_attach(f->s, &stream_handler, f);
	stream_credit(f->s, 65536);
}

static struct vm_dial *go_to(struct fix *f, struct dest to, unsigned limit_ms, struct err *e)
{
	struct vm_dial *d;

	f->in_call = true;
	d = vm_conn_dial(f->c, f->user, &to, limit_ms, dialed, f, e);
	f->in_call = false;
	return d;
}

static struct vm_dial *go(struct fix *f, const char *host)
{
	struct vm_dial *d = go_to(f, (struct dest){ .host = host, .port = 443 }, 20000, NULL);

	assert_non_null(d);
	return d;
}

/* ---- HELLO and network ---- */

static void hello_then_network(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	assert_int_equal(f->hellos, 1);
	assert_int_equal(f->networks, 1);
	assert_int_equal(f->losses, 0);
	assert_int_equal(vm_conn_network(f->c)->prefix, 24);
}

static void another_boots_nonce(void **state)
{
	struct fix *f = *state;

	f->hello.nonce[FRAME_NONCE - 1] ^= 1;
	begin(f);
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_PROTO);
	assert_int_equal(f->hellos, 0);
}

static void no_version_in_common(void **state)
{
	struct fix *f = *state;

	f->hello.least = 2;
	f->hello.most = 3;
	begin(f);
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_UNSUPPORTED);
	assert_int_equal(f->hellos, 0);
}

static void a_guest_that_never_speaks(void **state)
{
	struct fix *f = *state;

	f->opts.hello_ms = 30;
	begin(f);
	f->g.hangs = true;
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_TIMEOUT);
}

static void a_guest_without_address(void **state)
{
	struct fix *f = *state;

	f->opts.network_ms = 1500; /* its words come within it */
	begin(f);
	guest_network(&f->g, false);
	assert_non_null(go_to(f, (struct dest){ .host = "two.test", .port = 1 }, 20000, NULL));
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->lost_why.msg, "no DHCP server answers"));
	assert_int_equal(f->dones, 1);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
}

static void garbage(void **state)
{
	struct fix *f = *state;
	struct err e;
	int fd[2];

	unix_pair(fd);
	f->c = vm_conn_new(fd[0], &f->opts, &handler, f, &e);
	assert_int_equal(write(fd[1], "\177ELF and so on and on", 20), 20);
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_PROTO);
	close(fd[1]);
}

static void a_guest_that_hangs(void **state)
{
	struct fix *f = *state;

	f->opts.ping_ms = 100;
	f->opts.silent_ms = 1500; /* the dial is made within it */
	begin_up(f);
	go(f, "two.test");
	run_until(f, done);
	assert_non_null(f->s);
	f->g.hangs = true;
	guest_flush(&f->g);
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_TIMEOUT);
	assert_true(f->stream_broke);
	assert_int_equal(f->stream_why.code, ERR_TIMEOUT);
}

/* A machine that stalls makes a guest on the same loop silent. */
enum { SILENT_MS = 1500 };

static bool two_limits_later(struct fix *f)
{
	uint64_t now = loop_now_ms(f->l);

	if (now - f->looked_ms > f->stood_ms)
		f->stood_ms = now - f->looked_ms;
	f->looked_ms = now;
	return lost(f) || (up(f) && now - f->since_ms > 2 * SILENT_MS);
}

/* Until the link is lost or twice the limit has passed. */
static void be_quiet(struct fix *f)
{
	f->since_ms = f->looked_ms = loop_now_ms(f->l);
	f->stood_ms = 0;
	begin(f);
	guest_network(&f->g, true);
	run_until(f, two_limits_later);
}

static void pings_keep_a_quiet_link(void **state)
{
	struct fix *f = *state;

	f->opts.ping_ms = 20;
	f->opts.silent_ms = SILENT_MS; /* twice that passes */
	be_quiet(f);
	for (int tries = 1; lost(f) && f->stood_ms > SILENT_MS / 2; tries++) {
		assert_true(tries < 100); /* the machine stood still, and the guest with it */
		vm_conn_free(f->c, NULL);
		guest_end(&f->g);
		f->losses = 0;
		be_quiet(f);
	}
	assert_int_equal(f->losses, 0);
}

static void the_guest_ends_it(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	go(f, "two.test");
	run_until(f, done);
	f->dones = 0;
	go(f, "silent.test");
	guest_hang_up(&f->g);
	f->free_when_lost = true;
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_CLOSED);
	assert_true(f->stream_closed);
	assert_int_equal(f->dones, 1);
	assert_int_equal(f->why.code, ERR_CLOSED);
}

static void a_lost_link_takes_no_dials(void **state)
{
	struct fix *f = *state;
	struct err e;

	begin_up(f);
	guest_hang_up(&f->g);
	run_until(f, lost);
	assert_null(go_to(f, (struct dest){ .host = "two.test", .port = 1 }, 100, &e));
	assert_int_equal(e.code, ERR_CLOSED);
	assert_int_equal(f->losses, 1);
}

static bool was_told_to_stop(struct fix *f)
{
	return f->g.shutdowns > 0;
}

static void power_off(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	vm_conn_shutdown(f->c);
	run_until(f, was_told_to_stop);
	assert_int_equal(f->losses, 0);
}

static void freed_with_everything_under_way(void **state)
{
	struct fix *f = *state;
	struct err why;

	begin_up(f);
	go(f, "two.test");
	run_until(f, done);
	go(f, "silent.test");
	f->dones = 0;
	(void)err_set(&why, ERR_TARGET, "enough");
	f->in_call = true;
	vm_conn_free(f->c, &why);
	f->in_call = false;
	f->c = NULL;
	assert_int_equal(f->dones, 0);
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_TARGET);
	run_until(f, gone);
	assert_int_equal(f->stream_why.code, ERR_TARGET);
	assert_int_equal(f->losses, 0);
}

/* ---- dials ---- */

static void a_name(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	go(f, "two.test");
	run_until(f, done);
	assert_string_equal(f->g.name, "two.test");
	assert_int_equal(f->g.asked.count, 2);
	assert_int_equal(f->g.asked.flags, 0);
	assert_int_equal(addr_port(&f->g.asked.list[0]), 443);
	assert_string_equal(f->address, "192.0.2.7:443");
	assert_int_equal(stream_write(f->s, (const uint8_t *)"hello", 5), 5);
	stream_shutdown(f->s);
	run_until(f, at_eof);
	assert_int_equal(buf_len(&f->got), 5);
	assert_memory_equal(buf_ptr(&f->got), "hello", 5);
	stream_close(f->s);
	run_until(f, gone);
	assert_false(f->stream_broke);
}

static void a_literal_is_not_resolved(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	go(f, "192.0.2.9");
	run_until(f, done);
	assert_int_equal(f->g.resolves, 0);
	assert_int_equal(f->g.opens, 1);
	assert_string_equal(f->address, "192.0.2.9:443");
}

static bool all_are_open(struct fix *f)
{
	return f->g.opens == 8;
}

/* Whatever clients do, what awsocks says to AWS has streams. */
static void clients_leave_room_for_aws(void **state)
{
	const struct dest to = { .host = "192.0.2.9", .port = 443 };
	const struct dest name = { .host = "silent.test", .port = 443 };
	struct fix *f = *state;
	struct vm_dial *d[8];
	struct err e;

	f->hello.streams_max = 8; /* a quarter of them is kept */
	begin_up(f);
	f->g.mode = GUEST_WAITS;
	for (int i = 0; i < 6; i++) {
		d[i] = go_to(f, to, 20000, &e);
		assert_non_null(d[i]);
	}
	assert_null(go_to(f, to, 20000, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(e.msg,
			    "the VM has 6 streams, no more are allowed: the other 2 are AWS's");
	assert_null(go_to(f, name, 20000, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	f->user = VM_USER_AWS;
	for (int i = 6; i < 8; i++) {
		d[i] = go_to(f, to, 20000, &e);
		assert_non_null(d[i]);
	}
	assert_null(go_to(f, to, 20000, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	run_until(f, all_are_open);
	for (int i = 0; i < 8; i++)
		vm_dial_cancel(d[i]);
	assert_int_equal(f->dones, 0);
}

static void only_what_passed_is_opened(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	go(f, "mixed.test");
	run_until(f, done);
	assert_int_equal(f->g.asked.count, 1);
	assert_string_equal(f->address, "192.0.2.7:443");
}

static void nothing_passed(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	go(f, "bad.test");
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_DENIED);
	assert_int_equal(f->g.opens, 0);
}

static void literals_that_nobody_may_reach(void **state)
{
	static const char *const hosts[] = { "10.0.2.2",        "10.0.2.3",        "10.0.2.15",
					     "127.0.0.1",       "169.254.169.254", "::1",
					     "::ffff:10.0.2.2", "10.0.2.77" };
	struct fix *f = *state;
	struct err e;

	begin_up(f);
	for (size_t i = 0; i < COUNT(hosts); i++) {
		assert_null(go_to(f, (struct dest){ .host = hosts[i], .port = 80 }, 100, &e));
		assert_int_equal(e.code, ERR_DENIED);
	}
	assert_int_equal(f->g.opens, 0);
}

static void siblings_by_a_rule(void **state)
{
	struct fix *f = *state;
	struct dest to = { .host = "10.0.2.77", .port = 80, .host_allowed = true };
	struct err e;

	begin_up(f);
	assert_non_null(go_to(f, to, 20000, &e));
	run_until(f, done);
	assert_int_equal(f->g.asked.flags, FRAME_OPEN_SIBLINGS);
	to.host = "10.0.2.2";
	assert_null(go_to(f, to, 20000, &e));
	assert_int_equal(e.code, ERR_DENIED);
}

static void no_siblings_behind_a_nat_of_its_own(void **state)
{
	struct fix *f = *state;
	struct dest to = { .host = "10.0.2.77", .port = 80, .host_allowed = true };
	struct err e;

	f->opts.alone = true;
	begin_up(f);
	assert_null(go_to(f, to, 20000, &e));
	assert_int_equal(e.code, ERR_DENIED);
}

/* What stands in QEMU's network is known here, and not by the guest's word. */
static void a_guest_that_lies_about_its_network(void **state)
{
	static const char *const hosts[] = { "10.0.2.2", "10.0.2.77", "::ffff:10.0.2.2",
					     "64:ff9b::a00:202" };
	struct frame_network n = { .up = true, .prefix = 32 };
	struct fix *f = *state;
	struct err e;

	f->opts.alone = true;
	begin(f);
	assert_true(addr_from_literal("192.0.2.200", 0, &n.address));
	link_network(f->g.link, &n);
	run_until(f, up);
	for (size_t i = 0; i < COUNT(hosts); i++) {
		assert_null(go_to(f, (struct dest){ .host = hosts[i], .port = 80 }, 100, &e));
		assert_int_equal(e.code, ERR_DENIED);
	}
	assert_int_equal(f->g.opens, 0);
	go(f, "192.0.2.9");
	run_until(f, done);
	assert_non_null(f->s);
}

static bool ask(void *arg, const struct addr *to, struct err *e)
{
	struct fix *f = arg;

	(void)to;
	f->asked++;
	if (f->refuse_all)
		(void)err_set(e, ERR_DENIED, "by the guard");
	return !f->refuse_all;
}

static void the_guard_of_the_listener_is_asked(void **state)
{
	struct fix *f = *state;
	const struct dest to = { .host = "two.test", .port = 1, .allow = ask, .allow_arg = f };

	begin_up(f);
	f->refuse_all = true;
	assert_non_null(go_to(f, to, 20000, NULL));
	run_until(f, done);
	assert_int_equal(f->asked, 2);
	assert_int_equal(f->why.code, ERR_DENIED);
	assert_int_equal(f->g.opens, 0);
}

static void causes(void **state)
{
	static const struct {
		uint8_t cause;
		enum err_code code;
	} tries[] = {
		{ FRAME_CAUSE_REFUSED, ERR_REFUSED },
		{ FRAME_CAUSE_NETUNREACH, ERR_NETUNREACH },
		{ FRAME_CAUSE_HOSTUNREACH, ERR_HOSTUNREACH },
		{ FRAME_CAUSE_TIMEOUT, ERR_TIMEOUT },
		{ FRAME_CAUSE_NO_NAME, ERR_RESOLVE },
		{ FRAME_CAUSE_FORBIDDEN, ERR_DENIED },
		{ FRAME_CAUSE_LIMIT, ERR_LIMIT },
	};
	struct fix *f = *state;

	begin_up(f);
	f->g.mode = GUEST_REFUSES;
	for (size_t i = 0; i < COUNT(tries); i++) {
		f->g.cause = tries[i].cause;
		f->dones = 0;
		go(f, i % 2 ? "192.0.2.7" : "no.test");
		run_until(f, done);
		assert_int_equal(f->why.code, tries[i].code);
		if (i % 2) /* no terminal's commands, and UTF-8 */
			assert_non_null(strstr(f->why.msg, "so it is ???"));
	}
	assert_int_equal(f->losses, 0);
}

static bool told_of_network(struct fix *f)
{
	return f->networks > 0;
}

static void the_guests_words_are_shown_as_ascii(void **state)
{
	struct frame_network down = { .why = "no \xc2\x9b address" };
	struct fix *f = *state;
	struct cJSON *o;

	begin(f);
	link_network(f->g.link, &down);
	link_log(f->g.link, 1, "\xff\xfe");
	run_until(f, told_of_network);
	link_goodbye(f->g.link, "bye \xe2\x82\xff");
	run_until(f, lost);
	assert_non_null(strstr(f->lost_why.msg, "bye ???"));
	o = cJSON_CreateObject();
	vm_conn_describe(f->c, o);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(o, "network_reason")),
			    "no ?? address");
	cJSON_Delete(o);
}

static void a_guest_that_lies(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	f->g.mode = GUEST_LIES;
	go(f, "two.test");
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_PROTO);
	assert_int_equal(f->dones, 1);
	assert_null(f->s);
}

static bool both_done(struct fix *f)
{
	return f->dones == 2;
}

static void a_dial_waits_for_the_network(void **state)
{
	struct fix *f = *state;

	begin(f);
	go(f, "two.test");
	go(f, "127.0.0.1"); /* judged when it is known where the VM is */
	guest_network(&f->g, true);
	run_until(f, both_done);
	assert_int_equal(f->why.code, ERR_DENIED);
	assert_string_equal(f->address, "192.0.2.7:443");
}

static void limits(void **state)
{
	struct fix *f = *state;

	begin_up(f);
	f->g.mode = GUEST_WAITS;
	assert_non_null(go_to(f, (struct dest){ .host = "silent.test", .port = 1 }, 30, NULL));
	assert_non_null(go_to(f, (struct dest){ .host = "two.test", .port = 1 }, 30, NULL));
	run_until(f, both_done);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_int_equal(f->losses, 0);
}

static bool taken_back(struct fix *f)
{
	return f->g.taken_back == 2;
}

static bool both_asked(struct fix *f)
{
	return f->g.resolves == 2 && f->g.opens == 1;
}

static void cancelled(void **state)
{
	struct fix *f = *state;
	struct vm_dial *a, *b;

	begin_up(f);
	f->g.mode = GUEST_WAITS;
	a = go(f, "silent.test");
	b = go(f, "two.test");
	run_until(f, both_asked);
	vm_dial_cancel(a);
	vm_dial_cancel(b);
	run_until(f, taken_back);
	assert_int_equal(f->dones, 0);
}

static void a_name_that_is_too_long(void **state)
{
	struct fix *f = *state;
	char name[FRAME_NAME_MAX + 2];
	struct err e;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	begin_up(f);
	assert_null(go_to(f, (struct dest){ .host = name, .port = 1 }, 100, &e));
	assert_int_equal(e.code, ERR_RESOLVE);
}

/* ---- the rest ---- */

static void described(void **state)
{
	struct fix *f = *state;
	struct cJSON *o = cJSON_CreateObject();
	char *text;

	begin_up(f);
	vm_conn_describe(f->c, o);
	text = cJSON_PrintUnformatted(o);
	assert_non_null(strstr(text, "\"address\":\"10.0.2.15\""));
	assert_non_null(strstr(text, "\"dns\":[\"10.0.2.3\"]"));
	assert_non_null(strstr(text, "\"agent\":\"test 1\""));
	cJSON_free(text);
	cJSON_Delete(o);
}

static void captured(void **state)
{
	char path[] = "/tmp/vm_conn_test.XXXXXX", text[4096];
	struct fix *f = *state;
	int fd = mkstemp(path);
	ssize_t n;

	assert_true(fd >= 0);
	f->opts.capture = path;
	begin_up(f);
	go(f, "two.test");
	run_until(f, done);
	stream_write(f->s, (const uint8_t *)"needle", 6);
	stream_shutdown(f->s);
	run_until(f, at_eof);
	n = read(fd, text, sizeof(text));
	assert_true(n > 0);
	assert_non_null(memmem(text, (size_t)n, "two.test", 8));
	assert_non_null(memmem(text, (size_t)n, "needle", 6));
	assert_non_null(memmem(text, (size_t)n, "test 1", 6));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(hello_then_network),
		T(another_boots_nonce),
		T(no_version_in_common),
		T(a_guest_that_never_speaks),
		T(a_guest_without_address),
		T(garbage),
		T(a_guest_that_hangs),
		T(pings_keep_a_quiet_link),
		T(the_guest_ends_it),
		T(a_lost_link_takes_no_dials),
		T(power_off),
		T(freed_with_everything_under_way),
		T(a_name),
		T(a_literal_is_not_resolved),
		T(clients_leave_room_for_aws),
		T(only_what_passed_is_opened),
		T(nothing_passed),
		T(literals_that_nobody_may_reach),
		T(siblings_by_a_rule),
		T(no_siblings_behind_a_nat_of_its_own),
		T(a_guest_that_lies_about_its_network),
		T(the_guard_of_the_listener_is_asked),
		T(causes),
		T(the_guests_words_are_shown_as_ascii),
		T(a_guest_that_lies),
		T(a_dial_waits_for_the_network),
		T(limits),
		T(cancelled),
		T(a_name_that_is_too_long),
		T(described),
		T(captured),
	};
	struct loop *first; /* the libraries' own descriptors stay */

	if (log_set_level("error", NULL) != 0 || loop_new(&first, NULL) != 0)
		return 1;
	loop_free(first);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
