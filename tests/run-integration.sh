#!/bin/sh
# Runs tests/integration with pytest against the programs of a build folder and
# ends with a line of totals. Usage: run-integration.sh BUILD_DIR [PYTEST ARG...]
dir=$1
shift
python=/usr/bin/python3
[ -x "$python" ] || python=python3
log=$dir/integration.log
# Most of them wait most of the time.
jobs=$(($(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) * ${JOBS_PER_CORE:-2}))
# LIMIT_S is of all together, and for what hangs: each test has limits of its own.
AWSOCKS_BUILD=$dir timeout -k 10 "${LIMIT_S:-3600}" "$python" -B -m pytest -q -p no:cacheprovider \
	-n "$jobs" --dist load -rfE "$@" tests/integration >"$log" 2>&1
status=$?
last=$(tail -n 1 "$log")

count() {
	echo "$last" | grep -oE "[0-9]+ $1" | head -n 1 | cut -d' ' -f1
}
passed=$(count passed)
skipped=$(count skipped)
failed=$(($(count failed || echo 0) + 0))
errors=$(($(count error || echo 0) + 0))
failed=$((failed + errors))
# 5: nothing was selected. Anything else that was not counted is one failure.
if [ "$status" -ne 0 ] && [ "$status" -ne 5 ]; then
	[ "$failed" -gt 0 ] || failed=1
	cat "$log"
fi
echo "integration-$dir: ${passed:-0} passed, $failed failed, ${skipped:-0} skipped"
[ "$failed" -eq 0 ]
