/* The pool of SSH masters, with masters of the test's own: made, ready, busy and ended on request.
 */
#include "tests/unit/ssm_world.h"

#include "backend/ssm/ssh_pool.h"
#include "stream/stream_impl.h"

enum { MASTERS = 16, IDLE_MS = 60000, BUSY = 1000 };

struct ssh_dial {
	struct ssh_master *master;
	ssh_dialed_fn *done;
	void *arg;
	char host[64];
	bool cancelled, over;
};

struct ssh_master {
	const struct ssh_master_handler *handler;
	void *arg;
	struct loop_post freed;
	struct ssh_dial dials[32];
	size_t dial_count, streams;
	uint64_t up, down;
	bool ready, lost, away, ending, gone, share;
	int number;
};

static struct ssh_master *masters[MASTERS];
static int made;
static bool stuck; /* masters do not end by themselves */

static void freed(void *arg)
{
	struct ssh_master *m = arg;

	m->gone = true;
	m->handler->freed(m->arg);
}

static void go(struct ssh_master *m)
{
	m->ready = false;
	m->ending = true;
	if (!stuck)
		loop_post(&W->loop, &m->freed, freed, m);
}

struct ssh_master *ssh_master_new(struct ssh_env *env, const struct ssh_master_handler *handler,
				  void *arg, bool share, struct err *e)
{
	struct ssh_master *m;

	(void)env;
	if (made == MASTERS) {
		(void)err_set(e, ERR_NOMEM, "no more masters");
		return NULL;
	}
	m = masters[made] = calloc(1, sizeof(*m));
	m->handler = handler;
	m->arg = arg;
	m->share = share;
	m->number = made++;
	return m;
}
void ssh_master_end(struct ssh_master *m)
{
	go(m);
}
struct ssh_dial *ssh_master_dial(struct ssh_master *m, const char *host, uint16_t port,
				 ssh_dialed_fn *done, void *arg, struct err *e)
{
	struct ssh_dial *d = &m->dials[m->dial_count];

	(void)port;
	assert_true(m->ready);
	if (strcmp(host, "nomem") == 0) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	m->dial_count++;
	m->streams++;
	*d = (struct ssh_dial){ .master = m, .done = done, .arg = arg };
	snprintf(d->host, sizeof(d->host), "%s", host);
	return d;
}
void ssh_mux_cancel(struct ssh_dial *d)
{
	assert_false(d->over);
	d->cancelled = d->over = true;
	d->master->streams--;
}
bool ssh_master_ready(const struct ssh_master *m)
{
	return m->ready;
}
bool ssh_master_lost(const struct ssh_master *m)
{
	return m->lost;
}
bool ssh_master_away(const struct ssh_master *m)
{
	return m->away;
}
size_t ssh_master_streams(const struct ssh_master *m)
{
	return m->streams;
}
void ssh_master_counts(const struct ssh_master *m, uint64_t *up, uint64_t *down)
{
	*up = m->up;
	*down = m->down;
}
const char *ssh_master_session(const struct ssh_master *m)
{
	static const char *const id[] = { "s-0", "s-1", "s-2", "s-3" };

	return id[m->number % 4];
}
void ssh_master_describe(const struct ssh_master *m, struct cJSON *into)
{
	cJSON_AddStringToObject(into, "id", ssh_master_session(m));
}

/* --- the other side --- */

struct user {
	struct ssh_pool_dial *dial;
	struct stream *s;
	char session[16];
	int dones;
	struct err why;
};

static struct ssh_pool *P;
static struct session_env session;
static struct ssh_env env;
static int ups, fails, changes;
static bool closed;
static struct stream a_stream; /* none is used */

static void on_up(void *arg)
{
	(void)arg;
	ups++;
}
static void on_failed(void *arg, const struct err *why, const char *aws_code)
{
	(void)arg;
	(void)why;
	(void)aws_code;
	fails++;
}
static void on_changed(void *arg)
{
	(void)arg;
	changes++;
}
static const struct ssh_pool_handler handler = { on_up, on_failed, on_changed };

static void on_dialed(void *arg, struct stream *s, const char *id, const struct err *why)
{
	struct user *u = arg;

	u->dones++;
	u->dial = NULL;
	u->s = s;
	snprintf(u->session, sizeof(u->session), "%s", id);
	if (why)
		u->why = *why;
}

static void begin(unsigned max)
{
	struct ssh_pool_opts o = {
		.env = &env, .masters = max, .idle_ms = IDLE_MS, .busy_rate = BUSY
	};

	world_begin();
	session = (struct session_env){ .loop = &W->loop, .target = "i-0123456789abcdef0" };
	env = (struct ssh_env){ .session = &session };
	made = ups = fails = changes = 0;
	closed = stuck = false;
	P = ssh_pool_new(&o, &handler, NULL, NULL);
	assert_non_null(P);
}

static void on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static void finish(void)
{
	ssh_pool_close(P, on_closed, NULL);
	RUN_UNTIL(closed, 4000);
	for (int i = 0; i < made; i++) {
		assert_true(masters[i]->gone);
		free(masters[i]);
	}
	world_end();
}

static void dial(struct user *u, const char *host)
{
	*u = (struct user){ 0 };
	u->dial = ssh_pool_dial(P, host, 80, 10000, on_dialed, u, &u->why);
	assert_non_null(u->dial);
}

static void becomes_ready(struct ssh_master *m)
{
	m->ready = true;
	m->handler->ready(m->arg);
}

static void ends(struct ssh_master *m, enum err_code code, const char *text)
{
	struct err why;

	(void)err_set(&why, code, "%s", text);
	for (size_t i = 0; i < m->dial_count; i++) {
		if (m->dials[i].over)
			continue;
		m->dials[i].over = true;
		m->dials[i].done(m->dials[i].arg, NULL, &why);
	}
	m->streams = 0;
	m->handler->ended(m->arg, &why, "");
	go(m);
}

static void answers(struct ssh_dial *d)
{
	d->over = true;
	d->done(d->arg, &a_stream, NULL);
}

static void a_stream_ends(struct ssh_master *m)
{
	m->streams--;
	m->handler->changed(m->arg);
}

/* --- tests --- */

static void dials_wait_for_a_master(void **state)
{
	struct user u[3];

	(void)state;
	begin(4);
	for (int i = 0; i < 3; i++)
		dial(&u[i], "host");
	run(5);
	assert_int_equal(made, 1);
	assert_false(ssh_pool_alive(P));
	becomes_ready(masters[0]);
	assert_int_equal(ups, 1);
	assert_true(ssh_pool_alive(P));
	assert_int_equal(masters[0]->dial_count, 3);
	answers(&masters[0]->dials[1]);
	assert_ptr_equal(u[1].s, &a_stream);
	assert_string_equal(u[1].session, "s-0");
	assert_int_equal(u[0].dones, 0);
	ssh_pool_cancel(u[0].dial);
	assert_true(masters[0]->dials[0].cancelled);
	finish(); /* u[2] hears of it */
	assert_int_equal(u[0].dones, 0);
	assert_int_equal(u[2].why.code, ERR_CLOSED);
}

static void another_when_busy(void **state)
{
	struct user u[6];

	(void)state;
	begin(2);
	dial(&u[0], "host");
	run(2);
	becomes_ready(masters[0]);
	run(1100);
	dial(&u[1], "host"); /* streams, and little to carry: no reason */
	run(2);
	assert_int_equal(made, 1);
	masters[0]->down += BUSY;
	run(1000);
	dial(&u[2], "host");
	run(2);
	assert_int_equal(made, 2);
	assert_true(masters[0]->share);
	assert_false(masters[1]->share);             /* the agent limits what a session sends */
	assert_int_equal(masters[0]->dial_count, 3); /* it does not wait for that */
	dial(&u[3], "host");
	run(2);
	assert_int_equal(made, 2); /* one is on its way */
	becomes_ready(masters[1]);
	dial(&u[4], "host");
	run(2);
	assert_int_equal(masters[1]->dial_count, 1);
	masters[0]->down += BUSY;
	masters[1]->down += BUSY;
	run(1000);
	dial(&u[5], "host");
	run(2);
	assert_int_equal(made, 2);                   /* that is all there may be */
	assert_int_equal(masters[1]->dial_count, 2); /* the one with fewer streams */
	finish();
}

/* What is sent to the agent it does not limit: another connection, on the session that is there. */
static void another_for_uploads(void **state)
{
	struct user u[2];

	(void)state;
	begin(2);
	dial(&u[0], "host");
	run(2);
	becomes_ready(masters[0]);
	run(1100);
	masters[0]->up += BUSY;
	run(1000);
	dial(&u[1], "host");
	run(2);
	assert_int_equal(made, 2);
	assert_true(masters[1]->share);
	finish();
}

static void one_that_fails(void **state)
{
	struct user a, b, c;

	(void)state;
	begin(4);
	dial(&a, "host");
	dial(&b, "host");
	run(2);
	ends(masters[0], ERR_CREDS, "accepts none of our keys");
	run(2);
	assert_int_equal(a.why.code, ERR_CREDS);
	assert_int_equal(b.dones, 1);
	assert_int_equal(fails, 1);
	assert_true(ssh_pool_pauses(P));
	dial(&c, "host"); /* the backend decides whether it comes: then it is tried */
	run(2);
	assert_int_equal(made, 2);
	becomes_ready(masters[1]);
	assert_int_equal(masters[1]->dial_count, 1);
	finish();
}

/* Its master went while it waited for an answer: it is asked for once more, by another. */
static void once_more(void **state)
{
	struct user a;

	(void)state;
	begin(4);
	dial(&a, "host");
	run(2);
	becomes_ready(masters[0]);
	ends(masters[0], ERR_CLOSED, "ssh was ended by signal 9");
	run(2);
	assert_int_equal(made, 2);
	assert_int_equal(a.dones, 0);
	assert_int_equal(fails, 0); /* it had been ready */
	becomes_ready(masters[1]);
	ends(masters[1], ERR_CLOSED, "ssh was ended by signal 9");
	run(2);
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.why.code, ERR_CLOSED);
	finish();
}

static void a_refusal_is_final(void **state)
{
	struct user a, b;
	struct err why;

	(void)state;
	begin(4);
	dial(&a, "host");
	dial(&b, "nomem");
	run(2);
	becomes_ready(masters[0]);
	(void)err_set(&why, ERR_REFUSED, "Connection refused");
	masters[0]->dials[0].over = true;
	masters[0]->dials[0].done(masters[0]->dials[0].arg, NULL, &why);
	assert_int_equal(a.why.code, ERR_REFUSED);
	run(2);
	assert_int_equal(b.why.code, ERR_NOMEM);
	assert_int_equal(made, 1);
	finish();
}

static void limits(void **state)
{
	struct user a, b;
	struct err held;

	(void)state;
	begin(4);
	session.held = &held;
	held = (struct err){ 0 };
	dial(&a, "host");
	run(10005);
	assert_int_equal(a.why.code, ERR_TIMEOUT);
	assert_non_null(strstr(a.why.msg, "no SSH connection to i-0123456789abcdef0"));
	(void)err_set(&held, ERR_TARGET, "is not connected");
	dial(&a, "host");
	run(10005);
	assert_non_null(strstr(a.why.msg, "is not connected"));
	becomes_ready(masters[0]);
	dial(&b, "host");
	run(10005);
	assert_int_equal(b.why.code, ERR_TIMEOUT);
	assert_non_null(strstr(b.why.msg, "sshd did not connect to host:80"));
	assert_true(masters[0]->dials[0].cancelled);
	finish();
}

static void idle_ones_end(void **state)
{
	struct user a;

	(void)state;
	begin(4);
	assert_int_equal(ssh_pool_open(P, NULL), 0);
	assert_int_equal(ssh_pool_open(P, NULL), 0); /* there is one */
	assert_int_equal(made, 1);
	becomes_ready(masters[0]);
	run(IDLE_MS - 1000);
	dial(&a, "host");
	run(2);
	answers(&masters[0]->dials[0]);
	run(IDLE_MS + 1000);
	assert_false(masters[0]->ending);
	a_stream_ends(masters[0]);
	run(IDLE_MS - 10);
	assert_false(masters[0]->ending);
	run(20);
	assert_true(masters[0]->gone);
	assert_false(ssh_pool_alive(P));
	dial(&a, "host");
	run(2);
	assert_int_equal(made, 2);
	finish();
}

static void lost_ones(void **state)
{
	struct cJSON *list = cJSON_CreateArray();

	(void)state;
	begin(4);
	assert_false(ssh_pool_lost(P));
	assert_int_equal(ssh_pool_open(P, NULL), 0);
	assert_false(ssh_pool_lost(P));
	becomes_ready(masters[0]);
	assert_false(ssh_pool_lost(P));
	masters[0]->lost = true;
	masters[0]->handler->changed(masters[0]->arg);
	assert_int_equal(changes, 1);
	assert_true(ssh_pool_lost(P));
	ssh_pool_describe(P, list);
	assert_int_equal(cJSON_GetArraySize(list), 1);
	cJSON_Delete(list);
	finish();
}

/* Those who are slow to go are waited for: what limits them is their sessions' end. */
/* One whose session does not come back leaves its place to another, as far as that goes. */
static void ones_that_are_away(void **state)
{
	struct user a, b, c;

	(void)state;
	begin(1);
	dial(&a, "a");
	run(5);
	becomes_ready(masters[0]);
	masters[0]->away = true;
	masters[0]->handler->changed(masters[0]->arg);
	dial(&b, "b");
	run(5);
	assert_int_equal(made, 2);
	becomes_ready(masters[1]);
	run(5);
	assert_int_equal(masters[1]->dial_count, 1);
	masters[1]->away = true;
	dial(&c, "c");
	run(5);
	assert_int_equal(made, 2);
	masters[0]->away = false;
	masters[0]->handler->changed(masters[0]->arg);
	run(5);
	assert_int_equal(masters[0]->dial_count, 2);
	masters[0]->streams = masters[1]->streams = 0;
	finish();
}

static void closing_waits(void **state)
{
	struct user a;

	(void)state;
	begin(4);
	dial(&a, "host");
	run(2);
	becomes_ready(masters[0]);
	stuck = true;
	ssh_pool_close(P, on_closed, NULL);
	run(5000);
	assert_false(closed);
	assert_int_equal(a.why.code, ERR_CLOSED);
	freed(masters[0]);
	RUN_UNTIL(closed, 10);
	free(masters[0]);
	world_end();
}

static void closed_and_empty(void **state)
{
	struct ssh_pool_opts o = { .env = &env, .masters = 1, .idle_ms = IDLE_MS };

	(void)state;
	begin(4);
	finish();
	world_begin();
	P = ssh_pool_new(&o, &handler, NULL, NULL);
	ssh_pool_discard(P);
	ssh_pool_discard(NULL);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dials_wait_for_a_master),
		cmocka_unit_test(another_when_busy),
		cmocka_unit_test(another_for_uploads),
		cmocka_unit_test(one_that_fails),
		cmocka_unit_test(once_more),
		cmocka_unit_test(a_refusal_is_final),
		cmocka_unit_test(limits),
		cmocka_unit_test(idle_ones_end),
		cmocka_unit_test(lost_ones),
		cmocka_unit_test(ones_that_are_away),
		cmocka_unit_test(closing_waits),
		cmocka_unit_test(closed_and_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
