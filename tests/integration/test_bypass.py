"""tests/bypass: every published way round a sandbox's proxy that we know of, and some of our own."""
import glob
import importlib.util
import os

import bypass
import netns
import pytest

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bypass")
CASES = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(FOLDER, "[0-9]*.py")))

pytestmark = pytest.mark.skipif(not netns.available(), reason="no namespaces here")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = bypass.World(tmp_path_factory.mktemp("bypass"))
    yield w
    status = w.proxy.stop()
    w.proxy.check_clean()
    w.close()
    assert status == 0, w.proxy.log()


@pytest.mark.parametrize("name", CASES)
def test_bypass(world, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(FOLDER, f"{name}.py"))
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    t = bypass.Try(world)
    case.attempt(t)
    t.check()


def test_a_bridge_that_leads_out_is_no_vm_network(world):
    """With a card (here: a tunnel) among its ports, a bridge's network is the outside's; without it, a VM's again."""
    host = world.net.host
    if host.run(["ip", "link", "add", "vx8", "type", "vxlan", "id", "8", "dstport", "4789"], check=False).returncode:
        pytest.skip("no device of that kind here")
    for words in ("link add br8 type bridge", "link set vx8 master br8", "link set br8 up", "link set vx8 up",
                  "address add 10.8.0.1/24 dev br8", "neigh add 10.8.0.5 lladdr 02:00:00:00:00:05 dev br8",
                  "tuntap add dev tap7 mode tap", "address add 10.7.0.1/24 dev tap7", "link set tap7 up"):
        host.run(["ip", *words.split()])
    t = bypass.Try(world)
    send = t.associate("deny")
    send("10.8.0.5", 7)
    t.audited(host="10.8.0.5", action="allow")
    for address in ("10.9.0.5", "10.7.0.5"):
        send(address, 7)
        t.audited(host=address, action="refuse", error="a neighbouring VM's")
    host.run(["ip", "link", "set", "vx8", "nomaster"])
    send("10.8.0.5", 7)
    t.audited(host="10.8.0.5", action="refuse", error="a neighbouring VM's")
    for device in ("br8", "vx8", "tap7"):
        host.run(["ip", "link", "del", device])
    t.end()
