#!/usr/bin/env python3
"""Reads what SQLAlchemy reflects, and what the information schema says as dbt asks it: ordinary tables and views with ordinary types."""
import sys

import sqlalchemy as sa

engine = sa.create_engine(sys.argv[1])
inspector = sa.inspect(engine)
tables, views = inspector.get_table_names("staging"), inspector.get_view_names("staging")
assert {"transactions", "transactions_rejects"} <= set(tables), tables
assert "merchant_stats" in views, views

metadata = sa.MetaData()
transactions = sa.Table("transactions", metadata, schema="staging", autoload_with=engine)
stats = sa.Table("merchant_stats", metadata, schema="staging", autoload_with=engine)
types = {c.name: type(c.type).__name__ for c in transactions.columns}
assert types["amount"] == "NUMERIC" and types["event_time"] == "TIMESTAMP" and types["merchant"] == "TEXT" and types["_chunk_no"] == "BIGINT", types
assert not transactions.c.amount.nullable and transactions.c.event_time.nullable

with engine.connect() as connection:
    # An incremental read: what is newer than the chunk that was read last.
    newest = connection.execute(sa.select(sa.func.max(transactions.c._chunk_no))).scalar_one()
    new = connection.execute(sa.select(sa.func.count()).where(transactions.c._chunk_no > newest - 1)).scalar_one()
    assert new == 50, new
    by_view = connection.execute(sa.select(sa.func.sum(stats.c.amount))).scalar_one()
    assert by_view == connection.execute(sa.select(sa.func.sum(transactions.c.amount))).scalar_one()
    kinds = dict(connection.execute(sa.text("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'staging'")).all())
    assert kinds["transactions"] == "BASE TABLE" and kinds["merchant_stats"] == "VIEW", kinds
    # Of the extension's own objects, people see views with columns of common types.
    columns = inspector.get_columns("consumers", schema="millrace")
    assert {c["name"] for c in columns} >= {"stream", "consumer", "lag_chunks"}, columns
