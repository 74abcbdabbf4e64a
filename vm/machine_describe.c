#include <cjson/cJSON.h>

#include "vm/machine_impl.h"

static void add_times(const struct machine *m, cJSON *into)
{
	uint64_t now = loop_now_ms(m->loop);

	if (m->state == MACHINE_RUNNING)
		cJSON_AddNumberToObject(into, "uptime_ms", (double)(now - m->running_ms));
	if (m->state == MACHINE_RUNNING && m->hello_took_ms)
		cJSON_AddNumberToObject(into, "hello_ms", (double)m->hello_took_ms);
	if (m->state == MACHINE_RUNNING)
		cJSON_AddNumberToObject(into, "boot_ms", (double)m->boot_took_ms);
	if (timer_armed(&m->pause))
		cJSON_AddNumberToObject(into, "next_try_in_ms",
					m->pause_until_ms > now ? (double)(m->pause_until_ms - now)
								: 0);
}

static void add_verdicts(const struct machine *m, cJSON *into)
{
	cJSON *broken = cJSON_AddArrayToObject(into, "broken");

	for (size_t i = 0; broken && i < m->rungs; i++)
		if (m->broken[i]) {
			cJSON *name = cJSON_CreateString(vm_accel_name(m->ladder[i]));

			if (!cJSON_AddItemToArray(broken, name))
				cJSON_Delete(name);
		}
}

void machine_describe(const struct machine *m, cJSON *into)
{
	size_t rung = m->rung < m->rungs ? m->rung : m->rungs - 1;

	cJSON_AddStringToObject(into, "state", machine_state_name(m->state));
	cJSON_AddStringToObject(into, "driver", m->opts.driver->name);
	cJSON_AddStringToObject(into, "accel", vm_accel_name(m->ladder[rung]));
	cJSON_AddStringToObject(into, "arch", m->opts.spec.arch);
	cJSON_AddStringToObject(into, "kernel", m->opts.spec.image->version);
	cJSON_AddNumberToObject(into, "memory_mib", m->opts.spec.memory_mib);
	cJSON_AddNumberToObject(into, "pid", m->run ? vm_run_pid(m->run) : 0);
	cJSON_AddNumberToObject(into, "starts", (double)m->attempts);
	cJSON_AddNumberToObject(into, "restarts", m->runs > 1 ? (double)(m->runs - 1) : 0);
	if (m->halted)
		cJSON_AddTrueToObject(into, "halted");
	add_times(m, into);
	add_verdicts(m, into);
	if (m->why.code)
		cJSON_AddStringToObject(
			into, m->state == MACHINE_FAILED ? "reason" : "last_failure", m->why.msg);
	if (m->guest)
		vm_conn_describe(m->guest->conn, into);
}
