#!/usr/bin/env python3
"""Checks a rendered book: `book_links.py DIRECTORY`. Every page of docs is there, and every link, picture and script leads to a file of the book, and to
an element of it where it names one. Other sites are not asked."""
import html.parser
import pathlib
import re
import sys
import urllib.parse

book = pathlib.Path(sys.argv[1]).resolve()
docs = pathlib.Path(__file__).resolve().parents[2] / "docs"


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        self.targets += [given[name] for name in ("href", "src") if given.get(name)]


pages = {path: Page(path) for path in book.rglob("*.html")}
wrong = [f"{source.relative_to(docs)} is not in the book" for source in sorted(docs.rglob("*.md"))
         if source.name != "SUMMARY.md" and book / source.relative_to(docs).with_suffix(".html") not in pages]
for path, page in sorted(pages.items()):
    # Two pages of mdBook's own: they are shown from anywhere.
    if path.name in ("404.html", "toc.html"):
        continue
    for target in page.targets:
        if re.match(r"[a-z]+:|//", target):
            continue
        place, _, anchor = target.partition("#")
        file = (path.parent / urllib.parse.unquote(place.partition("?")[0])).resolve() if place else path
        if book not in (file, *file.parents) or not file.is_file():
            wrong.append(f"{path.relative_to(book)}: {target}: no such file in the book")
        elif anchor and file in pages and urllib.parse.unquote(anchor) not in pages[file].ids:
            wrong.append(f"{path.relative_to(book)}: {target}: no such heading")
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(bool(wrong))
