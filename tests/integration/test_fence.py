"""The fence around a running awsocks (--sandbox): what it does goes on inside, each kind of child still runs,
and the system says that it is closed. What is forbidden is tried by tests/unit/awsocks_fence_test.c."""
import ctypes
import json
import os
import pathlib
import platform
import pty
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile

import client
import conftest
import harness
import pytest

HOST = "api.internal.example"
ALL = ("--route-default", "direct")
ON = {"AWSOCKS_SANDBOX": "true"}       # given by name: what does not hold is an error


def landlock_version():
    """0 where this kernel, or the container around us, has none."""
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)) if sys.platform == "linux" else 0


pytestmark = [pytest.mark.nosan, pytest.mark.skipif(landlock_version() < 1, reason="no Landlock here")]


def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def goes(listener, host, port):
    try:
        client.socks5(listener, host, port).close()
    except client.Refused as e:
        assert e.code == 2, e
        return False
    return True


@pytest.fixture
def short():
    """A folder whose path leaves room for a socket's name (108 bytes in all)."""
    path = tempfile.mkdtemp(prefix="awsocks-fence-", dir="/tmp")
    yield pathlib.Path(path)
    shutil.rmtree(path)


def children(pid):
    return harness.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False).stdout.split()


# --- closed, and said so -----------------------------------------------------


def test_status_and_the_kernel_say_that_it_is_closed(awsocks):
    p = awsocks(*ALL, env=ON)
    assert p.status()["sandbox"] == {"seccomp": True, "landlock": landlock_version(), "no_new_privs": True,
                                     "core_dumps": False}
    kernel = proc_status(p.pid)
    assert (kernel["Seccomp"], kernel["NoNewPrivs"]) == ("2", "1")
    with open(f"/proc/{p.pid}/limits", encoding="ascii") as f:
        assert [line.split()[4:6] for line in f if line.startswith("Max core")] == [["0", "0"]]
    text = harness.run([harness.program("awsocks"), "status"], env=p.env).stdout.decode()
    assert f"  sandbox          seccomp, Landlock {landlock_version()}, no_new_privs, no core dumps\n" in text


def test_every_thread_is_inside(awsocks, web):
    """Workers, and the pool that looks names up."""
    p = awsocks(*ALL, "--workers", "4", env=ON)
    for _ in range(16):
        client.socks5(p.listener, "localhost", web.port).close()
    threads = os.listdir(f"/proc/{p.pid}/task")
    assert len(threads) > 4
    for tid in threads:
        kernel = proc_status(f"{p.pid}/task/{tid}")
        assert (kernel["Seccomp"], kernel["NoNewPrivs"]) == ("2", "1"), tid


def test_without_it_nothing_of_it_is_done(awsocks):
    p = awsocks(*ALL, "--no-sandbox")
    assert p.status()["sandbox"] == {"seccomp": False, "landlock": 0, "no_new_privs": False, "core_dumps": True,
                                     "missing": "--no-sandbox"}
    kernel = proc_status(p.pid)
    assert (kernel["Seccomp"], kernel["NoNewPrivs"]) == (proc_status(os.getpid())["Seccomp"], "0")
    assert not children(p.pid)


# 16 domains are the most that a process may be in (landlock(7)).
FULL = """
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0
handled = ctypes.c_uint64(1 << 12)
for _ in range(16):
    fd = call(444, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    assert fd >= 0 and call(446, fd, 0) == 0, ctypes.get_errno()
    os.close(fd)
os.execv(sys.argv[1], sys.argv[1:])
"""


# What containers do that know nothing of either: landlock_create_ruleset(2) fails with ENOSYS, seccomp(2) and
# prctl(PR_SET_SECCOMP) with EPERM. A filter of struct sock_filter: load, then "if equal, return" for each.
CONTAINER = """
import ctypes, os, platform, struct, sys
def statement(code, k): return struct.pack("HBBI", code, 0, 0, k)
def unless(k, skip): return struct.pack("HBBI", 0x15, 0, skip, k)
seccomp, prctl = {"x86_64": (317, 157), "aarch64": (277, 167)}[platform.machine()]
enosys, eperm, allow = 0x50026, 0x50001, 0x7fff0000
code = [statement(0x20, 0), unless(444, 1), statement(6, enosys), unless(seccomp, 1), statement(6, eperm),
        unless(prctl, 3), statement(0x20, 16), unless(22, 1), statement(6, eperm), statement(6, allow)]
class Program(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(code), b"".join(code))), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("script", [FULL, CONTAINER], ids=["no Landlock", "neither"])
def test_what_the_system_does_not_allow_is_told(awsocks, web, tmp_path, script):
    if script == CONTAINER and platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("numbers of the system calls")
    wrap = (sys.executable, "-c", script)
    p = awsocks(*ALL, wrap=wrap)
    sandbox = p.status()["sandbox"]
    if sandbox.get("missing") == "--no-sandbox":
        pytest.skip("off by default for who runs these tests")
    assert p.log().count("sandbox: goes on without Landlock") == 1
    assert (sandbox["landlock"], sandbox["seccomp"]) == (0, script == FULL)
    assert sandbox["no_new_privs"] and ("seccomp (" in sandbox["missing"]) == (script == CONTAINER)
    assert goes(p.listener, "127.0.0.1", web.port)
    env = conftest.clean_environment(tmp_path / "strict")
    r = harness.run([*wrap, harness.program("awsocks"), "--sandbox", "--listen", "127.0.0.1:0"], env=env, check=False)
    assert r.returncode == 69
    assert b"--sandbox: this system does not allow all of it: Landlock" in r.stderr


# --- what goes on inside -----------------------------------------------------


def test_direct_by_name_and_address(awsocks, web):
    p = awsocks(*ALL, env=ON)
    for host in ("localhost", "127.0.0.1", "ip6-localhost"):
        r = client.curl("--proxy", p.url(), f"http://{host}:{web.port}/bytes/10", check=False)
        assert r.returncode == 0 or host == "ip6-localhost", r.stderr


def test_unix_listener_and_its_peer(awsocks, web, short):
    folder = short / "sockets"
    p = awsocks(*ALL, env=ON, listen=f"unix:{folder}/new/s")
    assert stat.S_IMODE(os.stat(folder / "new").st_mode) == 0o700
    assert not goes(p.listener, "127.0.0.1", web.port)       # it answers: the host guard says no
    line = harness.wait_for(p.audit, what="the audit line")[0]
    # the path cannot be read from inside: the short name
    assert line["pid"] == os.getpid() and line["exe"] and "/" not in line["exe"]
    assert p.stop() == 0
    assert not os.path.exists(folder / "new" / "s")


def test_a_stale_socket_is_replaced(awsocks, web, short):
    path = short / "stale"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    p = awsocks(*ALL, env=ON, listen=f"unix:{path}")
    assert not goes(p.listener, "127.0.0.1", web.port)       # it answers: the host guard says no


@pytest.mark.parametrize("how", ["in place", "rename", "symlink"])
def test_rules_are_read_again(awsocks, web, tmp_path, how):
    folder = tmp_path / "rules"
    folder.mkdir()
    rules = folder / "rules.yaml"
    target = folder
    if how == "symlink":
        target = tmp_path / "elsewhere"
        target.mkdir()
        rules.symlink_to(target / "rules.yaml")
    (target / "rules.yaml").write_text("default: direct\n")
    p = awsocks("--rules", str(rules), env=ON)
    assert goes(p.listener, "127.0.0.1", web.port)
    if how == "in place":
        harness.overwrite(rules, "default: block\n")
    else:
        (target / "next").write_text("default: block\n")
        os.rename(target / "next", target / "rules.yaml")
    if how == "symlink":       # nobody watches where a link ends
        harness.run([harness.program("awsocks"), "reload"], env=p.env)
    p.wait_for(lambda: not goes(p.listener, "127.0.0.1", web.port), what="the new rules")


def test_project_file_is_read_again(awsocks, web, tmp_path):
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    file = project / ".awsocks.yaml"
    file.write_text("default: block\n")
    env = conftest.clean_environment(tmp_path / "trusting")
    shared = {k: env[k] for k in ("XDG_STATE_HOME",)}
    harness.run([harness.program("awsocks"), "trust", file], env=env)
    p = awsocks(env={**ON, **shared}, cwd=project / "sub")
    assert not goes(p.listener, "127.0.0.1", web.port)
    (project / "next").write_text("default: direct\n")
    os.rename(project / "next", file)
    harness.run([harness.program("awsocks"), "trust", file], env=env)
    harness.run([harness.program("awsocks"), "reload"], env=p.env)
    assert goes(p.listener, "127.0.0.1", web.port)


def test_audit_log_is_rotated(awsocks, web, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    p = awsocks(*ALL, "--audit-log", str(logs / "a.jsonl"), env=ON, audit=False)
    assert goes(p.listener, "127.0.0.1", web.port)
    harness.wait_for(lambda: (logs / "a.jsonl").stat().st_size, what="a line")
    os.rename(logs / "a.jsonl", logs / "a.1")
    p.child.send_signal(signal.SIGHUP)
    p.wait_for(lambda: (logs / "a.jsonl").exists(), what="the new log")
    assert goes(p.listener, "127.0.0.1", web.port)
    harness.wait_for(lambda: (logs / "a.jsonl").stat().st_size, what="a line in the new log")


@pytest.mark.parametrize("end", ["stop", "SIGTERM", "SIGKILL"])
def test_files_are_removed_at_the_end(awsocks, short, end):
    run = short / "pids"
    run.mkdir()
    p = awsocks(*ALL, "--pid-file", str(run / "pid"), env=ON)
    spawner = [int(c) for c in children(p.pid)]
    assert len(spawner) == 1
    assert int((run / "pid").read_text()) == p.pid
    if end == "stop":
        harness.run([harness.program("awsocks"), "stop"], env=p.env)
        assert p.child.wait(20) == 0
    elif end == "SIGTERM":
        assert p.stop() == 0
    else:
        os.kill(p.pid, signal.SIGKILL)
        p.child.wait(20)
    harness.wait_for(lambda: not os.path.exists(f"/proc/{spawner[0]}"), what="the spawner to end")
    if end != "SIGKILL":
        assert not (run / "pid").exists() and not os.path.exists(p.ready["control"])


def test_a_file_in_home_opens_nothing_beside_it(awsocks, web, tmp_path):
    """A rule file and the audit log directly in $HOME: these two and nothing else there, so that new files in their
    places cannot be had either."""
    home = tmp_path / "awsocks"
    rules = tmp_path / "first"
    rules.write_text("default: block\n")
    log = home / "audit.jsonl"
    p = awsocks("--rules", str(home / "rules.yaml"), "--audit-log", str(log), env=ON, audit=False,
                wrap=("sh", "-c", f'mv {rules} {home}/rules.yaml; exec "$@"', "sh"))
    assert p.log().count(f"lies directly in {home}: a new file in its place") == 2
    assert not goes(p.listener, "127.0.0.1", web.port)
    harness.overwrite(home / "rules.yaml", "default: direct\n")
    p.wait_for(lambda: goes(p.listener, "127.0.0.1", web.port), what="the new rules")
    (home / "next").write_text("default: block\n")
    os.rename(home / "next", home / "rules.yaml")
    p.wait_for(lambda: "rules.yaml: Permission denied" in p.log(), what="the new file to be refused")
    assert goes(p.listener, "127.0.0.1", web.port)
    os.rename(log, home / "audit.1")
    p.child.send_signal(signal.SIGHUP)
    p.wait_for(lambda: "audit.jsonl: Permission denied" in p.log(), what="the new log to be refused")
    assert goes(p.listener, "127.0.0.1", web.port)
    harness.wait_for(lambda: (home / "audit.1").read_text().count("\n") >= 4, what="lines in the old log")


@pytest.mark.parametrize("what", ["pid file", "socket"])
def test_a_directory_that_is_all_of_home_is_told(awsocks, tmp_path, what):
    home = tmp_path / "awsocks"
    option = ("--pid-file", str(home / "pid")) if what == "pid file" else ("--control", str(home / "c"))
    p = awsocks(*ALL, *option, env=ON, audit=False)
    said = {"pid file": "so all of that stays writable", "socket": "so any file there may be removed"}
    assert p.log().count(f"lies directly in {home}, and {said[what]}: give it a directory of its own") == 1


# --- children ------------------------------------------------------------------


class Process:
    """A profile whose credentials a script prints, and a role above it."""

    def __init__(self, aws, folder, body):
        folder.mkdir()
        self.folder = folder
        self.answer = json.dumps({"Version": 1, "AccessKeyId": aws.ready["access_key_id"],
                                  "SecretAccessKey": aws.ready["secret_access_key"]})
        (folder / "answer").write_text(self.answer)
        script = folder / "give"
        script.write_text(f"#!/bin/sh\ncd {folder}\n{body}\n")
        script.chmod(0o700)
        (folder / "config").write_text(f"[profile plain]\ncredential_process = {script} 'an argument'\n"
                                       "[profile role]\nrole_arn = arn:aws:iam::111122223333:role/Tunnel\n"
                                       "source_profile = plain\n")
        self.env = {**ON, "AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": conftest.REGION,
                    "AWS_CONFIG_FILE": str(folder / "config")}

    def options(self, profile="plain"):
        return ("--route-proxy", HOST, *ALL, "--aws-profile", profile, "--instance-id", conftest.INSTANCE)


@pytest.fixture
def aws(localaws):
    return localaws("--resolve", f"{HOST}=127.0.0.1")


@pytest.mark.parametrize("lazy", ["--lazy", "--no-lazy"])
@pytest.mark.parametrize("profile", ["plain", "role"])
def test_ssm_with_a_credential_process(awsocks, aws, web, tmp_path, profile, lazy):
    c = Process(aws, tmp_path / "creds", 'echo "$1" >>ran; cat answer')
    p = awsocks(*c.options(profile), lazy, env=c.env)
    r = client.curl("--proxy", p.url(), f"http://{HOST}:{web.port}/bytes/10")
    assert len(r.stdout) == 10
    assert (c.folder / "ran").read_text() == "an argument\n"


def test_children_get_the_limits_that_awsocks_was_started_with(awsocks, aws, web, tmp_path):
    """It raises its own limit of open files. Core dumps it forbids itself and them: they have secrets, too."""
    c = Process(aws, tmp_path / "creds", "{ ulimit -Sn; ulimit -Sc; } >limits; cat answer")
    p = awsocks(*c.options(), env=c.env, wrap=("sh", "-c", 'ulimit -Sn 999; ulimit -Sc 7; exec "$@"', "sh"))
    client.curl("--proxy", p.url(), f"http://{HOST}:{web.port}/bytes/10")
    with open(f"/proc/{p.pid}/limits", encoding="ascii") as f:
        assert "Max open files            999 " not in f.read()
    assert (c.folder / "limits").read_text().split() == ["999", "0"]


def test_too_much_output_is_told(awsocks, aws, tmp_path):
    c = Process(aws, tmp_path / "creds", "head -c 2097152 /dev/zero | tr '\\0' y")
    p = awsocks(*c.options(), env=c.env)
    with pytest.raises(client.Refused):
        client.socks5(p.listener, HOST, 80)
    assert "wrote more than it may" in p.log()


def test_a_missing_program_is_told(awsocks, aws, tmp_path):
    c = Process(aws, tmp_path / "creds", "")
    (c.folder / "give").unlink()
    p = awsocks(*c.options(), env=c.env)
    with pytest.raises(client.Refused):
        client.socks5(p.listener, HOST, 80)
    assert "give': No such file or directory" in p.log()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_hanging_one_dies_with_its_group(awsocks, aws, tmp_path, end):
    c = Process(aws, tmp_path / "creds", "sleep 1000 &\necho $! $$ >pids.new; mv pids.new pids; wait")
    p = awsocks(*c.options(), env=c.env)
    s = client.dial(p.listener)
    s.sendall(b"\x05\x01\x00" + b"\x05\x01\x00" + client.socks5_address(HOST) + b"\x00\x50")
    p.wait_for(lambda: (c.folder / "pids").exists(), what="the program to run")
    pids = (c.folder / "pids").read_text().split()
    os.kill(p.pid, end)
    p.child.wait(20)
    s.close()

    def gone(pid):
        try:
            return proc_status(pid)["State"].startswith("Z")
        except (FileNotFoundError, ProcessLookupError):
            return True
    harness.wait_for(lambda: all(gone(pid) for pid in pids), what=f"{pids} to be killed")


def test_one_that_asks_at_the_terminal(aws, web, tmp_path):
    c = Process(aws, tmp_path / "creds", "printf 'Code? ' >/dev/tty; read code </dev/tty\n"
                                         'echo "$code" >code; cat answer')
    ready = tmp_path / "ready" / "ready.json"
    ready.parent.mkdir()
    env = {**conftest.clean_environment(tmp_path / "home"), **c.env}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(harness.program("awsocks"), ["awsocks", "start", *c.options(), "--listen", "127.0.0.1:0",
                                               "--ready-file", str(ready)], env)
    try:
        listener = conftest.listener_of(harness.wait_for(lambda: harness.read_json(ready))["listeners"][0]["address"])
        request = subprocess.Popen(["curl", "-sS", "-o", tmp_path / "got", "--proxy",
                                    f"socks5h://127.0.0.1:{listener[1]}", f"http://{HOST}:{web.port}/bytes/10"])
        said = b""
        while b"Code? " not in said:
            assert select.select([terminal], [], [], harness.LIMIT_S)[0], said
            said += os.read(terminal, 4096)
        os.write(terminal, b"123456\n")
        assert request.wait(harness.LIMIT_S) == 0
        assert (tmp_path / "got").stat().st_size == 10
        assert (c.folder / "code").read_text() == "123456\n"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def fence_cli(*argv, **kwargs):
    return harness.run([harness.program("unit/awsocks_fence_cli"), *argv], **kwargs)


def test_ssh_runs_a_command(sshd):
    argv = sshd.client("127.0.0.1", "echo over $((40 + 2))")
    argv[0] = harness.run(["sh", "-c", "command -v ssh"]).stdout.decode().strip()
    assert fence_cli(*argv).stdout == b"over 42\n"


# What QEMU needs of the system: a device, a helper program, a socket to be reached by.
MACHINE = """
import os, socket, subprocess, sys
with open("/dev/kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "/dev/null", "r+b", 0):
    pass
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
c, _ = s.accept()
c.sendall(subprocess.run(["id", "-u"], capture_output=True, check=True).stdout)
c.close()
"""


def test_what_a_virtual_machine_needs(tmp_path, processes):
    path = str(tmp_path / "vm.sock")
    p = harness.Process([harness.program("unit/awsocks_fence_cli"), sys.executable, "-c", MACHINE, path], tmp_path)
    processes.append(p)
    p.wait_for(lambda: os.path.exists(path), what="the machine's socket")

    def reach():
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
        except ConnectionRefusedError:      # bound, not listening yet
            return None
        return s
    with harness.wait_for(reach, what="the machine to listen") as s:
        assert client.read_to_end(s) == b"%d\n" % os.getuid()
    assert p.child.wait(20) == 0
