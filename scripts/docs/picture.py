#!/usr/bin/env python3
"""Draws a text picture as SVG: picture.py FILE.txt prints it. Lines of boxes become strokes, everything else is text on the same grid."""
import sys
from xml.sax.saxutils import escape

W, H, MARGIN = 8.4, 18, 12
# Which halves of a cell a character of a box fills: left, right, up, down.
STROKES = {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "rud", "┤": "lud", "┬": "lrd", "┴": "lru", "┼": "lrud"}

lines = open(sys.argv[1], encoding="utf-8").read().rstrip("\n").split("\n")
width = max(map(len, lines)) * W + 2 * MARGIN
height = len(lines) * H + 2 * MARGIN
out = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">',
    f"<title>{escape(sys.argv[1].rsplit('/', 1)[-1].removesuffix('.txt'))}</title>",
    '<rect width="100%" height="100%" rx="8" fill="#f7fafc"/>',
]
path, words = [], []
for row, line in enumerate(lines):
    column = 0
    while column < len(line):
        character = line[column]
        x, y = MARGIN + column * W, MARGIN + row * H
        if character in STROKES:
            cx, cy = x + W / 2, y + H / 2
            ends = {"l": (x, cy), "r": (x + W, cy), "u": (cx, y), "d": (cx, y + H)}
            path += [f"M{cx:.1f} {cy:.1f}L{ends[d][0]:.1f} {ends[d][1]:.1f}" for d in STROKES[character]]
            column += 1
        elif character == " ":
            column += 1
        else:
            word = column
            # A word ends at a stroke or at two spaces, so that running text keeps its own spacing.
            while column < len(line) and line[column] not in STROKES and line[column:column + 2] != "  ":
                column += 1
            text = line[word:column].rstrip()
            words.append(f'<text x="{x:.1f}" y="{y + 13:.1f}" textLength="{len(text) * W:.1f}">{escape(text)}</text>')
out.append(f'<path d="{"".join(path)}" fill="none" stroke="#3b6ea5" stroke-width="1.4"/>')
out.append('<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13.5" fill="#1a2733" xml:space="preserve">')
out += words + ["</g>", "</svg>"]
print("\n".join(out))
