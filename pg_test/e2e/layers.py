"""Reads published layers with somebody else's library.

usage: layers.py rows LOCATION COLUMN…        all rows, a line each, values joined with `|`, sorted; NULL is ~
       layers.py versions LOCATION COLUMN     for each version that has rows: the sorted distinct values of a column, with their counts
       layers.py watch LOCATION COLUMN COUNT STOP
                                              reads again and again until the file STOP is there; every time the column must have one
                                              value in COUNT rows. Prints how many states it saw.
       layers.py files LOCATION               how many data files the newest version has

STORAGE_OPTIONS in the environment says how to get there.
"""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from deltalake import DeltaTable


OPTIONS = json.loads(os.environ.get("STORAGE_OPTIONS", "{}"))


def opened(location, version=None):
    return DeltaTable(location, version=version, storage_options=OPTIONS)


def text(value):
    if value is None:
        return "~"
    return str(value)


def table_rows(table, columns):
    found = table.to_pyarrow_table()
    return [tuple(text(v) for v in row) for row in zip(*(found.column(c).to_pylist() for c in columns))]


def rows(location, *columns):
    for row in sorted(table_rows(opened(location), columns)):
        print("|".join(row))


def versions(location, column):
    for version in range(opened(location).version() + 1):
        found = Counter(row[0] for row in table_rows(opened(location, version), [column]))
        if found:
            print(" ".join(f"{value}:{count}" for value, count in sorted(found.items())))


def watch(location, column, count, stop):
    states, last, parent = 0, -1, os.getppid()
    # Whoever started it may die before the file is there.
    while not Path(stop).exists() and os.getppid() == parent:
        time.sleep(0.05)
        table = opened(location)
        if table.version() == last:
            time.sleep(0.05)
            continue
        last = table.version()
        found = Counter(row[0] for row in table_rows(table, [column]))
        if found and list(found.values()) != [int(count)]:
            print(f"version {last} holds {dict(found)}")
            return
        states += len(found)
    print(f"saw {states}")


def files(location):
    print(len(opened(location).file_uris()))


if __name__ == "__main__":
    {"rows": rows, "versions": versions, "watch": watch, "files": files}[sys.argv[1]](*sys.argv[2:])
