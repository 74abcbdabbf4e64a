"""awsocks bridge -- COMMAND: its variables, signals, terminal, status, and that nobody is left behind."""
import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

import client
import harness
from bridging import Server, bridge, echo, intranet, text_of     # noqa: F401

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def command(*argv, to="unix:/nonexistent/sock", options=(), listen="127.0.0.1:0", name="awsocks-bridge"):
    return [harness.program(name), "bridge", "--listen", listen, "--to", to, *options, "--", *map(str, argv)]


def alive(pid):
    """Runs, and is no zombie."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
@pytest.mark.parametrize("argv, status", [
    (["sh", "-c", "exit 0"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137),
    (["sh", "-c", "kill -TERM $$"], 143), (["/nonexistent/program"], 127), (["no-such-program"], 127), (["/"], 126),
])
def test_exit_status(argv, status, name):
    assert harness.run(command(*argv, name=name), check=False).returncode == status


def test_the_command_is_not_run_when_nobody_can_listen(bridge, tmp_path):
    other = bridge("--to", "127.0.0.1:1")
    r = harness.run(command("touch", tmp_path / "ran", listen=text_of(other.listener)), check=False)
    assert r.returncode != 0 and re.search(b"listen at .*: Address (already )?in use", r.stderr)
    assert not os.path.exists(tmp_path / "ran")


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_the_command_gets_what_the_bridge_was_given(name):
    """Mask, limits, ignored and blocked signals, descriptors and environment are the caller's."""
    look = ["sh", "-c", "umask; ulimit -a; ls /proc/self/fd; grep -E 'Sig[BIC]|Shd' /proc/self/status; "
            "env | grep -v '^_='"]
    given = {"umask": 0o027, "env": dict(os.environ, LC_ALL="C", GIT_SSH_COMMAND="ssh -4")}
    inside = harness.run(command(*look, name=name), **given).stdout
    assert inside == harness.run(look, **given).stdout


def test_variables(bridge, tmp_path):
    """Those of awsocks env for the first port, beside the user's own words."""
    env = {"PATH": os.environ["PATH"], "JAVA_TOOL_OPTIONS": "-Xmx1g", "GIT_SSH_COMMAND": "ssh -4"}
    out = harness.run(command("env", options=["--listen", f"unix:{tmp_path}/s", "--env"]), env=env).stdout.decode()
    values = dict(line.split("=", 1) for line in out.splitlines())
    at = values["AWSOCKS"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", at)
    assert values["https_proxy"] == values["ALL_PROXY"] == f"http://{at}"
    assert values["JAVA_TOOL_OPTIONS"].startswith("-Xmx1g -Dhttp.proxyHost=127.0.0.1 ")
    assert values["GIT_SSH_COMMAND"] == \
        f"ssh -4 -o ProxyCommand='{harness.program('awsocks-bridge')} connect %h %p'"
    out = harness.run(command("env", listen=f"unix:{tmp_path}/s", options=["--env", "--no-ssh"]), env=env).stdout
    assert f"ALL_PROXY=socks5h://localhost{tmp_path}/s\n".encode() in out
    assert b"https_proxy" not in out and b"ProxyCommand" not in out


def test_clients_with_nothing_but_the_variables(intranet, tmp_path):
    """curl, git and a ProxyCommand as the command, through awsocks at a Unix socket."""
    script = """set -e
        curl -fsS -o curled http://intranet.example/bytes/100000
        git clone -q http://intranet.example/git/project.git cloned
        git -C cloned fsck
        printf 'GET /bytes/10 HTTP/1.0\\r\\n\\r\\n' | "$BRIDGE" connect intranet.example 80 | tail -c 10 >connected
        """
    proxy = intranet()
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1",
            "BRIDGE": harness.program("awsocks-bridge")}
    harness.run(command("sh", "-c", script, to=proxy.address, options=["--env"]), env=home, cwd=tmp_path)
    assert harness.file_digest(tmp_path / "curled") == harness.pattern_digest(100000)
    assert (tmp_path / "connected").read_bytes() == b"".join(harness.pattern(10))


def test_what_the_command_sent_last_still_arrives(tmp_path):
    """It connects, sends, and ends: all of it goes out before the bridge does."""
    got = []

    def serve(s):
        n = 0
        while data := s.recv(1 << 12):
            n += len(data)
        got.append(n)
    server = Server(serve)
    script = "import os, socket\n" \
             "host, port = os.environ['AWSOCKS'].split(':')\n" \
             "s = socket.create_connection((host, int(port)))\n" \
             "s.sendall(bytes(4 << 20))\n"
    harness.run(command(PYTHON, "-c", script, to=text_of(server.address), options=["--env"]))
    harness.wait_for(lambda: got, what="the end of the connection")
    assert got == [4 << 20]
    server.stop()


SIGNALS = """
import os, signal
wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
signal.signal(signal.SIGWINCH, lambda *_: None)     # ignored by default: not even pending
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready", flush=True)
while True:
    number = signal.sigwait(wanted)
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        os._exit(5)
"""


@contextlib.contextmanager
def running(argv, **kwargs):
    """Popen in a session of its own, with text pipes; ended however the test ends."""
    p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         start_new_session=True, text=True, bufsize=1, **kwargs)
    try:
        yield p
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        p.wait(10)
        p.stdout.close()


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_signals_are_passed_on(name):
    """Each once; the command decides what they mean."""
    with running(command(PYTHON, "-c", SIGNALS, name=name)) as p:
        assert p.stdout.readline() == "ready\n"
        for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGQUIT", "SIGWINCH", "SIGINT", "SIGTERM"):
            p.send_signal(signal.Signals[name])
            assert p.stdout.readline() == name + "\n"
        assert p.wait(harness.LIMIT_S) == 5


def test_without_a_command_signals_end_it(bridge):
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        p = bridge("--to", "127.0.0.1:1")
        os.kill(p.pid, signum)
        assert p.child.wait(harness.LIMIT_S) == 0


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_what_is_ignored_stays_ignored(tmp_path, processes, name):
    """nohup, and a background job of a script, which has no SIGINT."""
    argv = command("true", name=name)[:-2]
    p = harness.Process(["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh", *argv], tmp_path, "bridge")
    processes.append(p)
    p.wait_for(lambda: " -> " in p.log(), what="the bridge")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGCONT):
        os.kill(p.pid, number)
    time.sleep(0.1)
    assert p.running()
    assert p.stop() == 0
    # a caller that ignores SIGCHLD takes no status away
    r = harness.run(["env", "--ignore-signal=CHLD", *command("sh", "-c", "exit 6", name=name)], check=False)
    assert r.returncode == 6


def test_a_killed_bridge_leaves_no_command():
    with running(command("sh", "-c", "echo $$; exec sleep 600")) as p:
        pid = int(p.stdout.readline())
        assert alive(pid)
        p.kill()
        harness.wait_for(lambda: not alive(pid), what="the command's end")


PARENT = """
import subprocess, sys, threading, time
def start():
    global p
    p = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
if sys.argv[1] == "thread":         # which ends, and its children's death signals come
    t = threading.Thread(target=start)
    t.start()
    t.join()
else:
    start()
sys.stdout.write(f'bridge {p.pid}\\n')
sys.stdout.flush()
p.wait()
"""


def orphans(parent):
    """The bridge's pid and its command's, which say so in any order."""
    said = ""
    while not (("bridge " in said) and ("command " in said)):
        said += parent.stdout.readline()
    return int(re.search(r"bridge (\d+)", said).group(1)), int(re.search(r"command (\d+)", said).group(1))


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_parents_death_ends_bridge_and_command(stubborn):
    """The command is asked by SIGTERM, and killed if that does not help."""
    script = ("trap '' TERM; " if stubborn else "") + "echo command $$; while :; do sleep 0.1; done"
    with running([PYTHON, "-c", PARENT, "process", *command("sh", "-c", script)]) as p:
        pids = orphans(p)
        p.kill()
        for pid in pids:
            harness.wait_for(lambda pid=pid: not alive(pid), what="the end of both")


def test_a_thread_of_the_parent_may_end():
    """The kernel tells of that as of the parent's death, which it is not."""
    with running([PYTHON, "-c", PARENT, "thread", *command("sh", "-c", "echo command $$; exec sleep 600")]) as p:
        one, two = orphans(p)
        time.sleep(0.3)
        assert alive(one) and alive(two)
        p.kill()
        harness.wait_for(lambda: not alive(one) and not alive(two), what="the end of both")


def test_it_may_outlive_its_parent(processes):
    """Without a command as ever; with one when that is asked for."""
    argv = command("sh", "-c", "echo command $$; exec sleep 600", options=["--no-die-with-parent"])
    with running([PYTHON, "-c", PARENT, "process", *argv]) as p:
        one, two = orphans(p)
        os.kill(p.pid, signal.SIGKILL)
        p.wait(10)
        time.sleep(0.3)
        assert alive(one) and alive(two)
        os.kill(one, signal.SIGTERM)
        harness.wait_for(lambda: not alive(two), what="the end of both")


class Terminal:
    """A program with a terminal of its own; what it says is collected."""

    def __init__(self, argv, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], [str(a) for a in argv], env or os.environ)
        self.text = ""
        self.status = None

    def expect(self, pattern):
        end = time.monotonic() + harness.LIMIT_S
        while not (found := re.search(pattern, self.text)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise harness.Failed(f"no {pattern!r} in {self.text!r}")
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError as e:
                raise harness.Failed(f"ended without {pattern!r}: {self.text!r}") from e
        self.text = self.text[found.end():]
        return found

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self):
        def ended():
            with contextlib.suppress(OSError):      # a terminal that is not read holds its writer up
                while select.select([self.fd], [], [], 0)[0]:
                    self.text += os.read(self.fd, 4096).decode(errors="replace")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return (os.waitstatus_to_exitcode(status),) if pid else None
        (self.status,) = harness.wait_for(ended, what="the end")
        return self.status

    def close(self):
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal():
    started = []

    def start(*argv, env=None):
        t = Terminal(argv, env)
        started.append(t)
        return t
    yield start
    for t in started:
        t.close()


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_ctrl_c(terminal, name):
    """Reaches the command once, and it decides; the bridge stays as long as it does."""
    t = terminal(*command(PYTHON, "-c", SIGNALS, name=name))
    t.expect("ready")
    t.send("\x03")
    t.expect("SIGINT")
    t.send("\x1c")
    t.expect("SIGQUIT")
    assert "SIGINT" not in t.text
    os.kill(t.pid, signal.SIGTERM)
    t.expect("SIGTERM")
    assert t.wait() == 5
    t = terminal(*command("sh", "-c", "echo ready; exec sleep 600", name=name))
    t.expect("ready")
    t.send("\x03")
    assert t.wait() == 130


def shell_environment():
    return {"PATH": os.environ["PATH"], "PS1": "prompt> ", "TERM": "dumb", "LC_ALL": "C", "HISTFILE": ""}


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_ctrl_z_and_fg(terminal, name):
    """A shell sees the job stop, and bridge and command go on together, in the foreground or not."""
    t = terminal("bash", "--norc", "--noprofile", "-i", "-b", env=shell_environment())
    t.expect("prompt> ")
    # what is waited for does not stand in the line that is typed, which the terminal echoes
    script = "echo st$((1))rted; read line; echo got-$line; read line; echo got-$line; exit 4"
    line = " ".join(f"'{word}'" for word in command("sh", "-c", script, name=name))
    t.send(line + "\n")
    t.expect("st1rted")
    t.send("\x1a")
    t.expect("Stopped")
    t.expect("prompt> ")
    t.send("fg\n")
    t.send("one\n")
    t.expect("got-one")
    t.send("\x1a")
    t.expect("Stopped")
    t.expect("prompt> ")
    t.send("jobs -l\n")
    t.expect(r"\d+ Stopped")
    t.expect("prompt> ")
    t.send("bg\n")                  # it reads the terminal from the background: stops again
    t.expect("Stopped")
    t.send("fg\n")
    t.send("two\n")
    t.expect("got-two")
    t.expect("prompt> ")
    t.send("echo status-$?\n")
    t.expect("\nstatus-4")
    t.send("exit\n")
    t.wait()


def test_a_shell_as_the_command(terminal):
    """It has jobs of its own, in groups of their own, and gives the terminal back."""
    t = terminal("bash", "--norc", "--noprofile", "-i", env=shell_environment())
    t.expect("prompt> ")
    inner = command("env", "PS1=inner> ", "bash", "--norc", "--noprofile", "-i", options=["--log-level", "debug"])
    t.send(" ".join(f"'{word}'" for word in inner) + "\n")
    t.expect("inner> ")
    t.send("sh -c 'echo sl$((1))ping; exec sleep 600'\n")
    t.expect("sl1ping")
    t.send("\x1a")
    t.expect("Stopped")
    t.expect("inner> ")
    t.send("kill %1; wait; suspend\n")
    t.expect("Stopped")
    t.expect("prompt> ")
    t.send("fg\n")
    t.send("echo back-$((1+1))\n")
    t.expect("back-2")
    t.send("exit 9\n")
    t.expect("prompt> ")
    t.send("echo status-$?\n")
    t.expect("\nstatus-9")
    t.send("exit\n")
    t.wait()


def test_a_closed_terminal_ends_all(terminal):
    t = terminal(*command("sh", "-c", "echo pid-$$; exec sleep 600"))
    pid = int(t.expect(r"pid-(\d+)").group(1))
    os.close(t.fd)
    t.fd = os.open(os.devnull, os.O_RDONLY)
    harness.wait_for(lambda: not alive(pid) and not alive(t.pid), what="the end of both")


SECCOMP = textwrap.dedent("""
    import ctypes, os, socket, struct, sys
    AUDIT = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
    arch, nr = AUDIT[os.uname().machine]
    code = [(0x20, 0, 0, 4), (0x15, 0, 4, arch), (0x20, 0, 0, 0), (0x15, 0, 2, nr), (0x20, 0, 0, 16),
            (0x15, 1, 0, 1), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]
    filt = b"".join(struct.pack("HBBI", *c) for c in code)
    buf = ctypes.create_string_buffer(filt)
    prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buf)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, prog, 0, 0) == 0, ctypes.get_errno()
    try:
        socket.socket(socket.AF_UNIX)
    except PermissionError:
        print("no Unix sockets here", flush=True)
    os.execvp(sys.argv[1], sys.argv[1:])
""")


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter knows two architectures")
def test_a_command_that_may_not_use_unix_sockets(tmp_path):
    """The bridge is outside of the command's filter, and connects for it."""
    server = Server(echo, str(tmp_path / "far"))
    ask = ["sh", "-c", f"printf hello | '{PYTHON}' -c \"$ECHO\""]
    env = dict(os.environ, ECHO="import os,socket,sys\nh,p=os.environ['AWSOCKS'].split(':')\n"
               "s=socket.create_connection((h,int(p)))\ns.sendall(b'hello')\ns.shutdown(1)\nprint(s.recv(9))")
    r = harness.run(command(PYTHON, "-c", SECCOMP, *ask, to=text_of(server.address), options=["--env"]), env=env)
    assert r.stdout.decode() == "no Unix sockets here\nb'hello'\n"
    # and a bridge inside of the filter says what is wrong
    with running([PYTHON, "-c", SECCOMP, harness.program("awsocks-bridge"), "bridge", "--listen", "127.0.0.1:0", "--to",
                  text_of(server.address)], stderr=subprocess.PIPE) as p:
        assert p.stdout.readline() == "no Unix sockets here\n"
        at = re.search(r" bridge: (\S+):(\d+) -> ", p.stderr.readline())
        with client.dial((at.group(1), int(at.group(2)))) as s:
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""
        assert "a filter of system calls?" in p.stderr.readline()
        p.stderr.close()
    server.stop()


def test_clients_that_wait_do_not_hold_the_end_up(tmp_path):
    """The other end is away, and a client waits for it: the command's end is the bridge's."""
    script = "import os, socket\n" \
             "host, port = os.environ['AWSOCKS'].split(':')\n" \
             "s = socket.create_connection((host, int(port)))\n" \
             "s.sendall(b'x')\n"
    harness.run(command(PYTHON, "-c", script, options=["--env", "--wait", "1h"]))
