#!/bin/bash
# The examples work as they stand: the Python worker stops when asked to, and goes on where it was; pg_cron runs what it was given.
# Connects as PGHOST, PGPORT, PGUSER and PGPASSWORD say. The worker has a database of its own, MILL_DB; pg_cron has that of the server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
examples=$here/../../examples
database=${MILL_DB:-millrace_examples}
python=/usr/bin/python3
export PGOPTIONS='-c client_min_messages=warning'
"$python" -c 'import psycopg' || { echo "the Python example needs psycopg 3 (Debian: python3-psycopg)" >&2; exit 1; }

transactions() { # transactions DATABASE: a pipeline of that name with its rows, as the fake pipelines of these tests are
    psql -qX -o /dev/null -v ON_ERROR_STOP=1 -d "$1" <<'SQL'
CREATE SCHEMA staging;
SELECT mill_test.make_pipeline('transactions');
DROP TABLE mill_test.transactions;
CREATE TABLE staging.transactions (_chunk_no bigint NOT NULL, _row_no bigint NOT NULL, amount numeric, customer text DEFAULT 'C' || (random() * 9)::int);
UPDATE millrace.pipeline SET staging = 'staging.transactions' WHERE name = 'transactions';
SQL
}
seal() { psql -qXAt -o /dev/null -v ON_ERROR_STOP=1 -d "$1" -c "SELECT mill_test.seal('transactions', 20) FROM generate_series(1, $2)"; }
until_is() { # until_is DATABASE SQL EXPECTED
    local found
    for _ in $(seq 1200); do
        found=$(psql -qXAt -d "$1" -c "$2")
        [ "$found" != "$3" ] || return 0
        sleep 0.1
    done
    echo "$2 is $found, not $3" >&2
    return 1
}

"$here/database.sh" "$database"
transactions "$database"
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -d "$database" -c "CREATE TABLE billed (chunk_no bigint, customer text, amount numeric)" \
    -c "SELECT millrace.create_consumer('transactions', 'billing')"
seal "$database" 5
"$python" "$examples/python/worker.py" "dbname=$database" transactions billing &
worker=$!
trap 'kill "$worker" 2>/dev/null || true' EXIT
until_is "$database" 'SELECT count(DISTINCT chunk_no) FROM billed' 5
seal "$database" 2
until_is "$database" 'SELECT count(DISTINCT chunk_no) FROM billed' 7
kill -TERM "$worker"
wait "$worker"
seal "$database" 3
"$python" "$examples/python/worker.py" "dbname=$database" transactions billing --once
until_is "$database" "SELECT sum(b.amount) = (SELECT sum(amount) FROM staging.transactions) AND (SELECT lag_chunks = 0 FROM millrace.consumers) FROM billed b" t
dropdb "$database"
echo 'python: ok'

cron=$(psql -qXAt -d postgres -c "SHOW cron.database_name")
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -d "$cron" -f "$here/fake_pipeline.sql"
transactions "$cron"
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -d "$cron" -f "$examples/pg_cron.sql"
seal "$cron" 4
until_is "$cron" "SELECT count(*) = 4 AND sum(transactions) = 80 FROM totals" t
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -d "$cron" -c "SELECT cron.unschedule(jobname) FROM cron.job" \
    -c "DELETE FROM millrace.pipeline WHERE name = 'transactions'" -c "DROP SCHEMA mill_test, staging CASCADE" -c "DROP TABLE totals; DROP PROCEDURE total_chunks"
echo 'pg_cron: ok'
