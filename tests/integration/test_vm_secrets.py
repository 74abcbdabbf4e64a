"""No key, token or signature crosses the link to the VM: everything that went over it is searched for all of them.

A man in the middle, whose authority awsocks trusts for this test, stands before the emulator and writes down what TLS
hid, so that the test knows every secret of the session and that it was really used.
"""
import base64
import contextlib
import glob
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.parse

import pytest

import client
import harness
import vm_world
from conftest import REGION, Authority
from test_upstream_proxy import relay
from vm_world import ECHO, NET, SITE, VPC

PIECE = 16          # of a secret, at least, is what counts: a frame's head may stand in the middle of it
HOSTS = [*vm_world.AWS, f"portal.sso.{REGION}.amazonaws.com", f"oidc.{REGION}.amazonaws.com"]
# What HTTP and JSON call them, in what the man in the middle sees.
TOLD = [rb'"(?:TokenValue|accessToken|refreshToken|clientSecret|idToken|secretAccessKey|sessionToken|deviceCode)"'
        rb'\s*:\s*"([^"]{12,})"',
        rb"<(?:SecretAccessKey|SessionToken)>([^<]{12,})<", rb"(?i)x-amz-security-token: ([^\r]{12,})",
        rb"(?i)x-amz-sso_bearer_token: ([^\r]{12,})", rb"(?i)authorization: [^\r]*Signature=([0-9a-f]{64})",
        rb"(?i)sec-websocket-key: ([^\r]{12,})"]
CONFIG = (f"[profile corp]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Dev\nregion = {REGION}\n"
          f"[sso-session corp]\nsso_start_url = https://old.awsapps.com/start\nsso_region = {REGION}\n"
          f"[profile role]\nrole_arn = arn:aws:iam::123456789012:role/One\nsource_profile = user\nregion = {REGION}\n")


class Middle(vm_world.Listener):
    """TLS of its own to those who come, and what they say in clear to the emulator. .seen has all of it."""

    def __init__(self, listening, context, upstream):
        self.context, self.upstream, self.seen = context, upstream, []
        super().__init__(listening)

    def serve(self, s):
        up, down = bytearray(), bytearray()
        self.seen += [up, down]
        with contextlib.suppress(OSError), self.context.wrap_socket(s, server_side=True) as near, \
                socket.socket(socket.AF_UNIX) as far:
            far.connect(self.upstream)
            near.setblocking(False)
            far.setblocking(False)
            relay(near, far, up, down)

    def secrets(self):
        """Every text that has one of the names of TOLD."""
        return {m for one in self.seen for pattern in TOLD for m in re.findall(pattern, bytes(one))}


class Aws(vm_world.harness.Process):
    """The emulator in `net`, in clear at a socket, and the man in the middle at the names of AWS."""

    def __init__(self, world):
        folder = world.new_folder("middle")
        authority = Authority(pathlib.Path(folder) / "authority")
        vm_world.give_away(folder)
        ready, self.ca, door = os.path.join(folder, "ready.json"), authority.ca, os.path.join(folder, "door")
        super().__init__([*world.net.wrap, world.program("awsocks-localaws"), "--listen", "127.0.0.1:0",
                          "--ready-file", ready, "--resolve", f"{VPC}=127.0.0.1"], folder, "localaws")
        self.ready = self.wait_for(lambda: harness.read_json(ready), what="the emulator")
        self.endpoint = self.ready["endpoint"]
        self.door = world.net.popen([world.program("awsocks-bridge"), "bridge", "--listen", f"unix:{door}", "--to",
                                     self.endpoint.removeprefix("http://")])
        harness.wait_for(lambda: os.path.exists(door), what="the emulator's door")
        self.world = world
        world.dns.names.update({name: [NET] for name in HOSTS})
        self.middle = Middle(world.net.listening("tcp", NET, 443), authority.context(*HOSTS), door)

    def env(self):
        return {"AWS_CA_BUNDLE": vm_world.readable(self.ca), "AWS_REGION": REGION}

    def keys(self):
        return {"AWS_ACCESS_KEY_ID": self.ready["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": self.ready["secret_access_key"]}

    def close(self):
        self.middle.stop()
        self.kill()
        self.door.kill()
        self.door.wait(10)


def forms(secret):
    """As it is, in hexadecimal, and in base64 wherever it begins within a group of three."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield urllib.parse.quote_from_bytes(secret, safe="").encode()
    yield secret.decode("latin-1").encode("utf-16-le")
    for skip in range(3):
        text = base64.b64encode(b"\0" * skip + secret)
        yield text[4 if skip else 0:len(text) - 4]       # without what depends on the neighbours
    try:
        yield base64.b64decode(secret, validate=True)
    except ValueError:
        pass


def found(secrets, data):
    """Those of which a piece is in there, in any form."""
    out = set()
    for secret in secrets:
        for form in forms(secret):
            pieces = [form[i:i + PIECE] for i in range(0, max(1, len(form) - PIECE + 1), PIECE // 2)]
            if any(len(p) >= 12 and p in data for p in pieces):
                out.add(secret)
    return out


def test_the_search_finds_what_is_there():
    secret, other = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"another secret of forty bytes, not in it"
    for form in forms(secret):
        for before in (b"", b"a", b"ab"):
            assert found({secret, other}, b"\0" * 3 + before + form + b"xyz") == {secret}
    for skip in range(5):
        text = base64.b64encode(b"x" * skip + secret + b"and more of it")
        assert found({secret, other}, text) == {secret}
    cut = secret[:19] + b"\x30\0\x01\0\0\0\0\x07" + secret[19:]
    assert found({secret, other}, cut) == {secret}


@pytest.fixture(params=["process", pytest.param("qemu", marks=pytest.mark.nosan)])
def world(request):
    if vm_world.why_not(request.param):
        pytest.skip(vm_world.why_not(request.param))
    with vm_world.World() as one:
        one.driver = request.param
        yield one


@pytest.fixture
def aws(world):
    one = Aws(world)
    yield one
    one.close()


def sign_in(aws, home):
    """`awsocks login`, beside the emulator, into the files of that home; its secrets."""
    env = {**{k: v for k, v in os.environ.items() if not k.startswith(("AWS", "XDG_"))}, "HOME": home,
           "AWS_ENDPOINT_URL": aws.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    p = aws.world.net.popen([aws.world.program("awsocks"), "login", "corp"], env=env, cwd=home, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ""
    for line in p.stdout:
        said += line
        code = re.search(r"http\S+user_code=(\S+)", line)
        if code:
            aws.world.net.run(["curl", "-q", "-sS", "--fail", "-d", f"user_code={code[1]}", "-d", "action=approve",
                               f"{aws.endpoint}/_localaws/device"])
    assert p.wait(harness.LIMIT_S) == 0, said
    known = set()
    for path in glob.glob(os.path.join(home, ".aws", "sso", "cache", "*.json")):
        token = harness.read_json(path)
        known |= {token[k].encode() for k in ("accessToken", "refreshToken", "clientSecret") if token.get(k)}
        token["expiresAt"] = "2020-01-01T00:00:00Z"         # so that it has to be renewed
        with open(path, "w", encoding="utf-8") as f:
            json.dump(token, f)
    assert len(known) >= 3
    return known


def environment(aws, kind, home):
    """(environment, secrets that are known before)"""
    keys = aws.keys()
    secret = keys["AWS_SECRET_ACCESS_KEY"]
    if kind == "keys":
        return keys, {secret.encode()}
    folder = os.path.join(home, ".aws")
    os.makedirs(folder)
    with open(os.path.join(folder, "config"), "w", encoding="utf-8") as f:
        f.write(CONFIG)
    with open(os.path.join(folder, "credentials"), "w", encoding="utf-8") as f:
        f.write(f"[user]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {secret}\n")
    vm_world.give_away(home)
    if kind == "role":
        return {"AWS_PROFILE": "role"}, {secret.encode()}
    known = sign_in(aws, home)
    vm_world.give_away(home)
    return {"AWS_PROFILE": "corp"}, known


@pytest.mark.parametrize("kind", ["keys", "role", "sso"])
def test_no_secret_crosses_the_link(world, aws, kind):
    home = world.new_folder("home")
    own, known = environment(aws, kind, home)
    capture = os.path.join(home, "capture")
    vm_world.give_away(home)
    files = {"AWS_CONFIG_FILE": f"{home}/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": f"{home}/.aws/credentials"}
    proxy = world.awsocks("--route-default", "vm-direct", "--route-proxy", VPC, "--vm-capture", capture,
                          "--log-level", "debug", driver=world.driver, aws=aws, env={**own, **files, "HOME": home})
    vm_world.running(proxy)
    assert vm_world.fetch(proxy.plain, world.new_folder("got"), 300_000, VPC, 8080) == harness.pattern_digest(300_000)
    mark = b"what a client says in clear is in the capture"
    with client.socks5(proxy.plain, NET, ECHO) as s:
        s.sendall(mark)
        assert client.read_exactly(s, len(mark)) == mark
    assert vm_world.fetch(proxy.plain, world.new_folder("got"), 100_000, SITE) == harness.pattern_digest(100_000)
    assert proxy.stop() == 0, proxy.log()
    proxy.check_clean()
    with open(capture, "rb") as f:
        crossed = f.read()
    assert found({mark}, crossed) == {mark} and len(crossed) > 400_000
    secrets = known | aws.middle.secrets()
    plain = b"\n".join(bytes(one) for one in aws.middle.seen)
    assert b"StartSession" in plain and re.search(rb'"TokenValue"', plain)
    assert {"keys": b"AmazonSSM.StartSession", "role": b"AssumeRole", "sso": b"x-amz-sso_bearer_token"}[kind].lower() \
        in plain.lower()
    assert len(secrets) >= {"keys": 4, "role": 6, "sso": 8}[kind], secrets
    assert found(secrets, crossed) == set()
    # The search can find them: it does where they were in clear.
    assert len(found(secrets, plain)) >= len(secrets) - len(known)
