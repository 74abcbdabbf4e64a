"""A proxy under soakload (tests/soak/): what is done to it meanwhile, what is looked at, and what must come out.

While the load runs, once a second: the rule files are replaced (now and then by one that is wrong) and reloaded,
the audit log is moved away and read, memory is read, and `awsocks status` asked. Nothing here is timed: a slow machine
makes fewer rounds of it.
"""
import collections
import json
import os
import random
import re
import signal
import statistics
import subprocess
import time

import harness

TARGETS = [f"127.0.1.{i}" for i in range(1, 33)] + ["127.0.1.254", "localhost", "::1"]

# What the log may say at level warn: each was provoked.
PROVOKED = [
    r"warn  sandbox: .* lies directly in ",       # the test's own folders
    r"warn  start: no instance is named",
    r"(warn|error) +\w+: .*the old rules stay",
    r"(warn|error) +\w+: .*(rules|box)\.yaml:\d+:\d+: ",
]

# The error of an audit line -> what soakload calls it.
OUTCOMES = [
    ("", "fine"),
    (r"blocked by rule ", "fine"),
    (r"client: Connection reset by peer$", "client-reset"),
    (r"remote: Connection reset by peer$", "remote-reset"),
    (r".*: Connection refused$", "refused"),
    (r"no whole request within \d+ ms$", "too-slow"),
    (r"the client went away before its request was whole$", "aborted"),
    (r"connection: Connection reset by peer$", "aborted"),
    (r"control byte in the head|not a request line|only HTTP/1\.0 and|SOCKS5: the client offers no|SOCKS4: only",
     "malformed"),
]


def outcome(text):
    if not text:
        return "fine"
    return next((name for pattern, name in OUTCOMES[1:] if re.match(pattern, text)), f"unprovoked: {text}")


def write_rules(path, rng, ours):
    """A rule file that decides as all the others do, among rules that decide nothing here. Replaced in one step: what
    reads half of a file cannot know what the other half would have said."""
    lines = ["default: block", "rules:"]
    for i in range(rng.randrange(20, 200)):
        lines.append(f'  - {{ match: "*.host{rng.randrange(10**6)}.example.com", route: block, reason: "rule {i}" }}')
    lines += ours
    lines.append('block: ["*.blocked.example"]')
    replace(path, "\n".join(lines) + "\n")


def replace(path, text):
    with open(f"{path}.new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(f"{path}.new", path)


GENERAL = ['  - { match: ["127.0.0.0/8", "::1", "localhost"], route: direct }']
# The host guard of a Unix socket's listener: each address of this host by itself.
BOX = [f'  - {{ match: "{t}", route: direct, allow-host: true }}' for t in TARGETS]


class Soak:
    def __init__(self, awsocks, folder, seed, handshake_ms, *options):
        self.folder = str(folder)
        self.rng = random.Random(seed)
        self.seed, self.handshake_ms = seed, handshake_ms
        self.rules, self.box = f"{folder}/rules.yaml", f"{folder}/box.yaml"
        self.rewrite()
        config = f"{folder}/config.yaml"
        replace(config, f'listeners:\n  - {{ address: "unix:{folder}/p.sock", name: box, rules: {self.box} }}\n')
        self.proxy = awsocks("--config", config, "--rules", self.rules, "--log-level", "warn", "--handshake-timeout",
                             f"{handshake_ms}ms", *options)
        self.lines = collections.Counter()
        self.expected = collections.Counter()
        self.memory = []            # (second of the load, Rss and its anonymous part in KiB)
        self.rounds = self.wrong = self.reports = 0

    # ---- once a second ----

    def rewrite(self):
        write_rules(self.rules, self.rng, GENERAL)
        write_rules(self.box, self.rng, BOX)

    def reload(self):
        """Good files, and every seventh time a wrong one, which must be named."""
        self.rounds += 1
        bad = self.rounds % 7 == 0
        self.rewrite()
        if bad:
            replace(self.rng.choice([self.rules, self.box]), "default: direct\nblock: [\n")
        r = harness.run([harness.program("awsocks"), "reload"], env=self.proxy.env, check=False)
        if r.returncode != (65 if bad else 0):
            self.proxy.fail(f"answers a reload with {r.returncode}: {harness.show(r.stderr)}")
        if bad:
            assert re.search(rb"(rules|box)\.yaml:\d+:\d+: ", r.stderr), r.stderr
            self.wrong += 1

    def audit_path(self):
        return os.path.join(self.proxy.env["HOME"], "audit", "audit.jsonl")

    def rotate(self):
        """Takes the audit log away, lets the proxy open a new one, and counts what is in the old."""
        path = self.audit_path()
        os.rename(path, f"{path}.old")
        os.kill(self.proxy.pid, signal.SIGHUP)
        self.proxy.wait_for(lambda: os.path.exists(path), what="a new audit log")
        self.count(f"{path}.old")
        os.unlink(f"{path}.old")

    def count(self, path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                one = json.loads(line)
                self.lines[f"{one['proto']} {one['action']} {outcome(one.get('error', ''))}"] += 1

    def look(self, second):
        with open(f"/proc/{self.proxy.pid}/smaps_rollup", encoding="ascii") as f:
            fields = dict(line.split()[:2] for line in f if line[0] in "RA")
        self.memory.append((second, int(fields["Rss:"]), int(fields["Anonymous:"])))
        if self.rounds % 3 == 0:
            s = self.proxy.status()
            assert s["pid"] == self.proxy.pid and s["connections"] >= 0

    # ---- the load ----

    def load(self, seconds, rate, conc, seed):
        """Runs soakload beside all that; what it says was done is added to what the audit log must have."""
        out = f"{self.folder}/load-{seed}"
        with open(f"{out}.json", "wb") as stdout, open(f"{out}.err", "wb") as stderr:
            argv = [harness.program("tools/soakload"), "--proxy", self.proxy.address, "--unix",
                    f"{self.folder}/p.sock", "--seconds", seconds, "--rate", rate, "--conc", conc, "--seed", seed,
                    "--handshake-ms", self.handshake_ms]
            with subprocess.Popen([str(a) for a in argv], stdout=stdout, stderr=stderr) as child:
                try:
                    self.beside(child, seconds)
                finally:
                    child.kill()
        result = harness.read_json(f"{out}.json")
        with open(f"{out}.err", encoding="utf-8", errors="replace") as f:
            said = f.read()
        if child.returncode or not result or result["failures"]:
            self.proxy.fail(f"failed its clients (seed {seed}): {result}\n{said}")
        self.expected.update(result["lines"])
        return result

    def beside(self, child, seconds):
        begun = time.monotonic()
        end = begun + seconds + 180
        while True:
            try:
                child.wait(1)
                return
            except subprocess.TimeoutExpired:
                pass
            now = time.monotonic()
            if not self.proxy.running() or now > end:
                self.proxy.fail("ended, or the load did not")
            if now - begun < seconds:      # not while the last ones end
                self.reload()
                self.look(now - begun)
                if self.rounds % 5 == 0:
                    self.rotate()

    # ---- what must be ----

    def quiet(self):
        """Waits until nobody is connected any more."""
        self.proxy.wait_for(lambda: self.proxy.status()["connections"] == 0, what="all connections to end")

    def descriptors(self):
        """How many descriptors of each kind are open."""
        return collections.Counter(re.sub(r"\d+", "N", d) for d in self.proxy.descriptors())

    def descriptors_at_rest(self):
        """The same without what is there for a moment only, as that of who has just asked for the status."""
        least = self.descriptors()
        for _ in range(20):
            time.sleep(0.05)
            least &= self.descriptors()
        return least

    def check_audit(self):
        self.rotate()
        self.count(self.audit_path())
        got, want = self.lines, self.expected
        assert got == want, f"seed {self.seed}: too many {got - want}, missing {want - got}"

    def check_log(self):
        strange = [line for line in self.proxy.log().splitlines()
                   if line and not any(re.search(p, line) for p in PROVOKED)]
        assert not strange, f"seed {self.seed}: " + "\n".join(strange[:20])
        assert not self.wrong or "the old rules stay" in self.proxy.log()

    def medians(self, since, until):
        """Of both kinds of memory, over a span of seconds of the load."""
        of = [m[1:] for m in self.memory if since <= m[0] < until]
        return [statistics.median(column) for column in zip(*of)]
