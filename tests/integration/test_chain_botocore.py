"""The credentials chosen from files and environments are those that botocore chooses.

Roles are left out here (they need an STS both would ask, see test_credentials.py), and so
is what we read otherwise on purpose: doubled sections, comments behind values, AWS_REGION.
"""
import os
import subprocess

import pytest

botocore_session = pytest.importorskip("botocore.session")
import harness  # noqa: E402
from conftest import clean_environment  # noqa: E402
from test_credentials import cli  # noqa: E402,F401

KEYS = "aws_access_key_id = {0}\naws_secret_access_key = s{0}\n"
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


def theirs(profile):
    """(id, secret's token) that botocore finds; "none", or "error"."""
    try:
        found = botocore_session.Session(profile=profile).get_credentials()
        if found is None:
            return "none"
        frozen = found.get_frozen_credentials()
        return frozen.access_key, frozen.token or "-"
    except Exception as e:  # whatever it raises is its refusal
        return "error", str(e)


@pytest.mark.parametrize("name", CASES)
def test_the_same_credentials(cli, tmp_path, monkeypatch, name):  # noqa: F811
    profile, config, credentials, env = CASES[name]
    files = {"AWS_CONFIG_FILE": tmp_path / "aws-config",
             "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "aws-credentials"}
    files["AWS_CONFIG_FILE"].write_bytes(config.encode())
    files["AWS_SHARED_CREDENTIALS_FILE"].write_bytes(credentials.encode())
    environment = {**clean_environment(tmp_path), **{k: str(v) for k, v in files.items()},
                   "AWS_EC2_METADATA_DISABLED": "true", **env}
    for old in list(os.environ):
        if old.startswith("AWS"):
            monkeypatch.delenv(old)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    want = theirs(profile)
    r = subprocess.run([cli, "creds", *([profile] if profile else [])], env=environment, capture_output=True,
                       text=True, timeout=harness.LIMIT_S, stdin=subprocess.DEVNULL, check=False)
    if want == "none" or want[0] == "error":
        assert r.returncode in (65, 69, 77), (want, r.stdout)
        return
    got = dict(line.split(" ", 1) for line in r.stdout.splitlines())
    assert (got.get("id"), got.get("token")) == want, r.stderr
