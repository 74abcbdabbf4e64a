# Takes away, in the VM, what the set-up put there. The key pair and known_hosts stay.

if [ -r "$HOME/.cal-socks/functions.sh" ]; then (. "$HOME/.cal-socks/functions.sh" && stop_socks) >/dev/null 2>&1; fi
for file in "$HOME/.zshenv" "$HOME/.zshrc" "$HOME/.bashrc"; do
	[ -e "$file" ] || continue
	umask 077
	sed -e '/# CAL SOCKS Tunnel Functions/,/^fi$/d' -e '/# CAL SOCKS programs$/d' "$file" >"$file.cal-new" &&
		cat "$file.cal-new" >"$file"
	rm -f "$file.cal-new"
done
for link in "$HOME/.calf-proxy-config" "$HOME/.calf-proxy.log" "$HOME/.calf-proxy.pid"; do
	if [ -h "$link" ]; then rm -f "$link"; fi
done
rm -f "$HOME/.cal-socks-config" "$HOME/.cal-socks.log" "$HOME/.cal-socks.pid" "$HOME/.cal-http-proxy.log" \
	"$HOME/.cal-http-proxy.pid"
rm -rf "$HOME/.cal-socks"
printf 'CAL SOCKS is removed from this VM: open a new shell\n' >&2
