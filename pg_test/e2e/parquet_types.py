"""Writes a Parquet file with a column of every type, and tells the types of a Delta table.

`write` prints for each column its name, its type as docs/types.md calls it, and its values as Postgres shows them.
"""
import datetime as dt
import decimal
import json
import os
import sys
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

D = decimal.Decimal
UTC = dt.timezone.utc

# type, values, what Postgres shows
COLUMNS = [
    (pa.bool_(), [True, False, None], ["true", "false", "NULL"]),
    (pa.int8(), [-128, 127, None], ["-128", "127", "NULL"]),
    (pa.int16(), [-32768, 32767, None], ["-32768", "32767", "NULL"]),
    (pa.int32(), [-2**31, 2**31 - 1, None], ["-2147483648", "2147483647", "NULL"]),
    (pa.int64(), [-2**63, 2**63 - 1, None], ["-9223372036854775808", "9223372036854775807", "NULL"]),
    (pa.uint8(), [0, 255, None], ["0", "255", "NULL"]),
    (pa.uint16(), [0, 65535, None], ["0", "65535", "NULL"]),
    (pa.uint32(), [0, 2**32 - 1, None], ["0", "4294967295", "NULL"]),
    (pa.uint64(), [0, 2**64 - 1, None], ["0", "18446744073709551615", "NULL"]),
    (pa.float16(), [1.5, float("-inf"), None], ["1.5", "-Infinity", "NULL"]),
    (pa.float32(), [0.1, float("nan"), -0.0], ["0.1", "NaN", "-0"]),
    (pa.float64(), [1.7976931348623157e308, float("inf"), -0.0], ["1.7976931348623157e+308", "Infinity", "-0"]),
    (pa.decimal128(12, 2), [D("-9999999999.99"), D("0.01"), None], ["-9999999999.99", "0.01", "NULL"]),
    (pa.decimal128(38, 10), [D("9999999999999999999999999999.9999999999"), D("0"), None],
     ["9999999999999999999999999999.9999999999", "0.0000000000", "NULL"]),
    (pa.decimal256(60, 5), [D("9" * 55 + ".00001"), D("-1"), None], ["9" * 55 + ".00001", "-1.00000", "NULL"]),
    (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), None], ["0001-01-01", "9999-12-31", "NULL"]),
    (pa.time32("ms"), [dt.time(0, 0), dt.time(23, 59, 59, 999000), None], ["00:00:00", "23:59:59.999", "NULL"]),
    (pa.time64("us"), [dt.time(0, 0, 0, 1), dt.time(23, 59, 59, 999999), None], ["00:00:00.000001", "23:59:59.999999", "NULL"]),
    (pa.timestamp("ms"), [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999000), None],
     ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999", "NULL"]),
    (pa.timestamp("us"), [dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None],
     ["1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999", "NULL"]),
    (pa.timestamp("ns"), [1_500, 1_499, None], ["1970-01-01 00:00:00.000002", "1970-01-01 00:00:00.000001", "NULL"]),
    (pa.timestamp("us", tz="UTC"), [dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(2024, 2, 29, 12, tzinfo=UTC), None],
     ["0001-01-01 00:00:00+00", "2024-02-29 12:00:00+00", "NULL"]),
    (pa.duration("us"), [dt.timedelta(days=1, microseconds=1), dt.timedelta(seconds=-1), None],
     ["24:00:00.000001", "-00:00:01", "NULL"]),
    (pa.string(), ["", "é\n😀", None], ["", "é\n😀", "NULL"]),
    (pa.large_string(), ["x", "", None], ["x", "", "NULL"]),
    (pa.string_view(), ["a view that is longer than twelve bytes", "", None], ["a view that is longer than twelve bytes", "", "NULL"]),
    (pa.dictionary(pa.int32(), pa.string()), ["a", "b", None], ["a", "b", "NULL"]),
    (pa.binary(), [b"", b"\x00\xff", None], ["\\x", "\\x00ff", "NULL"]),
    (pa.large_binary(), [b"", b"\x00\xff", None], ["\\x", "\\x00ff", "NULL"]),
    (pa.binary(3), [b"\x00\x01\x02", b"abc", None], ["\\x000102", "\\x616263", "NULL"]),
    (pa.uuid(), [uuid.UUID(int=0).bytes, uuid.UUID(int=2**128 - 1).bytes, None],
     [str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1)), "NULL"]),
    (pa.list_(pa.int32()), [[], [1, None], None], ["{}", "{1,NULL}", "NULL"]),
    (pa.list_(pa.string()), [["a,b", 'c"d', ""], ["NULL", None], None], ['{"a,b","c\\"d",""}', '{"NULL",NULL}', "NULL"]),
    (pa.list_(pa.float64(), 2), [[1.5, -0.0], [float("nan"), 1], None], ["{1.5,-0}", "{NaN,1}", "NULL"]),
    (pa.list_(pa.list_(pa.int32())), [[[1], [2, 3]], [], None], ["[[1], [2, 3]]", "[]", "NULL"]),
    (pa.struct([("a", pa.int64()), ("b", pa.decimal128(20, 2))]), [{"a": 2**53 + 1, "b": D("1.10")}, {"a": None, "b": None}, None],
     ['{"a": 9007199254740993, "b": 1.10}', '{"a": null, "b": null}', "NULL"]),
    (pa.map_(pa.string(), pa.timestamp("us", tz="UTC")), [[("k", dt.datetime(2024, 1, 1, tzinfo=UTC))], [], None],
     ['{"k": "2024-01-01T00:00:00+00:00"}', "{}", "NULL"]),
]


def write(path):
    arrays, names = [], []
    for i, (kind, values, shown) in enumerate(COLUMNS):
        if kind == pa.float16():
            import struct
            raw = [None if v is None else struct.unpack("<H", struct.pack("<e", v))[0] for v in values]
            array = pa.array(raw, pa.uint16()).view(pa.float16())
        elif kind == pa.uuid():
            array = pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
        else:
            array = pa.array(values, kind)
        arrays.append(array)
        names.append(f"c{i}")
        print("\t".join([f"c{i}", str(kind).replace("extension<arrow.uuid>", "uuid"), *(s.replace("\n", "\\n") for s in shown)]))
    pq.write_table(pa.table(arrays, names=names), path)


def named(kind):
    if hasattr(kind, "element_type"):
        return f"array of {named(kind.element_type)}"
    return kind.type if isinstance(getattr(kind, "type", None), str) else str(kind)


def table_at(path):
    import deltalake
    return deltalake.DeltaTable(path, storage_options=json.loads(os.environ.get("STORAGE_OPTIONS", "{}")))


def schema(path):
    for field in table_at(path).schema().fields:
        print(f"{field.name}\t{named(field.type)}")


def values(path):
    """The rows' arrays as lists, one column a line."""
    table = table_at(path).to_pyarrow_table().sort_by("_row_no")
    for field in table.schema:
        if pa.types.is_list(field.type):
            print(f"{field.name}\t{table.column(field.name).to_pylist()}")


def plain(path):
    """A file of a writer that knows nothing of Arrow."""
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=1).bytes, None], pa.binary(16)))
    lists = pa.ListArray.from_arrays([0, 1, 2], ids)
    numbers = pa.array([1, 2], pa.int32())
    pq.write_table(pa.table([ids, lists, numbers], names=["id", "ids", "n"]), path, store_schema=False)


def matrix(path):
    """Each plain column as often as there are types to declare it as: c<column>_<number of the type>."""
    arrays, names = [], []
    for i, (kind, values, shown) in enumerate(COLUMNS):
        # What Postgres shows of a duration is not how its text is written.
        if pa.types.is_nested(kind) or pa.types.is_duration(kind) or "binary" in str(kind) or kind in (pa.float16(), pa.uuid()):
            continue
        print("\t".join([f"c{i}", *(s.replace("\n", "\\n") for s in shown)]))
        for target in range(20):
            arrays.append(pa.array(values, kind))
            names.append(f"c{i}_{target}")
    pq.write_table(pa.table(arrays, names=names), path)


{"write": write, "schema": schema, "values": values, "plain": plain, "matrix": matrix}[sys.argv[1]](sys.argv[2])
