"""The instance's life: found by what is known of it, started, waited for, stopped when it was started here, and
found anew when it has been replaced."""
import json
import os
import signal

import pytest

import client
import conftest
import harness
from test_localaws import api_of

ID, OTHER = conftest.INSTANCE, "i-0000000000000000b"
NAME = "intranet.example"


def instance(ident=ID, **fields):
    text = "".join(f",{k.replace('__', ':')}={v}" for k, v in fields.items())
    return ["--instance", f"id={ident}{text}"]


def emulator(localaws, web, *options):
    return localaws("--resolve", f"{NAME}=127.0.0.1:{web.port}", *options)


def fetch(proxy, check=True, limit_s=harness.LIMIT_S):
    return client.curl("--proxy", proxy.url(), "--fail", f"http://{NAME}/bytes/10", check=check, limit_s=limit_s)


def states(aws):
    return {i["id"]: i["state"] for i in json.loads(aws.open("/_localaws/instances"))}


def backend(proxy):
    return proxy.status()["backends"][0]


def test_by_whatever_is_known_of_it(localaws, awsocks, web):
    aws = emulator(localaws, web, "--page-size", "1", *instance(OTHER, name="other"),
                   *instance(ID, name="one*", ip="10.9.8.7", asg="group", tag__Role="bastion", zone="us-east-1c"))
    for how in (["--name", "one*"], ["--asg", "group"], ["--address", "10.9.8.7"],
                ["--address", "ip-10-9-8-7.ec2.internal"], ["--filter", "tag:Role=bas*"],
                ["--filter", "tag:Role=bastion", "--filter", "availability-zone=us-east-1c", "--name", "one*"]):
        proxy = awsocks(*how, aws=aws, target=False)
        fetch(proxy)
        assert backend(proxy)["instance"] == ID, how
        assert proxy.stop() == 0
    proxy = awsocks("--asg", "group", "--name", "other", aws=aws, target=False)
    assert fetch(proxy, check=False).returncode != 0
    assert "no instance in eu-central-1 is named 'other', in Auto Scaling group 'group'" in backend(proxy)["reason"]


def test_several_are_listed(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(ID, name="web", asg="g", ip="10.0.0.1"),
                   *instance(OTHER, asg="g", ip="10.0.0.2", zone="us-east-1b", state="stopped"))
    proxy = awsocks("--asg", "g", aws=aws, target=False)
    assert fetch(proxy, check=False).returncode != 0
    reason = backend(proxy)["reason"]
    assert f"{ID} web running 10.0.0.1 us-east-1a, {OTHER} stopped 10.0.0.2 us-east-1b" in reason
    assert "--instance-id" in reason
    assert f"candidate: {OTHER} stopped 10.0.0.2 us-east-1b" in proxy.log()


def test_other_targets_are_passed_as_they_are(localaws, awsocks, web):
    managed, task = "mi-0123456789abcdef0", "ecs:cluster_0123456789abcdef0123456789abcdef_0123456789abcdef-123"
    aws = emulator(localaws, web, *instance(managed))
    proxy = awsocks("--instance-id", managed, aws=aws, target=False)
    fetch(proxy)
    assert aws.stats()["DescribeInstances"] == 0
    assert proxy.stop() == 0
    proxy = awsocks("--instance-id", task, "--connect-timeout", "2s", aws=aws, target=False)
    assert fetch(proxy, check=False).returncode != 0
    harness.wait_for(lambda: f"{task} is not connected" in backend(proxy)["reason"], what="the reason")


def test_started_and_stopped_again(localaws, awsocks, web):
    # looked at after 0.5 s, 1.25 s, 2.4 s, 4.1 s: both states last long enough to be seen if some of that comes late
    aws = emulator(localaws, web, *instance(name="box", state="stopped"), "--fault", "start-delay=3000",
                   "--fault", "connect-delay=3000", "--fault", "stop-delay=200")
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", aws=aws, target=False)
    assert aws.stats()["StartInstances"] == 0        # lazy
    aws.faults("not-connected=2")                    # even when GetConnectionStatus says that it is
    fetch(proxy)
    assert backend(proxy)["state"] == "active"
    assert "progress" not in backend(proxy)
    for word in ("is pending", "is not connected to SSM yet", "sessions are still refused"):
        assert word in proxy.log(), word
    assert (aws.stats()["StartInstances"], aws.stats()["StartSession"]) == (1, 3)
    assert proxy.stop() == 0
    harness.wait_for(lambda: states(aws)[ID] == "stopped", what="the stop")
    aws.wait_sessions_open(0)


def test_what_runs_already_is_not_ours(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box"))
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", aws=aws, target=False)
    fetch(proxy)
    assert proxy.stop() == 0
    assert states(aws)[ID] == "running"
    assert aws.stats()["StartInstances"] == aws.stats()["StopInstances"] == 0


def test_without_auto_stop_it_is_left(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(state="stopped"))
    proxy = awsocks("--auto-start", aws=aws)          # by its id
    fetch(proxy)
    assert proxy.stop() == 0
    assert states(aws)[ID] == "running"


def test_stopped_when_the_end_comes_during_the_start(localaws, awsocks, web):
    """EC2 stops nothing that is pending: the end waits for that, and leaves nothing behind."""
    aws = emulator(localaws, web, *instance(name="box", state="stopped"), "--fault", "start-delay=6000")
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", "--connect-timeout", "1s", aws=aws, target=False)
    told = fetch(proxy, check=False)
    assert told.returncode != 0
    harness.wait_for(lambda: f"instance {ID} is pending" in backend(proxy).get("progress", ""), what="its state")
    assert states(aws)[ID] == "pending"
    assert "starting: instance" in harness.wait_for(proxy.audit, what="the audit line")[0]["error"]
    assert proxy.stop() == 0
    assert states(aws)[ID] in ("stopping", "stopped")


def test_a_second_signal_leaves_it(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box", state="stopped"), "--fault", "start-delay=600000")
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", "--connect-timeout", "1s", aws=aws, target=False)
    fetch(proxy, check=False)
    harness.wait_for(lambda: aws.stats()["StartInstances"], what="the start")  # maybe behind the client's second
    proxy.signal(signal.SIGTERM)
    harness.wait_for(lambda: aws.stats()["StopInstances"], what="a try to stop it")
    proxy.signal(signal.SIGTERM)
    harness.wait_for(lambda: not proxy.running(), what="the end")
    assert states(aws)[ID] == "pending"
    assert notes(proxy) == [ID]        # the next one stops it, as below


def notes(proxy):
    """What is written down to be stopped."""
    folder = os.path.join(proxy.env["XDG_STATE_HOME"], "awsocks", "started")
    return os.listdir(folder) if os.path.isdir(folder) else []


def doctor(proxy, aws):
    r = harness.run([harness.program("awsocks"), "doctor", "--name", "box"], env={**proxy.env, **aws.env()})
    return r.stdout.decode()


def test_who_is_killed_leaves_a_note(localaws, awsocks, web):
    """SIGKILL leaves the instance running; the next awsocks takes it over, and stops it at its end."""
    aws = emulator(localaws, web, *instance(name="box", state="stopped"))
    options = ["--name", "box", "--auto-start"]
    killed = awsocks(*options, "--auto-stop", aws=aws, target=False)
    fetch(killed)
    assert backend(killed)["to_be_stopped"]
    text = harness.run([harness.program("awsocks"), "status"], env=killed.env).stdout.decode()
    assert f"{ID}, started here, to be stopped" in text
    assert "was killed" not in doctor(killed, aws)
    killed.kill()
    assert (states(aws)[ID], notes(killed)) == ("running", [ID])
    assert f"{ID} box, running in us-east-1a; started by an awsocks that was killed" in doctor(killed, aws)

    state = {"XDG_STATE_HOME": killed.env["XDG_STATE_HOME"]}
    other = awsocks(*options, aws=aws, target=False, env=state)        # does not stop, and says so
    fetch(other)
    assert "--auto-stop takes it over" in other.log()
    assert other.stop() == 0
    assert states(aws)[ID] == "running"

    heir = awsocks(*options, "--auto-stop", aws=aws, target=False, env=state)
    fetch(heir)
    assert backend(heir)["to_be_stopped"]
    assert heir.stop() == 0
    assert (states(aws)[ID], notes(heir)) == ("stopped", [])
    assert (aws.stats()["StartInstances"], aws.stats()["StopInstances"]) == (1, 1)


def test_before_it_listens_it_waits_for_the_agent(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box", state="stopped"), "--fault", "connect-delay=5000")
    api_of(aws).client("ec2").start_instances(InstanceIds=[ID])
    proxy = awsocks("--name", "box", "--no-lazy", aws=aws, target=False)
    assert f"instance {ID} is not connected to SSM yet" in proxy.log()
    assert backend(proxy)["state"] == "active"
    fetch(proxy)


@pytest.mark.parametrize("faults, status, words", [
    ("connect-delay=1000000", 69, ("is not connected to SSM, and has not been for 4 s", "the agent, a role")),
    ("deny-ec2", 77, ("UnauthorizedOperation",))])
def test_before_it_listens_it_ends_when_it_cannot(localaws, tmp_path, faults, status, words):
    """69: it is not there within --init-timeout; 77, at once: AWS says no."""
    aws = localaws(*instance(name="box", state="stopped"), "--fault", "connect-delay=1000000")
    api_of(aws).client("ec2").start_instances(InstanceIds=[ID])
    aws.faults(faults)
    r = harness.run([harness.program("awsocks"), "--no-lazy", "--init-timeout", "4s", "--name", "box", "--listen",
                     "127.0.0.1:0"], env={**conftest.clean_environment(tmp_path), **aws.env()}, check=False)
    assert r.returncode == status
    for word in words:
        assert word in r.stderr.decode()


def test_unused_it_is_stopped_and_started_again(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box", state="stopped"), "--fault", "stop-delay=300")
    # a client's end of file is not passed on by smux: its stream ends by the web server, or by this limit
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", "--idle-stop", "1s", "--idle-stream-timeout", "1s",
                    aws=aws, target=False)
    fetch(proxy)
    harness.wait_for(lambda: states(aws)[ID] == "stopped", what="the stop")
    aws.wait_sessions_open(0)
    assert backend(proxy)["state"] == "idle"
    fetch(proxy)
    assert aws.stats()["StartInstances"] == 2
    assert proxy.stop() == 0
    harness.wait_for(lambda: states(aws)[ID] == "stopped", what="the stop")


def test_in_use_it_is_not_stopped(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box", state="stopped"))
    proxy = awsocks("--name", "box", "--auto-start", "--auto-stop", "--idle-stop", "1s", aws=aws, target=False)
    with client.socks5(proxy.listener, NAME, 80) as s:
        harness.wait_for(lambda: proxy.cpu_s() and backend(proxy)["state"] == "active", what="the session")
        looks = proxy.status()["uptime_s"]
        harness.wait_for(lambda: proxy.status()["uptime_s"] >= looks + 3, what="three seconds of its clock")
        s.sendall(f"GET /bytes/10 HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
        assert b" 200 " in client.read_to_end(s)
    assert aws.stats()["StartInstances"] == 1


def test_a_start_that_fails_says_why(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(state="stopped"), "--fault", "refuse-start")
    proxy = awsocks("--auto-start", aws=aws)
    assert fetch(proxy, check=False).returncode != 0
    assert "InsufficientInstanceCapacity" in backend(proxy)["reason"]
    assert proxy.stop() == 0


def test_replaced_by_its_group(localaws, awsocks, web):
    """No connection fails: the one that meets the gap waits until the new one is there."""
    aws = emulator(localaws, web, *instance(asg="g"), "--fault", "start-delay=600", "--fault", "connect-delay=600")
    proxy = awsocks("--asg", "g", aws=aws, target=False)
    fetch(proxy)
    new = json.loads(aws.open("/_localaws/replace", b"g"))["new"]["id"]
    harness.wait_for(lambda: aws.stats()["sessions_open"] == 0 and not backend(proxy)["sessions"],
                     what="the end of the old sessions, at both ends")
    fetch(proxy)
    assert backend(proxy)["instance"] == new
    assert f"it is {new} now, and not {ID}" in proxy.log()
    assert "failed" not in proxy.log()
    assert (backend(proxy)["reason"], "progress" in backend(proxy)) == ("", False)


def test_not_connected_is_no_replacement(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box"))
    proxy = awsocks("--name", "box", "--no-lazy", "--connect-timeout", "2s", aws=aws, target=False)
    aws.faults("not-connected")
    assert fetch(proxy, check=False).returncode != 0
    harness.wait_for(lambda: "is not connected" in backend(proxy)["reason"], what="the reason")
    harness.wait_for(lambda: backend(proxy).get("progress") ==
                     f"instance {ID} is running, but sessions are still refused", what="its state")
    harness.wait_for(lambda: aws.stats()["DescribeInstances"] >= 2, what="another look")
    aws.faults("clear")
    harness.wait_for(lambda: fetch(proxy, check=False).returncode == 0, what="the end of the pause")
    assert backend(proxy)["instance"] == ID
    assert (backend(proxy)["reason"], "progress" in backend(proxy)) == ("", False)


def test_stopped_by_somebody_else_it_is_started_again(localaws, awsocks, web):
    aws = emulator(localaws, web, *instance(name="box"))
    proxy = awsocks("--name", "box", "--auto-start", aws=aws, target=False)
    fetch(proxy)
    api_of(aws).client("ec2").stop_instances(InstanceIds=[ID])
    harness.wait_for(lambda: states(aws)[ID] == "stopped" and not backend(proxy)["sessions"],
                     what="the stop, and awsocks to have heard of its session's end")
    fetch(proxy)
    assert aws.stats()["StartInstances"] == 1
    assert proxy.stop() == 0
