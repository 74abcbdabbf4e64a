"""awsocks cal on the host: CAL's configuration, listeners, rules, keys, status and banner. No VM is needed."""
import contextlib
import json
import os
import socket
import stat
import threading

import pytest

import conftest
import harness

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaABtAJNmVAcA0nL7vcrf426MepFtj+8EyUjn4aQRKl somebody@vm"
LINE = ('restrict,port-forwarding,permitopen="127.0.0.1:11080",permitlisten="127.0.0.1:1",command="/usr/bin/true" '
        + KEY.rsplit(" ", 1)[0] + " cal-vm-socks:work\n")


class Host:
    def __init__(self, home):
        self.home = home
        self.env = conftest.clean_environment(home)
        self.config = home / "config" / "awsocks"

    def run(self, *args, check=True, **kwargs):
        return harness.run([harness.program("awsocks"), *args], check=check, env=self.env, **kwargs)

    def cal(self, *args, **kwargs):
        return self.run("cal", *args, **kwargs)

    def vm_yaml(self, text, name="work"):
        path = self.home / ".cal/isolation/vms" / name / "vm.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def listener(self, name="work"):
        text = (self.config / "listeners.d" / f"cal-{name}.yaml").read_text()
        return text[text.index("  - ") + 4:].strip()

    def keys(self):
        return self.home / ".ssh/authorized_keys"


@pytest.fixture
def host(tmp_path):
    home = tmp_path / "host"
    home.mkdir()
    return Host(home)


def test_cals_configuration_gives_each_vm_its_listener_name_and_rules(host):
    (host.home / ".cal").mkdir()
    (host.home / ".cal/config.yaml").write_text(
        'isolation:\n  defaults:\n    vm: {cpu: 4}\n    awsocks: {way: bridge, socks: "on", http-port: 9080}\n'
        "agents: {claude-code: {install_command: x}}\n")
    host.vm_yaml('name: "my-workspace"\nresources: {cpu: 6}\nawsocks:\n  name: mine\n  listen: "192.168.64.1:1085"\n'
                 "  vm-address: 192.168.64.7\n  rules:\n    default: direct\n    block: [\"*.tracker.example\"]\n"
                 "    rules: [{match: \"re:^a\\\\.b$\", port: [22, \"80-90\"], route: block, reason: \"it's so\"}]\n")
    script = host.cal("setup", "--vm", "work", "--print").stdout.decode()
    rules = host.config / "cal/work.rules.yaml"
    assert host.listener() == (f'{{ address: "192.168.64.1:1085", name: "mine", guard: on, allow-from: '
                               f'["192.168.64.7"], rules: "{rules}" }}')
    for line in ("WAY=bridge", "SOCKS_MODE=on", "HTTP_PROXY_PORT=9080", "HOST_PROXY_PORT=1085"):
        assert f"\n{line}\n" in script
    assert host.run("check", rules).returncode == 0 and host.run("check").returncode == 0
    answer = json.loads(host.run("route", "x.tracker.example", "--listener", "mine", "--json").stdout)
    assert answer["route"] == "block" and answer["rule"] == "list"
    assert json.loads(host.run("route", "a.b:85", "--listener", "mine", "--json").stdout)["route"] == "block"
    assert json.loads(host.run("route", "a.b:443", "--listener", "mine", "--json").stdout)["route"] == "direct"
    # --listen is as if the VM's listener were not there.
    assert json.loads(host.run("route", "a.b:443", "--json").stdout)["route"] == "proxy"
    # An option counts before the environment, that before the files.
    host.env["SOCKS_MODE"] = "off"
    assert b"\nSOCKS_MODE=off\n" in host.cal("setup", "--vm", "work", "--print").stdout
    assert b"\nSOCKS_MODE=auto\n" in host.cal("setup", "--vm", "work", "--print", "--socks", "auto").stdout


@pytest.mark.parametrize("text, place", [
    ("awsocks:\n  way: brige\n", "2:8: way: gateway, bridge or ssh expected, not 'brige'"),
    ("awsocks:\n  gatway: 10.0.0.1\n", "2:3: unknown key 'gatway' in awsocks: did you mean 'gateway'?"),
    ("awsocks: ssh\n", "1:10: awsocks: a map expected"),
    ("awsocks: {rules: {default: nope}}\n", "1:28: default: 'nope' is no route"),
    ("awsocks: {socks-port: 70000}\n", "1:23: socks-port: "),
    ("awsocks: {vm-address: work.example}\n", "1:23: vm-address: an address or network expected"),
    ("awsocks: {gateway: $(id)}\n", "1:20: gateway: an IP address expected"),
    ("awsocks: {host-user: \"a'; id\"}\n", "1:22: host-user: letters, digits"),
    ("awsocks: {listen: \"unix:/tmp/x\"}\n", "1:19: listen: a TCP address expected"),
    ("awsocks: {rules: nowhere.yaml}\n", "1:18: rules: open "),
    ("a: [\n", "2:1: "),
])
def test_mistakes_are_told_with_their_place(host, text, place):
    path = host.vm_yaml(text)
    r = host.cal("setup", "--vm", "work", check=False)
    assert r.returncode in (65, 74) and f"awsocks: {path}:{place}" in r.stderr.decode()
    assert not (host.config / "listeners.d/cal-work.yaml").exists()


@pytest.mark.parametrize("args, why", [
    (("setup",), "which VM? Give --vm NAME"), (("setup", "--vm", "../x"), "is no name for a VM"),
    (("setup", "--vm", "-x"), "is no name for a VM"),
    (("setup", "--vm", "x", "--way", "tcp"), "--way: gateway, bridge"),
    (("setup", "--vm", "x", "--way", "bridge", "--key", "-"), "only --way ssh has a key"),
    (("setup", "--vm", "x", "--ssh", "-oProxyCommand=id"), "is no destination"),
    (("start",), "cal start is for a VM that was set up"), (("env",), "cal env is for a VM"),
    (("uninstall",), "which VM?"), (("frob",), "usage: awsocks cal setup|start"),
    ((), "usage: awsocks cal setup|start"),
    (("env", "--vm", "x"), "x is not set up"),
])
def test_wrong_usage_is_told(host, args, why):
    r = host.cal(*args, check=False)
    assert r.returncode in (64, 65) and why in r.stderr.decode()


def test_ports_are_kept_and_never_shared(host):
    host.config.mkdir(parents=True)
    (host.config / "config.yaml").write_text(
        'listeners: [{address: "192.168.64.1:1080", allow-from: ["10.0.0.0/8"]}]\n')
    for name in ("work", "other"):
        host.cal("setup", "--vm", name)
    assert '"192.168.64.1:1081"' in host.listener() and '"192.168.64.1:1082"' in host.listener("other")
    first = (host.config / "listeners.d/cal-work.yaml").stat().st_mtime_ns
    assert b"192.168.64.1:1081" in host.cal("setup", "--vm", "work").stderr
    assert (host.config / "listeners.d/cal-work.yaml").stat().st_mtime_ns == first      # not written again
    r = host.cal("setup", "--vm", "third", "--listen", "192.168.64.1:1082", check=False)
    assert r.returncode == 65 and b"192.168.64.1:1082 has another listener already" in r.stderr
    assert host.cal("status").stdout.decode().split()[:3] == ["other", "cal-other", "192.168.64.1:1082"]
    for name in ("work", "other", "work"):
        host.cal("uninstall", "--vm", name)
    assert host.cal("status").stdout == b"no VM is set up: awsocks cal setup --vm NAME\n"


def test_a_listeners_name_is_never_shared(host):
    """Two of one name, and awsocks would not start."""
    host.cal("setup", "--vm", "work")
    path = host.vm_yaml("awsocks: {name: cal-work}\n", "other")
    r = host.cal("setup", "--vm", "other", check=False)
    assert r.returncode == 65 and b"name: another listener has the name 'cal-work'" in r.stderr
    assert host.run("check").returncode == 0
    path.write_text("awsocks: {name: mine}\n")
    for _ in range(2):
        host.cal("setup", "--vm", "other")
    assert '"mine"' in host.listener("other")


def test_files_that_other_programs_wrote_are_checked(host):
    folder = host.config / "listeners.d"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("defaults: {name: x}\n")
    r = host.run("check", check=False)
    assert r.returncode == 65 and b"a.yaml:1:1: only listeners: here" in r.stdout + r.stderr
    (folder / "a.yaml").write_text('listeners:\n  - { address: "127.0.0.1:1", nmae: x }\n')
    r = host.run("check", check=False)
    assert r.returncode == 65 and b"a.yaml:2:31: unknown key 'nmae'" in r.stdout + r.stderr
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text('listeners: [{address: "127.0.0.1:1", name: same}]\n')
    r = host.run("check", check=False)
    assert r.returncode == 65 and b"b.yaml:1: another listener has the name 'same'" in r.stdout + r.stderr


# ---- the key ----


def install(host, key=KEY, check=True):
    return host.cal("setup", "--vm", "work", "--key", "-", input=key.encode(), check=check)


@pytest.mark.parametrize("before, mode", [("", 0o600), ("ssh-rsa AAAA one\n# two", 0o644), ("x\n\n\ny\n", 0o640)])
def test_the_key_is_installed_and_removed_and_the_rest_stays(host, before, mode):
    real = host.home / "elsewhere"
    real.write_text(before)
    real.chmod(mode)
    host.keys().parent.mkdir(mode=0o700)
    host.keys().symlink_to(real)
    assert b"installed in" in install(host).stderr
    whole = before if not before or before.endswith("\n") else before + "\n"
    assert real.read_text() == whole + LINE
    assert b"as it was in" in install(host).stderr and real.read_text() == whole + LINE
    real.write_text(LINE.replace("11080", "9") + whole)         # an older one, in its place
    install(host)
    assert real.read_text() == LINE + whole
    host.cal("uninstall", "--vm", "work")
    assert real.read_text() == whole and stat.S_IMODE(real.stat().st_mode) == mode and host.keys().is_symlink()
    host.cal("uninstall", "--vm", "work")
    assert real.read_text() == whole
    assert sorted(p.name for p in host.home.iterdir() if "elsewhere" in p.name) == ["elsewhere"]


def test_a_new_file_is_for_its_owner_alone(host):
    install(host)
    assert host.keys().read_text() == LINE
    assert stat.S_IMODE(host.keys().stat().st_mode) == 0o600
    assert stat.S_IMODE(host.keys().parent.stat().st_mode) == 0o700
    # Another way: the key goes.
    assert b"removed from" in host.cal("setup", "--vm", "work", "--way", "gateway").stderr
    assert host.keys().read_text() == ""


@pytest.mark.parametrize("key", [
    "", "no key", "ssh-ed25519", "ssh-ed25519 AAAA", 'command="id" ' + KEY, KEY.replace(" ", "\t", 1),
    KEY.replace("RKl ", 'RKl"x '), "ssh-dss " + KEY.split()[1]])
def test_what_is_no_key_is_refused(host, key):
    r = install(host, key, check=False)
    assert r.returncode == 65 and (b"not a public key" in r.stderr or b"cut or damaged" in r.stderr
                                   or b"nothing in it" in r.stderr)
    assert not host.keys().exists()


def test_a_second_line_behind_the_key_goes_nowhere(host):
    install(host, KEY + "\nssh-ed25519 AAAA evil\n")
    assert host.keys().read_text() == LINE


def test_a_file_of_another_kind_is_left_alone(host):
    host.keys().parent.mkdir(mode=0o700)
    host.keys().write_bytes(b"a\0b\n")
    r = install(host, check=False)
    assert r.returncode == 65 and b"has NUL bytes: it is left alone" in r.stderr
    assert host.keys().read_bytes() == b"a\0b\n"
    host.keys().unlink()
    os.mkfifo(host.keys())
    assert b"not a regular file" in install(host, check=False).stderr
    host.keys().unlink()
    host.keys().symlink_to("nowhere")
    r = install(host, check=False)
    assert r.returncode == 74 and b"No such file" in r.stderr and host.keys().is_symlink()


def test_a_file_that_sshd_would_ignore_is_told(host):
    assert b"chmod go-w" not in install(host).stderr
    host.keys().chmod(0o666)
    assert b"chmod go-w" in install(host).stderr


def test_a_port_that_moves_takes_the_key_along(host):
    install(host)
    key = host.home / "host_key.pub"
    key.write_text(KEY)
    host.cal("setup", "--vm", "work", "--way", "ssh", "--listen", "127.0.0.1:12345", "--host-key", key, "--print")
    assert host.keys().read_text() == LINE.replace("11080", "12345")
    r = host.cal("setup", "--vm", "work", "--way", "ssh", "--listen", "192.168.64.1:1", "--host-key", key, check=False)
    assert r.returncode == 65 and b"only the VM's key leads there" in r.stderr


def test_one_command_sets_up_both_halves(host, tmp_path):
    """--ssh, with an ssh that is played: it runs the script in a home of its own."""
    vm = tmp_path / "vm"
    (vm / ".ssh").mkdir(parents=True)
    (vm / ".ssh/id_ed25519").write_text("not looked at\n")
    (vm / ".ssh/id_ed25519.pub").write_text(KEY + "\n")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "ssh").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/argv\n'
                              f'for last; do :; done\nHOME={vm} exec sh -c "$last"\n')
    (fake / "ssh").chmod(0o700)
    host.env["PATH"] = f"{fake}:{host.env['PATH']}"
    key = host.home / "host_key.pub"
    key.write_text(KEY)
    r = host.cal("setup", "--vm", "work", "--way", "ssh", "--host-key", key, "--ssh", "admin@192.168.64.2")
    assert (tmp_path / "argv").read_text() == "-o ConnectTimeout=20 -- admin@192.168.64.2 sh -s\n"
    assert host.keys().read_text() == LINE and r.stdout == b""
    assert (vm / ".ssh/known_hosts").read_text() == "192.168.64.1 " + KEY.rsplit(" ", 1)[0] + " cal-vm-socks-host\n"
    assert "SOCKS_WAY=ssh\n" in (vm / ".cal-socks-config").read_text()
    host.cal("uninstall", "--vm", "work", "--ssh", "admin@192.168.64.2")
    assert host.keys().read_text() == "" and not (vm / ".cal-socks").exists()
    (fake / "ssh").write_text("#!/bin/sh\nexit 255\n")
    r = host.cal("setup", "--vm", "work", "--ssh", "admin@192.168.64.2", check=False)
    assert r.returncode == 69 and b"the set-up there failed (status 255)" in r.stderr


# ---- the VM's half, in a home of its own ----


@pytest.mark.parametrize("way", ["gateway", "ssh"])
def test_the_users_own_files_stay_whole(host, tmp_path, way):
    """Last lines without an end, links, a second set-up, uninstall, and all of it again."""
    vm = tmp_path / "vm"
    (vm / "dotfiles").mkdir(parents=True)
    (vm / ".ssh").mkdir(mode=0o700)
    own = {".zshrc": "export A=b", ".bashrc": "alias x=y", "dotfiles/zshenv": "setopt z",
           ".ssh/known_hosts": f"x {KEY}"}
    for name, text in own.items():
        (vm / name).write_text(text)
    (vm / ".zshenv").symlink_to("dotfiles/zshenv")
    key = host.home / "host_key.pub"
    key.write_text(KEY)

    def there(*args):
        script = host.cal(*args, "--vm", "work", "--print").stdout
        harness.run(["sh", "-s"], input=script, env={"HOME": str(vm), "PATH": os.environ["PATH"]})
    for _ in range(2):
        for _ in range(2):
            there("setup", "--way", way, "--socks", "off", "--host-key", key)
            for name, text in own.items():
                lines = (vm / name).read_text().splitlines()
                assert lines.count(text) == 1, name
                marks = sum(mark in line for line in lines for mark in ("CAL SOCKS Tunnel", "cal-vm-socks-host"))
                assert marks == (name in (".zshrc", ".bashrc") or (name == ".ssh/known_hosts" and way == "ssh")), name
        there("uninstall")
        for name, text in own.items():
            lines = (vm / name).read_text().splitlines()
            assert [line for line in lines if "cal-vm-socks-host" not in line] == [text], name
    assert (vm / ".zshenv").is_symlink()
    # The host's ~/.ssh is not made for a key that is not.
    assert not host.keys().parent.exists()


# ---- status and banner ----


def banner(host, *args):
    return host.cal("banner", *args).stdout.decode()


def answered(host, *args):
    """The banner of one that had its answer in time: it waits for less than a busy machine may stand still."""
    def shown():
        text = banner(host, *args)
        return None if "no answer" in text else text
    return harness.wait_for(shown, what="a banner with an answer")


def test_banner_and_status(host, awsocks):
    begin = "🔒 CAL ISOLATION ACTIVE │ VM: work │ Env: ios,android │ Safe Mode │ Proxy: "
    args = ("--vm", "work", "--env", "ios,android", "--safe-mode")
    assert answered(host, *args) == begin + "🔴 not running\n"
    assert answered(host) == "🔒 CAL ISOLATION ACTIVE │ Proxy: 🔴 not running\n"
    assert answered(host, "--env", "a\n\033[2J") == "🔒 CAL ISOLATION ACTIVE │ Env: a??[2J │ Proxy: 🔴 not running\n"
    address = f"127.0.0.1:{harness.free_port()}"
    control = host.home / "run/awsocks/control.sock"
    proxy = awsocks("--control", str(control), "--route-default", "direct", env=host.env)
    assert answered(host, *args) == begin + "🔴 not set up\n"
    host.cal("setup", "--vm", "work", "--listen", address)
    assert answered(host, *args) == begin + "🔴 not open\n"
    assert b"not open: start awsocks again" in host.cal("status", "--vm", "work").stdout
    proxy.stop()
    host.cal("setup", "--vm", "gone", "--listen", "192.0.2.77:1080")
    awsocks("--control", str(control), "--route-default", "direct", env=host.env)
    assert answered(host, *args) == begin + "🟢 running\n"
    assert answered(host, "--vm", "gone") == "🔒 CAL ISOLATION ACTIVE │ VM: gone │ Proxy: 🟡 starting\n"
    shown = host.cal("status").stdout.decode().splitlines()
    assert shown[0].endswith("waiting for that address") and shown[1].endswith("open, 0 connections")
    assert host.cal("env", "--vm", "work").stdout.decode().startswith('export ALL_PROXY="socks5://192.168.64.1:')


def test_a_banner_never_hangs(host):
    """A control socket that accepts and says nothing, or one character now and then."""
    folder = host.home / "run/awsocks"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / "control.sock"))
        s.listen()
        stop = threading.Event()

        def drip():
            peer, _ = s.accept()
            with peer, contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    peer.sendall(b" ")
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            assert banner(host) == "🔒 CAL ISOLATION ACTIVE │ Proxy: 🔴 no answer\n"
        finally:
            stop.set()
            thread.join(harness.LIMIT_S)
