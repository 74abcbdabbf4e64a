#!/usr/bin/env python3
"""How awsocks scales with --workers, beside other proxies: `make bench-workers`.

Nothing is pinned here. Each load is made by several pairs of client and target server at the same time (--pairs),
each a process of its own with one thread, all through the same proxy; what they reach is added up. The proxy's
processor time is that of its whole process tree over the same span.

    make bench-workers ROUNDS=7
    workers.py --report                 # print the last tables again

On few processors the ends cost as much as the proxy, and all of them share what there is: then `cpus` (how many the
proxy kept busy) and the cost of a connection or a GB say more than the rates. Results: OUT/results.jsonl.
"""
import argparse
import collections
import json
import os
import resource
import signal
import subprocess
import sys
import time

import run

TABLES = [
    ("Connections with several workers", [("workers-conn", "conn_s", 0), ("workers-conn", "proxy_cpu_us_per_conn", 1),
                                          ("workers-conn", "cpus", 2)]),
    ("Bulk with several workers, down", [("workers-down", "mb_s", 0), ("workers-down", "proxy_cpu_s_per_gb", 3),
                                         ("workers-down", "cpus", 2)]),
    ("Bulk with several workers, up", [("workers-up", "mb_s", 0), ("workers-up", "proxy_cpu_s_per_gb", 3),
                                       ("workers-up", "cpus", 2)]),
]
REFS = ["awsocks-w1", "microsocks"]
CORES = len(os.sched_getaffinity(0))


def with_workers(n):
    make = run.awsocks()

    def command(b, d, port):
        return [[*make(b, d, port)[0], "--workers", str(n)]]
    return command


def peers_of(out):
    counts = sorted({1, 2, CORES})
    spec = [(f"awsocks-w{n}", "awsocks", "socks5", with_workers(n)) for n in counts]
    spec += [(name, *run.PEERS[name]) for name in ("microsocks", "dante", "v2ray")]
    for i, (name, prog, kind, make) in enumerate(spec):
        if run.find(prog) and os.path.exists(run.find(prog)):
            yield run.Peer(name, prog, kind, make, i, out)
        else:
            run.log(f"{name}: {prog} is not installed: left out")


def cpu_s(roots):
    """Processor time of the processes and their descendants, those that have ended and were waited for included."""
    total, tick = 0.0, os.sysconf("SC_CLK_TCK")
    for pid in run.tree(roots):
        try:
            total += time.clock_gettime((~pid << 3) | 2)
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                total += sum(int(v) for v in f.read().rsplit(")", 1)[1].split()[13:15]) / tick
        except (OSError, ProcessLookupError):
            pass
    return total


def measure(bench, peer, args, ports, timeout):
    """All pairs at once. Rates are over the time from the first start to the last end: what one client does alone
    because the others are through counts against them all."""
    roots = [p.pid for p in peer.procs]
    cpu, begun = cpu_s(roots), time.monotonic()
    clients = [subprocess.Popen([bench, *args, "--via", peer.via(), "--port", str(port), "--timeout", str(timeout)],
                                stdout=subprocess.PIPE, text=True) for port in ports]
    rows = []
    for c in clients:
        try:
            rows.append(json.loads(c.communicate(timeout=timeout + 30)[0]))
        except (subprocess.TimeoutExpired, ValueError):
            c.kill()
            c.wait()
            rows.append({"ok": False})
    wall, cpu = time.monotonic() - begun, cpu_s(roots) - cpu
    r = {"label": peer.name, "mode": "workers", "ok": all(one.get("ok") for one in rows), "wall_s": wall,
         "cpus": cpu / wall, "other_cpu_s": 0}
    done, moved = sum(one.get("done", 0) for one in rows), sum(one.get("bytes", 0) for one in rows)
    if done:
        r.update(conn_s=done / wall, proxy_cpu_us_per_conn=cpu * 1e6 / done)
    if moved:
        r.update(mb_s=moved / 1e6 / wall, proxy_cpu_s_per_gb=cpu / (moved / 1e9))
    return r


def rounds(a, bench, peers, ports, results):
    tests = collections.OrderedDict([
        ("workers-conn", ["conn", "--conc", "32", "--count", str(a.count)]),
        ("workers-down", ["bulk", "--dir", "down", "--streams", "4", "--bytes", a.bytes]),
        ("workers-up", ["bulk", "--dir", "up", "--streams", "4", "--bytes", a.bytes])])
    for rnd in range(a.rounds):
        for test, args in tests.items():
            order = peers[rnd % len(peers):] + peers[:rnd % len(peers)]
            for p in order:
                if not p.start():
                    continue
                r = measure(bench, p, args, ports, a.timeout)
                r.update(round=rnd, test=test, time=round(time.time(), 1))
                with open(results, "a", encoding="utf-8") as f:
                    f.write(json.dumps(r) + "\n")
                if not r["ok"]:
                    run.log(f"{p.name} {test}: not ok")
                p.stop()
            run.log(f"round {rnd} {test} done")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", default="build/bench-workers", help="folder for results, logs and configurations")
    ap.add_argument("--awsocks", default="build/awsocks", help="the program to measure")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--pairs", type=int, default=max(2, CORES // 2), help="pairs of client and target server")
    ap.add_argument("--count", type=int, default=2000, help="connections of each client")
    ap.add_argument("--bytes", default="256M", help="of each client")
    ap.add_argument("--timeout", type=int, default=60, help="seconds for one measurement")
    ap.add_argument("--report", action="store_true", help="only print the tables")
    a = ap.parse_args()
    a.out = os.path.abspath(a.out)
    os.makedirs(a.out, exist_ok=True)
    results = f"{a.out}/results.jsonl"
    run.TABLES = TABLES
    if a.report:
        run.report(results, REFS)
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run.PATHS["awsocks"] = os.path.abspath(a.awsocks)
    run.BASE_PORT += 200            # beside a `make bench`
    bench = os.path.join(os.path.dirname(run.PATHS["awsocks"]), "tools", "socksbench")
    if os.path.exists(results):
        os.rename(results, results + time.strftime(".%H%M%S"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))     # runs the clean-up
    ports = [run.BASE_PORT - 1 - i for i in range(a.pairs)]
    peers, servers = list(peers_of(a.out)), []
    try:
        for port in ports:
            servers.append(subprocess.Popen([bench, "serve", "--port", str(port)], stdout=subprocess.PIPE))
            if not servers[-1].stdout.readline().startswith(b"ready"):
                sys.exit(f"no target server at port {port}")
        rounds(a, bench, peers, ports, results)
    finally:
        for p in peers:
            p.stop()
        for s in servers:
            s.terminate()
            s.wait()
    run.report(results, REFS)


if __name__ == "__main__":
    main()
