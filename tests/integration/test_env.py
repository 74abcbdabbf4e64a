"""awsocks env: the variables, in the words of each shell, for the right listener."""
import json
import os
import shutil

import pytest

import client
import harness
from conftest import clean_environment

LOOPBACK = "localhost,127.0.0.1,::1"


def ask(env, *options, check=True):
    """(standard output, standard error, exit status) of awsocks env."""
    r = harness.run([harness.program("awsocks"), "env", *options], env=env, check=check)
    return r.stdout.decode(), r.stderr.decode(), r.returncode


def as_dict(env, *options):
    return json.loads(ask(env, "--shell", "json", *options)[0])


@pytest.fixture
def env(tmp_path):
    out = clean_environment(tmp_path)
    for name in ("GIT_SSH_COMMAND", "JAVA_TOOL_OPTIONS", "NODE_USE_ENV_PROXY"):
        out.pop(name, None)
    out["SHELL"] = "/bin/sh"
    return out


def test_the_running_proxy_is_found(awsocks, env):
    proxy = awsocks("--route-default", "direct")
    values = as_dict(proxy.env)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        assert values[name] == f"http://{proxy.address}"
    assert values["NO_PROXY"] == values["no_proxy"] == LOOPBACK
    assert values["NODE_USE_ENV_PROXY"] == "1"
    assert values["AWSOCKS"] == proxy.address
    assert "connect %h %p" in values["GIT_SSH_COMMAND"]
    assert f"-Dhttps.proxyPort={proxy.listener[1]}" in values["JAVA_TOOL_OPTIONS"]
    assert ask(proxy.env, "--shell", "sh")[1] == ""
    assert as_dict(env, "--control", os.path.join(proxy.env["XDG_RUNTIME_DIR"], "awsocks", "control.sock")) == values


def test_a_listener_is_chosen(awsocks, tmp_path):
    folder = tmp_path / "box"
    proxy = awsocks("--listen", f"unix:{folder}/proxy.sock", "--listen", "127.0.0.1:0", "--route-default", "direct",
                    listen=None)
    tcp = next(a["address"] for a in proxy.listeners.values() if not a["address"].startswith("unix:"))
    # the first with a port, unless another is named
    assert as_dict(proxy.env)["HTTPS_PROXY"] == f"http://{tcp}"
    out, err, _ = ask(proxy.env, "--shell", "json", "--listener", f"unix:{folder}/proxy.sock")
    values = json.loads(out)
    assert values["AWSOCKS"] == f"unix:{folder}/proxy.sock"
    assert "HTTPS_PROXY" not in values and "awsocks exec" in err and "awsocks bridge" in err
    # the one that the environment is for already
    assert as_dict(dict(proxy.env, AWSOCKS=f"unix:{folder}/proxy.sock"))["AWSOCKS"] == f"unix:{folder}/proxy.sock"
    assert as_dict(dict(proxy.env, AWSOCKS="127.0.0.1:1"))["AWSOCKS"] == tcp
    out, err, status = ask(proxy.env, "--listener", "nosuch", check=False)
    assert status == 64 and out == "" and "no listener 'nosuch'" in err


def test_what_variables_cannot_say_is_told(awsocks, tmp_path):
    made = harness.run([harness.program("awsocks"), "passwd", "alice"], input=b"secret\n").stdout.decode()
    (tmp_path / "c.yaml").write_text("listeners:\n  - address: '127.0.0.1:0'\n    users:\n      - "
                                     f"{made.strip().removeprefix('- ')}\n"
                                     "  - { address: '192.0.2.1:1080', allow-from: ['192.0.2.0/24'], name: later }\n")
    proxy = awsocks("--config", str(tmp_path / "c.yaml"), listen=None)
    assert "asks for a user and password" in ask(proxy.env)[1]
    out, err, _ = ask(proxy.env, "--shell", "json", "--listener", "later")
    assert json.loads(out)["AWSOCKS"] == "192.0.2.1:1080" and "192.0.2.1:1080 is not open yet" in err


def test_without_a_running_one(env, tmp_path):
    out, err, _ = ask(env, "--shell", "json")
    assert json.loads(out)["AWSOCKS"] == "127.0.0.1:1080"
    assert "no running awsocks" in err and "127.0.0.1:1080 (the default)" in err
    assert as_dict(dict(env, AWSOCKS="127.0.0.1:7"))["AWSOCKS"] == "127.0.0.1:7"
    config = tmp_path / "config" / "awsocks" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("listeners:\n"
                      "  - { address: '127.0.0.1:1085' }\n"
                      "  - { address: '0.0.0.0:1086', name: lab, allow-from: ['127.0.0.0/8'] }\n")
    out, err, _ = ask(env, "--shell", "json")
    assert json.loads(out)["AWSOCKS"] == "127.0.0.1:1085" and "config.yaml" in err
    assert as_dict(env, "--listener", "lab")["AWSOCKS"] == "127.0.0.1:1086"
    assert ask(env, "--listener", "no", check=False)[2] == 64
    # named, it must be there
    assert ask(env, "--control", str(tmp_path / "none"), check=False)[2] == 69


@pytest.mark.parametrize("given, host", [
    ("192.168.64.1:1080", "192.168.64.1:1080"), ("http://192.168.64.1:1080/", "192.168.64.1:1080"),
    ("socks5h://gateway.Example:81", "gateway.example:81"), ("0.0.0.0:1080", "127.0.0.1:1080"),
    ("[::]:1080", "[::1]:1080"), (":1080", "127.0.0.1:1080"), ("[2001:db8::1]:8", "[2001:db8::1]:8")])
def test_to(env, given, host):
    values = as_dict(env, "--to", given)
    assert values["AWSOCKS"] == host and values["HTTP_PROXY"] == f"http://{host}"


@pytest.mark.parametrize("given", ["", "host", "host:0", "host:99999", "a b:1", "$(touch x):1", "'; id;':1",
                                   "http://user:secret@h:1", "unix:x", "unix:/a b", "unix:/a'b", "unix:/a\nb"])
def test_to_refuses(env, tmp_path, given):
    out, err, status = ask(env, "--to", given, check=False)
    assert status == 64 and out == "" and err.startswith("awsocks: ") and "secret" not in err
    assert not (tmp_path / "x").exists()


def test_other_options(env):
    assert as_dict(env, "--to", ":1", "--all-proxy", "socks5h")["ALL_PROXY"] == "socks5h://127.0.0.1:1"
    assert "ALL_PROXY" not in as_dict(env, "--to", ":1", "--all-proxy=none")
    assert "GIT_SSH_COMMAND" not in as_dict(env, "--to", ":1", "--no-ssh")
    assert as_dict(env, "--to", ":1", "--all")["npm_config_https_proxy"] == "http://127.0.0.1:1"
    for wrong in (["--all-proxy", "socks5"], ["--shell", "cmd"], ["x"], ["--for", "emacs"], ["--to", ":1", "--listener",
                  "x"], ["--unset", "--shell", "json"], ["--for", "apt", "--unset"], ["--frob"]):
        assert ask(env, *wrong, check=False)[2] == 64, wrong


def test_the_program_by_its_word_where_path_has_it(env):
    word = dict(env, PATH=f"{harness.BUILD}:{env['PATH']}")
    assert as_dict(word, "--to", ":1")["GIT_SSH_COMMAND"] == "ssh -o ProxyCommand='awsocks connect %h %p'"
    assert f"'{harness.BUILD}/awsocks connect" in as_dict(dict(env, PATH="/usr/bin"), "--to", ":1")["GIT_SSH_COMMAND"]


SHELLS = {
    "sh": ("sh", 'eval "$(@ env)"', "sh"), "dash": ("dash", 'eval "$(@ env)"', "sh"),
    "bash": ("bash", 'eval "$(@ env)"', "sh"), "bash, no quotes": ("bash", "eval $(@ env)", "sh"),
    "ksh": ("ksh", 'eval "$(@ env)"', "sh"), "zsh": ("zsh", 'eval "$(@ env)"', "sh"),
    "fish": ("fish", "@ env | source", "fish"), "fish, eval": ("fish", "eval (@ env)", "fish"),
    "csh": ("tcsh", "eval `@ env`", "csh"), "csh, quotes": ("tcsh", 'eval "`@ env`"', "csh"),
}
# Words of the user's own that a careless quote would run or break.
NASTY = "-Da=\"it's $(touch {0}) `touch {0}` %h !! [x] *; touch {0}\""


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_reads_what_is_meant(env, tmp_path, name):
    program, text, kind = SHELLS[name]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    run = tmp_path / "script"
    nasty = NASTY.format(tmp_path / "touched")
    env = dict(env, PATH=f"{harness.BUILD}:{env['PATH']}", JAVA_TOOL_OPTIONS=nasty, SHELL=f"/bin/{kind}")
    flags = ["-f"] if program in ("tcsh", "zsh") else []
    run.write_text(f"{text.replace('@ env', 'awsocks env --to 127.0.0.1:1080')}\nenv\n")
    first = dict(line.split("=", 1) for line in harness.run([program, *flags, run], env=env).stdout.decode()
                 .splitlines() if "=" in line)
    want = as_dict(env, "--to", "127.0.0.1:1080")
    want["JAVA_TOOL_OPTIONS"] = f"{nasty} {want['JAVA_TOOL_OPTIONS']}"
    assert {k: first.get(k) for k in want} == want
    # Again is the same, and --unset leaves what was there before.
    out = harness.run([program, *flags, run], env={**env, **want}).stdout.decode().splitlines()
    assert sorted(line for line in out if line.split("=")[0] in want) == sorted(f"{k}={v}" for k, v in want.items())
    run.write_text(f"{text.replace('@ env', 'awsocks env --unset')}\nenv\n")
    left = harness.run([program, *flags, run], env={**env, **want}).stdout.decode().splitlines()
    assert [line for line in left if line.split("=")[0] in want] == [f"JAVA_TOOL_OPTIONS={nasty}"]
    assert not (tmp_path / "touched").exists()


def test_a_unix_listener_takes_away_what_would_win(env):
    stale = dict(env, HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", RSYNC_PROXY="own:1")
    out = ask(stale, "--to", "unix:/tmp/x.sock")[0]
    assert "unset HTTPS_PROXY;" in out and "unset https_proxy;" in out and "RSYNC" not in out
    assert "export ALL_PROXY='socks5h://localhost/tmp/x.sock';" in out


def test_curl_over_a_unix_listener(awsocks, env, web, tmp_path):
    folder = tmp_path / "box"
    awsocks("--listen", f"unix:{folder}/proxy.sock", "--route-default", "direct", listen=None)
    values = as_dict(env, "--to", f"unix:{folder}/proxy.sock")
    r = client.curl("--fail", "--noproxy", "", f"http://127.0.0.1:{web.port}/bytes/5", env=values, check=False)
    # The host guard of a Unix listener: that curl got there is what counts.
    assert r.returncode != 0 and b"SOCKS5" in r.stderr and b"(2)" in r.stderr


@pytest.mark.parametrize("tool", ["apt", "cargo", "chromium", "claude", "curl", "dnf", "docker", "docker-daemon",
                                  "firefox", "git", "gradle", "java", "maven", "npm", "pip", "srt", "ssh", "sudo",
                                  "systemd", "vscode", "wget", "yarn"])
def test_for(env, tool):
    out, _, _ = ask(env, "--for", tool, "--to", "127.0.0.1:1081")
    assert "@" not in out.replace("@U", "") and out.endswith("\n")
    assert tool == "sudo" or "1081" in out
    if tool in ("claude", "docker", "docker-daemon", "srt", "vscode"):
        json.loads(out)
    out, err, status = ask(env, "--for", tool, "--to", "unix:/run/x.sock", check=False)
    if tool in ("curl", "firefox", "git", "ssh"):
        assert "/run/x.sock" in out
    else:
        assert status == 64 and "awsocks bridge" in err and out == ""


def test_for_is_read_by_its_tool(env, tmp_path):
    (tmp_path / ".gitconfig").write_text(ask(env, "--for", "git", "--to", "127.0.0.1:1081")[0])
    ssh = harness.run(["git", "config", "--global", "core.sshCommand"], env=env).stdout.decode()
    assert ssh.startswith("ssh -o ProxyCommand='") and "connect --to 127.0.0.1:1081 %h %p'" in ssh
    assert harness.run(["git", "config", "--global", "http.proxy"], env=env).stdout == b"http://127.0.0.1:1081\n"
    (tmp_path / "ssh_config").write_text(ask(env, "--for", "ssh", "--to", "127.0.0.1:1081")[0])
    shown = harness.run(["ssh", "-G", "-F", tmp_path / "ssh_config", "db"], env=env).stdout.decode()
    assert "connect --to 127.0.0.1:1081 %h %p" in shown
    if shutil.which("apt-config"):
        (tmp_path / "apt.conf").write_text(ask(env, "--for", "apt", "--to", "127.0.0.1:1081")[0])
        dump = harness.run(["apt-config", "dump"], env=dict(env, APT_CONFIG=str(tmp_path / "apt.conf"))).stdout
        assert b'Acquire::https::Proxy "http://127.0.0.1:1081";' in dump


def execute(env, *argv, check=False):
    r = harness.run([harness.program("awsocks"), "exec", *argv], env=env, check=check)
    return r.stdout.decode(), r.stderr.decode(), r.returncode


def test_exec_is_env_and_the_command(awsocks, web):
    proxy = awsocks("--route-default", "direct")
    out, err, status = execute(proxy.env, "--", "env")
    assert status == 0 and err == ""
    got = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    want = as_dict(proxy.env)
    assert {k: got.get(k) for k in want} == want
    out, _, status = execute(proxy.env, "--", "curl", "-q", "-sS", "--noproxy", "", f"http://127.0.0.1:{web.port}/bytes/9")
    assert status == 0 and len(out) == 9
    [line] = harness.wait_for(proxy.audit, what="the audit line")
    assert line["port"] == web.port


def test_exec_is_the_command_then(env, tmp_path):
    env["JAVA_TOOL_OPTIONS"] = "-Da=b"
    to = ("--to", "127.0.0.1:9")
    assert execute(env, *to, "--", "sh", "-c", "echo $JAVA_TOOL_OPTIONS; exit 7")[0::2][1] == 7
    assert execute(env, *to, "--", "printenv", "JAVA_TOOL_OPTIONS")[0].startswith("-Da=b -Dhttp.proxyHost=")
    assert execute(env, "printenv", "AWSOCKS")[0] == "127.0.0.1:1080\n"
    # arguments as they are, options of the command's own among them
    assert execute(env, *to, "--", "printf", "%s|", "--to", "", "--", "a b")[0] == "--to||--|a b|"
    out, err, status = execute(env, *to, "--", "/nonexistent/x")
    assert (out, status) == ("", 127) and "/nonexistent/x: No such file" in err
    (tmp_path / "text").write_text("no program\n")
    assert execute(env, *to, "--", str(tmp_path / "text"))[2] == 126
    for wrong in ([], ["--"], [*to], ["--frob", "--", "true"], [*to, "word", "--", "true"],
                  ["--to", "x", "--", "true"]):
        assert execute(env, *wrong)[2] == 64, wrong


def test_exec_leaves_mask_limits_and_signals(env):
    shown = "umask; ulimit -Hc; grep -E '^Sig(Ign|Blk)' /proc/self/status"
    plain = harness.run(["sh", "-c", shown], env=env).stdout.decode()
    assert execute(env, "--to", ":1", "--", "sh", "-c", shown)[0] == plain
