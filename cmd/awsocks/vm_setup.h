#ifndef CMD_AWSOCKS_VM_SETUP_H
#define CMD_AWSOCKS_VM_SETUP_H
/*
 * The VM of --mode vm as start needs it before the fence is closed: which
 * program runs it, what it boots, and a private directory with the image.
 * Whatever is missing is told here, with the command that gets it.
 */
#include <stdbool.h>

#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/setup.h"
#include "vm/driver.h"

struct vm_setup {
	const struct vm_driver *driver; /* NULL: no VM */
	struct vm_spec spec;            /* what it points to is here */
	struct vm_image image;
	struct vm_bounds bounds; /* for the spawner */
	enum vm_accel ladder[3]; /* of qemu: asked for here, since it opens devices */
	size_t rungs;
	char program[PATH_TEXT], agent[PATH_TEXT];
	char verdicts[PATH_TEXT], verdict_dir[PATH_TEXT];
	char dir[PRIVATE_TEXT]; /* "": none (any more) */
};

/* The first profile's options decide. Nothing is made when they say --mode direct.
 * ERR_UNSUPPORTED: no VMM; ERR_CONFIG: no kernel, no agent. vm_setup_end() in any case. */
MUST_CHECK int vm_setup_make(struct vm_setup *, const struct setup *, struct err *);
/* The directory goes; also of the spawner, when the main process was killed. */
void vm_setup_end(struct vm_setup *);

/* Would the agent take what --vm-setting gives it? Told before a VM is booted that would end for
 * its sake. ERR_CONFIG names where it stands, the key, and the one that may be meant. */
MUST_CHECK int vm_setup_check_settings(const struct setup *, struct err *);
/* What would stand in its way, without making anything: for `awsocks check`. */
MUST_CHECK int vm_setup_check(const struct setup *, struct err *);
/* Where fetch-kernel puts kernels. */
MUST_CHECK int vm_kernels_dir(char out[static PATH_TEXT], struct err *);
#endif
