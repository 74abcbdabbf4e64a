#!/bin/sh
# `make test`, after the set-up. Usage: run-all.sh MAKE. The last line is
# "N passed, N failed"; the exit status is 0 only when nothing failed.
make=${1:-make}
cd "$(dirname "$0")/.." || exit 1
suite=test
. tests/run-phases.sh

# Without PyPI all else is still tested; the totals count these as skipped.
if ! sh tests/setup-moto.sh; then
	AWSOCKS_SKIP_MOTO=1
	export AWSOCKS_SKIP_MOTO
fi

phase build "$make" -s all test-tools WERROR=1

# The same with the kernels of VMs: of this machine's processor, and arm64's where QEMU has it.
sh tests/setup-kernel.sh
if command -v qemu-system-aarch64 >/dev/null; then
	sh tests/setup-kernel.sh aarch64
	! sh tests/setup-zig.sh || phase build-agent-aarch64 "$make" -s build-agent AGENT_ARCH=aarch64 WERROR=1
fi

# What needs nothing but the processor is made behind the tests, which wait most
# of the time, in the order in which it is asked for.
later="nice -n 15 $make -s"
{
	run build-san $later all test-tools WERROR=1 SAN=1
	run build-portable $later all WERROR=1 PORTABLE=1
	run build-tsan $later all WERROR=1 SAN=thread
	run lint $later lint
	run build-fuzz $later fuzz-build WERROR=1
	run macos $later check-macos
} &
behind=$!

phase unit "$make" -s test-unit WERROR=1
phase integration sh tests/run-integration.sh build -m "not long"
awaited build-san "$behind"
phase unit-san "$make" -s test-unit WERROR=1 SAN=1
phase integration-san sh tests/run-integration.sh build-san -m "not long and not nosan"
awaited build-portable "$behind"
phase portable "$make" -s test-unit WERROR=1 PORTABLE=1 ONLY="net_% stream_% proxy_% backend_%"
phase workers-portable sh tests/run-integration.sh build-portable -k test_workers
# ThreadSanitizer wants its addresses where they are without randomisation.
fixed=
! setarch -R true 2>/dev/null || fixed="setarch -R"
awaited build-tsan "$behind"
phase unit-tsan $fixed "$make" -s test-unit WERROR=1 SAN=thread ONLY="net_loop"
phase workers-tsan $fixed sh tests/run-integration.sh build-tsan -k test_workers
awaited lint "$behind"
awaited build-fuzz "$behind"
# By a number: what is said of one tree is said of it again. make fuzz goes by chance.
phase fuzz env FUZZ_SEED="${FUZZ_SEED:-1}" "$make" -s fuzz WERROR=1 SECS="${FUZZ_SECS:-5}"
awaited macos "$behind"
finish
