#!/usr/bin/env python3
"""Writes the last results of `make bench` and `make bench-workers` into docs/BENCHMARKS.md: `make bench-docs`.

Only what stands between the two marker lines is replaced. The machine is described by kind: no name, no path.
"""
import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import time

import run
import workers

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
PACKAGES = ["microsocks", "dante-server", "tinyproxy", "v2ray", "openssh-client"]


def first_match(path, pattern, otherwise="unknown"):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as f:
        m = re.search(pattern, f.read(), re.M)
        if m:
            return m.group(1).strip()
    return otherwise


def machine():
    memory = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)", "0")) / (1 << 20)
    kind = first_match("/proc/cpuinfo", r"^model name.*?: (.*)$", os.uname().machine)
    return (f"{kind}, {workers.CORES} processors, {memory:.0f} GiB; "
            f"{first_match('/etc/os-release', r'^PRETTY_NAME=.(.*).$')}, "
            f"Linux {os.uname().release.split('-')[0]}")


def versions():
    out = []
    for name in PACKAGES:
        r = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", name], capture_output=True,
                           text=True, check=False)
        if r.returncode == 0 and r.stdout.startswith("ii"):
            out.append(f"{name} {r.stdout.split()[1]}")
    return ", ".join(out) or "none installed as packages"


def section(title, path, tables, refs, command):
    if not os.path.exists(path):
        return f"## {title}\n\nNot run here: `{command}`.\n"
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    days = sorted({time.strftime("%Y-%m-%d", time.gmtime(r["time"])) for r in rows})
    rounds = len({r["round"] for r in rows})
    run.TABLES, out = tables, io.StringIO()
    with contextlib.redirect_stdout(out):
        run.report(path, refs)
    return f"## {title}\n\n`{command}`, {rounds} rounds, {' to '.join(sorted({days[0], days[-1]}))}.\n{out.getvalue()}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", default="build/bench/results.jsonl")
    ap.add_argument("--workers", default="build/bench-workers/results.jsonl")
    ap.add_argument("--page", default="docs/BENCHMARKS.md")
    ap.add_argument("--ref", default="floor-auto,floor-copy,microsocks", help="ratios are taken against these")
    a = ap.parse_args()
    text = "\n".join([
        f"Machine: {machine()}.\n\nPeers: {versions()}.\n",
        section("One loop", a.bench, run.TABLES, a.ref.split(","), "make bench ROUNDS=7"),
        section("Several workers", a.workers, workers.TABLES, workers.REFS, "make bench-workers ROUNDS=7")])
    with open(a.page, encoding="utf-8") as f:
        page = f.read()
    before, rest = page.split(BEGIN)
    with open(a.page, "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
