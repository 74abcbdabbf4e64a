"""Sign-ins that several share: profiles of one process, other programs, and the retry settings of AWS's tools."""
import json
import os
import re
import subprocess
import threading

import client
import harness
import peer
import pytest
from test_sso import (ACCOUNT, BOB, CONFIG, HOST, START, TOKEN, Gate, aws, home, in_s,  # noqa: F401
                      login_session, seconds_until, theirs)

INSTANCE = "i-0123456789abcdef0"
TWO = (f"[profile other]\nsso_session = corp\nsso_account_id = {ACCOUNT}\nsso_role_name = Ops\nregion = eu-west-1\n")


def get(proxy, host, web):
    with client.socks5(proxy.listener, host, web.port) as s:
        s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return client.read_head(s)[:12]


@pytest.fixture
def pair(home, awsocks, tmp_path):  # noqa: F811
    """An awsocks with two profiles on one sso-session, whose token has expired."""
    home.write(".aws/config", CONFIG + TWO)
    assert home.login()[0] == 0
    home.ages(left_s=-5)
    config, rules = tmp_path / "two.yaml", tmp_path / "rules.yaml"
    config.write_text(f"profiles:\n  default: {{ instance-id: {INSTANCE}, aws-profile: corp }}\n"
                      f"  staging: {{ instance-id: {INSTANCE}, aws-profile: other }}\n")
    rules.write_text(f"default: block\nproxy: [{HOST}]\nrules:\n"
                     "  - { match: other.internal.example, route: 'proxy:staging' }\n")

    def start(**env):
        return awsocks("--config", str(config), "--rules", str(rules), "--while-initializing", "hold",
                       env={**home.env, "AWS_REGION": "", **env})
    return start


def both(proxy, web):
    got = {}

    def one(host):
        try:
            got[host] = get(proxy, host, web)
        except client.Refused as e:
            got[host] = e
    threads = [threading.Thread(target=one, args=(host,)) for host in (HOST, "other.internal.example")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


@pytest.fixture
def aws(localaws):  # noqa: F811
    return localaws("--resolve", f"{HOST}=127.0.0.1", "--resolve", "other.internal.example=127.0.0.1")


def test_two_profiles_renew_one_token_once(pair, home, aws, web):  # noqa: F811
    before, old = aws.stats()["CreateToken"], home.token()
    proxy = pair()
    got = both(proxy, web)
    assert set(got.values()) == {b"HTTP/1.1 200"}, (got, proxy.log())
    assert aws.stats()["CreateToken"] - before == 1 and aws.stats()["GetRoleCredentials"] == 2
    assert home.token()["refreshToken"] != old["refreshToken"]
    assert proxy.log().count("sign-in renewed") == 1


def test_two_profiles_are_told_one_cause(pair, home, aws, web, tmp_path):  # noqa: F811
    home.set_token(refreshToken="used up")
    before = aws.stats()["CreateToken"]

    def both_wait(_):
        """Who comes when the cause has been told asks again."""
        harness.wait_for(lambda: {b["state"] for b in proxy.status()["backends"]} == {"initializing"}, what="both")
    gate = Gate(aws, before=both_wait)
    try:
        proxy = pair(AWS_ENDPOINT_URL_SSO_OIDC=gate.url)
        got = both(proxy, web)
    finally:
        gate.stop()
    assert all(isinstance(e, client.Refused) for e in got.values()), got
    assert aws.stats()["CreateToken"] - before == 1
    audit = tmp_path / "awsocks" / "audit" / "audit.jsonl"      # HOME is where the AWS files are
    harness.wait_for(lambda: audit.read_text().count("\n") >= 2, what="the audit lines")
    told = {a["route"]: a["error"] for a in map(json.loads, audit.read_text().splitlines())}
    assert "run awsocks login corp" in told["proxy"] and "run awsocks login other" in told["proxy:staging"]


def test_what_aws_login_writes_counts_at_once(home, aws, awsocks, web):  # noqa: F811
    session = login_session(home)
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--aws-profile", "bob",
                    "--while-initializing", "hold", env=home.env)
    assert get(proxy, HOST, web) == b"HTTP/1.1 200"
    fresh = json.loads(aws.open("/_localaws/login-session", b""))
    assert fresh["accessToken"]["accessKeyId"] != session["accessToken"]["accessKeyId"]
    folder = home.path("login", "cache")
    with open(os.path.join(folder, "new"), "w", encoding="ascii") as f:
        json.dump(fresh, f)
    os.rename(os.path.join(folder, "new"), os.path.join(folder, BOB))
    harness.wait_for(lambda: "new credentials of profile bob (login_session)" in proxy.log(), what="the new ones")
    assert aws.stats()["CreateOAuth2Token"] == 0


def test_a_proof_bears_the_time_of_aws(home, aws):  # noqa: F811
    login_session(home, -5)
    aws.faults("clock-skew=600")
    r = home("credentials", "--profile", "bob")
    assert r.returncode == 0 and re.search(r"clock is -(600|59\d) s off AWS's", r.stderr), r     # less what it took
    assert aws.stats()["CreateOAuth2Token"] == 2


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_credentials_live_as_long_by_a_wrong_clock(home, aws, skew):  # noqa: F811
    assert home.login()[0] == 0
    aws.faults(f"clock-skew={skew}")
    assert 3500 < seconds_until(home.credentials()["Expiration"]) <= 3610


class Recorder(peer.Http):
    """Answers with what it is told, and keeps the requests: (path, body as JSON, fields)."""

    def __init__(self, answers):
        self.seen = []
        recorder = self

        class Handler(peer.Handler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                recorder.seen.append((self.path, json.loads(body or b"{}"), dict(self.headers)))
                status, answer = answers[min(len(recorder.seen), len(answers)) - 1]
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.do_POST()

        self.serve(Handler)


@pytest.fixture
def recorder():
    started = []

    def start(*answers):
        started.append(Recorder(answers))
        return started[-1]
    yield start
    for r in started:
        r.stop()


@pytest.mark.parametrize("env, tries", [({}, 3), ({"AWS_MAX_ATTEMPTS": "1"}, 1), ({"AWS_MAX_ATTEMPTS": "2"}, 2),
                                        ({"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "2"}, 2)])
def test_the_retry_settings_are_those_of_other_calls(home, recorder, env, tries):  # noqa: F811
    assert home.login()[0] == 0
    server = recorder((503, {}))
    home.credentials(status=69, AWS_ENDPOINT_URL_SSO=server.url, **env)
    assert len(server.seen) == tries


def test_the_profile_says_how_often(home, recorder):  # noqa: F811
    assert home.login()[0] == 0
    home.write(".aws/config", CONFIG.replace("[profile corp]\n", "[profile corp]\nmax_attempts = 1\n"))
    server = recorder((429, {}))
    home.credentials(status=75, AWS_ENDPOINT_URL_SSO=server.url)
    r = home("login", "corp", env={"AWS_ENDPOINT_URL_SSO_OIDC": server.url})
    assert r.returncode == 75 and len(server.seen) == 2
    home.credentials(status=65, AWS_RETRY_MODE="often")


def test_a_login_goes_through_the_proxy(home, counter):  # noqa: F811
    r = home("login", "corp", env={"HTTP_PROXY": f"http://127.0.0.1:{counter.port}", "AWS_MAX_ATTEMPTS": "1"})
    assert counter.count == 1 and "HTTP_PROXY" in r.stderr and r.returncode


# --- tokens of an authorization code with PKCE: what `aws sso login` writes since 2.22 ---

PKCE_TOKEN = {"startUrl": START, "region": "us-east-1", "accessToken": "of-pkce", "expiresAt": in_s(-60),
              "clientId": "pkce-client", "clientSecret": "pkce-secret", "registrationExpiresAt": in_s(86400),
              "refreshToken": "of-pkce-too"}
RENEWED = {"accessToken": "fresh", "expiresIn": 3600, "tokenType": "Bearer", "refreshToken": "next",
           "idToken": None}


def test_a_token_of_pkce_is_renewed_as_botocore_does(home, theirs, recorder, monkeypatch):  # noqa: F811
    import botocore.session
    server = recorder((200, RENEWED))
    home.set_token(**PKCE_TOKEN)
    home.credentials(status=76, AWS_ENDPOINT_URL_SSO_OIDC=server.url, AWS_ENDPOINT_URL_SSO=server.url)
    ours = home.token()
    home.set_token(**PKCE_TOKEN)
    real = botocore.session.Session.create_client

    def create_client(self, *args, **kwargs):
        made = real(self, *args, **kwargs)
        made.meta.events.register("before-send", lambda request, **_: setattr(
            request, "url", request.url.replace(home.aws.endpoint, server.url)))
        return made
    monkeypatch.setattr(botocore.session.Session, "create_client", create_client)
    assert theirs("corp").get_auth_token().get_frozen_token().token == "fresh"
    asked = [(path, body) for path, body, _ in server.seen if path == "/token"]
    assert len(asked) == 2 and asked[0] == asked[1]
    assert asked[0][1] == {"grantType": "refresh_token", "clientId": "pkce-client", "clientSecret": "pkce-secret",
                           "refreshToken": "of-pkce-too"}
    kept = home.token()
    for key in ("accessToken", "refreshToken", "clientId", "clientSecret", "startUrl", "region",
                "registrationExpiresAt"):
        assert ours[key] == kept[key], key


def test_a_client_of_pkce_is_not_taken_for_a_device_login(home, aws):  # noqa: F811
    """It stands in the file of the CLI's own clients, with grants that a device code is not of."""
    name = subprocess.run(["python3", "-c", (
        "import hashlib,json;print(hashlib.sha1(json.dumps({'tool':'botocore','startUrl':%r,'region':'us-east-1',"
        "'scopes':None,'session_name':'corp'},sort_keys=True).encode()).hexdigest())" % START)],
        capture_output=True, text=True, check=True).stdout.strip()
    path = home.write(f".aws/sso/cache/{name}.json", json.dumps(
        {"clientId": "pkce-client", "clientSecret": "pkce-secret", "expiresAt": in_s(86400),
         "grantTypes": ["authorization_code", "refresh_token"], "redirectUris": ["http://127.0.0.1/oauth/callback"]}))
    before = harness.read_json(path)
    assert home.login()[0] == 0 and aws.stats()["RegisterClient"] == 1
    assert home.token()["clientId"] != "pkce-client" and harness.read_json(path) == before
    assert TOKEN["corp"] in os.listdir(home.path("sso", "cache"))
