#ifndef BASE_HTTPDATE_H
#define BASE_HTTPDATE_H
/* The Date field of HTTP: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7; the two
 * obsolete forms are not read). */
#include <stdbool.h>
#include <stdint.h>

bool httpdate_parse(const char *text, int64_t *wall_ms); /* false: not of this form */
#endif
