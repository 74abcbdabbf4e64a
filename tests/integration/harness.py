"""What every integration test stands on: processes that are always cleaned up,
waiting for conditions with a limit, and data whose digest both ends know.

Nothing here talks to anything but loopback addresses.
"""
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TREE, os.environ.get("AWSOCKS_BUILD", "build"))
SANITIZED = "-san" in os.path.basename(BUILD) or "-tsan" in os.path.basename(BUILD)
LIMIT_S = 60 if SANITIZED else 30
COMPLAINTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "Assertion `",
              "WARNING: ThreadSanitizer", "FATAL: ThreadSanitizer")


class Failed(AssertionError):
    """A process did something else than it should; the message has its log."""


def wait_for(condition, limit_s=LIMIT_S, what="a condition"):
    """The first true value of condition(); fails when there is none within the limit."""
    end = time.monotonic() + limit_s
    pause = 0.001
    while True:
        late = time.monotonic() > end       # asked before the last look: a stall must not be the last thing
        value = condition()
        if value:
            return value
        if late:
            raise Failed(f"waited {limit_s} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def read_json(path):
    """The object in a file, or None while there is none or only half of one."""
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


class Process:
    """A program in a process group of its own, its output in a file."""

    def __init__(self, argv, folder, name=None, env=None, cwd=None, stdin=subprocess.DEVNULL):
        self.argv = [str(a) for a in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.log_path = os.path.join(str(folder), f"{self.name}.log")
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdin=stdin, stdout=log, stderr=log, env=env,
                                          cwd=cwd, start_new_session=True)
        self.pid = self.child.pid
        self.group = True           # its group is not ended yet; later the number may be another's

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def running(self):
        return self.child.poll() is None

    def fail(self, why):
        raise Failed(f"{self.name} {why}\n$ {' '.join(self.argv)}\n{self.log()[-8000:]}")

    def wait_for(self, condition, limit_s=LIMIT_S, what="it to be ready"):
        """As wait_for(), and ends at once when the process does."""
        def check():
            ended = not self.running()      # asked before the look: what it did last counts too
            value = condition()
            if not value and ended:
                self.fail(f"ended with status {self.child.returncode} while the test waited for {what}")
            return value
        try:
            return wait_for(check, limit_s, what)
        except Failed as e:
            if not self.running():
                raise
            self.fail(str(e))

    def signal(self, signum):
        with contextlib.suppress(ProcessLookupError):
            if self.group:
                os.killpg(self.pid, signum)

    def stop(self, limit_s=LIMIT_S):
        """Asks it to end, and its exit status; kills it (and reports that) after the limit."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        try:
            return self.child.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.fail(f"did not end within {limit_s} s of SIGTERM")
        finally:
            self.kill()         # children that it left behind
        return None

    def kill(self):
        self.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)
        self.group = self.running()

    def cpu_s(self):
        """Processor time of the whole process so far, to the nanosecond (Linux)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def descriptors(self):
        """What its open descriptors are (Linux)."""
        out = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                out.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return out

    def check_clean(self):
        """No sanitizer, valgrind or assertion said anything."""
        text = self.log()
        if any(c in text for c in COMPLAINTS):
            self.fail("is not clean")


def program(name):
    """The path of a program of ours, or a failure that says how to build it."""
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        raise Failed(f"{path} is not there: run make")
    return path


def run(argv, limit_s=LIMIT_S, check=True, **kwargs):
    """subprocess.run() with a limit, output captured as text and shown when it fails."""
    argv = [str(a) for a in argv]
    kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
    if "input" in kwargs:
        del kwargs["stdin"]
    r = subprocess.run(argv, capture_output=True, timeout=limit_s, check=False, **kwargs)
    if check and r.returncode != 0:
        raise Failed(f"status {r.returncode}: {' '.join(argv)}\n{show(r.stdout)}\n{show(r.stderr)}")
    return r


def overwrite(path, text):
    """A file's new text in its place, in one write and with blank lines up to its old length: who watches it never
    finds it empty, as it would be for as long as a busy machine likes when it is cut first."""
    fd = os.open(path, os.O_WRONLY)
    try:
        data = text.encode()
        data += b"\n" * (os.fstat(fd).st_size - len(data))
        assert os.pwrite(fd, data, 0) == len(data)
    finally:
        os.close(fd)


def show(data):
    return data[-4000:].decode("utf-8", "replace") if isinstance(data, bytes) else (data or "")[-4000:]


MARKS = []          # sockets whose names say which ports free_port() has given: they live as long as the process


def mark_port(port):
    """A socket that says to all tests of this machine that the port is ours; None when it is another's."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0awsocks-test-port-{port}")
    except OSError:
        mark.close()
        return None
    return mark


def is_free(port, *addresses):
    for address in addresses:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            try:
                s.bind((address, port))
            except OSError:
                return False
    return True


def free_port(address="127.0.0.1"):
    """A port that is free at all addresses and stays so: below those that the system gives by itself (to port 0 and to
    whoever dials), and given to no other test while this process lives. Where there are no such names, it was free
    a moment ago. Prefer port 0 and reading what was given."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            low = int(f.read().split()[0])
    except OSError:
        low = 0
    for _ in range(1000 if low > 11000 else 0):
        port = random.SystemRandom().randrange(10000, low)
        mark = mark_port(port)
        if mark and is_free(port, "0.0.0.0", address):
            MARKS.append(mark)
            return port
        if mark:
            mark.close()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.bind((address, 0))
        return s.getsockname()[1]


# Data that both ends can make: no two blocks of it are alike, and a lost, doubled
# or swapped piece changes the digest.
BLOCK = 64 * 1024
FILLER = hashlib.shake_256(b"awsocks").digest(BLOCK - 8)


def pattern(size):
    """`size` bytes in pieces."""
    for i in range(0, size, BLOCK):
        block = (i // BLOCK).to_bytes(8, "big") + FILLER
        yield block[:size - i]


def pattern_digest(size):
    h = hashlib.sha256()
    for piece in pattern(size):
        h.update(piece)
    return h.hexdigest()


def file_digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            h.update(piece)
    return h.hexdigest()


def pattern_file(path, size):
    with open(path, "wb") as f:
        for piece in pattern(size):
            f.write(piece)
    return path
