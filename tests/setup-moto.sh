#!/bin/sh
# Makes build/moto, a virtual environment with moto's server (PyPI), for tests/integration/test_moto.py:
# once, and again when tests/moto.txt changes. AWSOCKS_SKIP_MOTO=1: neither this nor those tests.
cd "$(dirname "$0")/.." || exit 1
[ -z "${AWSOCKS_SKIP_MOTO:-}" ] || exit 0
. tests/venv.sh
make_venv moto build/moto || exit
: >"$stamp"
