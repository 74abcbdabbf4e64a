#!/usr/bin/env python3
"""The house rules that no compiler knows, checked over every file of the tree.

    source.py            all files        source.py FILE...    only these

Rules (the name is what tests/lint/allow uses):

    layer     an include that tests/lint/layers does not allow; an include that goes upwards ("../")
    library   <uv.h>, <curl/...>, <libwebsockets.h> outside net/
    call      calls that are banned: allocation outside base/mem.c, unbounded or
              locale-ridden string functions, sleeping, shells
    ifdef     #if inside a function body: one file a platform instead
    global    mutable data at file scope, or static inside a function
    blank     trailing blanks, no newline at the end, carriage returns
    width     more than 120 columns (a tab counts as 8)
    tab       a tab in Python or YAML
    path      a path of somebody's machine

Comments and literals are blanked out first, so that a rule never fires on prose.
"""
import os
import re
import subprocess
import sys

MEMORY = "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf"
STRINGS = "strcpy strcat stpcpy sprintf vsprintf atoi atol atoll atof strtok gets scanf"
SYSTEM = "system popen sleep usleep nanosleep alloca tmpnam mktemp gethostbyname"
LIBRARIES = re.compile(r"^(uv\.h|uv/.*|curl/.*|libwebsockets.*)$")
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|Users/\w+)/[\w.]")
WIDTH = 120
BINARY = (".png", ".bin", ".gz", ".ico")


def call_pattern(names):
    return re.compile(r"(?<![\w.>])(" + "|".join(names.split()) + r")\s*\(")


def tracked():
    """All files that belong to the tree, whether it is a git work tree or an unpacked archive."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=False)
    if git.returncode == 0:
        names = git.stdout.decode().split("\0")
        return sorted(n for n in names if n and os.path.isfile(n))
    out = []
    for folder, kids, files in os.walk("."):
        kids[:] = [k for k in kids if not k.startswith((".git", "build", "__pycache__"))]
        out += [os.path.relpath(os.path.join(folder, f)) for f in files]
    return sorted(out)


def read_layers(path="tests/lint/layers"):
    allowed = {}
    for line in open(path, encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            layer, rest = line.split(":", 1)
            allowed[layer.strip()] = set(rest.split()) | {layer.strip()}
    return allowed


def read_allow(path="tests/lint/allow"):
    """Lines of `rule path  # why`: exceptions, each with its reason."""
    out = set()
    for line in open(path, encoding="utf-8"):
        line, _, why = line.partition("#")
        if not line.strip():
            continue
        if not why.strip():
            sys.exit(f"{path}: '{line.strip()}' gives no reason")
        rule, name = line.split()
        out.add((rule, name))
    return out


def layer_of(path, layers):
    """The longest layer that is a folder above path; None for tests and the like."""
    fits = [l for l in layers if path.startswith(l + "/")]
    return max(fits, key=len) if fits else None


def blanked(text):
    """The C text with comments and the insides of literals replaced by blanks, lines kept."""
    def blank(match):
        s = match.group(0)
        if s[0] in "\"'":
            return s[0] + " " * (len(s) - 2) + s[-1]
        return re.sub(r"[^\n]", " ", s)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


class Source:
    """One C file: its lines, and which of them are inside a function."""

    def __init__(self, path, text):
        self.path = path
        self.lines = text.split("\n")
        self.code = blanked(text).split("\n")
        self.inside = self.function_lines()

    def function_lines(self):
        """The tree is formatted: a body begins with '{' alone in column 0 (or ends the
        signature's line in a static inline of a header) and ends with '}' there."""
        inside, out = False, []
        for line in self.code:
            out.append(inside)
            if line == "{":
                inside = True
            elif line.startswith("}"):
                inside = False
        return out

    def includes(self):
        for n, line in enumerate(self.lines, 1):
            m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if m:
                yield n, m.group(1), m.group(2)


def check_includes(src, layers):
    mine = layer_of(src.path, layers)
    in_tests = src.path.startswith("tests/")
    for n, kind, name in src.includes():
        if kind == "<":
            if LIBRARIES.match(name) and mine != "net":
                yield n, "library", f"<{name}> belongs to net/ alone"
            continue
        if ".." in name.split("/"):
            yield n, "layer", f'"{name}": name it from the top of the tree'
            continue
        theirs = layer_of(name, layers)
        if mine and theirs and theirs not in layers[mine]:
            yield n, "layer", f"{mine}/ may not include {theirs}/ (tests/lint/layers)"
        elif mine and name.startswith("tests/"):
            yield n, "layer", "the product may not include tests/"
        elif not mine and not in_tests:
            yield n, "layer", "a C file in no layer (tests/lint/layers)"


def check_calls(src):
    banned = STRINGS if src.path.startswith("tests/") else " ".join((MEMORY, STRINGS, SYSTEM))
    pattern = call_pattern(banned)
    for n, line in enumerate(src.code, 1):
        for m in pattern.finditer(line):
            yield n, "call", f"{m.group(1)}() is not used here"


def check_ifdef(src):
    for n, (line, inside) in enumerate(zip(src.code, src.inside), 1):
        if inside and re.match(r"\s*#\s*(if|elif|else)", line):
            yield n, "ifdef", "#if inside a function: one file a platform instead"


def is_mutable(declaration):
    """A declaration of data (not a type, prototype or macro) whose object can change."""
    head = re.split(r"=|\{", declaration, maxsplit=1)[0] if re.match(
        r"(static\s+)?(const\s+)?(struct|union|enum)\s*(\w+\s*)?\{", declaration) is None else declaration
    anonymous = re.match(r"static\s+(const\s+)?(struct|union)\s*(\w+\s*)?\{", declaration)
    if anonymous:
        return "const" not in declaration.split("{", 1)[0]
    if "(" in head or not re.match(r"(static\b|_Thread_local\b|\w[\w\s*]*\w\s*(\[|=|;|$))", head):
        return False
    if re.match(r"(extern|typedef|struct\s+\w+\s*;|struct\s+\w+\s*$|enum|union|return|goto|_Static_assert)\b", head):
        return False
    if "pthread_once_t" in head:        # it guards a library's own initialisation
        return False
    object_part = head.rsplit("*", 1)[-1]
    return "const" not in object_part.split()


def check_globals(src):
    if src.path.startswith("tests/"):
        return
    for n, (line, inside) in enumerate(zip(src.code, src.inside), 1):
        at_top = not inside and re.match(r"[A-Za-z_]", line)
        local_static = inside and re.match(r"\s+static\b", line)
        if not at_top and not local_static:
            continue
        text = line.strip()
        ends = text.endswith((";", "{", "="))
        if ends and ("static" in text.split() or "=" in text) and is_mutable(text.rstrip(";")):
            yield n, "global", "mutable data at file scope: hang it off what is passed in"


def check_text(path, lines):
    last = len(lines)
    for n, line in enumerate(lines, 1):
        if line != line.rstrip() and not (n == last and line == ""):
            yield n, "blank", "trailing blanks"
        if len(line.expandtabs(8)) > WIDTH and not line.startswith("|") and "://" not in line:
            yield n, "width", f"{len(line.expandtabs(8))} columns; {WIDTH} is the limit"
        if "\t" in line and path.endswith((".py", ".yaml", ".yml")):
            yield n, "tab", "indent with blanks here"
        if MACHINE_PATH.search(line):
            yield n, "path", "a path of somebody's machine"
    if lines and lines[-1] != "":
        yield last, "blank", "no newline at the end"


def check_file(path, layers):
    data = open(path, "rb").read()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return [(1, "blank", "not UTF-8")]
    found = list(check_text(path, text.split("\n")))
    if path.endswith((".c", ".h")):
        src = Source(path, text)
        for rule in (check_calls, check_ifdef, check_globals):
            found += rule(src)
        found += check_includes(src, layers)
    return sorted(found)


def wanted(path):
    skipped = ("tests/corpus/", "tests/golden/")
    return not path.startswith(skipped) and not path.endswith(BINARY) and os.path.basename(path) != "LICENSE"


def main(argv):
    layers, allow = read_layers(), read_allow()
    files = [f for f in (argv or tracked()) if wanted(f)]
    failed = 0
    for path in files:
        found = [f for f in check_file(path, layers) if (f[1], path) not in allow]
        for n, rule, text in found:
            print(f"{path}:{n}: {rule}: {text}")
        failed += bool(found)
    print(f"source: {len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
