#ifndef VM_MODULES_H
#define VM_MODULES_H
/*
 * The modules that a VM needs, in the order in which they can be loaded. What there is stands in
 * modules.order and modules.dep of lib/modules/VERSION, what needs no loading in modules.builtin;
 * what a module needs it says itself (depends= in its section .modinfo), so that a tree that
 * depmod has never seen will do.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "vm/image.h"

enum { MODULES_MAX = 64, MODULE_NAME = 64 };

struct module {
	char name[MODULE_NAME]; /* "virtio_net": '_' for '-' */
	struct buf file;        /* unpacked */
};
struct modules {
	const char *dir, *version; /* the caller's; version NULL: any */
	struct buf lists, builtin; /* of paths, NUL at the end */
	struct module list[MODULES_MAX];
	size_t count;
	char missing[MODULE_NAME]; /* after a failure: the one that there is not; "": other cause */
};
/* dir: lib/modules/VERSION. ERR_CONFIG: there are no lists. To be closed also when it fails. */
MUST_CHECK int modules_open(struct modules *, const char *dir, const char *version, struct err *);
void modules_close(struct modules *);
/* This one behind all that it needs, if it is not among them yet. One that is built in is there
 * already. One that is not needed may be missing. ERR_CONFIG: there is none, it is no module or
 * one of another kernel. */
MUST_CHECK int modules_add(struct modules *, const char *name, bool needed, struct err *);
/* All that this transport takes. */
MUST_CHECK int modules_add_for(struct modules *, enum vm_transport, struct err *);
/* Where it is in the lists ("kernel/net/x.ko"; the file may be packed and have a further suffix).
 */
bool modules_find(const struct modules *, const char *name, char *path, size_t size);
/* Is `path` ("kernel/net/x-y.ko.xz") the file of module `name` ("x_y")? */
bool module_is(const char *path, size_t n, const char *name);
#endif
