#!/usr/bin/env python3
"""Prints the script that updates the extension from a release to what the sources have: `update_sql.py 0.1.0`.

Definitions that are made by one statement (functions, views, comments, rights) are taken from the sources where they are new or another; what
tables need is written by hand in sql/update/RELEASE.sql, which comes first. An object that it drops is made anew with all that belongs to it.
Fails for what it can't do: a table or type that has changed and is not named there, an object that is gone and not dropped there.
"""
import pathlib
import re
import sys

release = sys.argv[1]
root = pathlib.Path(__file__).resolve().parents[1]
order = re.findall(r"sql/schema/[^\"]*\.sql", (root / "src/api/schema.rs").read_text())
after = "\n".join((root / path).read_text() for path in order)
before = (root / f"pg_test/upgrade/releases/pg_millrace--{release}.sql").read_text()
by_hand = (root / f"sql/update/{release}.sql").read_text()


def statements(text):
    """Each statement without what stands between them."""
    token = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"|(\$\w*\$).*?\1|;", re.S)
    start = 0
    for found in token.finditer(text):
        if found[0] == ";":
            statement = text[start:found.end()]
            start = found.end()
            yield re.sub(r"\A(?:\s|--[^\n]*(?:\n|\Z))+", "", statement)


def subject(statement):
    """What a statement is about: the object's name without its arguments."""
    about = re.match(
        r"(?:CREATE (?:OR REPLACE )?(?:UNIQUE )?|COMMENT ON |DROP |ALTER )"
        r"(?:TABLE|VIEW|FUNCTION|PROCEDURE|TYPE|SCHEMA|FOREIGN DATA WRAPPER|COLUMN)(?: IF EXISTS)? ([\w.]+)", statement)
    return about[1] if about else None


old = {re.sub(r"\s+", " ", s) for s in statements(before)}
new = {re.sub(r"\s+", " ", s) for s in statements(after)}
hand = list(statements(by_hand))
named = {name for s in hand for name in [subject(s)] if name}
dropped = {subject(s) for s in hand if s.startswith("DROP ")}
wrong = []
made_before = {subject(s) for s in statements(before) if s.startswith("CREATE ")}
made_after = {subject(s) for s in statements(after) if s.startswith("CREATE ")}
wrong += [f"{name} is gone: DROP it in sql/update/{release}.sql" for name in made_before - made_after - dropped if name]

print(f"-- Updates pg_millrace {release}. Made by scripts/update_sql.py from sql/update/{release}.sql and the sources: change those, never this file.\n")
print(by_hand.strip() + "\n")
added = []  # functions that are new, with their arguments
for statement in statements(after):
    name = subject(statement)
    function = re.match(r"COMMENT ON FUNCTION (millrace\.\w+\([^)]*\))", statement)
    if function and name not in made_before:
        added.append(function[1])
    # What is said of all functions holds for those that were made before it in the sources.
    if "ON ALL FUNCTIONS IN SCHEMA millrace" in statement and added:
        print(statement.replace("ALL FUNCTIONS IN SCHEMA millrace", "FUNCTION " + ", ".join(added)) + "\n")
        continue
    mentions = set(re.findall(r"millrace\.\w+", statement))
    is_again = name in dropped or re.match("GRANT|REVOKE", statement) and mentions & dropped
    if re.sub(r"\s+", " ", statement) in old and not is_again:
        continue
    if re.match(r"CREATE (TABLE|TYPE|SCHEMA|FOREIGN)", statement) and name in made_before:
        if name not in named:
            wrong.append(f"{name} has changed: sql/update/{release}.sql must say how")
        continue
    statement = re.sub(r"\ACREATE (FUNCTION|PROCEDURE|VIEW)", r"CREATE OR REPLACE \1", statement)
    print(statement + "\n")
print("-- Pipelines that failed meanwhile, for want of what this has brought, try again at once.\nUPDATE millrace.position SET retry_at = NULL WHERE retry_at IS NOT NULL;\n")
print("SELECT millrace.wake_workers();")
if wrong:
    sys.exit("\n".join(wrong))
