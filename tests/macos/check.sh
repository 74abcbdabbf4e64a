#!/bin/sh
# `make check-macos`: whatever `make` would build on macOS is compiled for it and linked, on this system, for both
# kinds of Mac, and the unit tests for one of them; the Makefile chooses the files as it does there.
# Usage: check.sh MAKE
#
# The compiler and macOS's own headers and symbols are zig's (tests/setup-zig.sh), the libraries' come from this system
# (sdk.py). A function that only a _linux.c has does not link; one that is declared otherwise here than there
# does not compile. What cannot be seen so: how macOS behaves.
make=${1:-make}
cd "$(dirname "$0")/../.." || exit 1
if [ "$(uname -s)" = Darwin ]; then
	echo "check-macos: this is macOS: make is the check"
	echo "macos: 0 passed, 0 failed, 1 skipped"
	exit 0
fi
if ! sh tests/setup-zig.sh; then
	echo "check-macos: no compiler for macOS"
	echo "macos: 0 passed, 0 failed, 1 skipped"
	exit 0
fi
zig=$PWD/build-zig/zig
dir=build-macos
stamp=$dir/ready-$(cat tests/zig.txt tests/setup-zig.sh tests/macos/* Makefile | cksum | tr ' ' -)
if [ ! -e "$stamp" ]; then
	rm -rf "$dir"
	/usr/bin/env python3 -B tests/macos/sdk.py "$dir" || exit 1
	: >"$stamp"
fi

# Linked without zig's own runtime and UBSan's: nothing here asks for either, and to build both costs more than
# all else here.
no_runtime="-fno-sanitize=undefined -rtlib=none"

# libwebsockets' headers are those of the system that it was built on.
left_out="tests/unit/lws_peer_cli.c tests/unit/net_ws_lws_test.c"

# check ARCH GOAL...: counts what was made and what could not be.
check() {
	arch=$1
	shift
	log=$dir/$arch.log
	rm -f "$dir/$arch"/*awsocks* # linked anew, also when a file has gone
	MAKELEVEL='' MAKEFLAGS='' "$make" -k -s OS=Darwin WERROR=1 NOT_TESTS="$left_out" B="$dir/$arch" \
		CC="$zig cc -target $arch-macos.13.0" AR="$zig ar" CFLAGS="-O0 -fno-sanitize=undefined" \
		LDFLAGS="$no_runtime" \
		PKG_CFLAGS="-isystem $dir/include -isystem $dir/include/cjson" \
		PKG_LIBS="-L$dir/lib -luv -lcurl -lssl -lcrypto -lcjson -lyaml -lexpat -lidn2" \
		"$@" >"$log" 2>&1
	status=$?
	grep -vE '^  [A-Z-]*CC |^make' "$log"
	failed=$(grep -c '^make.*\*\*\*' "$log")
	[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
	passed=$(find "$dir/$arch" \( -name '*.o' -o -type f -perm -100 \) | wc -l)
	echo "macos-$arch: $passed passed, $failed failed" | tee -a "$dir/totals"
}

echo "check-macos: left out: $left_out"
tools() {
	for source in tests/unit/*_cli.c; do
		[ "$source" = "${left_out%% *}" ] || echo "$dir/aarch64/unit/$(basename "$source" .c)"
	done
}

: >"$dir/totals"
check aarch64 all unit-build $(tools)
check x86_64 all
sh tests/totals.sh macos "$dir/totals"
