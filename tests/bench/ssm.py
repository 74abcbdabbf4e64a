#!/usr/bin/env python3
"""Measures awsocks over SSM against its own emulator on the loopback interface: `make bench-ssm`.

    make bench-ssm                      # three rounds, a few minutes
    make bench-ssm ROUNDS=7             # figures to keep
    make bench-ssm BENCH_ARGS='--tests bulk --mib 512 --profile'

Tests (--tests, in this order):
  bulk       one session, no throttle: N MiB down and up, payload 1024 and 16384, ws and wss
  open       p50 of a 1-byte echo, and of connect + SOCKS + first echoed byte on a warm session,
             when every message travels for 10 ms
  beside     p50 of the echo, idle and beside a bulk download on another session of the instance,
             with the agent's throttle and without; then with an emulator for each of the two, and
             with an awsocks for each, too; last an echo that goes through no program of ours:
             what sharing the processors alone does
  aggregate  --throttle agent --sessions 8: download over 1, 2, 4, 8 connections to one host
  ssh        --transport ssh --ssh-compression, with a real sshd: download of random bytes and of
             lines of a log, without throttle and with the agent's

CPU is the time (user and system) of awsocks alone, and of the emulator alone, per GB (10^9
bytes) of payload; the emulator's tells whether it is the bottleneck. Every figure is the median of
the rounds, and its range. Every way of running is measured once before any is measured again. The
client, the target's servers and both programs share the processors of the machine: trust CPU more
than MB/s. --profile says where awsocks' time goes, by perf (Linux), for each row of bulk. Only
loopback addresses are used; every process that is started is ended again.
"""
import argparse
import collections
import contextlib
import multiprocessing
import os
import pathlib
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import client          # noqa: E402
import harness         # noqa: E402

HOST, OTHER = "api.internal.example", "other.internal.example"
INSTANCE = "i-0123456789abcdef0"
GB = 1e9
PIECE = 1 << 20
LIMIT_S = 600


# ---------------------------------------------------------------- the target

def serve_one(s):
    """One letter and eight bytes of a size: D sends, T sends text, U takes and answers, E echoes."""
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError, ConnectionError), s:
        what = client.read_exactly(s, 9)
        size = int.from_bytes(what[1:], "big")
        if what[:1] in b"DT":
            piece = os.urandom(PIECE) if what[:1] == b"D" else log_lines()
            while size > 0:
                s.sendall(piece[:size])
                size -= len(piece)
            s.recv(1)
        elif what[:1] == b"U":
            take(s, size)
            s.sendall(b"k")
            s.recv(1)
        else:
            while True:
                data = s.recv(65536)
                if not data:
                    return
                s.sendall(data)


def log_lines():
    """PIECE bytes that gzip makes about eight times shorter."""
    r = random.Random(1)
    lines = (f"2026-11-22T10:{r.randrange(60):02}:{r.randrange(60):02}Z GET /api/v1/items/{r.randrange(10**6)} "
             f"200 {r.randrange(10**5)} bytes in {r.randrange(1000)} ms\n" for _ in range(PIECE // 60))
    return "".join(lines).encode()[:PIECE].ljust(PIECE, b".")


def take(s, size):
    room = memoryview(bytearray(PIECE))
    while size > 0:
        n = s.recv_into(room[:min(size, PIECE)])
        if n == 0:
            raise ConnectionError("cut")
        size -= n


def serve(listener):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=serve_one, args=(s,), daemon=True).start()


def start_target():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    child = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    child.start()
    port = listener.getsockname()[1]
    listener.close()
    return child, port


# ---------------------------------------------------------------- the programs

def environment(home):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("AWS", "XDG_", "SSH_")) and "proxy" not in k.lower()}
    env["HOME"] = home
    for name in ("CONFIG_HOME", "STATE_HOME", "RUNTIME_DIR", "CACHE_HOME"):
        env[f"XDG_{name}"] = os.path.join(home, name)
        os.makedirs(env[f"XDG_{name}"], mode=0o700, exist_ok=True)
    return env


def put_first(pid, nice):
    """Every program is a session of its own: where the kernel groups these, nice counts for the group."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as f:
        f.write(str(nice))


class World:
    """An emulator, a proxy that uses it, and a target behind them. two: OTHER has an emulator of its own."""

    def __init__(self, tls=False, throttle="none", options=(), aws_options=(), two=False):
        self.folder = tempfile.mkdtemp(prefix="awsocks-bench-")
        self.started = []
        self.target, self.port = start_target()
        aws_options = ("--throttle", throttle, *(["--tls"] if tls else []), *aws_options)
        self.aws, aws = self.emulator(aws_options)
        env = environment(self.folder)
        if two:
            _, other = self.emulator(aws_options)
            options = ("--config", self.profiles(env, aws, other), *options)
        else:
            env.update(AWS_ENDPOINT_URL=aws["endpoint"], AWS_ACCESS_KEY_ID=aws["access_key_id"],
                       AWS_SECRET_ACCESS_KEY=aws["secret_access_key"], AWS_REGION="eu-central-1")
            options = ("--instance-id", INSTANCE, "--route-default", "block", "--route-proxy", "*.internal.example",
                       "--route-proxy", "127.0.0.1", *options)
        if aws.get("ca"):
            env["AWS_CA_BUNDLE"] = aws["ca"]
        ready = os.path.join(self.folder, "awsocks.json")
        self.proxy = self.run("awsocks", "start", "--listen", "127.0.0.1:0", "--ready-file", ready,
                              "--grace", "100ms", "--log-level", "error", *options, env=env)
        address = self.proxy.wait_for(lambda: harness.read_json(ready), what="the proxy")
        host, _, port = address["listeners"][0]["address"].rpartition(":")
        self.listener = (host, int(port))

    def emulator(self, options):
        ready = os.path.join(self.folder, f"localaws{len(self.started)}.json")
        p = self.run("awsocks-localaws", "--listen", "127.0.0.1:0", "--ready-file", ready, "--log-level", "error",
                     "--resolve", f"{HOST}=127.0.0.1", "--resolve", f"{OTHER}=127.0.0.1", *options,
                     env=environment(self.folder))
        return p, p.wait_for(lambda: harness.read_json(ready), what="the emulator")

    def profiles(self, env, aws, other):
        """Two profiles of AWS and of awsocks; the latter's file."""
        env.update(AWS_CONFIG_FILE=os.path.join(self.folder, "config"), AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        with open(env["AWS_CONFIG_FILE"], "w", encoding="ascii") as f:
            for name, one in (("default", aws), ("profile other", other)):
                f.write(f"[{name}]\nregion = eu-central-1\nendpoint_url = {one['endpoint']}\n"
                        f"aws_access_key_id = {one['access_key_id']}\n"
                        f"aws_secret_access_key = {one['secret_access_key']}\n")
        path = os.path.join(self.folder, "awsocks.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"profiles:\n  default:\n    instance-id: {INSTANCE}\n    routing:\n      default: block\n"
                    f"      proxy: ['{HOST}']\n      rules: [{{ match: {OTHER}, route: 'proxy:other' }}]\n"
                    f"  other: {{ instance-id: {INSTANCE}, aws-profile: other }}\n")
        return path

    def run(self, name, *argv, env):
        p = harness.Process([harness.program(name), *argv], self.folder, name, env, self.folder)
        self.started.append(p)
        put_first(p.pid, os.getpriority(os.PRIO_PROCESS, 0))
        return p

    def connect(self, what, size=0, host=HOST):
        s = client.socks5(self.listener, host, self.port)
        s.settimeout(LIMIT_S)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(what + size.to_bytes(8, "big"))
        return s

    def warm(self, host=HOST):
        with self.connect(b"E", host=host) as s:
            echo(s)

    def stop(self):
        for p in reversed(self.started):
            p.stop()
        self.target.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def echo(s):
    begun = time.perf_counter()
    s.sendall(b"x")
    client.read_exactly(s, 1)
    return time.perf_counter() - begun


def echoes(w, count, host=HOST):
    with w.connect(b"E", host=host) as s:
        for _ in range(20):
            echo(s)
        return statistics.median(echo(s) for _ in range(count))


# ---------------------------------------------------------------- where the time goes

# The first that fits. A row's name is what the table shows. libcrypto comes without symbols: what
# ran in it over plain ws is SHA-256, and what it does elsewhere over wss is TLS.
PARTS = [
    ("SHA-256", r"\[libcrypto.*plain"),
    ("TLS", r"\[libssl|\[libcrypto"),
    ("libwebsockets", r"\[libwebsockets"),
    ("websocket", r"^ws_|^on_piece|^frame_"),
    ("wiping", r"^mem_wipe"),
    ("acks and JSON", r"\[libcjson|^send_ack|_ack|^acknowledge|cJSON|printf|message_id_text"),
    ("copying", r"memcpy|memmove|memset|copy_user|rep_movs|buf_add|buf_reserve|_copy_|copyin|copyout"),
    ("malloc", r"malloc|_int_free|cfree|calloc|free_chunk|mem_alloc|mem_free|unlink_chunk"),
    ("loop", r"\[libuv|^loop_|^timer_|^watch_|^poller_|epoll|^turn|heap|vdso|clock_"),
    ("kernel", r"\[\[?kernel"),
    ("channel and smux", r"^channel_|^smux_|^message_|^unacked|^ahead_|^session_|^flush_|^on_|^work|^pull"),
    ("relay and sockets", r"^tcp_|^stream_|^relay|^hand_over|^push|recv|send|read|write"),
]


def part_of(dso, symbol, digest_pages):
    text = symbol if dso.startswith("awsocks") else f"{symbol} [{dso}"
    if symbol[:-3] in digest_pages:
        text += " plain"
    return next((name for name, pattern in PARTS if re.search(pattern, text)), "other")


class Profile:
    """perf record of one process while the block runs."""
    digest_pages = set()           # of libcrypto

    def __init__(self, pid, tls):
        self.tls = tls
        self.data = tempfile.mktemp(prefix="awsocks-perf-")
        self.pid = pid
        self.shares = collections.Counter()
        self.symbols = []

    def __enter__(self):
        self.perf = subprocess.Popen(["perf", "record", "-q", "-F", "1999", "-o", self.data, "-p", str(self.pid)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.perf.terminate()
        self.perf.wait()
        r = subprocess.run(["perf", "report", "-i", self.data, "--stdio", "-q", "--no-children",
                            "--sort", "dso,symbol"], capture_output=True, text=True, check=False)
        with contextlib.suppress(OSError):
            os.unlink(self.data)
        for line in r.stdout.splitlines():
            m = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(\S+)", line)
            if m:
                self.symbols.append((float(m[1]), m[2], m[4]))
        if not self.tls:
            self.digest_pages.update(s[:-3] for share, dso, s in self.symbols if "libcrypto" in dso and share > 0.1)
        for share, dso, symbol in self.symbols:
            self.shares[part_of(dso, symbol, self.digest_pages)] += share

    def show(self, top):
        print(textwrap.fill(", ".join(f"{k} {v:.0f} %" for k, v in self.shares.most_common() if v >= 0.5), 110,
                            initial_indent="    ", subsequent_indent="    "))
        for share, dso, symbol in sorted(self.symbols, reverse=True)[:top]:
            print(f"      {share:5.1f} %  {symbol}  ({dso})")
        sys.stdout.flush()


# ---------------------------------------------------------------- the tests

def move(w, way, size):
    with w.connect(way, size) as s:
        if way in b"DT":
            take(s, size)
        else:
            piece = os.urandom(PIECE)
            for _ in range(size // PIECE):
                s.sendall(piece)
            client.read_exactly(s, 1)


def bulk_once(o, tls, payload, way, profile=None):
    """MB/s, CPU s/GB of awsocks, CPU s/GB of the emulator."""
    size = o.mib << 20
    with World(tls, options=("--sessions", "1", "--payload-size", str(payload))) as w:
        w.warm()
        move(w, way, 8 << 20)                  # windows open
        with contextlib.ExitStack() as stack:
            if profile is not None:
                profile.append(stack.enter_context(Profile(w.proxy.pid, tls)))
            ours, theirs, begun = w.proxy.cpu_s(), w.aws.cpu_s(), time.perf_counter()
            move(w, way, size)
            took = time.perf_counter() - begun
            return (size / 1e6 / took, (w.proxy.cpu_s() - ours) / size * GB,
                    (w.aws.cpu_s() - theirs) / size * GB)


BULK = [(tls, payload, way) for tls in (False, True)
        for payload, way in ((1024, b"D"), (1024, b"U"), (16384, b"U"))]


def bulk_name(tls, payload, way):
    # The agent's messages are of 1024 bytes whatever the client's are.
    return f"{'wss' if tls else 'ws ':3} {'down' if way == b'D' else 'up  '} {payload:5}"


def bulk(o):
    results = collections.defaultdict(list)
    for _ in range(o.rounds):
        for row in BULK:
            results[row].append(bulk_once(o, *row))
    print(f"\none session, {o.mib} MiB, no throttle     MB/s          awsocks CPU s/GB      emulator CPU s/GB")
    for row in BULK:
        columns = "  ".join(f"{figure(v, 1):>20}" for v in zip(*results[row]))
        print(f"  {bulk_name(*row):24} {columns}")
    if o.profile:
        print("\nwhere awsocks' time goes (perf)")
        for row in BULK:
            seen = []
            bulk_once(o, *row, profile=seen)
            print(f"  {bulk_name(*row)}")
            seen[0].show(o.top)


def open_streams(o):
    trips, opens = [], []
    for _ in range(o.rounds):
        with World(options=("--sessions", "1"), aws_options=("--fault", "delay=10")) as w:
            w.warm()
            trips.append(echoes(w, o.echoes // 4) * 1e3)
            times = []
            for _ in range(o.echoes // 8):
                begun = time.perf_counter()
                with w.connect(b"E") as s:
                    echo(s)
                    times.append(time.perf_counter() - begun)
            opens.append(statistics.median(times) * 1e3)
    print("\nwarm session, messages travel for 10 ms, p50 in ms")
    print(f"  echo of 1 byte                       {figure(trips, 3)}")
    print(f"  connect, SOCKS, first echoed byte    {figure(opens, 3)}")
    print(f"  difference, in echoes                {figure([(b - a) / a for a, b in zip(trips, opens)], 2)}")


def download_until_killed(w, moved, host):
    with w.connect(b"D", 1 << 40, host) as s:
        room = bytearray(PIECE)
        while True:
            moved.value += s.recv_into(room)


@contextlib.contextmanager
def downloads(w, count, host):
    """`count` endless downloads, each a process; gives their counters."""
    context = multiprocessing.get_context("fork")
    moved = [context.Value("q", 0, lock=False) for _ in range(count)]
    children = [context.Process(target=download_until_killed, args=(w, m, host), daemon=True) for m in moved]
    for child in children:
        child.start()
    try:
        harness.wait_for(lambda: all(m.value > 0 for m in moved), what="every download to begin")
        yield moved
    finally:
        for child in children:
            child.kill()
            child.join()


def plain_echoes(w, count):
    with socket.create_connection(("127.0.0.1", w.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(b"E" + bytes(8))
        for _ in range(20):
            echo(s)
        return statistics.median(echo(s) for _ in range(count))


def rate_of(moved, work):
    """What `work` gives, and MB/s meanwhile."""
    before, begun = sum(m.value for m in moved), time.perf_counter()
    result = work()
    return result, (sum(m.value for m in moved) - before) / (time.perf_counter() - begun) / 1e6


def beside_once(o, throttle, apart):
    """Of the echo, p50 in ms: idle, beside, plain idle, plain beside; MB/s of the download."""
    with contextlib.ExitStack() as stack:
        w = stack.enter_context(World(throttle=throttle, two=apart == EMULATORS))
        loaded = stack.enter_context(World(throttle=throttle)) if apart == ALL else w
        w.warm()
        loaded.warm(OTHER)
        idle, plain_idle = echoes(w, o.echoes), plain_echoes(w, o.echoes)
        moved = stack.enter_context(downloads(loaded, 1, OTHER))
        busy, rate = rate_of(moved, lambda: echoes(w, o.echoes))
        plain = plain_echoes(w, o.echoes)
        return idle * 1e3, busy * 1e3, plain_idle * 1e3, plain * 1e3, rate


EMULATORS, ALL = ", an emulator for each", ", all programs apart"
BESIDE = [("agent", ""), ("none", ""), ("none", EMULATORS), ("none", ALL)]


def beside(o):
    results = collections.defaultdict(list)
    for _ in range(o.rounds):
        for row in BESIDE:
            results[row].append(beside_once(o, *row))
    print("\np50 of a 1-byte echo in ms                           idle    beside a download              ratio"
          "     MB/s of it")
    for (throttle, apart), got in results.items():
        idle, busy, plain_idle, plain, rate = (list(v) for v in zip(*got))
        print(f"  {f'--throttle {throttle}{apart}':37}  {figure(idle, 3):>20} {figure(busy, 3):>20} "
              f"{figure([b / a for a, b in zip(idle, busy)], 2):>18}  {figure(rate, 0):>13}")
        if apart == ALL:
            print(f"  {'no awsocks, no emulator':37}  {figure(plain_idle, 3):>20} {figure(plain, 3):>20} "
                  f"{figure([b / a for a, b in zip(plain_idle, plain)], 2):>18}")


def aggregate(o):
    rates, costs = collections.defaultdict(list), collections.defaultdict(list)
    for _ in range(o.rounds):
        with World(throttle="agent", options=("--sessions", "8")) as w:
            w.warm()
            for n in (1, 2, 4, 8):
                time.sleep(o.settle)           # until the ends of the last ones are seen
                with downloads(w, n, HOST) as moved:
                    time.sleep(o.settle)
                    cpu = w.proxy.cpu_s()
                    _, rate = rate_of(moved, lambda: time.sleep(o.seconds))
                    rates[n].append(rate)
                    costs[n].append((w.proxy.cpu_s() - cpu) / (rate * 1e6 * o.seconds) * GB)
    print("\ndownload under the agent's throttle, --sessions 8")
    print("  connections      MB/s in all             of N times one      awsocks CPU s/GB")
    for n, got in rates.items():
        part = figure([g / (n * one) for g, one in zip(got, rates[1])], 2)
        print(f"  {n:11}  {figure(got, 2):>20}  {part:>20}  {figure(costs[n], 1):>20}")


def ssh_once(throttle, way, size):
    """MB/s; CPU s/GB of awsocks, without that of ssh."""
    from conftest import Sshd          # pylint: disable=import-outside-toplevel
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        sshd = Sshd(pathlib.Path(folder))
        try:
            with World(throttle=throttle,
                       options=("--transport", "ssh", "--ssh-compression", "--ssh-user", sshd.user, "--ssh-key",
                                os.path.join(folder, "client_key"), "--sessions", "1"),
                       aws_options=("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")) as w:
                host = "127.0.0.1"     # as sshd sees it
                w.warm(host)
                cpu, begun = w.proxy.cpu_s(), time.perf_counter()
                with w.connect(way, size, host) as s:
                    take(s, size)
                return size / 1e6 / (time.perf_counter() - begun), (w.proxy.cpu_s() - cpu) / size * GB
        finally:
            sshd.stop()


SSH = [("none", b"D", 64 << 20), ("none", b"T", 64 << 20), ("agent", b"D", 4 << 20), ("agent", b"T", 16 << 20)]


def by_ssh(o):
    results = collections.defaultdict(list)
    for _ in range(o.rounds):
        for row in SSH:
            results[row].append(ssh_once(*row))
    print("\none download, --transport ssh --ssh-compression             MB/s      awsocks CPU s/GB")
    for row, got in results.items():
        name = f"--throttle {row[0]:5}  {'random bytes' if row[1] == b'D' else 'lines of a log'}"
        print(f"  {name:36}  {'  '.join(f'{figure(v, 1):>20}' for v in zip(*got))}")


def figure(values, digits):
    values = list(values)
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def machine():
    model = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "")
    return f"{os.cpu_count()} x {model or platform.machine()}, {platform.system()} {platform.release()}"


BEGIN, END = "<!-- bench-ssm: begin -->", "<!-- bench-ssm: end -->"


class Kept:
    """Standard output, which is also kept."""

    def __init__(self, to):
        self.to = to
        self.text = ""

    def write(self, text):
        self.text += text
        return self.to.write(text)

    def flush(self):
        self.to.flush()


def write_docs(path, text):
    with open(path, encoding="utf-8") as f:
        page = f.read()
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n\n```\n{text.strip()}\n```\n\n{END}{after}")


TESTS = {"bulk": bulk, "open": open_streams, "beside": beside, "aggregate": aggregate,
         "ssh": by_ssh}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tests", default=",".join(TESTS))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--mib", type=int, default=256, help="moved in each run of bulk")
    p.add_argument("--echoes", type=int, default=400)
    p.add_argument("--settle", type=float, default=1.5, help="seconds before a rate is taken")
    p.add_argument("--seconds", type=float, default=4.0, help="over which a rate is taken")
    p.add_argument("--profile", action="store_true")
    p.add_argument("--nice", type=int, default=0, help="of everything, where others load the machine")
    p.add_argument("--docs", help="a page whose part between the marks of bench-ssm gets the results")
    p.add_argument("--top", type=int, default=0, help="symbols shown with --profile")
    o = p.parse_args()
    unknown = set(o.tests.split(",")) - set(TESTS)
    if unknown:
        p.error(f"no such test: {', '.join(sorted(unknown))}")
    if o.nice:
        os.nice(o.nice)
        put_first("self", o.nice)
    sys.stdout = kept = Kept(sys.stdout)
    print(f"{machine()}; {time.strftime('%Y-%m-%d')}; median of {o.rounds} [min-max]; "
          f"load average {os.getloadavg()[0]:.0f}")
    for name in o.tests.split(","):
        TESTS[name](o)
    print(f"\nload average at the end {os.getloadavg()[0]:.0f}")
    if o.docs:
        write_docs(o.docs, kept.text)


if __name__ == "__main__":
    main()
