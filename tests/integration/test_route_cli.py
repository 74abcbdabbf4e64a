"""`awsocks route`, `trust` and `check`: which rules decide, and what is wrong with them."""
import json
import os
import stat

import pytest

import cli as cli_module


@pytest.fixture
def cli(tmp_path):
    return cli_module.Cli(tmp_path)


def decide(cli, *args, **how):
    p = cli("route", "--json", *args, **how)
    assert p.returncode == 0, p
    return json.loads(p.stdout)


RULES = """\
default: direct
block: ["*.tracker.example"]
proxy: ["*.internal.example.com", "10.0.0.0/8"]
rules:
  - { match: "*.staging.example.com:443", route: proxy, fallback: direct }
  - { match: "192.0.2.0/24", port: [22, "8000-8099"], route: block, reason: "lab is closed" }
"""


@pytest.mark.parametrize("target,want", [
    ("a.tracker.example", {"route": "block", "rule": "list", "resolver": "none", "while_initializing": "none",
                           "fallback": "none", "port": 443, "host": "a.tracker.example"}),
    ("DB.Internal.Example.COM.:5432", {"route": "proxy", "rule": "list", "resolver": "agent", "port": 5432,
                                       "host": "db.internal.example.com", "while_initializing": "wait",
                                       "fallback": "none"}),
    ("x.staging.example.com", {"route": "proxy", "rule": "rules.yaml:5", "while_initializing": "wait",
                               "fallback": "direct"}),
    ("x.staging.example.com:80", {"route": "direct", "rule": "default", "resolver": "host"}),
    ("192.0.2.9:8050", {"route": "block", "rule": "rules.yaml:6", "reason": "lab is closed"}),
    ("0xC0000209:22", {"host": "192.0.2.9", "route": "block"}),
    ("[::ffff:10.1.2.3]:22", {"host": "10.1.2.3", "route": "proxy", "resolver": "none"}),
    ("2001:DB8::1", {"host": "2001:db8::1", "port": 443, "route": "direct", "resolver": "none"}),
    ("m\u00fcnchen.example", {"host": "xn--mnchen-3ya.example"}),
])
def test_decisions_of_a_rule_file(cli, target, want):
    cli.write("rules.yaml", RULES)
    got = decide(cli, target, "--rules", "rules.yaml")
    assert {k: got[k] for k in want} == want


def test_built_in_default(cli):
    got = decide(cli, "example.com")
    assert (got["route"], got["rule"], got["while_initializing"], got["fallback"]) == \
        ("proxy", "default", "direct", "direct")


@pytest.mark.parametrize("options,init,fallback", [
    ([], "direct", "direct"),
    (["--while-initializing", "hold"], "wait", "direct"),
    (["--while-initializing", "bypass-all", "--route-proxy", "h"], "direct", "none"),
    (["--fallback", "off"], "direct", "none"),
    (["--fallback", "all", "--route-proxy", "h"], "wait", "direct"),
    (["--no-lazy"], "none", "direct"),
    (["--mode", "vm"], "vm-direct", "vm-direct"),
    (["--listen", "unix:/tmp/x.sock"], "wait", "none"),
    (["--listen", "192.168.64.1:1080"], "wait", "none"),
])
def test_lazy_start_and_fallback(cli, options, init, fallback):
    got = decide(cli, "h", *options)
    assert (got["while_initializing"], got["fallback"]) == (init, fallback)


def test_text_says_who_decides(cli):
    cli.write("r.yaml", RULES)
    out = cli.ok("route", "a.internal.example.com", "--rules", "r.yaml")
    assert "list proxy (r.yaml:3)" in out and '"*.internal.example.com"' in out
    assert "SSM agent" in out and "waits" in out
    assert "lab is closed" in cli.ok("route", "192.0.2.1:22", "--rules", "r.yaml")


def test_order_of_rules_and_patterns_is_the_one_given(cli):
    cli.write("r.yaml", "direct: [h]\n")
    assert decide(cli, "h", "--rules", "r.yaml", "--route-block", "h")["route"] == "direct"
    assert decide(cli, "h", "--route-block", "h", "--rules", "r.yaml")["route"] == "block"
    assert decide(cli, "h", "--route-default", "block", "--rules", "r.yaml")["route"] == "direct"
    assert decide(cli, "x", "--route-default", "block", "--rules", "r.yaml")["origin"] == "default (--route-default)"


CONFIG = """\
defaults:
  region: eu-central-1
profiles:
  default:
    routing: { block: [from.profile] }
  staging:
    routing: { default: "proxy:default" }
listeners:
  - { address: "127.0.0.1:1080" }
  - { address: "192.168.64.1:1080", name: cal, rules: cal.yaml }
  - { address: "127.0.0.1:1081", name: guarded, guard: on }
"""


def test_which_rules_decide(cli):
    """Listener's own, alone; --rules and --route-*; project file, then the profile's routing."""
    cli.config(CONFIG)
    cli.write("config/awsocks/cal.yaml", "default: block\ndirect: [of.cal]\n"
              "rules: [{match: localhost, route: direct, allow-host: true}]\n")
    assert decide(cli, "from.profile")["route"] == "block"
    assert decide(cli, "from.profile", "--route-direct", "x")["route"] == "proxy"
    assert decide(cli, "of.cal", "--listener", "cal")["route"] == "direct"
    got = decide(cli, "from.profile", "--listener", "cal", "--route-direct", "from.profile")
    assert (got["route"], got["listener"]) == ("block", "cal")
    assert got["origin"].endswith("config/awsocks/cal.yaml:1)")
    assert decide(cli, "x", "--profile", "staging")["route"] == "proxy:default"
    assert decide(cli, "x", "--profile", "staging")["while_initializing"] == "wait"
    got = decide(cli, "x", "--listener", "127.0.0.1:1081")
    assert (got["listener"], got["while_initializing"], got["fallback"]) == ("guarded", "wait", "none")
    p = cli("route", "x", "--listener", "nobody")
    assert p.returncode == 64 and "127.0.0.1:1080, cal, guarded" in p.stderr
    p = cli("route", "x", "--profile", "stagin")
    assert p.returncode == 64 and "did you mean 'staging'" in p.stderr


def test_project_file_counts_once_trusted(cli):
    project = cli.write("work/.awsocks.yaml", "block: [p.example]\n")
    below = os.path.join(cli.home, "work/a/b")
    os.makedirs(below)
    p = cli("route", "p.example", "--json", cwd=below)
    assert p.returncode == 0 and json.loads(p.stdout)["route"] == "proxy"
    assert f"{project} is not trusted" in p.stderr and f"awsocks trust {project}" in p.stderr

    out = cli.ok("trust", ".awsocks.yaml", cwd=os.path.dirname(project))
    assert project in out and len(out.split()[-1]) == 64
    got = decide(cli, "p.example", cwd=below)
    assert (got["route"], got["origin"]) == ("block", f"list block ({project}:1)")
    store = os.path.join(cli.home, "state/awsocks/trusted")
    record = os.path.join(store, os.listdir(store)[0])
    assert stat.S_IMODE(os.stat(store).st_mode) == 0o700 and stat.S_IMODE(os.stat(record).st_mode) == 0o600

    # options go before it; --no-project-file and other listeners leave it out
    assert decide(cli, "p.example", "--route-direct", "x", cwd=below)["route"] == "proxy"
    assert decide(cli, "p.example", "--no-project-file", cwd=below)["route"] == "proxy"
    assert decide(cli, "p.example", "--listen", "unix:/tmp/s", cwd=below)["route"] == "proxy"

    # another content is not trusted, and neither is the same content elsewhere
    cli.write("work/.awsocks.yaml", "block: [p.example]\ndirect: ['*']\n")
    assert "not trusted" in cli("route", "p.example", cwd=below).stderr
    cli.write("other/.awsocks.yaml", "block: [p.example]\n")
    assert "not trusted" in cli("route", "p.example", cwd=os.path.join(cli.home, "other")).stderr
    cli.write("work/.awsocks.yaml", "block: [p.example]\n")
    assert decide(cli, "p.example", cwd=below)["route"] == "block"

    assert "no longer trusted" in cli.ok("trust", "--revoke", project)
    assert "not trusted" in cli("route", "p.example", cwd=below).stderr
    assert "was not trusted" in cli.ok("trust", "--revoke", project)


def test_nearest_project_file_hides_those_above(cli):
    above = cli.write("w/.awsocks.yaml", "block: [x]\n")
    cli.write("w/sub/.awsocks.yaml", "direct: [x]\n")
    cli.ok("trust", above)
    p = cli("route", "x", "--json", cwd=os.path.join(cli.home, "w/sub"))
    assert json.loads(p.stdout)["route"] == "proxy" and "not trusted" in p.stderr


@pytest.mark.parametrize("text,why", [
    ("blok: [x]\n", "did you mean 'block'"),
    ("rules: [{match: x, route: direct, allow-host: true}]\n", "allow-host opens this host"),
])
def test_trust_refuses_what_would_be_refused(cli, text, why):
    path = cli.write("w/.awsocks.yaml", text)
    p = cli("trust", path)
    assert p.returncode == 65 and why in p.stderr
    assert "not trusted" in cli("route", "x", cwd=os.path.dirname(path)).stderr


def test_trust_wants_a_project_file(cli):
    assert cli("trust", cli.write("rules.yaml", "")).returncode == 64
    assert cli("trust").returncode == 64
    assert cli("trust", "nowhere/.awsocks.yaml").returncode == 74


@pytest.mark.parametrize("target", ["", "a b", "256.1.1.1", "1.2.3.4.5", "a..b", "h:0", "h:65536", "h:x", "[::1",
                                    "fe80::1%eth0", "https://example.com/", "-", "a/b"])
def test_wrong_hosts(cli, target):
    p = cli("route", "--", target)
    assert p.returncode == 64 and p.stderr.startswith("awsocks: "), p


def test_wrong_rules_are_refused_with_their_place(cli):
    cli.write("r.yaml", "default: direct\nproxy:\n  - ok.example\n  - 10.1.2.3/8\n")
    p = cli("route", "x", "--rules", "r.yaml")
    assert p.returncode == 65 and "r.yaml:4:5:" in p.stderr and "10.0.0.0/8" in p.stderr
    p = cli("route", "x", "--rules", "missing.yaml")
    assert p.returncode == 65 and "missing.yaml" in p.stderr
    p = cli("route", "x", "--route-block", "10.*")
    assert p.returncode == 64 and "--route-block" in p.stderr
    p = cli("route", "x", "--route-default", "vm-direct")
    assert p.returncode == 64 and "--mode vm" in p.stderr


def test_unknown_profile_in_a_rule_is_told(cli):
    p = cli("route", "x", "--route-default", "proxy:nobody")
    assert p.returncode == 0 and "no profile 'nobody'" in p.stderr


def test_the_default_listener_has_a_name(cli):
    assert decide(cli, "x", "--listener", "default")["listener"] == "127.0.0.1:1080"
    cli.config("listeners: [{ address: 'unix:/tmp/a.sock' }, { address: ':2', name: b }]\n")
    assert decide(cli, "x", "--listener", "default")["while_initializing"] == "wait"
    assert decide(cli, "x", "--listener", "default", "--listen", ":3")["listener"] == ":3"
    cli.config("listeners: [{ address: '127.0.0.1:1080', guard: on }]\n")
    assert decide(cli, "x", "--listener", "127.0.0.1:1080")["fallback"] == "none"


@pytest.mark.parametrize("pattern", ["re:(", "10.0.0.0/99", "10.1.2.3/8", "[10.0.0.0]", "*.a..b", "host:99999",
                                     "re:a{300}", "*.192.0.2.1", "127.1"])
def test_a_wrong_pattern_is_shown_as_it_was_written(cli, pattern):
    p = cli("route", "example.com", "--route-proxy", pattern)
    assert p.returncode == 64 and f"pattern '{pattern}': " in p.stderr, p
    assert p.stderr.count("pattern '") == 1
