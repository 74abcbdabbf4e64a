#ifndef VM_VM_BACKEND_H
#define VM_VM_BACKEND_H
/* The backend of the route vm-direct: streams out of the VM's NAT. A dial waits for the machine
 * (vm/machine.h), which it starts if need be, and then has the rest of its limit. */
#include "base/err.h"
#include "net/dialer.h"
#include "vm/conn.h"

struct backend;
struct machine;
struct loop;

struct vm_backend_opts {
	struct loop *loop;
	struct machine *machine; /* lives until closed() */
	unsigned limit_ms;       /* for all of a dial, the boot included; 0: 30 s */
	enum vm_user user;       /* whose dials these are */
};
struct backend *vm_backend_new(const struct vm_backend_opts *, struct err *);

/* For libraries that want a descriptor (AWS's REST and websockets): a dial whose stream is behind
 * one end of a pair of sockets, the connecting one of a tcp_pair() (net/tcp_pair.h): curl takes
 * no other. done() as net_dial()'s; *to may be of length 0. */
struct vm_fd_dial;
struct vm_fd_dial *vm_fd_dial(struct backend *, struct loop *, const char *host, uint16_t port,
			      unsigned limit_ms, net_dialed_fn *done, void *arg, struct err *e);
void vm_fd_dial_cancel(struct vm_fd_dial *);
#endif
