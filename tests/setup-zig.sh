#!/bin/sh
# Makes build-zig/zig, a C compiler for other systems than this (`zig cc -target aarch64-macos`), from PyPI:
# once, and again when tests/zig.txt changes. AWSOCKS_SKIP_ZIG=1: fails at once, as where there is no PyPI.
cd "$(dirname "$0")/.." || exit 1
if [ -n "${AWSOCKS_SKIP_ZIG:-}" ]; then
	echo "setup-zig: left out (AWSOCKS_SKIP_ZIG)" >&2
	exit 69
fi
. tests/venv.sh
make_venv zig build-zig || exit
[ ! -e "$stamp" ] || exit 0
program=$("$venv/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
# Its cache belongs to the build tree, not to somebody's home.
cat >"$venv/zig" <<END
#!/bin/sh
ZIG_GLOBAL_CACHE_DIR='$PWD/$venv/cache' ZIG_LOCAL_CACHE_DIR='$PWD/$venv/cache'
export ZIG_GLOBAL_CACHE_DIR ZIG_LOCAL_CACHE_DIR
exec '$program' "\$@"
END
chmod 755 "$venv/zig"
"$venv/zig" version >/dev/null || exit 69
: >"$stamp"
