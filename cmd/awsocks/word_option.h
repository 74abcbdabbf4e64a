#ifndef CMD_AWSOCKS_WORD_OPTION_H
#define CMD_AWSOCKS_WORD_OPTION_H
/* For commands whose few options are no settings (config/settings.h has those). */
#include <stdbool.h>

/* Is argv[*at] `name VALUE` or `name=VALUE`? Then *value is it (a part of argv), and *at its last
 * word. A name without a value is none. */
bool word_option(int argc, char **argv, int *at, const char *name, const char **value);
#endif
