"""`awsocks vm` and VM mode's options where there is no VM: what is said, and the exit status."""
import os
import tempfile

import conftest
import harness
import pytest

DIRECT = ("--route-default", "block", "--route-direct", "127.0.0.0/8")


def vm(proxy, *args):
    return harness.run([harness.program("awsocks"), "vm", *args], env=proxy.env, check=False, text=True)


def alone(home, *args):
    """Where no awsocks runs."""
    env = conftest.clean_environment(home)
    return harness.run([harness.program("awsocks"), "vm", *args], env=env, check=False, text=True)


@pytest.mark.parametrize("what", ["status", "start", "stop", "console"])
def test_no_awsocks_runs(tmp_path, what):
    p = alone(tmp_path, what)
    assert p.returncode == 69 and "no running awsocks found at" in p.stderr and p.stdout == ""


@pytest.mark.parametrize("what", ["status", "start", "stop", "console"])
def test_an_awsocks_without_a_vm(awsocks, what):
    proxy = awsocks(*DIRECT)
    p = vm(proxy, what)
    assert p.returncode == 69 and p.stdout == ""
    assert p.stderr == "awsocks: the running awsocks has no VM: start it with --mode vm\n"


@pytest.mark.parametrize("args", [[], ["statsu"], ["status", "--yes"], ["start", "--json"], ["stop", "now"]])
def test_wrong_words(tmp_path, args):
    p = alone(tmp_path, *args)
    assert p.returncode == 64 and p.stderr.startswith("awsocks: ") and p.stdout == ""


def test_help(tmp_path):
    env = conftest.clean_environment(tmp_path)
    text = harness.run([harness.program("awsocks"), "help", "vm"], env=env, text=True).stdout
    assert "--control PATH" in text and "console" in text
    assert harness.run([harness.program("awsocks"), "vm", "status", "--help"], env=env, text=True).stdout == text


# ---- what is missing ----

@pytest.fixture
def home(tmp_path):
    """An environment, and a PATH with nothing but what the test puts there."""
    env = conftest.clean_environment(tmp_path)
    (tmp_path / "bin").mkdir()
    env["PATH"] = str(tmp_path / "bin")
    with tempfile.TemporaryDirectory(prefix="vm", dir="/tmp") as short:     # a private directory's path is short
        env["XDG_RUNTIME_DIR"] = short
        yield env


def put(home, name):
    """A program in PATH that cannot be what it is called."""
    path = os.path.join(home["PATH"], name)
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\necho no such machine >&2\nexit 3\n")
    os.chmod(path, 0o755)
    return path


def start(home, *options):
    argv = [harness.program("awsocks"), "start", "--listen", "127.0.0.1:0", "--mode", "vm", *options]
    return harness.run(argv, env=home, check=False, text=True)


def left_behind(home):
    return [name for name in os.listdir(home["XDG_RUNTIME_DIR"]) if name != "awsocks"]


def test_no_qemu(home):
    p = start(home, "--vm-driver", "qemu")
    assert p.returncode == 69 and p.stdout == "" and left_behind(home) == []
    assert "qemu-system-" in p.stderr and "not in PATH" in p.stderr and "apt install qemu-system-" in p.stderr


def test_no_vfkit(home):
    p = start(home, "--vm-driver", "vfkit")
    assert p.returncode == 69 and "brew install vfkit" in p.stderr and left_behind(home) == []


@pytest.mark.nosan       # its agent is not static, which is told first
def test_no_such_program_agent_or_kernel(home, tmp_path):
    program = put(home, "qemu")
    for options in (["--vm-program"], ["--vm-program", program, "--vm-agent"]):
        p = start(home, "--vm-driver", "qemu", *options, str(tmp_path / "none"))
        assert p.returncode == 65 and f"{options[-1]}: " in p.stderr and "No such file" in p.stderr
    p = start(home, "--vm-driver", "qemu", "--vm-program", program, "--vm-kernel", str(tmp_path / "none"))
    assert p.returncode == 65 and "none" in p.stderr and left_behind(home) == []


def test_a_program_that_cannot_be_run(home, tmp_path):
    program = put(home, "qemu")
    os.chmod(program, 0o644)
    for path in (program, str(tmp_path)):
        p = start(home, "--vm-driver", "qemu", "--vm-program", path)
        assert p.returncode == 65 and f"--vm-program: {path} is no program" in p.stderr and left_behind(home) == []


SETTINGS = [("mtux=1400", "--vm-setting: unknown key 'mtux': did you mean 'mtu'?"),
            ("colour=red", "--vm-setting: unknown key 'colour'\n"),
            ("mtu=15", "--vm-setting: mtu: "),
            ("net=dchp", "--vm-setting: net: 'dchp' is not understood: did you mean 'dhcp'?"),
            ("net=static", "--vm-setting: address: is needed for net=static"),
            ("allow-loopback=yes", "--vm-setting: allow-loopback is for --vm-driver process")]


@pytest.mark.parametrize("setting, says", SETTINGS)
def test_a_setting_that_the_agent_would_not_take(home, setting, says):
    """Told at once, and before anything else that is missing here."""
    options = ["--vm-driver", "qemu", "--vm-setting", "log=debug", "--vm-setting", setting]
    p = start(home, *options)
    assert p.returncode == 65 and says in p.stderr and p.stdout == "" and left_behind(home) == []
    p = harness.run([harness.program("awsocks"), "check", "--mode", "vm", *options], env=home, check=False, text=True)
    assert p.returncode == 65 and says in p.stdout + p.stderr and left_behind(home) == []


def test_a_setting_in_config_yaml(home, tmp_path):
    (tmp_path / "config" / "awsocks").mkdir(parents=True)
    path = tmp_path / "config" / "awsocks" / "config.yaml"
    path.write_text("defaults:\n  mode: vm\n  vm-setting: [mtu=1400, adress=10.0.2.15/24]\n", encoding="ascii")
    p = harness.run([harness.program("awsocks"), "start"], env=home, check=False, text=True)
    assert p.returncode == 65, p.stderr
    assert f"{path}:3" in p.stderr and "unknown key 'adress': did you mean 'address'?" in p.stderr


def test_where_config_yaml_says_it(home, tmp_path):
    (tmp_path / "config" / "awsocks").mkdir(parents=True)
    path = tmp_path / "config" / "awsocks" / "config.yaml"
    path.write_text(f"defaults:\n  mode: vm\n  vm-driver: process\n  vm-agent: {tmp_path}/none\n", encoding="ascii")
    p = harness.run([harness.program("awsocks"), "start"], env=home, check=False, text=True)
    assert p.returncode == 65 and f"{path}:4" in p.stderr


def test_a_vm_that_does_not_start_is_the_reason(home):
    """--no-lazy waits for the VM, and ends with why there is none."""
    agent = put(home, "agent")
    p = start(home, "--vm-driver", "process", "--vm-agent", agent, "--no-lazy", "--vm-boot-timeout", "2s")
    assert p.returncode == 69 and left_behind(home) == [], p.stderr
    assert "VM" in p.stderr


# ---- check and route ----

def test_check_says_what_is_missing_here(home, tmp_path):
    p = harness.run([harness.program("awsocks"), "check", "--mode", "vm", "--vm-driver", "qemu"], env=home, text=True)
    assert "warning: --mode vm needs qemu-system-" in p.stdout and "no problem found" in p.stdout
    p = harness.run([harness.program("awsocks"), "check"], env=home, text=True)
    assert "vm" not in p.stdout
    p = harness.run([harness.program("awsocks"), "check", "--mode", "vm", "--vm-driver", "process"], env=home,
                    text=True)
    assert left_behind(home) == []


def test_route_in_vm_mode(home):
    def route(*args):
        return harness.run([harness.program("awsocks"), "route", *args], env=home, text=True).stdout
    text = route("h.example", "--mode", "vm", "--route-vm-direct", "*.example")
    assert "route        vm-direct" in text and "resolved by  the VM" in text
    text = route("h.example", "--mode", "vm")
    assert "goes vm-direct while" in text and "fallback     vm-direct" in text
