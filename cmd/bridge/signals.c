/* What both systems do alike. */
#include "cmd/bridge/signals_impl.h"

const int signals_wanted[] = { SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
			       SIGUSR2, SIGCHLD, SIGWINCH, SIGTSTP, 0 };
static const int ignored[SIGNALS_IGNORED] = { SIGPIPE, SIGTTIN, SIGTTOU };

/* What was ignored when we began stays so, as nohup and a shell's & want it. */
bool signals_is_wanted(int number, bool with_command)
{
	struct sigaction now;

	if (number == SIGCHLD)
		return true;
	if (!with_command && (number == SIGTSTP || number == SIGWINCH))
		return false;
	return sigaction(number, NULL, &now) != 0 || now.sa_handler != SIG_IGN;
}

void signals_ignore(struct signals *s)
{
	struct sigaction act = { .sa_handler = SIG_IGN };

	(void)sigemptyset(&act.sa_mask);
	for (int i = 0; i < SIGNALS_IGNORED; i++)
		(void)sigaction(ignored[i], &act, &s->ignored[i]);
	act.sa_handler = SIG_DFL; /* ignored, children would vanish without a status */
	(void)sigaction(SIGCHLD, &act, &s->child);
}

void signals_unignore(const struct signals *s)
{
	for (int i = 0; i < SIGNALS_IGNORED; i++)
		(void)sigaction(ignored[i], &s->ignored[i], NULL);
	(void)sigaction(SIGCHLD, &s->child, NULL);
}
