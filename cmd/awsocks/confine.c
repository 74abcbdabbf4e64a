#include "cmd/awsocks/confine.h"

#include "backend/ssm/ssh_command.h"
#include "cmd/awsocks/vm_setup.h"
#include "config/options.h"
#include "credentials/command_known.h"
#include "net/self.h"

extern char **environ;

/* --- in the spawner --- */

static int may_run(void *arg, const struct spawn_request *q, struct err *e)
{
	(void)arg;
	if (q->cwd)
		return err_set(e, ERR_DENIED, "a credential_process has no directory of its own");
	return command_known((const char *const *)environ, q->argv, e);
}

static int may_run_ssh(void *arg, const struct spawn_request *q, struct err *e)
{
	const struct confine *c = arg;
	const struct ssh_bounds bounds = { c->helper, c->ssh_dir, c->known_hosts };

	if (q->cwd || !*c->ssh_dir)
		return err_set(e, ERR_DENIED,
			       q->cwd ? "ssh has no directory of its own" : "no profile uses ssh");
	return ssh_command_check(q->argv, &bounds, e);
}

static int may_run_vm(void *arg, const struct spawn_request *q, struct err *e)
{
	const struct vm_bounds *b = arg;

	if (!b->driver)
		return err_set(e, ERR_DENIED, "there is no VM");
	return vm_spawn_decide(arg, q, e);
}

/* However the main process ended: a key that was never used must not stay, nor a VM's image. */
static void remove_dirs(void *arg)
{
	struct confine *c = arg;

	path_private_remove(c->ssh_dir);
	vm_setup_end(c->vm);
}

/* --- in the main process --- */

/* The nonce of each boot is written into the image, and which accelerators do not work. */
static int add_vm(struct fence_paths *p, const struct vm_setup *v, const struct options *o,
		  struct err *e)
{
	const unsigned files = FENCE_READ | FENCE_WRITE | FENCE_MAKE;

	if (fence_paths_add(p, v->dir, files | FENCE_SOCKET, e) != 0 ||
	    fence_paths_add(p, v->verdict_dir, files, e) != 0)
		return -1;
	return o->vm_capture ? fence_paths_add_file(p, o->vm_capture, files, e) : 0;
}

static int close_fence(struct confine *c, const struct setup *s, struct err *e)
{
	const struct options *o = &s->profile[0].options;
	struct fence_paths paths = { NULL, 0 };
	struct fence_opts opts = { .paths = &paths,
				   .strict = o->origin[OPT_ID_sandbox].level > LEVEL_BUILTIN };
	char control[PATH_TEXT];
	int result;

	/* One that cannot be had is reported, or an error, when it is opened. */
	if (path_control(o->control, control, NULL) != 0)
		control[0] = '\0';
	result = fence_paths_collect(&paths, s, control, e);
	if (result == 0 && *c->ssh_dir)
		result = fence_paths_add(&paths, c->ssh_dir, FENCE_READ | FENCE_MAKE | FENCE_SOCKET,
					 e);
	if (result == 0 && c->vm->driver)
		result = add_vm(&paths, c->vm, o, e);
	if (result == 0)
		result = fence_close(&opts, &c->report, e);
	fence_paths_free(&paths);
	return result;
}

/* What ssh needs is made now: later it may not be. */
static int make_ssh_dir(struct confine *c, const struct setup *s, struct err *e)
{
	bool needed = false;

	for (size_t i = 0; i < s->count; i++)
		needed |= s->profile[i].options.transport != TRANSPORT_PORT;
	if (!needed)
		return 0;
	if (path_state_file("known_hosts", c->known_hosts, e) != 0)
		return -1;
	if (!self_path(c->helper, sizeof(c->helper)))
		return err_set(e, ERR_INTERNAL, "ssh: where is this program?");
	return path_private(c->ssh_dir, e);
}

int confine_start(struct confine *c, const struct setup *s, struct err *e)
{
	/* Further kinds of children are further rows. */
	const struct spawn_rule rules[] = {
		{ .kind = SPAWN_CREDENTIAL_PROCESS, .decide = may_run },
		{ .kind = SPAWN_SSH, .decide = may_run_ssh, .arg = c },
		{ .kind = SPAWN_QEMU, .decide = may_run_vm, .arg = &c->vm->bounds },
	};
	struct spawner_opts opts = { .rule = rules,
				     .rules = sizeof(rules) / sizeof(rules[0]),
				     .at_end = remove_dirs,
				     .arg = c };

	if (make_ssh_dir(c, s, e) != 0)
		return -1;
	c->report.wanted = s->profile[0].options.sandbox;
	c->report.core_dumps = !c->report.wanted;
	/* A VM shall end with us, fence or not. */
	if ((!c->report.wanted && !c->vm->driver) || spawner_new(&c->spawner, &opts, e) == 0)
		return 0;
	return e->code == ERR_UNSUPPORTED ? 0 : -1;
}

int confine_close(struct confine *c, const struct setup *s, struct err *e)
{
	return c->report.wanted ? close_fence(c, s, e) : 0;
}

int confine_attach(struct confine *c, struct loop *loop, struct err *e)
{
	return c->spawner ? spawner_attach(c->spawner, loop, e) : 0;
}

void confine_end(struct confine *c)
{
	spawner_free(c->spawner);
	c->spawner = NULL;
	path_private_remove(c->ssh_dir); /* without a spawner nobody else does */
	vm_setup_end(c->vm);
}
