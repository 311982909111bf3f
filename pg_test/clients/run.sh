#!/usr/bin/env bash
# Promises about clients: the workers of examples/ in bash and Node bill each chunk once, are woken by NOTIFY, give back what fails, and
# stop when asked to; to SQLAlchemy, and to whatever reads the information schema as dbt does, everything is ordinary tables and views.
# Connects as PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD say, and works in a database of its own.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
database=millrace_clients
work=$(mktemp -d /tmp/mr-clients-XXXXXX)
chmod 755 "$work"
make_server_dir 755 "$work/landing"
export PGOPTIONS='-c client_min_messages=warning'
sql() { psql -XqAt -v ON_ERROR_STOP=1 -d "$database" "$@"; }
worker=
finish() {
    trap - EXIT
    if [ -n "$worker" ]; then kill "$worker" 2>/dev/null || true; fi
    dropdb --if-exists --force "$database"
    rm -rf "$work"
}
trap finish EXIT
until_is() { # until_is SQL EXPECTED
    local found
    for _ in $(seq 1200); do
        found=$(sql -c "$1")
        [ "$found" != "$2" ] || return 0
        sleep 0.1
    done
    fail "$1 is $found, not $2"
}
files=0
load() { # load FILES: so many chunks more
    files=$((files + $1))
    sql -o /dev/null -c "SELECT millrace.simulate('transactions', 'file://$work/landing', rows_per_file => 50, files => $1, seed => $files)" \
        -c "CALL millrace.run('transactions')"
}
billed_once="SELECT (SELECT sum(amount) FROM billed) = (SELECT sum(amount) FROM staging.transactions) AND (SELECT lag_chunks = 0 FROM millrace.consumers)"

dropdb --if-exists --force "$database"
createdb "$database"
sql -o /dev/null -f - <<SQL
CREATE EXTENSION pg_millrace;
CREATE SCHEMA staging;
SELECT millrace.create_pipeline('transactions', source => 'file://$work/landing/*.csv', staging => 'staging.transactions', every => NULL,
    columns => 'transaction_id text NOT NULL, event_time timestamptz, merchant text NOT NULL, customer text NOT NULL, amount numeric(12,2) NOT NULL',
    options => '{"max_files_per_chunk": 1}');
SELECT millrace.create_aggregate('transactions', 'merchant_stats', 'SELECT merchant, count(*) AS transactions, sum(amount) AS amount FROM staging.transactions GROUP BY merchant');
SELECT millrace.create_consumer('transactions', 'billing', start_at => 'earliest', backoff => '0 seconds');
CREATE TABLE billed (chunk_no bigint, customer text, amount numeric);
SQL
load 3
conninfo="host=$PGHOST port=$PGPORT user=$PGUSER dbname=$database"
examples/bash/worker.sh "$conninfo" transactions billing --once
until_is "$billed_once" t
# The first attempt at a chunk fails; its rows are billed all the same, and once.
sql -o /dev/null -f - <<'SQL'
CREATE SEQUENCE tried;
CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tried') = 1 THEN RAISE 'stumbled'; END IF; RETURN NEW; END $$;
CREATE TRIGGER stumble BEFORE INSERT ON billed FOR EACH ROW EXECUTE FUNCTION stumble();
SQL
load 2
examples/bash/worker.sh "$conninfo" transactions billing &
worker=$!
until_is "$billed_once" t
load 1
until_is "$billed_once" t
kill -TERM "$worker"
wait "$worker"
[ "$(sql -c "SELECT count(*) FROM millrace.deliveries WHERE state = 'nacked' OR attempt > 1")" -gt 0 ] || fail 'the failed attempt was not given back'
echo 'bash: ok'

sql -c 'ALTER SEQUENCE tried RESTART'
load 2
url="postgresql://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$database"
export NODE_PATH=$NODE_MODULES/node_modules
node examples/node/worker.js "$url" transactions billing &
worker=$!
until_is "$billed_once" t
until_is "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%next_chunk%' AND state = 'idle' AND datname = '$database'" 1
load 2
until_is "$billed_once" t
kill -TERM "$worker"
wait "$worker"
worker=
load 1
node examples/node/worker.js "$url" transactions billing --once
until_is "$billed_once" t
echo 'node: ok'

/usr/bin/python3 pg_test/clients/reflect.py "postgresql+psycopg2://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$database"
echo 'sqlalchemy: ok'
