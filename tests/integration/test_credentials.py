"""credentials/ and ec2/ against a fake STS and EC2 that checks signatures with botocore."""
import json
import os
import re
import subprocess
import time

import pytest

pytest.importorskip("botocore")
import harness  # noqa: E402
from conftest import clean_environment  # noqa: E402
from fakeaws import FakeAws  # noqa: E402


@pytest.fixture(scope="module")
def cli():
    build = os.path.basename(harness.BUILD)
    arguments = [*(["SAN=1"] if "-san" in build else []), *(["PORTABLE=1"] if "-portable" in build else [])]
    subprocess.run(["make", "-s", *arguments, f"{build}/unit/aws_cli"], cwd=harness.TREE, check=True, timeout=900)
    return os.path.join(harness.BUILD, "unit", "aws_cli")


@pytest.fixture
def fake():
    server = FakeAws()
    yield server
    server.stop()


@pytest.fixture
def aws(cli, fake, tmp_path):
    """aws(arguments..., config=, credentials=, env=) -> (status, lines, error text)"""
    def run(*arguments, config="", credentials="", status=0, **env):
        home = tmp_path / ".aws"
        home.mkdir(exist_ok=True)
        (home / "config").write_text(config)
        (home / "credentials").write_text(credentials)
        environment = {**clean_environment(tmp_path), "AWS_ENDPOINT_URL": fake.url, "AWS_REGION": "eu-west-3", **env}
        r = harness.run([cli, *arguments], check=False, env=environment)
        err = harness.show(r.stderr)
        assert r.returncode == status, err
        return r.stdout.decode().splitlines(), err
    return run


KEYS = {"AWS_ACCESS_KEY_ID": "AKIDUSER", "AWS_SECRET_ACCESS_KEY": "usersecret"}
USER = "[user]\naws_access_key_id = AKIDUSER\naws_secret_access_key = usersecret\n"


def fields(lines):
    return dict(line.split(" ", 1) for line in lines)


def test_signature_region_and_service(aws, fake):
    assert aws("identity", "1", **KEYS)[0] == ["200"]
    assert [(s[2], s[3], s[4]) for s in fake.seen] == [("AKIDUSER", "eu-west-3", "sts")]


def test_a_wrong_secret_is_refused(aws, fake):
    _, err = aws("identity", "1", status=77, AWS_ACCESS_KEY_ID="AKIDUSER", AWS_SECRET_ACCESS_KEY="wrong")
    assert err.startswith("credentials SignatureDoesNotMatch: ")
    assert fake.seen == []


def test_an_endpoint_with_a_path(aws, fake):
    assert aws("identity", "1", AWS_ENDPOINT_URL_STS=fake.url + "/vpc/x/", **KEYS)[0] == ["200"]


def test_a_chain_of_roles(aws, fake):
    config = ("[profile one]\nrole_arn = arn:aws:iam::1:role/One\nsource_profile = user\nexternal_id = a b&c\n"
              "duration_seconds = 900\n[profile two]\nrole_arn = arn:aws:iam::1:role/Two\nsource_profile = one\n"
              "role_session_name = me@here\n")
    got = fields(aws("creds", "two", config=config, credentials=USER)[0])
    assert got["id"] == "ASIAROLE2" and got["token"] == "token/2+=" and got["account"] == "111122223333"
    assert got["source"] == "profile two (assume role arn:aws:iam::1:role/Two)"
    first, second = fake.seen
    session = first[1].pop("RoleSessionName")
    assert re.fullmatch(r"awsocks-[\w+=,.@-]+", session) and len(session) <= 64
    assert first[1:3] == ({"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": "arn:aws:iam::1:role/One",
                           "ExternalId": "a b&c", "DurationSeconds": "900"}, "AKIDUSER")
    assert second[1:3] == ({"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": "arn:aws:iam::1:role/Two",
                            "RoleSessionName": "me@here"}, "ASIAROLE1")


def test_a_role_is_assumed_once_for_many_calls(aws, fake):
    config = "[profile one]\nrole_arn = R\nsource_profile = user\n"
    aws("identity", "5", config=config, credentials=USER, AWS_PROFILE="one")
    assert fake.actions() == ["AssumeRole"] + ["GetCallerIdentity"] * 5


def test_short_lived_roles_are_renewed_before_they_expire(aws, fake):
    fake.role_life_s = 0            # expired on arrival: never used
    _, err = aws("identity", "1", config="[profile one]\nrole_arn = R\nsource_profile = user\n",
                 credentials=USER, AWS_PROFILE="one", status=77)
    assert "expired already" in err and fake.actions() == ["AssumeRole"]


def test_a_refused_role(aws, fake):
    fake.faults = [(403, "AccessDenied", "User is not authorized to perform: sts:AssumeRole")]
    _, err = aws("creds", "one", config="[profile one]\nrole_arn = R\nsource_profile = user\n",
                 credentials=USER, status=77)
    assert "sts: AssumeRole: AccessDenied: User is not authorized" in err
    assert len(fake.seen) == 1


def counting_process(tmp_path):
    """A credential_process that hands out AKID0, AKID1, ... one a run."""
    script = tmp_path / "my process.sh"
    count = tmp_path / "count"
    count.write_text("0")
    script.write_text("#!/bin/sh\nn=$(cat \"$1\")\necho $((n+1)) > \"$1\"\n"
                      'printf \'{"Version":1,"AccessKeyId":"AKID%s","SecretAccessKey":"s%s","SessionToken":"t%s"}\' '
                      "$n $n $n\n")
    script.chmod(0o755)
    return f'"{script}" \'{count}\'', count


def test_expired_credentials_are_renewed_once(aws, fake, tmp_path):
    command, count = counting_process(tmp_path)
    fake.keys.update({f"AKID{n}": (f"s{n}", f"t{n}") for n in range(9)})
    fake.bad_keys["AKID0"] = "ExpiredToken"
    config = f"[profile p]\ncredential_process = {command}\n"
    assert aws("identity", "3", config=config, AWS_PROFILE="p")[0] == ["200"] * 3
    assert count.read_text().strip() == "2"
    assert [s[2] for s in fake.seen] == ["AKID1"] * 3


def test_credentials_that_stay_expired_are_an_error(aws, fake, tmp_path):
    command, count = counting_process(tmp_path)
    fake.bad_keys.update({f"AKID{n}": "ExpiredTokenException" for n in range(9)})
    _, err = aws("identity", "1", config=f"[profile p]\ncredential_process = {command}\n", AWS_PROFILE="p", status=77)
    assert "credential_process) have expired" in err
    assert count.read_text().strip() == "2"


@pytest.mark.parametrize("faults", [
    [(400, "Throttling"), (503, "RequestLimitExceeded")],
    [(500, "InternalError"), (503, "ServiceUnavailable")],
    ["drop", "drop"],
])
def test_passing_faults_are_retried(aws, fake, faults):
    fake.faults = list(faults)
    assert aws("identity", "1", **KEYS)[0] == ["200"]
    assert len(fake.seen) == 3


@pytest.mark.parametrize("settings, profile, tries", [
    ({}, "", 3),
    ({"AWS_MAX_ATTEMPTS": "1"}, "", 1),
    ({"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "2"}, "", 2),
    ({"AWS_MAX_ATTEMPTS": "2"}, "retry_mode = legacy\n", 2),
    ({}, "retry_mode = standard\nmax_attempts = 2\n", 2),
])
def test_as_many_tries_as_the_configuration_says(aws, fake, settings, profile, tries):
    fake.faults = [(503, "ServiceUnavailable")] * 9
    aws("identity", "1", config="[default]\n" + profile, status=69, **KEYS, **settings)
    assert len(fake.seen) == tries


def test_a_retry_mode_that_is_none(aws, fake):
    _, err = aws("identity", "1", config="[default]\nretry_mode = often\n", status=65, **KEYS)
    assert "retry_mode 'often' is not standard, legacy or adaptive" in err and not fake.seen


def test_throttling_without_end(aws, fake):
    fake.faults = [(400, "ThrottlingException")] * 9
    _, err = aws("identity", "1", status=75, **KEYS)
    assert err.startswith("limit ThrottlingException: ")
    assert len(fake.seen) == 3


@pytest.mark.parametrize("code, kind, status", [
    ("AccessDenied", "credentials", 77),
    ("InvalidClientTokenId", "credentials", 77),
    ("ValidationError", "aws", 69),
])
def test_errors_that_stand(aws, fake, code, kind, status):
    fake.faults = [(400, code, "because\nof this")]
    _, err = aws("identity", "1", status=status, **KEYS)
    assert err.startswith(f"{kind} {code}: sts: GetCallerIdentity: {code}: because?of this (HTTP 400)")
    assert len(fake.seen) == 1


@pytest.mark.parametrize("skew", [-3600, 86400])
def test_a_clock_that_is_off_is_allowed_for(aws, fake, skew):
    fake.skew_s = skew
    assert aws("identity", "2", **KEYS)[0] == ["200", "200"]
    assert len(fake.seen) == 2


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_role_under_a_clock_that_is_off(aws, fake, skew):
    """Two hours fast, and a role for one hour would seem to have expired when it comes."""
    fake.skew_s = skew
    config = "[profile one]\nrole_arn = R\nsource_profile = user\n"
    assert aws("identity", "1", config=config, credentials=USER, AWS_PROFILE="one")[0] == ["200"]
    got = fields(aws("creds", "one", config=config, credentials=USER)[0])
    assert abs(int(got["expires"]) / 1000 - time.time() - 3600) < 120


def test_instances_over_three_pages(aws, fake):
    fake.pages = [[("i-1", "stopped", "2026-01-01T00:00:00.000Z"), ("i-2", "running", "2024-01-01T00:00:00.000Z")],
                  [], [("i-3", "running", "2025-01-01T00:00:00.000Z")]]
    assert aws("name", "web *", **KEYS)[0] == ["i-3 running", "i-2 running", "i-1 stopped"]
    assert [s[1].get("NextToken") for s in fake.seen] == [None, "page/1", "page/2"]
    assert fake.seen[0][1]["Filter.1.Value.1"] == "web \\*" and fake.seen[0][4] == "ec2"


def test_one_instance(aws, fake):
    fake.pages = [[("i-7", "stopped", "2026-01-01T00:00:00.000Z")]]
    assert aws("id", "i-7", **KEYS)[0] == ["i-7 stopped"]
    assert aws("id", "i-gone", **KEYS)[0] == []


@pytest.mark.parametrize("script, text", [
    ("echo one >&2; echo 'please log in' >&2; exit 3", "ended with status 3: please log in"),
    ("kill -9 $$", "ended with signal 9"),
    ("echo '{}'", "Version"),
    ("echo '[]'", "not a JSON object"),
    ("echo nothing", "not a JSON object"),
    ("echo '{\"Version\":2}'", "Version"),
    ("echo '{\"Version\":1,\"AccessKeyId\":\"a\"}'", "no SecretAccessKey"),
    ("echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Expiration\":\"x\"}'", "Expiration"),
    ("yes", "more than it may"),
])
def test_processes_that_fail(aws, tmp_path, script, text):
    path = tmp_path / "p.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    arguments = ("creds", "p")
    config = f"[profile p]\ncredential_process = {path}\n"
    status = 75 if script == "yes" else 77
    _, err = aws(*arguments, config=config, status=status)
    assert "profile p (credential_process)" in err and text in err


def test_a_process_that_is_not_there(aws):
    _, err = aws("creds", "p", config="[profile p]\ncredential_process = /nonexistent/x y\n", status=74)
    assert "credential_process" in err and "/nonexistent/x" in err


# --- the command ---

@pytest.fixture
def command(fake, tmp_path):
    def run(*arguments, config="", credentials="", status=0, **env):
        home = tmp_path / ".aws"
        home.mkdir(exist_ok=True)
        (home / "config").write_text(config)
        (home / "credentials").write_text(credentials)
        r = harness.run([harness.program("awsocks"), "credentials", *arguments], check=False,
                        env={**clean_environment(tmp_path), "AWS_ENDPOINT_URL": fake.url, **env})
        assert r.returncode == status, harness.show(r.stderr)
        return r.stdout.decode(), harness.show(r.stderr)
    return run


ROLE = "[profile one]\nregion = eu-west-1\nrole_arn = arn:aws:iam::1:role/One\nsource_profile = user\n"


def test_command_prints_credential_process_json(command, fake):
    out, _ = command("--profile", "one", config=ROLE, credentials=USER)
    got = json.loads(out)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", got.pop("Expiration"))
    assert got == {"Version": 1, "AccessKeyId": "ASIAROLE1", "SecretAccessKey": "rolesecret1",
                   "SessionToken": "token/1+=", "AccountId": "111122223333"}
    assert json.loads(command(credentials=USER, AWS_PROFILE="user")[0]) == {
        "Version": 1, "AccessKeyId": "AKIDUSER", "SecretAccessKey": "usersecret"}


def test_command_explains_without_secrets(command):
    out, err = command("--profile=one", "--explain", config=ROLE, credentials=USER)
    assert "profile one (assume role arn:aws:iam::1:role/One)" in out
    assert "eu-west-1" in out and "one (--profile)" in out and "111122223333" in out
    for hidden in ("rolesecret", "usersecret", "token/1", "ASIAROLE1"):
        assert hidden not in out + err


def test_command_without_credentials(command):
    out, err = command(status=77)
    assert out == "" and "aws configure" in err
    _, err = command("--profile", "gone", status=77)
    assert "'gone' could not be found" in err
    _, err = command("--profile", "corp", status=65,
                     config="[profile corp]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n")
    assert "there is no [sso-session s] with sso_start_url and sso_region" in err


@pytest.mark.parametrize("status, config, says", [
    (65, "[default\n", "config:1: ']' is missing"),
    (65, "[default]\nrole_arn = arn:aws:iam::1:role/A\n", "needs one of source_profile and credential_source"),
    (65, "[default]\nsource_profile = default\nrole_arn = r\n", "leads back"),
    (77, "[default]\naws_access_key_id = X\n", "without aws_secret_access_key"),
    (77, "[default]\ncredential_process = sh -c 'exit 3'\n", "ended with status 3"),
    (74, "[default]\ncredential_process = /nonexistent/program\n", "/nonexistent/program"),
], ids=["file", "profile", "circle", "half a pair", "a process that fails", "no process"])
def test_command_ends_by_the_cause(command, status, config, says):
    out, err = command(status=status, config=config)
    assert out == "" and says in err


def test_command_refuses_wrong_usage(command):
    _, err = command("--nonsense", status=64)
    assert "nonsense" in err
