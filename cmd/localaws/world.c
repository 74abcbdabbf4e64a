#include "cmd/localaws/world.h"

#include "net/loop.h"

int64_t world_wall_ms(const struct world *w)
{
	return world_wall_ms_of(w, NULL);
}

int64_t world_wall_ms_of(const struct world *w, const char *service)
{
	double skew_s = fault_value_at(&w->faults, FAULT_CLOCK_SKEW, service, 0);

	return clock_wall_ms(loop_clock(w->loop)) + (int64_t)(skew_s * 1000);
}

uint64_t world_now_ms(const struct world *w)
{
	return loop_now_ms(w->loop);
}

void world_settle(struct world *w)
{
	instances_settle(&w->instances, world_now_ms(w),
			 (uint64_t)fault_value(&w->faults, FAULT_CONNECT_DELAY, 0));
}

void world_set_faults(struct world *w, const struct faults *next)
{
	struct fault seed = w->faults.at[FAULT_SEED],
		     expire = w->faults.at[FAULT_EXPIRE_CREDENTIALS];
	bool early = w->faults.at[FAULT_NOT_CONNECTED_FOR].on;

	w->faults = *next;
	if (next->at[FAULT_NOT_CONNECTED_FOR].on && !early)
		w->not_connected_ms = world_now_ms(w);
	if (next->at[FAULT_SEED].on && (!seed.on || seed.value != next->at[FAULT_SEED].value))
		w->dice.state = (uint64_t)next->at[FAULT_SEED].value;
	if (next->at[FAULT_EXPIRE_CREDENTIALS].on &&
	    next->at[FAULT_EXPIRE_CREDENTIALS].value <= 0 && (!expire.on || expire.value > 0))
		keys_expire_all(&w->keys, world_wall_ms(w));
}
