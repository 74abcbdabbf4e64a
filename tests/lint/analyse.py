#!/usr/bin/env python3
"""clang-format, clang-tidy and cppcheck over the C files, remembering what was clean.

    analyse.py format|tidy|tidy-deep|cppcheck [FLAG...]      flags: those of the compiler

A file is looked at again only when it, a header of ours that it includes
(however deep), the tool or its settings changed: the digest of all these names
a stamp in build/lint/. So a run after a small change takes seconds, and a cold
one uses every core.

tidy-deep is tidy with the analyser's own limit of how far one function is followed. Most of its time goes to a
few functions with thousands of ways through them, of which it tries combinations until it gives up. tidy gives
up sooner: in a sample it had still been in every block that tidy-deep reaches. `make test-long` runs the latter.
"""
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys

import source

STAMPS = "build/lint"
INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.M)
LIMIT_S = 3600  # of one that hangs: it may have to stand behind all else that is made and tested
ANALYSER = "tests/lint/analyser.h"
MACROS = "tests/lint/cppcheck.h"
# Is neither formatted nor right.
PLANTED = """#include "base/err.h"
int planted(int n);
int planted(int n) {
    int a[3] = {0};
    if (n == 1) return 10 / (n - 1);
    a[3] = 2;
    return a[n == 0];
}
"""
# States of a function that clang's analyser looks at before it leaves it.
NODES = {"tidy": 30000, "tidy-deep": 225000}


def tool(*names):
    """The first of these programs that exists, or None."""
    return next((p for p in map(shutil.which, names) if p), None)


def format_tool():
    """Formatting differs between versions: only 14 (Debian 12) decides."""
    path = tool("clang-format-14", "clang-format")
    if not path:
        return None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return path if " 14." in version else None


def contents(path, seen):
    """Digests of path and of every header of ours behind it."""
    if path in seen or not os.path.isfile(path):
        return
    data = open(path, "rb").read()
    seen[path] = hashlib.sha256(data).hexdigest()
    for name in INCLUDE.findall(data):
        contents(name.decode(), seen)


def stamp_of(kind, path, command):
    seen = {}
    contents(path, seen)
    if kind == "format":
        seen = {path: seen[path]}
    for settings in (".clang-format", ".clang-tidy", "tests/lint/cppcheck.supp", ANALYSER, MACROS):
        contents(settings, seen)
    text = "\n".join([kind, *command, *sorted(f"{k} {v}" for k, v in seen.items())])
    return os.path.join(STAMPS, hashlib.sha256(text.encode()).hexdigest())


def command_of(kind, flags):
    if kind == "format":
        path = format_tool()
        return path and [path, "--dry-run", "-Werror"]
    if kind in NODES:
        path = tool("clang-tidy-14", "clang-tidy")
        limit = ["-Xclang", "-analyzer-config", "-Xclang", f"max-nodes={NODES[kind]}"]
        return path and [path, "--quiet", *(f"--extra-arg={a}" for a in limit)]
    path = tool("cppcheck")
    defines = [f for f in flags if f.startswith(("-D", "-I"))]
    return path and [path, "--quiet", "--std=c11", "--enable=warning,performance,portability",
                     "--inline-suppr", "--error-exitcode=1", "--library=posix",
                     f"--include={MACROS}", "--suppressions-list=tests/lint/cppcheck.supp", *defines]


def run(kind, path, command, flags):
    """(path, what is wrong or None)"""
    stamp = stamp_of(kind, path, command + flags)
    if os.path.exists(stamp):
        return path, None
    full = command + [path]
    if kind in NODES:
        # What the analyser cannot see from one file; base/err.c defines these itself.
        full += ["--", *flags] + (["-include", ANALYSER] if path != "base/err.c" else [])
    try:
        r = subprocess.run(full, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        wrong = r.returncode != 0
        text = r.stdout + (r.stderr if kind not in NODES or not r.stdout else "")
    except subprocess.TimeoutExpired:
        wrong, text = True, f"{path}: {kind} took more than {LIMIT_S} s\n"
    if wrong:
        return path, text or f"{path}: {kind} failed\n"
    open(stamp, "w").close()
    return path, None


def is_blind(kind, command, flags):
    """Does it find nothing in a file in which there is something? Options can make a tool look at nothing, silently."""
    path = os.path.join(STAMPS, f"planted-{kind}-{os.getpid()}.c")
    with open(path, "w", encoding="ascii") as f:
        f.write(PLANTED)
    try:
        return run(kind, path, command, flags)[1] is None
    finally:
        os.unlink(path)


def files_of(kind):
    out = [f for f in source.tracked() if f.endswith((".c", ".h"))]
    if kind == "format":
        return out
    # Headers are seen through the files that include them; tests are not analysed.
    out = [f for f in out if f.endswith(".c") and not f.startswith("tests/")]
    # clang-tidy needs the system's headers.
    absent = "_linux.c" if sys.platform == "darwin" else "_macos.c"
    return [f for f in out if kind not in NODES or not f.endswith(absent)]


def main(argv):
    kind, flags = argv[0], argv[1:]
    command = command_of(kind, flags)
    if not command:
        print(f"{kind}: its program is not installed (make setup): left out")
        print(f"{kind}: 0 passed, 0 failed, 1 skipped")
        return 0
    os.makedirs(STAMPS, exist_ok=True)
    if is_blind(kind, command, flags):
        print(f"{kind} finds nothing in a file with faults: {' '.join(command)}")
        print(f"{kind}: 0 passed, 1 failed")
        return 1
    files, failed = files_of(kind), 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, wrong in pool.map(lambda f: run(kind, f, command, flags), files):
            if wrong:
                failed += 1
                print(wrong.rstrip())
    print(f"{kind}: {len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
