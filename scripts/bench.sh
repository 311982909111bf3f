#!/usr/bin/env bash
# One load of simulated transactions through a pipeline, against COPY of the same file into a plain table.
# Says the ratio; times depend on the machine. BENCH_ROWS (1000000) sets the size.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

rows=${BENCH_ROWS:-1000000}
dir=$MILLRACE_HOME/bench
was_running=yes
"$ROOT/scripts/cluster.sh" status >/dev/null 2>&1 || was_running=
"$ROOT/scripts/cluster.sh" start >/dev/null
finish() { [ -n "$was_running" ] || "$ROOT/scripts/cluster.sh" stop; }
trap finish EXIT

as_server rm -rf "$dir/landing" "$dir/lake"
make_server_dir 755 "$dir" "$dir/landing" "$dir/lake"
admin=$("$ROOT/scripts/cluster.sh" uri postgres)
uri=$("$ROOT/scripts/cluster.sh" uri millrace_bench)
export PGOPTIONS='-c client_min_messages=warning'
psql() { "$(bindir)/psql" -X -q -At -v ON_ERROR_STOP=1 "$@"; }
columns='transaction_id text, event_time timestamptz, step int, customer text, age text, gender text, zipcode text, merchant text, category text, amount numeric(12,2), fraud int'

psql -d "$admin" -c 'DROP DATABASE IF EXISTS millrace_bench WITH (FORCE)' -c 'CREATE DATABASE millrace_bench'
say "Simulating $rows transactions"
psql -d "$uri" -c 'CREATE EXTENSION pg_millrace' -c 'CREATE SCHEMA staging' -c "CREATE TABLE plain ($columns)" \
    -c "SELECT millrace.simulate('transactions', 'file://$dir/landing', rows_per_file => $rows, seed => 1)" >/dev/null
file=$(find "$dir/landing" -name '*.csv')

timed() { # timed NAME SQL: prints NAME and seconds, leaves the seconds in $took
    local begun=${EPOCHREALTIME//[.,]/}
    psql -d "$uri" -c "$2" >/dev/null
    took=$(((${EPOCHREALTIME//[.,]/} - begun) / 1000))
    printf '%-44s %8d ms %12d rows/s\n' "$1" "$took" $((rows * 1000 / (took + 1)))
}
timed 'COPY into a plain table' "COPY plain FROM '$file' (FORMAT csv, HEADER)"
copy=$took
for layers in none raw; do
    raw=NULL
    [ "$layers" = none ] || raw="'file://$dir/lake/raw'"
    psql -d "$uri" -c "SELECT millrace.create_pipeline('$layers', source => 'file://$dir/landing/*.csv', columns => '$columns',
        staging => 'staging.$layers', raw => $raw, every => NULL)" >/dev/null
    timed "pipeline, raw layer: $layers" "CALL millrace.run('$layers')"
    printf '%44s %8s x COPY\n' '' "$(awk "BEGIN { printf \"%.2f\", $took / $copy }")"
done
