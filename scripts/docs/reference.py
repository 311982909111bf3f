#!/usr/bin/env python3
"""Prints docs/reference.md: functions, views and settings as the catalog of a database with the extension has them.

Reads one JSON document (the answer of reference.sql) from standard input. With --missing it prints instead what the comments do not
explain, a line each, and fails if there is any.
"""
import json
import re
import sys


def explained(comment, names):
    """Argument -> what the comment says about it, from passages such as 'stream, consumer: which cursor.'"""
    name = "(?:" + "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)) + ")"
    passage = re.compile(rf"(?:^|(?<=[.;)] ))({name}(?:(?:, | and ){name})*): ", re.M)
    found, starts = {}, list(passage.finditer(comment))
    for this, following in zip(starts, starts[1:] + [None]):
        text = comment[this.end():following.start() if following else len(comment)]
        text = re.split(r"\n(?=Returns|Raises|Needs|Commit|A row|What )", text)[0].replace("\n", " ")
        for argument in re.split(r", | and ", this.group(1)):
            found.setdefault(argument, text.strip())
    return found


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").strip()


def prose(text):
    return text.replace("<", "&lt;")


def main():
    catalog = json.load(sys.stdin)
    missing = [f"{signature}: no comment" for signature in catalog["uncommented"]]
    out = [
        "<!-- Made by `make docs` from the catalog; edit the comments in sql/schema instead. -->",
        "# SQL reference",
        "",
        "Everything is in schema `millrace`. Arguments can be given by name (`every => '1 second'`); those with a default can be left out.",
        "A NULL where a value is needed raises 22004. What is shown here is what `\\df+ millrace.*` and `\\d+` show in psql.",
        "",
        "## Functions and procedures",
    ]
    for f in catalog["functions"]:
        comment = f["comment"] or ""
        names = [a["name"] for a in f["arguments"]]
        said = explained(comment, names) if names else {}
        missing += [f"{f['signature']}: an argument has no name" for n in names if not n]
        missing += [f"{f['signature']}: {n} is not explained" for n in names if not said.get(n)]
        first, _, rest = comment.partition("\n")
        out += ["", f"### {f['name']}", "", "```text", f["usage"], "```", "", prose(first)]
        kept = [line for line in rest.split("\n") if line]
        if kept:
            out += [""] + [prose(line) + "  " for line in kept]
        if f["arguments"]:
            out += ["", "| argument | type | default | |", "|---|---|---|---|"]
            for a in f["arguments"]:
                default = f"`{a['default']}`" if a["default"] else "required"
                out.append(f"| `{a['name']}` | {a['type']} | {cell(default)} | {cell(said.get(a['name'], ''))} |")
        out += ["", f"May be called by: {', '.join(f['callers']) or 'superusers'}."]
    out += ["", "## Views"]
    for v in catalog["views"]:
        missing += [f"view {v['name']}: no comment"] if not v["comment"] else []
        out += ["", f"### {v['name']}", "", prose((v["comment"] or "").replace("\n", "  \n")), "", "| column | type |", "|---|---|"]
        out += [f"| `{c['name']}` | {c['type']} |" for c in v["columns"]]
    if "--missing" in sys.argv:
        print("\n".join(missing), end="\n" if missing else "")
        sys.exit(1 if missing else 0)
    print("\n".join(out))


main()
