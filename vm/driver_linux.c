#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vm/driver_impl.h"

enum { KVM_API = 12 }; /* the one that there has ever been */

static bool makes_vms(int kvm)
{
	int vm;

	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API)
		return false;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return false;
	close(vm);
	return true;
}

/* Under a hypervisor that only pretends, all of this works and no kernel boots. */
enum vm_accel vm_host_accel(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool works;

	if (kvm < 0)
		return VM_ACCEL_NONE;
	works = makes_vms(kvm);
	close(kvm);
	return works ? VM_ACCEL_KVM : VM_ACCEL_NONE;
}

bool vm_host_has_qemu_sandbox(void)
{
	return true;
}
