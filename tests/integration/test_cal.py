"""CAL's VMs: every command of CAL's document that docs/CAL.md calls kept, in a VM's zsh and bash, with its output."""
import json
import os
import re
import shutil
import subprocess

import pytest

import calvm
import conftest
import harness
import netns

pytestmark = [pytest.mark.skipif(bool(calvm.why_not()), reason=calvm.why_not()), pytest.mark.timeout(600)]
SHELLS = ("zsh", "bash")
STARTED = "Starting SOCKS tunnel (VM→Host on port 1080)...\n✓ SOCKS tunnel started\n✓ HTTP bridge started\n"
NOT_RUNNING = (calvm.STATUS[:calvm.STATUS.index("  Status")] +
               "  Status: ✗ Not running\n\n  HTTP Bridge: ✗ Not running\n")


def status(world, mode="auto", socks=1080, http=8080):
    return calvm.STATUS.format(mode=mode, socks=socks, http=http, pid=world.pid("socks"),
                               http_pid=world.pid("http-proxy"))


def make_world(folder):
    (folder / "world").mkdir()
    return calvm.CalWorld(folder, conftest.Authority(folder / "authority"))


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path) as w:
        yield w


def has_bridge():
    return os.path.exists(os.path.join(harness.BUILD, "awsocks-bridge"))


@pytest.fixture(scope="module")
def vm(tmp_path_factory):
    """A VM whose tunnel is up, for commands that change nothing."""
    with make_world(tmp_path_factory.mktemp("cal")) as w:
        w.setup("bridge" if has_bridge() else "ssh")
        w.start()
        assert w.sh("true") == STARTED      # auto: github.com is not reached without it
        yield w


# ---- the functions ----


@pytest.mark.parametrize("way, shell", [("ssh", "zsh"), ("bridge", "bash")])
def test_the_functions_and_what_they_print(world, way, shell):
    if way == "bridge" and not has_bridge():
        pytest.skip("without awsocks-bridge")
    world.setup(way, "--socks", "off")
    world.start()
    assert world.sh("socks_status", shell, check=False) == NOT_RUNNING.format(mode="off", socks=1080, http=8080)
    assert world.sh("start_socks", shell) == STARTED
    first = world.pid("socks")
    assert world.sh("start_socks", shell) == "SOCKS tunnel already running on port 1080\n"
    assert world.pid("socks") == first
    assert world.sh("socks_status", shell) == status(world, "off")
    assert world.sh("restart_socks", shell) == f"Stopping SOCKS tunnel ({first})...\n✓ SOCKS tunnel stopped\n" + STARTED
    second = world.pid("socks")
    assert second != first
    assert world.sh("stop_socks", shell) == f"Stopping SOCKS tunnel ({second})...\n✓ SOCKS tunnel stopped\n"
    assert not (world.vm_home / ".cal-socks.pid").exists() and not (world.vm_home / ".cal-http-proxy.pid").exists()
    assert world.sh("stop_socks", shell) == "SOCKS tunnel not running\n"
    assert world.sh("start_http_proxy", shell) == "✓ HTTP bridge started\n"
    assert world.pid("http-proxy")
    assert world.sh("stop_http_proxy; proxy-status", shell, check=False) == NOT_RUNNING.format(mode="off", socks=1080,
                                                                                              http=8080)
    assert world.sh("proxy-start && proxy-stop", shell).count("✓ SOCKS tunnel st") == 2
    assert world.sh("proxy-log", shell).startswith(f"==> {world.vm_home}/.cal-socks.log <==\n")


def test_the_functions_are_programs_too(vm):
    tart = vm.host_home / "tart"
    tart.write_text(f"#!/bin/sh\necho {netns.VM}\n")
    tart.chmod(0o700)
    vm.ssh("true")      # its sshd
    config = vm.host_home / ".ssh/config"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_text(f"Host {netns.VM}\n IdentityFile {vm.base}/vm_key\n StrictHostKeyChecking no\n"
                      " UserKnownHostsFile /dev/null\n LogLevel ERROR\n")
    r = harness.run([*vm.host.user, "sh", "-c", "ssh admin@$(tart ip cal-dev) socks_status"],
                    env={**vm.host.env, "PATH": f"{vm.host_home}:{vm.host.env['PATH']}"})
    assert r.stdout.decode() == status(vm)
    r = harness.run([*vm.host.user, "sh", "-c", "ssh admin@$(tart ip cal-dev)"], input=b"socks_status\nexit\n",
                    env={**vm.host.env, "PATH": f"{vm.host_home}:{vm.host.env['PATH']}"})
    assert status(vm) in r.stdout.decode()
    for name in ("start_socks", "proxy-start"):
        assert vm.ssh(name).stdout.decode() == "SOCKS tunnel already running on port 1080\n"
    names = ("stop_socks", "restart_socks", "start_http_proxy", "stop_http_proxy", "proxy-stop", "proxy-status")
    assert vm.ssh(f"which {' '.join(names)}").stdout.decode().split() == [
        f"{vm.vm_home}/.cal-socks/bin/{name}" for name in names]


def test_a_plain_sh_has_them(vm):
    """awsocks cal shell, as a POSIX shell reads it."""
    text = vm.cal("shell").stdout
    assert text == (vm.vm_home / ".cal-socks/functions.sh").read_bytes()
    for shell in ("dash", "bash --posix"):
        r = vm.in_vm([*shell.split(), "-euc", '. "$HOME/.cal-socks/functions.sh"; socks_status'])
        assert r.stdout.decode() == status(vm)


def test_the_command_line_does_what_the_functions_do(vm):
    program = harness.program("awsocks")

    def cal(word):
        return vm.in_vm([program, "cal", word]).stdout.decode()
    assert cal("status") == status(vm)
    assert cal("start") == "SOCKS tunnel already running on port 1080\n"
    assert 'export HTTPS_PROXY="http://localhost:8080"\n' in cal("env")


# ---- modes, variables, files ----


def test_auto_leaves_a_vm_alone_that_reaches_github(world):
    world.setup("gateway")
    world.start()
    shown = "start=${HTTPS_PROXY:-none}"
    assert world.sh(f'echo "{shown}"') == f"{STARTED}start=http://192.168.64.1:1080\n"
    assert world.sh(f'echo "{shown}"', "bash") == "start=http://192.168.64.1:1080\n"
    # The clients of the document that need no port of the VM's own.
    conftest.Repository(world.base, "repo.git")
    assert world.sh("curl https://api.github.com") == "api.github.com says hello\n"
    world.sh("git clone https://github.com/user/repo.git")
    assert (world.vm_home / "repo/file7").exists()
    if shutil.which("npm"):
        world.sh(f"mkdir p; cd p; export NODE_EXTRA_CA_CERTS={world.authority.ca}; npm install tiny")
        assert (world.vm_home / "p/node_modules/tiny/package.json").exists()
    world.in_vm([world.vm_home / ".cal-socks/bin/stop_socks"])
    # Now the VM has a way of its own: a github.com on its loopback.
    world.vm.address("lo", "203.0.113.2/32")
    world.vm.hosts({name: netns.NET for name in calvm.SITES})
    (world.base / "internet.ready").unlink()
    world.internet(world.vm)
    for shell in SHELLS:
        assert world.sh(f'echo "{shown}"', shell) == "start=none\n"
    assert world.sh(f'echo "{shown}"', env={"SOCKS_MODE": "on"}) == f"{STARTED}start=http://192.168.64.1:1080\n"


def test_off_starts_nothing_and_on_asks_nobody(world):
    world.setup("gateway", "--socks", "off")
    world.start()
    assert world.sh('echo "${ALL_PROXY:-none}"') == "none\n"
    config = world.vm_home / ".cal-socks-config"
    config.write_text(config.read_text().replace("SOCKS_MODE=off", "PROXY_MODE=on"))
    assert world.sh('echo "${ALL_PROXY:-none}"', "bash") == f"{STARTED}socks5://192.168.64.1:1080\n"
    world.proxy.stop()
    world.proxy = None
    r = world.in_vm(["zsh", "-ic", 'stop_socks; start_socks; echo "${ALL_PROXY:-none}"'])
    assert r.stdout.decode().endswith("none\n")
    assert "✗ Nothing answers at 192.168.64.1:1080: is awsocks running on the host?" in r.stderr.decode()


@pytest.mark.parametrize("shell", SHELLS)
def test_variables(vm, shell):
    out = vm.sh("env", shell)
    for line in ("ALL_PROXY=socks5://localhost:1080", "HTTP_PROXY=http://localhost:8080",
                 "HTTPS_PROXY=http://localhost:8080", "NO_PROXY=localhost,127.0.0.1,::1"):
        name, _, value = line.partition("=")
        assert f"\n{line}\n" in f"\n{out}" and f"\n{name.lower()}={value}\n" in f"\n{out}"
    assert vm.sh("unset_proxy_vars; env | grep -i _proxy= | wc -l", shell).strip() == "0"
    assert vm.sh("unset_proxy_vars; set_proxy_vars; echo $ALL_PROXY", shell) == "socks5://localhost:1080\n"
    # A program that is told nothing else, as opencode.
    opencode = vm.vm_home / "opencode"
    opencode.write_text("#!/bin/sh\necho \"$1 by $HTTP_PROXY\"\n")
    opencode.chmod(0o700)
    assert vm.sh("PATH=$HOME:$PATH; opencode chat", shell) == "chat by http://localhost:8080\n"


def test_settings_of_the_environment(world):
    """Before the set-up on the host, and in the VM's own profile."""
    env = {"SOCKS_PORT": "9050", "HTTP_PROXY_PORT": "9080"}
    world.setup("ssh", "--socks", "on", env=env)
    world.start()
    with open(world.vm_home / ".zshrc", encoding="utf-8") as f:
        rest = f.read()
    assert world.sh("socks_status").replace("1080", "9050", 1) == (
        STARTED.replace("1080", "9050") + status(world, "on", 9050, 9080))
    assert world.sh("stop_socks", env={"SOCKS_MODE": "off"}).startswith("Stopping")
    (world.vm_home / ".zshrc").write_text("export SOCKS_MODE=on\nexport SOCKS_PORT=1080\nexport HTTP_PROXY_PORT=8080\n"
                                          + rest)
    assert world.sh("socks_status") == STARTED + status(world, "on")
    world.sh("stop_socks", env={"SOCKS_MODE": "off"})
    other = world.cal("setup", "--vm", "work", "--print", env={"HOST_GATEWAY": "192.168.65.1"}).stdout.decode()
    assert "HOST_GATEWAY=192.168.65.1\n" in other
    r = world.in_vm(["zsh", "-ic", "SOCKS_MODE='a b' socks_status"], check=False)
    assert r.returncode == 1 and "✗ Not a valid setting: SOCKS_MODE" in r.stderr.decode()


def test_files_and_how_they_are_found(vm):
    for command, shows in (('cat ~/.zshrc | grep "CAL SOCKS"', "start_socks"),
                           ("cat ~/.cal-socks-config", "\nSOCKS_PORT=1080\nHTTP_PROXY_PORT=8080\n"),
                           ("cat ~/.calf-proxy-config", "\nSOCKS_MODE=auto\n"),
                           ("lsof -i :1080", "(LISTEN)"), ("lsof -i :8080", "(LISTEN)")):
        assert shows in vm.sh(command), command
    for command in ("tail -50 ~/.cal-socks.log", "tail -50 ~/.cal-http-proxy.log", "tail ~/.calf-proxy.log",
                    "cat ~/.calf-proxy.pid"):
        vm.sh(command)


def test_a_port_in_use_is_told(world):
    world.setup("ssh", "--socks", "off")
    world.start()
    with world.vm.popen(["nc", "-lk", "127.0.0.1", "1080"]) as other:
        try:
            harness.wait_for(lambda: world.vm.run(["nc", "-z", "127.0.0.1", "1080"], check=False).returncode == 0)
            r = world.in_vm(["zsh", "-ic", "start_socks"], check=False)
        finally:
            other.kill()
    assert r.returncode == 1
    assert r.stderr.decode().splitlines()[-2:] == ["✗ Port 1080 is in use by another program: lsof -i :1080",
                                                   "✗ SOCKS tunnel failed to start (see ~/.cal-socks.log)"]


def test_shells_that_open_at_once_start_it_once(world):
    world.setup("ssh", "--socks", "on")
    world.start()
    shells = [subprocess.Popen([*world.vm.user, shell, "-ic", "echo $HTTP_PROXY"], env=world.vm.env,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
              for shell in SHELLS * 2]
    out = [p.communicate(timeout=150)[0].decode() for p in shells]
    assert sum(STARTED in text for text in out) == 1, out
    assert all(text.endswith("http://localhost:8080\n") for text in out), out
    assert world.sh("socks_status", env={"SOCKS_MODE": "off"}) == status(world, "off")


# ---- clients ----


@pytest.mark.parametrize("shell", SHELLS)
def test_curl(vm, shell):
    for command in ("curl --socks5-hostname localhost:1080 https://api.github.com",
                    "curl --proxy http://localhost:8080 https://api.github.com", "curl https://api.github.com"):
        assert vm.sh(command, shell) == "api.github.com says hello\n", command
    for command in ("curl --socks5-hostname localhost:1080 -I https://www.google.com",
                    "curl --proxy http://localhost:8080 -I https://www.google.com"):
        assert "HTTP/1.1 200 OK" in vm.sh(command, shell), command


def test_git(vm):
    if not (vm.base / "repositories/repo.git").exists():
        conftest.Repository(vm.base, "repo.git")
    vm.sh("rm -rf repo; git clone https://github.com/user/repo.git")
    assert (vm.vm_home / "repo/file7").exists()
    vm.sh("git config --global http.proxy http://localhost:8080; unset_proxy_vars; rm -rf repo;"
          " git clone https://github.com/user/repo.git")
    assert (vm.vm_home / "repo/file7").exists()


@pytest.mark.skipif(not shutil.which("npm"), reason="without npm")
def test_npm(vm):
    folder = vm.vm_home / "project"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"dependencies": {"tiny": "1"}}))
    npm = f"cd ~/project; rm -rf node_modules; export NODE_EXTRA_CA_CERTS={vm.authority.ca};"
    vm.sh(f"{npm} npm install")
    assert (folder / "node_modules/tiny/package.json").exists()
    vm.sh(f"{npm} unset_proxy_vars; npm config set proxy http://localhost:8080;"
          " npm config set https-proxy http://localhost:8080; npm cache clean --force; npm install")
    assert (folder / "node_modules/tiny/package.json").exists()


# ---- the key ----


def test_ssh_works_as_the_document_says(world):
    world.setup("ssh", "--socks", "off")
    assert world.sh('nc -z 192.168.64.1 22 && echo "✓ SSH ready" || echo "✗ SSH not accessible"') == "✓ SSH ready\n"
    assert world.sh('nc -z 192.168.64.1 22 && echo "✓ Can reach host SSH" || echo "✗ Cannot reach host"') == (
        "✓ Can reach host SSH\n")
    for command in ("ssh claude@192.168.64.1 'ls'", "ssh claude@192.168.64.1",
                    "ssh -o StrictHostKeyChecking=yes claude@192.168.64.1"):
        assert world.sh(command) == "", command
    names = world.sh("ls -la ~/.ssh/id_ed25519*")
    assert re.search(r"^-rw------- .*id_ed25519$", names, re.M) and "id_ed25519.pub" in names
    keys = world.host_home / ".ssh/authorized_keys"
    grep = world.host_sh('grep "restrict,port-forwarding" ~/.ssh/authorized_keys')
    assert grep == keys.read_text() and grep.startswith(
        'restrict,port-forwarding,permitopen="127.0.0.1:11080",permitlisten="127.0.0.1:1",command="/usr/bin/true" ssh-')


def test_a_host_key_that_changed_is_refused(world):
    world.setup("ssh", "--socks", "off")
    world.start()
    known = world.vm_home / ".ssh/known_hosts"
    good = known.read_text()
    harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", world.base / "other"])
    known.write_text("192.168.64.1 " + (world.base / "other.pub").read_text())
    assert world.in_vm(["zsh", "-ic", "start_socks"], check=False).returncode == 1
    assert "Host key verification failed" in (world.vm_home / ".cal-socks.log").read_text()
    world.setup("ssh", "--socks", "off")       # adds the right one, and leaves what is not its own
    assert known.read_text().endswith(good) and known.read_text().count("\n") == 2


# ---- uninstall ----


def test_the_documents_uninstall(world):
    (world.vm_home / ".zshrc").write_text("alias one=two\nif true; then\n  :\nfi\n")
    before = (world.vm_home / ".zshrc").read_text()
    keys = world.host_home / ".ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.write_text("ssh-ed25519 AAAA somebody else's")
    keys.chmod(0o644)
    world.setup("ssh", "--socks", "on")
    world.setup("ssh", "--socks", "on")        # a second time: nothing twice
    assert (world.vm_home / ".zshrc").read_text().count("CAL SOCKS Tunnel Functions") == 1
    assert keys.read_text().count("\n") == 2 and keys.stat().st_mode & 0o777 == 0o644
    assert "cal-vm-socks" in world.host_sh('grep "restrict,port-forwarding.*cal-vm-socks" ~/.ssh/authorized_keys')
    # sed -i '' is macOS's; GNU's takes no word there.
    world.host_sh("sed -i '/restrict,port-forwarding.*cal-vm-socks/d' ~/.ssh/authorized_keys")
    assert keys.read_text() == "ssh-ed25519 AAAA somebody else's\n"
    world.sh("sed -i '/# CAL SOCKS Tunnel Functions/,/^fi$/d' ~/.zshrc; rm ~/.cal-socks-config",
             env={"SOCKS_MODE": "off"})
    assert (world.vm_home / ".zshrc").read_text() == before
    assert world.sh("exec zsh -ic 'echo ${HTTP_PROXY:-none}'") == "none\n"
    assert world.sh("echo ${HTTP_PROXY:-none}", "bash") == "none\n"       # its block is there, and does nothing


@pytest.mark.parametrize("by", ["host", "vm"])
def test_uninstall_by_awsocks(world, by):
    profile = {name: f"# of the user: {name}\n" for name in (".zshrc", ".zshenv", ".bashrc")}
    for name, text in profile.items():
        (world.vm_home / name).write_text(text)
    world.setup("ssh", "--socks", "off")
    world.start()
    world.sh("start_socks")
    socks = world.pid("socks")
    script = world.cal("uninstall", "--vm", "work", "--print").stdout
    assert (world.host_home / ".ssh/authorized_keys").read_text() == ""
    assert not list((world.host_home / ".config/awsocks/listeners.d").iterdir())
    if by == "host":
        world.in_vm(["sh", "-s"], input=script)
    else:
        world.in_vm([harness.program("awsocks"), "cal", "uninstall"])
    assert not world.alive(socks.split()[-1])
    assert {name: (world.vm_home / name).read_text() for name in profile} == profile
    left = {p.name for p in world.vm_home.iterdir()} - set(profile)
    assert not {name for name in left if "cal" in name}, left
    assert b"was not there" in world.cal("uninstall", "--vm", "work").stderr


# ---- the table ----


def rows():
    with open(os.path.join(harness.TREE, "docs", "CAL.md"), encoding="utf-8") as f:
        text = f.read()
    table = text[text.index("| command |"):]
    for line in table[:table.index("\n\n")].splitlines()[2:]:
        command, what, how = (cell.strip() for cell in line.strip("|").split(" | "))
        yield command.strip("`").replace("\\|", "|"), what, how


def test_every_command_has_its_row_and_every_kept_one_its_test():
    with open(os.path.join(harness.TREE, "tests", "integration", "test_cal.py"), encoding="utf-8") as f:
        tests = set(re.findall(r"^def (test_\w+)", f.read(), re.M))
    with open(os.path.join(harness.TREE, "tests", "golden", "cal-commands.txt"), encoding="utf-8") as f:
        commands = [line.rstrip("\n") for line in f]
    listed = list(rows())
    assert [row[0] for row in listed] == commands
    for command, what, how in listed:
        assert what in ("kept", "replaced", "excepted"), command
        if what == "kept":
            named = re.findall(r"`(test_\w+)`", how)
            assert named and set(named) <= tests, command
        else:
            assert how, command
