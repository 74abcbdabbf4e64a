#include "cmd/localaws/dice.h"

#include <string.h>

uint64_t dice_next(struct dice *d)
{
	uint64_t z = d->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

bool dice_percent(struct dice *d, double percent)
{
	return percent > 0 && (double)(dice_next(d) >> 11) / 9007199254740992.0 * 100.0 < percent;
}

void dice_uuid(struct dice *d, uint8_t out[static 16])
{
	uint64_t half[2] = { dice_next(d), dice_next(d) };

	memcpy(out, half, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}
