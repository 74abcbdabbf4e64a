#!/usr/bin/env python3
"""Each rule of source.py fires where it should and nowhere else: a table of cases."""
import sys

import source

LAYERS = {"base": {"base"}, "net": {"net", "base", "stream"}, "backend": {"backend", "base", "net"},
          "backend/ssm": {"backend/ssm", "backend", "base"}, "proxy": {"proxy", "base"}}

# (name, path, text, rules that fire)
CASES = [
    ("allowed include", "net/a.c", '#include "base/err.h"\n', []),
    ("upward layer", "base/a.c", '#include "net/tcp.h"\n', ["layer"]),
    ("private folder", "backend/a.c", '#include "backend/ssm/api.h"\n', ["layer"]),
    ("folder above", "backend/ssm/a.c", '#include "backend/backend.h"\n', []),
    ("parent path", "net/a.c", '#include "../base/err.h"\n', ["layer"]),
    ("no layer", "misc/a.c", '#include "base/err.h"\n', ["layer"]),
    ("product includes tests", "net/a.c", '#include "tests/support/x.h"\n', ["layer"]),
    ("test includes anything", "tests/unit/a.c", '#include "net/tcp.h"\n', []),
    ("uv outside net", "proxy/a.c", "#include <uv.h>\n", ["library"]),
    ("curl outside net", "backend/a.c", "#include <curl/curl.h>\n", ["library"]),
    ("uv in net", "net/a.c", "#include <uv.h>\n", []),
    ("malloc", "net/a.c", "void f(void)\n{\n\tp = malloc(3);\n}\n", ["call"]),
    ("member named free", "net/a.c", "void f(void)\n{\n\tops->free(p);\n\tops.free(p);\n}\n", []),
    ("mem_free", "net/a.c", "void f(void)\n{\n\tmem_free(p);\n}\n", []),
    ("prose", "net/a.c", '/* malloc(3) and\n * strcpy(a, b) */\nconst char *const s = "free(x)";\n', []),
    ("sprintf in a test", "tests/unit/a.c", 'void f(void)\n{\n\tsprintf(b, "x");\n}\n', ["call"]),
    ("snprintf", "net/a.c", 'void f(void)\n{\n\tsnprintf(b, 3, "x");\n}\n', []),
    ("if in a function", "net/a.c", "void f(void)\n{\n#ifdef X\n\tg();\n#endif\n}\n", ["ifdef"]),
    ("if outside", "net/a.c", "#ifdef X\nint f(void);\n#endif\n", []),
    ("X-macro in a function", "net/a.c", "void f(void)\n{\n#define X(a) g(a);\n\tL(X)\n#undef X\n}\n", []),
    ("mutable", "net/a.c", "static int count;\n", ["global"]),
    ("mutable, set", "net/a.c", "int count = 3;\n", ["global"]),
    ("mutable struct", "net/a.c", "static struct {\n\tint a;\n} settings = { 0 };\n", ["global"]),
    ("mutable pointers", "net/a.c", 'static const char *names[] = {\n\t"a",\n};\n', ["global"]),
    ("constant pointers", "net/a.c", 'static const char *const names[] = {\n\t"a",\n};\n', []),
    ("constant table", "net/a.c", "static const struct {\n\tint a;\n} t[] = {\n\t{ 1 },\n};\n", []),
    ("constant struct", "net/a.c", "static const struct ops ops = {\n\t.f = f,\n};\n", []),
    ("static function", "net/a.c", "static int f(int a);\nstatic void g(void)\n{\n}\n", []),
    ("static in a function", "net/a.c", "void f(void)\n{\n\tstatic int n;\n}\n", ["global"]),
    ("constant in a function", "net/a.c", "void f(void)\n{\n\tstatic const int n = 3;\n}\n", []),
    ("once", "net/a.c", "void f(void)\n{\n\tstatic pthread_once_t once = PTHREAD_ONCE_INIT;\n}\n", []),
    ("extern", "net/a.h", "extern const struct clock clock_system;\n", []),
    ("enum", "net/a.c", "enum { A = 1, B = 2 };\nenum kind { C = 0 };\n", []),
    ("type", "net/a.c", "struct a {\n\tint b;\n};\ntypedef void fn(void *arg);\n", []),
    ("trailing blank", "a.md", "a \nb\n", ["blank"]),
    ("no last newline", "a.md", "a", ["blank"]),
    ("wide", "a.md", "a" * 121 + "\n", ["width"]),
    ("wide table", "a.md", "|" + "a" * 130 + "\n", []),
    ("tab in Python", "a.py", "if a:\n\tb()\n", ["tab"]),
    ("machine path", "a.md", "see /" + "work/x\n", ["path"]),
    ("part of a path", "a.md", "see ~/" + "work/x and net/" + "work/x\n", []),
]


def fired(path, text):
    found = list(source.check_text(path, text.split("\n")))
    if path.endswith((".c", ".h")):
        src = source.Source(path, text)
        for rule in (source.check_calls, source.check_ifdef, source.check_globals):
            found += rule(src)
        found += source.check_includes(src, LAYERS)
    return sorted({f[1] for f in found})


def main():
    failed = 0
    for name, path, text, want in CASES:
        got = fired(path, text)
        if got != want:
            failed += 1
            print(f"rules_test: {name}: fired {got}, expected {want}")
    print(f"rules: {len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
