#ifndef CMD_AWSOCKS_TERMINAL_H
#define CMD_AWSOCKS_TERMINAL_H
/*
 * Questions at the terminal that a program was started from, on the loop; what is typed is not
 * shown. The terminal is put right at the answer, at terminal_free(), and before a signal ends or
 * stops the program; only SIGKILL and a crash leave it without an echo (stty sane).
 */
#include <stdbool.h>

struct loop;
struct terminal;

struct terminal_user {
	/* A line without its end, which the callee wipes; NULL: nobody will type any more. */
	void (*line)(void *arg, char *line);
	void (*again)(void *arg); /* back in the foreground: the question is to be shown */
	void *arg;
};

/* Before a fence is closed, which keeps /dev/tty away. NULL: there is none, or no memory. */
struct terminal *terminal_open(void);
void terminal_free(struct terminal *); /* NULL allowed; before its loop */

/* Whether we may use it: who reads a terminal in the background is stopped. NULL: no. */
bool terminal_is_ours(const struct terminal *);
/* Reads lines until terminal_done(). A second call changes nothing. */
void terminal_ask(struct terminal *, struct loop *, const struct terminal_user *);
void terminal_say(const struct terminal *, const char *text); /* while it reads */
void terminal_done(struct terminal *);                        /* NULL allowed */
/* The same, and no further questions: we are about to end. */
void terminal_leave(struct terminal *);
#endif
