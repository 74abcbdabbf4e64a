#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H
/* The system's CSPRNG (getentropy). */
#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t n);  /* aborts if the system has none */
uint32_t random_below(uint32_t limit); /* 0 <= x < limit; limit > 0 */
void random_uuid(char out[static 37]); /* RFC 9562 version 4, lower case */
#endif
