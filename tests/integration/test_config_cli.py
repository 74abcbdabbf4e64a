"""`awsocks check`, help, the manual, and where an option's value comes from."""
import json
import os
import subprocess

import pytest

import cli as cli_module
import harness


@pytest.fixture
def cli(tmp_path):
    return cli_module.Cli(tmp_path)


def route_of(cli, host, *args, **how):
    return json.loads(cli.ok("route", "--json", host, *args, **how))["route"]


def test_priority_of_sources(cli):
    """argv over environment over profile over defaults over built-in."""
    assert route_of(cli, "x") == "proxy"
    cli.config("defaults: { route-default: block }\nprofiles: { p: { route-default: direct } }\n")
    assert route_of(cli, "x") == "block"
    assert route_of(cli, "x", "--profile", "p") == "direct"
    env = {"AWSOCKS_ROUTE_DEFAULT": "proxy"}
    assert route_of(cli, "x", "--profile", "p", env=env) == "proxy"
    assert route_of(cli, "x", "--profile", "p", "--route-default", "block", env=env) == "block"


def test_config_is_found_by_option_environment_and_xdg(cli):
    other = cli.write("other.yaml", "defaults: { route-default: direct }\n")
    assert route_of(cli, "x", "--config", other) == "direct"
    assert route_of(cli, "x", "-c", "other.yaml") == "direct"
    assert route_of(cli, "x", env={"AWSOCKS_CONFIG": other}) == "direct"
    cli.write(".config/awsocks/config.yaml", "defaults: { route-default: block }\n")
    env = {k: v for k, v in cli.env.items() if k != "XDG_CONFIG_HOME"}
    p = subprocess.run([harness.program("awsocks"), "route", "--json", "x"], env=env, cwd=cli.home,
                       stdout=subprocess.PIPE, check=True)
    assert json.loads(p.stdout)["route"] == "block"
    p = cli("route", "x", "--config", "missing.yaml")
    assert p.returncode == 74 and "missing.yaml" in p.stderr


def test_rules_of_config_are_relative_to_it(cli):
    cli.config("defaults: { rules: r.yaml }\n")
    cli.write("config/awsocks/r.yaml", "block: [x]\n")
    os.makedirs(os.path.join(cli.home, "elsewhere"))
    assert route_of(cli, "x", cwd=os.path.join(cli.home, "elsewhere")) == "block"


@pytest.mark.parametrize("args,why", [
    (["route", "x", "--regoin", "y"], "did you mean --region?"),
    (["route", "x", "--connect-timeout", "30"], "30s"),
    (["route", "x", "--mode", "both"], "direct|vm"),
    (["route"], "usage: awsocks route"),
    (["check", "a", "b"], "usage: awsocks check"),
    (["rout", "x"], "did you mean 'route'?"),
    (["help", "nothing"], "awsocks help lists them"),
])
def test_wrong_usage(cli, args, why):
    p = cli(*args)
    assert p.returncode == 64 and why in p.stderr and p.stdout == ""


def test_wrong_environment(cli):
    p = cli("route", "x", env={"AWSOCKS_SESSIONS": "many"})
    assert p.returncode == 64 and "AWSOCKS_SESSIONS: 'many'" in p.stderr
    p = cli("route", "x", env={"AWSOCKS_ROUTE_DEFUALT": "block"})
    assert p.returncode == 0 and "--route-default" in p.stderr


# ---- check ----

def test_check_tells_every_problem(cli):
    path = cli.config("defaults:\n  regoin: x\n  mode: both\nprofiles:\n  a: { sessions: 0 }\nfoo: 1\n")
    p = cli("check")
    lines = p.stdout.splitlines()
    assert p.returncode == 65 and lines[-1] == "4 problems"
    assert [line.split(": ")[0] for line in lines[:-1]] == [f"{path}:{at}" for at in ("2:3", "3:9", "5:18", "6:1")]


def test_check_looks_into_all_rules(cli):
    path = cli.config("defaults: { rules: one.yaml }\nprofiles:\n  p:\n    routing: { blok: [x] }\n"
                      "listeners:\n  - { address: ':0', name: l, rules: two.yaml }\n")
    cli.write("config/awsocks/one.yaml", "direct: ['a b']\n")
    cli.write("config/awsocks/two.yaml", "default: nowhere\n")
    p = cli("check")
    assert p.returncode == 65 and f"{path}:4:16: unknown key 'blok'" in p.stdout
    assert "two.yaml:1:10:" in p.stdout
    cli.config("defaults: { rules: one.yaml }\n")
    assert "one.yaml:1:10:" in cli("check").stdout


def test_check_a_rule_file(cli):
    good = cli.write("good.yaml", "default: direct\nvm-direct: [x]\n")
    out = cli.ok("check", good)
    assert "vm-direct list is ignored" in out and "no problem found" in out
    assert "ignored" not in cli.ok("check", good, "--mode", "vm")
    bad = cli.write("bad.yaml", "direct: ['a b', 10.*]\nrules: [{match: x}]\n")
    p = cli("check", bad)
    assert p.returncode == 65 and p.stdout.count(bad) == 3 and p.stdout.endswith("3 problems\n")
    broken = cli.write("broken.yaml", "proxy: [*.example.com]\n")
    p = cli("check", broken)
    assert p.returncode == 65 and f"{broken}:1:" in p.stdout and "quotes" in p.stdout


def test_check_a_configuration_by_content(cli):
    bad = cli.write("x.yaml", "listeners: [{address: '1080'}]\n")
    p = cli("check", bad)
    assert p.returncode == 65 and f"{bad}:1:23: address:" in p.stdout
    good = cli.write("y.yaml", "defaults: { region: x }\n")
    assert cli.ok("check", good).endswith("no problem found\n")


def test_check_names_profiles_that_are_missing(cli):
    path = cli.config("profiles: { a: { region: x } }\ndefaults: { route-default: 'proxy:b' }\n")
    p = cli("check")
    assert p.returncode == 65 and f"no profile 'b' in {path}" in p.stdout


def test_check_without_anything(cli):
    assert "no problem found" in cli.ok("check")
    p = cli("check", "missing.yaml")
    assert p.returncode == 74 and "missing.yaml" in p.stderr


# ---- help and manual ----

def test_help(cli):
    text = cli.ok("help")
    assert text == cli.ok("--help") == cli.ok("-h")
    assert max(map(len, text.splitlines())) <= 100
    for word in ("--instance-id", "--route-vm-direct", "check", "[127.0.0.1:1080]"):
        assert word in text
    assert "--listener NAME" in cli.ok("help", "route") == cli.ok("route", "--help")
    assert "--revoke" in cli.ok("trust", "-h")
    assert cli.ok("version") == cli.ok("--version")


def test_the_manual_is_current(cli):
    with open(os.path.join(harness.TREE, "docs/awsocks.1"), encoding="utf-8") as f:
        assert cli.ok("man", os.path.join(harness.TREE, "docs/awsocks.1.in")) == f.read(), "run: make man"


def test_the_manual_is_well_formed():
    try:
        p = subprocess.run(["mandoc", "-T", "lint", "-W", "style", os.path.join(harness.TREE, "docs/awsocks.1")],
                           stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("mandoc is not installed")
    assert [line for line in p.stdout.splitlines() if "mandoc.db" not in line] == []


def test_check_looks_into_the_files_of_the_aws_cli(cli):
    cli.config("profiles:\n  a: { aws-profile: corp }\n  b: { aws-profile: gone }\n")
    cli.write(".aws/config", "[profile corp]\nregion = eu-west-1\n[corpse]\nregion = eu-west-1\n")
    p = cli("check")
    assert p.returncode == 65 and "config.yaml:3" in p.stdout and "aws-profile 'gone' is neither in" in p.stdout
    assert "'corp'" not in p.stdout
    cli.write(".aws/config", "[profile corp]\n[profile gone]\nno sense\n")
    p = cli("check")
    assert p.returncode == 65 and ".aws/config:3: 'key = value' expected" in p.stdout


def test_check_passes_warnings_of_the_aws_files_on(cli):
    cli.write(".aws/credentials", "[a]\naws_access_key_id = x\n[a]\nregion = y\n")
    p = cli("check")
    assert p.returncode == 0 and "warning: " in p.stdout and ".aws/credentials:3: " in p.stdout, p


def test_credentials_follow_the_configuration(cli):
    cli.config("defaults: { aws-profile: corp }\nprofiles: { other: { aws-profile: two } }\n")
    cli.write(".aws/credentials", "[corp]\naws_access_key_id = AKIDCORP\naws_secret_access_key = s1\n"
                                  "[two]\naws_access_key_id = AKIDTWO\naws_secret_access_key = s2\n"
                                  "[default]\naws_access_key_id = AKIDNONE\naws_secret_access_key = s3\n")
    assert "AKIDCORP" in cli.ok("credentials")
    assert "AKIDTWO" in cli.ok("credentials", "other") and "AKIDTWO" in cli.ok("credentials", "--profile", "two")
    assert "config.yaml:1" in cli.ok("credentials", "--explain")
    assert cli("credentials", "nosuch").returncode == 64
    p = cli("credentials", "--config", "/nonexistent")
    assert p.returncode != 0 and "/nonexistent" in p.stderr


@pytest.mark.parametrize("command", ["status", "stop", "reload", "connect", "credentials", "trust", "check", "route",
                                     "start", "demo", "vm", "version"])
def test_every_command_has_help(cli, command):
    for flag in ("--help", "-h"):
        assert cli.ok(command, flag) == cli.ok("help", command)
    assert cli.ok(command, "--help").startswith(f"usage: awsocks {command}")
    assert " \n" not in cli.ok(command, "--help")
