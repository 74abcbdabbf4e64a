# For tests/setup-*.sh, which read it: packages from PyPI in virtual environments of the build tree.
. tests/again.sh

# make_venv NAME DIR: DIR with what tests/NAME.txt pins, made anew when that file, this one or
# tests/setup-NAME.sh changes. 0: $stamp is there already, or is to be made when all else is done.
make_venv() {
	name=$1
	venv=$2
	stamp=$venv/ready-$(cat "tests/$name.txt" "tests/setup-$name.sh" tests/venv.sh | cksum | tr ' ' -)
	[ ! -e "$stamp" ] || return 0
	python=/usr/bin/python3
	[ -x "$python" ] || python=python3
	rm -rf "$venv"
	mkdir -p "$(dirname "$venv")"
	if ! "$python" -m venv "$venv"; then
		echo "setup-$name: no virtual environment could be made (Debian: apt-get install python3-venv)" >&2
		return 69
	fi
	if ! again timeout 600 "$venv/bin/pip" install -q --timeout 20 --retries 2 --disable-pip-version-check \
		--no-input --no-compile --no-deps --only-binary :all: -r "tests/$name.txt"; then
		echo "setup-$name: tests/$name.txt could not be installed: is PyPI reached? Without it:" \
			"AWSOCKS_SKIP_$(echo "$name" | tr a-z A-Z)=1" >&2
		return 69
	fi
}
