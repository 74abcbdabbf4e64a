#!/bin/sh
# Makes build/clients, a virtual environment with the clients of pypi.txt: once, and again when that changes. Without it
# the tests of these clients are skipped.
cd "$(dirname "$0")/../.." || exit 1
venv=build/clients
stamp=$venv/ready-$(cat tests/clients/pypi.txt tests/clients/setup.sh | cksum | tr ' ' -)
[ ! -e "$stamp" ] || exit 0
python=/usr/bin/python3
[ -x "$python" ] || python=python3
rm -rf "$venv"
mkdir -p build
if ! "$python" -m venv "$venv" || ! timeout 300 "$venv/bin/pip" install -q --timeout 20 --retries 2 --no-input \
	--disable-pip-version-check --no-compile --no-deps --only-binary :all: -r tests/clients/pypi.txt; then
	echo "clients: tests/clients/pypi.txt could not be installed: is PyPI reached?" >&2
	exit 69
fi
: >"$stamp"
