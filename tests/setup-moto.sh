#!/bin/sh
# Makes build/moto, a virtual environment with moto's server (PyPI), for tests/integration/test_moto.py:
# once, and again when tests/moto.txt changes. AWSOCKS_SKIP_MOTO=1: neither this nor those tests.
cd "$(dirname "$0")/.." || exit 1
[ -z "${AWSOCKS_SKIP_MOTO:-}" ] || exit 0
venv=build/moto
stamp=$venv/ready-$(cat tests/moto.txt tests/setup-moto.sh | cksum | tr ' ' -)
[ ! -e "$stamp" ] || exit 0
python=/usr/bin/python3
[ -x "$python" ] || python=python3
rm -rf "$venv"
mkdir -p build
if ! "$python" -m venv "$venv"; then
	echo "setup-moto: no virtual environment could be made (Debian: apt-get install python3-venv)" >&2
	exit 69
fi
if ! timeout 300 "$venv/bin/pip" install -q --timeout 20 --retries 2 --disable-pip-version-check \
	--no-input --no-compile --no-deps --only-binary :all: -r tests/moto.txt; then
	echo "setup-moto: tests/moto.txt could not be installed: is PyPI reached? Without it: AWSOCKS_SKIP_MOTO=1" >&2
	exit 69
fi
: >"$stamp"
