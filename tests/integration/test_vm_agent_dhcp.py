"""The agent's DHCP client and a real server: dnsmasq, and the agent as a process, each in a namespace of its own."""
import re
import shutil
import sys

import pytest

import dhcp_server
import harness
import netns
import vm_peer
from test_vm_agent import agent                                   # noqa: F401

pytestmark = [pytest.mark.skipif(not netns.available(), reason="no namespaces here"),
              pytest.mark.skipif(not shutil.which("dnsmasq"), reason="no dnsmasq here")]
GATEWAY = "192.168.64.1"


class Net:
    """A host's namespace with a DHCP server on vnet0, and a guest's with eth0, which has no address."""

    def __init__(self, folder, processes):
        self.folder, self.processes, self.server, self.scripts = folder, processes, None, 0
        self.host = netns.Namespace(folder, "host")
        self.guest = netns.Namespace(folder, "guest", self.host)
        self.host.run(["ip", "link", "add", "vnet0", "type", "veth", "peer", "name", "eth0", "netns",
                       str(self.guest.holder.pid)])
        self.host.address("vnet0", f"{GATEWAY}/24")
        self.host.run(["ip", "link", "set", "vnet0", "up"])

    def serve(self, *options, first="192.168.64.50"):
        """dnsmasq with these options, instead of the one before. Leases are two minutes, its least."""
        if self.server:
            self.server.kill()
        leases = self.folder / "leases"
        leases.unlink(missing_ok=True)
        start = len(self.server.log()) if self.server else 0
        self.server = harness.Process([*self.host.wrap, "dnsmasq", "-d", "-C", "/dev/null", "--port=0", "--no-ping",
                                       "--log-dhcp", f"--dhcp-leasefile={leases}", "--dhcp-authoritative",
                                       f"--dhcp-range={first},{first},255.255.255.0,2m", *options],
                                      self.folder, "dnsmasq")
        self.processes.append(self.server)
        self.server.wait_for(lambda: "DHCP, IP range" in self.server.log()[start:], what="dnsmasq")

    def script(self, offered, lease, t1, t2, *faults):
        """dhcp_server.py instead of the server before."""
        if self.server:
            self.server.kill()
        self.scripts += 1
        self.server = harness.Process([*self.host.wrap, sys.executable, "-B", dhcp_server.__file__, "vnet0", GATEWAY,
                                       offered, lease, t1, t2, *faults], self.folder, f"dhcp_server{self.scripts}")
        self.processes.append(self.server)
        self.server.wait_for(lambda: "ready" in self.server.log(), what="the server")

    def count(self, line):
        return self.server.log().splitlines().count(line)

    def since(self, line):
        """What the server logged from its first such line on. What is asked before it may be asked twice: a busy server
        answers later than the client repeats itself."""
        lines = self.server.log().splitlines()
        return lines[lines.index(line):] if line in lines else []

    def said(self):
        """What dnsmasq was asked and has answered: DHCPDISCOVER..., in order."""
        return re.findall(r"(DHCP[A-Z]+)\(vnet0\)", self.server.log())

    def close(self):
        self.guest.close()
        self.host.close()


@pytest.fixture
def net(tmp_path, processes):
    n = Net(tmp_path, processes)
    yield n
    n.close()


def text_of(space, *argv):
    return space.run(argv).stdout.decode()


def test_a_lease(agent, net, tmp_path):
    """Address, mask, router, name servers and MTU; the lease shows the MAC as the client's id."""
    net.serve("--dhcp-option=option:dns-server,192.168.64.1,192.0.2.53", "--dhcp-option=option:mtu,1400")
    p = agent(net="dhcp", wrap=net.guest.wrap)
    assert p.host.network() == {"up": True, "prefix": 24, "address": "192.168.64.50", "gateway": GATEWAY,
                                "dns": ["192.168.64.1", "192.0.2.53"], "why": ""}
    link = text_of(net.guest, "ip", "address", "show", "eth0")
    assert "192.168.64.50/24" in link and "mtu 1400" in link
    assert text_of(net.guest, "ip", "route").startswith(f"default via {GATEWAY} dev eth0")
    servers = re.findall(r"^nameserver (\S+)$", text_of(net.guest, "cat", "/etc/resolv.conf"), re.M)
    assert servers == ["192.168.64.1", "192.0.2.53"]
    mac = re.search(r"link/ether (\S+)", link).group(1)
    assert f"{mac} 192.168.64.50 * 01:{mac}" in (tmp_path / "leases").read_text()
    words = net.said()
    assert "DHCPDISCOVER" not in words[words.index("DHCPREQUEST"):], words
    # it reaches what is there, as far as the guard lets it
    server = net.host.listener("192.168.64.1", 8080)
    with server:
        with pytest.raises(vm_peer.Refused) as e:
            p.host.open([(GATEWAY, 8080)])
        assert e.value.cause == vm_peer.FORBIDDEN
    net.host.address("lo", "203.0.113.9/32")
    with net.host.listener("203.0.113.9", 8080) as server:
        stream = p.host.open([("203.0.113.9", 8080)])
        peer, at = server.accept()
        with peer:
            assert at[0] == "192.168.64.50"
            peer.sendall(b"hello")
        assert stream.read() == b"hello"


def test_it_is_renewed_at_its_server(agent, net):
    net.script("192.168.64.50", 100, 1, 50)
    p = agent(net="dhcp", wrap=net.guest.wrap)
    p.host.network()
    net.server.wait_for(lambda: net.count("REQUEST renew") >= 3, what="three renewals")
    assert not {"DISCOVER", "REQUEST new", "REQUEST rebind"} & set(net.since("REQUEST renew"))
    assert p.host.network()["address"] == "192.168.64.50"
    assert "192.168.64.50/24" in text_of(net.guest, "ip", "address", "show", "eth0")


def test_it_is_renewed_anywhere(agent, net):
    """Its server does not answer: from T2 on everybody is asked, and streams never notice."""
    net.script("192.168.64.50", 100, 1, 2, "deaf-renewal")
    p = agent(net="dhcp", wrap=net.guest.wrap)
    p.host.network()
    net.server.wait_for(lambda: net.count("REQUEST rebind") >= 2, what="two rebindings")
    assert not {"DISCOVER", "REQUEST new"} & set(net.since("REQUEST renew"))
    assert p.host.told["up"]


def test_a_nak_begins_anew(agent, net):
    """The server knows the lease no more, and has another address."""
    # Time enough for the other server to be there; and if it comes later yet, it is asked for again.
    net.script("192.168.64.50", 100, 5, 10)
    p = agent(net="dhcp", wrap=net.guest.wrap)
    assert p.host.network()["address"] == "192.168.64.50"
    net.script("192.168.64.60", 100, 50, 60, "nak-renewal")
    p.host.wait_for(lambda: p.host.told["address"] == "192.168.64.60", what="the other address")
    assert net.count("NAK") == 1
    link = text_of(net.guest, "ip", "address", "show", "eth0")
    assert "192.168.64.60/24" in link and "192.168.64.50" not in link


def test_a_nak_to_the_first_request(agent, net):
    net.script("192.168.64.50", 100, 50, 60, "nak-first")
    p = agent(net="dhcp", wrap=net.guest.wrap)
    assert p.host.network()["address"] == "192.168.64.50"
    assert net.count("NAK") == 1 and net.count("DISCOVER") >= 2


def test_a_lease_ends(agent, net):
    """Nobody renews it: the address is given up and the host is told; then a server is there again."""
    net.script("192.168.64.50", 4, 1, 2)
    p = agent(net="dhcp", wrap=net.guest.wrap)
    p.host.network()
    net.server.kill()
    told = p.host.network(up=False)
    assert told["why"]
    harness.wait_for(lambda: "192.168.64.50" not in text_of(net.guest, "ip", "address", "show", "eth0"),
                     what="the address to go")
    net.script("192.168.64.60", 100, 50, 60)
    assert p.host.network()["address"] == "192.168.64.60"


def test_an_offer_without_an_acknowledgement(agent, net):
    """It asks a few times, then anybody again."""
    net.script("192.168.64.50", 100, 50, 60, "deaf-request")
    agent(net="dhcp", wrap=net.guest.wrap, network=False)
    net.server.wait_for(lambda: net.count("REQUEST new") >= 5, what="the fifth REQUEST")
    asked = [line for line in net.server.log().splitlines() if line in ("DISCOVER", "REQUEST new")]
    first = asked.index("REQUEST new")
    assert asked[first:first + 5] == ["REQUEST new"] * 4 + ["DISCOVER"]


def test_noise(agent, net):
    net.script("192.168.64.50", 100, 1, 50, "garbage")
    p = agent("log=debug", net="dhcp", wrap=net.guest.wrap)
    assert p.host.network()["address"] == "192.168.64.50"
    net.server.wait_for(lambda: net.count("REQUEST renew") >= 1, what="a renewal")
    p.host.ping()


def test_nobody_answers_then_somebody(agent, net):
    """It says so, refuses dials with the reason, and goes on asking."""
    p = agent(net="dhcp", wrap=net.guest.wrap, network=False)
    assert "no DHCP server" in p.host.network(up=False)["why"]
    for ask in (lambda: p.host.open([("203.0.113.9", 80)]), lambda: p.host.resolve("a.test")):
        with pytest.raises(vm_peer.Refused) as e:
            ask()
        assert e.value.cause == vm_peer.NETUNREACH and "no DHCP server" in e.value.text
    net.serve()
    assert p.host.network()["address"] == "192.168.64.50"


def test_settings_go_before_the_server(agent, net):
    net.serve("--dhcp-option=option:mtu,1400")
    p = agent("dns=192.0.2.1", "mtu=1300", "interface=eth0", net="dhcp", wrap=net.guest.wrap)
    assert p.host.network()["dns"] == ["192.0.2.1"]
    assert "mtu 1300" in text_of(net.guest, "ip", "link", "show", "eth0")


def test_static(agent, net):
    p = agent("address=192.168.64.70/24", f"gateway={GATEWAY}", "dns=192.0.2.1", net="static", wrap=net.guest.wrap)
    assert p.host.network() == {"up": True, "prefix": 24, "address": "192.168.64.70", "gateway": GATEWAY,
                                "dns": ["192.0.2.1"], "why": ""}
    assert text_of(net.guest, "ip", "route").startswith(f"default via {GATEWAY} dev eth0")
    assert "192.168.64.70/24" in text_of(net.guest, "ip", "address", "show", "eth0")


def test_a_gateway_outside_of_the_network(agent, net):
    p = agent("address=192.168.64.70/32", f"gateway={GATEWAY}", net="static", wrap=net.guest.wrap)
    assert p.host.network()["prefix"] == 32
    assert f"default via {GATEWAY} dev eth0" in text_of(net.guest, "ip", "route")


def test_no_interface(agent, tmp_path):
    space = netns.Namespace(tmp_path, "none")
    try:
        p = agent(net="dhcp", wrap=space.wrap, network=False)
        assert "no network interface" in p.host.network(up=False)["why"]
    finally:
        space.close()
