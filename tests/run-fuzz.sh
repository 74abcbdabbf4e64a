#!/bin/sh
# Runs each fuzz target for SECS seconds on its corpus, all cores at once.
# What it finds goes to build-fuzz/found/NAME, never into the tree. FUZZ_SEED=N: not by chance, but by that number.
# Usage: run-fuzz.sh SECS PROGRAM...
secs=$1
shift
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
root=build-fuzz/found

run_one() {
	name=$(basename "$1")
	work=$root/$name
	corpus=tests/corpus/$name
	mkdir -p "$work"
	[ -d "$corpus" ] || corpus=
	# The limits are for what hangs: of an input's time, of which a machine that stalls takes much, and of
	# the program's, whose corpus comes before its SECS.
	if timeout -k 5 $((secs + 600)) "$1" -max_total_time="$secs" -timeout=120 -rss_limit_mb=2048 \
		${FUZZ_SEED:+-seed="$FUZZ_SEED"} -artifact_prefix="$work/" "$work" $corpus >"$work.log" 2>&1; then
		echo "$name: 1 passed, 0 failed" >"$work.totals"
	else
		echo "$name: 0 passed, 1 failed" >"$work.totals"
	fi
}

if [ "${ONE:-}" ]; then
	run_one "$1"
	exit 0
fi
mkdir -p "$root"
rm -f "$root"/*.totals
printf '%s\n' "$@" | ONE=1 xargs -P "$cores" -I '{}' sh "$0" "$secs" '{}'
for f in $(grep -l '1 failed' "$root"/*.totals /dev/null); do
	echo "FAILED: $(basename "$f" .totals)"
	tail -n 40 "${f%.totals}.log"
done
cat "$root"/*.totals >"$root/all"
sh "$(dirname "$0")/totals.sh" fuzz "$root/all"
