"""The tests' own servers and clients answer as they claim, without any proxy."""
import hashlib
import os
import subprocess
import sys

import pytest

import client
import harness


@pytest.mark.parametrize("size", [0, 1, harness.BLOCK, harness.BLOCK + 1, 1 << 20])
def test_web_gives_known_bytes(web, tmp_path, size):
    for kind in ("bytes", "chunked"):
        got = client.fetch_digest("", f"http://127.0.0.1:{web.port}/{kind}/{size}", tmp_path)
        assert got == harness.pattern_digest(size)
    path = harness.pattern_file(tmp_path / "up", size)
    r = client.curl("--fail", "-T", path, f"http://127.0.0.1:{web.port}/digest")
    assert r.stdout.decode() == harness.pattern_digest(size)


def test_pattern_is_position_sensitive():
    data = b"".join(harness.pattern(4 * harness.BLOCK))
    blocks = {hashlib.sha256(data[i:i + 1000]).digest() for i in range(0, len(data), harness.BLOCK)}
    assert len(blocks) == 4
    assert len(data) == 4 * harness.BLOCK


def test_web_upgrades(web):
    s = client.dial(("127.0.0.1", web.port))
    s.sendall(b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
    assert client.read_head(s).startswith(b"HTTP/1.1 101 ")
    assert client.read_exactly(s, 5) == b"early"
    s.sendall(b"later")
    assert client.read_exactly(s, 5) == b"later"
    s.close()


def test_web_over_tls(web_tls, authority):
    url = f"https://secure.internal.example:{web_tls.port}/bytes/10"
    where = f"secure.internal.example:{web_tls.port}:127.0.0.1"
    r = client.curl("--fail", "--cacert", authority.ca, "--resolve", where, url)
    assert r.stdout == b"".join(harness.pattern(10))
    assert client.curl("--resolve", where, url, check=False).returncode == 60


def test_counter_counts(counter):
    for _ in range(3):
        client.dial(("127.0.0.1", counter.port)).close()
    harness.wait_for(lambda: counter.count == 3)


def test_free_ports_stay_free():
    """Nobody who asks for any port is given one of them, nor is another test: what was free is so when it is used."""
    if not os.path.exists("/proc/sys/net/ipv4/ip_local_port_range"):
        pytest.skip("not Linux")
    ports = [harness.free_port() for _ in range(200)]
    assert len(set(ports)) == 200
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        assert max(ports) < int(f.read().split()[0])
    code = f"import harness; print([p for p in {ports} if harness.mark_port(p)])"
    r = harness.run([sys.executable, "-B", "-c", code], cwd=os.path.dirname(harness.__file__))
    assert r.stdout == b"[]\n"


def test_sshd_lets_us_in(sshd):
    r = harness.run([*sshd.client("127.0.0.1"), "cat"], input=b"through ssh")
    assert r.stdout == b"through ssh"


def test_git_clones(web, repository, tmp_path):
    harness.run(["git", "clone", "-q", f"http://127.0.0.1:{web.port}/git/{repository.name}", tmp_path / "clone"])
    assert repository.same_as(tmp_path / "clone")


def test_processes_are_cleaned_up(tmp_path):
    p = harness.Process(["sh", "-c", "sleep 1000 & echo $!; wait"], tmp_path)
    child = int(p.wait_for(lambda: p.log().strip(), what="its child"))
    p.stop()
    harness.wait_for(lambda: not os.path.exists(f"/proc/{child}") or b"Z" in subprocess.run(
        ["ps", "-o", "stat=", "-p", str(child)], capture_output=True, check=False).stdout, what="its child's end")


def test_a_process_that_dies_is_reported(tmp_path):
    p = harness.Process(["sh", "-c", "echo no such luck; exit 3"], tmp_path)
    with pytest.raises(harness.Failed, match="(?s)ended with status 3.*no such luck"):
        p.wait_for(lambda: False)
