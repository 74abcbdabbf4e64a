#!/bin/sh
# Gets the kernels for tests that boot a VM into build/kernel/ARCH/VERSION, by `awsocks vm fetch-kernel`: from apt, or
# Debian's archive. Usage: setup-kernel.sh [ARCH...]; without: this machine's. After the build, with the network
# that installing has. Once: what is there stays. AWSOCKS_SKIP_VM=1: no kernel, and what needs one is skipped.
cd "$(dirname "$0")/.." || exit 1
[ -z "${AWSOCKS_SKIP_VM:-}" ] || exit 0
. tests/again.sh
[ $# -gt 0 ] || set -- "$(uname -m | sed -e s/arm64/aarch64/ -e s/amd64/x86_64/)"
status=0
for arch; do
	for kernel in build/kernel/"$arch"/*/vmlinuz; do
		[ ! -e "$kernel" ] || continue 2
	done
	mkdir -p build/kernel
	if ! again build/awsocks vm fetch-kernel --arch "$arch" --to build/kernel; then
		echo "setup-kernel: no kernel for $arch; tests that boot a VM of it are skipped" >&2
		status=69
	fi
done
exit $status
