#!/bin/bash
# Six workers on one consumer while a loader seals chunks and workers are killed: every chunk is committed once, in order.
# Connects as run.sh does. CHUNKS (400) says how long it runs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PGDATABASE=${MILL_DB:-millrace_stress}
chunks=${CHUNKS:-400}
"$here/database.sh" "$PGDATABASE"
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -f "$here/stress.sql"

# A killed worker comes back, as one under a supervisor would.
work() {
    until PGAPPNAME=mill_worker psql -qX -c "CALL mill_test.work($chunks)" 2>>"$log"; do sleep 0.05; done
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
workers=()
psql -qX -c "CALL mill_test.load($chunks)" &
workers+=($!)
for _ in 1 2 3 4 5 6; do
    work &
    workers+=($!)
done
while [ "$(psql -qXAt -c "SELECT acked_through < $chunks FROM millrace.consumers WHERE stream = 'stress'")" = t ]; do
    sleep 0.3
    psql -qXAt -o /dev/null -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mill_worker' AND datname = current_database() ORDER BY random() LIMIT 1"
done
wait "${workers[@]}"
if grep -v -E 'terminating connection|server closed|terminated abnormally|before or while|connection to server was lost|^CONTEXT|PL/pgSQL|SQL (statement|expression)' "$log" | grep -q ERROR; then
    echo "a worker failed in a way that it must not:" >&2
    cat "$log" >&2
    exit 1
fi
psql -qXAt -v ON_ERROR_STOP=1 <<'SQL'
DO $$ BEGIN
    ASSERT (SELECT array_agg(chunk_no ORDER BY id) FROM mill_test.done) =
           (SELECT array_agg(chunk_no ORDER BY chunk_no) FROM millrace.chunk WHERE row_count > 0), 'every chunk with rows, once, in order';
    ASSERT NOT EXISTS (SELECT FROM mill_test.done d JOIN millrace.chunk k USING (chunk_no) WHERE d.rows <> k.row_count), 'and whole';
    ASSERT (SELECT takeovers FROM millrace.consumers) > 0, 'leases were lost, or this has tested nothing';
END $$;
SELECT format('stress: ok (%s chunks by %s sessions, %s takeovers, %s answers refused)', count(*), count(DISTINCT pid),
    (SELECT takeovers FROM millrace.consumers), (SELECT count(*) FROM mill_test.lost)) FROM mill_test.done;
SQL

# Rows read in the very statement that waited for their chunk: they are all there.
psql -qX -o /dev/null -c "SELECT millrace.create_consumer('stress', 'waiting', 'latest')"
psql -qXAt -o "$log" -c "SELECT count(*) FROM millrace.next_chunk('stress', 'waiting', wait => '30 s') n, millrace.chunk_rows(NULL::mill_test.stress, n.chunk_no)" &
waiting=$!
sleep 0.5
psql -qXAt -o /dev/null -c "SELECT mill_test.seal('stress', 12)"
wait "$waiting"
[ "$(cat "$log")" = 12 ] || { echo "chunk_rows found $(cat "$log") of 12 rows" >&2; exit 1; }
echo 'wait: ok'
dropdb "$PGDATABASE"
