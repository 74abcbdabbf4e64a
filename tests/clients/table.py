#!/usr/bin/env python3
"""Which client honours which proxy variable, measured against awsocks, as the tables of docs/CLIENTS.md.

    make clients-table                 the clients that are installed here; prints, and writes docs/CLIENTS.md
    table.py --only curl,node          these

Each run is one client in the VM of netns.py, which reaches nothing but the proxy, with one kind of variable and no
other. That the answer came shows that the proxy was used; the audit log shows whether it was asked for the name or for
an address that the client had looked up itself (the VM knows the names for this). A row of a client that is not
installed stays as it is.
"""
import argparse
import os
import pathlib
import re
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "integration"))

import clients      # noqa: E402
import harness      # noqa: E402
import netns        # noqa: E402
import test_clients_vm as vm    # noqa: E402

DOC = TREE / "docs" / "CLIENTS.md"
HTTP, SOCKS5, SOCKS5H = (f"{scheme}://{vm.GATEWAY}" for scheme in ("http", "socks5", "socks5h"))

# Column, scheme of what is fetched, variables.
KINDS = (
    ("`HTTPS_PROXY`", "https", {"HTTPS_PROXY": HTTP}),
    ("`https_proxy`", "https", {"https_proxy": HTTP}),
    ("`HTTP_PROXY`", "http", {"HTTP_PROXY": HTTP}),
    ("`http_proxy`", "http", {"http_proxy": HTTP}),
    ("`ALL_PROXY`", "https", {"ALL_PROXY": HTTP}),
    ("`HTTPS_PROXY` = socks5", "https", {"HTTPS_PROXY": SOCKS5, "https_proxy": SOCKS5}),
    ("`HTTPS_PROXY` = socks5h", "https", {"HTTPS_PROXY": SOCKS5H, "https_proxy": SOCKS5H}),
    ("`ALL_PROXY` = socks5h", "https", {"ALL_PROXY": SOCKS5H, "all_proxy": SOCKS5H}),
    ("Unix socket", "https", {"ALL_PROXY": "socks5h://localhost@SOCKET@"}),
)
ENV = "`awsocks env`"
HEAD = ("client", "version", *(k[0] for k in KINDS), ENV)
# What an entry of NO_PROXY may look like: column, entry, host of the URL.
EXCEPTIONS = (
    ("exact name", "@NAME@", ""), ("`example.com`, a subdomain", "example.com", ""),
    ("`.example.com`", ".example.com", ""), ("`*.example.com`", "*.example.com", ""),
    ("address", netns.NET, netns.NET), ("network (CIDR)", "203.0.113.0/24", netns.NET),
    ("loopback, not listed", "", "127.0.0.1"),
)
EXCEPTION_HEAD = ("client", *(k[0] for k in EXCEPTIONS))
# What a client says when a variable ends it.
COMPLAINTS = (
    (b"Missing dependencies for SOCKS", "error: needs PySocks"),
    (b"Unable to determine SOCKS version", "error: scheme unknown"),
    (b"Not supported proxy scheme", "error: scheme unknown"),
    (b"Unsupported proxy", "error: scheme unknown"),
    (b"unknown proxy scheme", "error: scheme unknown"),
    (b"Proxy URL had unsupported", "error: scheme unknown"),
    (b"Invalid URL", "error: invalid URL"),
    (b"'socksio' package is not installed", "error: needs socksio"),
    (b"Unknown scheme for proxy URL", "error: scheme unknown"),
    (b"Invalid URL protocol", "error: ends at start"),
)


class Run:
    """One client with variables of the test's choice."""

    def __init__(self, place, client, scheme, variables, host="", how=None):
        context = clients.Context(place.home(), place.net, scheme, host)
        argv, env = client.argv(context), {**place.environment(client, context), **variables}
        before = len(self._audit(place))
        argv = vm.HOW[how](place, argv, context.home) if how else [*place.world.vm.wrap, *argv]
        r = harness.run(argv, env=env, check=False, cwd=context.home, limit_s=60)
        self.said = r.stdout + r.stderr
        self.worked = r.returncode == 0 and client.says in self.said
        try:
            harness.wait_for(lambda: len(self._audit(place)) > before, 2 if self.worked else 0.3)
        except harness.Failed:
            pass
        self.asked = [line["host"] for line in self._audit(place)[before:] if line["host"].endswith("example.com") or
                      line["host"] == netns.NET or line["host"].startswith("127.")]

    @staticmethod
    def _audit(place):
        try:
            return place.proxy.audit()
        except FileNotFoundError:
            return []

    def cell(self):
        if self.worked:
            return "local DNS" if netns.NET in self.asked else "yes"
        for text, cell in COMPLAINTS:
            if text in self.said:
                return cell
        return "error" if self.asked else "no"


def row(place, client):
    version = client.installed_version()
    socket = str(place.folder / "box" / "proxy.sock")
    own = {"NODE_USE_ENV_PROXY": "1"} if client.name == "node 24" else {}       # without, it is as node 20
    cells = [Run(place, client, scheme, {**own, **{k: v.replace("@SOCKET@", socket) for k, v in variables.items()}})
             .cell() for _, scheme, variables in KINDS]
    last = Run(place, client, "https", {}, how="env")
    reason = client.limit(version)
    if last.worked == bool(reason):
        sys.exit(f"{client.name} {version}: with awsocks env: {last.said[-2000:].decode('utf-8', 'replace')}")
    return (client.name, version, *cells, f"no: {reason}" if reason else "yes")


def exceptions(place, client):
    name = (Run(place, client, "https", {}, how="env").asked or ["?"])[0]
    cells = []
    for _, entry, host in EXCEPTIONS:
        # awsocks env would overwrite NO_PROXY: its variables, then ours.
        entry = entry.replace("@NAME@", name)
        variables = {**place.variables, "NO_PROXY": entry, "no_proxy": entry}
        cells.append("no" if Run(place, client, "https", variables, host).asked else "yes")
    return (client.name, *cells)


def as_table(head, rows):
    widths = [max(len(str(r[i])) for r in (head, *rows)) for i in range(len(head))]
    lines = ["| " + " | ".join(str(c).ljust(w) for c, w in zip(r, widths)) + " |" for r in (head, *rows)]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines) + "\n"


def read_table(name, text=None):
    """{client: cells} of the table between its marks in docs/CLIENTS.md."""
    text = DOC.read_text(encoding="utf-8") if text is None else text
    body = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    lines = [[c.strip() for c in line.strip("|\n ").split("|")] for line in (body.group(1) if body else "").splitlines()
             if line.startswith("|") and not line.startswith("|-")]
    return {cells[0]: cells for cells in lines[1:]}


def write_table(name, head, rows):
    text = DOC.read_text(encoding="utf-8")
    old = read_table(name, text)
    old.update({r[0]: list(r) for r in rows})
    ordered = [old[c.name] for c in clients.CLIENTS if c.name in old]
    table = as_table(head, ordered)
    DOC.write_text(re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: m.group(1) + table + m.group(2), text,
                          flags=re.DOTALL), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    os.environ["NO_COLOR"] = "1"
    parser.add_argument("--only", default="", help="names, with commas between")
    args = parser.parse_args()
    if not netns.available():
        sys.exit("table.py: no namespaces here")
    rows, more = [], []
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="awsocks-") as folder:
        place = vm.Place(pathlib.Path(folder))
        with place.end:
            place.world.vm.hosts(place.net.names)
            place.variables = {k: v for k, v in vm.variables().items() if k != "GIT_SSH_COMMAND"}
            for client in clients.CLIENTS:
                if client.missing() or (args.only and client.name not in args.only.split(",")):
                    print(f"{client.name}: left out", file=sys.stderr)
                    continue
                rows.append(row(place, client))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
                if rows[-1][-1] == "yes" and client.name != "git over ssh":
                    more.append(exceptions(place, client))
                    print(" | ".join(more[-1]), file=sys.stderr, flush=True)
    print(as_table(HEAD, rows) + "\n" + as_table(EXCEPTION_HEAD, more), end="")
    write_table("variables", HEAD, rows)
    write_table("exceptions", EXCEPTION_HEAD, more)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
