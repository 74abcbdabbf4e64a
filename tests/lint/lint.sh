#!/bin/sh
# Everything that can be said about the source without running it. Usage:
# lint.sh [COMPILER FLAG...]. Ends with "lint: N passed, N failed".
cd "$(dirname "$0")/../.." || exit 1
python=/usr/bin/python3
[ -x "$python" ] || python=python3
out=build/lint
mkdir -p "$out"
: >"$out/totals"

part() {
	name=$1
	shift
	"$python" -B "$@" >"$out/$name.log" 2>&1
	status=$?
	# All but the line of totals: what is wrong.
	sed '$d' "$out/$name.log"
	tail -n 1 "$out/$name.log" >>"$out/totals"
	grep -q "^$name: [0-9]* passed" "$out/$name.log" && return
	echo "$name: 0 passed, 1 failed" >>"$out/totals"
	tail -n 5 "$out/$name.log"
	echo "lint: $name ended with status $status"
}

part rules tests/lint/rules_test.py
part source tests/lint/source.py
part bypass tests/lint/bypass.py
part format tests/lint/analyse.py format
part cppcheck tests/lint/analyse.py cppcheck "$@"
part tidy tests/lint/analyse.py tidy "$@"
sh tests/totals.sh lint "$out/totals"
