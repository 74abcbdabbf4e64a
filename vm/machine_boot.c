/*
 * One attempt: a rung of the ladder after the other, until one shows a HELLO.
 *
 *     rung --> nonce into the image --> program --> link --> HELLO --> address: running
 *      ^           |                       |         |         |          |
 *      |           +-----------------------+---------+         +----------+
 *      |                        v                                    v
 *      +--- another accelerator is left, or: failed            failed: no rung's fault
 *
 * The program's end and its link's are seen in either order. The link's comes first as a rule, and
 * the reason with the program's: that is waited for, for a moment.
 */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "vm/machine_impl.h"

enum { FAST_MS = 10000, TCG_MS = 60000 };

static void start_rung(struct machine *m);

/* ---- the end of an attempt ---- */

static void guest_free(struct guest *g, const struct err *why)
{
	if (g == g->m->guest)
		g->m->guest = NULL;
	vm_conn_free(g->conn, why);
	list_del(&g->node);
	mem_free(g);
}

static void drop_guests(struct machine *m, const struct guest *but, const struct err *why)
{
	LIST_EACH (node, &m->guests) {
		struct guest *g = CONTAINER_OF(node, struct guest, node);

		if (g != but)
			guest_free(g, why);
	}
}

/* A console in a file is read now and then only. */
static void hear_last_words(const struct machine *m)
{
	if (m->run)
		vm_run_hear(m->run);
}

void machine_drop(struct machine *m, const struct err *why)
{
	drop_guests(m, NULL, why);
	hear_last_words(m);
	if (m->run)
		vm_run_forget(m->run);
	m->run = NULL;
	m->link_lost = false;
	timer_disarm(m->loop, &m->farewell);
}

static bool is_waiting_for_hello(const struct machine *m)
{
	return m->state == MACHINE_STARTING && !m->greeted;
}

/* Nothing was heard of this rung's guest. */
static void next_rung(struct machine *m, const struct err *why)
{
	const char *name = vm_accel_name(m->ladder[m->rung]);

	m->failed_now[m->rung] = true;
	do
		m->rung++;
	while (m->rung < m->rungs && m->broken[m->rung] && !m->by_command);
	if (m->rung >= m->rungs) {
		machine_fail(m, why);
		return;
	}
	log_warn("vm", "%s: %s; trying %s", name, why->msg, vm_accel_name(m->ladder[m->rung]));
	start_rung(m);
}

static void attempt_failed(struct machine *m, const struct err *cause)
{
	bool rungs_fault = is_waiting_for_hello(m);
	struct err why = *cause;

	hear_last_words(m);
	words_explain(&m->words, &why);
	machine_drop(m, &why);
	if (rungs_fault)
		next_rung(m, &why);
	else
		machine_fail(m, &why);
}

static void hello_limit_over(void *arg)
{
	struct machine *m = arg;
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "%s: no word from the guest within %llu ms",
		      m->opts.driver->name,
		      (unsigned long long)(loop_now_ms(m->loop) - m->started_ms));
	attempt_failed(m, &why);
}

/* It ends by itself when its link does; this one did not. */
static void farewell_over(void *arg)
{
	machine_drop(arg, NULL);
}

static void last_words_over(void *arg)
{
	struct machine *m = arg;
	struct err why = m->lost;

	attempt_failed(m, &why);
}

/* Running: everybody is told now, and its last words may follow. */
static void link_lost(struct machine *m, const struct err *why)
{
	if (m->state == MACHINE_STOPPING)
		return;
	m->lost = *why;
	m->link_lost = true;
	if (m->state == MACHINE_STARTING) {
		timer_arm(m->loop, &m->limit, MACHINE_LAST_WORDS_MS, last_words_over, m);
		return;
	}
	if (m->state == MACHINE_RUNNING) {
		timer_arm(m->loop, &m->farewell, MACHINE_LAST_WORDS_MS, farewell_over, m);
		machine_fail(m, why);
	}
}

/* ---- the guest ---- */

static void on_hello(void *arg, const struct frame_hello *hello)
{
	struct guest *g = arg;
	struct machine *m = g->m;

	if (m->guest) /* cannot be: the nonce is of this boot, and there is one guest */
		return;
	m->guest = g;
	m->hello_took_ms = loop_now_ms(m->loop) - m->started_ms;
	m->greeted = true;
	timer_disarm(m->loop, &m->limit); /* that for the address is the link's */
	log_info("vm", "%s, %s: agent %s after %llu ms", m->opts.driver->name,
		 vm_accel_name(m->ladder[m->rung]), hello->agent,
		 (unsigned long long)m->hello_took_ms);
	verdicts_pass(m);
	drop_guests(m, g, NULL);
}

static void on_network(void *arg, const struct frame_network *network)
{
	struct guest *g = arg;

	if (g == g->m->guest && network->up && g->m->state == MACHINE_STARTING)
		machine_runs(g->m);
}

static void on_lost(void *arg, const struct err *why)
{
	struct guest *g = arg;
	struct machine *m = g->m;
	bool ours = g == m->guest || m->opts.driver->transport != VM_VSOCK;
	struct err copy = *why;

	guest_free(g, &copy);
	if (ours)
		link_lost(m, &copy);
	else
		log_debug("vm", "a connection that was not the guest's: %s", copy.msg);
}

static const struct vm_conn_handler conn_handler = { .hello = on_hello,
						     .network = on_network,
						     .lost = on_lost };

/* Whoever comes first and says nothing does not keep the guest out. */
static void make_room(struct machine *m)
{
	size_t n = 0;

	LIST_EACH (node, &m->guests)
		n++;
	if (n >= MACHINE_GUESTS)
		guest_free(CONTAINER_OF(m->guests.next, struct guest, node), NULL);
}

static unsigned hello_limit(const struct machine *m)
{
	unsigned ms = m->ladder[m->rung] == VM_ACCEL_TCG ? TCG_MS : FAST_MS;

	if (!m->opts.boot_ms)
		return ms;
	/* Patience with the last one is no reason for patience with those before. */
	return m->rung + 1 < m->rungs && ms < m->opts.boot_ms ? ms : m->opts.boot_ms;
}

static void on_link(void *arg, int fd)
{
	struct machine *m = arg;
	struct vm_conn_opts o = { .loop = m->loop,
				  .hello_ms = hello_limit(m),
				  .network_ms = m->opts.boot_ms,
				  .alone = m->opts.driver->alone,
				  .capture = m->opts.capture };
	struct guest *g = m->guest ? NULL : mem_alloc(sizeof(*g));
	struct err e;

	if (!g) { /* has its guest already, or has no memory */
		close(fd);
		return;
	}
	make_room(m);
	memcpy(o.nonce, m->nonce, sizeof(o.nonce));
	g->m = m;
	g->conn = vm_conn_new(fd, &o, &conn_handler, g, &e);
	if (!g->conn) {
		mem_free(g);
		log_warn("vm", "%s", e.msg);
		return;
	}
	list_add_tail(&m->guests, &g->node);
}

/* ---- the program ---- */

static void on_said(void *arg, enum vm_voice voice, const char *bytes, size_t n)
{
	words_add(&((struct machine *)arg)->words, voice, bytes, n);
}

/* How its link ended and how its program did: either may be the one that tells. */
static void both_ends(const struct machine *m, const struct err *end, struct err *why)
{
	*why = *end;
	if (m->link_lost)
		(void)err_set(why, m->lost.code, "%s; %s", m->lost.msg, end->msg);
}

static void on_ended(void *arg, const struct err *cause)
{
	struct machine *m = arg;
	struct err why;

	m->run = NULL;
	both_ends(m, cause, &why);
	if (m->state == MACHINE_STOPPING) {
		machine_drop(m, NULL);
		machine_stopped(m);
	} else if (m->state == MACHINE_FAILED) { /* had been lost before */
		words_explain(&m->words, &why);
		log_warn("vm", "%s", why.msg);
		m->why = why;
		machine_drop(m, NULL);
	} else {
		attempt_failed(m, &why);
	}
}

static const struct vm_run_handler run_handler = { on_link, on_said, on_ended };

static int run(struct machine *m, struct err *e)
{
	struct vm_spec spec = m->opts.spec;

	spec.accel = m->ladder[m->rung];
	random_bytes(m->nonce, sizeof(m->nonce));
	if (vm_image_nonce(spec.image, m->nonce, e) != 0)
		return -1;
	m->run = vm_run_start(m->loop, m->opts.driver, &spec, &run_handler, m, e);
	return m->run ? 0 : -1;
}

static void start_rung(struct machine *m)
{
	struct err why;

	m->greeted = false;
	m->started_ms = loop_now_ms(m->loop);
	words_new_run(&m->words);
	if (run(m, &why) == 0)
		timer_arm(m->loop, &m->limit, hello_limit(m), hello_limit_over, m);
	else
		next_rung(m, &why);
}

void machine_boot(struct machine *m)
{
	for (size_t i = 0; i < m->rungs; i++)
		m->failed_now[i] = false;
	m->rung = 0;
	while (m->rung + 1 < m->rungs && m->broken[m->rung] && !m->by_command)
		m->rung++;
	start_rung(m);
}

void machine_power_off(struct machine *m)
{
	vm_conn_shutdown(m->guest->conn);
}
