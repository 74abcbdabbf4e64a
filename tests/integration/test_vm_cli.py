"""`awsocks vm` and VM mode's options where there is no VM: what is said, and the exit status."""
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
