"""Writes a Delta table at random, as many writers over years would, and says after each request what its readers find.

usage: delta_history.py LOCATION SEED [feed]        feed: with a change data feed from the beginning

Each line of standard input is a number of steps to take, at least one, or "vacuum". The answer is one line of JSON: `did`, what was
done; `rows`, the table's rows now as the package reads them; `added`, for each version of the log that only added rows those rows.
STORAGE_OPTIONS in the environment says how to get there.
"""

import datetime as dt
import decimal
import json
import os
import random
import sys

import pyarrow as pa
import pyarrow.fs
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

LOCATION, SEED = sys.argv[1], int(sys.argv[2])
OPTIONS = json.loads(os.environ.get("STORAGE_OPTIONS", "{}"))
FEED = "feed" in sys.argv[3:]
R = random.Random(SEED)
UTC = dt.timezone.utc

PARTS = ["a", "b c", "d/e", "50%", "x=y", "é😀", "a:b", "q'uote", None, "%2F", "#?&", "tab\tnew\nline", "{}", "."]
LAYOUTS = [[], ["part"], ["day"], ["moment"], ["part", "day"], ["wall", "flag"], ["cost"]]
LAYOUT = R.choice(LAYOUTS)
MOMENTS = [None, dt.datetime(2024, 2, 29, 23, 59, 59, 123456, UTC), dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(2024, 3, 31, 1, 30, tzinfo=UTC)]
WALLS = [None, dt.datetime(2024, 12, 31, 23, 59, 59, 999999), dt.datetime(1969, 7, 20, 20, 17, 40)]
DAYS = [None, dt.date(2024, 2, 29), dt.date(1969, 12, 31), dt.date(9999, 12, 31)]
COSTS = [None, decimal.Decimal("0.00"), decimal.Decimal("1.50"), decimal.Decimal("99999999.99")]

SCHEMA = pa.schema([
    ("id", pa.int64()), ("name", pa.string()), ("amount", pa.float64()), ("part", pa.string()), ("day", pa.date32()),
    ("moment", pa.timestamp("us", tz="UTC")), ("wall", pa.timestamp("us")), ("cost", pa.decimal128(10, 2)),
    ("flag", pa.bool_()), ("bytes", pa.binary()), ("tags", pa.list_(pa.string())),
    ("info", pa.struct([("n", pa.int32()), ("s", pa.string())])), ("map", pa.map_(pa.string(), pa.int64())),
])
NEXT = 0


def table(version=None):
    return DeltaTable(LOCATION, version=version, storage_options=OPTIONS)


def row(id, **fixed):
    made = {
        "id": id, "name": R.choice(["n", "ü", "", None, "a'b"]) if R.random() < 0.3 else f"n{R.randrange(1000)}",
        "amount": R.randrange(-1000, 1000) + 0.25, "part": R.choice(PARTS), "day": R.choice(DAYS), "moment": R.choice(MOMENTS),
        "wall": R.choice(WALLS), "cost": R.choice(COSTS), "flag": R.choice([True, False, None]),
        "bytes": R.choice([b"", b"\x00\xff", None]), "tags": R.choice([[], ["x", None, ""], None]),
        "info": R.choice([{"n": 1, "s": None}, {"n": None, "s": "s"}, None]), "map": R.choice([[("k", 1)], [], None]),
    }
    return made | fixed


def some(schema, count, fixed=None, ids=None):
    global NEXT
    if ids is None:
        ids = range(NEXT, NEXT + count)
        NEXT += count
    made = [row(id, **(fixed or {})) for id in ids]
    for one in made:
        for name in schema.names:
            if name.startswith("more"):
                one[name] = R.choice([None, 7, 5])
    return pa.Table.from_pylist(made, schema=schema)


def schema_now():
    found = pa.schema(table().schema().to_arrow())
    fields = []
    for field in found:
        if field.name in SCHEMA.names:
            fields.append(SCHEMA.field(field.name))
        elif field.name.startswith("more"):
            fields.append(pa.field(field.name, pa.int64()))
    return pa.schema(fields)


def ids_now():
    return sorted(table().to_pyarrow_table(columns=["id"]).column("id").to_pylist())


def condition():
    ids = ids_now() or [0]
    low = R.choice(ids)
    return R.choice([
        f"id >= {low} AND id < {low + R.randrange(1, 9)}", f"id = {low}", "part = 'b c'", "part IS NULL", "amount < 0",
        "day = '2024-02-29'", "flag", f"id % 5 = {R.randrange(5)}", "cost = 1.50", f"id < {low // 2}",
    ])


def append():
    write_deltalake(LOCATION, some(schema_now(), R.randrange(0, 9)), mode="append", storage_options=OPTIONS)


def append_much():
    write_deltalake(LOCATION, some(schema_now(), R.randrange(100, 300)), mode="append", storage_options=OPTIONS)


def overwrite():
    ids = R.sample(ids_now(), min(3, len(ids_now()))) + list(range(NEXT, NEXT + R.randrange(0, 6)))
    globals()["NEXT"] = max([NEXT, *[id + 1 for id in ids]])
    write_deltalake(LOCATION, some(schema_now(), 0, ids=ids), mode="overwrite", storage_options=OPTIONS)


def overwrite_part():
    names = [name for name in ("part", "flag", "cost") if name in LAYOUT] or ["part"]
    name = R.choice(names)
    value, text = {"part": ("a", "'a'"), "flag": (True, "true"), "cost": (decimal.Decimal("1.50"), "1.50")}[name]
    write_deltalake(LOCATION, some(schema_now(), R.randrange(0, 5), {name: value}), mode="overwrite", predicate=f"{name} = {text}", storage_options=OPTIONS)


def delete():
    table().delete(condition())


def update():
    updates = R.choice([{"name": "name || 'u'"}, {"amount": "amount + 1"}, {"part": "'moved'"}, {"tags": "NULL"}, {"name": "NULL", "amount": "0.25"}])
    table().update(predicate=condition(), updates=updates)


def merge():
    ids = ids_now()
    chosen = R.sample(ids, min(len(ids), R.randrange(1, 6))) + list(range(NEXT, NEXT + 3))
    globals()["NEXT"] = NEXT + 3
    merger = table().merge(some(schema_now(), 0, ids=chosen), "t.id = s.id", source_alias="s", target_alias="t")
    way = R.randrange(3)
    if way == 0:
        merger = merger.when_matched_update_all().when_not_matched_insert_all()
    elif way == 1:
        merger = merger.when_matched_delete("s.amount > 0").when_not_matched_insert_all()
    else:
        merger = merger.when_matched_update_all("s.flag").when_not_matched_insert_all("s.amount < 500")
    merger.execute()


def compact():
    table().optimize.compact()


def z_order():
    table().optimize.z_order(["id"])


def checkpoint():
    table().create_checkpoint()


def compact_logs():
    last = table().version()
    first = max(0, last - R.randrange(1, 6))
    if first < last:
        table().compact_logs(first, last)


def add_column():
    write_deltalake(LOCATION, some(pa.schema([*schema_now(), pa.field(f"more{table().version()}", pa.int64())]), 3), mode="append", schema_mode="merge", storage_options=OPTIONS)


def alter():
    table().alter.add_columns(Field(f"more{table().version()}", PrimitiveType("long")))


def overwrite_schema():
    kept = [field for field in schema_now() if not field.name.startswith("more")]
    write_deltalake(LOCATION, some(pa.schema(kept), 4), mode="overwrite", schema_mode="overwrite", partition_by=LAYOUT, storage_options=OPTIONS)


def restore():
    table().restore(R.randrange(max(0, table().version() - 4), table().version() + 1))


def feed():
    table().alter.set_table_properties({"delta.enableChangeDataFeed": R.choice(["true", "false"])})


def nothing():
    table().delete("id < -1")


STEPS = {
    append: 6, append_much: 1, overwrite: 1, overwrite_part: 2, delete: 4, update: 4, merge: 4, compact: 2, z_order: 1,
    checkpoint: 2, compact_logs: 1, add_column: 1, alter: 1, overwrite_schema: 0.5, restore: 1, feed: 1, nothing: 1,
}


def step():
    action = R.choices(list(STEPS), list(STEPS.values()))[0]
    try:
        action()
        return action.__name__
    except (DeltaError, OSError) as error:
        # What the package refuses to do is no part of the history.
        return f"{action.__name__} refused: {str(error)[:80]}"


def value(name, value):
    if value is None:
        return None
    if name == "moment":
        return (value - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)
    if name == "wall":
        return (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    if name == "map":
        return dict(value)
    if isinstance(value, (dt.date, decimal.Decimal)):
        return str(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value


def rows(version=None):
    found = table(version).to_pyarrow_table()
    names = [name for name in found.schema.names if name in SCHEMA.names]
    result = []
    for row in found.to_pylist():
        made = {name: value(name, row[name]) for name in names}
        # The columns that came later: which of them are there is part of the comparison.
        made |= {name: row[name] for name in row if name.startswith("more") and row[name] is not None}
        result.append({name: v for name, v in made.items() if v is not None})
    return sorted(result, key=lambda row: row["id"])


ADDED, SEEN, BEFORE = {}, -1, []


def read_entry(version):
    name = f"_delta_log/{version:020}.json"
    if OPTIONS:
        from deltalake.fs import DeltaStorageHandler
        system = pa.fs.PyFileSystem(DeltaStorageHandler(LOCATION, OPTIONS))
        text = system.open_input_stream(name).read().decode()
    else:
        text = open(os.path.join(LOCATION.removeprefix("file://"), name)).read()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def catch_up():
    """What each new version added, if it did nothing else."""
    global SEEN, BEFORE
    for version in range(SEEN + 1, table().version() + 1):
        actions = read_entry(version)
        changed = any(a["remove"].get("dataChange", True) for a in actions if "remove" in a)
        now = rows(version)
        if changed:
            ADDED[version] = None
        else:
            known = {row["id"] for row in BEFORE}
            ADDED[version] = [row for row in now if row["id"] not in known]
        SEEN, BEFORE = version, now


write_deltalake(LOCATION, some(SCHEMA, 20), partition_by=LAYOUT or None, storage_options=OPTIONS,
                configuration={"delta.enableChangeDataFeed": "true"} if FEED else None)
for line in sys.stdin:
    if line.strip() == "vacuum":
        did = ["vacuum"]
        table().vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    else:
        did = [step() for _ in range(int(line))]
    catch_up()
    print(json.dumps({"did": did, "version": table().version(), "layout": LAYOUT, "rows": BEFORE, "added": [ADDED[v] for v in sorted(ADDED)]}), flush=True)
