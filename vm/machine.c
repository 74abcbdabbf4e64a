#include "vm/machine.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "vm/machine_impl.h"

enum { PAUSE_MS = 500, PAUSES_MOST = 60 };

/* ---- the state ---- */

const char *machine_state_name(enum machine_state s)
{
	static const char *const names[MACHINE_STATE_COUNT] = { "stopped", "starting", "running",
								"stopping", "failed" };

	return s < MACHINE_STATE_COUNT ? names[s] : "unknown";
}

static void tell_changed(void *arg)
{
	struct machine *m = arg;

	m->opts.changed(m->opts.arg);
}

void machine_set(struct machine *m, enum machine_state s, const struct err *why)
{
	if (why)
		log_warn("vm", "%s -> %s: %s", machine_state_name(m->state), machine_state_name(s),
			 why->msg);
	else
		log_info("vm", "%s -> %s", machine_state_name(m->state), machine_state_name(s));
	m->state = s;
	if (why || s != MACHINE_STARTING) /* meanwhile the last failure is the best that is known */
		m->why = why ? *why : (struct err){ 0 };
	timer_disarm(m->loop, &m->limit);
	timer_disarm(m->loop, &m->pause);
	if (m->opts.changed)
		loop_post(m->loop, &m->changed, tell_changed, m);
}

/* ---- start ---- */

static void begin(void *arg)
{
	machine_boot(arg);
}

/* The boot itself comes on a later turn: its failures are told from the loop. */
static void start(struct machine *m, bool by_command)
{
	m->by_command = by_command;
	m->attempts++;
	machine_drop(m, NULL); /* should the end of the last one still be awaited */
	machine_set(m, MACHINE_STARTING, NULL);
	loop_post(m->loop, &m->begin, begin, m);
}

static void pause_over(void *arg)
{
	start(arg, false);
}

static void start_after_pause(struct machine *m)
{
	uint64_t now = loop_now_ms(m->loop);

	if (m->pause_until_ms <= now)
		start(m, false);
	else if (!timer_armed(&m->pause))
		timer_arm(m->loop, &m->pause, m->pause_until_ms - now, pause_over, m);
}

void machine_start(struct machine *m, bool by_command)
{
	if (m->closed || (m->halted && !by_command))
		return;
	m->halted = false;
	switch (m->state) {
	case MACHINE_STOPPED: start(m, by_command); break;
	case MACHINE_STOPPING: m->start_again = true; break;
	case MACHINE_FAILED:
		if (by_command) {
			m->quick = 0;
			start(m, true);
		} else {
			start_after_pause(m);
		}
		break;
	default: break;
	}
}

void machine_runs(struct machine *m)
{
	m->running_ms = loop_now_ms(m->loop);
	m->boot_took_ms = m->running_ms - m->started_ms;
	m->ever_ran = true;
	m->runs++;
	machine_set(m, MACHINE_RUNNING, NULL);
	machine_tell_waits(m, NULL);
}

/* ---- failure ---- */

/* With the jitter of a quarter, so that many of them do not come at once. */
static uint64_t pause_after(struct machine *m)
{
	uint64_t first = m->opts.pause_ms ? m->opts.pause_ms : PAUSE_MS, ms = first;

	if (m->quick >= MACHINE_QUICK)
		return first * PAUSES_MOST;
	for (unsigned i = 1; i < m->quick; i++)
		ms *= 2;
	return ms - ms / 4 + random_below((uint32_t)(ms / 2) + 1);
}

void machine_fail(struct machine *m, const struct err *why)
{
	uint64_t now = loop_now_ms(m->loop);
	bool ran = m->state == MACHINE_RUNNING && now - m->running_ms >= MACHINE_LONG_MS;

	m->quick = ran ? 0 : m->quick + 1;
	m->pause_until_ms = now + (ran ? MACHINE_AT_ONCE_MS : pause_after(m));
	machine_set(m, MACHINE_FAILED, why);
	machine_tell_waits(m, why);
	if (!m->opts.on_demand && m->quick < MACHINE_QUICK)
		start_after_pause(m);
	else if (m->quick >= MACHINE_QUICK)
		log_warn("vm", "%u failures in a row: it is started again when it is needed",
			 m->quick);
}

/* ---- stop ---- */

static void gone(void *arg)
{
	struct machine *m = arg;
	void (*closed)(void *) = m->closed;
	void *to = m->closed_arg;

	if (!list_empty(&m->told)) { /* they come first */
		loop_post(m->loop, &m->gone, gone, m);
		return;
	}
	machine_drop(m, NULL);
	timer_disarm(m->loop, &m->limit);
	timer_disarm(m->loop, &m->pause);
	loop_unpost(&m->begin);
	loop_unpost(&m->changed);
	loop_unpost(&m->deliver);
	words_free(&m->words);
	mem_free(m);
	closed(to);
}

void machine_stopped(struct machine *m)
{
	bool again = m->start_again && !m->closed;

	m->start_again = false;
	if (m->state != MACHINE_STOPPED)
		machine_set(m, MACHINE_STOPPED, NULL);
	if (m->closed)
		loop_post(m->loop, &m->gone, gone, m);
	else if (again)
		start(m, true);
}

static void kill_over(void *arg)
{
	struct machine *m = arg;

	log_warn("vm", "it did not end when it was killed: left alone");
	machine_drop(m, NULL);
	machine_stopped(m);
}

static void power_off_over(void *arg)
{
	struct machine *m = arg;

	log_warn("vm", "it did not power off within %d ms: killed", MACHINE_SHUTDOWN_MS);
	vm_run_kill(m->run);
	timer_arm(m->loop, &m->limit, MACHINE_SHUTDOWN_MS, kill_over, m);
}

static void stop(struct machine *m, const struct err *why)
{
	bool asked = m->run && m->guest;

	m->start_again = false;
	loop_unpost(&m->begin);
	machine_tell_waits(m, why);
	if (m->state == MACHINE_STOPPING)
		return;
	if (asked) {
		machine_set(m, MACHINE_STOPPING, NULL);
		timer_arm(m->loop, &m->limit, MACHINE_SHUTDOWN_MS, power_off_over, m);
		machine_power_off(m);
		return;
	}
	machine_drop(m, why);
	machine_stopped(m);
}

void machine_stop(struct machine *m)
{
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "the VM was stopped by command");
	m->halted = true;
	m->quick = 0;
	stop(m, &why);
}

void machine_close(struct machine *m, void (*closed)(void *arg), void *arg)
{
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "the VM is being closed");
	m->closed = closed;
	m->closed_arg = arg;
	stop(m, &why);
}

/* ---- birth ---- */

static void make_ladder(struct machine *m)
{
	const struct machine_opts *o = &m->opts;

	m->rungs = 1;
	if (o->driver != &vm_driver_qemu && !o->rungs) {
		m->ladder[0] = o->accel;
	} else if (o->accel != VM_ACCEL_NONE) {
		m->ladder[0] = o->accel;
	} else if (o->rungs) {
		m->rungs = o->rungs < MACHINE_RUNGS ? o->rungs : MACHINE_RUNGS;
		for (size_t i = 0; i < m->rungs; i++)
			m->ladder[i] = o->ladder[i];
	} else {
		vm_accel_ladder(o->spec.arch, m->ladder, &m->rungs);
	}
}

struct machine *machine_new(const struct machine_opts *o, struct err *e)
{
	struct machine *m = mem_alloc(sizeof(*m));

	if (!m || words_init(&m->words, e) != 0) {
		(void)err_set(e, ERR_NOMEM, "VM");
		mem_free(m);
		return NULL;
	}
	m->opts = *o;
	m->loop = o->loop;
	list_init(&m->waits);
	list_init(&m->told);
	list_init(&m->guests);
	make_ladder(m);
	verdicts_load(m);
	return m;
}

/* ---- questions ---- */

enum machine_state machine_state(const struct machine *m)
{
	return m->state;
}

const struct err *machine_why(const struct machine *m)
{
	return m->state == MACHINE_FAILED ? &m->why : NULL;
}

uint64_t machine_next_try_ms(const struct machine *m)
{
	return timer_armed(&m->pause) ? m->pause_until_ms : 0;
}

bool machine_first_start(const struct machine *m)
{
	return !m->ever_ran && m->state == MACHINE_STARTING;
}

struct vm_conn *machine_conn(struct machine *m)
{
	return m->state == MACHINE_RUNNING && m->guest ? m->guest->conn : NULL;
}
