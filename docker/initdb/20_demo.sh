#!/bin/bash
# What the demo shows: card transactions from /landing, their raw layer in Azurite, an aggregate and a consumer. Runs once, with the database.
# Without MILLRACE_DEMO the database stays empty but for the extension. A file of the entrypoint, which sources or runs it.
set -euo pipefail
[ -n "${MILLRACE_DEMO:-}" ] || { return 0 2>/dev/null || exit 0; }
psql -X -q -U "${POSTGRES_USER:-postgres}" -v ON_ERROR_STOP=1 -d "$POSTGRES_DB" -v landing="${MILLRACE_LANDING:-file:///landing}" -v endpoint="$AZURITE_ENDPOINT" -v key="$AZURITE_KEY" <<'SQL'
CREATE SCHEMA staging;
CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://lake/', endpoint :'endpoint', account_name 'devstoreaccount1', allow_http 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (account_key :'key');
SELECT millrace.create_pipeline('transactions',
    source  => :'landing' || '/*.csv',
    columns => 'transaction_id text NOT NULL, event_time timestamptz NOT NULL, step int, customer text NOT NULL, age text, gender text,
                zipcode text, merchant text NOT NULL, category text, amount numeric(12,2) NOT NULL, fraud int',
    staging => 'staging.transactions',
    raw     => 'az://lake/raw/transactions');
SELECT millrace.create_aggregate('transactions', 'merchant_stats', $$
    SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions, count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers
    FROM staging.transactions GROUP BY merchant $$);
SELECT millrace.create_consumer('transactions', 'billing', start_at => 'earliest');
SQL
