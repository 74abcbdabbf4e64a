#ifndef LOCALAWS_VERSION_H
#define LOCALAWS_VERSION_H
/* Versions of agents and clients, compared number by number ("1.2.677.0"). */
#include <stdbool.h>

/* < 0, 0, > 0. Missing numbers count as 0, what is no number as 0 too. */
int version_compare(const char *a, const char *b);
bool version_four_numbers(const char *text); /* the plugin understands no other form */
#endif
