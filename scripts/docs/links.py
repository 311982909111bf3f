#!/usr/bin/env python3
"""Checks the links of README, ARCHITECTURE, CHANGELOG, SECURITY, docs and examples: files and headings within the repository exist; and that the summary of the book names
each page once. Other sites are not asked."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
pages = [root / n for n in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md")] + sorted((root / "docs").rglob("*.md")) + sorted((root / "examples").rglob("*.md"))


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


broken = []
for page in pages:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path)
        if not file.exists():
            broken.append(f"{page.relative_to(root)}: {target}: no such file")
        elif anchor and anchor not in anchors(file):
            broken.append(f"{page.relative_to(root)}: {target}: no such heading")
summary = re.findall(r"\]\(([^)]+)\)", (root / "docs/SUMMARY.md").read_text())
broken += [f"docs/SUMMARY.md names {page} twice" for page in sorted(set(summary)) if summary.count(page) > 1]
written = {str(page.relative_to(root / "docs")) for page in pages if root / "docs" in page.parents}
broken += [f"docs/SUMMARY.md does not name {page}" for page in sorted(written - set(summary) - {"SUMMARY.md"})]
print("\n".join(broken), end="\n" if broken else "")
sys.exit(bool(broken))
