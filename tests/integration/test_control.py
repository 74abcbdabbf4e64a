"""A running awsocks under control: status, reload, stop, signals, files, and the exit statuses of a start
that cannot be."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import client
import conftest
import harness
import pytest

DIRECT = ("--route-default", "block", "--route-direct", "127.0.0.0/8")


def control(proxy, *args, check=True):
    return harness.run([harness.program("awsocks"), *args], env=proxy.env, check=check)


def ask(proxy, line, whole=True):
    """What the control socket answers to these bytes."""
    with client.dial(proxy.ready["control"]) as s:
        s.sendall(line)
        if whole:
            s.shutdown(socket.SHUT_WR)
        try:
            return client.read_to_end(s)
        except ConnectionResetError:
            return b""


def goes(proxy, host, port):
    """True: a tunnel to it opens; False: the rules refuse it."""
    try:
        client.socks5(proxy.listener, host, port).close()
    except client.Refused as e:
        assert e.code == 2, e
        return False
    return True


def replace(path, text):
    """Whole or not at all: what watches the file never sees half of it."""
    new = path.with_name("new")
    new.write_text(text)
    os.replace(new, path)


def start(tmp_path, processes, *options, env=None):
    """A start that need not succeed, without the fixture's waiting for it."""
    home = tmp_path / f"start{len(processes)}"
    home.mkdir()
    settings = conftest.clean_environment(home)
    settings.update({"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": conftest.REGION})
    settings.update(env or {})
    p = harness.Process([harness.program("awsocks"), "start", *options], home, "awsocks", settings)
    processes.append(p)
    return p


# --- status ---------------------------------------------------------------


def test_status_has_what_scripts_read(awsocks, web):
    p = awsocks(*DIRECT, "--listen", "127.0.0.1:0")
    with client.socks5(p.listener, "127.0.0.1", web.port):
        s = p.status()
        assert s["pid"] == p.pid and s["connections"] == 1 and s["connections_total"] == 1
        assert isinstance(s["version"], str) and s["uptime_s"] >= 0
        assert [one["address"] for one in s["listeners"]] == [one["address"] for one in p.ready["listeners"]]
        assert s["listeners"][0]["name"] == "default" and s["listeners"][0]["port"] == p.listener[1]
        assert [b["state"] for b in s["backends"]] == ["idle"]
    harness.wait_for(lambda: p.status()["connections"] == 0, what="the connection's end")
    text = control(p, "status").stdout.decode()
    assert str(p.pid) in text and p.address in text


def test_status_without_a_running_one(tmp_path):
    env = conftest.clean_environment(tmp_path)
    for command in ("status", "reload", "stop"):
        r = harness.run([harness.program("awsocks"), command], env=env, check=False)
        assert r.returncode == 69 and b"no running awsocks" in r.stderr, (command, r)


# --- reload ----------------------------------------------------------------


def test_reload_takes_a_good_file_and_refuses_a_bad_one(awsocks, web, tmp_path):
    rules = tmp_path / "rules" / "rules.yaml"
    rules.parent.mkdir()
    replace(rules, "default: block\n")
    p = awsocks("--rules", str(rules))
    assert not goes(p, "127.0.0.1", web.port)
    replace(rules, "default: direct\n")
    assert control(p, "reload").returncode == 0
    assert goes(p, "127.0.0.1", web.port)
    replace(rules, "default: direct\nblock: [\n")
    r = control(p, "reload", check=False)
    assert r.returncode == 65 and b"rules.yaml:" in r.stderr, r
    assert goes(p, "127.0.0.1", web.port)
    replace(rules, "default: nowhere\n")
    p.signal(signal.SIGHUP)
    harness.wait_for(lambda: "the old rules stay" in p.log(), what="the complaint")
    assert goes(p, "127.0.0.1", web.port)
    rules.unlink()
    assert control(p, "reload", check=False).returncode != 0
    assert goes(p, "127.0.0.1", web.port)


@pytest.mark.parametrize("how", ["written", "renamed"])
def test_a_watched_rule_file_takes_effect(awsocks, web, tmp_path, how):
    folder = tmp_path / "rules"
    folder.mkdir()
    rules = folder / "rules.yaml"
    rules.write_text("default: direct\n")
    p = awsocks("--rules", str(rules))
    assert goes(p, "127.0.0.1", web.port)
    for text, want in (("default: block\n", False), ("default: direct # again\n", True)):
        if how == "written":
            harness.overwrite(rules, text)
        else:
            (folder / "new").write_text(text)
            os.replace(folder / "new", rules)
        harness.wait_for(lambda w=want: goes(p, "127.0.0.1", web.port) == w, what=text)
    harness.overwrite(rules, "default: direct\nblock: {\n")
    harness.wait_for(lambda: "the old rules stay" in p.log(), what="the complaint")
    assert goes(p, "127.0.0.1", web.port)


def test_a_watched_rule_file_that_is_cut_blocks_what_it_did(awsocks, web, tmp_path):
    """It is a good file without rules, for as long as its writer takes to go on."""
    (tmp_path / "rules").mkdir()
    rules = tmp_path / "rules" / "rules.yaml"
    rules.write_text('block: ["127.0.0.1"]\n')
    p = awsocks("--rules", str(rules), "--route-default", "direct")
    rules.write_text("")
    harness.wait_for(lambda: f"the old rules stay: {rules} is empty now" in p.log(), what="the complaint")
    assert not goes(p, "127.0.0.1", web.port)
    rules.write_text('block: ["127.0.0.2"]\n')
    harness.wait_for(lambda: goes(p, "127.0.0.1", web.port), what="the rest of it")
    rules.write_text('block: ["127.0.0.1"]\n')
    harness.wait_for(lambda: not goes(p, "127.0.0.1", web.port), what="the first rule again")
    rules.write_text("")
    assert control(p, "reload").returncode == 0         # who asks means it
    assert goes(p, "127.0.0.1", web.port)


def test_a_rule_file_beside_a_busy_log_is_still_watched(awsocks, web, tmp_path):
    """Other files of the directory, written all the time, do not put the reload off."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: direct\n")
    p = awsocks("--rules", str(rules))
    with subprocess.Popen(["sh", "-c", "while :; do echo x >> busy.log; done"], cwd=tmp_path) as noise:
        try:
            harness.overwrite(rules, "default: block\n")
            harness.wait_for(lambda: not goes(p, "127.0.0.1", web.port), what="the new rules")
        finally:
            noise.kill()


def test_sighup_reopens_the_audit_log(awsocks, web):
    p = awsocks(*DIRECT)
    path = os.path.join(p.env["HOME"], "audit", "audit.jsonl")
    assert not goes(p, "one.example", 80)
    os.rename(path, path + ".1")
    assert not goes(p, "two.example", 80)
    p.signal(signal.SIGHUP)
    harness.wait_for(lambda: os.path.exists(path), what="the new file")
    assert not goes(p, "three.example", 80)
    with open(path + ".1", encoding="utf-8") as f:
        assert [json.loads(line)["host"] for line in f] == ["one.example", "two.example"]
    assert [line["host"] for line in p.audit()] == ["three.example"]


def test_an_audit_log_that_nobody_reads_holds_nothing_up(awsocks, tmp_path, processes):
    """A FIFO without a reader: said at the start; later lines are lost, and a SIGHUP blocks nothing."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    p = start(tmp_path, processes, *DIRECT, "--listen", "127.0.0.1:0", "--audit-log", str(path))
    assert p.child.wait(harness.LIMIT_S) == 74 and f"audit log {path}: nobody reads from it" in p.log()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    p = awsocks(*DIRECT, "--audit-log", str(path), audit=False)
    assert not goes(p, "one.example", 80)
    assert harness.wait_for(lambda: os.read(reader, 4096), what="a line").count(b"one.example") >= 1
    os.close(reader)
    assert not goes(p, "two.example", 80)
    p.signal(signal.SIGHUP)
    p.wait_for(lambda: "nobody reads from it" in p.log(), what="the complaint")
    assert not goes(p, "three.example", 80)


def test_a_limit_of_file_sizes_loses_lines_and_ends_nothing(awsocks):
    """Beyond it the system sends SIGXFSZ, whose default is to end the process."""
    p = awsocks(*DIRECT, wrap=("prlimit", "--fsize=1500"))
    for i in range(20):
        assert not goes(p, f"h{i}.example", 80)
    assert "a line is lost" in p.log() and len(p.audit()) < 20


def test_a_log_that_nobody_reads_holds_nothing_up(tmp_path, processes):
    """As with `awsocks 2>&1 | less`: lines are lost, clients are served."""
    ready, env = tmp_path / "ready.json", conftest.clean_environment(tmp_path)
    with subprocess.Popen([harness.program("awsocks"), "start", *DIRECT, "--log-level", "debug", "--listen",
                           "127.0.0.1:0", "--ready-file", str(ready), "--no-project-file"], env=env,
                          stderr=subprocess.PIPE) as child:
        try:
            said = harness.wait_for(lambda: harness.read_json(ready), what="the proxy")
            listener = conftest.listener_of(said["listeners"][0]["address"])
            for i in range(400):        # more lines than a pipe holds
                with contextlib.suppress(client.Refused):
                    client.socks5(listener, f"h{i}.example", 80).close()
        finally:
            child.kill()


# --- stop ------------------------------------------------------------------


def test_stop_gives_running_tunnels_their_grace(awsocks, web):
    """New ones are refused at once; one that ends by itself within the grace is not broken."""
    p = awsocks(*DIRECT, "--grace", "20s")
    with client.socks5(p.listener, "127.0.0.1", web.port) as s:
        assert control(p, "stop").returncode == 0

        def refused():
            try:
                client.dial(p.listener).close()
            except ConnectionRefusedError:
                return True
            return False
        harness.wait_for(refused, what="the listener to close")
        s.sendall(b"GET /bytes/1000 HTTP/1.0\r\n\r\n")
        assert client.read_to_end(s).endswith(b"".join(harness.pattern(1000)))
    assert p.child.wait(harness.LIMIT_S) == 0
    assert not os.path.exists(p.ready["control"])
    [line] = [line for line in p.audit() if "host" in line]      # one that was refused at the door may have a line
    assert "error" not in line and line["bytes_down"] > 1000


def test_stop_breaks_what_outlives_the_grace(awsocks, web):
    p = awsocks(*DIRECT, "--grace", "100ms")
    with client.socks5(p.listener, "127.0.0.1", web.port), client.dial(p.listener):
        assert control(p, "stop").returncode == 0
        assert p.child.wait(harness.LIMIT_S) == 0
    (line,) = [line for line in p.audit() if "host" in line]
    assert line["error"] == "awsocks is stopping"


@pytest.mark.parametrize("lazy", [True, False])
def test_a_signal_during_the_first_try_stops(tmp_path, processes, lazy):
    """AWS does not answer; --no-lazy waits for it, and SIGTERM ends that, without ever listening."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(harness.LIMIT_S)
        port = harness.free_port()
        p = start(tmp_path, processes, "--lazy" if lazy else "--no-lazy", "--listen", f"127.0.0.1:{port}",
                  "--route-default", "proxy", "--instance-id", conftest.INSTANCE, "--grace", "0s",
                  env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
                       "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"})
        if lazy:
            waiting = harness.wait_for(lambda: dial_or_none(("127.0.0.1", port)))
            waiting.sendall(b"\5\1\0\5\1\0\3\4name\0\x50")
        with silent.accept()[0]:
            assert p.stop() == 0, p.log()
        if lazy:
            waiting.close()
        else:
            assert "listen" not in p.log()
        p.check_clean()


def dial_or_none(address):
    try:
        return client.dial(address)
    except ConnectionRefusedError:
        return None


# --- the control socket, misused ---------------------------------------------


MISUSE = [b"", b"\n", b"garbage\n", b"{}\n", b'{"cmd":7}\n', b'{"cmd":"fly"}\n', b"[" * 4000 + b"\n",
          b'{"cmd":"stat\\u0000us"}\n', bytes(100) + b"\n", b"x" * 4096 + b"\n", b"x" * 1000000 + b"\n",
          b'{"cmd":"status"}']


@pytest.mark.parametrize("line", MISUSE, ids=[str(i) for i in range(len(MISUSE))])
def test_control_socket_survives(awsocks, line):
    p = awsocks(*DIRECT)
    try:
        answer = ask(p, line)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    assert not answer or json.loads(answer)["ok"] is False
    assert p.status()["pid"] == p.pid


def test_control_socket_is_not_blocked_by_slow_clients(awsocks):
    p = awsocks(*DIRECT)
    slow = [client.dial(p.ready["control"]) for _ in range(3)]
    slow[0].sendall(b'{"cmd":"sta')
    assert p.status()["pid"] == p.pid
    for s in slow:
        assert client.read_to_end(s) == b""     # ended by its limit
        s.close()


def test_control_socket_is_private(awsocks):
    p = awsocks(*DIRECT)
    path = p.ready["control"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_a_second_instance_leaves_the_first_its_control_socket(awsocks):
    first = awsocks(*DIRECT)
    second = awsocks(*DIRECT, env={"XDG_RUNTIME_DIR": first.env["XDG_RUNTIME_DIR"]})
    assert second.ready["control"] == "" and "no control socket" in second.log()
    assert first.status()["pid"] == first.pid
    assert second.stop() == 0
    assert first.status()["pid"] == first.pid


def test_a_control_socket_left_behind_is_taken_over(awsocks):
    first = awsocks(*DIRECT)
    first.kill()
    assert os.path.exists(first.ready["control"])
    second = awsocks(*DIRECT, env={"XDG_RUNTIME_DIR": first.env["XDG_RUNTIME_DIR"]})
    assert second.status()["pid"] == second.pid


# --- files and exit statuses ---------------------------------------------------


def test_pid_file(awsocks, tmp_path):
    path = tmp_path / "pid"
    p = awsocks(*DIRECT, "--pid-file", str(path))
    assert path.read_text() == f"{p.pid}\n"
    assert p.stop() == 0
    assert not path.exists()


def test_a_failed_start_leaves_the_pid_file_of_the_running_one(awsocks, tmp_path, processes):
    path = tmp_path / "pid"
    p = awsocks(*DIRECT, "--pid-file", str(path))
    other = start(tmp_path, processes, "--listen", p.address, "--pid-file", str(path))
    assert other.child.wait(harness.LIMIT_S) != 0
    assert path.read_text() == f"{p.pid}\n"


BAD = [
    ("unknown option", ["--no-such-option"], 64),
    ("missing value", ["--listen"], 64),
    ("bad number", ["--max-connections", "many"], 64),
    ("bad route", ["--route-default", "nowhere"], 64),
    ("rules missing", ["--rules", "{home}/absent.yaml"], 65),
    ("rules wrong", ["--rules", "{home}/wrong.yaml"], 65),
    ("listener open to others", ["--listen", "0.0.0.0:0"], 65),
    ("pid file in no directory", ["--listen", "127.0.0.1:0", "--pid-file", "{home}/no/such/pid"], 74),
]


@pytest.mark.parametrize("name,options,status", BAD, ids=[b[0] for b in BAD])
def test_exit_status(tmp_path, processes, name, options, status):
    (tmp_path / "wrong.yaml").write_text("default: direct\nblock: [\n")
    p = start(tmp_path, processes, *(o.format(home=tmp_path) for o in options))
    assert p.child.wait(harness.LIMIT_S) == status, (name, p.log())
    assert p.log().startswith("awsocks: ") or "\nawsocks: " in p.log(), p.log()
    p.check_clean()


def test_address_in_use(tmp_path, processes):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        p = start(tmp_path, processes, *DIRECT, "--listen", address)
        assert p.child.wait(harness.LIMIT_S) not in (0, -signal.SIGSEGV, -signal.SIGABRT)
        assert address in p.log() and "in use" in p.log()
        p.check_clean()


def test_no_lazy_failures(localaws, tmp_path, processes):
    """69: AWS or the instance is not there; 77: AWS says no."""
    aws = localaws("--fault", "refuse-session")
    cases = (({**aws.env(), "AWS_SECRET_ACCESS_KEY": "wrong"}, conftest.INSTANCE, 77),
             (aws.env(), "i-0aaaaaaaaaaaaaaaa", 69),
             ({**aws.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{harness.free_port()}"}, conftest.INSTANCE, 69))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for env, instance, status in (*cases, ({**aws.env(), "AWS_ENDPOINT_URL": silent_url}, conftest.INSTANCE, 69)):
            limit = "1m" if status == 77 else "2s"      # what AWS says may take its time
            p = start(tmp_path, processes, "--no-lazy", "--init-timeout", limit, "--listen", "127.0.0.1:0",
                      "--instance-id", instance, env=env)
            assert p.child.wait(60) == status, p.log()
            p.check_clean()


# --- connect -------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_standalone_ends_its_session_when_told_to_end(localaws, web, tmp_path, signum):
    """ssh ends its ProxyCommand by SIGHUP: the session must not stay behind."""
    aws = localaws("--resolve", "api.internal.example=127.0.0.1")
    env = {**conftest.clean_environment(tmp_path), **aws.env()}
    with subprocess.Popen([harness.program("awsocks"), "connect", "--standalone", "--instance-id", conftest.INSTANCE,
                           "--route-default", "proxy", "api.internal.example", str(web.port)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                          bufsize=0) as p:
        p.stdin.write(b"GET /bytes/0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert p.stdout.read(5) == b"HTTP/"
        p.send_signal(signum)
        p.send_signal(signum)
        assert p.wait(30) == 0
        assert p.stderr.read() == b""
    aws.wait_sessions_open(0)


def test_connect_exit_statuses(awsocks, web):
    p = awsocks(*DIRECT)

    def connect(host, port, *options, data=b""):
        return harness.run([harness.program("awsocks"), "connect", *options, host, str(port)], env=p.env,
                           input=data, check=False)
    r = connect("127.0.0.1", web.port, data=b"GET /bytes/3 HTTP/1.0\r\n\r\n")
    assert r.returncode == 0 and r.stdout.endswith(b"".join(harness.pattern(3)))
    assert connect("blocked.example", 80).returncode == 77
    assert connect("127.0.0.1", harness.free_port()).returncode == 69
    assert connect("127.0.0.1", 0).returncode == 64
    assert connect("127.0.0.1", 80, "--to", f"127.0.0.1:{harness.free_port()}").returncode == 69


def test_connect_tells_a_reset_from_an_end(awsocks):
    p = awsocks(*DIRECT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(harness.LIMIT_S)
        with subprocess.Popen([harness.program("awsocks"), "connect", "127.0.0.1", str(server.getsockname()[1])],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=p.env,
                              bufsize=0) as c:
            far, _ = server.accept()
            c.stdin.write(b"x")
            assert far.recv(1) == b"x"
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            far.close()
            assert c.wait(harness.LIMIT_S) not in (0, -signal.SIGPIPE)


@pytest.mark.parametrize("stdin", ["<&-", "</dev/null", "</dev/null >/dev/null"])
def test_connect_without_standard_input(awsocks, web, stdin):
    """As some supervisors start programs: the descriptor is closed, or cannot be waited for."""
    p = awsocks(*DIRECT)
    r = harness.run(["sh", "-c", f'exec "$0" "$@" {stdin}', harness.program("awsocks"), "connect", "127.0.0.1",
                     str(web.port)], env=p.env, check=False)
    assert r.returncode == 0, r


def test_start_without_standard_descriptors(awsocks, web, tmp_path):
    """What is logged must not reach a socket or pipe that got the number of standard error."""
    wrap = tmp_path / "wrap"
    wrap.write_text('#!/bin/sh\nexec "$@" <&- >&- 2>&-\n')
    wrap.chmod(0o700)
    p = awsocks(*DIRECT, "--log-level", "debug", wrap=(str(wrap),))
    for fd in range(3):
        assert os.readlink(f"/proc/{p.pid}/fd/{fd}") == "/dev/null"
    assert goes(p, "127.0.0.1", web.port)


def test_the_soft_limit_of_descriptors_is_raised(awsocks):
    p = awsocks(*DIRECT, wrap=("prlimit", "--nofile=256:1024"))
    with open(f"/proc/{p.pid}/limits", encoding="utf-8") as f:
        (line,) = (one.split() for one in f if one.startswith("Max open files"))
    assert line[3:5] == ["1024", "1024"]


def test_out_of_descriptors_waits_and_recovers(awsocks, web):
    p = awsocks(*DIRECT, "--max-connections", "1000", wrap=("prlimit", "--nofile=40:40"))
    many = [client.dial(p.listener) for _ in range(60)]
    harness.wait_for(lambda: "Too many open files" in p.log(), what="the shortage")

    def rests():            # a busy loop would use all of it, each time
        before = p.cpu_s()
        time.sleep(1)
        return p.cpu_s() - before < (2 if harness.SANITIZED else 0.3)
    harness.wait_for(rests, limit_s=10, what="a second in which it hardly runs")
    for s in many:
        s.close()
    assert goes(p, "127.0.0.1", web.port)


def test_allow_from_turns_others_away_and_says_so(awsocks, web, tmp_path):
    """A peer of another address is closed unserved, with an audit line; a Unix socket's has no address."""
    p = awsocks(*DIRECT, "--listen", f"unix:{tmp_path}/proxy.sock", "--allow-from", "192.0.2.0/24")
    with client.dial(conftest.listener_of(p.ready["listeners"][1]["address"])) as s:
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
        port = s.getsockname()[1]
    with pytest.raises(client.Refused):         # heard, and refused by the host guard
        client.socks5(p.listener, "127.0.0.1", web.port)
    harness.wait_for(lambda: len(p.audit()) == 2, what="the second line")
    away, served = p.audit()
    assert away["action"] == "refuse" and away["error"] == "not in allow-from"
    assert away["peer"] == f"127.0.0.1:{port}" and "host" not in away
    assert "host guard" in served["error"] and served["uid"] == os.getuid()


def test_one_client_too_many_has_its_audit_line(awsocks, web):
    p = awsocks(*DIRECT, "--max-connections-per-peer", "1")
    with client.socks5(p.listener, "127.0.0.1", web.port):
        with client.dial(p.listener) as s:
            try:
                assert s.recv(1) == b""
            except ConnectionResetError:
                pass
        (line,) = p.audit()
        assert line["action"] == "refuse" and "1 connections of this peer" in line["error"]


# --- nothing burns the processor -------------------------------------------------


@pytest.mark.nosan
def test_idle_connections_of_every_kind_cost_nothing(awsocks, localaws, web, tmp_path):
    """Half-closed, reset and stalled ones, by every protocol and route, and a listener out of descriptors."""
    aws = localaws("--resolve", "api.internal.example=127.0.0.1")
    p = awsocks(*DIRECT, "--route-proxy", "api.internal.example", aws=aws)
    keep = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(harness.LIMIT_S)
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "api.internal.example"):
            for end in ("client", "server", "both-wr", "reset-client", "reset-server", "stall", "stall-and-end"):
                s = client.socks5(p.listener, host, port)
                s.sendall(b"hello")
                far, _ = server.accept()
                assert client.read_exactly(far, 5) == b"hello"
                keep += [s, far]
                if end == "client":
                    s.shutdown(socket.SHUT_WR)
                elif end == "server":
                    far.shutdown(socket.SHUT_WR)
                elif end == "both-wr":
                    s.shutdown(socket.SHUT_WR)
                    far.shutdown(socket.SHUT_WR)
                elif end.startswith("reset"):
                    x = s if end == "reset-client" else far
                    x.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    x.close()
                else:
                    far.setblocking(False)
                    try:
                        while True:
                            far.send(bytes(65536))
                    except BlockingIOError:
                        pass
                    if end == "stall-and-end":
                        far.shutdown(socket.SHUT_WR)
                        s.shutdown(socket.SHUT_WR)
        for data in (b"", b"\5", b"\5\1\0", b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % port, b"GET http://1",
                     b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" % port + bytes(3000000)):
            s = client.dial(p.listener)
            s.setblocking(False)
            if data:
                s.send(data)
            keep.append(s)
            if data.startswith(b"GET http://127"):
                s.shutdown(socket.SHUT_WR)
        used = [1]
        while used[-1] >= 0.1 and len(used) < 15:       # until what was under way has arrived
            before = p.cpu_s()
            time.sleep(2)
            used.append(p.cpu_s() - before)
        assert used[-1] < 0.1, f"{used[1:]} s of processor time in 2 s of nothing each"
        for s in keep:
            s.close()
