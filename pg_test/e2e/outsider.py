"""Reads a Delta table of ours with somebody else's library, and prints what it finds, a fact a line.

usage: outsider.py rows LOCATION         the row count and the figures of the invoices in it
       outsider.py groups LOCATION       the aggregate's groups, summed up, and three of them
       outsider.py commits LOCATION      for each commit that added rows: appId and version of its txn
       outsider.py files LOCATION        what the manifests of all commits list: path, etag, size, records
"""

import json
import os
import sys
from decimal import Decimal

from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, PyFileSystem

# For a location that is no disk: what gets there, as an object of JSON.
OPTIONS = json.loads(os.environ.get("STORAGE_OPTIONS", "null"))


def rows_of(location):
    """The table's rows as dictionaries with lower-case keys: the raw layer keeps the header's own spelling."""
    table = DeltaTable(location, storage_options=OPTIONS).to_pyarrow_table()
    names = [name.lower() for name in table.column_names]
    return [dict(zip(names, values)) for values in zip(*(column.to_pylist() for column in table.columns))]


def rows(location):
    quantity, amount, customers, countries, count, without = 0, Decimal(0), set(), set(), 0, 0
    for row in rows_of(location):
        count += 1
        quantity += int(row["quantity"])
        amount += int(row["quantity"]) * Decimal(row["unitprice"])
        countries.add(row["country"])
        if row["customerid"]:
            customers.add(row["customerid"])
        else:
            without += 1
    print(f"{count}|{quantity}|{amount.normalize():f}|{without}|{len(customers)}|{len(countries)}")


def groups(location):
    """The table holds images of changed groups: a group is what its latest chunk says."""
    latest = {}
    for row in sorted(rows_of(location), key=lambda row: row["_chunk_no"]):
        latest[row["country"]] = row
    amount = sum(Decimal(row["amount"]) for row in latest.values())
    print(f"{sum(row['invoice_lines'] for row in latest.values())}|{len(latest)}|{amount.normalize():f}")
    for country in ("EIRE", "Germany", "United Kingdom"):
        row = latest[country]
        print(f"{country}|{row['invoice_lines']}|{Decimal(row['amount']).normalize():f}|{row['customers']}")


def commits(location):
    files = PyFileSystem(DeltaStorageHandler(location, OPTIONS))
    for path in sorted(info.path for info in files.get_file_info(FileSelector("_delta_log"))):
        if not path.endswith(".json"):
            continue
        lines = files.open_input_file(path).read().decode().splitlines()
        actions = [json.loads(line) for line in lines if line.strip()]
        if any("add" in action for action in actions):
            txn = next((action["txn"] for action in actions if "txn" in action), {"appId": "", "version": -1})
            print(f"{txn['appId']}|{txn['version']}")


def files(location):
    for info in DeltaTable(location, storage_options=OPTIONS).history():
        for file in info.get("millrace", {}).get("files", []):
            print(f"{file['path']}|{file['etag']}|{file['size']}|{file['records']}")


if __name__ == "__main__":
    {"rows": rows, "groups": groups, "commits": commits, "files": files}[sys.argv[1]](sys.argv[2])
