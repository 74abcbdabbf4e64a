#include <sys/sysctl.h>
#include <sys/types.h>

#include "vm/driver_impl.h"

enum vm_accel vm_host_accel(void)
{
	size_t size = sizeof(int);
	int there = 0;

	if (sysctlbyname("kern.hv_support", &there, &size, NULL, 0) != 0 || !there)
		return VM_ACCEL_NONE;
	return VM_ACCEL_HVF;
}

bool vm_host_has_qemu_sandbox(void)
{
	return false;
}
