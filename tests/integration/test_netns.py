"""The networks that other tests stand on are as they say."""
import pytest

import netns

pytestmark = pytest.mark.skipif(not netns.available(), reason="no namespaces here")


def test_a_vm_sees_its_gateway_only(tmp_path):
    with netns.World(tmp_path) as world:
        world.host.hosts({"github.com": netns.NET})
        answer = world.host.run(["getent", "ahostsv4", "github.com"])
        assert netns.NET in answer.stdout.decode()
        with world.host.popen(["python3", "-m", "http.server", "-b", netns.GATEWAY, "8000", "-d", str(tmp_path)]) as p:
            try:
                world.vm.run(["curl", "-sS", "--retry", "20", "--retry-delay", "0", "--retry-connrefused",
                              f"http://{netns.GATEWAY}:8000/"])
            finally:
                p.kill()
        for elsewhere in (netns.NET, netns.NET_HOST, "github.com"):
            assert world.vm.run(["curl", "-sS", "-m", "5", f"http://{elsewhere}:8000/"], check=False).returncode != 0
