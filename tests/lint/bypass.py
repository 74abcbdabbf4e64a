#!/usr/bin/env python3
"""tests/bypass has at least 40 cases; each says in its head what it tries and where that comes from, and stands in
the table of docs/SECURITY.md.

    bypass.py            checks        bypass.py --write        writes the table
"""
import ast
import glob
import os
import re
import sys

LEAST = 40
PAGE = "docs/SECURITY.md"
BEGIN, END = "<!-- cases: tests/lint/bypass.py --write -->\n", "<!-- end of cases -->\n"


def head_of(path):
    """(what it tries, its source), or why it is no case."""
    with open(path, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    text = ast.get_docstring(tree) or ""
    what, _, rest = text.partition("\n\n")
    if not rest.startswith("Source: ") or not rest[8:].strip():
        return None, f"{path}: its head has no line 'Source: ...'"
    functions = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
    if "attempt" not in functions:
        return None, f"{path}: no function attempt(t)"
    return (" ".join(what.split()), " ".join(rest[8:].split())), None


def table(cases):
    rows = ["| case | what is tried | source |\n", "|---|---|---|\n"]
    for path, (what, source) in cases:
        name = os.path.basename(path)[:-3]
        cells = [text.replace("|", "\\|").replace("<", "&lt;") for text in (what, source)]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} |\n")
    return "".join(rows)


def main(argv):
    paths = sorted(glob.glob("tests/bypass/*.py"))
    heads = [(path, head_of(path)) for path in paths]
    wrong = [why for _, (_, why) in heads if why]
    wrong += [f"{path}: named otherwise than NN_name.py" for path in paths
              if not re.fullmatch(r"\d\d_[a-z0-9_]+\.py", os.path.basename(path))]
    if len(paths) < LEAST:
        wrong.append(f"tests/bypass: {len(paths)} cases, {LEAST} are the least")
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    whole = before + BEGIN + table([(path, head) for path, (head, why) in heads if not why]) + END + after
    if "--write" in argv:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(whole)
    elif whole != page:
        wrong.append(f"{PAGE}: its table is another: run tests/lint/bypass.py --write")
    for line in wrong:
        print(line)
    print(f"bypass: {len(paths)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
