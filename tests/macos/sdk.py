"""What of macOS a compiler for it does not bring along: the libraries that Homebrew would install.

Usage: sdk.py DIR. Of the libraries of this system it makes DIR/include, with their headers and no others (the C
library's must not be seen), and DIR/lib, with a text stub for each that names what the library exports. So a program
is compiled against the real declarations and linked against the real names; only run it cannot be.
"""

import pathlib
import re
import shutil
import subprocess
import sys

HEADERS = ["uv.h", "uv", "curl", "openssl", "cjson", "yaml.h", "expat.h", "expat_external.h", "expat_config.h",
           "idn2.h", "cmocka.h", "cmocka_pbc.h"]
LIBRARIES = ["uv", "curl", "ssl", "crypto", "cjson", "yaml", "expat", "idn2", "cmocka"]
OPTIONAL = ["expat_config.h", "cmocka_pbc.h"]
TARGETS = "[ x86_64-macos, arm64-macos ]"


def said(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def copy_headers(to):
    folders = [pathlib.Path("/usr/include"), pathlib.Path("/usr/include") / said("cc", "-print-multiarch").strip()]
    for name in HEADERS:
        found = [folder / name for folder in folders if (folder / name).exists()]
        if not found and name not in OPTIONAL:
            raise SystemExit(f"sdk: no {name} in {' or '.join(map(str, folders))}: run make setup")
        for source in found:
            if source.is_dir():
                shutil.copytree(source, to / name, dirs_exist_ok=True)
            else:
                shutil.copy(source, to / name)


def exported(library):
    file = said("cc", f"-print-file-name=lib{library}.so").strip()
    if "/" not in file:
        raise SystemExit(f"sdk: no lib{library}.so: run make setup")
    lines = said("nm", "-D", "--defined-only", file).splitlines()
    names = {line.split()[2].split("@")[0] for line in lines if re.match(r"\S+ [TDBRVW] ", line)}
    return sorted(names)


def write_stub(to, library):
    names = ", ".join(f"_{name}" for name in exported(library))
    to.joinpath(f"lib{library}.tbd").write_text(
        f"--- !tapi-tbd\ntbd-version: 4\ntargets: {TARGETS}\n"
        f"install-name: '/usr/local/lib/lib{library}.dylib'\n"
        f"exports:\n  - targets: {TARGETS}\n    symbols: [ {names} ]\n...\n")


def main():
    root = pathlib.Path(sys.argv[1])
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("include", "lib"):
        (root / folder).mkdir(parents=True)
    copy_headers(root / "include")
    for library in LIBRARIES:
        write_stub(root / "lib", library)


main()
