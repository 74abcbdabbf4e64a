#!/bin/sh
# Runs each fuzz target for SECS seconds on its corpus. Usage: run-fuzz.sh SECS PROGRAM...
secs=$1
shift
passed=0 failed=0
for f in "$@"; do
	name=$(basename "$f")
	work=build-fuzz/work/$name
	mkdir -p "$work" "tests/corpus/$name"
	if timeout $((secs + 60)) "$f" -max_total_time="$secs" -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix="$work/" "$work" "tests/corpus/$name" >"$work.log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $f"
		tail -40 "$work.log"
	fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
