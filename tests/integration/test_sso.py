"""IAM Identity Center and `aws login`: awsocks and botocore on the same files, against the emulator.

The emulator's sign-in services are tried by botocore too, so that neither side is only true to the other.
"""
import datetime
import hashlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import threading
import time
import urllib.parse

import pytest

botocore_session = pytest.importorskip("botocore.session")
import botocore  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402
import client  # noqa: E402
import harness  # noqa: E402
import peer  # noqa: E402
from cli import Cli  # noqa: E402

HOST = "api.internal.example"
START = "https://old.awsapps.com/start"
ACCOUNT = "111122223333"
CONFIG = (f"[profile corp]\nsso_session = corp\nsso_account_id = {ACCOUNT}\nsso_role_name = Dev\nregion = eu-west-1\n"
          f"[sso-session corp]\nsso_start_url = {START}\nsso_region = us-east-1\n"
          f"[profile old]\nsso_start_url = {START}\nsso_region = us-east-1\nsso_account_id = {ACCOUNT}\n"
          "sso_role_name = Dev\n"
          "[profile onrole]\nrole_arn = arn:aws:iam::123456789012:role/One\nsource_profile = corp\n"
          "[profile plain]\nregion = eu-west-1\n"
          "[profile onbob]\nrole_arn = arn:aws:iam::123456789012:role/One\nsource_profile = bob\n"
          "[profile both]\nlogin_session = arn:aws:iam::111122223333:user/bob\nsso_session = corp\n"
          f"sso_account_id = {ACCOUNT}\nsso_role_name = Dev\nregion = eu-west-1\n"
          "[profile bob]\nlogin_session = arn:aws:iam::111122223333:user/bob\nregion = eu-west-1\n")
TOKEN = {"corp": "ee0bfd2552fbd840c02cc48b6e823320543c450f.json",
         "old": "33d5ca4bf3b1a62edb96b47f7c203034a43ac435.json"}
ROLE = {"corp": "20985b56d713cfd135648cadc68a6115ca80d9a5.json", "old": "9de373c7ded8d5068d274f80baf9525ac988bb52.json"}
BOB = "5d5303d4711466446508d1822010ddb9c314be63f450cef40f32bbff5443e078.json"


class Home(Cli):
    """awsocks with a ~/.aws of its own and the emulator."""

    def __init__(self, folder, aws):
        super().__init__(folder)
        self.aws = aws
        self.write(".aws/config", CONFIG)
        self.env.update({"AWS_ENDPOINT_URL": aws.endpoint, "AWS_EC2_METADATA_DISABLED": "true"})

    def path(self, *names):
        return os.path.join(self.home, ".aws", *names)

    def token_path(self, profile):
        return self.path("sso", "cache", TOKEN[profile])

    def role_path(self, profile):
        return self.path("cli", "cache", ROLE[profile])

    def token(self, profile="corp"):
        return harness.read_json(self.token_path(profile))

    def set_token(self, profile="corp", **members):
        """In one step: somebody may be reading it."""
        token = {**(self.token(profile) or {}), **members}
        new = self.write(f".aws/sso/cache/{TOKEN[profile]}.new",
                         json.dumps({k: v for k, v in token.items() if v is not None}))
        os.replace(new, self.token_path(profile))
        return token

    def ages(self, profile="corp", left_s=300):
        """Nothing but the token is left, and not for long."""
        if os.path.exists(self.role_path(profile)):
            os.unlink(self.role_path(profile))
        self.set_token(profile, expiresAt=in_s(left_s))

    def login(self, profile="corp", action="approve", args=()):
        """Signs in, as a user with a browser does it. (status, what was said)"""
        p = subprocess.Popen([harness.program("awsocks"), "login", profile, *args], env=self.env, cwd=self.home,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = ""
            for line in p.stdout:
                said += line
                found = re.search(r"http\S+user_code=(\S+)", line)
                if found and action:
                    self.confirm(found[1], action)
            return p.wait(harness.LIMIT_S), said
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def confirm(self, code, action="approve"):
        self.aws.open("/_localaws/device", urllib.parse.urlencode({"user_code": code, "action": action}).encode())

    def credentials(self, profile="corp", status=0, **env):
        r = self("credentials", "--profile", profile, env=env)
        assert r.returncode == status, r
        return json.loads(r.stdout) if status == 0 else r.stderr


class Gate(peer.Http):
    """Stands before the emulator: before(n) is called with each request, counted from 0, before it is passed on, and
    after(since) when it has been answered, since that time."""

    def __init__(self, aws, before=lambda n: None, after=lambda since: None):
        self.asked = 0
        gate, lock = self, threading.Lock()
        own = ("host", "content-length", "connection", "transfer-encoding")

        class Handler(peer.Handler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    n, gate.asked = gate.asked, gate.asked + 1
                before(n)
                to = http.client.HTTPConnection(urllib.parse.urlsplit(aws.endpoint).netloc, timeout=harness.LIMIT_S)
                to.request("POST", self.path, body, {k: v for k, v in self.headers.items() if k.lower() not in own})
                answer = to.getresponse()
                data = answer.read()
                to.close()
                since = time.monotonic()
                self.send_response_only(answer.status)
                for k, v in answer.getheaders():
                    if k.lower() not in own:
                        self.send_header(k, v)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                after(since)

        self.serve(Handler)


def in_s(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) +
            datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_until(text):
    when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    return (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


@pytest.fixture
def aws(localaws):
    return localaws("--resolve", f"{HOST}=127.0.0.1")


@pytest.fixture
def home(tmp_path, aws):
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, aws)


@pytest.fixture
def theirs(home, monkeypatch):
    """theirs(profile) -> a botocore session that reads the same files."""
    for old in list(os.environ):
        if old.startswith("AWS"):
            monkeypatch.delenv(old)
    for key, value in home.env.items():
        monkeypatch.setenv(key, value)
    # botocore 1.29 knows neither AWS_ENDPOINT_URL nor another home once it was imported
    import botocore.credentials
    import botocore.tokens
    monkeypatch.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", home.path("sso", "cache"))
    monkeypatch.setattr(botocore.tokens.SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", home.path("sso", "cache"))
    real = botocore_session.Session.create_client

    def create_client(self, *args, **kwargs):
        kwargs["endpoint_url"] = home.aws.endpoint
        return real(self, *args, **kwargs)
    monkeypatch.setattr(botocore_session.Session, "create_client", create_client)
    return lambda profile: botocore_session.Session(profile=profile)


def service_client(aws, service):
    return botocore_session.Session().create_client(
        service, region_name="us-east-1", endpoint_url=aws.endpoint,
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0}))


# --- the emulator, tried by botocore ---

def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(**arguments)
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def test_the_emulators_device_flow(aws, home):
    oidc = service_client(aws, "sso-oidc")
    who = oidc.register_client(clientName="test", clientType="public", scopes=["sso:account:access"])
    assert who["clientSecretExpiresAt"] > time.time() + 86400
    own = {"clientId": who["clientId"], "clientSecret": who["clientSecret"]}
    device = oidc.start_device_authorization(startUrl=START, **own)
    assert device["verificationUriComplete"].endswith(device["userCode"])
    ask = {"grantType": DEVICE_GRANT, "deviceCode": device["deviceCode"], **own}
    assert refused(oidc.create_token, **ask) == ("AuthorizationPendingException", 400)
    said = set()

    def too_fast():             # within less than a second of the one before
        said.add(refused(oidc.create_token, **ask))
        return ("SlowDownException", 400) in said
    harness.wait_for(too_fast, what="to be slowed down")
    assert said <= {("SlowDownException", 400), ("AuthorizationPendingException", 400)}
    home.confirm(device["userCode"])
    token = oidc.create_token(**ask)
    assert token["tokenType"] == "Bearer" and token["expiresIn"] == 28800
    assert refused(oidc.create_token, **ask) == ("InvalidGrantException", 400)
    renew = {"grantType": "refresh_token", "refreshToken": token["refreshToken"], **own}
    again = oidc.create_token(**renew)
    assert again["accessToken"] != token["accessToken"] and again["refreshToken"] != token["refreshToken"]
    assert refused(oidc.create_token, **renew) == ("InvalidGrantException", 400)
    assert refused(oidc.create_token, **{**renew, "clientSecret": "x"}) == ("InvalidClientException", 401)
    assert refused(oidc.create_token, **{**ask, "grantType": "x"}) == ("UnsupportedGrantTypeException", 400)

    sso = service_client(aws, "sso")
    role = {"roleName": "Dev", "accountId": ACCOUNT, "accessToken": again["accessToken"]}
    given = sso.get_role_credentials(**role)["roleCredentials"]
    assert given["accessKeyId"] and given["sessionToken"] and given["expiration"] / 1000 > time.time()
    assert refused(sso.get_role_credentials, **{**role, "accessToken": "x"}) == ("UnauthorizedException", 401)
    aws.faults("forbid-role=1")
    assert refused(sso.get_role_credentials, **role) == ("ForbiddenException", 403)
    aws.faults("throttle-api=1")
    assert refused(sso.get_role_credentials, **role) == ("TooManyRequestsException", 429)


def test_the_emulators_device_codes_expire_and_are_denied(aws, home):
    oidc = service_client(aws, "sso-oidc")
    who = oidc.register_client(clientName="test", clientType="public")
    own = {"clientId": who["clientId"], "clientSecret": who["clientSecret"]}
    device = oidc.start_device_authorization(startUrl=START, **own)
    home.confirm(device["userCode"], "deny")
    ask = {"grantType": DEVICE_GRANT, "deviceCode": device["deviceCode"], **own}
    assert refused(oidc.create_token, **ask) == ("AccessDeniedException", 400)
    aws.faults("device-life=0")
    device = oidc.start_device_authorization(startUrl=START, **own)
    assert refused(oidc.create_token, **{**ask, "deviceCode": device["deviceCode"]}) == ("ExpiredTokenException", 400)


# --- awsocks login ---

@pytest.mark.parametrize("profile", ["corp", "old"])
def test_login_writes_what_botocore_reads(home, theirs, profile):
    status, said = home.login(profile)
    assert status == 0 and "Signed in until " in said, said
    assert stat.S_IMODE(os.stat(home.token_path(profile)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(home.path("sso", "cache")).st_mode) == 0o700
    token = home.token(profile)
    assert (token["startUrl"], token["region"]) == (START, "us-east-1")
    assert 28700 < seconds_until(token["expiresAt"]) <= 28800
    assert ("refreshToken" in token) == ("clientSecret" in token) == (profile == "corp")
    found = theirs(profile).get_credentials()
    assert found.method == "sso"
    frozen = found.get_frozen_credentials()
    assert frozen.access_key.startswith("ASIA") and frozen.token
    ours = home.credentials(profile)
    assert ours["AccessKeyId"].startswith("ASIA") and ours["AccountId"] == ACCOUNT
    assert 3500 < seconds_until(ours["Expiration"]) <= 3600


def test_a_client_is_registered_once(home, aws):
    assert home.login()[0] == 0 and home.login()[0] == 0
    assert aws.stats()["RegisterClient"] == 1
    aws.faults("client-life=500")       # too short to be used again
    kept = [f for f in os.listdir(home.path("sso", "cache")) if f != TOKEN["corp"]]
    assert len(kept) == 1
    os.unlink(home.path("sso", "cache", kept[0]))
    assert home.login()[0] == 0 and home.login()[0] == 0
    assert aws.stats()["RegisterClient"] == 3


def test_a_client_that_the_service_forgot_is_registered_anew(home, aws):
    assert home.login()[0] == 0
    kept = [f for f in os.listdir(home.path("sso", "cache")) if f != TOKEN["corp"]]
    path = home.path("sso", "cache", kept[0])
    client_file = harness.read_json(path)
    home.write(path, json.dumps({**client_file, "clientId": "forgotten"}))
    assert home.login()[0] == 0
    assert aws.stats()["RegisterClient"] == 2


def test_login_when_denied_or_too_late(home, aws):
    status, said = home.login(action="deny")
    assert status == 77 and "denied in the browser" in said
    aws.faults("device-life=0")
    status, said = home.login(action=None)
    assert status == 75 and said.count("user_code=") == 3 and "nobody confirmed" in said
    assert not os.path.exists(home.token_path("corp"))


def test_login_slows_down_when_told_to(home, aws):
    aws.faults("slow-down=1")
    assert home.login()[0] == 0
    assert aws.stats()["CreateToken"] == 2


def test_login_follows_a_role_to_its_source(home):
    assert home.login("onrole")[0] == 0
    assert home.token("corp")


def test_login_takes_the_sign_in_that_the_chain_takes(home):
    assert "run awsocks login both" in home.credentials("both", status=77)
    assert home.login("both")[0] == 0 and home.credentials("both")


@pytest.mark.parametrize("profile, text", [("plain", "neither sso_session nor sso_start_url"),
                                           ("gone", "could not be found"), ("bob", "aws login --profile bob"),
                                           ("onbob", "aws login --profile bob")])
def test_login_of_other_profiles(home, profile, text):
    r = home("login", profile)
    assert r.returncode == 65 and text in r.stderr


# --- the chain ---

def test_not_signed_in_says_how(home):
    assert "not signed in: run awsocks login corp" in home.credentials(status=77)
    assert "run awsocks login corp" in home.credentials("onrole", status=77)


def test_role_credentials_are_kept_as_the_cli_keeps_them(home, theirs, aws):
    assert home.login()[0] == 0
    first = home.credentials()
    kept = harness.read_json(home.role_path("corp"))
    assert kept == {"ProviderType": "sso", "Credentials": {
        "AccessKeyId": first["AccessKeyId"], "SecretAccessKey": first["SecretAccessKey"],
        "SessionToken": first["SessionToken"], "Expiration": first["Expiration"], "AccountId": ACCOUNT}}
    assert stat.S_IMODE(os.stat(home.role_path("corp")).st_mode) == 0o600
    assert home.credentials() == first
    assert aws.stats()["GetRoleCredentials"] == 1
    # and what the CLI's library writes there serves us
    from botocore.credentials import JSONFileCache
    os.unlink(home.role_path("corp"))
    session = theirs("corp")
    session.get_component("credential_provider").get_provider("sso").cache = JSONFileCache(home.path("cli", "cache"))
    found = session.get_credentials().get_frozen_credentials()
    assert home.credentials()["AccessKeyId"] == found.access_key


def test_kept_credentials_that_aws_refuses_are_asked_for_again(home, aws):
    assert home.login()[0] == 0
    home.credentials()
    aws.faults("expire-credentials=0")          # those given out until now
    aws.faults("expire-credentials=off")
    r = subprocess.run([os.path.join(harness.BUILD, "unit", "aws_cli"), "identity", "1"], env={
        **home.env, "AWS_PROFILE": "corp"}, capture_output=True, text=True, timeout=harness.LIMIT_S, check=False)
    assert (r.returncode, r.stdout) == (0, "200\n"), r.stderr
    assert aws.stats()["GetRoleCredentials"] == 2


def test_a_role_behind_sso(home, aws):
    assert home.login()[0] == 0
    r = home("credentials", "--profile", "onrole", "--explain")
    assert r.returncode == 0 and "assume role arn:aws:iam::123456789012:role/One" in r.stdout, r


def test_explain_names_the_step(home):
    assert home.login()[0] == 0
    out = home.ok("credentials", "--profile", "corp", "--explain")
    assert f"profile corp (SSO, role Dev in {ACCOUNT})" in out
    assert home.token()["accessToken"] not in out


def test_a_token_is_renewed_before_it_expires(home, theirs, aws):
    assert home.login()[0] == 0
    before = home.token()
    home.set_token(more={"kept": 1})
    home.ages()
    home.credentials()
    after = home.token()
    assert after["accessToken"] != before["accessToken"] and after["refreshToken"] != before["refreshToken"]
    assert seconds_until(after["expiresAt"]) > 28000 and after["more"] == {"kept": 1}
    assert {k: after[k] for k in ("clientId", "clientSecret", "registrationExpiresAt", "startUrl", "region")} == \
        {k: before[k] for k in ("clientId", "clientSecret", "registrationExpiresAt", "startUrl", "region")}
    assert stat.S_IMODE(os.stat(home.token_path("corp")).st_mode) == 0o600
    assert os.listdir(home.path("sso", "cache")).count(TOKEN["corp"]) == 1
    assert not [f for f in os.listdir(home.path("sso", "cache")) if not f.endswith(".json")]
    # botocore goes on from there
    home.ages()
    assert theirs("corp").get_credentials().get_frozen_credentials().access_key
    assert home.token()["refreshToken"] != after["refreshToken"]
    assert home.credentials()["AccessKeyId"]


def test_many_ask_and_one_renews(home, aws):
    assert home.login()[0] == 0
    before = aws.stats()
    home.ages()
    r = subprocess.run([os.path.join(harness.BUILD, "unit", "aws_cli"), "identity", "5"], env={
        **home.env, "AWS_PROFILE": "corp"}, capture_output=True, text=True, timeout=harness.LIMIT_S, check=False)
    assert r.returncode == 0, r.stderr
    after = aws.stats()
    assert after["CreateToken"] - before["CreateToken"] == 1
    assert after["GetRoleCredentials"] - before["GetRoleCredentials"] == 1


def test_processes_that_renew_at_the_same_time(home, aws):
    """Refresh tokens count once: whoever comes second finds the new token in the file."""
    assert home.login()[0] == 0
    home.ages(left_s=-10)
    old = home.token()

    def in_turn(n):
        """All have read the old token when the first is answered, and its new one is there when the others are: they
        would not wait for longer than a second."""
        harness.wait_for(lambda: gate.asked >= 4, what="all to ask")
        if n:
            harness.wait_for(lambda: (home.token() or old) != old, what="the first one's token")
    gate = Gate(aws, before=in_turn)
    try:
        several = [subprocess.Popen([harness.program("awsocks"), "credentials", "--profile", "corp"],
                                    env={**home.env, "AWS_ENDPOINT_URL_SSO_OIDC": gate.url}, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        for p in several:
            out, err = p.communicate(timeout=harness.LIMIT_S)
            assert p.returncode == 0, err
            assert json.loads(out)["AccessKeyId"]
    finally:
        gate.stop()


def test_a_refresh_token_that_another_program_has_used(home, theirs, aws):
    """Ours is refused, and a moment later theirs is in the file."""
    assert home.login()[0] == 0
    old = home.token()
    home.ages()
    assert theirs("corp").get_credentials().get_frozen_credentials().access_key
    new = home.token()
    assert new["refreshToken"] != old["refreshToken"]
    took_s = []

    def keep(since):
        time.sleep(0.3)
        home.set_token(**new)
        took_s.append(time.monotonic() - since)
    gate = Gate(aws, after=keep)
    try:
        for _ in range(5):
            took_s.clear()
            home.set_token(**{**old, "expiresAt": in_s(-5)})    # what a slow reader has in hand
            r = home("credentials", "--profile", "corp", env={"AWS_ENDPOINT_URL_SSO_OIDC": gate.url})
            harness.wait_for(lambda: took_s, what="the new token")
            if r.returncode == 0 or took_s[0] < 0.9:
                break       # it is looked for during one second, which a busy machine may not leave us
    finally:
        gate.stop()
    assert r.returncode == 0 and json.loads(r.stdout)["AccessKeyId"], r
    assert home.token() == new


def test_a_failed_renewal_of_a_good_token_is_a_warning(home):
    assert home.login()[0] == 0
    home.set_token(refreshToken="gone")
    home.ages()
    r = home("credentials", "--profile", "corp")
    assert r.returncode == 0 and "could not be renewed" in r.stderr and "InvalidGrantException" in r.stderr
    home.ages(left_s=-5)
    said = home.credentials(status=77)
    assert f"the sign-in in ~/.aws/sso/cache/{TOKEN['corp']} expired at 20" in said
    assert "run awsocks login corp" in said and re.search(r"request [0-9a-f-]{36}", said)


@pytest.mark.parametrize("members, text", [
    ({"registrationExpiresAt": "2020-01-01T00:00:00Z"}, "the registration of the client has expired"),
    ({"refreshToken": None}, "no refreshToken"),
])
def test_tokens_that_cannot_be_renewed(home, members, text):
    assert home.login()[0] == 0
    home.set_token(**members)
    home.ages()
    home.credentials()                  # still good
    home.ages(left_s=-5)
    said = home.credentials(status=77)
    assert text in said and "run awsocks login corp" in said


def test_an_older_sign_in_expires(home):
    assert home.login("old")[0] == 0
    home.ages("old", -5)
    said = home.credentials("old", status=77)
    assert "without sso_session" in said and "run awsocks login old" in said


@pytest.mark.parametrize("fault, text", [
    ("refuse-token", "run awsocks login corp"),
    ("forbid-role", "role Dev in account 111122223333 is not assigned"),
    ("fail-api", "sso: GetRoleCredentials: InternalServerException"),
])
def test_refusals_of_the_portal(home, aws, fault, text):
    assert home.login()[0] == 0
    aws.faults(fault)
    assert text in home.credentials(status=69 if fault == "fail-api" else 77)


def test_a_throttled_portal_is_asked_again(home, aws):
    assert home.login()[0] == 0
    aws.faults("throttle-api=2")
    assert home.credentials()["AccessKeyId"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accessToken":"x"}', '{"accessToken":"x","expiresAt":"never"}',
                                  "long", "\0\0"])
def test_token_files_that_are_none(home, text):
    home.write(f".aws/sso/cache/{TOKEN['corp']}", "x" * 300000 if text == "long" else text)
    assert TOKEN["corp"] in home.credentials(status=77)


def test_a_token_file_that_cannot_be_read(home):
    os.makedirs(home.token_path("corp"))
    assert TOKEN["corp"] in home.credentials(status=74)


# --- services that answer nonsense ---

class Nonsense(peer.Http):
    """Answers every request with the same status and body."""

    def __init__(self, status, body):
        class Handler(peer.Handler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("x-amzn-RequestId", "11111111-2222-3333-4444-555555555555")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            do_GET = do_POST = answer

        self.serve(Handler)


@pytest.mark.parametrize("service, op", [("SSO", "sso: GetRoleCredentials"), ("SSO_OIDC", "oidc: CreateToken")])
@pytest.mark.parametrize("status, body", [(200, b""), (200, b"<html>"), (200, b"{}"), (200, b'{"accessToken":7}'),
                                          (200, b'{"roleCredentials":[]}'), (400, b"\xff\xfe"), (418, b"{}")])
def test_answers_that_are_none(home, service, op, status, body):
    assert home.login()[0] == 0
    server = Nonsense(status, body)
    try:
        if service == "SSO_OIDC":
            home.ages(left_s=-5)
        cause = 77 if service == "SSO_OIDC" else 76 if status == 200 else 69
        said = home.credentials(status=cause, **{f"AWS_ENDPOINT_URL_{service}": server.url})
        assert op in said and "11111111-2222-3333-4444-555555555555" in said
    finally:
        server.stop()


@pytest.mark.parametrize("profile, service, path, op", [
    ("corp", "SSO_OIDC", "sso/cache/" + TOKEN["corp"], "oidc: CreateToken"),
    ("bob", "SIGNIN", "login/cache/" + BOB, "signin: CreateOAuth2Token")])
@pytest.mark.parametrize("status, body, cure", [(0, b"", False), (500, b"{}", False), (429, b"{}", False),
                                                (400, b'{"error":"invalid_client"}', True)])
def test_a_new_sign_in_is_the_cure_for_refusals_only(home, profile, service, path, op, status, body, cure):
    """Not for a network or a service that is down: that passes, and signing in would not work either."""
    if profile == "bob":
        login_session(home, -5)
    else:
        assert home.login()[0] == 0
        home.ages(left_s=-5)
    before = harness.read_json(home.path(path))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))       # and does not listen
        server = Nonsense(status, body) if status else None
        url = server.url if server else f"http://127.0.0.1:{nobody.getsockname()[1]}"
        try:
            r = home("credentials", "--profile", profile, env={f"AWS_ENDPOINT_URL_{service}": url})
        finally:
            if server:
                server.stop()
    assert op in r.stderr and r.returncode == {0: 69, 500: 69, 429: 75, 400: 77}[status], r
    assert (f"login {'--profile ' if profile == 'bob' else ''}{profile}" in r.stderr) == cure
    assert harness.read_json(home.path(path)) == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"clientId":"x"}'])
def test_a_login_that_gets_nonsense(home, body):
    server = Nonsense(200, body)
    try:
        r = home("login", "corp", env={"AWS_ENDPOINT_URL_SSO_OIDC": server.url})
        assert r.returncode == 76 and "oidc: RegisterClient" in r.stderr and "11111111-2222" in r.stderr
    finally:
        server.stop()


# --- aws login ---

def login_path(home):
    return home.path("login", "cache", BOB)


def login_session(home, left_s=None):
    """What `aws login` leaves behind; its credentials good for left_s."""
    assert hashlib.sha256(b"arn:aws:iam::111122223333:user/bob").hexdigest() + ".json" == BOB
    session = json.loads(home.aws.open("/_localaws/login-session", b""))
    if left_s is not None:
        session["accessToken"]["expiresAt"] = in_s(left_s)
    home.write(f".aws/login/cache/{BOB}", json.dumps(session))
    return session


def test_a_login_session_serves_as_it_is(home, aws):
    session = login_session(home)
    got = home.credentials("bob")
    assert got["AccessKeyId"] == session["accessToken"]["accessKeyId"] and got["AccountId"] == "123456789012"
    assert aws.stats()["CreateOAuth2Token"] == 0
    assert "profile bob (login_session)" in home.ok("credentials", "--profile", "bob", "--explain")


def test_a_login_session_is_renewed(home, aws):
    session = login_session(home, 100)
    got = home.credentials("bob")
    assert got["AccessKeyId"] != session["accessToken"]["accessKeyId"] and 800 < seconds_until(got["Expiration"]) <= 900
    kept = harness.read_json(login_path(home))
    assert kept["accessToken"]["accessKeyId"] == got["AccessKeyId"]
    assert kept["accessToken"]["accountId"] == "123456789012"
    assert kept["refreshToken"] != session["refreshToken"] and kept["dpopKey"] == session["dpopKey"]
    assert stat.S_IMODE(os.stat(login_path(home)).st_mode) == 0o600
    kept["accessToken"]["expiresAt"] = in_s(-1)
    home.write(f".aws/login/cache/{BOB}", json.dumps(kept))
    assert home.credentials("bob")["AccessKeyId"] != got["AccessKeyId"]
    assert aws.stats()["CreateOAuth2Token"] == 2
    r = subprocess.run([os.path.join(harness.BUILD, "unit", "aws_cli"), "identity", "1"], env={
        **home.env, "AWS_PROFILE": "bob"}, capture_output=True, text=True, timeout=harness.LIMIT_S, check=False)
    assert r.stdout == "200\n", r.stderr


def test_a_login_session_elsewhere(home, tmp_path):
    session = login_session(home)
    (tmp_path / "elsewhere").mkdir()
    os.rename(login_path(home), tmp_path / "elsewhere" / BOB)
    got = home.credentials("bob", AWS_LOGIN_CACHE_DIRECTORY=str(tmp_path / "elsewhere"))
    assert got["AccessKeyId"] == session["accessToken"]["accessKeyId"]
    assert "not signed in: run aws login --profile bob" in home.credentials("bob", status=77)


def test_a_login_session_that_is_over(home):
    session = login_session(home, -5)
    session["refreshToken"] = "used"
    home.write(f".aws/login/cache/{BOB}", json.dumps(session))
    said = home.credentials("bob", status=77)
    assert "the sign-in is over: run aws login --profile bob" in said and "request " in said
    session["accessToken"]["expiresAt"] = in_s(60)
    home.write(f".aws/login/cache/{BOB}", json.dumps(session))
    r = home("credentials", "--profile", "bob")
    assert r.returncode == 0 and "they serve until they expire" in r.stderr


def test_a_login_session_without_the_permission(home, aws):
    login_session(home, -5)
    aws.faults("refuse-login")
    assert "lacks the permission signin:CreateOAuth2Token" in home.credentials("bob", status=77)


def test_a_proof_by_another_key(home):
    """The emulator does look at the proof."""
    session = login_session(home, -5)
    session["dpopKey"] = json.loads(home.aws.open("/_localaws/login-session", b""))["dpopKey"]
    home.write(f".aws/login/cache/{BOB}", json.dumps(session))
    assert "signed with another key" in home.credentials("bob", status=77)


@pytest.mark.parametrize("spoil, text", [
    (lambda s: s.pop("dpopKey"), "has no dpopKey"),
    (lambda s: s.update(dpopKey="-----BEGIN EC PRIVATE KEY-----\nAAAA\n"), "dpopKey is not a private key"),
    (lambda s: s.pop("accessToken"), "has no accessToken"),
    (lambda s: s["accessToken"].update(expiresAt="soon"), "expiresAt"),
])
def test_login_files_that_are_none(home, spoil, text):
    session = login_session(home, -5)
    spoil(session)
    home.write(f".aws/login/cache/{BOB}", json.dumps(session))
    said = home.credentials("bob", status=77)
    assert text in said and BOB in said


# --- login hosts ---

def route(home, host, *args, **how):
    r = home("route", "--json", host, *args, **how)
    assert r.returncode == 0, r
    return json.loads(r.stdout)


LOGIN_HOSTS = ["old.awsapps.com", "oidc.us-east-1.amazonaws.com", "portal.sso.us-east-1.amazonaws.com",
               "device.sso.us-east-1.amazonaws.com", "us-east-1.signin.aws", "us-east-1.signin.aws.amazon.com"]
REAL = {"AWS_ENDPOINT_URL": ""}         # AWS's own endpoints


@pytest.mark.parametrize("profile", ["corp", "old", "onrole"])
def test_hosts_of_a_sign_in_go_direct(home, profile):
    profile_args = ("--aws-profile", profile)
    for host in LOGIN_HOSTS:
        d = route(home, host, *profile_args, "--route-proxy", "*.com", env=REAL)
        assert (d["route"], d["rule"]) == ("direct", "list"), d
        assert "(--no-login-hosts)" in d["origin"] and d["pattern"] == host
        assert route(home, host, *profile_args, "--no-login-hosts", env=REAL)["route"] == "proxy"
        assert route(home, host, *profile_args, "--route-block", host, env=REAL)["route"] == "block"
        assert route(home, host, "--aws-profile", "plain", env=REAL)["route"] == "proxy"
        assert route(home, "x." + host, *profile_args, env=REAL)["route"] == "proxy"
    text = home.ok("route", LOGIN_HOSTS[0], *profile_args, env=REAL)
    assert "login hosts of profile " in text


def test_hosts_of_a_console_sign_in_go_direct(home):
    for host in ("eu-west-1.signin.aws.amazon.com", "signin.aws.amazon.com"):
        assert route(home, host, "--aws-profile", "bob", env=REAL)["route"] == "direct"
    assert route(home, "us-east-1.signin.aws.amazon.com", "--aws-profile", "bob", env=REAL)["route"] == "proxy"


def test_login_hosts_are_for_plain_loopback_listeners(home):
    home.config("defaults: { aws-profile: corp }\nlisteners:\n  - { address: '127.0.0.1:1080', name: plain }\n"
                "  - { address: '127.0.0.1:1081', name: guarded, guard: on }\n"
                "  - { address: '127.0.0.1:1082', name: own, rules: own.yaml }\n"
                "  - { address: 'unix:/run/x/s', name: socket }\n")
    home.write("config/awsocks/own.yaml", "default: proxy\n")
    got = {name: route(home, "old.awsapps.com", "--listener", name, env=REAL)["route"]
           for name in ("plain", "guarded", "own", "socket")}
    assert got == {"plain": "direct", "guarded": "proxy", "own": "proxy", "socket": "proxy"}


def test_an_endpoint_at_an_address_is_no_login_host(home):
    assert route(home, "127.0.0.1", "--aws-profile", "corp")["route"] == "proxy"


def test_environment_keys_need_no_sign_in(home):
    keys = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "corp", **REAL}
    assert route(home, "old.awsapps.com", env=keys)["route"] == "proxy"
    del keys["AWS_ACCESS_KEY_ID"]
    assert route(home, "old.awsapps.com", env=keys)["route"] == "direct"


# --- inside the fence ---

def test_a_running_awsocks_renews_inside_the_fence(home, aws, awsocks, web):
    if os.geteuid() != 0 or harness.SANITIZED:
        pytest.skip("the fence cannot be looked into here")
    assert home.login()[0] == 0
    old = home.token()
    home.ages()
    p = awsocks("--route-default", "proxy", "--instance-id", "i-0123456789abcdef0", "--aws-profile", "corp",
                env={**home.env, "AWSOCKS_SANDBOX": "true"})
    with client.socks5(p.listener, HOST, web.port) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_head(s).startswith(b"HTTP/1.")
    assert home.token()["refreshToken"] != old["refreshToken"], p.log()
    assert os.path.exists(home.role_path("corp"))
