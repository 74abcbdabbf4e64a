#!/bin/sh
# Runs unit test programs, keeps the output of those that fail, and ends with
# a line of totals. Usage: run-unit.sh BUILD_DIR PROGRAM...
dir=$1
shift
passed=0 failed=0
mkdir -p "$dir/unit"
for t in "$@"; do
	log=$dir/unit/$(basename "$t").log
	if timeout 120 "$t" >"$log" 2>&1; then
		n=$(grep -c '\[       OK \]' "$log")
		passed=$((passed + n))
	else
		failed=$((failed + 1))
		echo "FAILED: $t"
		cat "$log"
	fi
done
echo "unit ($dir): $passed passed, $failed failed"
[ "$failed" -eq 0 ]
