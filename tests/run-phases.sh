# Sourced by run-all.sh and run-long.sh: runs phases one after the other, keeps
# their output in build/test/, shows what failed, and adds up the totals that
# each prints as its last line.
logs=build/test
mkdir -p "$logs"
rm -f "$logs/$suite".*
: >"$logs/$suite.totals"

# phase NAME COMMAND...: a phase that has no tests of its own (a build) counts
# only when it fails.
phase() {
	name=$1
	shift
	begun=$(date +%s)
	"$@" >"$logs/$suite.$name.log" 2>&1 </dev/null
	status=$?
	# The last one near the end: make may have a word of its own after it.
	line=$(tail -n 3 "$logs/$suite.$name.log" | grep -E '^[a-z-]+: [0-9]+ passed, [0-9]+ failed' | tail -n 1)
	if [ "$status" -ne 0 ]; then
		echo "--- $name failed ($logs/$suite.$name.log):"
		tail -n 200 "$logs/$suite.$name.log"
		echo "$line" | grep -qE ', [1-9][0-9]* failed' || line="$name: 0 passed, 1 failed"
	fi
	[ -z "$line" ] || echo "$line" >>"$logs/$suite.totals"
	echo "${line:-$name: done} ($(($(date +%s) - begun)) s)"
	return "$status"
}

# The last line: the sum, alone.
finish() {
	sh tests/totals.sh "" "$logs/$suite.totals"
}
