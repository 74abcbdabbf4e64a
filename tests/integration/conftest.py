"""Fixtures for the integration tests. `make test` runs them against build/ and
build-san/ ($AWSOCKS_BUILD); `pytest tests/integration -k NAME` runs a few.

    localaws(...)  the emulator, its environment and counters
    awsocks(...)   the proxy, told to use an emulator (or none)
    web            a web server with known answers; web_tls: the same over TLS
    counter        a listener that counts who connects
    sshd           a real OpenSSH server on a loopback port

The first two are factories: call them as often as needed, with options. What
they started is stopped afterwards, and must then have ended cleanly.
"""
import collections
import contextlib
import getpass
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request

import pytest

import harness
import web as web_server

REGION = "eu-central-1"
INSTANCE = "i-0123456789abcdef0"


def pytest_configure(config):
    config.addinivalue_line("markers", "long: full-size; `make test-long` runs these")
    config.addinivalue_line("markers", "nosan: makes no sense under sanitizers")


@pytest.hookimpl(trylast=True)     # after -m and -k
def pytest_collection_modifyitems(items):
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900 if item.get_closest_marker("long") else 180))
    # The longest begin first, each in a process of its own (xdist begins with two tests for each).
    soaks = [item for item in items if "test_soak[" in item.nodeid]
    others = [item for item in items if item not in soaks]
    pairs = itertools.zip_longest(soaks, others[:len(soaks)])
    items[:] = [item for pair in pairs for item in pair if item] + others[len(soaks):]


@pytest.fixture
def processes():
    """Anything appended here is killed when the test ends, however it ends."""
    started = []
    yield started
    for p in reversed(started):
        p.kill()


def clean_environment(home):
    """An environment of its own: no proxy or AWS settings of the caller's, HOME and XDG in `home`."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("AWS", "XDG_", "SSH_")) and "proxy" not in k.lower()}
    env["HOME"] = str(home)
    env["AWS_EC2_METADATA_DISABLED"] = "true"       # its address is not of this machine
    for name, folder in (("CONFIG_HOME", "config"), ("STATE_HOME", "state"), ("RUNTIME_DIR", "run"),
                         ("CACHE_HOME", "cache")):
        path = os.path.join(str(home), folder)
        os.makedirs(path, mode=0o700, exist_ok=True)
        env[f"XDG_{name}"] = path
    # LeakSanitizer looks on from a process of its own (fork, ptrace); and only root can read
    # /proc/PID of a process that makes no core dumps. test_fence.py switches it on again.
    if harness.SANITIZED or os.geteuid() != 0:
        env["AWSOCKS_SANDBOX"] = "false"
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("TSAN_OPTIONS", "report_thread_leaks=0")     # a second SIGTERM ends without joining
    return env


class LocalAws(harness.Process):
    """A running emulator."""

    def __init__(self, folder, options, env):
        ready = os.path.join(str(folder), "localaws.json")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ready)
        super().__init__([harness.program("awsocks-localaws"), "--listen", "127.0.0.1:0", "--ready-file", ready,
                          *options], folder, "localaws", env)
        self.ready = self.wait_for(lambda: harness.read_json(ready), what="the emulator")
        self.endpoint = self.ready["endpoint"]

    def env(self):
        """What a client of AWS exports to use it."""
        out = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": self.ready["access_key_id"],
               "AWS_SECRET_ACCESS_KEY": self.ready["secret_access_key"], "AWS_REGION": REGION}
        if self.ready.get("ca"):
            out["AWS_CA_BUNDLE"] = self.ready["ca"]
        return out

    def open(self, path, data=None):
        context = ssl.create_default_context(cafile=self.ready["ca"]) if self.ready.get("ca") else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=context))
        with opener.open(self.endpoint + path, data, timeout=harness.LIMIT_S) as r:
            return r.read()

    def stats(self):
        """Counters, flat; a missing one counts 0. API calls are under their operation's name."""
        answer = json.loads(self.open("/_localaws/stats"))
        flat = collections.Counter()

        def add(node):
            for k, v in node.items():
                if isinstance(v, dict):
                    if isinstance(v.get("calls"), int):
                        flat[k] = v["calls"]
                    else:
                        add(v)
                elif isinstance(v, int):
                    flat[k] = v
        add(answer)
        return flat

    def wait_sessions_open(self, n):
        """The agent acknowledges a terminate flag before it ends the session: who was told may be gone already."""
        harness.wait_for(lambda: self.stats()["sessions_open"] == n, what=f"{n} open sessions")

    def faults(self, text):
        """Faults at run time, as --fault takes them."""
        return self.open("/_localaws/faults", text.encode())


def listener_of(address):
    """What client.dial() takes: "127.0.0.1:1080", "[::1]:1080" or a socket's path."""
    if address.startswith(("unix:", "/")):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Awsocks(harness.Process):
    """A running proxy. `listener` is its first one, as (host, port) or a socket's path."""

    def __init__(self, folder, options, env, wrap=(), cwd=None):
        # not in `folder`, its HOME: all of that would be writable inside the fence
        ready = os.path.join(str(folder), "ready", "ready.json")
        os.makedirs(os.path.dirname(ready), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ready)
        super().__init__([*wrap, harness.program("awsocks"), *options, "--ready-file", ready], folder, "awsocks",
                         env, cwd or folder)
        self.env = env
        slow = 4 if wrap and "valgrind" in wrap[0] else 1
        self.ready = self.wait_for(lambda: harness.read_json(ready), slow * harness.LIMIT_S, "the proxy")
        self.cpu_at_ready_s = self.cpu_s()
        self.listeners = {one["name"]: one for one in self.ready["listeners"]}
        self.address = self.ready["listeners"][0]["address"]
        self.listener = listener_of(self.address)

    def url(self, scheme="socks5h"):
        return f"{scheme}://{self.address}"

    def status(self):
        r = harness.run([harness.program("awsocks"), "status", "--json"], env=self.env)
        return json.loads(r.stdout)

    def settled_descriptors(self):
        """How many are open, once that has not changed for a while."""
        seen = []

        def quiet():
            seen.append(len(self.descriptors()))
            return len(seen) > 5 and len(set(seen[-5:])) == 1
        harness.wait_for(quiet, what="the descriptors to settle")
        return seen[-1]

    def gives_back(self, traffic):
        """All descriptors of traffic() come back: after one of four rounds no more are open than before it. A busy
        machine may want one more session, once; what is lost is lost each time."""
        held = [self.settled_descriptors()]
        for _ in range(4):
            traffic()
            held.append(self.settled_descriptors())
            try:
                harness.wait_for(lambda: len(self.descriptors()) <= held[-2], limit_s=10)
                return
            except harness.Failed:
                pass
        self.fail(f"holds more and more descriptors: {held}")

    def audit(self):
        """The lines of the audit log so far."""
        with open(os.path.join(self.env["HOME"], "audit", "audit.jsonl"), encoding="utf-8") as f:
            return [json.loads(line) for line in f if line.endswith("\n")]


@pytest.fixture
def localaws(tmp_path, processes):
    """localaws("--resolve", "api.internal.example=127.0.0.1", ...) -> LocalAws"""
    started = []

    def start(*options):
        folder = tmp_path / f"localaws{len(started) or ''}"
        folder.mkdir()
        p = LocalAws(folder, options, clean_environment(folder))
        started.append(p)
        processes.append(p)
        return p
    yield start
    for p in started:
        if p.running():
            assert p.stop() == 0, p.log()
        p.check_clean()


@pytest.fixture
def role(tmp_path):
    """An environment in which the credentials are those of an assumed role: temporary."""
    def make(aws):
        credentials, config = tmp_path / "credentials", tmp_path / "config"
        own = aws.env()
        credentials.write_text(f"[user]\naws_access_key_id = {own['AWS_ACCESS_KEY_ID']}\n"
                               f"aws_secret_access_key = {own['AWS_SECRET_ACCESS_KEY']}\n")
        config.write_text("[profile role]\nrole_arn = arn:aws:iam::123456789012:role/One\nsource_profile = user\n")
        return {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": REGION, "AWS_PROFILE": "role",
                "AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(config),
                "AWS_EC2_METADATA_DISABLED": "true"}
    return make


@pytest.fixture
def awsocks(tmp_path, processes, localaws):         # which so ends later: a proxy without its AWS takes long to end
    """awsocks("--route-default", "proxy", aws=a_localaws) -> Awsocks. Without aws it has no credentials.
    Keywords: env (more variables), listen, audit (False: no audit log), target (False: no --instance-id),
    wrap (a command before it), cwd."""
    started = []

    def start(*options, aws=None, env=None, listen="127.0.0.1:0", audit=True, target=True, wrap=(), cwd=None):
        home = tmp_path / f"awsocks{len(started) or ''}"
        home.mkdir()
        settings = clean_environment(home)
        settings.update(aws.env() if aws else {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION})
        settings.update(env or {})
        argv = ["start", *options]
        if listen:
            argv += ["--listen", listen]
        if audit:
            (home / "audit").mkdir()        # see Awsocks about HOME
            argv += ["--audit-log", str(home / "audit" / "audit.jsonl")]
        if aws and target:
            argv += ["--instance-id", INSTANCE]
        if "--grace" not in options:       # kept-alive streams would hold every test's end for 5 s
            argv += ["--grace", "200ms"]
        p = Awsocks(home, argv, settings, wrap, cwd)
        started.append(p)
        processes.append(p)
        return p
    yield start
    for p in started:
        if p.running():
            assert p.stop() == 0, p.log()
        p.check_clean()


@pytest.fixture
def web(tmp_path):
    server = web_server.WebServer(repositories=tmp_path / "repositories")
    yield server
    server.stop()


@pytest.fixture
def authority(tmp_path):
    """A CA of the test's own: .ca is its file, .context(name...) a server's TLS context."""
    ca = Authority(tmp_path / "authority")
    return ca


class Authority:
    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.ca = str(folder / "ca.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")

    def openssl(self, *args):
        harness.run(["openssl", *args], cwd=self.folder)

    def context(self, *names):
        """A server's context for these DNS names (or IP:ADDR)."""
        alt = ",".join(n if n.startswith("IP:") else f"DNS:{n}" for n in names)
        (self.folder / "ext").write_text(f"subjectAltName={alt}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                     "/CN=test", "-keyout", "server.key", "-out", "server.csr")
        self.openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "2", "-extfile", "ext", "-out", "server.pem")     # with server.key
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context


@pytest.fixture
def web_tls(authority):
    server = web_server.WebServer(context=authority.context("secure.internal.example", "localhost"))
    yield server
    server.stop()


@pytest.fixture
def closed_port():
    """A port at which nobody listens: bound, so that nobody else gets it while the test runs."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


@pytest.fixture
def counter():
    server = web_server.Counter()
    yield server
    server.stop()


class Repository:
    """A bare git repository that `web` serves as /git/NAME."""

    def __init__(self, folder, name="project.git"):
        self.name = name
        self.work = folder / "work"
        self.bare = folder / "repositories" / name
        self.work.mkdir()
        self.bare.parent.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")
        for i in range(20):
            (self.work / f"file{i}").write_bytes(b"".join(harness.pattern(1000 * i + i)))
        self.git("add", ".")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "one")
        harness.run(["git", "clone", "-q", "--bare", self.work, self.bare])

    def git(self, *args):
        return harness.run(["git", "-C", self.work, *args])

    def same_as(self, clone):
        """The same commit, and a clone that git finds whole."""
        harness.run(["git", "-C", clone, "fsck", "--full"])
        ours, theirs = (harness.run(["git", "-C", d, "rev-parse", "HEAD^{tree}"]).stdout for d in (self.work, clone))
        return ours == theirs and harness.run(["git", "-C", clone, "status", "--porcelain"]).stdout == b""


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


SSHD_CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub {folder}/pushed
TrustedUserCAKeys {folder}/user_ca.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""


class Sshd(harness.Process):
    """OpenSSH's server; .client(...) is the start of an ssh command line for it."""

    def __init__(self, folder):
        self.folder = folder
        self.user = getpass.getuser()
        for name in ("host_key", "client_key"):
            harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)      # its privilege separation folder
        config = folder / "sshd_config"
        for _ in range(10):         # it takes no port of its own choice, and others may take ours before it does
            self.port = harness.free_port()
            config.write_text(SSHD_CONFIG.format(port=self.port, folder=folder))
            super().__init__([shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin"), "-D", "-e", "-f", config], folder,
                             "sshd")
            harness.wait_for(lambda: "Server listening" in self.log() or not self.running(), what="sshd")
            if self.running():
                return
        self.fail("found no port")

    def client(self, *options):
        return ["ssh", "-F", "none", "-i", str(self.folder / "client_key"), "-o", "BatchMode=yes", "-o",
                "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-o",
                f"UserKnownHostsFile={self.folder}/known_hosts", "-l", self.user, "-p", str(self.port), *options]


@pytest.fixture
def sshd(tmp_path, processes):
    if not shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin"):
        pytest.skip("no sshd here (make setup installs it)")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    try:
        server = Sshd(folder)
    except (OSError, subprocess.SubprocessError) as e:
        pytest.skip(f"sshd does not run here: {e}")
    processes.append(server)
    return server
