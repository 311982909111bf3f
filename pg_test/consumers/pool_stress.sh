#!/bin/bash
# 64 workers on one pool while chunks are sealed and workers are killed: every chunk is committed once and whole, no more than
# max_in_flight are out, nobody waits long for a lock, and there is no deadlock.
# Connects as run.sh does. CHUNKS (3000), WORKERS (64); MAX_WAIT (100): no wait for a lock may be so many milliseconds long; HOLD (0.2): how
# many seconds transactions stay open after their ack. Where HOLD is the longer one, a worker that waited for another's transaction is found
# out on a machine of any speed; the 100 ms are for one that is otherwise idle.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PGDATABASE=${MILL_DB:-millrace_pool_stress}
chunks=${CHUNKS:-3000}
workers=${WORKERS:-64}
max_wait=${MAX_WAIT:-100}
"$here/database.sh" "$PGDATABASE"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -v chunks="$chunks" -v workers="$workers" -v hold="${HOLD:-0.2}" -f "$here/pool_stress.sql"

# A killed worker comes back, as one under a supervisor would.
work() {
    until PGAPPNAME=mill_worker psql -qX -c "CALL mill_test.work($chunks)" 2>>"$log"; do sleep 0.05; done
}
begun=$(date +%s.%N)
running=()
psql -qX -c "CALL mill_test.load($chunks)" &
running+=($!)
psql -qX -c 'CALL mill_test.watch()' &
running+=($!)
for ((i = 0; i < workers; i++)); do
    work &
    running+=($!)
done
while [ "$(psql -qXAt -c "SELECT acked_through < $chunks FROM millrace.consumers WHERE stream = 'stress'")" = t ]; do
    sleep 0.5
    psql -qXAt -o /dev/null -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mill_worker' AND datname = current_database() ORDER BY random() LIMIT 1"
done
ended=$(date +%s.%N)
psql -qX -c 'UPDATE mill_test.seen SET over = true'
wait "${running[@]}"
if grep -v -E 'terminating connection|server closed|terminated abnormally|before or while|connection to server was lost|^CONTEXT|PL/pgSQL|SQL (statement|expression)' "$log" | grep -q ERROR; then
    echo "a worker failed in a way that it must not:" >&2
    cat "$log" >&2
    exit 1
fi
psql -qXAt -v ON_ERROR_STOP=1 -c "SET mill_test.max_wait = '$max_wait ms'" -f - <<'SQL'
DO $$ BEGIN
    ASSERT (SELECT array_agg(chunk_no ORDER BY chunk_no) FROM mill_test.done) =
           (SELECT array_agg(chunk_no ORDER BY chunk_no) FROM millrace.chunk WHERE row_count > 0), 'every chunk with rows, once';
    ASSERT NOT EXISTS (SELECT FROM mill_test.done d JOIN millrace.chunk k USING (chunk_no) WHERE d.rows <> k.row_count), 'and whole';
    ASSERT (SELECT takeovers FROM millrace.consumers) > 0, 'leases were lost, or this has tested nothing';
    ASSERT (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) = 0, 'no deadlock';
    ASSERT (SELECT most_leased FROM mill_test.seen) > 0, 'somebody watched';
    ASSERT (SELECT most_leased FROM mill_test.seen) <= (SELECT max_in_flight FROM millrace.consumers), 'no more leases than allowed';
    ASSERT (SELECT longest_wait FROM mill_test.seen) < current_setting('mill_test.max_wait')::interval, (SELECT longest_wait FROM mill_test.seen)::text;
    ASSERT (SELECT count(*) FROM millrace.deliveries) < 500, (SELECT count(*) FROM millrace.deliveries)::text;
END $$;
SELECT format('pool: ok (%s chunks by %s sessions, %s at once at most, %s takeovers, %s answers refused, longest lock wait %s)', count(*), count(DISTINCT pid),
    (SELECT most_leased FROM mill_test.seen), (SELECT takeovers FROM millrace.consumers), (SELECT count(*) FROM mill_test.lost), (SELECT longest_wait FROM mill_test.seen)) FROM mill_test.done;
SQL
echo "$chunks $begun $ended" | awk '{printf "%.0f chunks/s\n", $1 / ($3 - $2)}'
dropdb "$PGDATABASE"
