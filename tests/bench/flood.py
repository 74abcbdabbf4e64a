#!/usr/bin/env python3
"""What a client that floods its listener costs those of another one: `make bench-flood`.

One awsocks with two Unix listeners, `loud` and `quiet`, each with max-connections: 64, and an audit log. At `quiet`
one client after the other connects, sends a byte and gets it back (conn), or sends bytes over one tunnel (rtt): alone,
and beside a flood at `loud`: 64 clients that come again without a pause (conn-64), or 16 streams as fast as they go
(bulk). Quiet and loud have target servers of their own. Alone and flooded take turns, so that a slow minute falls on
both; the ratio is taken within a round, and the median of the ratios is printed.

    make bench-flood ROUNDS=7

The processor is another matter: a flood keeps awsocks, its client and its server busy, and where these are more than
the processors, whoever is quiet waits for the system's scheduler too. So what the same clients see without any proxy
(direct), beside the same flood, is in the last column: that much is not awsocks'. --rival BUILD measures another build
beside this one.
"""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

QUIET = {"conn": ["--conc", "1", "--count", "400", "--pace", "300"], "rtt": ["--conc", "1", "--count", "3000"]}
FLOODS = {"conn-64": ["conn", "--conc", "64", "--count", "100000000"],
          "bulk": ["bulk", "--dir", "down", "--streams", "16", "--bytes", "1000G"]}
CONFIG = """listeners:
  - {{ address: "unix:{folder}/quiet", name: quiet, guard: off, max-connections: 64 }}
  - {{ address: "unix:{folder}/loud", name: loud, guard: off, max-connections: 64 }}
"""


class Setup:
    """A proxy and its two servers, in a folder that goes with them."""

    def __init__(self, program, bench, workers, port):
        self.bench, self.port = bench, port
        self.folder = tempfile.mkdtemp(prefix="awsocks-flood-")
        with open(os.path.join(self.folder, "config.yaml"), "w", encoding="utf-8") as f:
            f.write(CONFIG.format(folder=self.folder))
        self.servers = [subprocess.Popen([bench, "serve", "--port", str(p)], stdout=subprocess.PIPE, text=True)
                        for p in (port, port + 1)]
        for s in self.servers:
            if not s.stdout.readline().startswith("ready"):
                sys.exit(f"flood: no server at port {port}: give --port")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWSOCKS_", "XDG_"))}
        env.update(HOME=self.folder, XDG_RUNTIME_DIR=self.folder, AWS_EC2_METADATA_DISABLED="true")
        self.proxy = subprocess.Popen(
            [program, "start", "--config", os.path.join(self.folder, "config.yaml"), "--route-default", "direct",
             "--audit-log", os.path.join(self.folder, "audit.jsonl"), "--audit-max-size", "16M", "--audit-keep", "1",
             "--workers", str(workers), "--log-level", "error"], env=env, cwd=self.folder)
        end = time.monotonic() + 10
        while not os.path.exists(os.path.join(self.folder, "loud")):
            if time.monotonic() > end or self.proxy.poll() is not None:
                sys.exit("flood: awsocks does not start")
            time.sleep(0.01)

    def via(self, listener):
        return f"socks5:{self.folder}/{listener}"

    def p50(self, test, via):
        out = subprocess.run([self.bench, test, *QUIET[test], "--via", via, "--port", str(self.port + 1)], check=False,
                             stdout=subprocess.PIPE, timeout=120).stdout
        r = json.loads(out)
        if not r["ok"]:
            sys.exit(f"flood: {test} via {via}: {r}")
        return r["p50_us"]

    @contextlib.contextmanager
    def flood(self, kind):
        p = subprocess.Popen([self.bench, *FLOODS[kind], "--via", self.via("loud"), "--port", str(self.port),
                              "--timeout", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)         # until it is at full speed
        try:
            if p.poll() is not None:
                sys.exit(f"flood: {kind} ended")
            yield
        finally:
            p.kill()
            p.wait()

    def close(self):
        for p in (self.proxy, *self.servers):
            p.terminate()
            p.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def round_of(s, kind):
    """{(test, column): p50 in us}"""
    got = {}
    for test in QUIET:
        got[test, "alone"] = s.p50(test, s.via("quiet"))
        got[test, "direct alone"] = s.p50(test, "direct")
        with s.flood(kind):
            got[test, "flooded"] = s.p50(test, s.via("quiet"))
            got[test, "direct flooded"] = s.p50(test, "direct")
    return got


def row(kind, test, name, rounds):
    def middle(column):
        return statistics.median(r[test, column] for r in rounds)

    def ratio(a, b):
        return statistics.median(r[test, a] / r[test, b] for r in rounds)
    return (f"| {kind} | {test} | {name} | {middle('alone'):.0f} | {middle('flooded'):.0f} "
            f"| **{ratio('flooded', 'alone'):.2f}** | {ratio('direct flooded', 'direct alone'):.2f} |")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--awsocks", default="build/awsocks", help="the program to measure")
    ap.add_argument("--bench", default="build/tools/socksbench", help="client and target server")
    ap.add_argument("--rival", help="another build of awsocks, measured in turn with it")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--workers", default="1")
    ap.add_argument("--port", type=int, default=17800, help="of the target servers, and the next one")
    a = ap.parse_args()
    programs = {"awsocks": os.path.abspath(a.awsocks)}
    if a.rival:
        programs["rival"] = os.path.abspath(a.rival)
    got = {}
    for rnd in range(a.rounds):
        for kind in FLOODS:
            for name, program in programs.items():
                s = Setup(program, os.path.abspath(a.bench), a.workers, a.port)
                try:
                    got.setdefault((kind, name), []).append(round_of(s, kind))
                finally:
                    s.close()
        print(f"flood: round {rnd} done", file=sys.stderr)
    print("| flood | quiet | program | p50 alone, us | p50 flooded, us | ratio | the same, direct |")
    print("|---|---|---|---|---|---|---|")
    for kind in FLOODS:
        for test in QUIET:
            for name in programs:
                print(row(kind, test, name, got[kind, name]))


if __name__ == "__main__":
    main()
