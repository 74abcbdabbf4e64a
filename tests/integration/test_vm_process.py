"""VM mode with the agent as a program of this host: what awsocks does with a VM, without the time that one takes.
Nothing leaves the machine: what the agent may not reach is enough here; test_vm.py dials."""
import json
import os
import signal

import client
import harness
import pytest

OPTIONS = ("--mode", "vm", "--vm-driver", "process", "--route-default", "vm-direct")
# The agent is never sanitized: it has an address space of a VM's size.
pytestmark = pytest.mark.skipif(not os.path.exists(harness.program("awsocks-agent")), reason="no awsocks-agent here")


def vm(proxy, *args, check=True):
    return harness.run([harness.program("awsocks"), "vm", *args], env=proxy.env, check=check, text=True)


def state(proxy):
    return json.loads(vm(proxy, "status", "--json").stdout)


def running(proxy):
    def there():
        told = state(proxy)
        return told if told["state"] == "running" else None
    return proxy.wait_for(there, what="a VM")


def refusal(proxy, host="127.0.0.1", port=9):
    with pytest.raises(client.Refused) as e:
        client.socks5(proxy.listener, host, port)
    return e.value.code


def agents_of(proxy):
    """Processes that run the agent for this awsocks: their settings lie in its private directory."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            with open(f"/proc/{pid}/environ", "rb") as f:
                home = f"HOME={proxy.env['HOME']}".encode() in f.read().split(b"\0")
        except (FileNotFoundError, NotADirectoryError, PermissionError, ProcessLookupError):
            continue
        if home and words[0].endswith(b"awsocks-agent"):
            found.append((int(pid), os.path.dirname(words[2].decode())))
    return found


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):      # not there, or gone before it was read
        return True


def test_status_start_stop_console(awsocks):
    proxy = awsocks(*OPTIONS)
    first = running(proxy)
    assert first["driver"] == "process" and first["pid"] > 0
    assert proxy.status()["vm"]["state"] == "running"
    text = harness.run([harness.program("awsocks"), "status"], env=proxy.env, text=True).stdout
    assert "VM running  process" in text
    assert "VM stopped" in vm(proxy, "stop").stdout and is_gone(first["pid"])
    assert refusal(proxy, "192.0.2.1") == 1         # nobody is started for that
    assert any("stopped by command" in line.get("error", "") for line in proxy.audit())
    assert state(proxy)["state"] == "stopped"
    assert "VM running" in vm(proxy, "start").stdout
    assert running(proxy)["pid"] != first["pid"]
    assert vm(proxy, "console").returncode == 0


def test_a_dead_one_is_followed_by_another(awsocks):
    proxy = awsocks(*OPTIONS)
    first = running(proxy)
    os.kill(first["pid"], signal.SIGKILL)
    proxy.wait_for(lambda: state(proxy)["pid"] not in (0, first["pid"]), what="another VM")
    assert running(proxy)["restarts"] == 1


def test_on_demand(awsocks):
    proxy = awsocks(*OPTIONS, "--vm-start", "on-demand", "--route-direct", "127.0.0.0/8")
    assert state(proxy)["state"] == "stopped" and agents_of(proxy) == []
    assert refusal(proxy) == 5                      # direct, which needs none
    assert state(proxy)["state"] == "stopped"
    assert refusal(proxy, "240.0.0.1") in (2, 3, 4)     # reserved: refused before anything is started, or there
    vm(proxy, "start")
    assert running(proxy)


@pytest.mark.parametrize("options", [(), ("--no-lazy",), ("--workers", "2"), ("--no-sandbox",)])
def test_loopback_is_refused_and_told(awsocks, options):
    proxy = awsocks(*OPTIONS, *options)
    for _ in range(4):                              # by whichever worker accepts it
        assert refusal(proxy) == 2
    line = proxy.audit()[-1]
    assert (line["route"], line["action"]) == ("vm-direct", "refuse") and "loopback" in line["error"]
    assert running(proxy)


@pytest.mark.parametrize("options", [(), ("--no-sandbox",)])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays(awsocks, options, signum):
    proxy = awsocks(*OPTIONS, *options)
    running(proxy)
    (pid, folder), = agents_of(proxy)
    assert os.path.exists(os.path.join(folder, "conf")) and os.stat(folder).st_mode & 0o777 == 0o700
    os.kill(proxy.pid, signum)
    harness.wait_for(lambda: is_gone(pid) and not os.path.exists(folder), what="the agent's end")


def test_no_lazy_fails_with_the_reason(awsocks, tmp_path):
    agent = tmp_path / "agent"
    agent.write_text("#!/bin/sh\necho the disk is upside down >&2\nexit 3\n", encoding="ascii")
    agent.chmod(0o755)
    with pytest.raises(harness.Failed) as e:
        awsocks(*OPTIONS, "--no-lazy", "--vm-agent", str(agent))
    assert "the VM does not start" in str(e.value) and "upside down" in str(e.value)


def test_a_running_vm_that_does_not_start_says_why(awsocks, tmp_path):
    agent = tmp_path / "agent"
    hang = tmp_path / "hang"
    agent.write_text(f"#!/bin/sh\ntest ! -e '{hang}' || exec sleep 100\necho the disk is upside down >&2\nexit 3\n",
                     encoding="ascii")
    agent.chmod(0o755)
    proxy = awsocks(*OPTIONS, "--vm-agent", str(agent))
    p = vm(proxy, "start", check=False)
    assert p.returncode == 69 and "upside down" in p.stderr
    told = vm(proxy, "status").stdout          # in the pause after it, or while it tries again
    assert "upside down" in told and ("reason" in told or "last failure" in told)
    hang.touch()
    told = harness.wait_for(lambda: state(proxy).get("last_failure"), what="another try")
    assert "upside down" in told
    harness.wait_for(lambda: "  last failure " in vm(proxy, "status").stdout, what="a try that lasts")
