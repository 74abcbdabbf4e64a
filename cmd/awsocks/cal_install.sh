# What is above: cal_config (text), cal_functions, cal_bridge_to and cal_host_keys (functions that
# write), WAY and VM. Human words go to standard error; with the ssh way standard output is the
# VM's public key, for `awsocks cal setup --vm NAME --key -`.

say() {
	printf '%s\n' "$*" >&2
}

# FILE: standard input to FILE, all of it or nothing new; a link and the mode of what is there stay.
put() {
	cat >"$1.cal-new"
	if [ -e "$1" ]; then
		cat "$1.cal-new" >"$1"
		rm -f "$1.cal-new"
	else
		mv "$1.cal-new" "$1"
	fi
}

# FILE without what an earlier set-up wrote. A last line without its end gets one (GNU sed gives it
# none): what follows would else be a part of it, and go away with ours.
without_ours() {
	[ -e "$1" ] || return 0
	sed -e '/# CAL SOCKS Tunnel Functions/,/^fi$/d' -e '/# CAL SOCKS programs$/d' "$1"
	[ -z "$(tail -c 1 "$1")" ] || echo
}

programs() {
	for name in start_socks stop_socks restart_socks socks_status start_http_proxy stop_http_proxy; do
		program "$name" "$name"
	done
	program proxy-start start_socks
	program proxy-stop stop_socks
	program proxy-restart restart_socks
	program proxy-status socks_status
	program proxy-log _cal_log
}

program() {
	printf '#!/bin/sh\n. "$HOME/.cal-socks/functions.sh" && %s "$@"\n' "$2" | put "$dir/bin/$1"
	chmod 700 "$dir/bin/$1"
}

# The functions at the end, for interactive shells; the programs' directory first, for
# `ssh vm socks_status`, in the file that a shell reads then too.
startup_files() {
	on_path='case :$PATH: in *:"$HOME/.cal-socks/bin":*) ;; *) PATH=$HOME/.cal-socks/bin:$PATH ;; esac'
	on_path="$on_path # CAL SOCKS programs"
	block='# CAL SOCKS Tunnel Functions: start_socks stop_socks restart_socks socks_status
if [ -r "$HOME/.cal-socks/functions.sh" ]; then
	. "$HOME/.cal-socks/functions.sh"
	case $- in *i*) _cal_auto ;; esac
fi'
	{ printf '%s\n' "$on_path"; without_ours "$HOME/.zshenv"; } | put "$HOME/.zshenv"
	{ without_ours "$HOME/.zshrc"; printf '%s\n' "$block"; } | put "$HOME/.zshrc"
	{ printf '%s\n' "$on_path"; without_ours "$HOME/.bashrc"; printf '%s\n' "$block"; } | put "$HOME/.bashrc"
}

# The newer names of the same files; a file of CAL's own is left alone.
links() {
	for pair in config=.calf-proxy-config log=.calf-proxy.log pid=.calf-proxy.pid; do
		new=$HOME/${pair#*=}
		case ${pair%%=*} in
		config) old=.cal-socks-config ;;
		log) old=.cal-socks.log ;;
		*) old=.cal-socks.pid ;;
		esac
		if [ -h "$new" ] || [ ! -e "$new" ]; then ln -sf "$old" "$new"; fi
	done
}

bridge() {
	if cal_bridge_to "$dir/bin/awsocks-bridge.new" && [ -s "$dir/bin/awsocks-bridge.new" ]; then
		chmod 700 "$dir/bin/awsocks-bridge.new"
		mv "$dir/bin/awsocks-bridge.new" "$dir/bin/awsocks-bridge"
		return 0
	fi
	rm -f "$dir/bin/awsocks-bridge.new"
	command -v awsocks-bridge >/dev/null || command -v awsocks >/dev/null ||
		[ -x "$dir/bin/awsocks-bridge" ] ||
		say "awsocks-bridge for this system ($(uname -sm)) is missing: put it into $dir/bin or on PATH"
}

ssh_files() {
	mkdir -p "$HOME/.ssh"
	chmod 700 "$HOME/.ssh"
	{
		if [ -e "$HOME/.ssh/known_hosts" ]; then
			sed -e '/ cal-vm-socks-host$/d' "$HOME/.ssh/known_hosts"
			[ -z "$(tail -c 1 "$HOME/.ssh/known_hosts")" ] || echo
		fi
		cal_host_keys
	} | put "$HOME/.ssh/known_hosts"
	[ -e "$HOME/.ssh/id_ed25519" ] ||
		ssh-keygen -q -t ed25519 -N '' -C cal-vm-socks -f "$HOME/.ssh/id_ed25519" >&2
	[ -e "$HOME/.ssh/id_ed25519.pub" ] || ssh-keygen -y -f "$HOME/.ssh/id_ed25519" >"$HOME/.ssh/id_ed25519.pub"
	cat "$HOME/.ssh/id_ed25519.pub"
}

umask 077
dir=$HOME/.cal-socks
mkdir -p "$dir/bin"
# What runs now was started with the old settings.
ran=
if [ -r "$dir/functions.sh" ]; then
	ran=$(
		. "$dir/functions.sh"
		_cal_load && _cal_running "$HOME/.cal-socks.pid" && stop_socks
	) 2>/dev/null || :
fi
cal_functions | put "$dir/functions.sh"
printf '%s\n' "$cal_config" | put "$HOME/.cal-socks-config"
programs
startup_files
links
case $WAY in
bridge) bridge ;;
ssh) ssh_files ;;
esac
if [ -n "$ran" ]; then "$dir/bin/start_socks" >&2 || :; fi
say "CAL SOCKS ($WAY) is set up in this VM ($VM): open a new shell, or run start_socks"
