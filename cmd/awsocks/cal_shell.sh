# awsocks in a CAL VM: start_socks, stop_socks, restart_socks, socks_status and their kin.
# Written by `awsocks cal shell`; for bash, zsh and POSIX sh, on Linux and macOS.
#
# Settings are read anew by each function: the environment first, then ~/.cal-socks-config
# (also found as ~/.calf-proxy-config). No variable of that name is ever set here, so that an
# `export SOCKS_MODE=on` of the user's holds wherever it stands.
#
#   SOCKS_MODE       auto | on | off (PROXY_MODE is its newer name)
#   SOCKS_WAY        gateway: nothing runs in the VM; bridge: awsocks-bridge; ssh: ssh -L
#   SOCKS_PORT, HTTP_PROXY_PORT   here, on 127.0.0.1
#   HOST_GATEWAY, HOST_USER, HOST_PROXY_PORT   the host, and where awsocks listens there
#   HOST_SSH_PORT    of the host's sshd, for the way ssh
#   SOCKS_ALL_PROXY  what ALL_PROXY is: socks5 (as ever), socks5h, http, none

_cal_dir=$HOME/.cal-socks

# ---- settings ----

# NAME VARIABLE VALUE DEFAULT: one assignment, to be eval'ed; what is more than a word is refused.
_cal_word() {
	case ${3:-$4} in
	*[!A-Za-z0-9._:-]*) printf "_cal_bad='%s'\n" "$2" ;;
	*) printf "_cal_%s='%s'\n" "$1" "${3:-$4}" ;;
	esac
}

_cal_settings() (
	mode=${SOCKS_MODE:-${PROXY_MODE-}} way=${SOCKS_WAY-} port=${SOCKS_PORT-} http=${HTTP_PROXY_PORT-}
	gate=${HOST_GATEWAY-} user=${HOST_USER-} host=${HOST_PROXY_PORT-} all=${SOCKS_ALL_PROXY-}
	ssh=${HOST_SSH_PORT-}
	unset SOCKS_MODE PROXY_MODE SOCKS_WAY SOCKS_PORT HTTP_PROXY_PORT HOST_GATEWAY HOST_USER HOST_PROXY_PORT \
		HOST_SSH_PORT SOCKS_ALL_PROXY
	for file in "$HOME/.cal-socks-config" "$HOME/.calf-proxy-config"; do
		[ -r "$file" ] || continue
		. "$file" >/dev/null 2>&1
		break
	done
	_cal_word mode SOCKS_MODE "$mode" "${PROXY_MODE:-${SOCKS_MODE:-auto}}"
	_cal_word way SOCKS_WAY "$way" "${SOCKS_WAY:-bridge}"
	_cal_word socks_port SOCKS_PORT "$port" "${SOCKS_PORT:-1080}"
	_cal_word http_port HTTP_PROXY_PORT "$http" "${HTTP_PROXY_PORT:-8080}"
	_cal_word gateway HOST_GATEWAY "$gate" "${HOST_GATEWAY:-192.168.64.1}"
	_cal_word user HOST_USER "$user" "${HOST_USER:-$(command id -un)}"
	_cal_word host_port HOST_PROXY_PORT "$host" "${HOST_PROXY_PORT:-1080}"
	_cal_word ssh_port HOST_SSH_PORT "$ssh" "${HOST_SSH_PORT:-22}"
	_cal_word all SOCKS_ALL_PROXY "$all" "${SOCKS_ALL_PROXY:-socks5}"
)

_cal_load() {
	_cal_bad= _cal_mode= _cal_way= _cal_socks_port=
	eval "$(_cal_settings)"
	case ${_cal_mode-} in auto | on | off) ;; *) _cal_bad='SOCKS_MODE (auto, on or off)' ;; esac
	case ${_cal_way-} in gateway | bridge | ssh) ;; *) _cal_bad='SOCKS_WAY (gateway, bridge or ssh)' ;; esac
	case ${_cal_socks_port-}:${_cal_http_port-}:${_cal_host_port-}:${_cal_ssh_port-} in
	*[!0-9:]*) _cal_bad='a port' ;;
	esac
	[ -z "$_cal_bad" ] && return 0
	printf '✗ Not a valid setting: %s. See ~/.cal-socks-config and your environment\n' "$_cal_bad" >&2
	return 1
}

# ---- small tools ----

# HOST PORT: whether somebody accepts connections there, whatever is answered then.
_cal_listens() {
	case $(command curl -s -o /dev/null -w '%{time_connect}' --noproxy '*' -m 2 "http://$1:$2/" 2>/dev/null) in
	*[1-9]*) return 0 ;;
	esac
	return 1
}

_cal_pid() { # FILE: the process that we started and that still runs
	_cal_p=$(command cat "$1" 2>/dev/null)
	case $_cal_p in '' | *[!0-9]*) return 1 ;; esac
	case $(command ps -ww -p "$_cal_p" -o args= 2>/dev/null) in
	*'-L 127.0.0.1:'* | *'bridge --listen 127.0.0.1:'*) printf '%s\n' "$_cal_p" ;;
	*) return 1 ;;
	esac
}

_cal_alive() { # PID
	case $(command ps -p "$1" -o stat= 2>/dev/null) in '' | Z*) return 1 ;; esac
}

# Two shells that open at once must not both start it. A lock older than a minute was left behind.
_cal_lock() {
	command mkdir -p "$_cal_dir"
	_cal_n=0
	until command mkdir "$_cal_dir/lock" 2>/dev/null; do
		[ -n "$(command find "$_cal_dir/lock" -prune -mmin +1 2>/dev/null)" ] && command rmdir "$_cal_dir/lock"
		_cal_n=$((_cal_n + 1))
		[ "$_cal_n" -gt 150 ] && return 1
		command sleep 0.1
	done 2>/dev/null
}

_cal_unlock() {
	command rmdir "$_cal_dir/lock" 2>/dev/null
	return 0
}

_cal_bridge() { # the program that bridges
	for _cal_b in "$_cal_dir/bin/awsocks-bridge" "$(command -v awsocks-bridge)" "$(command -v awsocks)"; do
		[ -n "$_cal_b" ] && [ -x "$_cal_b" ] && printf '%s\n' "$_cal_b" && return 0
	done
	return 1
}

_cal_spawn() ( # LOG PORT: starts the way's program for one port; prints its PID
	log=$1 port=$2
	umask 077
	case $_cal_way in
	ssh)
		set -- ssh -N -T -L "127.0.0.1:$port:127.0.0.1:$_cal_host_port" -o BatchMode=yes \
			-o ExitOnForwardFailure=yes -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes \
			-o ForwardAgent=no -o ServerAliveInterval=15 -o ServerAliveCountMax=3 -o ConnectTimeout=10 \
			-p "$_cal_ssh_port" -i "$HOME/.ssh/id_ed25519" "$_cal_user@$_cal_gateway"
		;;
	*)
		if ! program=$(_cal_bridge); then
			printf 'awsocks-bridge is not installed: put it on PATH\n' >>"$log"
			return 1
		fi
		set -- "$program" bridge --listen "127.0.0.1:$port" --to "$_cal_gateway:$_cal_host_port"
		;;
	esac
	nohup "$@" >>"$log" 2>&1 </dev/null &
	printf '%s\n' "$!"
)

# PIDFILE LOG PORT: 0 when it listens
_cal_up() {
	if _cal_listens 127.0.0.1 "$3"; then
		printf '✗ Port %s is in use by another program: lsof -i :%s\n' "$3" "$3" >&2
		return 1
	fi
	_cal_new=$(_cal_spawn "$2" "$3") || return 1
	printf '%s\n' "$_cal_new" >|"$1"
	_cal_n=0
	while _cal_alive "$_cal_new"; do
		_cal_listens 127.0.0.1 "$3" && _cal_pid "$1" >/dev/null && return 0
		_cal_n=$((_cal_n + 1))
		[ "$_cal_n" -gt 150 ] && break
		command sleep 0.1
	done
	_cal_down "$1"
	return 1
}

_cal_down() { # PIDFILE: ends it, and waits until it is gone
	if _cal_old=$(_cal_pid "$1"); then
		kill "$_cal_old" 2>/dev/null
		_cal_n=0
		while _cal_pid "$1" >/dev/null; do
			_cal_n=$((_cal_n + 1))
			[ "$_cal_n" -eq 50 ] && kill -9 "$_cal_old" 2>/dev/null
			[ "$_cal_n" -gt 70 ] && break
			command sleep 0.1
		done
	fi
	command rm -f "$1"
}

# "PID: 1234", or the host's address where nothing runs here; fails when it is not there.
_cal_running() { # PIDFILE
	if [ "$_cal_way" = gateway ]; then
		[ -e "$_cal_dir/on" ] && _cal_listens "$_cal_gateway" "$_cal_host_port" || return 1
		printf 'gateway %s:%s\n' "$_cal_gateway" "$_cal_host_port"
	else
		_cal_r=$(_cal_pid "$1") && printf 'PID: %s\n' "$_cal_r"
	fi
}

# The address at which this VM's programs find the proxy: socks or http.
_cal_at() {
	case $_cal_way.$1 in
	gateway.*) printf '%s:%s\n' "$_cal_gateway" "$_cal_host_port" ;;
	*.socks) printf 'localhost:%s\n' "$_cal_socks_port" ;;
	*) printf 'localhost:%s\n' "$_cal_http_port" ;;
	esac
}

# ---- variables ----

_cal_env() { # shell text; needs _cal_load
	_cal_h=http://$(_cal_at http)
	case $_cal_all in
	none) _cal_a= ;;
	http) _cal_a=$_cal_h ;;
	*) _cal_a=$_cal_all://$(_cal_at socks) ;;
	esac
	for _cal_v in ALL_PROXY all_proxy; do
		[ -z "$_cal_a" ] || printf 'export %s="%s"\n' "$_cal_v" "$_cal_a"
	done
	for _cal_v in HTTP_PROXY HTTPS_PROXY http_proxy https_proxy; do
		printf 'export %s="%s"\n' "$_cal_v" "$_cal_h"
	done
	for _cal_v in NO_PROXY no_proxy; do
		printf 'export %s="localhost,127.0.0.1,::1"\n' "$_cal_v"
	done
	printf 'export NODE_USE_ENV_PROXY=1\n'
}

set_proxy_vars() {
	_cal_load || return 1
	eval "$(_cal_env)"
}

unset_proxy_vars() {
	unset ALL_PROXY all_proxy HTTP_PROXY HTTPS_PROXY http_proxy https_proxy NO_PROXY no_proxy NODE_USE_ENV_PROXY
}

# ---- what the VM's user calls ----

start_http_proxy() {
	_cal_load || return 1
	if [ "$_cal_way" = gateway ]; then
		_cal_listens "$_cal_gateway" "$_cal_host_port"
	elif ! _cal_pid "$HOME/.cal-http-proxy.pid" >/dev/null; then
		_cal_up "$HOME/.cal-http-proxy.pid" "$HOME/.cal-http-proxy.log" "$_cal_http_port"
	fi || {
		printf '✗ HTTP bridge failed to start (see ~/.cal-http-proxy.log)\n' >&2
		return 1
	}
	printf '✓ HTTP bridge started\n'
}

stop_http_proxy() {
	_cal_down "$HOME/.cal-http-proxy.pid"
}

_cal_start_tunnel() {
	if [ "$_cal_way" = gateway ]; then
		_cal_listens "$_cal_gateway" "$_cal_host_port" && command mkdir -p "$_cal_dir" && : >|"$_cal_dir/on" &&
			return 0
		printf '✗ Nothing answers at %s:%s: is awsocks running on the host?\n' \
			"$_cal_gateway" "$_cal_host_port" >&2
		return 1
	fi
	_cal_up "$HOME/.cal-socks.pid" "$HOME/.cal-socks.log" "$_cal_socks_port" && return 0
	printf '✗ SOCKS tunnel failed to start (see ~/.cal-socks.log)\n' >&2
	return 1
}

_cal_start() {
	if _cal_running "$HOME/.cal-socks.pid" >/dev/null; then
		printf 'SOCKS tunnel already running on port %s\n' "$_cal_socks_port"
		return 0
	fi
	printf 'Starting SOCKS tunnel (VM→Host on port %s)...\n' "$_cal_socks_port"
	_cal_start_tunnel || return 1
	printf '✓ SOCKS tunnel started\n'
	start_http_proxy
}

start_socks() {
	_cal_load || return 1
	if ! _cal_lock; then
		printf '✗ Another shell is starting it: see %s/lock\n' "$_cal_dir" >&2
		return 1
	fi
	_cal_start && eval "$(_cal_env)"
	_cal_result=$?
	_cal_unlock
	return "$_cal_result"
}

stop_socks() {
	_cal_load || return 1
	unset_proxy_vars
	if ! _cal_who=$(_cal_running "$HOME/.cal-socks.pid") && [ ! -e "$_cal_dir/on" ]; then
		stop_http_proxy
		printf 'SOCKS tunnel not running\n'
		return 0
	fi
	printf 'Stopping SOCKS tunnel (%s)...\n' "${_cal_who:-gateway}"
	_cal_down "$HOME/.cal-socks.pid"
	stop_http_proxy
	command rm -f "$_cal_dir/on"
	printf '✓ SOCKS tunnel stopped\n'
}

restart_socks() {
	stop_socks
	start_socks
}

_cal_connects() {
	command curl -s -o /dev/null --connect-timeout 5 -m 10 --proxy "socks5h://$(_cal_at socks)" -I https://github.com
}

socks_status() {
	_cal_load || return 1
	printf 'SOCKS Tunnel Status:\n  Mode: %s\n  SOCKS port: %s\n' "$_cal_mode" "$_cal_socks_port"
	printf '  HTTP proxy port: %s\n  Host: %s@%s\n\n' "$_cal_http_port" "$_cal_user" "$_cal_gateway"
	_cal_result=0
	if _cal_who=$(_cal_running "$HOME/.cal-socks.pid"); then
		printf '  Status: ✓ Running (%s)\n' "$_cal_who"
		if _cal_connects; then
			printf '  Connectivity: ✓ Working\n\n'
		else
			printf '  Connectivity: ✗ Failed\n\n'
		fi
	else
		printf '  Status: ✗ Not running\n\n'
		_cal_result=1
	fi
	if _cal_who=$(_cal_running "$HOME/.cal-http-proxy.pid"); then
		printf '  HTTP Bridge: ✓ Running (%s)\n' "$_cal_who"
	else
		printf '  HTTP Bridge: ✗ Not running\n'
	fi
	return "$_cal_result"
}

_cal_log() {
	for _cal_f in "$HOME/.cal-socks.log" "$HOME/.cal-http-proxy.log"; do
		[ -r "$_cal_f" ] && printf '==> %s <==\n' "$_cal_f" && command tail -n 50 "$_cal_f"
	done
	return 0
}

# What an interactive shell does when it starts. Without its settings all of it was uninstalled.
_cal_auto() {
	[ -r "$HOME/.cal-socks-config" ] || [ -r "$HOME/.calf-proxy-config" ] || return 0
	_cal_load || return 1
	[ "$_cal_mode" = off ] && return 0
	if [ "$_cal_mode" = auto ] &&
		command curl -s -o /dev/null --noproxy '*' --connect-timeout 5 -m 10 -I https://github.com; then
		return 0
	fi
	if _cal_running "$HOME/.cal-socks.pid" >/dev/null; then
		eval "$(_cal_env)"
	else
		start_socks
	fi
}

# The newer names. A POSIX shell has no function with a hyphen: there they are programs only.
if [ -n "${ZSH_VERSION-}" ] || { [ -n "${BASH_VERSION-}" ] && case ":${SHELLOPTS-}:" in *:posix:*) false ;; esac }; then
	eval 'proxy-start() { start_socks; }
	proxy-stop() { stop_socks; }
	proxy-restart() { restart_socks; }
	proxy-status() { socks_status; }
	proxy-log() { _cal_log; }'
fi
