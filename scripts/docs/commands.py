#!/usr/bin/env python3
"""Prints the shell commands of Markdown pages, a line each: those of blocks marked ```sh, and code in a line that begins with a program's name.

Prompts and comments are left out, and a line that ends in a backslash goes on in the next one.
"""
import pathlib
import re
import sys

PROGRAMS = ("make", "cargo", "scripts/", "psql", "docker", "pg_test/", "createdb", "curl", "apt-get", "pip", "npm", "node", "python3", "DASHBOARD_")
found = {}
for page in sys.argv[1:]:
    text = pathlib.Path(page).read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```\s*$", text, re.M | re.S):
        for line in re.sub(r"\\\n\s*", "", block).split("\n"):
            line = re.sub(r"\s+#.*|^#.*", "", line).strip()
            if line:
                found.setdefault(line, page)
    prose = re.sub(r"^```.*?^```\s*$", "", text, flags=re.M | re.S)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.startswith(PROGRAMS) and (" " in code):
            found.setdefault(code, page)
for command, page in found.items():
    print(f"{page}\t{command}")
