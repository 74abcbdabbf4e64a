"""--transport ssh and auto: OpenSSH as a child over an SSM session to a real sshd behind the emulator."""
import concurrent.futures
import contextlib
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import threading

import pytest

import client
import harness
from conftest import clean_environment

SIZE = 300_000


def start(localaws, awsocks, sshd, *options, faults=(), emulator=(), key=True, transport="ssh", env=None, port=None):
    """Emulator and proxy; the emulator's agent finds `sshd` at port 22. key False: none is given."""
    wrong = [x for f in faults for x in ("--fault", f)]
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{port or sshd.port}", "--authorized-keys",
                   str(sshd.folder / "pushed"), *wrong, *emulator)
    keys = ["--ssh-key", str(sshd.folder / "client_key")] if key else []
    return aws, awsocks("--transport", transport, "--ssh-user", sshd.user, *keys, "--route-default", "proxy", *options,
                        aws=aws, env=env)


def down(proxy, web, tmp_path, size=SIZE):
    return client.fetch_digest(proxy.url(), f"http://127.0.0.1:{web.port}/bytes/{size}", tmp_path)


def up(proxy, web, tmp_path, size=SIZE):
    path = harness.pattern_file(tmp_path / "up", size)
    r = client.curl("--fail", "--proxy", proxy.url(), "-T", path, f"http://127.0.0.1:{web.port}/digest")
    return r.stdout.decode()


@contextlib.contextmanager
def endless_download(proxy, web):
    """One that keeps an ssh busy until the block ends. Nothing throttles it: of an emulator that is rarely let run, the
    agent's pauses would leave less than the 400 kB in a second that count as busy."""
    with client.socks5(proxy.listener, "127.0.0.1", web.port) as s:
        s.sendall(b"GET /bytes/1000000000000 HTTP/1.1\r\nHost: x\r\n\r\n")

        def read():
            with contextlib.suppress(OSError):      # its end may be a reset
                while s.recv(1 << 16):
                    pass
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            reader.join(harness.LIMIT_S)


def masters(proxy):
    """Process ids of the ssh that `proxy` has started (Linux)."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                name, rest = f.read().rsplit(")", 1)
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        started_by = int(rest.split()[1])
        if name.endswith("(ssh") and b"-NTM" in words and started_by in family(proxy):
            out.append(int(pid))
    return out


def family(proxy):
    """The proxy, and the small process that starts programs for it."""
    found = {proxy.pid}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == proxy.pid:
                    found.add(int(pid))
        except OSError:
            pass
    return found


class Server:
    """handle(conn) in a thread for each connection."""

    def __init__(self, handle):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.handle = handle
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn):
        with conn:
            conn.settimeout(harness.LIMIT_S)
            try:
                self.handle(conn)
            except OSError:
                pass

    def stop(self):
        self.sock.close()


@pytest.fixture
def serve():
    started = []

    def new(handle):
        started.append(Server(handle))
        return started[-1]
    yield new
    for s in started:
        s.stop()


# --- a user's key ---

def test_both_ways(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert up(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    stats = aws.stats()
    assert stats["StartSession"] == 1 and stats["SendSSHPublicKey"] == 0
    assert len(masters(proxy)) == 1
    backend = proxy.status()["backends"][0]
    assert backend["transport"] == "ssh"
    assert backend["sessions"][0]["logged_in"] is True
    text = harness.run([harness.program("awsocks"), "status"], env=proxy.env).stdout.decode()
    assert f"ssh  {backend['sessions'][0]['id']}  " in text
    pid = masters(proxy)[0]
    assert proxy.stop() == 0
    harness.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="ssh to end")
    aws.wait_sessions_open(0)
    left = [n for n in os.listdir(proxy.env["XDG_RUNTIME_DIR"]) if n.startswith("awsocks-")]
    assert left == []


def test_a_half_close_passes(localaws, awsocks, sshd, serve):
    """A server that answers only after the end of the request; and one that ends first and listens on."""
    def answer_at_the_end(conn):
        conn.sendall(hashlib.sha256(client.read_to_end(conn)).hexdigest().encode())

    def end_first(conn):
        conn.sendall(b"over to you")
        conn.shutdown(socket.SHUT_WR)
        heard.append(client.read_to_end(conn))
        done.set()
    heard, done = [], threading.Event()
    late, early = serve(answer_at_the_end), serve(end_first)
    _, proxy = start(localaws, awsocks, sshd)
    with client.socks5(proxy.listener, "127.0.0.1", late.port) as s:
        s.sendall(b"question" * 10000)
        s.shutdown(socket.SHUT_WR)
        assert client.read_to_end(s).decode() == hashlib.sha256(b"question" * 10000).hexdigest()
    with client.socks5(proxy.listener, "127.0.0.1", early.port) as s:
        assert client.read_to_end(s) == b"over to you"
        s.sendall(b"answer" * 10000)
        s.shutdown(socket.SHUT_WR)
        assert done.wait(harness.LIMIT_S)
    assert heard == [b"answer" * 10000]


def test_each_dial_has_its_answer(localaws, awsocks, sshd, web):
    _, proxy = start(localaws, awsocks, sshd)
    with pytest.raises(client.Refused) as refused:
        client.socks5(proxy.listener, "127.0.0.1", harness.free_port())
    assert refused.value.code == 5
    with pytest.raises(client.Refused) as unknown:
        client.socks5(proxy.listener, "no-such-name.invalid", 80)
    assert unknown.value.code == 4
    client.socks5(proxy.listener, "127.0.0.1", web.port).close()
    texts = [line["error"] for line in proxy.audit() if line.get("error")]
    assert any("Connection refused" in t for t in texts), texts


def test_fifty_downloads_at_once(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd)
    sizes = [20_000 + 1000 * i for i in range(50)]

    def fetch(i):
        folder = tmp_path / f"fetch{i}"
        folder.mkdir()
        return down(proxy, web, folder, sizes[i])
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        digests = list(pool.map(fetch, range(50)))
    assert digests == [harness.pattern_digest(n) for n in sizes]
    assert aws.stats()["StartSession"] <= 4


def test_a_stalled_reader_holds_nobody_up(localaws, awsocks, sshd, web, tmp_path):
    _, proxy = start(localaws, awsocks, sshd)
    with client.socks5(proxy.listener, "127.0.0.1", web.port) as stalled:
        stalled.sendall(b"GET /bytes/30000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stalled.recv(100)
        for _ in range(3):
            assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert proxy.log().count("reading pauses") == 0


def test_a_cut_websocket_is_resumed(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, faults=["drop-ws-after-bytes=300000"],
                       emulator=("--throttle", "300000"))
    assert down(proxy, web, tmp_path, 1_000_000) == harness.pattern_digest(1_000_000)
    stats = aws.stats()
    assert stats["ResumeSession"] >= 2 and stats["StartSession"] == 1
    # A stream that comes while the session is away on a slow machine has another one opened for it.
    assert up(proxy, web, tmp_path, 600_000) == harness.pattern_digest(600_000)
    assert aws.stats()["StartSession"] <= 2


def test_loss_and_reordering(localaws, awsocks, sshd, web, tmp_path):
    _, proxy = start(localaws, awsocks, sshd, faults=["lose-client=2", "reorder-agent=5", "repeat-agent=5",
                                                      "early-data-gap=15", "seed=3"])
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert up(proxy, web, tmp_path) == harness.pattern_digest(SIZE)


def test_compression(localaws, awsocks, sshd, serve):
    """10 MB of zeros cross the session as a fraction."""
    size = 10_000_000
    zeros = serve(lambda conn: conn.sendall(b"\0" * size))
    aws, proxy = start(localaws, awsocks, sshd, "--ssh-compression")
    with client.socks5(proxy.listener, "127.0.0.1", zeros.port) as s:
        assert client.read_to_end(s) == b"\0" * size
    assert aws.stats()["target_bytes_in"] < size / 10


def test_several_masters_when_one_is_busy(localaws, awsocks, sshd, web):
    aws, proxy = start(localaws, awsocks, sshd, "--sessions", "2")
    with endless_download(proxy, web):
        def another():
            client.socks5(proxy.listener, "127.0.0.1", web.port).close()
            return aws.stats()["StartSession"] == 2
        harness.wait_for(another, what="a second session")
        harness.wait_for(lambda: len(masters(proxy)) == 2, what="a second ssh")
        for _ in range(5):
            client.socks5(proxy.listener, "127.0.0.1", web.port).close()
        assert aws.stats()["StartSession"] == 2


def test_a_session_of_the_port_document_carries_several_masters(localaws, awsocks, sshd, serve, web):
    """Uploads the agent does not limit: another connection to sshd, and no other session."""
    sink = serve(lambda conn: [None for _ in iter(lambda: conn.recv(1 << 16), b"")])
    aws, proxy = start(localaws, awsocks, sshd, "--ssh-document", "port", "--sessions", "2")
    client.socks5(proxy.listener, "127.0.0.1", web.port).close()    # what comes while it starts may go directly
    over = threading.Event()

    def upload():
        with client.socks5(proxy.listener, "127.0.0.1", sink.port) as bulk:
            while not over.is_set():
                bulk.sendall(b"x" * 65_536)
    sender = threading.Thread(target=upload, daemon=True)
    sender.start()

    def another():
        client.socks5(proxy.listener, "127.0.0.1", web.port).close()
        return len(masters(proxy)) == 2
    harness.wait_for(another, what="a second ssh")
    harness.wait_for(lambda: [s["logged_in"] for s in proxy.status()["backends"][0]["sessions"]] == [True, True],
                     what="its login")
    over.set()
    sender.join(harness.LIMIT_S)
    assert len({s["id"] for s in proxy.status()["backends"][0]["sessions"]}) == 1
    assert aws.stats()["StartSession"] == 1
    assert proxy.stop() == 0
    aws.wait_sessions_open(0)


def test_downloads_get_a_session_of_their_own(localaws, awsocks, sshd, web):
    """By the port document too: what the agent sends on one session it limits."""
    aws, proxy = start(localaws, awsocks, sshd, "--ssh-document", "port", "--sessions", "2")
    client.socks5(proxy.listener, "127.0.0.1", web.port).close()
    with endless_download(proxy, web):
        def another():
            client.socks5(proxy.listener, "127.0.0.1", web.port).close()
            return aws.stats()["StartSession"] == 2
        harness.wait_for(another, what="a second session")


def test_a_master_that_follows_takes_the_session_that_is_there(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, "--ssh-document", "port")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    os.kill(masters(proxy)[0], signal.SIGKILL)
    harness.wait_for(lambda: "ssh ended" in proxy.log(), what="the end of ssh")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 1
    os.kill(masters(proxy)[0], signal.SIGKILL)
    harness.wait_for(lambda: proxy.log().count("ssh ended") == 2, what="the end of ssh")
    aws.wait_sessions_open(0)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2
    os.kill(masters(proxy)[0], signal.SIGKILL)
    harness.wait_for(lambda: proxy.log().count("ssh ended") == 3, what="the end of ssh")
    assert proxy.stop() == 0                          # while the session waits for the next
    aws.wait_sessions_open(0)


def test_many_connections_leave_nothing(localaws, awsocks, sshd, web):
    _, proxy = start(localaws, awsocks, sshd, "--sessions", "1")

    def some(n):
        for _ in range(n):
            with client.socks5(proxy.listener, "127.0.0.1", web.port) as s:
                s.sendall(b"GET /bytes/10 HTTP/1.0\r\n\r\n")
                assert client.read_to_end(s)
        harness.wait_for(lambda: proxy.status()["backends"][0]["sessions"][0]["channels"] == 0, what="all to end")
    some(20)
    before = len(proxy.descriptors())           # one more, perhaps: status' own is closed a moment later
    some(300)
    harness.wait_for(lambda: len(proxy.descriptors()) <= before, what="all descriptors to be closed")


def test_under_the_sandbox(localaws, awsocks, sshd, web, tmp_path):
    """ssh is started by the small process beside the proxy, and nothing stays when that is killed."""
    _, proxy = start(localaws, awsocks, sshd, key=False)
    if not proxy.status()["sandbox"]["seccomp"]:
        pytest.skip("no sandbox here")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    pid = masters(proxy)[0]
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        assert int(f.read().rsplit(")", 1)[1].split()[1]) in family(proxy) - {proxy.pid}
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
        words = f.read().split("\0")
    folder = os.path.dirname(next(w for w in words if w.startswith("ControlPath=")).split('"')[1])
    assert os.stat(folder).st_mode & 0o777 == 0o700
    os.kill(proxy.pid, signal.SIGKILL)
    harness.wait_for(lambda: not os.path.exists(folder), what="the directory to go")
    harness.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="ssh to end")


# --- when it goes wrong ---

def test_a_killed_master(localaws, awsocks, sshd, serve, web, tmp_path):
    held = serve(lambda conn: (conn.sendall(b"hello"), conn.recv(1)))
    aws, proxy = start(localaws, awsocks, sshd)
    s = client.socks5(proxy.listener, "127.0.0.1", held.port)
    assert client.read_exactly(s, 5) == b"hello"
    os.kill(masters(proxy)[0], signal.SIGKILL)
    with pytest.raises(ConnectionResetError):        # and not a clean end
        s.recv(1)
    s.close()
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2
    harness.wait_for(lambda: any("ssh" in line.get("error", "") for line in proxy.audit()), what="the audit line")
    # Its control socket ends first, and with it what it carried; its words may follow later.
    harness.wait_for(lambda: "ssh ended: " in proxy.log(), what="the end of ssh")


def test_a_session_that_is_gone(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, faults=["drop-ws-after-bytes=200000", "refuse-resume"])
    r = client.curl("--proxy", proxy.url(), f"http://127.0.0.1:{web.port}/bytes/2000000", check=False)
    assert r.returncode != 0 and len(r.stdout) < 2_000_000
    aws.faults("drop-ws-after-bytes=off")
    aws.faults("refuse-resume=off")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2
    harness.wait_for(lambda: any("session is gone" in line.get("error", "") for line in proxy.audit()),
                     what="the audit line")


def test_sshd_goes_away(localaws, awsocks, sshd, serve, web, tmp_path):
    held = serve(lambda conn: (conn.sendall(b"hello"), conn.recv(1)))
    aws, proxy = start(localaws, awsocks, sshd)
    with client.socks5(proxy.listener, "127.0.0.1", held.port) as s:
        assert client.read_exactly(s, 5) == b"hello"
        for pid in family(sshd) - {sshd.pid}:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2


def test_another_host_key_is_refused(localaws, awsocks, sshd, web, tmp_path):
    other = tmp_path / "other_key"
    harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other])
    public = (tmp_path / "other_key.pub").read_text().split()
    home = tmp_path / "pinned"
    (home / "awsocks").mkdir(parents=True)
    (home / "awsocks" / "known_hosts").write_text(f"i-0123456789abcdef0 {public[0]} {public[1]}\n")
    _, proxy = start(localaws, awsocks, sshd, env={"XDG_STATE_HOME": str(home)})
    r = client.curl("--proxy", proxy.url("http"), f"http://127.0.0.1:{web.port}/bytes/10", check=False)
    assert b"host key of i-0123456789abcdef0 is not the one seen first" in r.stdout
    assert b"ssh-keygen -R i-0123456789abcdef0" in r.stdout


def test_the_first_host_key_is_pinned(localaws, awsocks, sshd, web, tmp_path):
    _, proxy = start(localaws, awsocks, sshd)
    assert down(proxy, web, tmp_path, 10) == harness.pattern_digest(10)
    with open(os.path.join(proxy.env["XDG_STATE_HOME"], "awsocks", "known_hosts"), encoding="utf-8") as f:
        pinned = f.read().split()
    ours = (sshd.folder / "host_key.pub").read_text().split()
    assert pinned[:3] == ["i-0123456789abcdef0", *ours[:2]]


def test_a_key_that_sshd_does_not_know(localaws, awsocks, sshd, web, tmp_path):
    harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"])
    _, proxy = start(localaws, awsocks, sshd, "--ssh-key", str(tmp_path / "stranger"), key=False)
    r = client.curl("--proxy", proxy.url("http"), f"http://127.0.0.1:{web.port}/bytes/10", check=False)
    assert b"accepts none of our keys" in r.stdout


def test_no_sshd(localaws, awsocks, sshd, web):
    _, proxy = start(localaws, awsocks, sshd, port=harness.free_port())
    r = client.curl("--proxy", proxy.url("http"), f"http://127.0.0.1:{web.port}/bytes/10", check=False)
    assert b"no SSH server answers at port 22" in r.stdout


def test_what_is_not_sshd(localaws, awsocks, sshd, serve, web):
    chatter = serve(lambda conn: conn.sendall(b"220 mail.example.com ESMTP\r\n"))
    _, proxy = start(localaws, awsocks, sshd, port=chatter.port)
    r = client.curl("--proxy", proxy.url("http"), f"http://127.0.0.1:{web.port}/bytes/10", check=False)
    assert b"no SSH server answers" in r.stdout


# --- no key ---

def test_without_a_key_one_is_pushed(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, key=False)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["SendSSHPublicKey"] == 1
    private = [n for n in os.listdir(proxy.env["XDG_RUNTIME_DIR"]) if n.startswith("awsocks-")]
    files = os.listdir(os.path.join(proxy.env["XDG_RUNTIME_DIR"], private[0])) if private else []
    assert not [n for n in files if n.endswith(".k")]        # the private half is gone
    os.kill(masters(proxy)[0], signal.SIGKILL)
    assert harness.wait_for(lambda: not masters(proxy), what="ssh to end") is True
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["SendSSHPublicKey"] == 2


def test_an_instance_found_by_name(localaws, awsocks, sshd, web, tmp_path):
    """Its zone is known then, and goes along with the key."""
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}", "--authorized-keys",
                   str(sshd.folder / "pushed"))
    proxy = awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--route-default", "proxy", "--name", "demo",
                    aws=aws, target=False)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["SendSSHPublicKey"] == 1 and aws.stats()["DescribeInstances"] == 1


def test_when_a_key_may_not_be_pushed_the_agents_serve(localaws, awsocks, sshd, web, tmp_path):
    # ssh asks the password file for the home directory, and not $HOME
    if os.path.exists(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh", "config")):
        pytest.skip("this user's own ~/.ssh/config would count")
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}", "--fault", "refuse-key")
    agent = harness.run(["ssh-agent", "-s"]).stdout.decode()
    words = dict(w.strip().split("=", 1) for line in agent.splitlines() for w in line.split(";") if "=" in w)
    try:
        harness.run(["ssh-add", "-q", sshd.folder / "client_key"], env={**os.environ, **words})
        proxy = awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--route-default", "proxy", aws=aws,
                        env={"SSH_AUTH_SOCK": words["SSH_AUTH_SOCK"]})
        assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
        assert "does not take a key" in proxy.log()
    finally:
        os.kill(int(words["SSH_AGENT_PID"]), signal.SIGTERM)


# --- documents and auto ---

def test_port_forwarding_when_the_ssh_document_is_refused(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, faults=["refuse-ssh"])
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "AWS-StartSSHSession is refused" in proxy.log()
    assert aws.stats()["StartSession"] == 2


def test_the_port_document_by_setting(localaws, awsocks, sshd, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, "--ssh-document", "port", faults=["refuse-ssh"])
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert up(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 1


def test_auto_prefers_port_sessions_and_says_so(localaws, awsocks, sshd, web, tmp_path):
    _, proxy = start(localaws, awsocks, sshd, transport="auto")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "transport port: " in proxy.log()
    assert not masters(proxy)
    assert proxy.status()["backends"][0]["transport"] == "port"


@pytest.mark.parametrize("what", ["document", "agent"])
def test_auto_takes_ssh_when_port_sessions_do_not_serve(localaws, awsocks, sshd, web, tmp_path, what):
    faults = ["refuse-remote-host"] if what == "document" else []
    emulator = ("--agent-version", "3.0.100.0") if what == "agent" else ()
    _, proxy = start(localaws, awsocks, sshd, transport="auto", faults=faults, emulator=emulator)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "transport ssh, because " in proxy.log()
    assert proxy.status()["backends"][0]["transport"] == "ssh"


def test_auto_takes_ssh_for_more_hosts_than_sessions(localaws, awsocks, sshd, serve, web, tmp_path):
    held = serve(lambda conn: (conn.sendall(b"hello"), conn.recv(1)))
    _, proxy = start(localaws, awsocks, sshd, "--sessions-total", "1", transport="auto")
    with client.socks5(proxy.listener, "127.0.0.1", held.port) as s:
        assert client.read_exactly(s, 5) == b"hello"
        assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
        assert "more hosts go by SSH" in proxy.log()
        assert len(masters(proxy)) == 1


def test_auto_without_sshd_says_what_is_short(localaws, awsocks, sshd, serve):
    held = serve(lambda conn: (conn.sendall(b"hello"), conn.recv(1)))
    _, proxy = start(localaws, awsocks, sshd, "--sessions-total", "1", "--connect-timeout", "8s", transport="auto",
                     port=harness.free_port())
    with client.socks5(proxy.listener, "127.0.0.1", held.port) as s:
        assert client.read_exactly(s, 5) == b"hello"

        def said():
            return client.curl("--proxy", proxy.url("http"), f"http://127.0.0.2:{held.port}/", check=False).stdout
        assert b"no SSH server answers" in said()
        # For a second or two SSH is not tried again, and ever longer: who comes later is told the same once more.
        harness.wait_for(lambda: b"all 1 are in use by other hosts" in said(), what="the other cause")
        s.sendall(b"x")                # and who is there goes on
        assert client.read_to_end(s) == b""


# --- awsocks connect i-... 22: ssh, scp and rsync by themselves ---

INSTANCE = "i-0123456789abcdef0"


@pytest.fixture
def login(localaws, sshd, tmp_path):
    """login(*faults) -> (emulator, environment, the start of an ssh command line)."""
    def make(*faults):
        aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}", *[x for f in faults for x in ("--fault", f)])
        home = tmp_path / "user"
        home.mkdir()
        env = {**clean_environment(home), **aws.env()}
        words = ["-F", "none", "-i", str(sshd.folder / "client_key"), "-o", "BatchMode=yes", "-o",
                 "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-o",
                 f"UserKnownHostsFile={tmp_path}/hosts", "-o",
                 f"ProxyCommand={harness.program('awsocks')} connect %h %p"]
        return aws, env, words
    return make


def test_connect_serves_ssh(login, sshd):
    aws, env, words = login()
    r = harness.run(["ssh", *words, f"{sshd.user}@{INSTANCE}", "cat; echo; echo $SSH_CONNECTION"], env=env,
                    input=b"x" * 200_000)
    assert r.stdout.startswith(b"x" * 200_000 + b"\n")
    aws.wait_sessions_open(0)
    assert aws.stats()["StartSession"] == 1


def test_connect_waits_for_an_instance_that_is_not_connected_yet(login, sshd):
    aws, env, words = login("not-connected=2")
    assert harness.run(["ssh", *words, f"{sshd.user}@{INSTANCE}", "echo here"], env=env).stdout == b"here\n"
    assert aws.stats()["StartSession"] == 3


def test_an_instance_that_is_not_connected_yet(localaws, awsocks, sshd, web, tmp_path):
    _, proxy = start(localaws, awsocks, sshd, faults=["not-connected=2"])
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "not connected yet" in proxy.log()


def test_connect_serves_scp_and_rsync(login, sshd, tmp_path):
    _, env, words = login()
    source = harness.pattern_file(tmp_path / "source", SIZE)
    harness.run(["scp", "-q", *words, source, f"{sshd.user}@{INSTANCE}:{tmp_path}/copied"], env=env)
    assert harness.file_digest(tmp_path / "copied") == harness.pattern_digest(SIZE)
    harness.run(["scp", "-q", *words, f"{sshd.user}@{INSTANCE}:{source}", tmp_path / "fetched"], env=env)
    assert harness.file_digest(tmp_path / "fetched") == harness.pattern_digest(SIZE)
    if not shutil.which("rsync"):
        pytest.skip("no rsync here")
    harness.run(["rsync", "-e", shlex.join(["ssh", *words]), f"{sshd.user}@{INSTANCE}:{source}", tmp_path / "synced"],
                env=env)
    assert harness.file_digest(tmp_path / "synced") == harness.pattern_digest(SIZE)


def test_connect_by_the_other_document(login, sshd):
    _, env, words = login("refuse-ssh")
    assert harness.run(["ssh", *words, f"{sshd.user}@{INSTANCE}", "echo here"], env=env).stdout == b"here\n"


def test_connect_standalone_by_ssh(localaws, sshd, web, tmp_path):
    """To another host, through the instance, in one process that starts an ssh for itself."""
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    env = {**clean_environment(tmp_path), **aws.env()}
    r = harness.run([harness.program("awsocks"), "connect", "--standalone", "--transport", "ssh", "--ssh-user",
                     sshd.user, "--ssh-key", sshd.folder / "client_key", "--instance-id", INSTANCE,
                     "--route-default", "proxy", "127.0.0.1", web.port], env=env,
                    input=b"GET /bytes/10 HTTP/1.0\r\n\r\n")
    assert r.stdout.startswith(b"HTTP/1")
    aws.wait_sessions_open(0)


def test_connect_to_a_port_where_nobody_is(localaws, tmp_path):
    aws = localaws()
    env = {**clean_environment(tmp_path), **aws.env()}
    r = harness.run([harness.program("awsocks"), "connect", INSTANCE, harness.free_port()], env=env, check=False)
    assert r.returncode == 69
    assert b"nothing answers at port" in r.stderr


def test_connect_to_an_instance_that_is_not_there(localaws, tmp_path):
    aws = localaws()
    env = {**clean_environment(tmp_path), **aws.env()}
    r = harness.run([harness.program("awsocks"), "connect", "--connect-timeout", "5s", "i-0fedcba9876543210",
                     "22"], env=env, check=False)
    assert r.returncode == 69
    assert b"not connected" in r.stderr
