"""VM mode, when something breaks: nothing waits longer than its limit, nothing is left over, those who were connected
are told, and service returns by itself. Most of it with the agent as a process, what is QEMU's with QEMU.
"""
import contextlib
import os
import select
import signal
import socket

import pytest

import client
import harness
import vm_world
from vm_world import DIGEST, ECHO, NET, SITE, SOURCE, running

DRIVERS = ["process", pytest.param("qemu", marks=pytest.mark.nosan)]
# With QEMU in `make test-long`: there nothing is QEMU's own.
PROCESS = ["process", pytest.param("qemu", marks=[pytest.mark.nosan, pytest.mark.long])]
MIB = 1 << 20
VM_DIRECT = ("--route-default", "vm-direct")
# Where a VM boots: on a busy machine that takes longer than a dial waits by itself.
PATIENT = (*VM_DIRECT, "--connect-timeout", f"{vm_world.BOOT_S}s")


@pytest.fixture(scope="module")
def everywhere():
    if vm_world.why_not("process"):
        pytest.skip(vm_world.why_not("process"))
    with vm_world.World() as world:
        yield world


@pytest.fixture
def world(everywhere):
    """Its proxies end with the test."""
    before = everywhere.end
    with contextlib.ExitStack() as everywhere.end:
        yield everywhere
        for proxy in everywhere.proxies:
            if proxy.running():
                assert proxy.stop() == 0, proxy.log()
            proxy.check_clean()
        everywhere.proxies.clear()
    everywhere.end = before


@pytest.fixture(params=DRIVERS)
def driver(request):
    if vm_world.why_not(request.param):
        pytest.skip(vm_world.why_not(request.param))
    return request.param


def dial(proxy, port):
    return client.socks5(proxy.plain, NET, port, limit_s=vm_world.BOOT_S)


def works(proxy):
    with dial(proxy, ECHO) as s:
        s.sendall(b"to and fro")
        assert client.read_exactly(s, 10) == b"to and fro"
    return True


def works_or_ends(proxy):
    """Until a guest breaks a rule it is believed, and its bytes come to who has asked for others: whoever gets them
    keeps the stream and reads no more, until it ends."""
    with dial(proxy, ECHO) as s:
        s.sendall(b"to and fro")
        if client.read_exactly(s, 10) == b"to and fro":
            return True
        end = select.poll()
        end.register(s, 0)
        assert end.poll(vm_world.BOOT_S * 1000), "a guest that answers for others is still there"
        return False


def works_again(proxy, service=works):
    """Service returns by itself: what fails meanwhile has a reply."""
    def attempt():
        try:
            return service(proxy)
        except (client.Refused, OSError):
            return False
    harness.wait_for(attempt, vm_world.BOOT_S, "service to return: " + proxy.log()[-2000:])


def ends(s, limit_s):
    """Whoever holds this stream is told within the limit."""
    s.settimeout(limit_s)
    with contextlib.suppress(ConnectionError):
        while s.recv(1 << 16):
            pass


def gone(pid):
    harness.wait_for(lambda: not alive(pid), vm_world.BOOT_S, f"the end of {pid}")


def alive(pid):
    """Running, and not a zombie that nobody reaps."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def left_over(proxy):
    """Processes that know of this awsocks' folder."""
    return {pid: line for pid, line in vm_world.processes(proxy.env["HOME"]).items() if alive(pid)}


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_the_vm_is_asked_to_end(world, driver):
    the_vm_dies(world, driver, signal.SIGTERM)


def test_the_vm_is_killed(world, driver):
    the_vm_dies(world, driver, signal.SIGKILL)


def the_vm_dies(world, driver, how):
    proxy = world.awsocks(*PATIENT, driver=driver)
    with dial(proxy, ECHO) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        before = running(proxy)
        os.kill(before["pid"], how)
        ends(s, 30)
    works_again(proxy)
    after = running(proxy)
    assert after["pid"] != before["pid"] and after["restarts"] == before["restarts"] + 1
    gone(before["pid"])


@contextlib.contextmanager
def asking(proxy, host, port):
    """A request whose reply is still to come."""
    with client.dial(proxy.plain) as s:
        s.sendall(b"\5\1\0")
        assert client.read_exactly(s, 2) == b"\5\0"
        s.sendall(b"\5\1\0" + client.socks5_address(host) + port.to_bytes(2, "big"))
        yield s


def no_reply_yet(s):
    s.setblocking(False)
    with pytest.raises(BlockingIOError):
        s.recv(1)
    s.setblocking(True)
    return True


@pytest.fixture
def mortal(world):
    """awsocks whose agent, init of a VM that runs in QEMU, ends as world.fate says."""
    if vm_world.why_not("qemu"):
        pytest.skip(vm_world.why_not("qemu"))
    world.fate.forget()
    # No reply of these tests' is for that limit's sake.
    return world.awsocks(*VM_DIRECT, "--vm-agent", world.mortal(), "--connect-timeout", f"{2 * vm_world.BOOT_S}s")


@pytest.mark.nosan
@pytest.mark.parametrize("how, says", [(b"c", "Kernel panic - not syncing: Attempted to kill init"),
                                       pytest.param(b"p", "Kernel panic - not syncing: sysrq", marks=pytest.mark.long)])
def test_the_agent_dies_in_the_guest(world, mortal, how, says):
    """Twice. Who is connected is told at once; who waits for an answer has one more VM, and then a reply."""
    before = running(mortal)
    with dial(mortal, ECHO) as s, asking(mortal, vm_world.DROPPED, 80) as waits:
        s.sendall(b"x")
        assert client.read_exactly(s, 1) == b"x"
        world.fate.order(how)
        ends(s, 30)
        gone(before["pid"])
        works_again(mortal)
        after = running(mortal)
        assert after["pid"] != before["pid"] and after["restarts"] == before["restarts"] + 1
        assert no_reply_yet(waits)
        world.fate.order(how)
        waits.settimeout(vm_world.BOOT_S)
        assert client.read_exactly(waits, 2) == b"\5\1", "of all replies that of a link that was lost"
        gone(after["pid"])
    works_again(mortal)
    assert says in mortal.ctl("vm", "console").stdout.decode()
    told = [line["error"] for line in mortal.audit() if line["host"] == vm_world.DROPPED]
    assert len(told) == 1 and "VM" in told[0], told
    assert mortal.stop() == 0
    nothing_left(mortal)


@pytest.mark.nosan
def test_the_console_of_vfkit(world):
    """A file that nobody else would show; and a link by vsock that breaks."""
    if vm_world.why_not("vfkit"):
        pytest.skip(vm_world.why_not("vfkit"))
    world.fate.forget()
    proxy = world.awsocks(*VM_DIRECT, "--vm-agent", world.mortal(), driver="vfkit")
    before = running(proxy)
    with client.socks5(proxy.plain, NET, ECHO) as s:
        s.sendall(b"x")
        assert client.read_exactly(s, 1) == b"x"
        assert proxy.ctl("vm", "console").stdout == b""
        world.fate.order(b"c")
        ends(s, 30)
    assert "the VM hangs" not in proxy.log(), "it was the break that told, not the silence behind it"
    gone(before["pid"])
    harness.wait_for(lambda: b"Kernel panic - not syncing: Attempted to kill init"
                     in proxy.ctl("vm", "console").stdout, what="the panic on the console")
    works_again(proxy)
    assert running(proxy)["restarts"] == before["restarts"] + 1
    assert proxy.stop() == 0
    nothing_left(proxy)


@pytest.mark.nosan
@pytest.mark.long
def test_the_agent_hangs_in_the_guest(world, mortal):
    """Its kernel lives, and so does the NAT: only that it says nothing tells."""
    with dial(mortal, ECHO) as s:
        s.sendall(b"x")
        assert client.read_exactly(s, 1) == b"x"
        pid = running(mortal)["pid"]
        world.fate.order(b"h")
        ends(s, 60)
    gone(pid)
    works_again(mortal)
    assert mortal.vm()["restarts"] == 1


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_a_dial_waits_for_the_next_vm(world, driver):
    """Somebody who comes while it boots again is served, late."""
    proxy = world.awsocks(*PATIENT, driver=driver)
    assert works(proxy)
    os.kill(running(proxy)["pid"], signal.SIGKILL)
    harness.wait_for(lambda: proxy.vm()["state"] != "running" or proxy.vm()["restarts"] > 0, what="its end to be seen")
    assert works(proxy)


def test_awsocks_is_killed(world, driver):
    proxy = world.awsocks(*PATIENT, driver=driver)
    assert works(proxy)
    pid = running(proxy)["pid"]
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.child.wait(10)
    gone(pid)
    harness.wait_for(lambda: not left_over(proxy), what="all of its processes to end")


def test_awsocks_is_killed_and_nobody_kills_the_vm(world, driver):
    """As on systems where a child is not told of its parent's end: the link's end is news enough."""
    program = world.wrapper(vm_world.qemu() if driver == "qemu" else world.seen(vm_world.agent()), dies=False)
    proxy = world.awsocks(*PATIENT, driver=driver, program=program)
    assert works(proxy)
    pid = running(proxy)["pid"]
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.child.wait(10)
    gone(pid)


def test_a_start_after_a_kill(world):
    """In the same folders: what the first one left is in nobody's way, and gone in the end."""
    first = world.awsocks(*VM_DIRECT, driver="process")
    assert works(first)
    os.kill(first.pid, signal.SIGKILL)
    first.child.wait(10)
    proxy = world.again(first)
    assert works(proxy)
    assert proxy.stop() == 0
    nothing_left(proxy)


def files(proxy):
    """What is left of the VM in awsocks' folders for things of now: runtime and temporary."""
    found = []
    for folder, _, names in os.walk(os.path.join(proxy.env["HOME"], "run")):
        found += [os.path.join(folder, name) for name in names]
    return found


def nothing_left(proxy):
    """No file, and a moment later no process: those that awsocks did not wait for the kernel tells of its end."""
    assert files(proxy) == []
    harness.wait_for(lambda: not left_over(proxy), what="all of its processes to end")


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_a_clean_end_leaves_nothing(world, driver):
    proxy = world.awsocks(*PATIENT, driver=driver)
    assert works(proxy)
    pid = running(proxy)["pid"]
    assert proxy.stop() == 0
    assert not alive(pid)
    nothing_left(proxy)


def test_a_vm_that_hangs(world, driver):
    """It says nothing any more: it is ended, and another one takes its place."""
    proxy = world.awsocks(*PATIENT, driver=driver)
    with dial(proxy, ECHO) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        pid = running(proxy)["pid"]
        os.kill(pid, signal.SIGSTOP)
        ends(s, 60)
    gone(pid)
    works_again(proxy)


def test_a_full_link(world, driver):
    """The guest stands still while much is sent: the sender waits, nothing grows, and nothing is lost."""
    size = 24 * MIB
    proxy = world.awsocks(*PATIENT, driver=driver)
    with dial(proxy, DIGEST) as s, dial(proxy, ECHO) as other:
        pid = running(proxy)["pid"]
        os.kill(pid, signal.SIGSTOP)
        s.setblocking(False)
        data, sent = b"".join(harness.pattern(size)), 0

        def blocked():
            nonlocal sent
            now = sent
            with contextlib.suppress(BlockingIOError):
                while sent < size:
                    sent += s.send(data[sent:sent + 65536])
            return now == sent
        harness.wait_for(blocked, what="the link to be full")
        assert 0 < sent < 8 * MIB
        os.kill(pid, signal.SIGCONT)
        s.setblocking(True)
        s.settimeout(vm_world.BOOT_S)
        s.sendall(data[sent:])
        s.shutdown(socket.SHUT_WR)
        assert client.read_to_end(s).decode() == f"{size} {harness.pattern_digest(size)}"
        other.sendall(b"x")
        assert client.read_exactly(other, 1) == b"x"
    assert running(proxy)["restarts"] == 0


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_stopped_and_started_by_command(world, driver):
    proxy = world.awsocks(*PATIENT, driver=driver)
    with dial(proxy, ECHO) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        pid = running(proxy)["pid"]
        proxy.ctl("vm", "stop")
        ends(s, 30)
    gone(pid)
    assert proxy.vm()["state"] == "stopped"
    with pytest.raises(client.Refused) as refused:
        works(proxy)
    assert refused.value.code in (1, 2, 3), refused.value.code
    assert proxy.vm()["state"] == "stopped"
    assert any("vm start" in line.get("error", "") for line in proxy.audit())
    proxy.ctl("vm", "start")
    works_again(proxy)
    assert running(proxy)["pid"] != pid


def test_on_demand(world, driver):
    """No VM before somebody needs one."""
    proxy = world.awsocks(*PATIENT, "--route-direct", "*.nowhere.example", "--vm-start", "on-demand", driver=driver)
    assert proxy.vm()["state"] == "stopped"
    with pytest.raises(client.Refused):
        client.socks5(proxy.plain, "a.nowhere.example", 80)
    assert proxy.vm()["state"] == "stopped" and "virtio" not in str(left_over(proxy))
    assert works(proxy)
    assert running(proxy)["pid"] > 0


def test_lazy(world, driver):
    """The listeners are there at once, and who comes while the VM boots is served when it has booted."""
    gate = os.path.join(world.new_folder("gate"), "open")
    program = world.wrapper(vm_world.qemu() if driver == "qemu" else world.seen(vm_world.agent()), gate=gate)
    proxy = world.awsocks(*PATIENT, driver=driver, program=program)
    with client.dial(proxy.plain) as s:
        s.sendall(b"\5\1\0")
        assert client.read_exactly(s, 2) == b"\5\0"
        s.sendall(b"\5\1\0" + client.socks5_address(NET) + ECHO.to_bytes(2, "big"))
        harness.wait_for(lambda: proxy.vm()["state"] == "starting", what="the boot")
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.recv(1)
        with open(gate, "w", encoding="ascii"):
            pass
        s.settimeout(vm_world.BOOT_S)
        assert client.read_exactly(s, 10)[:2] == b"\5\0"
        s.sendall(b"x")
        assert client.read_exactly(s, 1) == b"x"


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_an_end_while_it_boots(world, driver):
    program = world.wrapper(vm_world.qemu() if driver == "qemu" else world.seen(vm_world.agent()),
                            gate=os.path.join(world.new_folder("gate"), "closed"))
    proxy = world.awsocks(*PATIENT, driver=driver, program=program)
    harness.wait_for(lambda: proxy.vm()["state"] == "starting", what="the boot")
    assert proxy.stop() == 0
    nothing_left(proxy)


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_two_side_by_side(world, driver):
    one, two = (world.awsocks(*PATIENT, driver=driver) for _ in range(2))
    assert works(one) and works(two)
    assert running(one)["pid"] != running(two)["pid"]
    assert one.stop() == 0
    assert works(two)
    assert running(two)["restarts"] == 0


def test_a_vm_that_does_not_start(world):
    """Its reason is told, and once it can start it does."""
    program = world.script("agent-of-a-test", "#!/bin/sh\necho this agent is broken >&2\nexit 3\n")
    proxy = world.awsocks(*VM_DIRECT, driver="process", program=program)
    with pytest.raises(client.Refused) as refused:
        works(proxy)
    assert refused.value.code in (1, 3, 4, 6), refused.value.code

    def failed():           # asked once: a moment later it tries again, and has no reason then
        told = proxy.vm()
        return told if told["state"] == "failed" else None
    assert harness.wait_for(failed, what="the failure")["reason"]
    assert "this agent is broken" in proxy.ctl("vm", "console").stdout.decode() + proxy.log()
    world.script("agent-of-a-test", open(world.wrapper(world.seen(vm_world.agent())), encoding="utf-8").read())
    works_again(proxy)


def test_a_vm_that_says_nothing(world):
    proxy = world.awsocks(*VM_DIRECT, "--vm-boot-timeout", "1s", driver="process",
                          program=world.script("silent-agent", "#!/bin/sh\nexec sleep 1000\n"))
    with pytest.raises(client.Refused) as refused:
        works(proxy)
    assert refused.value.code in (1, 3, 4, 6), refused.value.code
    harness.wait_for(lambda: proxy.vm()["starts"] >= 2, what="another try")
    assert proxy.stop() == 0
    nothing_left(proxy)


@pytest.mark.parametrize("kind, says", [("zeros", ""), ("random", ""), ("http", ""), ("half", ""), ("nonce", ""),
                                        ("version", ""), ("window", "more than its window"), ("credit", "WINDOW of"),
                                        ("stream", ""), ("length", "")])
def test_garbage(world, kind, says):
    """Whatever the guest says, it is the guest that ends; the next one, in order, serves."""
    turn = os.path.join(world.new_folder("garbage"), "second")
    program = world.garbage(kind, turn)
    proxy = world.awsocks(*VM_DIRECT, "--vm-boot-timeout", "20s", driver="process", program=program)
    works_again(proxy, works_or_ends)
    assert proxy.running() and os.path.exists(turn)
    assert running(proxy)["starts"] >= 2 and says in proxy.log()
    proxy.check_clean()


def test_dials_have_a_limit(world):
    """A VM that never comes up: who waits is told."""
    gate = os.path.join(world.new_folder("gate"), "closed")
    proxy = world.awsocks(*VM_DIRECT, "--vm-boot-timeout", "2s", driver="process",
                          program=world.wrapper(world.seen(vm_world.agent()), gate=gate))
    for _ in range(2):
        with pytest.raises(client.Refused) as refused:
            works(proxy)
        assert refused.value.code in (1, 3, 4, 6)


def test_clients_cannot_starve_aws(world):
    """They have all the streams that they can get; what AWS needs is there nevertheless."""
    aws = world.localaws()
    proxy = world.awsocks("--route-default", "vm-direct", "--route-proxy", vm_world.VPC, "--vm-setting",
                          "streams-max=64", driver="process", aws=aws)

    def session():
        try:
            return vm_world.fetch(proxy.plain, world.new_folder("got"), 1000, vm_world.VPC, 8080)
        except harness.Failed:
            return None

    def take_all():
        with pytest.raises(client.Refused) as refused:
            while True:
                taken.append(held.enter_context(client.socks5(proxy.plain, NET, ECHO)))
        assert refused.value.code == 1
        return len(taken)
    taken = []
    with contextlib.ExitStack() as held:
        assert harness.wait_for(session, vm_world.BOOT_S, "a session") == harness.pattern_digest(1000)
        take_all()
        harness.wait_for(lambda: any("no more are allowed" in line.get("error", "") for line in proxy.audit()),
                         what="the refusal's line")
        aws.shut_door()         # what AWS had is free, but for a try now and then
        harness.wait_for(lambda: take_all() >= 46, what="clients to have all that they can")
        assert len(taken) <= 48, "a quarter of them is kept"
        aws.open_door()
        assert harness.wait_for(session, vm_world.BOOT_S, "another session") == harness.pattern_digest(1000)
    works_again(proxy)


@pytest.mark.parametrize("driver", PROCESS, indirect=True)
def test_the_source_is_not_read_ahead(world, driver):
    """What nobody reads is not taken from the outside without end either."""
    proxy, before = world.awsocks(*PATIENT, driver=driver), world.source.sent
    with dial(proxy, SOURCE) as s:
        at = [-1]

        def stands():
            now, last = world.source.sent, at[0]
            at[0] = now
            return now == last and now > before
        harness.wait_for(stands, vm_world.BOOT_S, "the source to stall")
        assert s.recv(1)
        assert vm_world.fetch(proxy.plain, world.new_folder("got"), MIB, SITE) == harness.pattern_digest(MIB)


def test_a_guest_that_talks_without_end(world):
    """It costs the log a bounded part, and nobody else's service."""
    program = world.garbage("flood", os.path.join(world.new_folder("flood"), "second"))
    proxy = world.awsocks(*VM_DIRECT, "--route-direct", "127.0.0.1", driver="process", program=program)
    harness.wait_for(lambda: "level=error x" in proxy.log() or proxy.vm()["starts"] > 1, what="its first words")
    assert proxy.vm()["state"]
    assert "\x1b" not in proxy.log() and os.path.getsize(proxy.log_path) < 8 * MIB
    assert proxy.stop() == 0
