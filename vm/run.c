#include "vm/run.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/child_env.h"
#include "net/process.h"
#include "net/tcp.h"
#include "vm/console_file.h"

extern char **environ; /* POSIX has it in no header */

struct vm_run {
	struct loop *loop;
	const struct vm_run_handler *handler;
	void *arg;
	struct process *process;
	struct listen_socket *listening; /* of vfkit */
	struct console_file *console;    /* the same */
	struct loop_post hand_over;
	int link; /* ours; -1: handed over, or it is listened for */
	const char *name;
};

static void run_free(struct vm_run *r)
{
	loop_unpost(&r->hand_over);
	if (r->listening)
		listen_close(r->listening);
	if (r->link >= 0)
		close(r->link);
	console_file_close(r->console);
	mem_free(r);
}

/* ---- events ---- */

static void hand_link_over(void *arg)
{
	struct vm_run *r = arg;
	int fd = r->link;

	r->link = -1;
	r->handler->link(r->arg, fd);
}

static void on_connection(void *arg, int fd, const struct addr *peer)
{
	struct vm_run *r = arg;

	(void)peer;
	r->handler->link(r->arg, fd);
}

static void on_words(void *arg, int which, const char *bytes, size_t n)
{
	struct vm_run *r = arg;

	r->handler->said(r->arg, which == 1 ? VM_VOICE_CONSOLE : VM_VOICE_VMM, bytes, n);
}

static void on_console(void *arg, const char *bytes, size_t n)
{
	struct vm_run *r = arg;

	r->handler->said(r->arg, VM_VOICE_CONSOLE, bytes, n);
}

static void on_flood(void *arg)
{
	struct vm_run *r = arg;

	log_warn("vm", "the guest has filled its console (%d MiB): %s is killed",
		 CONSOLE_FILE_MAX / (1024 * 1024), r->name);
	process_kill(r->process);
}

static const struct console_file_handler console_handler = { on_console, on_flood };

void vm_run_hear(struct vm_run *r)
{
	if (r->console)
		console_file_read(r->console);
}

static void on_end(void *arg, const struct process_result *result)
{
	struct vm_run *r = arg;
	void (*ended)(void *, const struct err *) = r->handler->ended;
	void *to = r->arg;
	struct err why;

	vm_run_hear(r);
	if (result->why)
		why = *result->why;
	else if (result->signal)
		(void)err_set(&why, ERR_CLOSED, "%s was ended by signal %d", r->name,
			      result->signal);
	else
		(void)err_set(&why, ERR_CLOSED, "%s ended with status %d", r->name, result->status);
	run_free(r);
	ended(to, &why);
}

/* ---- start ---- */

/* The child's end blocks: what it is to it is its own affair, and ours does not. */
static int make_link(struct vm_run *r, int *theirs, struct err *e)
{
	int pair[2];

	if (tcp_make_pair(pair, e) != 0)
		return -1;
	r->link = pair[0];
	*theirs = pair[1];
	return fcntl(*theirs, F_SETFL, 0) == 0 ? 0 : err_sys(e, errno, "link");
}

static int listen_for_link(struct vm_run *r, const char *path, struct err *e)
{
	char text[VM_PATH + sizeof("unix:")];
	struct addr at;

	(void)str_fmt(text, sizeof(text), "unix:%s", path);
	if (addr_parse(text, &at, e) != 0)
		return -1;
	r->listening = listen_open(r->loop, &at, on_connection, r, e);
	return r->listening ? 0 : -1;
}

/* Where a spawner starts it, that has its own to strip (net/spawner.h). */
static char **environment(struct err *e)
{
	size_t n = 0;
	char **env;

	while (environ[n])
		n++;
	env = mem_alloc((n + 1) * sizeof(*env));
	if (!env) {
		(void)err_set(e, ERR_NOMEM, "VM");
		return NULL;
	}
	memcpy(env, environ, n * sizeof(*env));
	child_env_strip(env);
	return env;
}

static int start(struct vm_run *r, const struct vm_command *c, char **env, struct err *e)
{
	struct process_opts o = { .argv = c->argv,
				  .env = (const char *const *)env,
				  .kind = SPAWN_QEMU,
				  .service = true,
				  .said = on_words,
				  .has_in = !*c->listen,
				  .in_fd = -1 };
	int result;

	if (*c->listen)
		result = listen_for_link(r, c->listen, e);
	else
		result = make_link(r, &o.in_fd, e);
	if (result == 0 && *c->console) {
		r->console = console_file_open(r->loop, c->console, &console_handler, r, e);
		result = r->console ? 0 : -1;
	}
	if (result == 0) {
		r->process = process_start(r->loop, &o, on_end, r, e);
		result = r->process ? 0 : -1;
	}
	if (o.in_fd >= 0) /* with a copy of it here, its end would be no news */
		close(o.in_fd);
	return result;
}

struct vm_run *vm_run_start(struct loop *l, const struct vm_driver *d, const struct vm_spec *s,
			    const struct vm_run_handler *handler, void *arg, struct err *e)
{
	struct vm_command *c = mem_alloc(sizeof(*c));
	struct vm_run *r = mem_alloc(sizeof(*r));
	int result = -1;
	char **env;

	if (c && r) {
		*r = (struct vm_run){
			.loop = l, .handler = handler, .arg = arg, .name = d->name, .link = -1
		};
		result = d->command(s, c, e);
		env = result == 0 ? environment(e) : NULL;
		result = env ? start(r, c, env, e) : -1;
		mem_free(env);
	} else {
		(void)err_set(e, ERR_NOMEM, "VM");
	}
	if (result == 0 && r->link >= 0)
		loop_post(l, &r->hand_over, hand_link_over, r);
	else if (result != 0 && c && r)
		run_free(r);
	else if (result != 0)
		mem_free(r);
	mem_free(c);
	return result == 0 ? r : NULL;
}

pid_t vm_run_pid(const struct vm_run *r)
{
	return process_pid(r->process);
}

void vm_run_kill(struct vm_run *r)
{
	process_kill(r->process);
}

void vm_run_forget(struct vm_run *r)
{
	process_cancel(r->process);
	run_free(r);
}
