#!/bin/sh
# `make test-long`, after the set-up: full-size transfers, the unit tests under
# valgrind, and clang's analyser at its full depth. Usage: run-long.sh MAKE. Ends as run-all.sh does.
make=${1:-make}
cd "$(dirname "$0")/.." || exit 1
suite=long
. tests/run-phases.sh

valgrind="valgrind -q --leak-check=full --show-leak-kinds=definite,possible --track-fds=no --error-exitcode=9 \
--suppressions=tests/valgrind.supp"

phase build "$make" -s all test-tools WERROR=1
sh tests/setup-kernel.sh
# Side by side: the soak alone takes ten minutes, of which most is left over.
{
	phase valgrind env LIMIT_S=1800 WRAP="$valgrind" "$make" -s test-unit WERROR=1
	phase lint-deep nice -n 15 "$make" -s lint-deep
} &
phase integration env LIMIT_S=5400 sh tests/run-integration.sh build -m long
wait
finish
