"""--learn: what clients asked for becomes a rule file that awsocks takes, lets the same happen again, and no more."""
import contextlib
import os
import signal

import pytest

import client
import conftest
import harness


def ask(listener, host, port):
    try:
        with client.socks5(listener, host, port):
            return True
    except client.Refused:
        return False


def learned(p, path, condition, ask_again=lambda: None):
    """The file's text, once the condition holds for it."""
    def look():
        ask_again()
        text = path.read_text()
        return text if condition(text) else None
    return p.wait_for(look, what="the file")


def check(path, env):
    r = harness.run([harness.program("awsocks"), "check", path], env=env)
    assert b"no problem found" in r.stdout


@pytest.mark.parametrize("workers", ["1", "3"])
def test_learned_rules_let_the_same_happen_again(awsocks, localaws, web, tmp_path, workers):
    aws = localaws("--resolve", f"inside.example=127.0.0.1:{web.port}")
    folder = tmp_path / "learned"
    folder.mkdir()
    path = folder / "rules.yaml"
    p = awsocks("--learn", str(path), "--workers", workers, "--route-default", "block", "--route-direct", "127.0.0.1",
                "--route-direct", "localhost", "--route-proxy", "*.example", "--listen", "127.0.0.1:0", aws=aws)
    assert "default: block\n\nrules: []\n" in path.read_text()

    def reload():
        harness.run([harness.program("awsocks"), "reload"], env=p.env)
    second = conftest.listener_of(p.ready["listeners"][1]["address"])
    for _ in range(3):
        assert ask(p.listener, "127.0.0.1", web.port)
    assert ask(second, "LOCALHOST.", web.port)
    assert ask(p.listener, "inside.example", web.port)
    assert not ask(p.listener, "evil.test", 443)
    with contextlib.suppress(client.Refused):
        client.socks5(p.listener, 'a"b', 443)
    want = (f'"inside.example", port: [{web.port}], route: "proxy" }} # 1 request at "default"\n',
            f'"localhost", port: [{web.port}], route: "direct" }} # 1 request at "127.0.0.1:0"\n',
            f'# addresses\n  - {{ match: "127.0.0.1", port: [{web.port}], route: "direct" }} # 3 requests',
            '#   "evil.test" port 443, 1 request at "default", by "default (--route-default)"\n')
    # What was let through is noted behind the answer, and each worker does it when it comes to it.
    text = learned(p, path, lambda text: all(line in text for line in want), reload)
    assert 'a"b' not in text and "never reached" not in text
    check(path, p.env)
    with client.socks5(p.listener, "127.0.0.1", web.port):     # it is there while the connection lives
        learned(p, path, lambda text: "# 4 requests" in text, reload)
    assert not ask(p.listener, "worse.test", 443)
    assert harness.run([harness.program("awsocks"), "status"], env=p.env).stdout.count(b"learns in") == 1
    assert p.stop() == 0
    assert '"worse.test"' in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["rules.yaml"]

    rules = tmp_path / "reviewed.yaml"
    rules.write_text(path.read_text())
    again = awsocks("--rules", str(rules), aws=aws)
    for host in ("127.0.0.1", "localhost", "inside.example"):
        assert ask(again.listener, host, web.port)
    for host, port in (("127.0.0.1", 1), ("127.0.0.2", web.port), ("b.inside.example", web.port)):
        assert not ask(again.listener, host, port)
    assert [line["action"] for line in again.audit()].count("block") == 3


def test_it_is_written_by_itself_and_kept(awsocks, tmp_path):
    folder = tmp_path / "learned"
    folder.mkdir()
    path = folder / "rules.yaml"
    p = awsocks("--learn", str(path), "--route-default", "block")
    assert not ask(p.listener, "one.test", 443)
    learned(p, path, lambda text: "one.test" in text)
    assert p.stop() == 0
    p = awsocks("--learn", str(path), "--route-default", "block")
    assert "one.test" not in path.read_text() and "one.test" in (folder / "rules.yaml.1").read_text()
    # A place that vanishes is told, and nothing ends.
    harness.run(["rm", "-r", folder])
    assert not ask(p.listener, "two.test", 443)
    p.child.send_signal(signal.SIGHUP)
    p.wait_for(lambda: "learn: not written" in p.log(), what="the failure")
    p.wait_for(lambda: b"NOT WRITTEN" in harness.run([harness.program("awsocks"), "status"], env=p.env).stdout,
               what="status to say it")


def test_other_peoples_files_are_left_alone(tmp_path):
    env = conftest.clean_environment(tmp_path)
    (tmp_path / "l").mkdir()
    path = tmp_path / "l" / "mine.yaml"
    start = [harness.program("awsocks"), "--route-default", "block", "--listen", "127.0.0.1:0", "--learn", path]
    path.write_text("default: block\n")
    r = harness.run(start, env=env, check=False)
    assert r.returncode == 65 and b"was not written by --learn" in r.stderr
    assert path.read_text() == "default: block\n"
    os.rename(path, f"{path}.1")
    path.write_text("# Learned by awsocks (--learn)\n")
    r = harness.run(start, env=env, check=False)
    assert r.returncode == 65 and b"mine.yaml.1 was not written by --learn" in r.stderr
    r = harness.run([*start[:-1], tmp_path / "none" / "f"], env=env, check=False)
    assert r.returncode == 74 and b"--learn" in r.stderr and r.stderr.count(b"\n") <= 2
