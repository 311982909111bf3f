"""Reads a Delta table of ours with somebody else's library, and prints what it finds, a fact a line.

usage: outsider.py rows LOCATION         the row count and the figures of the invoices in it
       outsider.py groups LOCATION       the aggregate's groups, summed up, and three of them
       outsider.py commits LOCATION      for each commit that added rows: its txn's appId, version, and its manifest's files
"""

import json
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable


def rows_of(location):
    """The table's rows as dictionaries with lower-case keys: the raw layer keeps the header's own spelling."""
    table = DeltaTable(location).to_pyarrow_table()
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
    found = rows_of(location)
    latest = {row["country"]: row for row in found}
    if len(latest) != len(found):
        sys.exit(f"{len(found)} rows for {len(latest)} groups")
    amount = sum(Decimal(row["amount"]) for row in found)
    print(f"{sum(row['invoice_lines'] for row in found)}|{len(found)}|{amount.normalize():f}")
    for country in ("EIRE", "Germany", "United Kingdom"):
        row = latest[country]
        print(f"{country}|{row['invoice_lines']}|{Decimal(row['amount']).normalize():f}|{row['customers']}")


def commits(location):
    log = Path(unquote(urlparse(location).path)) / "_delta_log"
    for path in sorted(log.glob("*.json")):
        actions = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        if not any("add" in action for action in actions):
            continue
        kinds = Counter(next(iter(action)) for action in actions)
        txn = next((action["txn"] for action in actions if "txn" in action), {})
        info = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        print(json.dumps({"adds": kinds["add"], "txn": txn, "info": info}))


if __name__ == "__main__":
    {"rows": rows, "groups": groups, "commits": commits}[sys.argv[1]](sys.argv[2])
