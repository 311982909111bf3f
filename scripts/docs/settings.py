#!/usr/bin/env python3
"""Prints docs/configuration.md: server settings as the server shows them (JSON on standard input), options as src/model/options.rs has them."""
import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
source = (root / "src/model/options.rs").read_text()
body = re.search(r"pub struct Options \{\n(.*?)\n\}", source, re.S).group(1)
defaults = dict(re.findall(r"^            (\w+): (.*),$", re.search(r"fn default\(\) -> Self \{(.*?)\n    \}", source, re.S).group(1), re.M))


def shown(rust):
    rust = re.sub(r"\(\)$", "", rust)
    known = {"None": "none", "String::new": "empty", "Duration::ZERO": "0", "Vec::new": "none", "vec![]": "none", "BTreeMap::new": "none"}
    if rust in known:
        return known[rust]
    if seconds := re.fullmatch(r"Duration::from_secs\((\d+)\)", rust):
        return f"{seconds[1]} s"
    if inner := re.fullmatch(r"Some\((.*)\)", rust):
        return shown(inner[1])
    if variant := re.fullmatch(r"\w+::(\w+)", rust):
        return re.sub(r"(?<!^)(?=[A-Z])", "_", variant[1]).lower()
    if re.fullmatch(r"[\d_ *]+", rust):
        return f"{eval(rust.replace('_', '')):,}"  # noqa: S307 - digits, spaces and * alone
    return rust.strip("'\"")


print("<!-- Made by `make docs` from pg_settings and src/model/options.rs; edit those instead. -->")
print("# Configuration\n\n## Server settings\n")
print("In `postgresql.conf` or by `ALTER SYSTEM`; `SELECT pg_reload_conf()` is enough unless said otherwise. The library itself is named in")
print("`shared_preload_libraries`, which needs a restart.\n")
print("| setting | default | from | to | |\n|---|---|---|---|---|")
for s in json.load(sys.stdin):
    unit = f" {s['unit']}" if s["unit"] else ""
    restart = " Needs a restart." if s["context"] == "postmaster" else ""
    print(f"| `{s['name']}` | {s['boot_val'] or 'empty'}{unit} | {s['min_val'] or ''} | {s['max_val'] or ''} | {s['short_desc']} {s['extra_desc'] or ''}{restart} |")
print("\n## Options of a pipeline\n")
print("`options => '{\"name\": value}'` of `create_pipeline` and `alter_pipeline`. A name that is not known is an error that lists the known ones. Durations")
print("are text such as `\"500 ms\"` or `\"2 seconds\"`, or a number of seconds.\n")
print("| option | default | |\n|---|---|---|")
doc = []
for line in body.split("\n"):
    line = line.strip()
    if line.startswith("///"):
        doc.append(line[3:].strip())
    elif field := re.match(r"pub (\w+): ", line):
        name = field[1]
        text = " ".join(doc).replace("|", "\\|")
        print(f"| `{name}` | `{shown(defaults.get(name, 'none'))}` | {text} |")
        doc = []
