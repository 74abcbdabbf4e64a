#!/usr/bin/env python3
"""Measures awsocks beside other proxies on the loopback interface: `make bench`.

Every test is run once for each proxy before any test is repeated, and the order
of the proxies is rotated each round, so that a slow minute of the machine falls
on all of them alike. Ratios are taken within a round and their median reported.

    make bench                          # three rounds, some ten minutes
    make bench ROUNDS=7                 # figures to keep, about 20 minutes
    make bench BENCH_ARGS='--tests conn,rtt --peers awsocks,floor-auto,microsocks'
    run.py --report                     # print the last tables again
    run.py --peer 'mine;socks5;/path/mine --listen 127.0.0.1:{port}'

`awsocks` has a rule file of 100 rules and goes direct; `awsocks-copy` is the same
of a PORTABLE=1 build, which copies as on other systems. `floor-*` is splicefwd.c,
about the least that a user-space relay can cost; the peers are those that apt
has. A --peer command is split like a shell line; {port}, {dir} and {sock} are
filled in, its kind is socks5, http, socks5-unix or http-unix. Proxies that are
not installed are named and left out. Only loopback addresses are used, and every
process that is started is ended again. Results: OUT/results.jsonl.

Server, client and proxy share one processor unless --cpus says otherwise: the
round trip of one and the same proxy differs threefold with where the kernel puts
the three. Trust processor time and counts; MB/s and 99th percentiles are noise.
Only mix (round trips beside bulk) is never pinned.
"""
import argparse
import collections
import json
import os
import pwd
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import goals

HERE = os.path.dirname(os.path.abspath(__file__))
BASE_PORT = 17000          # target server; proxies use the ports above it


def log(*a):
    print(time.strftime("%H:%M:%S"), *a, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the proxies

def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def cmd_microsocks(b, d, port):
    return [[b, "-i", "127.0.0.1", "-p", str(port)]]


def cmd_dante(b, d, port):
    nobody = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    cfg = write(f"{d}/danted.conf", f"""errorlog: {d}/danted.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.unprivileged: {nobody}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}
""")
    return [[b, "-f", cfg, "-p", f"{d}/danted.pid"]]


def awsocks(*options):
    """Direct, behind 100 rules of every kind that are all tried and none of which decides."""
    def make(b, d, port):
        rules = []
        for i in range(25):
            rules += [f'"*.host{i}.example.com"', f'"exact{i}.example.org"', f'"192.0.2.{i}/32"',
                      f'"*.region{i}.example.net:443"']
        lines = "".join(f"  - {{ match: {r}, route: block }}\n" for r in rules)
        cfg = write(f"{d}/rules.yaml", f"default: direct\nrules:\n{lines}")
        where = f"{d}/proxy.sock" if "unix" in options else f"127.0.0.1:{port}"
        return [[b, "start", "--listen", f"unix:{where}" if "unix" in options else where, "--rules", cfg,
                 "--max-connections", "20000", "--log-level", "error", "--ready-file", f"{d}/ready.json"]]
    return make


def cmd_tinyproxy(b, d, port):
    return [[b, "-d", "-c", write(f"{d}/tinyproxy.conf", f"""Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 20000
LogLevel Critical
LogFile "{d}/tinyproxy.log"
""")]]


def v2ray(protocol):
    def make(b, d, port):
        cfg = {"log": {"loglevel": "none"},
               "inbounds": [{"listen": "127.0.0.1", "port": port, "protocol": protocol,
                             "settings": {"auth": "noauth"} if protocol == "socks" else {}}],
               "outbounds": [{"protocol": "freedom"}]}
        return [[b, "-config", write(f"{d}/v2ray.json", json.dumps(cfg))]]
    return make


def ssh_dynamic(cipher=None):
    """A throwaway sshd and one `ssh -D`; both count as the proxy."""
    def make(b, d, port):
        keygen = shutil.which("ssh-keygen")
        for k in ("hostkey", "userkey"):
            if not os.path.exists(f"{d}/{k}"):
                subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", f"{d}/{k}"], check=True)
        shutil.copy(f"{d}/userkey.pub", f"{d}/authorized")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        sport = port + 500
        cfg = write(f"{d}/sshd_config", f"""ListenAddress 127.0.0.1:{sport}
HostKey {d}/hostkey
AuthorizedKeysFile {d}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
""")
        user = pwd.getpwuid(os.getuid()).pw_name
        cli = [b, "-F", "none", "-N", "-T", "-q", "-D", f"127.0.0.1:{port}", "-p", str(sport),
               "-i", f"{d}/userkey", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "ExitOnForwardFailure=yes"]
        if cipher:
            cli += ["-c", cipher]
        return [[find("sshd"), "-D", "-f", cfg, "-E", f"{d}/sshd.log"], cli + [f"{user}@127.0.0.1"]]
    return make


def floor(*args):
    return lambda b, d, port: [[b, *args, f"127.0.0.1:{port}"]]


def floor_unix(b, d, port):
    return [[b, "-m", "auto", f"{d}/proxy.sock"]]


# name: (program, kind, command maker)
PEERS = collections.OrderedDict([
    ("direct",        (None, "direct", None)),
    ("floor-auto",    ("splicefwd", "socks5", floor("-m", "auto"))),
    ("floor-splice",  ("splicefwd", "socks5", floor("-m", "splice"))),
    ("floor-copy",    ("splicefwd", "socks5", floor("-m", "copy", "-b", "64"))),
    ("floor-copy256", ("splicefwd", "socks5", floor("-m", "copy", "-b", "256"))),
    ("awsocks",       ("awsocks", "socks5", awsocks())),
    ("awsocks-copy",  ("awsocks-copy", "socks5", awsocks())),
    ("awsocks-http",  ("awsocks", "http", awsocks())),
    ("microsocks",    ("microsocks", "socks5", cmd_microsocks)),
    ("dante",         ("danted", "socks5", cmd_dante)),
    ("v2ray",         ("v2ray", "socks5", v2ray("socks"))),
    ("ssh-D",         ("ssh", "socks5", ssh_dynamic())),
    ("tinyproxy",     ("tinyproxy", "http", cmd_tinyproxy)),
])
DEFAULT_OFF = {"floor-splice", "floor-copy256"}
PATHS = {}
ALL_CPUS = os.sched_getaffinity(0)


def find(prog):
    if prog in PATHS:
        return PATHS[prog]
    for d in ["/usr/sbin", "/usr/local/sbin", "/sbin"]:
        if os.access(f"{d}/{prog}", os.X_OK):
            return f"{d}/{prog}"
    return shutil.which(prog)


class Peer:
    def __init__(self, name, prog, kind, make, index, out):
        self.name, self.kind, self.make = name, kind, make
        self.bin = find(prog) if prog else None
        self.port = BASE_PORT + 1 + index
        self.dir = f"{out}/{name}"
        self.sock = f"{self.dir}/proxy.sock"
        self.procs = []

    def via(self):
        if self.kind == "direct":
            return "direct"
        if self.kind.endswith("-unix"):
            return f"{self.kind[:-5]}:{self.sock}"
        return f"{self.kind}:127.0.0.1:{self.port}"

    def env(self):
        """No settings of the caller's: the proxies find an empty home."""
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(("AWS", "XDG_")) and "proxy" not in k.lower()}
        return {**keep, "HOME": self.dir, "XDG_RUNTIME_DIR": self.dir, "XDG_CONFIG_HOME": self.dir,
                "XDG_STATE_HOME": self.dir}

    def accepts(self):
        unix = self.kind.endswith("-unix")
        s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        s.settimeout(1)
        try:
            s.connect(self.sock if unix else ("127.0.0.1", self.port))
            return True
        except OSError:
            return False
        finally:
            s.close()

    def start(self):
        if self.kind == "direct" or self.procs:
            return True
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        if not self.kind.endswith("-unix") and self.accepts():
            log(f"{self.name}: port {self.port} is taken")
            return False
        with open(f"{self.dir}/output.txt", "ab") as out:
            for argv in self.make(self.bin, self.dir, self.port):
                self.procs.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                                   start_new_session=True, cwd=self.dir, env=self.env()))
                time.sleep(0.3)
        for _ in range(60):
            if self.accepts():
                time.sleep(0.2)
                return True
            time.sleep(0.1)
        log(f"{self.name}: did not start, see {self.dir}/output.txt")
        self.stop()
        return False

    def stop(self):
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for p in reversed(self.procs):
                try:
                    os.killpg(p.pid, sig)      # only the group this Popen made
                except ProcessLookupError:
                    pass
            end = time.time() + 3
            for p in self.procs:
                try:
                    p.wait(max(0.1, end - time.time()))
                except subprocess.TimeoutExpired:
                    pass
        self.procs = []


# ------------------------------------------------------------------ the tests

def tests_of(a):
    """name -> (arguments, needs a fresh proxy, makes sense with no proxy)"""
    t = collections.OrderedDict()
    t["bulk-down-1"] = (["bulk", "--dir", "down", "--streams", "1", "--bytes", a.bytes], False, True)
    t["bulk-up-1"] = (["bulk", "--dir", "up", "--streams", "1", "--bytes", a.bytes], False, True)
    t["bulk-down-8"] = (["bulk", "--dir", "down", "--streams", "8", "--bytes", a.bytes], False, True)
    t["bulk-up-8"] = (["bulk", "--dir", "up", "--streams", "8", "--bytes", a.bytes], False, True)
    t["conn"] = (["conn", "--conc", "32", "--count", str(a.count)], False, True)
    t["rtt-1"] = (["rtt", "--conc", "1", "--count", "10000"], False, True)
    t["rtt-32"] = (["rtt", "--conc", "32", "--count", "30000"], False, True)
    t["idle-2000"] = (["idle", "--count", "2000", "--conc", "32"], True, False)
    t["idle-9500"] = (["idle", "--count", "9500", "--conc", "32"], True, False)
    t["drip"] = (["drip", "--drips", "1000", "--seconds", "6", "--rate", "200"], True, False)
    t["verify-down"] = (["bulk", "--dir", "down", "--streams", "4", "--bytes", "64M", "--verify"], False, True)
    t["verify-up"] = (["bulk", "--dir", "up", "--streams", "4", "--bytes", "64M", "--verify"], False, True)
    t["mix-rtt"] = (["rtt", "--conc", "1", "--count", "500"], True, True)     # not pinned: see on_cpus()
    if shutil.which("strace"):      # counts of system calls do not depend on the machine's load
        t["sys-conn"] = (["conn", "--conc", "8", "--count", "500"], True, False)
        t["sys-rtt"] = (["rtt", "--conc", "1", "--count", "1000"], True, False)
    want = a.tests.split(",")
    return collections.OrderedDict((k, v) for k, v in t.items()
                                   if any(k == w or k.startswith(w + "-") for w in want))


# Counts, which hardly differ from round to round, and slow tests are not repeated as often as the others.
MOST_ROUNDS = {"verify": 1, "drip": 2, "sys": 3}


def run_one(bench, server, peer, test, args, timeout):
    cmd = [bench, *args, "--via", peer.via(), "--port", str(BASE_PORT), "--label", peer.name,
           "--server-pid", str(server.pid), "--timeout", str(timeout)]
    if peer.procs:
        cmd += ["--pids", ",".join(str(p.pid) for p in peer.procs)]
    try:
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=timeout + 30)
        return json.loads(r.stdout)
    except (subprocess.TimeoutExpired, ValueError) as e:
        return {"label": peer.name, "ok": False, "error": f"{type(e).__name__}"}


def tree(roots):
    """The given processes and all their descendants."""
    kids = collections.defaultdict(list)
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/stat") as f:
                    kids[int(f.read().rsplit(")", 1)[1].split()[1])].append(int(d))
            except OSError:
                pass
    out, todo = [], list(roots)
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids[p]
    return out


def run_traced(bench, server, peer, test, args, timeout):
    """The same under strace -c: how many system calls for one connection or round trip."""
    path = f"{peer.dir}/strace-{test}.txt"
    cmd = ["strace", "-f", "-c", "-q", "-o", path]
    for p in tree(p.pid for p in peer.procs):
        cmd += ["-p", str(p)]
    st = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    r = run_one(bench, server, peer, test, args, timeout)
    time.sleep(0.3)
    st.send_signal(signal.SIGINT)
    st.wait()
    calls = {}
    for line in open(path):
        w = line.split()
        if len(w) >= 5 and w[3].isdigit() and w[-1] != "total":
            calls[w[-1]] = int(w[3])
    units = r.get("done") or (r.get("count") or 0) + 100        # rtt warms up with 100
    return {"label": peer.name, "mode": "sys", "ok": r.get("ok"), "syscalls_per_unit": sum(calls.values()) / units,
            "calls": {k: round(v / units, 2) for k, v in sorted(calls.items(), key=lambda c: -c[1]) if v * 20 > units}}


def on_cpus(test, cpus, server):
    """The processors of what is started from here on, and of the target server. What a short request waits
    beside bulk would, on one processor, be the turns of the ends that make the bulk: all may have their own."""
    everywhere = test.startswith("mix") or not cpus
    chosen = ALL_CPUS if everywhere else {int(c) for c in cpus.split(",")}
    os.sched_setaffinity(0, chosen)
    os.sched_setaffinity(server.pid, chosen)


def run_mixed(bench, server, peer, test, args, timeout):
    """The middle one of three: where the kernel happens to put five processes decides a single one."""
    runs = [run_beside_bulk(bench, server, peer, test, args, timeout) for _ in range(3)]
    return sorted(runs, key=lambda r: r.get("p50_us", float("inf")))[1]


def run_beside_bulk(bench, server, peer, test, args, timeout):
    """Round trips while four bulk streams, from a server of their own, go through the same proxy."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    other = str(BASE_PORT - 1)
    source = subprocess.Popen([bench, "serve", "--port", other], **quiet)
    time.sleep(0.2)
    bulk = subprocess.Popen([bench, "bulk", "--dir", "down", "--streams", "4", "--bytes", "1024G",
                             "--via", peer.via(), "--port", other, "--timeout", str(timeout)], **quiet)
    try:
        time.sleep(0.5)
        return run_one(bench, server, peer, test, args, timeout)
    finally:
        for p in (bulk, source):
            p.terminate()
            p.wait()


# ----------------------------------------------------------------- the report

BULK = ["bulk-down-1", "bulk-up-1", "bulk-down-8", "bulk-up-8"]
# table title: [(test, field, unit, digits)]
TABLES = [
    ("Bulk: proxy CPU, seconds per GB", [(t, "proxy_cpu_s_per_gb", 3) for t in BULK]),
    ("Bulk: MB/s", [(t, "mb_s", 0) for t in BULK]),
    ("Connections", [("conn", "proxy_cpu_us_per_conn", 1), ("conn", "conn_s", 0),
                     ("conn", "p50_us", 0), ("conn", "p99_us", 0)]),
    ("Round trip of one byte", [("rtt-1", "p50_us", 1), ("rtt-1", "p99_us", 1),
                                ("rtt-1", "proxy_cpu_us_per_trip", 1),
                                ("rtt-32", "proxy_cpu_us_per_trip", 1)]),
    ("Idle tunnels", [("idle-2000", "rss_kb_per_tunnel", 2), ("idle-2000", "pss_kb_per_tunnel", 2),
                      ("idle-2000", "kernel_kb_per_tunnel", 1), ("idle-2000", "idle_cpu_ms_per_s", 2),
                      ("idle-9500", "rss_kb_per_tunnel", 2), ("idle-9500", "up", 0)]),
    ("1000 slow handshakes", [("drip", "before_p99_us", 0), ("drip", "p50_us", 0), ("drip", "p99_us", 0),
                              ("drip", "during_served", 0), ("drip", "drips_alive", 0),
                              ("drip", "during_cpu_ms_per_s", 1)]),
    ("Round trip of one byte beside four bulk streams", [("mix-rtt", "p50_us", 0), ("mix-rtt", "p99_us", 0)]),
    ("System calls", [("sys-conn", "syscalls_per_unit", 1), ("sys-rtt", "syscalls_per_unit", 2)]),
]


def fmt(vals, digits):
    if not vals:
        return "-"
    m, lo, hi = statistics.median(vals), min(vals), max(vals)
    f = f"{{:.{digits}f}}"
    return f"{f.format(m)} [{f.format(lo)}-{f.format(hi)}]" if len(vals) > 1 else f.format(m)


def usable(r):
    # A failed run's figures are not compared; counts of failures are, in drip and idle.
    return r.get("ok", True) or r.get("mode") in ("drip", "idle")


def report(path, refs):
    rows = [json.loads(l) for l in open(path)]
    names = list(collections.OrderedDict.fromkeys(r["label"] for r in rows))
    order = {n: i for i, n in enumerate(PEERS)}
    names.sort(key=lambda n: order.get(n, 99))
    data = collections.defaultdict(dict)          # (test, peer) -> round -> row
    bad = collections.Counter()
    for r in rows:
        if r.get("ok") is False:
            bad[(r["label"], r["test"])] += 1
        if "mode" in r and usable(r):
            data[(r["test"], r["label"])][r["round"]] = r
    for title, cols in TABLES:
        cols = [c for c in cols if any(t == c[0] for t, _ in data)]
        if not cols:
            continue
        print(f"\n### {title}\n\nmedian [min-max]\n")
        print("| proxy | " + " | ".join(f"{t} {f}" for t, f, _ in cols) + " |")
        print("|---|" + "---|" * len(cols))
        for n in names:
            cells = [fmt([r[f] for r in data[(t, n)].values() if f in r], d) for t, f, d in cols]
            if any(c != "-" for c in cells):
                print(f"| {n} | " + " | ".join(cells) + " |")
        for ref in refs:
            if not any((t, ref) in data for t, _, _ in cols):
                continue
            print(f"\nratio to {ref}, taken round by round\n")
            print("| proxy | " + " | ".join(f"{t} {f}" for t, f, _ in cols) + " |")
            print("|---|" + "---|" * len(cols))
            for n in names:
                cells = []
                for t, f, _ in cols:
                    a, b = data[(t, n)], data[(t, ref)]
                    v = [a[k][f] / b[k][f] for k in a if k in b and b[k].get(f) and f in a[k]]
                    cells.append(fmt(v, 2))
                if any(c != "-" for c in cells):
                    print(f"| {n} | " + " | ".join(cells) + " |")
    goals.show(data)
    load = [r["other_cpu_s"] / r["wall_s"] for r in rows if r.get("wall_s", 0) > 0.2]
    if load:
        print(f"\nProcessors kept busy by others meanwhile: {fmt(load, 2)}")
    if bad:
        print("\nFailed runs: " + ", ".join(f"{n} {t} x{c}" for (n, t), c in sorted(bad.items())))


# ------------------------------------------------------------------------ main

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", default="build/bench", help="folder for results, logs and configurations")
    ap.add_argument("--awsocks", default="build/awsocks", help="the program to measure")
    ap.add_argument("--awsocks-copy", default="build-portable/awsocks", help="the same built with PORTABLE=1")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--tests", default="verify,bulk,conn,rtt,idle-2000,drip,mix,sys",
                    help="mix: round trips beside bulk; drip: 1000 slow handshakes; also: idle-9500")
    ap.add_argument("--peers", help="only these, comma separated (default: all found but a few variants)")
    ap.add_argument("--peer", action="append", default=[], metavar="NAME;KIND;COMMAND")
    ap.add_argument("--twice", default="", metavar="NAMES",
                    help="run a second instance (NAME#2) of these too: its ratio to the first is the noise")
    ap.add_argument("--bin", action="append", default=[], metavar="PROGRAM=PATH")
    ap.add_argument("--bytes", default="256M")
    ap.add_argument("--count", type=int, default=2000,
                    help="connections in one conn test; many more than this in a minute exhausts the "
                         "ports of proxies that bind before they connect")
    ap.add_argument("--timeout", type=int, default=60, help="seconds for one measurement")
    ap.add_argument("--ref", default="floor-auto,floor-copy,microsocks", help="ratios are taken against these")
    ap.add_argument("--cpus", default=str(max(os.sched_getaffinity(0))),
                    help="run server, proxies and client on these processors only, e.g. 0,1 (the last one; "
                         "mix runs on all)")
    ap.add_argument("--append", action="store_true", help="add to the results already in OUT")
    ap.add_argument("--report", action="store_true", help="only print the tables")
    a = ap.parse_args()
    a.out = os.path.abspath(a.out)
    os.makedirs(a.out, exist_ok=True)
    results = f"{a.out}/results.jsonl"
    if a.report:
        return report(results, a.ref.split(","))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    PATHS["awsocks"] = os.path.abspath(a.awsocks)
    PATHS["awsocks-copy"] = os.path.abspath(a.awsocks_copy)
    for b in a.bin:
        k, v = b.split("=", 1)
        PATHS[k] = os.path.abspath(v)
    for tool in ("socksbench", "splicefwd"):
        src, dst = f"{HERE}/{tool}.c", f"{a.out}/{tool}"
        if tool not in PATHS:
            if not os.path.exists(dst) or os.path.getmtime(dst) < os.path.getmtime(src):
                subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", dst, src],
                               check=True)
            PATHS[tool] = dst
    bench = PATHS["socksbench"]

    spec = collections.OrderedDict(PEERS)
    for p in a.peer:
        name, kind, command = p.split(";", 2)

        def make(b, d, port, command=command):
            return [[w.format(port=port, dir=d, sock=f"{d}/proxy.sock") for w in shlex.split(command)]]
        spec[name] = (shlex.split(command)[0], kind, make)
    for name in filter(None, a.twice.split(",")):
        spec[name + "#2"] = spec[name]
    only = a.peers.split(",") if a.peers else None
    if only:
        only += [n + "#2" for n in a.twice.split(",")]
    peers = []
    for i, (name, (prog, kind, make)) in enumerate(spec.items()):
        if only is not None and name not in only or only is None and name in DEFAULT_OFF:
            continue
        if prog and not (find(prog) and os.path.exists(find(prog))):
            log(f"{name}: {prog} is not installed (make setup, or tests/setup.sh bench): left out")
            continue
        peers.append(Peer(name, prog, kind, make, i, a.out))

    first = 0
    if a.append and os.path.exists(results):
        first = max([json.loads(l)["round"] for l in open(results)], default=-1) + 1
    elif os.path.exists(results):
        os.rename(results, results + time.strftime(".%H%M%S"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))     # runs the clean-up
    server = subprocess.Popen([bench, "serve", "--port", str(BASE_PORT)], stdout=subprocess.PIPE,
                              start_new_session=True)
    try:
        if not server.stdout.readline().startswith(b"ready"):
            sys.exit("the target server did not start")
        tests = tests_of(a)
        for rnd in range(first, first + a.rounds):
            for test, (args, fresh, with_direct) in tests.items():
                if rnd - first >= MOST_ROUNDS.get(test.split("-")[0], a.rounds):
                    continue
                on_cpus(test, a.cpus, server)
                order = peers[rnd % len(peers):] + peers[:rnd % len(peers)]
                if rnd % 2:
                    order.reverse()
                for p in order:
                    if p.kind == "direct" and not with_direct:
                        continue
                    if fresh:
                        p.stop()
                    if not p.start():
                        continue
                    run = {"sys": run_traced, "mix": run_mixed}.get(test.split("-")[0], run_one)
                    r = run(bench, server, p, test, args, a.timeout)
                    r.update(round=rnd, test=test, time=round(time.time(), 1))
                    with open(results, "a") as f:
                        f.write(json.dumps(r) + "\n")
                    if r.get("ok") is False:
                        log(f"{p.name} {test}: not ok: {json.dumps(r)[:300]}")
                    if fresh or r.get("ok") is False:
                        p.stop()
                log(f"round {rnd} {test} done")
    finally:
        for p in peers:
            p.stop()
        server.terminate()
        server.wait()
    report(results, a.ref.split(","))


if __name__ == "__main__":
    main()
