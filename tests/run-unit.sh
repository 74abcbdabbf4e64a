#!/bin/sh
# Runs unit test programs, all cores at once, keeps each one's output and shows
# that of those that fail. Ends with a line of totals.
# Usage: [WRAP="valgrind ..."] run-unit.sh BUILD_DIR PROGRAM...
dir=$1
shift
# Of a whole program, and only for one that hangs: longer than what a test waits (tests/support/limit.h).
limit=${LIMIT_S:-600}
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
name=unit-$(basename "$dir")${WRAP:+-${WRAP%% *}}
totals=$dir/$name.totals
mkdir -p "$dir/unit"

# A program that dies (a crash, a time-out, a sanitizer) without having counted
# a failure is one failure.
run_one() {
	log=$dir/unit/$(basename "$1").log
	timeout -k 5 "$limit" ${WRAP:-} "$1" >"$log" 2>&1
	status=$?
	passed=$(grep -c '^\[       OK \]' "$log")
	skipped=$(grep "^\[  SKIPPED \] [a-z_0-9]*$" "$log" | sort -u | wc -l)
	failed=0
	if [ "$status" -ne 0 ]; then
		failed=$(grep "^\[  FAILED  \] [a-z_0-9]*$" "$log" | sort -u | wc -l)
		[ "$failed" -gt 0 ] || failed=1
		echo "FAILED (status $status): $1" >"$log.failed"
	fi
	echo "$1: $passed passed, $failed failed, $skipped skipped" >"$log.totals"
}

if [ "${ONE:-}" ]; then
	run_one "$1"
	exit 0
fi
rm -f "$dir"/unit/*.totals "$dir"/unit/*.failed
if [ $# -gt 0 ]; then
	printf '%s\n' "$@" | ONE=1 WRAP=${WRAP:-} xargs -P "$cores" -I '{}' sh "$0" "$dir" '{}'
fi
for t in "$@"; do
	log=$dir/unit/$(basename "$t").log
	[ -e "$log.failed" ] && cat "$log.failed" "$log"
done
cat "$dir"/unit/*.totals /dev/null >"$totals" 2>/dev/null
sh "$(dirname "$0")/totals.sh" "$name" "$totals"
