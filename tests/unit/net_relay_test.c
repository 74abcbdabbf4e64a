/*
 * Relays between sockets: the descriptor path (splice or copy, as built) and
 * stream/relay.c over the same sockets. The two peers of a tunnel are threads
 * with blocking sockets, each running a script; the loop runs here.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop_impl.h"
#include "net/relay.h"
#include "net/sock_relay.h"
#include "net/tcp.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"
#include "tests/support/until.h"

enum { MIB = 1024 * 1024, CLIENT = 0, REMOTE = 1 };

/* What a peer does; the first difference from what it expects is kept. */
struct peer {
	int fd;
	pthread_t reader, writer;
	uint64_t send, expect; /* bytes */
	uint64_t seed_out, seed_in;
	size_t chunk;          /* largest write and read */
	bool end;              /* half-close after the last byte sent */
	bool answer_after_end; /* send only when the other's direction has ended */
	atomic_bool saw_end;   /* clean end of the other's direction */
	atomic_int saw_errno;
	atomic_bool wrong;
	atomic_uint_fast64_t got, sent;
};

struct tunnel {
	struct peer peer[2];
	struct net_relay *relay;
	struct relay *streams;
	struct fix *f;
	uint64_t up, down;
	bool done;
	enum err_code why;
};

struct fix {
	struct loop *l;
	bool generic;
	size_t fds, running;
	struct loop_timer limit;
	bool late;
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	f->late = true;
	loop_stop(f->l);
}

static int setup_mode(void **state, bool generic)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open(), .generic = generic };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return 0;
}
static int setup_sockets(void **state)
{
	return setup_mode(state, false);
}
static int setup_streams(void **state)
{
	return setup_mode(state, true);
}
static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

/* ---- peers ---- */

static size_t chunk_of(struct peer *p, unsigned *seed)
{
	return p->chunk > 1 ? 1 + (size_t)rand_r(seed) % p->chunk : 1;
}

static void *write_script(void *arg)
{
	struct peer *p = arg;
	uint8_t *buf = malloc(p->chunk);
	unsigned seed = (unsigned)p->seed_out;
	uint64_t at = 0;

	while (at < p->send) {
		size_t n = chunk_of(p, &seed);
		ssize_t sent;

		if (n > p->send - at)
			n = (size_t)(p->send - at);
		pattern_fill(p->seed_out, at, buf, n);
		sent = send(p->fd, buf, n, MSG_NOSIGNAL);
		if (sent < 0)
			break;
		at += (uint64_t)sent;
		atomic_store(&p->sent, at);
	}
	if (p->end)
		shutdown(p->fd, SHUT_WR);
	free(buf);
	return NULL;
}

static void *read_script(void *arg)
{
	struct peer *p = arg;
	uint8_t *buf = malloc(p->chunk);
	unsigned seed = (unsigned)p->seed_in;
	uint64_t at = 0;
	ssize_t n;

	while ((n = recv(p->fd, buf, chunk_of(p, &seed), 0)) > 0) {
		if (!pattern_is(p->seed_in, at, buf, (size_t)n))
			atomic_store(&p->wrong, true);
		at += (uint64_t)n;
		atomic_store(&p->got, at);
	}
	if (n < 0)
		atomic_store(&p->saw_errno, errno);
	else
		atomic_store(&p->saw_end, true);
	free(buf);
	if (p->answer_after_end)
		write_script(p);
	return NULL;
}

/* ---- tunnels ---- */

static void relayed(void *arg, const struct relay_result *r)
{
	struct tunnel *t = arg;

	assert_false(t->done);
	t->done = true;
	t->up = r->up;
	t->down = r->down;
	t->why = r->why ? r->why->code : ERR_NONE;
	if (--t->f->running == 0)
		loop_stop(t->f->l);
}

/* Of two pairs of sockets; the relay has the second of each. */
static void tunnel_of(struct fix *f, struct tunnel *t, const int a[2], const int b[2],
		      const uint8_t *early, size_t n)
{
	struct stream *client, *remote;
	struct err e;

	*t = (struct tunnel){ .f = f };
	t->peer[CLIENT] = (struct peer){ .fd = a[0], .seed_out = 1, .seed_in = 2, .chunk = 100000 };
	t->peer[REMOTE] = (struct peer){ .fd = b[0], .seed_out = 2, .seed_in = 1, .chunk = 100000 };
	client = tcp_stream_new(f->l, a[1], &e);
	remote = tcp_stream_new(f->l, b[1], &e);
	assert_non_null(client);
	assert_non_null(remote);
	if (f->generic)
		assert_non_null(t->streams = relay_start(client, remote, early, n, relayed, t));
	else
		assert_non_null(
			t->relay = net_relay_start(f->l, client, remote, early, n, relayed, t));
	f->running++;
}

static void tunnel_open(struct fix *f, struct tunnel *t, const uint8_t *early, size_t n)
{
	int a[2], b[2];

	pair_open(a);
	pair_open(b);
	tunnel_of(f, t, a, b, early, n);
}

static void peers_start(struct tunnel *t)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct peer *p = &t->peer[i];

		pthread_create(&p->reader, NULL, read_script, p);
		if (!p->answer_after_end)
			pthread_create(&p->writer, NULL, write_script, p);
	}
}

static void peers_join(struct tunnel *t)
{
	int i;

	for (i = 0; i < 2; i++) {
		pthread_join(t->peer[i].reader, NULL);
		if (!t->peer[i].answer_after_end)
			pthread_join(t->peer[i].writer, NULL);
		close(t->peer[i].fd);
		assert_false(t->peer[i].wrong);
	}
}

static void expect_whole(struct tunnel *t)
{
	assert_true(t->done);
	assert_int_equal(t->why, ERR_NONE);
	assert_int_equal(t->up, t->peer[CLIENT].send);
	assert_int_equal(t->down, t->peer[REMOTE].send);
	assert_int_equal(t->peer[CLIENT].got, t->peer[REMOTE].send);
	assert_int_equal(t->peer[REMOTE].got, t->peer[CLIENT].send);
	assert_true(t->peer[CLIENT].saw_end);
	assert_true(t->peer[REMOTE].saw_end);
}

/* ---- tests ---- */

static void transfer(struct fix *f, uint64_t up, uint64_t down, size_t client_chunk,
		     size_t remote_chunk)
{
	struct tunnel t;

	tunnel_open(f, &t, NULL, 0);
	t.peer[CLIENT].send = up;
	t.peer[REMOTE].send = down;
	t.peer[CLIENT].chunk = client_chunk;
	t.peer[REMOTE].chunk = remote_chunk;
	t.peer[CLIENT].end = t.peer[REMOTE].end = true;
	peers_start(&t);
	loop_run(f->l);
	assert_false(f->late);
	peers_join(&t);
	expect_whole(&t);
}

/* valgrind runs fifty times slower. */
static uint64_t big(uint64_t n)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload") ? n / 16 : n;
}

static void big_transfer_is_exact_both_ways(void **state)
{
	transfer(*state, big(64 * MIB), big(64 * MIB), 200000, 70000);
}
static void transfer_in_small_pieces(void **state)
{
	transfer(*state, 50000, 300000, 7, 100);
}
static void empty_directions(void **state)
{
	transfer(*state, 0, 0, 10, 10);
	transfer(*state, 1, 0, 10, 10);
	transfer(*state, 0, 1, 10, 10);
}
static void one_way_bulk(void **state)
{
	transfer(*state, 0, big(32 * MIB), 1000000, 1000000);
	transfer(*state, big(32 * MIB), 0, 1000000, 1000000);
}

static void answer_after_half_close(void **state)
{
	int asker;

	for (asker = CLIENT; asker <= REMOTE; asker++) {
		struct tunnel t;

		tunnel_open(*state, &t, NULL, 0);
		t.peer[asker].send = 300000;
		t.peer[asker].end = true;
		t.peer[!asker].send = 2 * MIB;
		t.peer[!asker].answer_after_end = true;
		t.peer[!asker].end = true;
		peers_start(&t);
		loop_run(t.f->l);
		assert_false(t.f->late);
		peers_join(&t);
		expect_whole(&t);
	}
}

static void early_bytes_come_first(void **state)
{
	static uint8_t early[RELAY_WINDOW];
	static const size_t sizes[] = { 1, 100, sizeof(early) };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct tunnel t;
		uint8_t rest[1000];

		pattern_fill(1, 0, early, sizes[i]);
		pattern_fill(1, sizes[i], rest, sizeof(rest));
		tunnel_open(*state, &t, early, sizes[i]);
		assert_int_equal(send(t.peer[CLIENT].fd, rest, sizeof(rest), 0), sizeof(rest));
		t.peer[CLIENT].end = t.peer[REMOTE].end = true;
		peers_start(&t);
		loop_run(t.f->l);
		peers_join(&t);
		assert_int_equal(t.peer[REMOTE].got, sizes[i] + sizeof(rest));
		assert_int_equal(t.up, sizes[i] + sizeof(rest));
	}
}

static void reset_is_passed_on(void **state)
{
	int who;

	for (who = CLIENT; who <= REMOTE; who++) {
		struct tunnel t;
		char c;

		tunnel_open(*state, &t, NULL, 0);
		sock_reset(t.peer[who].fd);
		loop_run(t.f->l);
		assert_false(t.f->late);
		assert_int_equal(t.why, ERR_RESET);
		assert_int_equal(recv(t.peer[!who].fd, &c, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(t.peer[!who].fd);
	}
}

/* The remote peer can read what there is to come, its end included. */
static bool end_has_come(void *arg)
{
	char c;

	return recv(((struct tunnel *)arg)->peer[REMOTE].fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool early_has_come(void *arg)
{
	char c[3];

	return recv(((struct tunnel *)arg)->peer[REMOTE].fd, c, 3, MSG_PEEK | MSG_DONTWAIT) == 3;
}

static void run_until(struct tunnel *t, bool (*so)(void *arg))
{
	struct until u;

	until_begin(&u, t->f->l, TEST_LIMIT_MS, t);
	until_so(&u, so);
	until_end(&u);
}

static void reset_after_half_close_is_seen(void **state)
{
	struct tunnel t;
	char c;

	tunnel_open(*state, &t, NULL, 0);
	shutdown(t.peer[CLIENT].fd, SHUT_WR);
	assert_int_equal(send(t.peer[REMOTE].fd, "x", 1, 0), 1);
	run_until(&t, end_has_come);
	assert_int_equal(recv(t.peer[REMOTE].fd, &c, 1, 0), 0);
	sock_reset(t.peer[CLIENT].fd);
	send(t.peer[REMOTE].fd, "more", 4, MSG_NOSIGNAL); /* uv_poll sees it by writing only */
	loop_run(t.f->l);
	assert_false(t.f->late);
	assert_int_equal(t.why, ERR_RESET);
	close(t.peer[REMOTE].fd);
}

static void abort_resets_both(void **state)
{
	struct tunnel t;
	char c;
	int i;

	tunnel_open(*state, &t, NULL, 0);
	if (t.streams)
		relay_abort(t.streams);
	else
		net_relay_abort(t.relay);
	loop_run(t.f->l);
	assert_int_equal(t.why, ERR_CLOSED);
	for (i = 0; i < 2; i++) {
		assert_int_equal(recv(t.peer[i].fd, &c, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(t.peer[i].fd);
	}
}

struct stall {
	struct tunnel *t;
	uint64_t stuck_at;
};

/* Sends until nothing has moved for a while, then takes the tunnel down. */
static void *send_until_stuck(void *arg)
{
	struct stall *s = arg;
	int fd = s->t->peer[REMOTE].fd;
	static uint8_t block[65536];
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	while (poll(&pfd, 1, 300) == 1) {
		ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			break;
		s->stuck_at += (uint64_t)n;
	}
	sock_reset(fd);
	sock_reset(s->t->peer[CLIENT].fd);
	return NULL;
}

/* Unix sockets hold what SO_SNDBUF says and never more, so the rest is what the relay holds. */
static void stalled_reader_holds_little(void **state)
{
	struct tunnel t;
	struct stall s = { .t = &t };
	pthread_t th;
	int a[2], b[2], room = 0;
	struct err e;

	assert_int_equal(tcp_make_pair(a, &e), 0);
	assert_int_equal(tcp_make_pair(b, &e), 0);
	assert_int_equal(
		getsockopt(a[0], SOL_SOCKET, SO_SNDBUF, &room, &(socklen_t){ sizeof(room) }), 0);
	tunnel_of(*state, &t, a, b, NULL, 0);
	pthread_create(&th, NULL, send_until_stuck, &s);
	loop_run(t.f->l);
	pthread_join(th, NULL);
	assert_false(t.f->late);
	assert_in_range(s.stuck_at, 1, (uint64_t)FLOW_BULK_MAX + LOOP_SHARED + 2 * (uint64_t)room);
}

/* Reads what the remote peer sends, from the loop, until all of it has come. */
struct pull {
	struct tunnel *t;
	uint64_t left;
	struct loop_post post;
};

static void pull_some(void *arg)
{
	static uint8_t block[65536];
	struct pull *p = arg;
	ssize_t n = recv(p->t->peer[CLIENT].fd, block, sizeof(block), MSG_DONTWAIT);

	p->left -= n > 0 ? (uint64_t)n : 0;
	if (p->left)
		loop_post(p->t->f->l, &p->post, pull_some, p);
	else
		loop_stop(p->t->f->l);
}

static void pull(struct tunnel *t)
{
	struct pull p = { .t = t, .left = t->peer[REMOTE].send };
	pthread_t th;

	pthread_create(&th, NULL, write_script, &t->peer[REMOTE]);
	loop_post(t->f->l, &p.post, pull_some, &p);
	loop_run(t->f->l);
	pthread_join(th, NULL);
	loop_unpost(&p.post);
	assert_int_equal(p.left, 0);
}

static void idle_tunnel_has_two_descriptors_and_no_timer(void **state)
{
	enum { TUNNELS = 8 };
	struct fix *f = *state;
	struct tunnel t[TUNNELS];
	size_t before, i, pipes = f->generic ? 0 : 1;

	before = fds_open();
	for (i = 0; i < TUNNELS; i++) {
		tunnel_open(f, &t[i], NULL, 0);
		t[i].peer[REMOTE].send = big(4 * MIB);
		pull(&t[i]);
	}
	/* each had its peers' and the relay's two; what they spliced through was one pipe */
	assert_in_range(fds_open(), before, before + TUNNELS * 4 + pipes * 2);
	assert_ptr_equal(f->l->timers, &f->limit);
	assert_null(f->limit.child);
	for (i = 0; i < TUNNELS; i++) {
		sock_reset(t[i].peer[CLIENT].fd);
		close(t[i].peer[REMOTE].fd);
	}
	loop_run(f->l);
	assert_false(f->late);
}

enum { BULKS = 4 };

struct ping {
	struct tunnel *t, *bulk;
	uint64_t trips;
};

/* Looks, once in a turn of the loop, how far each bulk tunnel has come. */
struct pace {
	struct tunnel *bulk;
	struct loop_post post;
	uint64_t last[BULKS], most;
};

static void look(void *arg)
{
	struct pace *p = arg;
	uint64_t up, down;
	size_t i;

	for (i = 0; i < BULKS; i++) {
		if (p->bulk[i].done)
			continue;
		if (p->bulk[i].streams)
			relay_counts(p->bulk[i].streams, &up, &down);
		else
			net_relay_counts(p->bulk[i].relay, &up, &down);
		if (down - p->last[i] > p->most)
			p->most = down - p->last[i];
		p->last[i] = down;
	}
	loop_post(p->bulk->f->l, &p->post, look, p);
}

static void *ping_pong(void *arg)
{
	struct ping *p = arg;
	char c = 0;
	uint64_t i;

	for (i = 0; i < p->trips; i++) {
		if (send(p->t->peer[CLIENT].fd, "a", 1, 0) != 1 ||
		    recv(p->t->peer[REMOTE].fd, &c, 1, 0) != 1 ||
		    send(p->t->peer[REMOTE].fd, "b", 1, 0) != 1 ||
		    recv(p->t->peer[CLIENT].fd, &c, 1, 0) != 1)
			abort();
	}
	for (i = 0; i < BULKS; i++)
		shutdown(p->bulk[i].peer[CLIENT].fd, SHUT_RDWR);
	sock_reset(p->t->peer[CLIENT].fd);
	close(p->t->peer[REMOTE].fd);
	return NULL;
}

static void small_trips_have_their_turn_beside_bulk(void **state)
{
	static struct tunnel bulk[BULKS];
	struct tunnel t;
	struct ping p = { .t = &t, .bulk = bulk, .trips = big(300) };
	struct pace pace = { .bulk = bulk };
	pthread_t th;
	size_t i;

	for (i = 0; i < BULKS; i++) {
		tunnel_open(*state, &bulk[i], NULL, 0);
		bulk[i].peer[REMOTE].send = UINT64_MAX;
		bulk[i].peer[CLIENT].end = false;
	}
	tunnel_open(*state, &t, NULL, 0);
	for (i = 0; i < BULKS; i++)
		peers_start(&bulk[i]);
	pthread_create(&th, NULL, ping_pong, &p);
	loop_post(t.f->l, &pace.post, look, &pace);
	loop_run(t.f->l);
	loop_unpost(&pace.post);
	assert_false(t.f->late);
	pthread_join(th, NULL);
	for (i = 0; i < BULKS; i++)
		peers_join(&bulk[i]);
	/* an event of each end and a post, and in each all but twice the largest step */
	assert_in_range(pace.most, 1, 3 * 2 * FLOW_BULK_MAX);
}

static void many_tunnels_at_once(void **state)
{
	enum { MANY = 24 };
	static struct tunnel t[MANY];
	size_t i;

	for (i = 0; i < MANY; i++) {
		tunnel_open(*state, &t[i], NULL, 0);
		t[i].peer[CLIENT].send = big(200000 + i * 1000);
		t[i].peer[REMOTE].send = big(700000 - i * 1000);
		t[i].peer[CLIENT].end = t[i].peer[REMOTE].end = true;
	}
	for (i = 0; i < MANY; i++)
		peers_start(&t[i]);
	loop_run(t[0].f->l);
	assert_false(t[0].f->late);
	for (i = 0; i < MANY; i++) {
		peers_join(&t[i]);
		expect_whole(&t[i]);
	}
}

static void bulk_works_without_descriptors_to_spare(void **state)
{
	struct rlimit old, none;
	struct tunnel t;
	int top;

	tunnel_open(*state, &t, NULL, 0);
	t.peer[REMOTE].send = big(8 * MIB);
	t.peer[CLIENT].end = t.peer[REMOTE].end = true;
	top = dup(0);
	close(top);
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)top;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	peers_start(&t);
	loop_run(t.f->l);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_false(t.f->late);
	peers_join(&t);
	expect_whole(&t);
}

static void counts_grow_while_it_runs(void **state)
{
	struct tunnel t;
	uint64_t up = 0, down = 0;
	char c[3];

	tunnel_open(*state, &t, (const uint8_t *)"abc", 3);
	run_until(&t, early_has_come);
	assert_int_equal(recv(t.peer[REMOTE].fd, c, 3, MSG_WAITALL), 3);
	if (t.streams)
		relay_counts(t.streams, &up, &down);
	else
		net_relay_counts(t.relay, &up, &down);
	assert_int_equal(up, 3);
	assert_int_equal(down, 0);
	close(t.peer[CLIENT].fd);
	close(t.peer[REMOTE].fd);
	loop_run(t.f->l);
	assert_int_equal(t.why, ERR_NONE);
}

static int warm_up(void **state)
{
	struct loop *l;
	struct err e;

	(void)state;
	if (loop_new(&l, &e) != 0)
		return -1;
	loop_free(l);
	return 0;
}

#define BOTH(f)                                                   \
	{ #f " (sockets)", f, setup_sockets, teardown, NULL },    \
	{                                                         \
#f " (streams)", f, setup_streams, teardown, NULL \
	}
int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(big_transfer_is_exact_both_ways),
		BOTH(transfer_in_small_pieces),
		BOTH(empty_directions),
		BOTH(one_way_bulk),
		BOTH(answer_after_half_close),
		BOTH(early_bytes_come_first),
		BOTH(reset_is_passed_on),
		BOTH(reset_after_half_close_is_seen),
		BOTH(abort_resets_both),
		BOTH(stalled_reader_holds_little),
		BOTH(idle_tunnel_has_two_descriptors_and_no_timer),
		BOTH(small_trips_have_their_turn_beside_bulk),
		BOTH(many_tunnels_at_once),
		BOTH(bulk_works_without_descriptors_to_spare),
		BOTH(counts_grow_while_it_runs),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
