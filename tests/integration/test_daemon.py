"""--daemon and --log-file: the parent's exit status tells whether the start worked, nothing keeps the terminal, and
`awsocks stop` ends it; with the fence and its spawner, workers, and --no-lazy."""
import contextlib
import os
import signal
import subprocess
import sys

import pytest

import client
import conftest
import harness

BLOCK = ("--route-default", "block", "--listen", "127.0.0.1:0")


class Daemon:
    """One that went to the background; stopped (or killed) at the end."""

    def __init__(self, folder, options, env=None, start=True, wrap=()):
        self.env = conftest.clean_environment(folder)
        self.env.update(env or {})
        self.run = folder / "files"
        self.run.mkdir()
        self.pid_file, self.ready_file, self.log_file = (self.run / n for n in ("pid", "ready", "log"))
        self.argv = [harness.program("awsocks"), "--daemon", "--pid-file", str(self.pid_file), "--ready-file",
                     str(self.ready_file), "--grace", "200ms", *options]
        self.argv = [*wrap, *self.argv]
        self.pid = None
        if start:
            # A pipe for the output: run() waits until nobody has it any more.
            self.started = harness.run(self.argv, env=self.env)
            self.find()

    def find(self):
        self.pid = int(self.pid_file.read_text())
        self.ready = harness.read_json(self.ready_file)
        self.listener = conftest.listener_of(self.ready["listeners"][0]["address"])

    def alive(self):
        with contextlib.suppress(OSError, ProcessLookupError):
            with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
                return f.read().rpartition(")")[2].split()[0] != "Z"
        return False

    def stop(self):
        harness.run([harness.program("awsocks"), "stop"], env=self.env)
        harness.wait_for(lambda: not self.alive(), what="the daemon's end")
        assert not self.pid_file.exists() and not self.ready_file.exists()

    def close(self):
        if self.pid and self.alive():
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def daemon(tmp_path):
    started = []

    def start(*options, **how):
        folder = tmp_path / f"daemon{len(started)}"
        folder.mkdir()
        started.append(d := Daemon(folder, options, **how))
        return d
    yield start
    for d in started:
        d.close()


def refused(listener):
    with pytest.raises(client.Refused) as e:
        client.socks5(listener, "x.example", 80)
    return e.value.code == 2


@pytest.mark.parametrize("options, env", [
    ((), {"AWSOCKS_SANDBOX": "true"}),
    (("--workers", "3"), {"AWSOCKS_SANDBOX": "true"}),
    (("--workers", "2"), {"AWSOCKS_SANDBOX": "false"}),
])
def test_it_goes_to_the_background_and_is_stopped(daemon, options, env):
    if harness.SANITIZED:
        env = {}
    d = daemon(*BLOCK, *options, env=env)
    assert os.getsid(d.pid) == d.pid != os.getsid(0)
    for fd in range(3):
        assert os.readlink(f"/proc/{d.pid}/fd/{fd}") == "/dev/null"
    with open(f"/proc/{d.pid}/task/{d.pid}/children", encoding="ascii") as f:
        for child in f.read().split():           # the spawner
            assert {os.readlink(f"/proc/{child}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    assert b"listen: default: 127.0.0.1:" in d.started.stderr and d.started.stdout == b""
    assert refused(d.listener)
    d.stop()


def test_it_takes_the_sockets_that_were_passed(daemon):
    """LISTEN_PID names the process that was started, and another one goes on."""
    activate = os.path.join(os.path.dirname(__file__), "activate.py")
    d = daemon("--route-default", "block", "--listen", "systemd:x",
               wrap=(sys.executable, activate, "x=127.0.0.1:0", "--"))
    assert refused(d.listener)
    d.stop()


def test_its_log_is_a_file_that_is_opened_anew(daemon, tmp_path):
    log = tmp_path / "logs" / "log"
    log.parent.mkdir()
    d = daemon(*BLOCK, "--log-file", str(log))
    assert b"listen: default" in d.started.stderr and "listen: default" in log.read_text()
    assert os.readlink(f"/proc/{d.pid}/fd/2") == str(log) and log.stat().st_mode & 0o777 == 0o600
    os.rename(log, f"{log}.1")
    os.kill(d.pid, signal.SIGHUP)
    harness.wait_for(lambda: log.exists() and "reloaded" in log.read_text(), what="the new log")
    d.stop()
    assert "stopping" in log.read_text() and "stopping" not in (log.parent / "log.1").read_text()


def test_its_status_tells_what_went_wrong(daemon, localaws, tmp_path):
    d = daemon(*BLOCK)
    taken = f"127.0.0.1:{d.listener[1]}"
    for options, status, text in ((("--listen", taken), 74, b"in use"), (("--listen", "1:2:3"), 64, b"--listen"),
                                  (("--rules", "/none"), 65, b"/none"),
                                  (("--listen", "127.0.0.1:0", "--audit-log", "-"), 64, b"no standard output"),
                                  (("--listen", "127.0.0.1:0", "--log-file", "/none/l"), 74, b"--log-file /none/l")):
        other = daemon(*options, start=False)
        r = harness.run(other.argv, env=other.env, check=False)
        assert r.returncode == status and text in r.stderr and r.stderr.splitlines()[-1].startswith(b"awsocks: "), r
        assert not other.pid_file.exists()
    # once AWS answers, or says no
    aws = localaws()
    good = daemon(*BLOCK, "--no-lazy", "--name", "demo", env=aws.env())
    assert aws.stats()["DescribeInstances"] > 0
    bad = daemon(*BLOCK, "--no-lazy", "--name", "nobody", env=aws.env(), start=False)
    r = harness.run(bad.argv, env=bad.env, check=False)
    assert r.returncode == 69 and b"nobody" in r.stderr.splitlines()[-1], r
    good.stop()
    d.stop()


def test_who_interrupts_the_start_gets_no_daemon(daemon, localaws):
    aws = localaws("--fault", "throttle-api")
    d = daemon(*BLOCK, "--no-lazy", "--instance-id", conftest.INSTANCE, "--log-file", "log", start=False, env=aws.env())

    def log():
        return (d.run / "log").read_text() if (d.run / "log").exists() else ""
    with subprocess.Popen(d.argv, env=d.env, cwd=d.run, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
        harness.wait_for(lambda: "credentials -> " in log(), what="the start")
        p.send_signal(signal.SIGINT)
        assert p.wait(harness.LIMIT_S) == -signal.SIGINT
        p.stderr.close()
    aws.faults("clear")
    harness.wait_for(lambda: "who started it has gone" in log(), what="the child to see it")
    harness.wait_for(lambda: not d.pid_file.exists(), what="its files to go")       # which were there by then


def test_a_log_file_without_a_daemon(awsocks, tmp_path):
    log = tmp_path / "logs" / "log"
    log.parent.mkdir()
    p = awsocks("--route-default", "block", "--log-file", str(log))
    assert p.log().count("listen: default") == log.read_text().count("listen: default") == 1
    assert p.stop() == 0
    assert "stopping" in log.read_text() and "stopping" not in p.log()
