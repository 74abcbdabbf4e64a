/* What both systems do alike. */
#include "cmd/bridge/signals_impl.h"

const int signals_wanted[] = { SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
			       SIGUSR2, SIGCHLD, SIGWINCH, SIGTSTP, 0 };
static const int ignored[SIGNALS_IGNORED] = { SIGPIPE, SIGTTIN, SIGTTOU };

bool signals_is_wanted(int number, bool with_command)
{
	return with_command || (number != SIGTSTP && number != SIGWINCH);
}

void signals_ignore(struct signals *s)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)sigemptyset(&ignore.sa_mask);
	for (int i = 0; i < SIGNALS_IGNORED; i++)
		(void)sigaction(ignored[i], &ignore, &s->ignored[i]);
}

void signals_unignore(const struct signals *s)
{
	for (int i = 0; i < SIGNALS_IGNORED; i++)
		(void)sigaction(ignored[i], &s->ignored[i], NULL);
}
