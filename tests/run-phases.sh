# Sourced by run-all.sh and run-long.sh: runs phases, keeps their output in
# build/test/, shows what failed, and adds up the totals that each prints as its
# last line.
logs=build/test
mkdir -p "$logs"
rm -f "$logs/$suite".*
: >"$logs/$suite.totals"

# run NAME COMMAND...: its output, and "STATUS SECONDS" once it has ended.
run() {
	of=$logs/$suite.$1
	shift
	begun=$(date +%s)
	"$@" >"$of.log" 2>&1 </dev/null
	echo "$? $(($(date +%s) - begun))" >"$of.end.new"
	mv "$of.end.new" "$of.end"
}

# report NAME: what came of it. A phase that has no tests of its own (a build)
# counts only when it fails.
report() {
	name=$1
	of=$logs/$suite.$1
	read -r status seconds <"$of.end"
	# The last one near the end: make may have a word of its own after it.
	line=$(tail -n 3 "$of.log" | grep -E '^[a-z-]+: [0-9]+ passed, [0-9]+ failed' | tail -n 1)
	if [ "$status" -ne 0 ]; then
		echo "--- $name failed ($of.log):"
		tail -n 200 "$of.log"
		echo "$line" | grep -qE ', [1-9][0-9]* failed' || line="$name: 0 passed, 1 failed"
	fi
	[ -z "$line" ] || echo "$line" >>"$logs/$suite.totals"
	echo "${line:-$name: done} ($seconds s)"
	return "$status"
}

phase() {
	run "$@"
	report "$1"
}

# awaited NAME PID: a phase that PID runs beside the others. When PID ends
# without it, that is a failure.
awaited() {
	while [ ! -e "$logs/$suite.$1.end" ]; do
		if ! kill -0 "$2" 2>/dev/null && [ ! -e "$logs/$suite.$1.end" ]; then
			: >>"$logs/$suite.$1.log"
			echo "1 0" >"$logs/$suite.$1.end"
		fi
		sleep 1
	done
	report "$1"
}

# The last line: the sum, alone.
finish() {
	sh tests/totals.sh "" "$logs/$suite.totals"
}
