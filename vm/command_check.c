/*
 * What the spawner asks before it runs a VMM for a main process that somebody may have taken over.
 * It knows the VM that this awsocks was started for, makes its command lines by itself, and
 * compares: there is no list of dangerous options that could be incomplete.
 */
#include <string.h>

#include "base/mem.h"
#include "net/spawner.h"
#include "vm/driver_impl.h"

/* The place of the first word that differs; -1: none does. */
static int differs(const char *const *a, const char *const *b)
{
	int i = 0;

	while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] || b[i] ? i : -1;
}

int vm_command_check(const char *const *argv, const struct vm_bounds *b, struct err *e)
{
	struct vm_command *c = mem_alloc(sizeof(*c));
	struct vm_spec spec = *b->spec;
	int at, worst = 0;

	if (!c)
		return err_set(e, ERR_NOMEM, "VM's command line");
	for (int accel = VM_ACCEL_NONE; accel <= VM_ACCEL_TCG; accel++) {
		spec.accel = (enum vm_accel)accel;
		if (b->driver->command(&spec, c, e) != 0) {
			mem_free(c);
			return -1;
		}
		at = differs(argv, c->argv);
		if (at < 0) {
			mem_free(c);
			return 0;
		}
		worst = at > worst ? at : worst;
	}
	mem_free(c);
	return err_set(e, ERR_DENIED, "not the command line of this VM: word %d is '%.100s'", worst,
		       argv[worst] ? argv[worst] : "missing");
}

int vm_spawn_decide(void *arg, const struct spawn_request *q, struct err *e)
{
	if (q->cwd || !q->own_group)
		return err_set(e, ERR_DENIED, "a VM runs in a group of its own, and nowhere else");
	return vm_command_check(q->argv, arg, e);
}
