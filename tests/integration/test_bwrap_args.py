"""awsocks bwrap-args: a sandbox that has a listener's socket and no network."""
import os
import shlex
import shutil
import subprocess

import pytest

import harness

FAILED = "--awsocks-bwrap-args-failed"
BASE = ["bwrap", "--die-with-parent", "--unshare-user", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]


def works():
    return shutil.which("bwrap") and subprocess.run([*BASE, "--unshare-net", "true"], check=False,
                                                    capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


needs_bwrap = pytest.mark.skipif(not works(), reason="bubblewrap does not run here")
needs_bridge = pytest.mark.skipif(not os.path.exists(os.path.join(harness.BUILD, "awsocks-bridge")),
                                  reason="awsocks-bridge is not built here")


def ask(env, *options, check=True):
    r = harness.run([harness.program("awsocks"), "bwrap-args", *options], env=env, check=check)
    return r.stdout.decode(), r.stderr.decode(), r.returncode


@pytest.fixture
def box(awsocks, tmp_path, web):
    """A proxy with a Unix listener that may reach the web server of this host."""
    folder = tmp_path / "box"
    (tmp_path / "box.yaml").write_text(f"default: block\nrules:\n  - {{ match: \"127.0.0.1:{web.port}\", "
                                       "route: direct, allow-host: true }\n")
    config = tmp_path / "awsocks.yaml"
    config.write_text("listeners:\n"
                      "  - { address: '127.0.0.1:0' }\n"
                      f"  - {{ address: 'unix:{folder}/proxy.sock', name: box, rules: {tmp_path}/box.yaml }}\n")
    proxy = awsocks("--config", str(config), listen=None)
    proxy.folder, proxy.web = folder, f"http://127.0.0.1:{web.port}/bytes/7"
    return proxy


def test_what_is_printed(box):
    out, err, _ = ask(box.env, "--listener", "box")
    words = out.split("\n")[:-1]
    assert words[:3] == ["--tmpfs", "/tmp", "--unshare-net"] and "behind these arguments would hide it" in err
    at = words.index("--ro-bind")
    assert words[at + 1:at + 3] == [str(box.folder)] * 2
    at = words.index("ALL_PROXY")
    assert words[at - 1:at + 2] == ["--setenv", "ALL_PROXY", f"socks5h://localhost{box.folder}/proxy.sock"]
    assert not any("HTTP" in w for w in words)
    # the host's own proxy is out of reach, and its exceptions are for a network
    words = ask(dict(box.env, HTTPS_PROXY="x", NO_PROXY="10.0.0.0/8"), "--listener", "box")[0].split("\n")
    assert words[words.index("HTTPS_PROXY") - 1] == "--unsetenv" and words[words.index("NO_PROXY") - 1] == "--unsetenv"
    null = ask(box.env, "--listener", "box", "--null")[0]
    assert null.endswith("\0") and set(out.split()) <= set(null.split("\0"))
    assert set(out.split()) <= set(shlex.split(ask(box.env, "--listener", "box", "--quote")[0]))


@pytest.mark.parametrize("options, why", [
    ([], "usage"), (["--listener", "default"], "cannot reach"), (["--listener", "none"], "no listener"),
    (["--listener", "box", "--null", "--quote"], "--null"), (["--listener", "box", "x"], "no such argument"),
    (["--frob"], "unknown option"), (["--to", "unix:/x.sock"], "directory of its own"),
    (["--to", "unix:/etc/x.sock"], "directory of its own")])
def test_a_refusal_stops_bwrap_too(box, options, why):
    out, err, status = ask(box.env, *options, check=False)
    assert status != 0 and why in err and out.rstrip("\n\0") == FAILED


def test_the_directory_must_be_its_own(box):
    (box.folder / "other.sock").write_text("")
    out, err, status = ask(box.env, "--listener", "box", check=False)
    assert status == 65 and "'other.sock' is there too" in err and out == FAILED + "\n"
    runtime = os.path.join(box.env["XDG_RUNTIME_DIR"], "awsocks")        # where the control socket is
    assert "control.sock" in ask(box.env, "--to", f"unix:{runtime}/x.sock", check=False)[1]


def test_the_directory_is_made(box, tmp_path):
    ask(box.env, "--to", f"unix:{tmp_path}/new/p.sock")
    assert os.stat(tmp_path / "new").st_mode & 0o777 == 0o700


@needs_bwrap
def test_bwrap_refuses_what_a_failure_prints(box):
    text = f"{shlex.join(BASE)} $({harness.program('awsocks')} bwrap-args --listener none) echo in"
    r = harness.run(["sh", "-c", text], env=box.env, check=False)
    assert r.returncode != 0 and b"in" not in r.stdout.split() and FAILED.encode() in r.stderr


@needs_bwrap
@pytest.mark.parametrize("how", ["lines", "quote", "null"])
def test_curl_in_the_sandbox(box, how):
    awsocks = harness.program("awsocks")
    curl = f"curl -q -sS --fail {box.web}"
    text = {"lines": f"{shlex.join(BASE)} $({awsocks} bwrap-args --listener box) {curl}",
            "quote": f'eval "{shlex.join(BASE)} $({awsocks} bwrap-args --listener box --quote) {curl}"',
            "null": f"{awsocks} bwrap-args --listener box --null >args; {shlex.join(BASE)} --args 9 {curl} 9<args"}[how]
    r = harness.run(["sh", "-c", text], env=box.env, cwd=box.env["HOME"])
    assert len(r.stdout) == 7
    line = harness.wait_for(box.audit, what="the audit line")[-1]
    assert line["listener"] == "box" and line["route"] == "direct"
    # and nothing else of the host: not the other listener, nor anything without the proxy
    r = harness.run(["sh", "-c", text.replace("curl -q", "curl -q --noproxy '*'")], env=box.env, check=False,
                    cwd=box.env["HOME"])
    assert r.returncode != 0


@needs_bwrap
def test_a_sandbox_sees_a_new_start(awsocks, box, tmp_path):
    """The directory is bound, not the socket: a proxy that starts anew is reached."""
    inside = (f"curl -q -sS --fail {box.web} && echo && : >{box.env['HOME']}/first && "
              f"until [ -e {box.env['HOME']}/again ]; do sleep 0.05; done; curl -q -sS --fail {box.web}")
    args = ask(box.env, "--listener", "box")[0].split("\n")[:-1]
    home = ["--bind", box.env["HOME"], box.env["HOME"]]
    with subprocess.Popen([*BASE, *args, *home, "sh", "-c", inside], env=box.env, stdout=subprocess.PIPE) as p:
        try:
            harness.wait_for(lambda: os.path.exists(os.path.join(box.env["HOME"], "first")), what="the first fetch")
            assert box.stop() == 0
            awsocks("--config", str(tmp_path / "awsocks.yaml"), listen=None)
            open(os.path.join(box.env["HOME"], "again"), "w", encoding="ascii").close()
            assert len(p.communicate(timeout=harness.LIMIT_S)[0]) == 7 + 1 + 7 and p.returncode == 0
        finally:
            p.kill()


@needs_bwrap
@needs_bridge
def test_the_bridge_serves_all_others(box):
    """wget knows no SOCKS and no Unix sockets."""
    text = (f"{shlex.join(BASE)} $({harness.program('awsocks')} bwrap-args --listener box --bridge) "
            f"wget -q -O - --no-config {box.web.replace('127.0.0.1', 'localtest.example')}")
    r = harness.run(["sh", "-c", text], env=box.env, check=False)
    line = harness.wait_for(box.audit, what="the audit line")[-1]
    assert r.returncode != 0 and (line["host"], line["listener"]) == ("localtest.example", "box")


def test_exec_gives_a_unix_listener_a_port(box):
    """No sandbox: the command has a bridge of its own, and what it is told to use is that."""
    def run(*argv, check=True):
        return harness.run([harness.program("awsocks"), "exec", *argv], env=box.env, check=check)
    shown = run("--listener", "box", "--", "sh", "-c", "echo $HTTPS_PROXY $AWSOCKS").stdout.decode().split()
    assert shown[0].startswith("http://127.0.0.1:") and shown[1] == shown[0].removeprefix("http://")
    wget = ["wget", "-q", "-O", "-", "--no-config"]
    r = run("--listener", "box", "--", "env", "-u", "no_proxy", "-u", "NO_PROXY", *wget, box.web)
    line = harness.wait_for(box.audit, what="the audit line")[-1]
    assert len(r.stdout) == 7 and line["listener"] == "box"
    assert run("--listener", "box", "--", "sh", "-c", "exit 9", check=False).returncode == 9
    assert run("--listener", "box", "--", "/nonexistent", check=False).returncode == 127
    printed = run("--listener", "box", "--all", "--all-proxy", "none", "--no-ssh", "--", "env").stdout
    assert b"\nRSYNC_PROXY=127.0.0.1:" in printed and b"\nALL_PROXY=" not in printed and b"GIT_SSH" not in printed
