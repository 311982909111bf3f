"""Writes a Delta table as somebody else would, an action a line of standard input, and prints the table's rows after each as its own
reader finds them: id|name|amount, sorted, joined by semicolons.

usage: delta_writer.py LOCATION [feed]      feed: with a change data feed

STORAGE_OPTIONS in the environment says how to get there.
"""

import json
import os
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

LOCATION = sys.argv[1]
OPTIONS = json.loads(os.environ.get("STORAGE_OPTIONS", "{}"))
FEED = {"delta.enableChangeDataFeed": "true"} if "feed" in sys.argv[2:] else None


def rows(first, last, name="n"):
    ids = range(first, last)
    return pa.table({
        "id": pa.array(ids, pa.int64()),
        "name": pa.array([f"{name}{i}" for i in ids], pa.string()),
        "amount": pa.array([i * 0.25 for i in ids], pa.float64()),
        "part": pa.array([i % 3 for i in ids], pa.int32()),
    })


def table():
    return DeltaTable(LOCATION, storage_options=OPTIONS)


def act(words):
    action, numbers = words[0], [int(word) for word in words[1:]]
    if action == "append":
        write_deltalake(LOCATION, rows(*numbers), mode="append", storage_options=OPTIONS, partition_by=["part"], configuration=FEED)
    elif action == "overwrite":
        write_deltalake(LOCATION, rows(*numbers, name="o"), mode="overwrite", storage_options=OPTIONS)
    elif action == "delete":
        table().delete(f"id >= {numbers[0]} AND id < {numbers[1]}")
    elif action == "update":
        table().update(predicate=f"id >= {numbers[0]} AND id < {numbers[1]}", updates={"name": "'u' || name"})
    elif action == "merge":
        merger = table().merge(rows(*numbers, name="m"), "t.id = s.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
    elif action == "optimize":
        table().optimize.compact()
    elif action == "vacuum":
        table().vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    elif action == "checkpoint":
        table().create_checkpoint()
    elif action == "widen":
        more = rows(*numbers)
        more = more.append_column("note", pa.array([f"note {i}" for i in range(*numbers)], pa.string()))
        write_deltalake(LOCATION, more, mode="append", storage_options=OPTIONS, schema_mode="merge")
    else:
        raise SystemExit(f"unknown action {action}")


def state():
    found = table().to_pyarrow_table()
    columns = [found.column(name).to_pylist() for name in ("id", "name", "amount")]
    return ";".join(f"{id}|{name}|{amount}" for id, name, amount in sorted(zip(*columns)))


for line in sys.stdin:
    if line.strip() != "state":
        act(line.split())
    print(state(), flush=True)
