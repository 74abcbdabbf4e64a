"""The audit log: what docs/AUDIT.md says of each member holds, for every way in and every way to be refused; and its
file is rotated without a line lost or torn, with workers and inside the fence."""
import contextlib
import json
import os
import re
import shutil
import socket
import threading

import pytest

import client
import conftest
import harness
from test_udp import associate, header
from test_users import scrypt

# LeakSanitizer does not work inside the fence.
FENCED = {} if harness.SANITIZED else {"AWSOCKS_SANDBOX": "true"}
TYPES = {"string": str, "number": int, "true": bool}


def documented():
    """{member: type} of the table in docs/AUDIT.md."""
    with open(os.path.join(harness.TREE, "docs", "AUDIT.md"), encoding="utf-8") as f:
        return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", f.read(), re.M))


@pytest.fixture
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    yield folder
    shutil.rmtree(folder)


RULES = """default: proxy
block: ["*.tracker.example"]
rules:
  - { match: ["127.0.0.0/8", "direct.example"], route: direct }
  - { match: "metadata.example", route: direct }
  - { match: "169.254.169.254", route: direct }
"""
LISTENERS = """listeners:
  - { address: "127.0.0.1:0", name: open }
  - { address: "unix:SHORT/p.sock", name: box, max-per-peer: 1 }
  - { address: "127.0.0.1:0", name: shut, allow-from: ["127.0.0.9"] }
  - { address: "127.0.0.1:0", name: named, users: [{ name: alice, hash: "HASH" }] }
"""


def swallow(call, *args):
    with contextlib.suppress(client.Refused, ConnectionError):
        call(*args).close()


def raw(listener, data):
    """What comes back for these bytes; the client then ends its direction."""
    with client.dial(listener) as s, contextlib.suppress(OSError):      # it may be refused before all is sent
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return client.read_to_end(s)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_member_is_as_documented(awsocks, localaws, web, short, workers):
    aws = localaws("--resolve", f"inside.example=127.0.0.1:{web.port}", "--fault", "not-connected")
    (short / "rules.yaml").write_text(RULES)
    (short / "config.yaml").write_text(LISTENERS.replace("SHORT", str(short)).replace("HASH", scrypt("hunter2")))
    p = awsocks("--config", str(short / "config.yaml"), "--rules", str(short / "rules.yaml"), "--workers", workers,
                "--idle-stream-timeout", "1s", "--fallback-on", "dial-failure", aws=aws, listen=None)
    at, shut = p.listener, conftest.listener_of(p.listeners["shut"]["address"])
    url = f"http://localhost:{web.port}/bytes/10?secret=hunter2"
    # by default while AWS is asked for the first time, through it, and when it cannot dial
    first = threading.Thread(target=client.curl, args=("--proxy", p.url(), "http://inside.example/bytes/10"))
    first.start()
    harness.wait_for(lambda: p.status()["backends"][0]["state"] == "initializing", what="the backend")
    client.curl("--proxy", p.url(), url)
    aws.faults("clear")         # only now: how long the line before takes is the machine's affair
    first.join(harness.LIMIT_S)
    aws.faults("refuse-target")
    client.curl("--proxy", p.url("http"), "-u", "me:hunter2", "-H", "X-Token: hunter2", url)
    # every protocol
    for call in (client.socks5, client.socks4a, client.http_connect):
        call(at, "127.0.0.1", web.port).close()
    _, tcp, to = associate(at)
    with tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for host in ("127.0.0.1", "a.tracker.example"):
            s.sendto(header(host, web.port) + b"x", to)
        harness.wait_for(lambda: sum(1 for line in p.audit() if line["proto"] == "socks5-udp") == 2, what="both")
    for who in ("alice:hunter2", "mallory:hunter2"):
        client.curl("--proxy", f"socks5h://{p.listeners['named']['address']}", "--proxy-user", who,
                    f"http://127.0.0.1:{web.port}/bytes/10", check=False)
    # refused: by a rule, before there is one, by the guard, at the door
    swallow(client.socks5, at, "a.tracker.example", 443)
    swallow(client.socks5, at, "a b", 443)
    swallow(client.socks5, f"{short}/p.sock", "169.254.169.254", 80)
    harness.wait_for(lambda: p.status()["listeners"][1]["connections"] == 0, what="its end")
    with client.dial(f"{short}/p.sock") as one:
        one.sendall(b"\5")
        harness.wait_for(lambda: p.status()["listeners"][1]["connections"] == 1, what="the one")
        with client.dial(f"{short}/p.sock") as two:
            assert two.recv(1) == b""
    with client.dial(shut) as s:
        assert s.recv(1) == b""
    for data in (b"\5\1\xff", b"\4\3garbage", b"GARBAGE\r\n\r\n", b"GET http://x y/ HTTP/1.1\r\n\r\n", b"\5\1"):
        raw(at, data)
    client.dial(at).close()                 # not a byte: no attempt
    harness.wait_for(lambda: not any(one["connections"] for one in p.status()["listeners"]), what="all to end")
    status = p.status()
    assert p.stop() == 0
    lines, table = p.audit(), documented()

    seen = set()
    for line in lines:
        seen |= line.keys()
        for member, value in line.items():
            assert isinstance(value, TYPES[table[member]]) and (table[member] != "true" or value is True), line
        assert {"ts", "id", "listener", "peer", "proto", "action", "bytes_up", "bytes_down", "ms"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
        assert line["action"] in ("allow", "block", "refuse")
        assert line["proto"] in ("socks5", "socks5-udp", "socks4", "connect", "http", "unknown")
        assert line["listener"] in p.listeners
        assert line["action"] == "allow" or line["error"]
        assert ("host" in line) == ("port" in line)
        if line["listener"] == "box":
            assert (line["uid"], line["pid"], line["peer"]) == (os.getuid(), os.getpid(), "unix:")
            assert "python" in line["exe"]
    assert seen == table.keys(), seen ^ table.keys()
    assert "hunter2" not in json.dumps(lines) and "/bytes" not in json.dumps(lines) and "Token" not in json.dumps(lines)
    ids = [(line["listener"], line["id"]) for line in lines if line["proto"] != "socks5-udp"]
    assert len(ids) == len(set(ids))

    def having(**members):
        return [line for line in lines if members.items() <= line.items()]
    assert having(bypass=True, route="direct", host="localhost", action="allow")
    (inside,) = having(host="inside.example")
    assert inside["session"] and inside["route"] == "proxy" and "address" not in inside
    assert inside["rule"].startswith("default (") and inside["bytes_down"] > 10
    assert having(fallback=True, proto="http", host="localhost")
    assert {line["proto"] for line in having(host="127.0.0.1")} == {"socks5", "socks4", "connect", "socks5-udp"}
    (blocked,) = having(host="a.tracker.example", proto="socks5")
    assert blocked["action"] == blocked["route"] == "block" and f"{short}/rules.yaml:2" in blocked["rule"]
    (guarded,) = having(host="169.254.169.254")
    assert (guarded["action"], guarded["listener"]) == ("refuse", "box") and "host guard" in guarded["error"]
    assert guarded["rule"] == f"{short}/rules.yaml:6"
    # in the order in which they ended, which is not that in which they came
    alice, mallory = sorted(having(listener="named"), key=lambda line: line["action"])
    assert (alice["user"], alice["action"]) == ("alice", "allow") and mallory["action"] == "refuse"
    assert "user" not in mallory
    (away,) = having(listener="shut")
    assert (away["action"], away["error"], away["proto"]) == ("refuse", "not in allow-from", "unknown")
    assert [line["error"] for line in having(listener="box", proto="unknown") if "limit" in line["error"]]
    assert len([line for line in having(action="refuse", listener="open") if "host" not in line]) == 5
    assert sum(line.get("dropped", 0) for line in lines) == 1
    # what status counts are the lines
    for one in status["listeners"]:
        mine = [line["action"] for line in lines if line["listener"] == one["name"]]
        assert (one["allowed"], one["blocked"], one["refused"] + one["turned_away"]) == tuple(
            mine.count(a) for a in ("allow", "block", "refuse")), one
    assert [one["turned_away"] for one in status["listeners"]] == [0, 1, 1, 0]
    assert status["listeners"][2]["allow_from"] == ["127.0.0.9"]
    assert status["listeners"][0]["rules"] == [str(short / "rules.yaml")]
    assert status["audit"] == {"path": os.path.join(p.env["HOME"], "audit", "audit.jsonl"), "lines": len(lines),
                               "lost": 0, "rotated": 0}


@pytest.mark.parametrize("workers, env", [("1", FENCED), ("4", {})])
def test_rotated_by_size_and_by_signal_nothing_is_lost(awsocks, workers, env, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    p = awsocks("--route-default", "block", "--audit-log", str(logs / "a"), "--audit-max-size", "2k", "--audit-keep",
                "100", "--workers", workers, env=env, audit=False)
    count, crowd = 60, 4

    def ask(who):
        for i in range(count):
            swallow(client.socks5, p.listener, f"n{i}.w{who}.example", 80)
    threads = [threading.Thread(target=ask, args=(who,)) for who in range(crowd)]
    for t in threads:
        t.start()
    for _ in range(5):
        harness.run([harness.program("awsocks"), "reload"], env=p.env)
    for t in threads:
        t.join(harness.LIMIT_S)
    harness.wait_for(lambda: p.status()["connections"] == 0, what="their end")
    audit = p.status()["audit"]
    assert p.stop() == 0
    files = sorted(logs.iterdir())
    hosts = []
    for path in files:
        assert path.stat().st_size <= 2048 and path.stat().st_mode & 0o777 == 0o600
        hosts += [json.loads(line)["host"] for line in path.read_text().splitlines()]
    assert sorted(hosts) == sorted(f"n{i}.w{who}.example" for i in range(count) for who in range(crowd))
    assert audit["lines"] == count * crowd and audit["rotated"] == len(files) - 1 > 5


@pytest.mark.parametrize("fenced", [True, False])
def test_a_log_that_vanishes_ends_nothing(awsocks, tmp_path, fenced):
    """With its folder, or (inside the fence, which knows the folder itself) without."""
    logs = tmp_path / "logs"
    logs.mkdir()
    p = awsocks("--route-default", "block", "--audit-log", str(logs / "a"), audit=False,
                env=FENCED if fenced else {"AWSOCKS_SANDBOX": "false"})
    swallow(client.socks5, p.listener, "one.example", 80)
    harness.wait_for(lambda: p.status()["audit"]["lines"] == 1, what="the line")
    if fenced:
        (logs / "a").unlink()
    else:
        shutil.rmtree(logs)

    def lost():
        swallow(client.socks5, p.listener, "two.example", 80)
        return p.status()["audit"]["lost"]
    if not fenced:
        harness.wait_for(lost, what="a line to be lost")
        logs.mkdir()

    def written():
        swallow(client.socks5, p.listener, "three.example", 80)
        return (logs / "a").exists() and (logs / "a").stat().st_size
    harness.wait_for(written, what="the new file")
    assert "the file was removed" in p.log() and "made again" in p.log()
    shown = harness.run([harness.program("awsocks"), "status"], env=p.env).stdout.decode()
    assert (" LOST" in shown) == ("lines were lost" in p.log()) == (not fenced) and "turned away" in shown


def test_only_files_are_rotated(tmp_path):
    for log in ("-", "/dev/null"):
        r = harness.run([harness.program("awsocks"), "--route-default", "direct", "--listen", "127.0.0.1:0",
                         "--audit-log", log, "--audit-max-size", "1M"], env=conftest.clean_environment(tmp_path),
                        check=False)
        assert r.returncode == 65 and b"only a file can be rotated by its size" in r.stderr
