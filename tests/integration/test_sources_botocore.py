"""Sources that have to be asked, at the emulator: what botocore gets from the same variables, we get too."""
import base64
import datetime
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import pytest

botocore_session = pytest.importorskip("botocore.session")
import harness  # noqa: E402
from conftest import REGION, clean_environment  # noqa: E402
from test_credentials import cli, fields  # noqa: E402,F401

botocore = pytest.importorskip("botocore")
# Older ones know no AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE.
KNOWS_TOKEN_FILE = tuple(int(n) for n in botocore.__version__.split(".")[:2]) >= (1, 32)
ARN = "arn:aws:iam::123456789012:role/"


class Session(botocore_session.Session):
    """One that asks the STS that AWS_ENDPOINT_URL names: older versions do not know the variable."""

    def create_client(self, *args, **kwargs):
        kwargs["endpoint_url"] = os.environ["AWS_ENDPOINT_URL"]
        return super().create_client(*args, **kwargs)


def jwt(**claims):
    parts = [{"alg": "RS256"}, {"sub": "system:serviceaccount:a:b", "aud": "sts.amazonaws.com", "iss": "https://oidc",
                                **claims}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + ".c2ln"


@pytest.fixture
def both(cli, tmp_path, monkeypatch):  # noqa: F811
    """both(config=, env=, profile=) -> (ours, theirs): fields, or the text of the refusal."""
    def run(config="", env=None, profile=None, want=("id", "token", "expires")):
        (tmp_path / "aws-config").write_text(config)
        environment = {**clean_environment(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "aws-config"),
                       "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_DEFAULT_REGION": REGION,
                       **(env or {})}
        for old in [k for k in os.environ if k.startswith("AWS")]:
            monkeypatch.delenv(old)
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        r = subprocess.run([cli, "creds", *([profile] if profile else [])], env=environment, capture_output=True,
                           text=True, timeout=harness.LIMIT_S, stdin=subprocess.DEVNULL, check=False)
        ours = fields(r.stdout.splitlines()) if r.returncode == 0 else r.stderr
        try:
            found = Session(profile=profile).get_credentials()
            frozen = found.get_frozen_credentials()
            until = getattr(found, "_expiry_time", None)
            theirs = {"id": frozen.access_key, "token": frozen.token or "-", "method": found.method,
                      "expires": str(int(until.timestamp() * 1000)) if until else "0", "keys": frozen}
        except Exception as e:  # whatever it raises is its refusal
            theirs = str(e)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            assert {k: ours[k] for k in want} == {k: theirs[k] for k in want}
        return ours, theirs
    return run


def imds(aws):
    return {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.endpoint,
            "AWS_METADATA_SERVICE_TIMEOUT": "20"}       # they are asked once, for a second, if nothing else is said


def test_instance_metadata(both, localaws):
    aws = localaws()
    ours, theirs = both(env=imds(aws))
    assert ours["source"] == "instance metadata (role localaws-instance)" and theirs["method"] == "iam-role"
    assert aws.stats()["InstanceMetadata"] == 6


def test_instance_metadata_named_in_the_profile(both, localaws):
    aws = localaws()
    ours, theirs = both(f"[default]\nec2_metadata_service_endpoint = {aws.endpoint}/\n",
                        {"AWS_EC2_METADATA_DISABLED": "false", "AWS_METADATA_SERVICE_TIMEOUT": "20"})
    assert ours["source"].startswith("instance metadata") and theirs["method"] == "iam-role"


def test_instance_metadata_switched_off(both, localaws):
    aws = localaws()
    ours, _ = both(env={**imds(aws), "AWS_EC2_METADATA_DISABLED": "TRUE"})
    assert "no AWS credentials" in ours and aws.stats()["InstanceMetadata"] == 0


def test_nobody_answers_for_instance_metadata(both, closed_port):
    ours, _ = both(env={"AWS_EC2_METADATA_DISABLED": "false",
                        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{closed_port}"})
    assert "no AWS credentials" in ours and "aws configure" in ours


def test_instance_metadata_that_is_stale_is_used_on(both, localaws):
    aws = localaws("--fault", "stale-metadata", "--fault", "expire-credentials=1")
    found = []

    def stale():
        found[:] = both(env=imds(aws), want=("id", "token"))
        return int(found[0]["expires"]) / 1000 - time.time() > 60
    harness.wait_for(stale, what="the end of what was given out")
    left_s = int(found[0]["expires"]) / 1000 - time.time()
    assert 5 * 60 < left_s < 13 * 60                  # asked again after four fifths of it
    assert isinstance(found[1], dict)


def test_a_container(both, localaws):
    aws = localaws()
    ours, theirs = both(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.endpoint}/v2/credentials/some-id"})
    assert theirs["method"] == "container-role" and ours["account"] == "123456789012"
    assert ours["source"] == f"container ({aws.endpoint})"


@pytest.mark.parametrize("how", ["text", "file", "both"])
def test_a_container_that_wants_a_token(both, localaws, tmp_path, how):
    aws = localaws("--container-token", "s3cret")
    (tmp_path / "token").write_text("s3cret")
    env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.endpoint}/v1/credentials"}
    if how in ("text", "both"):
        env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "s3cret" if how == "text" else "wrong"
    if how in ("file", "both"):
        env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    ours, theirs = both(env=env)
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict) or not KNOWS_TOKEN_FILE


@pytest.mark.parametrize("env,says", [
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{}/v1/credentials"}, "token is missing or not valid"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{}/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nb"},
     "line break"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/x"}, "not to '192.0.2.1'"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, "not to 'example.com'"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{}/v1/credentials",
      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nonexistent/token"}, "/nonexistent/token"),
])
def test_a_container_refused(both, localaws, env, says):
    aws = localaws()
    ours, theirs = both(env={k: v.format(aws.endpoint) for k, v in env.items()})
    assert says in ours and isinstance(theirs, str)


def whoami(keys):
    client = Session().create_client(
        "sts", region_name=REGION, aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key, aws_session_token=keys.token)
    return client.get_caller_identity()["Arn"]


@pytest.mark.parametrize("where", ["environment", "profile", "source"])
def test_web_identity(both, localaws, tmp_path, where):
    aws = localaws()
    token = tmp_path / "token"
    token.write_text(jwt(exp=int(time.time()) + 60))
    config, env, profile = "", {"AWS_ENDPOINT_URL": aws.endpoint}, None
    if where == "environment":
        env.update({"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ARN + "web",
                    "AWS_ROLE_SESSION_NAME": "pod"})
    else:
        config = (f"[profile web]\nrole_arn = {ARN}web\nrole_session_name = pod\nweb_identity_token_file = {token}\n"
                  f"[profile on]\nrole_arn = {ARN}on\nrole_session_name = pod\nsource_profile = web\n")
        profile = "web" if where == "profile" else "on"
    ours, theirs = both(config, env, profile, want=())
    assert isinstance(ours, dict), ours
    assert abs(int(ours["expires"]) - int(theirs["expires"])) < 10000
    assert ours["source"].startswith("environment (web" if where == "environment" else f"profile {profile} (")
    assert whoami(theirs["keys"]).endswith(f"assumed-role/{'on' if where == 'source' else 'web'}/pod")
    stats = aws.stats()
    assert stats["AssumeRoleWithWebIdentity"] == 2 and stats["AssumeRole"] == (2 if where == "source" else 0)
    assert stats["signatures_bad"] == 0


@pytest.mark.parametrize("text,says", [("", "empty"), ("abc", "InvalidIdentityToken"),
                                       (jwt(exp=1000), "ExpiredTokenException"), (None, "No such file")],
                         ids=["empty", "no JWT", "over", "none"])
def test_a_bad_web_identity(both, localaws, tmp_path, text, says):
    aws = localaws()
    if text is not None:
        (tmp_path / "token").write_text(text)
    ours, theirs = both(env={"AWS_ENDPOINT_URL": aws.endpoint, "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
                             "AWS_ROLE_ARN": ARN + "web"})
    assert says in ours and isinstance(theirs, str)


@pytest.mark.parametrize("source", ["Environment", "EcsContainer", "Ec2InstanceMetadata"])
def test_credential_source(both, localaws, source):
    aws = localaws()
    config = f"[profile r]\nrole_arn = {ARN}R\nrole_session_name = me\ncredential_source = {source}\n"
    env = {"AWS_ENDPOINT_URL": aws.endpoint, **{
        "Environment": {k: v for k, v in aws.env().items() if "KEY" in k},
        "EcsContainer": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.endpoint}/v2/credentials/x"},
        "Ec2InstanceMetadata": imds(aws)}[source]}
    ours, theirs = both(config, env, "r", want=())
    assert isinstance(ours, dict), ours
    assert ours["source"] == f"profile r (assume role {ARN}R)"
    assert abs(int(ours["expires"]) - int(theirs["expires"])) < 10000
    assert whoami(theirs["keys"]).endswith("assumed-role/R/me")
    assert aws.stats()["signatures_bad"] == 0


def test_the_emulator_speaks_version_2_only(localaws):
    aws = localaws()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path, method="GET", **headers):
        request = urllib.request.Request(aws.endpoint + path, method=method,
                                         headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with opener.open(request, timeout=harness.LIMIT_S) as r:
                return r.status, r.read().decode(), r.headers
        except urllib.error.HTTPError as e:
            return e.code, "", e.headers
    assert ask("/latest/meta-data/instance-id")[0] == 401
    assert ask("/latest/api/token", "PUT")[0] == 400
    assert ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="21601")[0] == 400
    assert ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="60", X_Forwarded_For="a")[0] == 403
    status, token, headers = ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="60")
    assert status == 200 and headers["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"] == "60"
    assert ask("/latest/meta-data/placement/region", x_aws_ec2_metadata_token=token)[1] == "us-east-1"
    assert ask("/latest/meta-data/nothing", x_aws_ec2_metadata_token=token)[0] == 404
    until = json.loads(ask("/latest/meta-data/iam/security-credentials/localaws-instance",
                           x_aws_ec2_metadata_token=token)[1])["Expiration"]
    assert datetime.datetime.strptime(until, "%Y-%m-%dT%H:%M:%SZ")
