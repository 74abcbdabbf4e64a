"""The goals that a run of tests/bench/run.py can show, and whether this one did.

Medians over the rounds; ratios are taken within a round first, as in the tables.
What a run has not measured is not mentioned. Called by run.report().
"""
import statistics

PEERS = ["microsocks", "dante", "v2ray", "ssh-D", "tinyproxy"]

# (what, test, field, proxy, [references; none: the figure itself], at most)
AT_MOST = [
    *[(f"bulk {way}, {n} stream{'s' if n > 1 else ''}: CPU per GB", f"bulk-{way}-{n}", "proxy_cpu_s_per_gb",
       "awsocks", ["floor-auto"], 1.15) for n in (8, 1) for way in ("down", "up")],
    *[(f"bulk {way}, 8 streams, copy path: CPU per GB", f"bulk-{way}-8", "proxy_cpu_s_per_gb",
       "awsocks-copy", [ref], limit)
      for way in ("down", "up") for ref, limit in (("microsocks", .6), ("floor-copy", 1.1))],
    ("CPU per connection", "conn", "proxy_cpu_us_per_conn", "awsocks", ["floor-auto"], 1.25),
    *[("CPU per connection", "conn", "proxy_cpu_us_per_conn", "awsocks", [p], 1.0) for p in PEERS],
    ("round trip, p50", "rtt-1", "p50_us", "awsocks", ["floor-auto"], 1.1),
    ("round trip, 32 tunnels: CPU per trip", "rtt-32", "proxy_cpu_us_per_trip", "awsocks", ["floor-auto"], 1.15),
    ("round trip beside four bulk streams, p50, not pinned", "mix-rtt", "p50_us", "awsocks", ["floor-auto"], 1.5),
    ("system calls per connection", "sys-conn", "syscalls_per_unit", "awsocks", [], 37),
    ("system calls per round trip", "sys-rtt", "syscalls_per_unit", "awsocks", [], 6.1),
    *[(f"KiB of resident memory per idle tunnel, {n} tunnels", f"idle-{n}", "rss_kb_per_tunnel", "awsocks", [], 1.0)
      for n in (2000, 9500)],
    *[(f"CPU while idle, ms/s, {n} tunnels", f"idle-{n}", "idle_cpu_ms_per_s", "awsocks", [], 0.1)
      for n in (2000, 9500)],
]
# (what, test, field, field that it must be equal to, in every round)
ALL_OF = [
    ("idle tunnels alive", "idle-2000", "alive", "count"),
    ("idle tunnels alive", "idle-9500", "alive", "count"),
    ("requests served beside 1,000 slow handshakes", "drip", "during_served", "during_sent"),
]


def median(data, test, field, proxy, refs):
    """Of the figure, or of its ratio to the reference; None: this run has not got both."""
    own = data.get((test, proxy), {})
    if not refs:
        values = [r[field] for r in own.values() if field in r]
    else:
        other = data.get((test, refs[0]), {})
        values = [own[k][field] / other[k][field] for k in own
                  if field in own[k] and other.get(k, {}).get(field)]
    return (statistics.median(values), len(values)) if values else None


def verdict(value, limit):
    return "holds" if value <= limit else f"missed by {value - limit:.2f} ({100 * (value / limit - 1):.0f} %)"


def lines(data):
    """Rows of a table: goal, limit, measured, rounds, verdict. data: (test, proxy) -> round -> figures."""
    out = []
    for what, test, field, proxy, refs, limit in AT_MOST:
        got = median(data, test, field, proxy, refs)
        if got:
            bar = f"{limit:g} x {refs[0]}" if refs else f"{limit:g}"
            out.append(f"| {what} | {bar} | {got[0]:.2f} | {got[1]} | {verdict(got[0], limit)} |")
    for what, test, field, whole in ALL_OF:
        rows = [r for r in data.get((test, "awsocks"), {}).values() if field in r and whole in r]
        if rows:
            got, want = sum(r[field] for r in rows), sum(r[whole] for r in rows)
            out.append(f"| {what} | all | {got} of {want} | {len(rows)} | "
                       f"{'holds' if got == want else f'missed by {want - got}'} |")
    return out


def show(data):
    rows = lines(data)
    if rows:
        print("\n### Goals\n\n| of awsocks | at most | median | rounds | |\n|---|---|---|---|---|")
        print("\n".join(rows))
