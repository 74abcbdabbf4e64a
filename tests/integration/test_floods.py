"""Many sandboxes at once, each with a listener of its own and its limits; and one that floods."""
import contextlib
import json
import resource
import shutil
import threading
import types

import pytest

import client
import harness
from load import Bench

IDLE, ACTIVE, BOXES = 400, 100, 5


@pytest.fixture
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def bench(tmp_path, processes):
    return Bench(tmp_path, processes)


def boxes(folder, limits):
    """config.yaml with a Unix listener for each (name, limits)."""
    lines = [f'  - {{ address: "unix:{folder}/{name}", name: {name}, guard: off, {limit} }}'
             for name, limit in limits.items()]
    (folder / "config.yaml").write_text("listeners:\n" + "\n".join(lines) + "\n")
    return str(folder / "config.yaml")


def at(p, folder, name):
    """What Bench takes for a proxy: one listener of it."""
    return types.SimpleNamespace(address=f"{folder}/{name}", pid=p.pid)


@pytest.mark.long
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 20000, reason="needs 20,000 open files")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_2000_idle_and_500_active_connections_of_sandboxes(awsocks, bench, short, workers):
    """Each listener is full to its limit; one client more waits there and is served when there is room."""
    names = [f"box{i}" for i in range(BOXES)]
    config = boxes(short, {name: f"max-connections: {IDLE + ACTIVE}" for name in names})
    p = awsocks("--config", config, "--route-default", "direct", "--workers", workers, listen=None,
                wrap=("prlimit", "--nofile=20000:20000"))

    def counts():
        return {one["name"]: one["connections"] for one in p.status()["listeners"]}
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(bench.start(at(p, short, n), "idle", "--count", IDLE, "--conc", 16, "--hold-ms",
                                                25000)) for n in names]
        p.wait_for(lambda: set(counts().values()) == {IDLE}, what="the idle ones")
        active = [stack.enter_context(bench.start(at(p, short, n), "rtt", "--conc", ACTIVE, "--count", 20000))
                  for n in names]
        p.wait_for(lambda: max(counts().values()) == IDLE + ACTIVE, what="a full listener")
        waiting = [stack.enter_context(client.dial(f"{short}/{n}", 150)) for n in names]
        for s in waiting:
            s.sendall(b"\5\1\0")
        for child in active:
            r = json.loads(child.communicate(timeout=150)[0])
            assert r["ok"] and r["count"] >= 20000 - ACTIVE, r
        for s in waiting:
            assert client.read_exactly(s, 2) == b"\5\0"
        for child in idle:
            r = json.loads(child.communicate(timeout=150)[0])
            assert r["up"] == r["alive"] == IDLE, r
    p.wait_for(lambda: set(counts().values()) == {0}, what="their end")
    for one in p.status()["listeners"]:
        assert (one["accepted"], one["turned_away"]) == (IDLE + ACTIVE + 1, 0), one


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_flood_at_one_listener_leaves_the_other_its_turns(awsocks, bench, short, workers):
    """While many come to one listener without a pause, each request at the other is served, and none of the flood is
    lost. How long it takes is `make bench-flood`."""
    p = awsocks("--config", boxes(short, {"loud": "max-connections: 64", "quiet": "max-connections: 64"}),
                "--route-default", "direct", "--workers", workers, listen=None)
    flood = {}
    count = 1500

    def flooding():
        flood.update(bench.run(at(p, short, "loud"), "conn", "--conc", 64, "--count", count))
    t = threading.Thread(target=flooding)
    t.start()
    served = 0
    while t.is_alive() or not served:
        r = bench.run(at(p, short, "quiet"), "conn", "--conc", 1, "--count", 20)
        assert r["ok"] and r["done"] == 20, r
        served += 20
    t.join(harness.LIMIT_S)
    assert flood["ok"] and flood["done"] == count, flood
    p.wait_for(lambda: p.status()["connections"] == 0, what="their end")
    counts = {one["name"]: one["allowed"] for one in p.status()["listeners"]}
    assert counts == {"loud": count, "quiet": served}
