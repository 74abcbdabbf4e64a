"""The credentials chosen from files and environments are those that botocore chooses.

STS, the SSO portal, containers and IMDS are one small server here, which answers ours and botocore alike; each of them
gets a fresh one. Left out is what we read otherwise on purpose: doubled sections, comments behind values. Compared are
identity, token, expiry and region; the region's one difference is AWS_REGION, which the AWS CLI v2 knows and botocore
does not.
"""
import hashlib
import json
import os
import subprocess
from urllib.parse import parse_qsl, urlsplit

import pytest

botocore_session = pytest.importorskip("botocore.session")
import botocore.credentials  # noqa: E402
import botocore.tokens  # noqa: E402

import harness  # noqa: E402
import peer  # noqa: E402
from conftest import clean_environment  # noqa: E402
from test_credentials import cli  # noqa: E402,F401

KEYS = "aws_access_key_id = {0}\naws_secret_access_key = s{0}\n"
# They are asked once, for a second, if nothing else is said: not enough on a busy machine.
IMDS = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_METADATA_SERVICE_TIMEOUT": "20"}
ENV = {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "senv"}
PROCESS = "credential_process = printf '{{\"Version\":1,\"AccessKeyId\":\"{0}\",\"SecretAccessKey\":\"s\"}}'\n"


def keys(name):
    return KEYS.format(name)


CASES = {
    # name: (profile or None, config, credentials, environment)
    "nothing": (None, "", "", {}),
    "environment": (None, "", "[default]\n" + keys("DEF"), ENV),
    "environment, token": (None, "", "", {**ENV, "AWS_SESSION_TOKEN": "tok"}),
    "environment, old token": (None, "", "", {**ENV, "AWS_SECURITY_TOKEN": "old"}),
    "environment, both tokens": (None, "", "", {**ENV, "AWS_SECURITY_TOKEN": "old", "AWS_SESSION_TOKEN": "tok"}),
    "environment, no secret": (None, "", "[default]\n" + keys("DEF"), {"AWS_ACCESS_KEY_ID": "ENV"}),
    "environment, no id": (None, "", "[default]\n" + keys("DEF"), {"AWS_SECRET_ACCESS_KEY": "x"}),
    "environment, empty id": (None, "", "[default]\n" + keys("DEF"), {**ENV, "AWS_ACCESS_KEY_ID": ""}),
    "environment beats AWS_PROFILE": (None, "", "[a]\n" + keys("A"), {**ENV, "AWS_PROFILE": "a"}),
    "profile beats environment": ("a", "", "[a]\n" + keys("A"), ENV),
    "AWS_PROFILE": (None, "", "[default]\n" + keys("DEF") + "[a]\n" + keys("A"), {"AWS_PROFILE": "a"}),
    "AWS_DEFAULT_PROFILE": (None, "", "[default]\n" + keys("DEF") + "[a]\n" + keys("A"), {"AWS_DEFAULT_PROFILE": "a"}),
    "AWS_PROFILE unknown": (None, "", "[default]\n" + keys("DEF"), {"AWS_PROFILE": "gone"}),
    "AWS_PROFILE unknown, and keys": (None, "", "[default]\n" + keys("DEF"), {**ENV, "AWS_PROFILE": "gone"}),
    "profile unknown": ("gone", "", "[default]\n" + keys("DEF"), {}),
    "default": (None, "", "[default]\n" + keys("DEF"), {}),
    "default in config": (None, "[default]\n" + keys("CONF"), "", {}),
    "profile default": (None, "[default]\n" + keys("ONE") + "[profile default]\n" + keys("TWO"), "", {}),
    "credentials beat config": (None, "[default]\n" + keys("CONF"), "[default]\n" + keys("CRED"), {}),
    "process beats config": (None, "[default]\n" + PROCESS.format("PROC") + keys("CONF"), "", {}),
    "credentials beat process": (None, "[default]\n" + PROCESS.format("PROC"), "[default]\n" + keys("CRED"), {}),
    "process in credentials": (None, "", "[default]\n" + PROCESS.format("PROC"), {}),
    "process that fails": (None, "[default]\ncredential_process = false\n" + keys("CONF"), "", {}),
    "process, version 2": (None, "[default]\ncredential_process = echo '{\"Version\":2}'\n" + keys("CONF"), "", {}),
    "half a pair in credentials": (None, "[default]\n" + keys("CONF"), "[default]\naws_access_key_id = X\n", {}),
    "half a pair in config": (None, "[default]\naws_access_key_id = X\n", "", {}),
    "empty id in credentials": (None, "[default]\n" + PROCESS.format("PROC"), "[default]\naws_access_key_id =\n", {}),
    "empty id in config": (None, "[default]\naws_access_key_id =\n", "", IMDS),
    "secret alone": (None, "[default]\n" + keys("CONF"), "[default]\naws_secret_access_key = X\n", {}),
    "token in file": (None, "", "[default]\n" + keys("A") + "aws_session_token = tok\n", {}),
    "old token in file": (None, "", "[default]\n" + keys("A") + "aws_security_token = old\n", {}),
    "both tokens in file": (None, "", "[default]\n" + keys("A") + "aws_session_token = tok\naws_security_token = old\n",
                            {}),
    "quoted profile": ("a b", "[profile \"a b\"]\n" + keys("AB"), "", {}),
    "single-quoted profile": ("a b", "[profile 'a b']\n" + keys("AB"), "", {}),
    "blanks before a name": ("a", "[profile    a]\n" + keys("A"), "", {}),
    "section without the word": ("a", "[a]\n" + keys("A"), "", {}),
    "the word in credentials": ("a", "", "[profile a]\n" + keys("A"), {}),
    "profile name's case": ("A", "[profile a]\n" + keys("A"), "", {}),
    "key's case": (None, "", "[default]\nAWS_Access_Key_ID = A\nAWS_SECRET_ACCESS_KEY = s\n", {}),
    "colon": (None, "", "[default]\naws_access_key_id: A\naws_secret_access_key: s\n", {}),
    "no blanks": (None, "", "[default]\naws_access_key_id=A\naws_secret_access_key=s=/+\n", {}),
    "secret with a hash": (None, "", "[default]\naws_access_key_id=A\naws_secret_access_key=s#x\n", {}),
    "CRLF": (None, "", ("[default]\n" + keys("A")).replace("\n", "\r\n"), {}),
    "comments": (None, "", "# x\n[default]\n; y\n" + keys("A") + "  # z\n", {}),
    "indented keys": (None, "", "[default]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n", {}),
    "map between": (None, "[default]\ns3 =\n  a = b\n  c = d\n" + keys("A"), "", {}),
    "key before a section": (None, "", "x = y\n[default]\n" + keys("A"), {}),
    "line without a delimiter": (None, "", "[default]\nnonsense\n" + keys("A"), {}),
    "open section": (None, "", "[default\n" + keys("A"), {}),
    "nothing inherited": ("a", "[default]\n" + keys("DEF") + "[profile a]\nregion = r\n", "", {}),
}


ROLE = "role_arn = arn:aws:iam::111122223333:role/{0}\n"
USER = "[user]\n" + keys("USER")
OTHER = "[other]\n" + keys("OTHER")
SSO = ("sso_start_url = https://d-1.awsapps.com/start\nsso_region = eu-west-1\nsso_account_id = 111122223333\n"
       "sso_role_name = Reader\n")
NEW_SSO = ("sso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Reader\n"
           "[sso-session corp]\nsso_start_url = https://d-1.awsapps.com/start\nsso_region = eu-west-1\n")

# {token}: a web identity token's file; {net}: the server below.
CASES.update({
    "role": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = user\n", USER, {}),
    "role, all options": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = user\nexternal_id = ext\n"
                          "duration_seconds = 1800\nrole_session_name = me\n", USER, {}),
    "role in the credentials file": ("one", "", "[one]\n" + ROLE.format("A") + "source_profile = user\n" + USER, {}),
    "role by AWS_PROFILE": (None, "[profile one]\n" + ROLE.format("A") + "source_profile = user\n", USER,
                            {"AWS_PROFILE": "one"}),
    "environment beats a role": (None, "[profile one]\n" + ROLE.format("A") + "source_profile = user\n", USER,
                                 {**ENV, "AWS_PROFILE": "one"}),
    "role of a role": ("two", "[profile one]\n" + ROLE.format("A") + "source_profile = user\n[profile two]\n"
                       + ROLE.format("B") + "source_profile = one\n", USER, {}),
    "role of itself": ("one", "", "[one]\n" + ROLE.format("A") + "source_profile = one\n" + keys("SELF"), {}),
    "a source's keys before its role": ("two", "[profile one]\n" + ROLE.format("A") + "source_profile = user\n"
                                        "[profile two]\n" + ROLE.format("B") + "source_profile = one\n",
                                        USER + "[one]\n" + keys("ONE"), {}),
    "role without a source": ("one", "[profile one]\n" + ROLE.format("A"), USER, {}),
    "role with two sources": ("one", "[profile one]\n" + ROLE.format("A")
                              + "source_profile = user\ncredential_source = Environment\n", USER, ENV),
    "role of a source that is not there": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = gone\n",
                                           USER, {}),
    "roles in a circle": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = two\n[profile two]\n"
                          + ROLE.format("B") + "source_profile = one\n", "", {}),
    "role of the environment": ("one", "[profile one]\n" + ROLE.format("A") + "credential_source = Environment\n", "",
                                ENV),
    "role of an environment without keys": ("one", "[profile one]\n" + ROLE.format("A")
                                            + "credential_source = Environment\n", "", {}),
    "role of an unknown kind": ("one", "[profile one]\n" + ROLE.format("A") + "credential_source = Elsewhere\n", "",
                                {}),
    "role of a process": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = p\n[profile p]\n"
                          + PROCESS.format("PROC"), "", {}),
    "role beside keys": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = user\n",
                         USER + "[one]\n" + keys("ONE"), {}),
    "web identity by the environment": (None, "", "", {"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/W",
                                                       "AWS_WEB_IDENTITY_TOKEN_FILE": "{token}"}),
    "web identity by a profile": ("w", "[profile w]\n" + ROLE.format("W") + "web_identity_token_file = {token}\n", "",
                                  {}),
    "web identity and a source profile": ("w", "[profile w]\n" + ROLE.format("W")
                                          + "web_identity_token_file = {token}\nsource_profile = user\n", USER, {}),
    "role of web identity": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = w\n[profile w]\n"
                             + ROLE.format("W") + "web_identity_token_file = {token}\n", "", {}),
    "web identity without a file": ("w", "[profile w]\n" + ROLE.format("W")
                                    + "web_identity_token_file = {token}.not\n", "", {}),
    "keys of the environment beat web identity": (None, "", "", {
        **ENV, "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/W", "AWS_WEB_IDENTITY_TOKEN_FILE": "{token}"}),
    "sso": ("s", "[profile s]\n" + SSO, "", {}),
    "sso beats keys": ("s", "[profile s]\n" + SSO, "[s]\n" + keys("S"), {}),
    "sso without a role": ("s", "[profile s]\n" + SSO.replace("sso_role_name = Reader\n", ""), "", {}),
    "sso session": ("s", "[profile s]\n" + NEW_SSO, "", {}),
    "role of sso": ("one", "[profile one]\n" + ROLE.format("A") + "source_profile = s\n[profile s]\n" + SSO, "", {}),
    "container": (None, "", "", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{net}/container"}),
    "container, with a token": (None, "", "", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{net}/container",
                                               "AWS_CONTAINER_AUTHORIZATION_TOKEN": "abc"}),
    "keys beat a container": (None, "", "[default]\n" + keys("DEF"),
                              {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{net}/container"}),
    "role of a container": ("one", "[profile one]\n" + ROLE.format("A") + "credential_source = EcsContainer\n", "",
                            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{net}/container"}),
    "a container elsewhere, without TLS": (None, "", "", {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/container"}),
    "instance": (None, "", "", IMDS),
    "role of an instance": ("one", "[profile one]\n" + ROLE.format("A") + "credential_source = Ec2InstanceMetadata\n",
                            "", IMDS),
    "keys beat an instance": (None, "", "[default]\n" + keys("DEF"), IMDS),
    "environment with an expiry": (None, "", "", {**ENV, "AWS_SESSION_TOKEN": "t",
                                                  "AWS_CREDENTIAL_EXPIRATION": "2099-01-02T03:04:05Z"}),
    "process with an expiry": (None, "[default]\ncredential_process = printf '%s' '" + json.dumps(
        {"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "s", "SessionToken": "t",
         "Expiration": "2099-01-02T03:04:05Z"}) + "'\n", "", {}),
    "region of the profile": ("a", "[profile a]\nregion = eu-west-2\n" + keys("A"), "", {}),
    "region of the environment": ("a", "[profile a]\nregion = eu-west-2\n" + keys("A"), "",
                                  {"AWS_DEFAULT_REGION": "us-east-2"}),
    "region in the credentials file": ("a", "", "[a]\nregion = eu-west-2\n" + keys("A"), {}),
    "region in both files": ("a", "[profile a]\nregion = eu-west-2\n", "[a]\nregion = eu-west-4\n" + keys("A"), {}),
    "default's region is not inherited": ("a", "[default]\nregion = eu-west-2\n", "[a]\n" + keys("A"), {}),
    "AWS_REGION is the CLI's": ("a", "[profile a]\nregion = eu-west-2\n" + keys("A"), "",
                                {"AWS_REGION": "us-west-1", "AWS_DEFAULT_REGION": "us-east-2"}),
})

EXPIRES = "2099-01-01T00:00:00Z"


class Net(peer.Http):
    """STS, the SSO portal, a container's endpoint and IMDS. What it gives out is numbered from one."""

    def __init__(self):
        self.given = 0
        net = self

        class Handler(peer.Handler):
            protocol_version = "HTTP/1.1"

            def reply(self, text, status=200):
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
                self.end_headers()
                self.wfile.write(data)

            def do_PUT(self):
                self.reply("metadata-token")

            def do_POST(self):
                body = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.reply(net.sts(body))

            def do_GET(self):
                self.reply(*net.get(urlsplit(self.path), self.headers))

        self.serve(Handler)

    def sts(self, p):
        self.given += 1
        who = f"{p['RoleArn'].split('/')[-1]}{self.given}"
        more = "".join(p.get(k, "") for k in ("ExternalId", "DurationSeconds", "WebIdentityToken"))
        return (f"<{p['Action']}Response><{p['Action']}Result><Credentials><AccessKeyId>{who}{more}</AccessKeyId>"
                f"<SecretAccessKey>s</SecretAccessKey><SessionToken>t{who}</SessionToken><Expiration>{EXPIRES}"
                "</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>x</AssumedRoleId><Arn>"
                f"arn:aws:sts::111122223333:assumed-role/x/y</Arn></AssumedRoleUser></{p['Action']}Result>"
                f"</{p['Action']}Response>")

    def get(self, url, headers):
        if url.path == "/federation/credentials":
            q = dict(parse_qsl(url.query))
            if headers.get("x-amz-sso_bearer_token") != "sso-token":
                return "{}", 401
            return json.dumps({"roleCredentials": {
                "accessKeyId": f"SSO{q['role_name']}{q['account_id']}", "secretAccessKey": "s", "sessionToken": "t",
                "expiration": 4070908800000}}), 200
        found = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": EXPIRES, "SecretAccessKey": "s", "Token": "t",
                 "Expiration": EXPIRES}
        if url.path == "/container":
            return json.dumps({**found, "AccessKeyId": "CONT" + headers.get("Authorization", "")}), 200
        if url.path.endswith("/security-credentials/"):
            return "imds-role", 200
        if url.path.endswith("/imds-role"):
            return json.dumps({**found, "AccessKeyId": "INST"}), 200
        return "", 404


def write_files(case, folder, url):
    """The case's files below folder, with the SSO tokens of both kinds; its environment."""
    _, config, credentials, env = case
    (folder / "token").write_text("web-token")
    fill = {"{token}": str(folder / "token"), "{net}": url}

    def filled(text):
        for k, v in fill.items():
            text = text.replace(k, v)
        return text
    (folder / "aws-config").write_bytes(filled(config).encode())
    (folder / "aws-credentials").write_bytes(filled(credentials).encode())
    cache = folder / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("corp", "https://d-1.awsapps.com/start"):
        (cache / (hashlib.sha1(name.encode()).hexdigest() + ".json")).write_text(json.dumps(
            {"startUrl": "https://d-1.awsapps.com/start", "region": "eu-west-1", "accessToken": "sso-token",
             "expiresAt": EXPIRES}))
    return {**clean_environment(folder), "AWS_CONFIG_FILE": str(folder / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws-credentials"), "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url, **{k: filled(v) for k, v in env.items()}}


def theirs(profile, url, monkeypatch):
    """What botocore finds: a dict; "none", or ("error", why)."""
    create = botocore_session.Session.create_client

    def at_ours(self, service, region_name=None, **more):
        more["endpoint_url"] = url
        return create(self, service, region_name or "us-east-1", **more)
    monkeypatch.setattr(botocore_session.Session, "create_client", at_ours)
    for owner in (botocore.credentials.SSOProvider, botocore.tokens.SSOTokenProvider):    # made of HOME when imported
        monkeypatch.setattr(owner, "_SSO_TOKEN_CACHE_DIR", os.path.expanduser("~/.aws/sso/cache"))
    try:
        session = botocore_session.Session(profile=profile)
        region = session.get_config_variable("region")
        found = session.get_credentials()
        if found is None:
            return "none"
        frozen = found.get_frozen_credentials()
        until = getattr(found, "_expiry_time", None)
        return {"id": frozen.access_key, "token": frozen.token or "-", "region": region or "-",
                "expires": str(int(until.timestamp() * 1000) if until else 0)}
    except Exception as e:  # whatever it raises is its refusal
        return "error", str(e)


@pytest.mark.parametrize("name", CASES)
def test_the_same_credentials(cli, tmp_path, monkeypatch, name):  # noqa: F811
    profile = CASES[name][0]
    net = Net()
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    try:
        environment = write_files(CASES[name], tmp_path / "theirs", net.url)
        for old in list(os.environ):
            if old.startswith("AWS"):
                monkeypatch.delenv(old)
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        want = theirs(profile, net.url, monkeypatch)
        net.given = 0
        environment = write_files(CASES[name], tmp_path / "ours", net.url)
        r = subprocess.run([cli, "creds", *([profile] if profile else [])], capture_output=True, text=True,
                           env={**environment, "AWS_ENDPOINT_URL": net.url}, timeout=harness.LIMIT_S,
                           stdin=subprocess.DEVNULL, check=False)
    finally:
        net.stop()
    if not isinstance(want, dict):
        assert r.returncode in (65, 69, 77), (want, r.stdout)
        return
    got = dict(line.split(" ", 1) for line in r.stdout.splitlines())
    if "AWS_REGION" in environment:
        want["region"] = environment["AWS_REGION"]      # the AWS CLI v2's rule
    assert {k: got.get(k) for k in want} == want, (r.stderr, CASES[name])


def test_there_are_enough():
    assert len(CASES) >= 60
