#!/bin/sh
# Installs what building, testing or benchmarking needs, once. Usage:
# setup.sh build|test|bench
#
# Debian and Ubuntu: with apt-get, as root or through sudo; the lists are read
# anew only when a package is not known. macOS: with Homebrew. Elsewhere: says
# what is needed. When everything is there it asks nobody and takes a moment; a
# stamp under build/ named by the digest of the list remembers that.
set -eu
cd "$(dirname "$0")/.."
. tests/again.sh
group=${1:-test}
list=tests/packages.txt
brewed="pkg-config libuv curl openssl@3 libwebsockets cjson libyaml expat libidn2"

case $group in
build) groups=build ;;
test) groups='build|test' ;;
bench) groups='build|test|bench' ;;
*)
	echo "setup: '$group': build, test or bench expected" >&2
	exit 64
	;;
esac

say() {
	echo "setup: $*" >&2
}

# The packages of these groups, one a line, alternatives and all.
wanted() {
	sed 's/#.*//' "$list" | awk -v groups="^($groups)\$" '$1 ~ groups { print $2 }' | sort -u
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

known() {
	apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# Prints what is still to be installed of "A|?B": nothing when one is there, or
# the program after a colon; otherwise the first that apt knows ("?" before it:
# optional), otherwise "!A|?B" (unless optional).
missing() {
	program=${1##*:}
	[ "$program" = "$1" ] || ! command -v "$program" >/dev/null || return 0
	names=$(echo "${1%%:*}" | tr -d '?' | tr '|' ' ')
	for name in $names; do
		installed "$name" && return
	done
	case $1 in
	*\?*) optional='?' ;;
	*) optional= ;;
	esac
	for name in $names; do
		known "$name" && echo "$optional$name" && return
	done
	if [ -z "$optional" ] || [ -z "${2:-}" ]; then
		echo "!$1"
	fi
}

all_missing() {
	wanted | while read -r entry; do
		missing "$entry" "${1:-}"
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "not root and no sudo; run this as root: $*"
		exit 77
	fi
}

apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" >>"$log" 2>&1
}

apt() {
	again apt_get "$@" || {
		tail -n 20 "$log" >&2
		say "apt-get $1 failed; the whole of it is in $log"
		exit 69
	}
}

# Tests start servers of their own; a package's daemon (sshd, tinyproxy) must
# not begin to listen on somebody's machine because of us.
no_services() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || return 0
	printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
	as_root chmod 755 $policy
	trap 'as_root rm -f $policy' EXIT
	trap 'exit 130' INT TERM
}

setup_debian() {
	todo=$(all_missing)
	[ -n "$todo" ] || return 0
	case $todo in
	*!*) apt update ;;
	esac
	todo=$(all_missing quiet)
	case $todo in
	*!*)
		say "apt knows no" $(echo "$todo" | grep '^!' | tr -d '!')
		exit 69
		;;
	esac
	[ -n "$todo" ] || return 0
	say "installing" $todo
	no_services
	install_all $(echo "$todo" | grep -v '^?')
	# One that cannot be had costs the others nothing.
	optional=$(echo "$todo" | grep '^?' | tr -d '?')
	[ -z "$optional" ] || (install_all $optional) 2>/dev/null || for name in $optional; do
		(install_all "$name") 2>/dev/null || say "$name: not installed, what needs it is left out"
	done
}

# A list that is older than the archive names files that are gone.
install_all() {
	[ $# -gt 0 ] || return 0
	if ! (apt_get install --no-install-recommends "$@"); then
		apt update
		apt install --no-install-recommends "$@"
	fi
}

setup_macos() {
	if ! command -v brew >/dev/null; then
		say "Homebrew is missing (see brew.sh); then run: brew install $brewed"
		exit 69
	fi
	[ "$group" = build ] || brewed="$brewed cmocka cppcheck python3 pytest git"
	for name in $brewed; do
		brew list --versions "$name" >/dev/null 2>&1 || brew install -q "$name"
	done
}

mkdir -p build
log=build/setup.log
stamp=build/setup-$group-$(cat "$list" tests/setup.sh | cksum | tr ' ' -)
[ ! -e "$stamp" ] || exit 0
if [ "$(uname -s)" = Darwin ]; then
	setup_macos
elif command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
	setup_debian
else
	say "no apt-get and no Homebrew here. Install by hand, as your system names them:"
	wanted | tr '\n' ' ' >&2
	echo >&2
	exit 69
fi
: >"$stamp"
