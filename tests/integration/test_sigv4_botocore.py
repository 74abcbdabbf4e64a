"""Our signatures equal botocore's over random requests, byte for byte."""
import datetime
import random
import string
import subprocess
from urllib.parse import quote

import pytest

auth = pytest.importorskip("botocore.auth")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

import harness  # noqa: E402

COUNT = 1500


def word(rng, low=1, high=20, alphabet=string.ascii_letters + string.digits):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))


def path(rng):
    parts = [rng.choice(["", ".", "..", word(rng), quote(word(rng, 1, 6, string.printable)),
                         quote(word(rng, 1, 6, "\u1234\u00e9\u4e2d~")), "a+b", "a:b@c"])
             for _ in range(rng.randint(0, 6))]
    return "/" + "/".join(parts)


def query(rng):
    alphabet = string.ascii_letters + "-_.~ /+&=%\u00e9\u1234:;,"
    return [(word(rng, 1, 5, alphabet), word(rng, 0, 12, alphabet)) for _ in range(rng.randint(0, 5))]


def header(rng):
    blanks = ["", " ", "   ", "\t "]
    value = rng.choice(blanks) + rng.choice(blanks[1:]).join(
        word(rng, 1, 9, string.ascii_letters + string.digits + "\"',;=") for _ in range(rng.randint(1, 4)))
    return "x-" + word(rng, 1, 8), value + rng.choice(blanks)


def one(rng):
    params = [(quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query(rng)]
    names = {}
    for name, value in (header(rng) for _ in range(rng.randint(0, 5))):
        names.setdefault(name.lower(), (name, value))
    return {
        "method": rng.choice(["GET", "POST", "PUT", "DELETE"]),
        "path": path(rng),
        "query": "&".join(f"{k}={v}" for k, v in params),
        "when": rng.randint(1_000_000_000, 4_000_000_000),
        "region": rng.choice(["us-east-1", "cn-north-1", "eu-isoe-west-1"]),
        "service": rng.choice(["ssm", "ec2", "sts", "ssmmessages"]),
        "id": word(rng, 16, 20),
        "secret": word(rng, 30, 60, string.ascii_letters + "+/="),
        "token": rng.choice(["", word(rng, 100, 900, string.ascii_letters + "+/=")]),
        "body": rng.randbytes(rng.choice([0, 1, 63, 64, 65, 1000])),
        "headers": [("Host", "h.example.com")] + list(names.values()),
    }


def botocore_says(r, monkeypatch):
    when = datetime.datetime.fromtimestamp(r["when"], datetime.timezone.utc).replace(tzinfo=None)

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return when

        @classmethod
        def now(cls, tz=None):
            return when

    if hasattr(auth, "get_current_datetime"):
        monkeypatch.setattr(auth, "get_current_datetime", lambda *a, **k: when)
    else:
        monkeypatch.setattr(auth.datetime, "datetime", Clock)
    url = "https://h.example.com" + r["path"] + ("?" + r["query"] if r["query"] else "")
    request = AWSRequest(r["method"], url, dict(r["headers"]), r["body"])
    request.context["payload_signing_enabled"] = True
    auth.SigV4Auth(Credentials(r["id"], r["secret"], r["token"] or None), r["service"],
                   r["region"]).add_auth(request)
    return request.headers["Authorization"]


def line(r):
    fields = [r["method"], r["path"], r["query"], str(r["when"] * 1000), r["region"], r["service"],
              r["id"], r["secret"], r["token"], r["body"]]
    for name, value in r["headers"]:
        fields += [name, value]
    return "\t".join((f if isinstance(f, bytes) else f.encode()).hex() for f in fields)


def test_signatures_equal_botocores(monkeypatch):
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    requests = [one(rng) for _ in range(COUNT)]
    done = subprocess.run([harness.program("unit/sigv4_cli")], text=True, capture_output=True, timeout=harness.LIMIT_S,
                          input="".join(line(r) + "\n" for r in requests))
    assert done.returncode == 0, (seed, done.stderr)
    ours = done.stdout.splitlines()
    assert len(ours) == COUNT
    with monkeypatch.context() as patch:
        for mine, request in zip(ours, requests):
            assert mine == botocore_says(request, patch), (seed, request)
