/* The loop: timers, posts, watches, signals, pool. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/loop.h"
#include "net/sock.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

struct fix {
	struct loop *l;
	size_t fds;
	struct loop_timer limit;
	char log[256]; /* one letter per callback, in order */
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	strncat(f->log, "!", sizeof(f->log) - strlen(f->log) - 1);
	loop_stop(f->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

struct tick {
	struct fix *f;
	struct loop_timer t;
	struct loop_post p;
	struct tick *other;
	char name;
	int left;
};

static void note(struct fix *f, char c)
{
	size_t n = strlen(f->log);

	f->log[n] = c;
	f->log[n + 1] = 0;
}

static void tick(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
}
static void stop(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	loop_stop(k->f->l);
}

static void timers_run_in_order(void **state)
{
	struct fix *f = *state;
	struct tick a = { .f = f, .name = 'a' }, b = { .f = f, .name = 'b' };
	struct tick c = { .f = f, .name = 'c' }, d = { .f = f, .name = 'd' };

	timer_arm(f->l, &d.t, 30, stop, &d);
	timer_arm(f->l, &b.t, 10, tick, &b);
	timer_arm(f->l, &c.t, 10, tick, &c);
	timer_arm(f->l, &a.t, 1, tick, &a);
	timer_arm(f->l, &a.t, 5, tick, &a); /* again: only once, at the new time */
	assert_true(timer_armed(&a.t));
	loop_run(f->l);
	assert_string_equal(f->log, "abcd");
	assert_false(timer_armed(&a.t));
}

static void disarm_other(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	timer_disarm(k->f->l, &k->other->t);
	timer_disarm(k->f->l, &k->t); /* running: no longer armed */
}

static void disarmed_timer_stays_silent(void **state)
{
	struct fix *f = *state;
	struct tick b = { .f = f, .name = 'b' }, z = { .f = f, .name = 'z' };
	struct tick a = { .f = f, .name = 'a', .other = &b };

	timer_arm(f->l, &a.t, 1, disarm_other, &a);
	timer_arm(f->l, &b.t, 1, tick, &b);
	timer_arm(f->l, &z.t, 3, stop, &z);
	loop_run(f->l);
	assert_string_equal(f->log, "az");
}

static void rearm(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	if (--k->left > 0)
		timer_arm(k->f->l, &k->t, 0, rearm, k);
	else
		loop_stop(k->f->l);
}

static void zero_timer_does_not_starve_posts(void **state)
{
	struct fix *f = *state;
	struct tick a = { .f = f, .name = 'a', .left = 4 }, p = { .f = f, .name = 'p' };

	timer_arm(f->l, &a.t, 0, rearm, &a);
	loop_post(f->l, &p.p, tick, &p);
	loop_run(f->l);
	assert_int_equal(strlen(f->log), 5);
	assert_in_range(strchr(f->log, 'p') - f->log, 0, 2);
}

enum { MANY = 2000 };
struct many {
	struct fix *f;
	struct loop_timer t[MANY];
	uint64_t last;
	size_t seen, expected;
};
struct one_of {
	struct many *m;
	size_t i;
};
static struct one_of ones[MANY];

static void in_order(void *arg)
{
	struct one_of *o = arg;
	struct many *m = o->m;

	assert_true(m->t[o->i].at_ms >= m->last);
	m->last = m->t[o->i].at_ms;
	if (++m->seen == m->expected)
		loop_stop(m->f->l);
}

static void heap_holds_under_random_use(void **state)
{
	static struct many m;
	size_t i;

	m = (struct many){ .f = *state };
	for (i = 0; i < MANY; i++) {
		ones[i] = (struct one_of){ &m, i };
		timer_arm(m.f->l, &m.t[i], random_below(50), in_order, &ones[i]);
	}
	for (i = 0; i < MANY; i++) {
		size_t k = random_below(MANY);

		if (random_below(3))
			timer_arm(m.f->l, &m.t[k], random_below(50), in_order, &ones[k]);
		else
			timer_disarm(m.f->l, &m.t[k]);
	}
	for (i = 0; i < MANY; i++)
		m.expected += timer_armed(&m.t[i]);
	loop_run(m.f->l);
	assert_int_equal(m.seen, m.expected);
	for (i = 0; i < MANY; i++)
		assert_false(timer_armed(&m.t[i]));
}

static void post_again(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	if (--k->left > 0)
		loop_post(k->f->l, &k->p, post_again, k);
	if (k->other)
		loop_unpost(&k->other->p);
}

/* The end of so many turns. */
static void stop_later(void *arg)
{
	struct tick *k = arg;

	if (--k->left > 0)
		loop_post(k->f->l, &k->p, stop_later, k);
	else
		stop(k);
}

static void posts_run_once_in_order(void **state)
{
	struct fix *f = *state;
	struct tick b = { .f = f, .name = 'b' }, c = { .f = f, .name = 'c' };
	struct tick a = { .f = f, .name = 'a', .left = 2, .other = &b };
	struct tick z = { .f = f, .name = 'z', .left = 20 };

	loop_post(f->l, &a.p, post_again, &a);
	loop_post(f->l, &a.p, post_again, &a);
	loop_post(f->l, &b.p, tick, &b); /* unposted by a within the same turn */
	loop_post(f->l, &c.p, tick, &c);
	loop_post(f->l, &z.p, stop_later, &z);
	loop_run(f->l);
	assert_string_equal(f->log, "acaz");
}

static void more_again(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	if (--k->left > 0)
		loop_post_more(k->f->l, &k->p, more_again, k);
}

static void ask_last(void *arg)
{
	struct tick *k = arg;

	note(k->f, k->name);
	loop_post_last(k->f->l, &k->other->p, tick, k->other);
	if (--k->left > 0)
		loop_post(k->f->l, &k->p, ask_last, k);
}

/* What gathers comes in the turn in which it was asked for, what is long behind everybody. */
static void posts_in_rounds(void **state)
{
	struct fix *f = *state;
	struct tick w = { .f = f, .name = 'w' };
	struct tick a = { .f = f, .name = 'a', .left = 2, .other = &w };
	struct tick m = { .f = f, .name = 'm', .left = 3 };
	struct tick z = { .f = f, .name = 'z', .left = 20 };

	loop_post_more(f->l, &m.p, more_again, &m);
	loop_post(f->l, &a.p, ask_last, &a);
	loop_post(f->l, &z.p, stop_later, &z);
	loop_run(f->l);
	assert_string_equal(f->log, "awmawmmz");
}

static void stop_before_run_counts(void **state)
{
	struct fix *f = *state;

	loop_stop(f->l);
	loop_run(f->l);
	assert_string_equal(f->log, "");
}

struct eye {
	struct fix *f;
	struct loop_watch w;
	struct eye *other;
	unsigned seen, until;
	size_t calls;
};

static void saw(void *arg, unsigned bits)
{
	struct eye *y = arg;

	y->seen |= bits;
	y->calls++;
	if (y->other) /* both are ready in the same batch */
		watch_del(y->f->l, &y->other->w);
	if ((y->seen & y->until) == y->until)
		loop_stop(y->f->l);
}

static void watch_tells_readiness(void **state)
{
	struct fix *f = *state;
	struct eye y = { .f = f, .until = WATCH_WRITE };
	struct err e;
	int p[2];

	assert_int_equal(sock_pair(p), 0);
	assert_int_equal(watch_add(f->l, &y.w, p[0], 0, saw, &y, &e), 0);
	watch_set(f->l, &y.w, WATCH_WRITE);
	loop_run(f->l);
	assert_int_equal(y.seen, WATCH_WRITE);
	y.seen = 0;
	y.until = WATCH_READ;
	watch_set(f->l, &y.w, WATCH_READ);
	assert_int_equal(write(p[1], "x", 1), 1);
	loop_run(f->l);
	assert_int_equal(y.seen, WATCH_READ);
	loop_run(f->l); /* level: told again */
	assert_string_equal(f->log, "");
	y.until = WATCH_READ | WATCH_HUP;
	close(p[1]);
	loop_run(f->l);
	assert_true(y.seen & WATCH_HUP);
	watch_del(f->l, &y.w);
	watch_del(f->l, &y.w);
	close(p[0]);
}

static void silent_watch_does_not_spin(void **state)
{
	struct fix *f = *state;
	struct eye y = { .f = f };
	struct tick z = { .f = f, .name = 'z' };
	struct err e;
	int p[2];

	assert_int_equal(sock_pair(p), 0);
	assert_int_equal(watch_add(f->l, &y.w, p[0], 0, saw, &y, &e), 0);
	close(p[1]); /* hang-up, but nothing was asked for */
	timer_arm(f->l, &z.t, 20, stop, &z);
	loop_run(f->l);
	assert_int_equal(y.calls, 0);
	watch_close(f->l, &y.w);
	assert_int_equal(y.w.fd, -1);
}

static void watch_may_delete_another_of_its_batch(void **state)
{
	struct fix *f = *state;
	struct eye a = { .f = f, .until = WATCH_READ }, b = a;
	struct err e;
	int p[2], q[2];

	a.other = &b;
	b.other = &a;
	assert_int_equal(sock_pair(p), 0);
	assert_int_equal(sock_pair(q), 0);
	assert_int_equal(watch_add(f->l, &a.w, p[0], WATCH_READ, saw, &a, &e), 0);
	assert_int_equal(watch_add(f->l, &b.w, q[0], WATCH_READ, saw, &b, &e), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(write(q[1], "x", 1), 1);
	loop_run(f->l);
	assert_int_equal(a.calls + b.calls, 1);
	watch_del(f->l, &a.w);
	watch_del(f->l, &b.w);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

static void watch_moves_with_its_descriptor(void **state)
{
	struct fix *f = *state;
	struct eye a = { .f = f }, b = { .f = f, .until = WATCH_READ };
	struct err e;
	int p[2];

	assert_int_equal(sock_pair(p), 0);
	assert_int_equal(watch_add(f->l, &a.w, p[0], WATCH_EDGE, saw, &a, &e), 0);
	watch_move(f->l, &a.w, &b.w, WATCH_READ, saw, &b);
	assert_false(a.w.added);
	assert_int_equal(b.w.fd, p[0]);
	assert_int_equal(write(p[1], "x", 1), 1);
	loop_run(f->l);
	assert_int_equal(a.calls, 0);
	watch_close(f->l, &b.w);
	close(p[1]);
}

static void bad_descriptor_is_an_error(void **state)
{
	struct fix *f = *state;
	struct eye y = { .f = f };
	struct err e = { 0 };

	assert_int_equal(watch_add(f->l, &y.w, 987654, WATCH_READ, saw, &y, &e), -1);
	assert_int_equal(e.sys, EBADF);
	assert_false(y.w.added);
}

static void signal_arrives(void **state)
{
	struct fix *f = *state;
	struct tick z = { .f = f, .name = 'z' };
	struct err e;
	struct loop_signal *s = signal_open(f->l, SIGUSR1, stop, &z, &e);

	assert_non_null(s);
	raise(SIGUSR1);
	loop_run(f->l);
	raise(SIGUSR1);
	loop_run(f->l);
	assert_string_equal(f->log, "zz");
	signal_close(s);
	assert_int_equal(raise(SIGUSR1), 0); /* asked once too often: no harm */
	assert_null(signal_open(f->l, 9999, stop, &z, &e));
}

struct job {
	struct fix *f;
	pthread_mutex_t gate;
	int ran, done;
	bool cancelled;
};

static void run_job(void *arg)
{
	struct job *j = arg;

	pthread_mutex_lock(&j->gate);
	j->ran++;
	pthread_mutex_unlock(&j->gate);
}
static void job_done(void *arg, bool cancelled)
{
	struct job *j = arg;

	j->done++;
	j->cancelled = cancelled;
	loop_stop(j->f->l);
}

static void work_runs_and_is_done(void **state)
{
	struct job j = { .f = *state, .gate = PTHREAD_MUTEX_INITIALIZER };
	struct err e;

	assert_non_null(work_start(j.f->l, run_job, job_done, &j, &e));
	loop_run(j.f->l);
	assert_int_equal(j.ran, 1);
	assert_int_equal(j.done, 1);
	assert_false(j.cancelled);
}

static void cancelled_work_is_still_done(void **state)
{
	struct job j = { .f = *state, .gate = PTHREAD_MUTEX_INITIALIZER };
	struct loop_work *w;
	struct err e;

	pthread_mutex_lock(&j.gate); /* it may begin, but not end */
	w = work_start(j.f->l, run_job, job_done, &j, &e);
	assert_non_null(w);
	work_cancel(w);
	pthread_mutex_unlock(&j.gate);
	loop_run(j.f->l);
	assert_int_equal(j.done, 1);
	assert_true(j.cancelled);
}

static void loop_free_waits_for_work(void **state)
{
	struct fix *f = *state;
	struct job j = { .f = f, .gate = PTHREAD_MUTEX_INITIALIZER };
	struct err e;

	assert_non_null(work_start(f->l, run_job, job_done, &j, &e));
	assert_int_equal(teardown(state), 0);
	assert_int_equal(j.done, 1);
	assert_int_equal(loop_new(&f->l, &e), 0);
}

/* In a child, since nothing of that loop can be freed. */
static void work_that_goes_on_is_left_behind(void **state)
{
	struct fix f = { 0 };
	struct job j = { .f = &f, .gate = PTHREAD_MUTEX_INITIALIZER };
	struct err e;
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(TEST_LIMIT_MS / 1000);
		pthread_mutex_lock(&j.gate); /* for ever */
		if (loop_new(&f.l, &e) != 0 || !work_start(f.l, run_job, job_done, &j, &e))
			_exit(1);
		if (loop_free(f.l))
			_exit(2);
		(void)raise(SIGKILL); /* what is left behind on purpose is not looked for */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void many_slow_jobs_run_side_by_side(void **state)
{
	enum { SLOW = 20 }; /* more than libuv's own four threads */
	static struct job slow[SLOW];
	struct job quick = { .f = *state, .gate = PTHREAD_MUTEX_INITIALIZER };
	struct err e;
	int i;

	for (i = 0; i < SLOW; i++) {
		slow[i] = (struct job){ .f = *state, .gate = PTHREAD_MUTEX_INITIALIZER };
		pthread_mutex_lock(&slow[i].gate);
		assert_non_null(work_start(quick.f->l, run_job, job_done, &slow[i], &e));
	}
	assert_non_null(work_start(quick.f->l, run_job, job_done, &quick, &e));
	loop_run(quick.f->l);
	assert_int_equal(quick.done, 1);
	for (i = 0; i < SLOW; i++)
		pthread_mutex_unlock(&slow[i].gate);
	for (i = 0; i < SLOW; i++)
		while (!slow[i].done)
			loop_run(quick.f->l);
}

/* ---- mail ---- */

enum { SENDERS = 4, LETTERS = 2000 };

struct letter {
	struct loop_mail mail;
	struct sender *from;
	unsigned number;
};
struct sender {
	struct office *office;
	pthread_t thread;
	struct letter letter[LETTERS];
	unsigned next; /* of the receiver: the number that comes next */
};
struct office {
	struct fix *f;
	pthread_t reader;
	size_t came;
	bool disordered, wrong_thread;
	struct sender sender[SENDERS];
};

static void letter_came(void *arg)
{
	struct letter *l = arg;
	struct office *o = l->from->office;

	if (l->number != l->from->next++)
		o->disordered = true;
	if (!pthread_equal(pthread_self(), o->reader))
		o->wrong_thread = true;
	if (++o->came == (size_t)SENDERS * LETTERS)
		loop_stop(o->f->l);
}

static void *send_letters(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < LETTERS; i++) {
		s->letter[i] = (struct letter){ .from = s, .number = i };
		loop_send(s->office->f->l, &s->letter[i].mail, letter_came, &s->letter[i]);
	}
	return NULL;
}

static struct office *office_open(void **state)
{
	struct office *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->f = *state;
	o->reader = pthread_self();
	for (size_t i = 0; i < SENDERS; i++) {
		o->sender[i].office = o;
		assert_int_equal(
			pthread_create(&o->sender[i].thread, NULL, send_letters, &o->sender[i]), 0);
	}
	return o;
}

static void office_join(struct office *o)
{
	for (size_t i = 0; i < SENDERS; i++)
		pthread_join(o->sender[i].thread, NULL);
}

static void office_close(struct office *o)
{
	assert_int_equal(o->came, (size_t)SENDERS * LETTERS);
	assert_false(o->disordered);
	assert_false(o->wrong_thread);
	assert_string_equal(o->f->log, "");
	free(o);
}

static void mail_from_many_threads_arrives_in_order(void **state)
{
	struct office *o = office_open(state);

	loop_run(o->f->l);
	office_join(o);
	office_close(o);
}

/* What no loop_run() fetches is delivered by loop_free(), descriptors and memory with it. */
static void mail_to_an_ending_loop_is_not_lost(void **state)
{
	struct fix *f = *state, own = *f;
	struct office *o;
	struct err e;

	assert_int_equal(loop_new(&own.l, &e), 0);
	*state = &own;
	o = office_open(state);
	loop_stop(own.l);
	loop_run(own.l); /* takes what is there, while the senders go on */
	office_join(o);
	loop_free(own.l);
	*state = f;
	office_close(o);
}

struct chain {
	struct loop_mail mail;
	struct loop *loop;
	int left;
};

static void chain_came(void *arg)
{
	struct chain *c = arg;

	if (c->left-- > 0)
		loop_send(c->loop, &c->mail, chain_came, c);
}

static void mail_may_be_sent_again_from_its_own_delivery(void **state)
{
	struct chain c = { .left = 10 };
	struct err e;

	(void)state;
	assert_int_equal(loop_new(&c.loop, &e), 0);
	loop_send(c.loop, &c.mail, chain_came, &c);
	loop_free(c.loop);
	assert_int_equal(c.left, -1);
}

/* ---- time ---- */

/* An event that is raised while the loop waits, some time after the wait began. */
struct event {
	struct fix *f;
	int pair[2];
	struct loop_mail mail;
	struct loop_timer timer;
	_Atomic uint64_t raised_ms;
	bool told;
};

static void event_came(struct event *v)
{
	struct loop *l = v->f->l;

	v->told = true;
	assert_true(loop_now_ms(l) >= v->raised_ms);
	timer_arm(l, &v->timer, 1000, too_long, v->f);
	assert_true(v->timer.at_ms >= v->raised_ms + 1000);
	timer_disarm(l, &v->timer);
	loop_stop(l);
}

static void event_nap(struct event *v)
{
	(void)poll(NULL, 0, 20); /* what is tested is that time has passed */
	v->raised_ms = clock_mono_ms(&clock_system);
}

static void event_ends(void *arg)
{
	event_nap(arg);
}

static void event_ended(void *arg, bool cancelled)
{
	(void)cancelled;
	event_came(arg);
}

static void event_mail(void *arg)
{
	event_came(arg);
}

static void event_ready(void *arg, unsigned bits)
{
	(void)bits;
	event_came(arg);
}

static void *event_mails(void *arg)
{
	struct event *v = arg;

	event_nap(v);
	loop_send(v->f->l, &v->mail, event_mail, v);
	return NULL;
}

static void *event_writes(void *arg)
{
	struct event *v = arg;

	event_nap(v);
	if (write(v->pair[1], "x", 1) != 1)
		v->raised_ms = UINT64_MAX;
	return NULL;
}

static void time_in_a_callback_is_no_older_than_its_cause(void **state)
{
	void *(*const raise[])(void *) = { event_mails, event_writes };
	struct event v = { .f = *state };
	struct loop_watch w = { 0 };
	pthread_t t;
	struct err e;
	size_t i;

	assert_int_equal(sock_pair(v.pair), 0);
	assert_int_equal(watch_add(v.f->l, &w, v.pair[0], WATCH_READ, event_ready, &v, &e), 0);
	assert_non_null(work_start(v.f->l, event_ends, event_ended, &v, &e));
	loop_run(v.f->l);
	assert_true(v.told);
	for (i = 0; i < 2; i++) {
		v.told = false;
		assert_int_equal(pthread_create(&t, NULL, raise[i], &v), 0);
		loop_run(v.f->l);
		assert_int_equal(pthread_join(t, NULL), 0);
		assert_true(v.told);
	}
	watch_close(v.f->l, &w);
	close(v.pair[1]);
}

/* libuv keeps a pipe for signals for the process's life, from the first loop on. */
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
struct clocks {
	struct loop *l;
	struct loop_post post;
	unsigned turns;
	bool wrong;
};

static void compare_clocks(void *arg)
{
	struct clocks *c = arg;
	const struct clock *turn = loop_turn_clock(c->l);
	int64_t wall = clock_wall_ms(turn), real = clock_wall_ms(loop_clock(c->l));

	c->wrong |= clock_mono_ms(turn) != loop_now_ms(c->l) || wall > real || real - wall > 60000;
	if (++c->turns == 3)
		loop_stop(c->l);
	else
		loop_post(c->l, &c->post, compare_clocks, c);
}

/* The turn's clock is the loop's time, and its wall clock is the real one. */
static void the_clock_of_a_turn(void **state)
{
	struct clocks c = { 0 };

	(void)state;
	assert_int_equal(loop_new(&c.l, NULL), 0);
	loop_post(c.l, &c.post, compare_clocks, &c);
	loop_run(c.l);
	assert_int_equal(c.turns, 3);
	assert_false(c.wrong);
	loop_free(c.l);
}

/* ---- groups ---- */

/* Groups that met so long ago are not taken to meet any more; a busy machine may need longer for
 * two turns, of which then nothing is said. */
enum { MET_MS = 20 };
enum { CROWD = 40, QUIET_ROUNDS = 50 };

struct member {
	struct crowd *of;
	unsigned group;
	struct loop_watch watch;
	struct loop_post post, more;
	int pair[2];
};

struct crowd {
	struct fix *f;
	struct member loud[CROWD], quiet;
	unsigned since;     /* callbacks of the loud ones since the quiet one's last */
	unsigned late;      /* how often that were more than two, once they had met */
	unsigned wrong;     /* callbacks in another group */
	uint64_t at_ms[2];  /* the quiet one's last callbacks */
	int rounds, judged; /* in time to be judged */
};

static void check_group(struct member *m)
{
	unsigned group = loop_group_enter(m->of->f->l, 0);

	(void)loop_group_enter(m->of->f->l, group);
	m->of->wrong += group != m->group;
}

static void member_posted(void *arg)
{
	check_group(arg);
}

static void member_more(void *arg)
{
	struct member *m = arg;

	check_group(m);
	m->of->since++;
	loop_post_more(m->of->f->l, &m->more, member_more, m);
}

/* Always ready: nobody reads what is there. */
static void member_ready(void *arg, unsigned bits)
{
	struct member *m = arg;
	struct crowd *c = m->of;

	(void)bits;
	check_group(m);
	loop_post(c->f->l, &m->post, member_posted, m);
	if (m != &c->quiet) {
		c->since++;
		loop_post_more(c->f->l, &m->more, member_more, m);
		return;
	}
	if (c->rounds++ > 1 && loop_now_ms(c->f->l) - c->at_ms[0] < MET_MS) {
		c->judged++;
		c->late += c->since > 2;
	}
	c->at_ms[0] = c->at_ms[1];
	c->at_ms[1] = loop_now_ms(c->f->l);
	c->since = 0;
	if (c->judged == QUIET_ROUNDS)
		loop_stop(c->f->l);
}

static void member_begin(struct crowd *c, struct member *m, unsigned group)
{
	unsigned before = loop_group_enter(c->f->l, group);
	struct err e;

	m->of = c;
	m->group = group;
	unix_pair(m->pair);
	assert_int_equal(write(m->pair[1], "x", 1), 1);
	assert_int_equal(watch_add(c->f->l, &m->watch, m->pair[0], WATCH_READ, member_ready, m, &e),
			 0);
	assert_int_equal(loop_group_enter(c->f->l, before), group);
}

static void member_end(struct member *m)
{
	loop_unpost(&m->post);
	loop_unpost(&m->more);
	watch_del(m->of->f->l, &m->watch);
	close(m->pair[0]);
	close(m->pair[1]);
}

/* Forty that are always ready, and go on for long besides, do not stand before one of another
 * group. */
static void a_busy_group_does_not_hold_up_another(void **state)
{
	struct crowd c = { .f = *state };
	unsigned loud = loop_group_new(c.f->l), quiet = loop_group_new(c.f->l);

	if (!loud || !quiet)
		skip(); /* this system's poller has no groups */
	for (int i = 0; i < CROWD; i++)
		member_begin(&c, &c.loud[i], loud);
	member_begin(&c, &c.quiet, quiet);
	loop_run(c.f->l);
	for (int i = 0; i < CROWD; i++)
		member_end(&c.loud[i]);
	member_end(&c.quiet);
	assert_int_equal(c.judged, QUIET_ROUNDS);
	assert_int_equal(c.late, 0);
	assert_int_equal(c.wrong, 0);
}

/* Given out until there are no more; the rest are one. */
static void groups_end(void **state)
{
	struct fix *f = *state;
	unsigned last = loop_group_new(f->l), group = last;

	for (int i = 0; i < 300 && group; i++) {
		last = group;
		group = loop_group_new(f->l);
	}
	assert_int_equal(group, 0);
	assert_true(last < 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: what forks must have no thread yet. */
		cmocka_unit_test(work_that_goes_on_is_left_behind),
		cmocka_unit_test(the_clock_of_a_turn),
		T(a_busy_group_does_not_hold_up_another),
		T(groups_end),
		T(timers_run_in_order),
		T(disarmed_timer_stays_silent),
		T(zero_timer_does_not_starve_posts),
		T(heap_holds_under_random_use),
		T(posts_run_once_in_order),
		T(posts_in_rounds),
		T(stop_before_run_counts),
		T(watch_tells_readiness),
		T(silent_watch_does_not_spin),
		T(watch_may_delete_another_of_its_batch),
		T(watch_moves_with_its_descriptor),
		T(bad_descriptor_is_an_error),
		T(signal_arrives),
		T(work_runs_and_is_done),
		T(cancelled_work_is_still_done),
		T(loop_free_waits_for_work),
		T(many_slow_jobs_run_side_by_side),
		T(mail_from_many_threads_arrives_in_order),
		T(mail_to_an_ending_loop_is_not_lost),
		T(mail_may_be_sent_again_from_its_own_delivery),
		T(time_in_a_callback_is_no_older_than_its_cause),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
