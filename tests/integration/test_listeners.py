"""Listeners as a user has them: Unix sockets and their mode, who is let in, addresses that come
later, two profiles at the same time, and the short commands that talk to a running proxy."""
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess

import pytest

import client
import harness
from cli import Cli

OTHER = "i-0bbbbbbbbbbbbbbb1"


def fetch(proxy, url, *options):
    return subprocess.run(["curl", "-sS", "--max-time", "30", "--proxy", proxy, *options, url], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def configured(folder, text):
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def short(tmp_path_factory):
    """A folder whose path leaves room for a socket's name (108 bytes)."""
    folder = tmp_path_factory.mktemp("s")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("workers, env", [("1", {"AWSOCKS_SANDBOX": "false"}), ("2", None)])
def test_a_socket_that_was_removed_is_made_again_by_reload(awsocks, short, workers, env):
    path = short / "run" / "p.sock"
    p = awsocks("--route-default", "block", "--workers", workers, listen=f"unix:{path}", env=env)
    assert p.status()["listeners"][0]["open"] is True

    def serves():
        with contextlib.suppress(OSError), client.dial(str(path)) as s:
            s.sendall(b"\5\1\0")
            return client.read_exactly(s, 2) == b"\5\0"
    path.unlink()
    assert p.status()["listeners"][0]["open"] is False
    cli = [harness.program("awsocks"), "reload"]
    harness.run(cli, env=p.env)
    harness.wait_for(serves, what="the new socket")
    before = os.stat(path).st_ino
    harness.run(cli, env=p.env)
    assert os.stat(path).st_ino == before and serves()      # what is there stays
    shutil.rmtree(path.parent)
    r = harness.run(cli, env=p.env, check=False)
    assert r.returncode != 0 and b"No such file" in r.stderr
    if not env:             # the fence knows the old directory
        return
    path.parent.mkdir(0o700)
    harness.wait_for(serves, what="the socket in the new directory")
    assert p.stop() == 0 and not path.exists()


@pytest.mark.parametrize("said, want", [("", 0o600), (', mode: "0660"', 0o660), (', mode: "0606"', 0o606)])
def test_unix_socket_has_the_mode_that_was_asked_for(awsocks, web, short, said, want):
    path = short / "new" / "proxy.sock"
    p = awsocks("--config", configured(short, f'listeners: [{{ address: "unix:{path}", guard: off{said} }}]\n'),
                "--route-default", "direct", listen=None)
    assert stat.S_IMODE(os.stat(path).st_mode) == want
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    r = fetch(f"socks5h://localhost{path}", f"http://127.0.0.1:{web.port}/bytes/5")
    assert (r.returncode, r.stdout) == (0, b"".join(harness.pattern(5)))
    assert p.stop() == 0 and not path.exists()


def test_networks_do_not_shut_a_unix_socket(awsocks, short):
    p = awsocks("--listen", f"unix:{short}/a.sock", "--listen", "127.0.0.1:0", "--allow-from", "127.0.0.2",
                "--route-default", "block", listen=None)
    assert p.listeners.keys() == {"default", "127.0.0.1:0"}
    shut = p.listeners["127.0.0.1:0"]["address"]
    assert fetch(f"http://{shut}", "http://x.example/").stdout == b""
    r = fetch(f"socks5h://localhost{short}/a.sock", "http://x.example/")
    assert r.returncode == 97 and b"(2)" in r.stderr, r        # let in, and answered by the rules


@pytest.mark.parametrize("listener, why", [
    ('address: "unix:/x/y.sock", allow-from: ["10.0.0.0/8"]', "its mode: and allow-uid: say who"),
    ('address: "127.0.0.1:1", mode: "0600"', "only a unix: socket"),
    ('address: "unix:/x/y.sock", mode: "0777"', "not executable"),
    ('address: "unix:/x/y.sock", mode: rw', "octal number"),
])
def test_wrong_listeners_are_told(tmp_path, listener, why):
    cli = Cli(tmp_path)
    cli.config(f"listeners:\n  - {{ {listener} }}\n")
    for command in (["check"], ["start"]):
        p = cli(*command)
        assert p.returncode == 65 and why in p.stdout + p.stderr
        assert "config.yaml:2:" in p.stdout + p.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1080"])
def test_an_open_listener_is_refused_with_the_line_to_add(tmp_path, address):
    cli = Cli(tmp_path)
    p = cli("--listen", address, "--route-default", "direct")
    assert p.returncode == 65 and p.stderr.count("\n") == 1
    assert address in p.stderr and "--allow-from" in p.stderr and 'allow-from: ["' in p.stderr


def has_namespaces():
    return shutil.which("unshare") and shutil.which("ip") and subprocess.run(
        ["unshare", "-rn", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="needs network namespaces and iproute2")
def test_an_address_that_comes_later_is_waited_for(tmp_path, awsocks):
    p = awsocks("--route-default", "block", "--allow-from", "192.0.2.0/24", listen="192.0.2.7:1080",
                wrap=("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'))
    [listener] = p.status()["listeners"]
    assert listener.items() >= {"name": "default", "address": "192.0.2.7:1080", "port": 1080, "open": False}.items()
    assert "waiting until this host has that address" in p.log()
    inside = ["nsenter", f"--target={p.pid}", "--user", "--net", "--preserve-credentials"]
    harness.run([*inside, "ip", "address", "add", "192.0.2.7/32", "dev", "lo"])
    p.wait_for(lambda: p.status()["listeners"][0]["open"], what="the listener")
    r = harness.run([*inside, "curl", "-sS", "--proxy", "http://192.0.2.7:1080", "http://x.example/"])
    assert b"blocked by" in r.stdout


@pytest.mark.skipif(not has_namespaces(), reason="needs network namespaces and iproute2")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_goes_and_returns(awsocks, workers):
    """As a VM's gateway does with its VM. Clients that were there keep their connection, new ones find it again."""
    p = awsocks("--route-default", "block", "--allow-from", "192.0.2.0/24", "--workers", workers,
                listen="192.0.2.7:1080", wrap=("unshare", "-rn", "sh", "-c",
                                               'ip link set lo up && ip address add 192.0.2.7/32 dev lo && '
                                               'ip address add 192.0.2.8/32 dev lo && exec "$0" "$@"'))
    inside = ["nsenter", f"--target={p.pid}", "--user", "--net", "--preserve-credentials"]

    def answers():
        r = subprocess.run([*inside, "curl", "-sS", "--max-time", "5", "--interface", "192.0.2.8", "--proxy",
                            "http://192.0.2.7:1080", "http://x.example/"], check=False, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
        return b"blocked by" in r.stdout
    assert answers()
    for _ in range(2):
        harness.run([*inside, "ip", "address", "del", "192.0.2.7/32", "dev", "lo"])
        assert not answers()
        harness.run([*inside, "ip", "address", "add", "192.0.2.7/32", "dev", "lo"])
        p.wait_for(answers, what="the listener")


TWO = """
profiles:
  default:
    name: demo
    routing:
      default: block
      proxy: ["one.example"]
      rules: [{ match: two.example, route: "proxy:staging" }]
  staging: { name: stagebox }
"""


def test_two_profiles_use_their_own_instances_at_once(awsocks, localaws, web, tmp_path):
    aws = localaws("--instance", "id=i-0123456789abcdef0,name=demo", "--instance", f"id={OTHER},name=stagebox",
                   "--resolve", f"one.example=127.0.0.1:{web.port}", "--resolve", f"two.example=127.0.0.1:{web.port}")
    p = awsocks("--config", configured(tmp_path, TWO), aws=aws, target=False)
    for host in ("one.example", "two.example"):
        assert fetch(p.url(), f"http://{host}/bytes/1000").stdout == b"".join(harness.pattern(1000))
    assert b"blocked by" in fetch(p.url("http"), "http://three.example/").stdout
    backends = {b["name"]: (b["state"], b["instance"]) for b in p.status()["backends"]}
    assert backends == {"proxy:default": ("active", "i-0123456789abcdef0"), "proxy:staging": ("active", OTHER)}
    assert p.stop() == 0
    assert {line["route"] for line in p.audit()} == {"proxy", "proxy:staging", "block"}


def test_status_has_every_name_once(awsocks, aws_with_web):
    p = awsocks("--route-default", "proxy", aws=aws_with_web, env={"AWSOCKS_NAME": "demo"})
    fetch(p.url(), "http://one.example/bytes/1")       # which goes direct, in vain, while AWS is asked

    def no_repeats(pairs):
        assert len({k for k, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    def status():
        text = harness.run([harness.program("awsocks"), "status", "--json"], env=p.env).stdout
        return json.loads(text, object_pairs_hook=no_repeats)
    p.wait_for(lambda: status()["backends"][0]["state"] == "active", what="a session")


@pytest.fixture
def aws_with_web(localaws, web):
    return localaws("--resolve", f"one.example=127.0.0.1:{web.port}")


@pytest.mark.parametrize("option", ["--pid-file", "--ready-file"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path, option):
    cli = Cli(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    p = cli(option, str(tmp_path / "fifo"), "--listen", "127.0.0.1:0", "--route-default", "direct")
    assert p.returncode == 65 and f"{option}: {tmp_path}/fifo is not a regular file" in p.stderr
    assert stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)


TWINS = ["--instance", "id=i-0aaaaaaaaaaaaaaa1,name=twin", "--instance", "id=i-0aaaaaaaaaaaaaaa2,name=twin"]


@pytest.mark.parametrize("options, status, says", [
    (["--name", "twin"], 69, ["2 instances are named 'twin'", "i-0aaaaaaaaaaaaaaa1", "i-0aaaaaaaaaaaaaaa2",
                              "--instance-id"]),
    (["--name", "nosuch"], 69, ["no instance in eu-central-1 is named 'nosuch'", "is the region right"]),
    (["--name", "twin", "--region", "not a region"], 65, ["'not a region' is not an AWS region", "--region"]),
    ([], 65, ["--instance-id or --name"]),
])
def test_instances_that_cannot_be_found(localaws, tmp_path, options, status, says):
    env = localaws(*TWINS).env()
    cli = Cli(tmp_path)
    if status == 65 and options:
        del env["AWS_ENDPOINT_URL"]      # an endpoint of one's own needs no region
    p = cli(*options, "--no-lazy", "--listen", "127.0.0.1:0", env=env)
    assert p.returncode == status
    for text in says:
        assert text in p.stderr


def test_one_of_several_is_chosen_on_a_terminal(localaws, tmp_path):
    env = {**Cli(tmp_path).env, **localaws(*TWINS).env()}
    ready = tmp_path / "ready.json"
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(harness.program("awsocks"), ["awsocks", "--name", "twin", "--no-lazy", "--listen", "127.0.0.1:0",
                                               "--ready-file", str(ready)], env)
    seen = b""

    def until(text):
        nonlocal seen
        while text not in seen:
            seen += os.read(fd, 4096)
    until(b"Which one? ")
    assert b"1) i-0aaaaaaaaaaaaaaa1" in seen and b"2) i-0aaaaaaaaaaaaaaa2" in seen
    os.write(fd, b"3\n")
    until(b"A number from 1 to 2: ")
    os.write(fd, b"2\n")
    until(b"it is i-0aaaaaaaaaaaaaaa2")
    harness.wait_for(lambda: harness.read_json(ready))
    os.kill(pid, signal.SIGTERM)
    until(b"stopping")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)


def ask(p, *args, **how):
    return subprocess.run([harness.program("awsocks"), *args], env={**p.env, **how}, check=False, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_connect_finds_a_listener_by_its_name(awsocks, short):
    config = configured(short, f'listeners: [{{ address: "unix:{short}/a.sock", name: box }}]\n')
    p = awsocks("--config", config, "--route-default", "block")
    ways = (["--to", "box"], ["--to", "default"], ["--to", p.address], ["--to", f"unix:{short}/a.sock"], [])
    for n, args in enumerate(ways, 1):
        r = ask(p, "connect", *args, "x.example", "80")
        assert r.returncode == 77 and "refused by a rule (awsocks route shows which)" in r.stderr, (args, r)
        harness.wait_for(lambda n=n: len(p.audit()) >= n, what="its audit line")
    r = ask(p, "connect", "--to", "bix", "x.example", "80")
    assert r.returncode == 64 and "no listener 'bix': awsocks status" in r.stderr
    assert [line["listener"] for line in p.audit()] == ["box", "default", "default", "box", "default"]


def test_control_socket_is_found_by_any_setting(awsocks, short):
    path = str(short / "c.sock")
    config = configured(short, f"defaults: {{ control: {path} }}\n")
    p = awsocks("--config", config, "--route-default", "direct")
    assert ask(p, "status").returncode == 69
    assert ask(p, "status", "--control", path).returncode == 0
    assert ask(p, "status", AWSOCKS_CONTROL=path).returncode == 0
    assert ask(p, "status", AWSOCKS_CONFIG=config).returncode == 0
    assert ask(p, "stop", AWSOCKS_CONFIG=config).returncode == 0
    p.child.wait(harness.LIMIT_S)


def test_the_readme_trial_works_as_it_is_written(tmp_path, web, processes):
    """With other ports than there; who finds that somebody else has just taken one tries others."""
    with open(os.path.join(harness.TREE, "README.md"), encoding="utf-8") as f:
        block = re.search(r"### Trying it without AWS\n.*?```sh\n(.*?)```", f.read(), re.S).group(1)
    lines = [line for line in block.splitlines() if "http.server" not in line]     # `web` stands for it
    for n in range(5):
        folder = tmp_path / f"trial{n}"
        folder.mkdir()
        emulator, listener = harness.free_port(), harness.free_port()
        other = {"build/": harness.BUILD + "/", "4599": str(emulator), "8000": str(web.port), "1080": str(listener),
                 "--name demo": f"--name demo -l 127.0.0.1:{listener}",
                 "http://intranet.example/": "http://intranet.example/bytes/9 -o got"}
        # In one go: a port that was put in may contain the next one to replace.
        block = re.sub("|".join(map(re.escape, other)), lambda m, other=other: other[m[0]], "\n".join(lines))
        (folder / "trial.sh").write_text(block + "\nkill %1 %2; wait\n")
        p = harness.Process(["bash", "-m", str(folder / "trial.sh")], folder, "trial", Cli(folder).env, str(folder))
        processes.append(p)
        harness.wait_for(lambda p=p: not p.running() or "in use" in p.log(), what="the trial")
        if "in use" not in p.log():
            break
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):      # its jobs have groups of their own
            with contextlib.suppress(OSError):
                if os.getsid(pid) == p.pid:
                    os.kill(pid, signal.SIGKILL)
    assert (folder / "got").read_bytes() == b"".join(harness.pattern(9)), p.log()


@pytest.mark.parametrize("options, warned", [
    ((), True), (("--route-default", "direct"), False),
    (("--route-default", "direct", "--route-proxy", "*.internal.example"), True)])
def test_a_missing_instance_is_told_where_it_matters(awsocks, options, warned):
    p = awsocks(*options)
    assert p.stop() == 0
    assert ("no instance is named" in p.log()) == warned, p.log()
