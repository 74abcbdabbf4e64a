#ifndef TESTS_SUPPORT_UNTIL_H
#define TESTS_SUPPORT_UNTIL_H
/* Running a loop until something is so, with a limit for all of a test together. */
#include <stdbool.h>

#include "net/loop.h"

struct until {
	struct loop *loop;
	struct loop_timer nap, limit;
	bool (*so)(void *arg); /* asked every 2 ms */
	void *arg;
	bool late;
};

void until_begin(struct until *, struct loop *, unsigned limit_ms, void *arg);
void until_so(struct until *, bool (*so)(void *arg)); /* fails the test when the limit is over */
void until_end(struct until *);                       /* before the loop is freed */
#endif
