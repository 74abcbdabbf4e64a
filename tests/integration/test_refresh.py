"""Credentials that live for 5 s and often cannot be renewed: nobody notices."""
import itertools
import socket
import sys
import threading
import time

import pytest

import client
import harness
from conftest import INSTANCE, REGION

HOSTS = [f"api{i}.internal.example" for i in range(24)]
RESOLVE = [x for h in HOSTS for x in ("--resolve", f"{h}=127.0.0.1")]
CALLS = {"role": "AssumeRole", "instance": "InstanceMetadata", "container": "ContainerCredentials"}


def environment(aws, source, role):
    if source == "role":
        return role(aws)
    env = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": REGION}
    if source == "instance":        # which are asked once, for a second, if nothing else is said
        return {**env, "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.endpoint,
                "AWS_METADATA_SERVICE_TIMEOUT": "3"}
    return {**env, "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.endpoint + "/v2/credentials/x"}


class Traffic:
    """One connection that stays, and new ones to hosts that have no session yet: each needs signed calls."""

    def __init__(self, proxy, web, workers=3):
        self.proxy, self.web = proxy, web
        self.ended, self.failures, self.done = threading.Event(), [], 0
        self.hosts = itertools.cycle(HOSTS)
        self.lock = threading.Lock()
        self.stays = client.socks5(proxy.listener, HOSTS[0], web.port)
        self.threads = [threading.Thread(target=self.run) for _ in range(workers)]
        for t in self.threads:
            t.start()

    def exchange(self, s, host, more="Connection: close\r\n"):
        s.sendall(f"GET /bytes/1000 HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        client.read_exactly(s, 1000)

    def run(self):
        while not self.ended.is_set():
            with self.lock:
                host = next(self.hosts)
            try:
                with client.socks5(self.proxy.listener, host, self.web.port) as s:
                    self.exchange(s, host)
                with self.lock:
                    self.exchange(self.stays, HOSTS[0], more="")    # the server waits for two minutes, not longer
                    self.done += 1
            except Exception as e:  # to be told where it can fail the test
                self.failures.append((host, e))
            self.ended.wait(0.1)

    def end(self):
        self.ended.set()
        for t in self.threads:
            t.join()
        self.exchange(self.stays, HOSTS[0])
        self.stays.close()


def run(localaws, awsocks, web, role, source, renewals):
    aws = localaws("--fault", "expire-credentials=5", "--fault", "seed=3", *RESOLVE)
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env=environment(aws, source, role))
    traffic = Traffic(proxy, web)
    aws.faults("fail-refresh=30")
    seen = set()

    def renewed():
        for backend in proxy.status()["backends"]:
            seen.add(backend.get("credentials", {}).get("expires"))
        return len(seen - {None}) > renewals
    try:
        harness.wait_for(renewed, what=f"{renewals} renewals", limit_s=renewals * 30 + 60)
    finally:
        traffic.end()
    stats = aws.stats()
    assert traffic.failures == [], proxy.log()
    # A call that was under way when they expired is not one that was signed with expired ones.
    assert stats["expired_when_signed"] == 0 and stats["signatures_bad"] == stats["expired_credentials"]
    assert traffic.done > renewals and stats[CALLS[source]] > renewals
    return aws, proxy


@pytest.mark.parametrize("source", ["role", "instance", "container"])
def test_renewals_that_fail_are_not_noticed(localaws, awsocks, web, role, source):
    run(localaws, awsocks, web, role, source, 2)


@pytest.mark.long
@pytest.mark.parametrize("source", ["role", "instance", "container"])
def test_twenty_expiries(localaws, awsocks, web, role, source):
    run(localaws, awsocks, web, role, source, 20)


class Between:
    """What stands before instance metadata: hands each connection on, or takes it and says nothing ("silent")."""

    def __init__(self, port):
        self.port, self.silent, self.held = port, False, []
        self.listener = socket.create_server(("127.0.0.1", 0), reuse_port=True)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s = self.listener.accept()[0]
            except OSError:
                return
            if self.silent:
                self.held.append(s)
            else:
                threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with s, socket.create_connection(("127.0.0.1", self.port)) as to:
            back = threading.Thread(target=self.copy, args=(to, s), daemon=True)
            back.start()
            self.copy(s, to)
            back.join()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def leave(self):
        """Nobody listens there any more, and nobody else can; returns what lets it come back."""
        kept = socket.socket()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(self.listener.getsockname())
        self.end()

        def come_back():
            kept.listen(128)
            self.listener = kept
            threading.Thread(target=self.run, daemon=True).start()
        return come_back

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.held:
            s.close()


PROCESS = """import json, os, sys, urllib.request
if os.path.exists(sys.argv[2]):
    sys.exit("the vault is locked")
c = json.load(urllib.request.urlopen(sys.argv[1] + "/v2/credentials/x"))
print(json.dumps({"Version": 1, "AccessKeyId": c["AccessKeyId"], "SecretAccessKey": c["SecretAccessKey"],
                  "SessionToken": c["Token"], "Expiration": c["Expiration"]}))
"""


def credentials_of(proxy):
    return proxy.status()["backends"][0].get("credentials", {})


def waits_for_the_source(proxy, web, mend, cause):
    """After the credentials' end a client waits, and is served when the source answers again."""
    harness.wait_for(lambda: cause in credentials_of(proxy).get("error", "") and "expires" not in credentials_of(proxy),
                     what="the end of the credentials")
    result = []

    def ask():
        with client.socks5(proxy.listener, HOSTS[5], web.port) as s:
            s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {HOSTS[5]}\r\nConnection: close\r\n\r\n".encode())
            result.append(client.read_head(s))
    t = threading.Thread(target=ask)
    t.start()
    harness.wait_for(lambda: "expires" not in credentials_of(proxy), what="status")  # the client has been read
    mend()
    t.join()
    assert result and result[0].startswith(b"HTTP/1.1 200"), proxy.log()


@pytest.mark.parametrize("how", ["silent", "refused"])
def test_instance_metadata_that_is_gone_for_a_while(localaws, awsocks, web, role, how):
    aws = localaws("--fault", "expire-credentials=5", *RESOLVE)
    port = int(aws.endpoint.rsplit(":", 1)[1])
    between = Between(port)
    env = {**environment(aws, "instance", role), "AWS_EC2_METADATA_SERVICE_ENDPOINT": between.url}
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env=env)
    with client.socks5(proxy.listener, HOSTS[0], web.port):
        if how == "silent":
            between.silent = True
            waits_for_the_source(proxy, web, lambda: setattr(between, "silent", False), "instance metadata")
        else:
            waits_for_the_source(proxy, web, between.leave(), "instance metadata")
    between.end()


def test_a_credential_process_that_fails_for_a_while(localaws, awsocks, web, tmp_path):
    aws = localaws("--fault", "expire-credentials=5", *RESOLVE)
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "process.py").write_text(PROCESS)
    locked = folder / "locked"
    (folder / "config").write_text(f"[default]\ncredential_process = {sys.executable} {folder}/process.py "
                                   f"{aws.endpoint} {locked}\n")
    env = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": REGION, "AWS_CONFIG_FILE": str(folder / "config"),
           "AWS_EC2_METADATA_DISABLED": "true"}
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env=env)
    with client.socks5(proxy.listener, HOSTS[0], web.port):
        locked.touch()
        waits_for_the_source(proxy, web, locked.unlink, f"the vault is locked: run {sys.executable} yourself")


def test_a_change_of_the_files_counts_at_once(localaws, awsocks, web, role, tmp_path):
    aws = localaws(*RESOLVE)
    folder = tmp_path / "aws"      # of its own: so the fence lets new files in
    folder.mkdir()
    config = folder / "config"
    env = role(aws)
    config.write_text((tmp_path / "config").read_text())
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env={**env, "AWS_CONFIG_FILE": str(config)})
    with client.socks5(proxy.listener, HOSTS[0], web.port):
        assert "role/One" in proxy.status()["backends"][0]["credentials"]["source"]
        (folder / "new").write_text(config.read_text().replace("role/One", "role/Two"))
        (folder / "new").rename(config)
        harness.wait_for(lambda: "role/Two" in proxy.status()["backends"][0]["credentials"]["source"],
                           what="the new role")
        assert "new credentials of profile role" in proxy.log()
        with client.socks5(proxy.listener, HOSTS[1], web.port):
            pass


def test_a_failure_is_seen(localaws, awsocks, web, role):
    aws = localaws("--fault", "expire-credentials=5", *RESOLVE)
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env=role(aws))
    with client.socks5(proxy.listener, HOSTS[0], web.port):
        aws.faults("fail-refresh=100")
        harness.wait_for(lambda: "InternalFailure" in
                           proxy.status()["backends"][0].get("credentials", {}).get("error", ""), what="the failure")
        text = harness.run([harness.program("awsocks"), "status"], env=proxy.env).stdout.decode()
        assert "credentials not renewed: profile role (assume role" in text
        aws.faults("fail-refresh=off")
        with client.socks5(proxy.listener, HOSTS[2], web.port):
            pass
