#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

void random_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		size_t part = n < 256 ? n : 256; /* getentropy's most */

		if (getentropy(at, part) != 0)
			abort();
		at += part;
		n -= part;
	}
}

uint32_t random_below(uint32_t limit)
{
	uint64_t x;

	random_bytes(&x, sizeof(x));
	return (uint32_t)(x % limit);
}

void random_uuid(char out[static 37])
{
	uint8_t u[16];

	random_bytes(u, sizeof(u));
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x40);
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
}
