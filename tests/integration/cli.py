"""Runs the built awsocks for its short-lived commands, in an environment of its own."""
import os
import subprocess

import conftest
import harness


class Cli:
    """`cli("route", "example.com")` -> CompletedProcess; files are written below .home."""

    def __init__(self, home):
        self.home = str(home)
        self.env = conftest.clean_environment(home)
        self.cwd = self.home

    def __call__(self, *args, env=None, cwd=None):
        return subprocess.run([harness.program("awsocks"), *args], env={**self.env, **(env or {})},
                              cwd=cwd or self.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    def ok(self, *args, **how):
        """Standard output of a run that must succeed without a word on standard error."""
        p = self(*args, **how)
        assert (p.returncode, p.stderr) == (0, ""), (args, p)
        return p.stdout

    def write(self, name, text):
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def config(self, text):
        return self.write("config/awsocks/config.yaml", text)
