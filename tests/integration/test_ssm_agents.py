"""awsocks with an AWS and an agent that are not ours (ssm_agent.py): they write what is legal but unusual, and
note every rule of the protocol page that is broken."""
import contextlib
import subprocess

import pytest

import client
import harness
import ssm_agent
from conftest import INSTANCE, clean_environment

HOST = "db.internal.example"


@pytest.fixture
def aws():
    started = []

    def start(manner=None, **kw):
        a = ssm_agent.Aws(manner or ssm_agent.Manner(**kw))
        started.append(a)
        return a
    yield start
    for a in started:
        a.stop()
        assert not a.broken, a.broken[:5]


def start(awsocks, a, *options):
    return awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--transport", "port", "--sessions", "1",
                   *options, env=a.env())


def echo(proxy, size, port=9000):
    """What comes back of `size` bytes, sent while it is read."""
    want = b"".join(harness.pattern(size))
    got = bytearray()
    with client.socks5(proxy.listener, HOST, port) as s:
        for at in range(0, size, 50000):
            s.sendall(want[at:at + 50000])
            while len(got) < at - 50000:
                got += s.recv(1 << 16) or pytest.fail(f"the end came after {len(got)} bytes")
        while len(got) < size:
            got += s.recv(1 << 16) or pytest.fail(f"the end came after {len(got)} bytes")
    return bytes(got) == want


MANNERS = {
    "plain": {},
    "padded with NULs": {"padding": b"\0"},
    "other numbers in the header": {"schema": 7, "flags": 0x7FFFFFFFFFFFFFFF},
    "single bytes": {"pieces": (1, 2, 3)},
    "large messages": {"pieces": (65536, 200000, 1 << 20)},
    "fragments": {"fragment": 100, "pieces": (1024, 5000)},
    "tiny fragments": {"fragment": 1, "pieces": (300,)},
    "everything twice": {"twice": 100, "ack_twice": 100},
    "out of order": {"shuffled": 70, "twice": 10},
    "late acknowledgements in any order": {"ack_late": 95, "ack_twice": 20},
    "greets twice": {"greet_twice": True},
    "strangers": {"strangers": True},
    "pauses": {"pauses": 20, "silent_start": True},
    "old": {"version": "3.1.1400.0"},
    "says no lengths": {"length": 0},
    "says neither lengths nor digests": {"length": 0, "digest": False},
    "calls itself localhost": {"stream_host": "localhost"},
    "cut": {"kill_at": (40, 25, 60, 1, 2, 90)},
    "cut in the handshake": {"kill_at": (1, 1, 2, 2)},
    "closed by 1000 in the handshake": {"kill_at": (2, 1), "close": b"\x03\xe8Bye"},
    "closed by 1000": {"kill_at": (30, 50, 70), "close": b"\x03\xe8Bye"},
    "closed without a code": {"kill_at": (50,), "close": b""},
}


@pytest.mark.parametrize("name", MANNERS)
def test_an_echo(awsocks, aws, name):
    a = aws(**MANNERS[name])
    proxy = start(awsocks, a)
    assert echo(proxy, 20_000 if "tiny" in name or "single" in name else 400_000)
    assert len([op for op, _ in a.calls if op == "StartSession"]) == 1
    resumes = [op for op, _ in a.calls if op == "ResumeSession"]
    assert len(resumes) == len(MANNERS[name].get("kill_at", ()))


def test_all_that_is_odd(awsocks, aws):
    a = aws(ssm_agent.Odd(fragment=700, twice=20, shuffled=30, ack_late=50, strangers=True, greet_twice=True,
                          kill_at=(80, 100)))
    proxy = start(awsocks, a)
    assert echo(proxy, 300_000)
    assert echo(proxy, 1)


@pytest.mark.parametrize("size", ["1025", "64k"])
def test_payloads_of_any_size(awsocks, aws, size):
    a = aws(twice=10, ack_late=30)
    assert echo(start(awsocks, a, "--payload-size", size), 300_000)


def test_a_refusal_by_flag(awsocks, aws):
    a = aws()
    proxy = start(awsocks, a)
    with pytest.raises(client.Refused) as e:
        client.socks5(proxy.listener, HOST, 7)
    assert e.value.code == 5


@pytest.mark.parametrize("whole", [True, False])
def test_an_ssh_session_and_its_end(aws, tmp_path, whole):
    """channel_closed without a reason is sshd's close, unless bytes before it have not come."""
    a = aws(pieces=(5,))
    env = dict(clean_environment(tmp_path), **a.env())
    with subprocess.Popen([harness.program("awsocks"), "connect", INSTANCE, "22"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as p:
        assert p.stdout.readline() == b"SSH-2.0-agent\r\n"
        p.stdin.write(b"SSH-2.0-client\r\n")
        p.stdin.flush()
        assert p.stdout.readline() == b"SSH-2.0-client\r\n"
        (s,) = a.sessions.values()
        if not whole:
            s.next_out += 1
        s.send(1, b"last words")
        s.closed("")
        out, err = p.communicate(timeout=harness.LIMIT_S)
    if whole:
        assert (out, err, p.returncode) == (b"last words", b"", 0)
    else:
        assert out == b"" and b"ended by the service" in err and p.returncode
    s.over = True


def test_the_end_is_told_and_taken(awsocks, aws):
    """TerminateSession by flag when awsocks stops; channel_closed from the service, both forms."""
    a = aws()
    proxy = start(awsocks, a)
    for short in (True, False):
        before = set(a.sessions)
        with client.socks5(proxy.listener, HOST, 9000) as s:
            s.sendall(b"hello")
            assert client.read_exactly(s, 5) == b"hello"
            (session,) = [x for k, x in a.sessions.items() if k not in before]
            session.closed("Session: x timed out due to inactivity.", short)
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""
        session.over = True
    harness.wait_for(lambda: proxy.log().count("timed out due to inactivity") >= 2, what="both reasons in the log")
    assert echo(proxy, 10)
    assert proxy.stop() == 0
    last = list(a.sessions.values())[-1]
    harness.wait_for(lambda: last.terminated or last.over, what="the end that was told")
