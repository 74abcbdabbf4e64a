# Sourced by those that fetch something. again COMMAND...: archives and networks fail for a moment, so it is tried up
# to three times, but not anew when two minutes have passed: then nobody is there.
again() {
	again_begun=$(date +%s)
	for again_try in 1 2 3; do
		"$@" && return 0
		again_status=$?
		if [ "$again_try" -eq 3 ] || [ $(($(date +%s) - again_begun)) -gt 120 ]; then
			break
		fi
		sleep $((5 * again_try))
	done
	return "$again_status"
}
