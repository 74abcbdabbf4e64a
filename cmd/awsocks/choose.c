#include "cmd/awsocks/choose.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "ec2/instance.h"
#include "net/loop.h"

enum { NO_CHOICE = -1 };

struct chooser {
	struct loop *loop;
	struct loop_watch input;
	size_t count;
	ssm_chosen_fn *done; /* NULL: nobody waits */
	void *to;
};

struct chooser *chooser_new(struct loop *loop)
{
	struct chooser *c;

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return NULL;
	c = mem_alloc(sizeof(*c));
	if (c)
		c->loop = loop;
	return c;
}

static void answered(struct chooser *c, size_t index)
{
	ssm_chosen_fn *done = c->done;

	c->done = NULL;
	watch_del(c->loop, &c->input);
	if (done)
		done(c->to, index);
}

/* A terminal gives a whole line at a time (canonical mode), so one read does. */
static void on_line(void *arg, unsigned ready)
{
	struct chooser *c = arg;
	uint64_t number;
	char line[64];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	(void)ready;
	if (n <= 0) {
		answered(c, (size_t)NO_CHOICE);
		return;
	}
	line[n] = '\0';
	if (str_number(str_trim(line), 1, c->count, &number, NULL) == 0) {
		answered(c, (size_t)number - 1);
		return;
	}
	fprintf(stderr, "A number from 1 to %zu: ", c->count);
	(void)fflush(stderr);
}

void chooser_ask(void *arg, const struct ec2_instance *list, size_t n, ssm_chosen_fn *done,
		 void *to)
{
	struct chooser *c = arg;
	bool busy = c->done != NULL;

	if (busy ||
	    watch_add(c->loop, &c->input, STDIN_FILENO, WATCH_READ, on_line, c, NULL) != 0) {
		/* Asked already for another profile: that one is answered first. */
		done(to, (size_t)NO_CHOICE);
		return;
	}
	c->count = n;
	c->done = done;
	c->to = to;
	fprintf(stderr, "%zu instances are meant:\n", n);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "  %zu) %s  %-10s %-16s launched %s\n", i + 1, list[i].id,
			list[i].state, list[i].private_ip, list[i].launch_time);
	fprintf(stderr, "Which one? ");
	(void)fflush(stderr);
}

void chooser_free(struct chooser *c)
{
	if (!c)
		return;
	watch_del(c->loop, &c->input);
	mem_free(c);
}
