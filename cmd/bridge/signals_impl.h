#ifndef CMD_BRIDGE_SIGNALS_IMPL_H
#define CMD_BRIDGE_SIGNALS_IMPL_H
#include "cmd/bridge/signals.h"

extern const int signals_wanted[]; /* 0 ends it */
bool signals_is_wanted(int number, bool with_command);
void signals_ignore(struct signals *);
void signals_unignore(const struct signals *);
#endif
