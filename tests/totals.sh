#!/bin/sh
# Adds up lines of "NAME: N passed, N failed[, N skipped]" in a file and prints
# the sum in the same form; fails when something failed or nothing ran.
# Usage: totals.sh NAME FILE...   (an empty NAME: no name in front)
name=$1
shift
awk -v name="$name" '
{
	for (i = 2; i <= NF; i++) {
		if ($i ~ /^passed/) passed += $(i - 1)
		if ($i ~ /^failed/) failed += $(i - 1)
		if ($i ~ /^skipped/) skipped += $(i - 1)
	}
}
END {
	printf "%s%d passed, %d failed", name == "" ? "" : name ": ", passed, failed
	if (skipped)
		printf ", %d skipped", skipped
	print ""
	exit failed > 0 || passed == 0
}' "$@"
