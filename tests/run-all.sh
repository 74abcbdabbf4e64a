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
phase unit "$make" -s test-unit WERROR=1
phase integration sh tests/run-integration.sh build -m "not long"
phase portable "$make" -s test-unit WERROR=1 PORTABLE=1 ONLY="net_% stream_% proxy_% backend_%"
phase build-portable "$make" -s all WERROR=1 PORTABLE=1
phase workers-portable sh tests/run-integration.sh build-portable -k test_workers
# ThreadSanitizer wants its addresses where they are without randomisation.
fixed=
! setarch -R true 2>/dev/null || fixed="setarch -R"
phase build-tsan "$make" -s all WERROR=1 SAN=thread
phase unit-tsan $fixed "$make" -s test-unit WERROR=1 SAN=thread ONLY="net_loop"
phase workers-tsan $fixed sh tests/run-integration.sh build-tsan -k test_workers
phase build-san "$make" -s all test-tools WERROR=1 SAN=1
phase unit-san "$make" -s test-unit WERROR=1 SAN=1
phase integration-san sh tests/run-integration.sh build-san -m "not long and not nosan"
phase lint "$make" -s lint
phase fuzz "$make" -s fuzz WERROR=1 SECS="${FUZZ_SECS:-5}"
finish
