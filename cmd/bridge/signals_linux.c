/*
 * signalfd. The parent's death is a signal too, one that nobody else sends; it also comes when only
 * the thread ends that started us, so that the parent is looked for before it is believed.
 */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/bridge/signals_impl.h"

static int parent_signal(void)
{
	return SIGRTMIN + 7;
}

int signals_open(struct signals *s, bool with_command, bool watch_parent, struct err *e)
{
	sigset_t set;

	s->parent = getppid();
	(void)sigemptyset(&set);
	for (const int *n = signals_wanted; *n; n++)
		if (signals_is_wanted(*n, with_command))
			(void)sigaddset(&set, *n);
	(void)sigaddset(&set, parent_signal());
	if (sigprocmask(SIG_BLOCK, &set, &s->mask) != 0)
		return err_sys(e, errno, "signals");
	s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->fd < 0)
		return err_sys(e, errno, "signals");
	signals_ignore(s);
	if (watch_parent)
		(void)prctl(PR_SET_PDEATHSIG, parent_signal());
	return 0;
}

bool signals_next(struct signals *s, struct signal_seen *seen)
{
	struct signalfd_siginfo info;

	while (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		bool parent = (int)info.ssi_signo == parent_signal();

		if (parent && getppid() == s->parent)
			continue;
		seen->number = parent ? SIGNALS_PARENT_DIED : (int)info.ssi_signo;
		/* A terminal that hangs up tells nobody but the session's leader. */
		seen->from_terminal = info.ssi_code == SI_KERNEL && info.ssi_signo != SIGHUP;
		return true;
	}
	return false;
}

void signals_restore(const struct signals *s)
{
	signals_unignore(s);
	(void)sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

void signals_die_with(pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* dead already */
		_exit(128 + SIGKILL);
}
