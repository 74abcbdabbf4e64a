"""A small STS and EC2 on a loopback port that checks every signature with botocore.

Its replies are canned, its faults are told to it. Not the emulator: that one
is ours as well, this one stands on another implementation of SigV4.
"""
import datetime
import email.utils
import re
import time
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import peer

AUTH = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                  r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$")


class Refused(Exception):
    def __init__(self, status, code, message="told to"):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class FakeAws(peer.Http):
    def __init__(self):
        self.keys = {"AKIDUSER": ("usersecret", None)}     # id: (secret, token)
        self.bad_keys = {}                                 # id: error code
        self.faults = []                                   # (status, code) or "drop", one a request
        self.skew_s = 0
        self.pages = [[]]
        self.role_life_s = 3600
        self.seen = []                                     # (action, parameters, key id, region, service)
        fake = self

        class Handler(peer.Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                fake.answer(self)

        self.serve(Handler)

    def now(self):
        return time.time() + self.skew_s

    def actions(self):
        return [s[0] for s in self.seen]

    def answer(self, h):
        body = h.rfile.read(int(h.headers.get("Content-Length", 0)))
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        fault = None
        try:
            key, region, service = self.verify(h, body)
            self.seen.append((parameters["Action"], parameters, key, region, service))
            fault = self.faults.pop(0) if self.faults else None
            if fault and fault != "drop":
                raise Refused(*fault)
            status, text = 200, getattr(self, parameters["Action"])(parameters)
        except Refused as e:
            status, text = e.status, self.error(service if "service" in locals() else "sts", e)
        if fault == "drop":
            h.close_connection = True
            h.connection.close()
            return
        data = text.encode()
        h.send_response_only(status)
        h.send_header("Date", email.utils.formatdate(self.now(), usegmt=True))
        h.send_header("Content-Type", "text/xml")
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.wfile.write(data)

    def verify(self, h, body):
        m = AUTH.match(h.headers.get("Authorization", ""))
        if not m:
            raise Refused(403, "MissingAuthenticationToken")
        key, day, region, service, signed, signature = m.groups()
        signed = signed.split(";")
        if key in self.bad_keys:
            raise Refused(403, self.bad_keys[key], "bad key")
        if key not in self.keys:
            raise Refused(403, "InvalidClientTokenId")
        secret, token = self.keys[key]
        assert token == h.headers.get("X-Amz-Security-Token")
        assert {"host", "x-amz-date", "content-type"} <= set(signed)
        assert token is None or "x-amz-security-token" in signed
        when = datetime.datetime.strptime(h.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.timezone.utc).timestamp()
        assert h.headers["X-Amz-Date"].startswith(day)
        if abs(when - self.now()) > 300:
            raise Refused(403, "SignatureDoesNotMatch", "Signature expired or not yet current")
        request = AWSRequest("POST", f"{self.url}{h.path}", {n: h.headers[n] for n in signed}, body)
        request.context["timestamp"] = h.headers["X-Amz-Date"]
        auth = SigV4Auth(Credentials(key, secret, token), service, region)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        if auth.signature(text, request) != signature:
            raise Refused(403, "SignatureDoesNotMatch")
        return key, region, service

    @staticmethod
    def error(service, e):
        inner = f"<Code>{e.code}</Code><Message>{escape(e.message)}</Message>"
        if service == "ec2":
            return f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>r</RequestID></Response>"
        return f"<ErrorResponse><Error>{inner}</Error><RequestId>r</RequestId></ErrorResponse>"

    def AssumeRole(self, p):
        n = len(self.keys)
        key, secret, token = f"ASIAROLE{n}", f"rolesecret{n}", f"token/{n}+="
        self.keys[key] = (secret, token)
        until = datetime.datetime.fromtimestamp(self.now() + self.role_life_s, datetime.timezone.utc)
        return ("<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult>"
                f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
                f"<SessionToken>{token}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
                "</Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/A/"
                f"{escape(p['RoleSessionName'])}</Arn></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>")

    def GetCallerIdentity(self, p):
        return ("<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>")

    def DescribeInstances(self, p):
        at = int(p.get("NextToken", "page/0")[5:])
        if p.get("InstanceId.1") == "i-gone":
            raise Refused(400, "InvalidInstanceID.NotFound", "no such instance")
        items = "".join(
            f"<item><instancesSet><item><instanceId>{i}</instanceId><instanceState><name>{state}</name>"
            f"</instanceState><launchTime>{launch}</launchTime></item></instancesSet></item>"
            for i, state, launch in self.pages[at])
        more = f"<nextToken>page/{at + 1}</nextToken>" if at + 1 < len(self.pages) else ""
        return f"<DescribeInstancesResponse><reservationSet>{items}</reservationSet>{more}</DescribeInstancesResponse>"
