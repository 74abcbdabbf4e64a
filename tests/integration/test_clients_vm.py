"""Every client that is installed fetches through the proxy, from a VM (netns.py) that has nothing but its gateway, and
from a sandbox that has nothing but a socket's directory; with `eval "$(awsocks env)"` or `awsocks exec`, and no word
more.
"""
import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile

import pytest

import clients
import harness
import internet
import netns
from conftest import Awsocks, clean_environment
from test_bwrap_args import BASE, needs_bridge, works

pytestmark = [pytest.mark.skipif(not netns.available(), reason="no namespaces here"), pytest.mark.timeout(600)]
GATEWAY = f"{netns.GATEWAY}:1080"
# What the caller may have set for these clients.
OWN = re.compile("JAVA_|GIT_|NODE_|NPM_|npm_|PIP_|SSL_|CURL_|REQUESTS_|GO[A-Z]+|CARGO_|.*CA_BUNDLE|.*CERT")
# To the proxy they are what another one is: with plain builds only, and those at the end in the VM only.
ALIKE = ("java", "pip", "requests", "urllib", "apt", "botocore", "go", "cargo", "httpx", "node 24")
NAMES = [pytest.param(n, marks=pytest.mark.nosan if n in ALIKE else ()) for n in clients.BY_NAME]
MUST = [n for n in NAMES if n.values[0] not in ALIKE[5:]]


class Place:
    """A world with a proxy on its host, and its internet."""

    def __init__(self, folder):
        self.folder = folder
        self.end = contextlib.ExitStack()
        self.world = self.end.enter_context(netns.World(folder))
        self.net = internet.Internet(folder / "net", self.world.net)
        self.end.callback(self.net.stop)
        self.world.host.hosts(self.net.names)
        home = folder / "awsocks"
        (home / "audit").mkdir(parents=True)
        config = folder / "awsocks.yaml"
        config.write_text("listeners:\n"
                          f"  - {{ address: '{GATEWAY}', allow-from: ['192.168.64.0/24'], name: cal }}\n"
                          f"  - {{ address: 'unix:{folder}/box/proxy.sock', name: box }}\n")
        self.proxy = Awsocks(home, ["start", "--config", config, "--route-default", "direct", "--grace", "200ms",
                                    "--audit-log", home / "audit" / "audit.jsonl"],
                             {**clean_environment(home), "AWS_REGION": "eu-central-1"}, self.world.host.wrap)
        self.end.callback(self.proxy.kill)
        self.homes = 0

    def home(self):
        self.homes += 1
        path = self.folder / f"home{self.homes}"
        path.mkdir()
        return str(path)

    def environment(self, client, context):
        env = {k: v for k, v in clean_environment(context.home).items() if not OWN.match(k)}
        return {**env, **client.env(context)}

    def run(self, client, how, scheme):
        """What a client says, run one of HOW."""
        context = clients.Context(self.home(), self.net, scheme)
        argv, env = client.argv(context), self.environment(client, context)
        return subprocess.run(HOW[how](self, argv, context.home), env=env, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, cwd=context.home)


def with_env(place, argv, _home):
    text = f'eval "$({harness.program("awsocks")} env --shell sh --to {GATEWAY})"; exec "$@"'
    return [*place.world.vm.wrap, "sh", "-c", text, "sh", *argv]


def with_exec(place, argv, _home):
    return [*place.world.vm.wrap, harness.program("awsocks"), "exec", "--to", GATEWAY, "--", *argv]


def in_sandbox(place, argv, home):
    control = place.proxy.ready["control"]
    text = (f"exec {shlex.join(BASE)} --tmpfs /run --tmpfs /tmp --bind {home} {home} "
            f"$({harness.program('awsocks')} bwrap-args --control {control} --listener box --bridge) \"$@\"")
    return ["sh", "-c", text, "sh", *argv]


def variables():
    """What awsocks env gives in the VM, besides what is merged with the user's own."""
    r = harness.run([harness.program("awsocks"), "env", "--shell", "json", "--to", GATEWAY])
    return json.loads(r.stdout)


HOW = {"env": with_env, "exec": with_exec, "sandbox": in_sandbox}


@pytest.fixture(scope="module")
def place():
    # Not below /tmp, which a sandbox has of its own; and short, for the sockets in it.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="awsocks-") as folder:
        p = Place(pathlib.Path(folder))
        with p.end:
            yield p
            assert p.proxy.stop() == 0, p.proxy.log()
            p.proxy.check_clean()


def check(place, name, how):
    client = clients.BY_NAME[name]
    missing = client.missing()
    if missing:
        pytest.skip(f"{missing} is not installed")
    scheme = client.schemes[0]
    r = place.run(client, how, scheme)
    limit = client.limit(client.installed_version())
    if limit:
        assert r.returncode != 0, f"{name} {client.installed_version()} works, though {limit}"
        return
    said = r.stdout[-3000:].decode("utf-8", "replace")
    assert r.returncode == 0 and client.says in r.stdout, f"status {r.returncode}: {said}"


def documented():
    """{client: its row} of the first table of docs/CLIENTS.md, each a dict by column."""
    with open(os.path.join(harness.TREE, "docs", "CLIENTS.md"), encoding="utf-8") as f:
        body = f.read().split("<!-- variables -->\n")[1].split("<!-- /variables -->")[0]
    lines = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in body.splitlines()]
    return {cells[0]: dict(zip(lines[0], cells)) for cells in lines[2:]}


@pytest.mark.parametrize("name", clients.BY_NAME)
def test_the_documented_result(name):
    """What check() demands of the installed version is what docs/CLIENTS.md says of the measured one."""
    row = documented()[name]
    reason = clients.BY_NAME[name].limit(row["version"])
    assert row["`awsocks env`"] == (f"no: {reason}" if reason else "yes")
    assert all(cell in ("yes", "no", "local DNS") or cell.startswith("error") for cell in list(row.values())[2:-1])


def test_no_other_client_is_documented():
    assert list(documented()) == list(clients.BY_NAME)


@pytest.mark.parametrize("name", NAMES)
def test_in_the_vm(place, name):
    check(place, name, "exec" if name in ("wget", "requests", "go") else "env")


@needs_bridge
@pytest.mark.skipif(not works(), reason="bubblewrap does not run here")
@pytest.mark.parametrize("name", MUST)
def test_in_the_sandbox(place, name):
    check(place, name, "sandbox")
