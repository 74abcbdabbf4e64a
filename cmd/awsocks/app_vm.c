/*
 * The VM of --mode vm: the machine and its backend on worker 0, AWS's way out
 * through it, and what `awsocks vm` asks for.
 *
 *   machine <-- backend <-- clients (vm-direct)
 *                       <-- egress (AWS) <-- http, websockets
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/vm_setup.h"
#include "config/options.h"
#include "net/egress.h"
#include "vm/machine.h"
#include "vm/vm_backend.h"

/* For all accelerators one after the other, and an address. OTHERS_MS: for the accelerators before
 * the last one, whose limit no option makes longer. */
enum { BOOT_MS = 120000, OTHERS_MS = 20000, AWS_MS = 60000, CONSOLE_MAX = 64 * 1024 };

static unsigned boot_limit(const struct options *o)
{
	/* The last one's word and its address have that limit each. */
	return o->vm_boot_timeout ? 2 * (unsigned)o->vm_boot_timeout + OTHERS_MS : BOOT_MS;
}

int app_vm_open(struct app *a, const struct vm_setup *v, struct err *e)
{
	const struct options *o = a->profile[0].options;
	struct machine_opts m = { .loop = a->loop,
				  .driver = v->driver,
				  .spec = v->spec,
				  .accel = (enum vm_accel)o->vm_accel,
				  .rungs = v->rungs,
				  .on_demand = o->vm_start == VM_START_ON_DEMAND,
				  .verdicts = v->verdicts,
				  .boot_ms = (unsigned)o->vm_boot_timeout,
				  .capture = o->vm_capture };
	struct vm_backend_opts b = { .loop = a->loop, .limit_ms = (unsigned)o->connect_timeout };

	memcpy(m.ladder, v->ladder, sizeof(m.ladder));
	a->machine = machine_new(&m, e);
	if (!a->machine)
		return -1;
	b.machine = a->machine;
	a->vm = vm_backend_new(&b, e);
	b.limit_ms = boot_limit(o) + AWS_MS;
	b.user = VM_USER_AWS;
	a->vm_aws = a->vm ? vm_backend_new(&b, e) : NULL;
	return a->vm_aws ? 0 : -1;
}

void app_vm_start(struct app *a)
{
	if (a->machine)
		machine_start(a->machine, false);
}

bool app_vm_wait(struct app *a, void (*waited)(void *arg, const struct err *why), void *arg,
		 struct err *e)
{
	return machine_wait(a->machine, boot_limit(a->profile[0].options), waited, arg, e) != NULL;
}

/* ---- AWS's way out ---- */

static void *way_dial(void *arg, const char *host, uint16_t port, unsigned limit_ms,
		      net_dialed_fn *done, void *done_arg, struct err *e)
{
	struct app *a = arg;

	return vm_fd_dial(a->vm_aws, a->loop, host, port, limit_ms + egress_patience_ms(a->egress),
			  done, done_arg, e);
}

static void way_cancel(void *dial)
{
	vm_fd_dial_cancel(dial);
}

/* A request that comes while the VM boots has its own limit from when that is done. */
static unsigned way_patience(void *arg)
{
	const struct app *a = arg;

	return machine_state(a->machine) == MACHINE_RUNNING ? 0 : boot_limit(a->profile[0].options);
}

int app_vm_egress(struct app *a, struct err *e)
{
	const struct egress_way way = { way_dial, way_cancel, way_patience, a,
					"the VM (https:// in the endpoint's URL, or --aws-through "
					"host)" };
	const struct egress_opts none = { .loop = a->loop };

	if (!a->machine || a->profile[0].options->aws_through == AWS_THROUGH_HOST)
		return 0;
	if (!a->egress)
		a->egress = egress_new(&none, e);
	if (!a->egress)
		return -1;
	egress_set_way(a->egress, &way);
	return 0;
}

/* ---- the end ---- */

static void machine_closed(void *arg)
{
	struct app *a = arg;

	a->machine = NULL;
	app_closed_one(a);
}

/* One after the other, as many as the start has made. */
static void close_next(void *arg)
{
	struct app *a = arg;
	struct backend *b = a->vm_aws ? a->vm_aws : a->vm;

	if (a->vm_aws)
		a->vm_aws = NULL;
	else
		a->vm = NULL;
	if (b)
		backend_close(b, close_next, a);
	else if (a->machine)
		machine_close(a->machine, machine_closed, a);
	else
		app_closed_one(a);
}

void app_vm_close(struct app *a)
{
	close_next(a);
}

/* ---- awsocks vm, status ---- */

void app_vm_describe(struct app *a, struct cJSON *into)
{
	if (a->machine)
		machine_describe(a->machine, cJSON_AddObjectToObject(into, "vm"));
}

/* Whose words these are is not to be trusted with a terminal. */
static void clean(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(text[i] >= 0x20 && text[i] < 0x7f) && text[i] != '\n' && text[i] != '\t')
			text[i] = text[i] == '\r' ? ' ' : '?';
}

static int add_console(struct app *a, struct cJSON *vm, struct err *e)
{
	char *text = mem_alloc(CONSOLE_MAX + 1);
	size_t n;

	if (!text)
		return err_set(e, ERR_NOMEM, "console");
	n = machine_console(a->machine, text, CONSOLE_MAX);
	clean(text, n);
	text[n] = '\0';
	cJSON_AddStringToObject(vm, "console", text);
	mem_free(text);
	return 0;
}

int app_vm_command(struct app *a, const char *what, struct cJSON *reply, struct err *e)
{
	struct cJSON *vm;

	if (!a->machine)
		return err_set(e, ERR_UNSUPPORTED,
			       "the running awsocks has no VM: start it with --mode vm");
	vm = cJSON_AddObjectToObject(reply, "vm");
	if (strcmp(what, "console") == 0)
		return add_console(a, vm, e);
	if (strcmp(what, "start") == 0)
		machine_start(a->machine, true);
	else if (strcmp(what, "stop") == 0)
		machine_stop(a->machine);
	else if (strcmp(what, "status") != 0)
		return err_set(e, ERR_USAGE, "control: unknown command for the VM");
	machine_describe(a->machine, vm);
	return 0;
}
