"""A producer that changes its columns file by file: writes the rows of one step as Parquet, or appends them to a Delta table.

usage: producer.py parquet|delta PLACE STEP
"""

import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

kind, place, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
ids = [step * 10 + i for i in range(3)]
identity = ("id", pa.array(ids, pa.int32()))
small = [i * 2 for i in ids]
note = ("note", pa.array([f"note {i}" for i in ids], pa.string()))
colour = ("colour", pa.array([f"colour {i}" for i in ids], pa.string()))
COLUMNS = {
    1: [identity, ("n", pa.array(small, pa.int32())), note],
    2: [note, ("n", pa.array(small, pa.int32())), identity],
    3: [identity, ("n", pa.array(small, pa.int32())), note, colour],
    4: [identity, ("n", pa.array(small, pa.int32())), colour],
    5: [identity, ("number", pa.array(small, pa.int64())), note],
    6: [identity, ("n", pa.array([2**40 + i for i in ids], pa.int64())), note],
    7: [identity, ("n", pa.array(["7", "seven", None], pa.string())), note],
}
table = pa.table(dict(COLUMNS[step]))
if kind == "parquet":
    pq.write_table(table, f"{place}/.{step}")
    os.rename(f"{place}/.{step}", f"{place}/{step}.parquet")
else:
    write_deltalake(place, table, mode="append", schema_mode="merge", storage_options=json.loads(os.environ.get("STORAGE_OPTIONS", "{}")))
