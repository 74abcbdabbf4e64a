#ifndef CMD_AWSOCKS_CHOOSE_H
#define CMD_AWSOCKS_CHOOSE_H
/*
 * Several instances have the name: on a terminal, the user is asked which one.
 * An ssm_choose_fn (backend/ssm.h); it never blocks the loop.
 */
#include "backend/ssm.h"

struct chooser;
struct loop;

/* NULL: standard input and error are no terminal, or out of memory. */
struct chooser *chooser_new(struct loop *);
ssm_choose_fn chooser_ask; /* arg: the chooser */
void chooser_free(struct chooser *);
#endif
