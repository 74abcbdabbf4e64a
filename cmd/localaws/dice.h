#ifndef LOCALAWS_DICE_H
#define LOCALAWS_DICE_H
/*
 * Repeatable chance: faults at given percentages and message ids. splitmix64,
 * seeded, so that a failing run can be run again (`--fault seed=N`). Never
 * for keys or tokens.
 */
#include <stdbool.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};
uint64_t dice_next(struct dice *);
/* True in percent out of 100 throws; 0 does not throw. */
bool dice_percent(struct dice *, double percent);
/* A version 4 UUID as 16 bytes. */
void dice_uuid(struct dice *, uint8_t out[static 16]);
#endif
