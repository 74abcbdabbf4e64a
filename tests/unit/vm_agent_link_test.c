/*
 * The host's end of the link and the agent as a process of its own, with servers in a third one:
 * what is stalled, stopped, killed or hostile, and what the others notice of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/loop.h"
#include "stream/stream.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/until.h"
#include "tests/unit/vm_apart.h"
#include "vm/conn.h"
#include "vm/link.h"

enum { CHUNK = 64 * 1024, GRANT = 256 * 1024, STREAMS = 72, MUCH = 64 * 1024 * 1024 };

/* ---- one link ---- */

struct fix;
struct flow {
	struct fix *f;
	struct stream *s;
	uint64_t moved, goal;
	bool up, stalled, ended, answered;
	struct err why;
};
struct fix {
	struct loop *l;
	struct vm_conn *c;
	pid_t pid;
	size_t fds;
	char dir[64];
	struct until clock;
	bool (*until)(struct fix *);
	bool lost, hello;
	struct err lost_why;
	struct flow flows[STREAMS];
	size_t count;
	uint64_t held_most, held_last;
	unsigned steady;
};

static uint64_t held(const struct fix *f)
{
	struct cJSON *o = cJSON_CreateObject();
	uint64_t n;

	vm_conn_describe(f->c, o);
	n = (uint64_t)cJSON_GetObjectItem(o, "held_bytes")->valuedouble;
	cJSON_Delete(o);
	return n;
}

static bool is_so(void *arg)
{
	struct fix *f = arg;
	uint64_t n = f->lost ? 0 : held(f);

	f->held_most = n > f->held_most ? n : f->held_most;
	f->steady = n == f->held_last ? f->steady + 1 : 0;
	f->held_last = n;
	return f->until(f);
}

static void run_until(struct fix *f, bool (*until)(struct fix *))
{
	f->until = until;
	until_so(&f->clock, is_so);
}

static bool up(struct fix *f)
{
	return f->lost || vm_conn_network(f->c) != NULL;
}
static bool lost(struct fix *f)
{
	return f->lost;
}
static bool all_answered(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->flows[i].answered)
			return false;
	return true;
}
static bool others_done(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->flows[i].stalled && f->flows[i].moved < f->flows[i].goal)
			return false;
	return true;
}
static bool holds_all_it_will(struct fix *f)
{
	return f->held_last > 0 && f->steady > 100;
}

/* ---- flows ---- */

static void pump(struct flow *w)
{
	static const uint8_t p[CHUNK];
	size_t n;

	while (w->s && w->up && (w->stalled || w->moved < w->goal)) {
		n = stream_write(w->s, p, CHUNK);
		w->moved += n;
		if (n < CHUNK)
			return;
	}
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct flow *w = arg;

	(void)p;
	w->moved += n;
	if (!w->stalled)
		stream_credit(w->s, n);
}
static void on_writable(void *arg)
{
	pump(arg);
}
static void on_closed(void *arg, const struct err *why)
{
	struct flow *w = arg;

	w->s = NULL;
	w->ended = true;
	if (why)
		w->why = *why;
}
static const struct stream_handler flow_handler = { .data = on_data,
						    .writable = on_writable,
						    .closed = on_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct flow *w = arg;

	w->answered = true;
	if (why) {
		w->why = *why;
		return;
	}
	w->s = d->stream;
	stream_attach(w->s, &flow_handler, w);
	if (!w->stalled)
		stream_credit(w->s, GRANT);
	pump(w);
}

static struct flow *dial_to(struct fix *f, const char *host, uint16_t port)
{
	const struct dest to = { .host = host, .port = port };
	struct flow *w = &f->flows[f->count++];

	*w = (struct flow){ .f = f, .goal = MUCH };
	assert_non_null(vm_conn_dial(f->c, VM_USER_CLIENT, &to, 20000, dialed, w, NULL));
	return w;
}

static struct flow *flow_open(struct fix *f, enum server kind, bool stalled)
{
	struct flow *w = dial_to(f, HOST, ports[kind]);

	w->stalled = stalled;
	w->up = kind != SOURCE;
	return w;
}

/* ---- the peer's process ---- */

static void on_hello(void *arg, const struct frame_hello *h)
{
	(void)h;
	((struct fix *)arg)->hello = true;
}
static void on_lost(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->lost = true;
	f->lost_why = *why;
}
static const struct vm_conn_handler owner = { .hello = on_hello, .lost = on_lost };

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open(), .dir = "/tmp/vm_agent_link.XXXXXX" };
	if (!mkdtemp(f.dir) || loop_new(&f.l, &e) != 0)
		return -1;
	until_begin(&f.clock, f.l, TEST_LIMIT_MS, &f);
	*state = &f;
	return 0;
}

static void path_of(const struct fix *f, char *to, size_t n)
{
	(void)snprintf(to, n, "%s/conf", f->dir);
}

static void write_conf(const struct fix *f, const char *path)
{
	FILE *o = fopen(path, "we");

	(void)f;
	assert_non_null(o);
	(void)fprintf(o, "nonce=%064d\ntransport=stdin\nnet=none\naddress=10.0.2.15/24\n", 0);
	(void)fprintf(o, "gateway=10.0.2.2\ndns=10.0.2.3\nlog=warn\n");
	assert_int_equal(fclose(o), 0);
}

static void be_agent(int fd, const char *conf)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The search for leaks at exit can hang while the resolver's threads end. */
	(void)setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
	if (dup2(fd, STDIN_FILENO) == STDIN_FILENO)
		(void)execl(agent, agent, "--conf", conf, (char *)NULL);
	_exit(127);
}

static void begin(struct fix *f, unsigned silent_ms, void (*be)(int fd, const char *conf))
{
	const struct vm_conn_opts o = { .loop = f->l,
					.ping_ms = silent_ms / 4,
					.silent_ms = silent_ms };
	char conf[128];
	struct err e;
	int fd[2];

	path_of(f, conf, sizeof(conf));
	write_conf(f, conf);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	f->pid = fork();
	if (f->pid == 0) {
		close(fd[0]);
		be(fd[1], conf);
	}
	assert_true(f->pid > 0);
	close(fd[1]);
	f->c = vm_conn_new(fd[0], &o, &owner, f, &e);
	assert_non_null(f->c);
	run_until(f, up);
}

static void begin_agent(struct fix *f, unsigned silent_ms)
{
	if (!apart)
		skip();
	begin(f, silent_ms, be_agent);
	assert_false(f->lost);
}

static void wake(int signal)
{
	(void)signal;
}

/* It ends by itself when its link has gone. False: it did not, and was killed. */
static bool ends_by_itself(pid_t pid)
{
	const struct sigaction a = { .sa_handler = wake }; /* without SA_RESTART */
	bool ended;

	(void)kill(pid, SIGCONT);
	(void)sigaction(SIGALRM, &a, NULL);
	(void)alarm(TEST_LIMIT_MS / 1000);
	ended = waitpid(pid, NULL, 0) == pid;
	(void)alarm(0);
	if (!ended) {
		print_error("process %d does not end\n", (int)pid);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return ended;
}

static int teardown(void **state)
{
	struct fix *f = *state;
	char conf[128];
	bool ended;

	vm_conn_free(f->c, NULL);
	for (size_t i = 0; i < f->count; i++)
		if (f->flows[i].s)
			stream_abort(f->flows[i].s);
	until_end(&f->clock);
	loop_free(f->l);
	ended = f->pid <= 0 || ends_by_itself(f->pid);
	path_of(f, conf, sizeof(conf));
	(void)unlink(conf);
	(void)rmdir(f->dir);
	return ended && fds_open() == f->fds ? 0 : -1;
}

/* Kilobytes that the agent has in memory. */
static unsigned long resident(const struct fix *f)
{
	char path[64], line[128];
	unsigned long kib = 0;
	FILE *in;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)f->pid);
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in))
		(void)sscanf(line, "VmRSS: %lu kB", &kib);
	if (in)
		(void)fclose(in);
	return kib;
}

/* ---- tests ---- */

static void readers_that_do_not_read(void **state)
{
	struct fix *f = *state;

	begin_agent(f, 0);
	for (int i = 0; i < STREAMS - 8; i++)
		flow_open(f, SOURCE, true);
	run_until(f, all_answered);
	run_until(f, holds_all_it_will);
	assert_true(f->held_most <= 32 * 1024 * 1024);
	for (int i = 0; i < 3; i++)
		flow_open(f, SOURCE, false);
	run_until(f, others_done);
	assert_false(f->lost);
	assert_true(f->held_most <= 32 * 1024 * 1024);
	for (size_t i = 0; i < STREAMS - 8; i++)
		assert_int_equal(f->flows[i].moved, 0);
	print_message("          held for %d streams: %llu KiB; the agent's RSS: %lu KiB\n",
		      STREAMS - 8, (unsigned long long)f->held_most / 1024, resident(f));
}

static bool readers_have_read(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->flows[i].moved < f->flows[i].goal)
			return false;
	return true;
}

/* They were quick, so that their windows have grown; now they stand. */
static void readers_that_stop(void **state)
{
	struct fix *f = *state;

	begin_agent(f, 0);
	for (int i = 0; i < STREAMS - 8; i++)
		flow_open(f, SOURCE, false)->goal = 2 * 1024 * 1024;
	run_until(f, readers_have_read);
	for (size_t i = 0; i < f->count; i++)
		f->flows[i].stalled = true;
	run_until(f, holds_all_it_will);
	for (int i = 0; i < 3; i++)
		flow_open(f, SOURCE, false);
	run_until(f, others_done);
	assert_false(f->lost);
	assert_true(f->held_most <= 64 * 1024 * 1024);
	print_message("          held for %d streams: %llu KiB; the agent's RSS: %lu KiB\n",
		      STREAMS - 8, (unsigned long long)f->held_most / 1024, resident(f));
}

static void servers_that_do_not_read(void **state)
{
	struct fix *f = *state;
	uint64_t taken[STREAMS];

	begin_agent(f, 0);
	for (int i = 0; i < STREAMS - 8; i++)
		flow_open(f, MUTE, true);
	run_until(f, all_answered);
	for (int i = 0; i < 3; i++)
		flow_open(f, SINK, false);
	run_until(f, others_done);
	assert_false(f->lost);
	for (size_t i = 0; i < STREAMS - 8; i++)
		taken[i] = f->flows[i].moved;
	for (int i = 0; i < 3; i++)
		f->flows[STREAMS - 8 + i].goal *= 2;
	for (int i = 0; i < 3; i++)
		pump(&f->flows[STREAMS - 8 + i]);
	run_until(f, others_done);
	for (size_t i = 0; i < STREAMS - 8; i++) /* what sockets and windows hold, and no more */
		assert_true(f->flows[i].moved < MUCH / 2 && taken[i] > 0);
	print_message("          the agent's RSS: %lu KiB\n", resident(f));
}

static void an_agent_that_hangs(void **state)
{
	struct fix *f = *state;

	begin_agent(f, 3000); /* while it is well it may stall for less */
	flow_open(f, SOURCE, false);
	flow_open(f, SINK, false);
	f->flows[1].stalled = true; /* it writes as long as it may */
	run_until(f, all_answered);
	assert_int_equal(kill(f->pid, SIGSTOP), 0);
	dial_to(f, HOST, ports[SINK]);
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_TIMEOUT);
	for (size_t i = 0; i < 2; i++) {
		assert_true(f->flows[i].ended);
		assert_int_equal(f->flows[i].why.code, ERR_TIMEOUT);
	}
	assert_true(f->flows[2].answered);
	assert_int_equal(f->flows[2].why.code, ERR_TIMEOUT);
}

static void an_agent_that_is_killed(void **state)
{
	struct fix *f = *state;

	begin_agent(f, 0);
	flow_open(f, SOURCE, false);
	flow_open(f, SINK, false);
	flow_open(f, MUTE, true);
	run_until(f, all_answered);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	run_until(f, lost);
	for (size_t i = 0; i < f->count; i++) {
		assert_true(f->flows[i].ended);
		assert_true(f->flows[i].why.code == ERR_CLOSED ||
			    f->flows[i].why.code == ERR_RESET);
	}
}

static void causes_are_told_apart(void **state)
{
	struct fix *f = *state;
	uint16_t closed = 0;

	begin_agent(f, 0);
	close(listen_on(&closed));
	dial_to(f, HOST, closed);
	dial_to(f, "198.51.100.1", 80);
	dial_to(f, "localhost", 80);
	dial_to(f, "no-such-name.invalid", 80);
	run_until(f, all_answered);
	assert_int_equal(f->flows[0].why.code, ERR_REFUSED);
	assert_int_equal(f->flows[1].why.code, ERR_NETUNREACH);
	assert_int_equal(f->flows[2].why.code, ERR_DENIED);
	assert_int_equal(f->flows[3].why.code, ERR_RESOLVE);
	assert_false(f->lost);
}

/* ---- peers that are not the agent ---- */

static void kick_nobody(void *arg)
{
	(void)arg;
}

static void say_hello(int fd)
{
	static const struct link_handler h = { .kick = kick_nobody };
	const struct link_opts o = { .role = LINK_GUEST };
	const struct frame_hello hello = { .agent = "not it" };
	uint8_t p[8192];
	struct link *l = link_new(&o, &h, NULL, NULL);
	size_t n;

	link_hello(l, &hello);
	n = link_pull(l, p, sizeof(p));
	if (write(fd, p, n) != (ssize_t)n || read(fd, p, sizeof(p)) <= 0)
		_exit(1);
	link_break(l, NULL);
	link_run(l);
	link_free(l);
}

static void be_noise(int fd, const char *conf)
{
	uint8_t p[4096];
	unsigned x = 2463534242u;

	(void)conf;
	(void)signal(SIGPIPE, SIG_IGN);
	say_hello(fd);
	do
		for (size_t i = 0; i < sizeof(p); i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			p[i] = (uint8_t)x;
		}
	while (write(fd, p, sizeof(p)) > 0);
	_exit(0);
}

static void a_guest_that_sends_noise(void **state)
{
	struct fix *f = *state;

	begin(f, 0, be_noise);
	run_until(f, lost);
	assert_true(f->hello);
	assert_int_equal(f->lost_why.code, ERR_PROTO);
}

/* Frames that are right, without end, and nothing read. */
static void be_flood(int fd, const char *conf)
{
	uint8_t p[FRAME_HEAD + FRAME_CONTROL_MAX];
	uint8_t out[CHUNK];
	struct frame_network n = { .up = true, .prefix = 24 };
	size_t len, used = 0;

	(void)conf;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)addr_from_literal("10.0.2.15", 0, &n.address);
	say_hello(fd);
	len = frame_network_write(p + FRAME_HEAD, &n);
	frame_head_write(p, FRAME_NETWORK, (uint32_t)len, 0);
	len += FRAME_HEAD;
	p[len] = FRAME_LOG;
	frame_head_write(p + len, FRAME_LOG, 12, 0);
	memcpy(p + len + FRAME_HEAD, "\3flood flood", 12);
	len += FRAME_HEAD + 12;
	for (; used + len <= sizeof(out); used += len)
		memcpy(out + used, p, len);
	while (write(fd, out, used) > 0)
		;
	_exit(0);
}

static void a_guest_that_floods_and_does_not_listen(void **state)
{
	struct fix *f = *state;

	begin(f, 1500, be_flood); /* it stalls for less: silent it never is */
	run_until(f, lost);
	assert_int_equal(f->lost_why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->lost_why.msg, "ping"));
}

/* ---- how fast ---- */

static void throughput(void **state)
{
	struct fix *f = *state;
	const char *mib = getenv("VM_LINK_MIB");
	uint64_t ms;

	if (!mib) {
		skip();
		return;
	}
	begin_agent(f, 0);
	for (int up_ = 0; up_ < 2; up_++) {
		f->count = 0;
		ms = clock_mono_ms(loop_clock(f->l));
		flow_open(f, up_ ? SINK : SOURCE, false)->goal = strtoull(mib, NULL, 10) << 20;
		run_until(f, others_done);
		ms = clock_mono_ms(loop_clock(f->l)) - ms;
		print_message("          %s: %.0f MB/s\n", up_ ? "up" : "down",
			      (double)f->flows[0].moved / 1000 / (double)(ms ? ms : 1));
		assert_non_null(f->flows[0].s);
		stream_abort(f->flows[0].s);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(readers_that_do_not_read),
		T(readers_that_stop),
		T(servers_that_do_not_read),
		T(an_agent_that_hangs),
		T(an_agent_that_is_killed),
		T(causes_are_told_apart),
		T(a_guest_that_sends_noise),
		T(a_guest_that_floods_and_does_not_listen),
		T(throughput),
	};
	struct loop *first; /* the libraries' own descriptors stay */
	int failed;

	find_agent(argc > 1 ? argv[1] : argv[0]);
	apart = go_apart();
	if (log_set_level("error", NULL) != 0 || loop_new(&first, NULL) != 0)
		return 1;
	loop_free(first);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	apart_end();
	return failed;
}
