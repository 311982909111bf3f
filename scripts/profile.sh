#!/usr/bin/env bash
# Where a load spends its time: `profile.sh csv | json | delta | raw | seed [FILES]`, 60 files of 10,000 rows where nothing is said.
# raw: CSV with a raw layer. seed: that with rules, an aggregate and its layer.
# Samples the backend and its threads with perf (Debian: linux-perf) while CALL millrace.run loads a chunk a file, and prints what share of
# the samples each function has, with what it calls (children) and by itself. Needs `make install`; to be run as root or with
# kernel.perf_event_paranoid at -1.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

what=${1:?usage: profile.sh csv | json | delta | raw | seed [FILES]}
files=${2:-60}
command -v perf >/dev/null || fail "perf is not here: apt-get install linux-perf"

borrow_server

dir=$MILLRACE_HOME/profile
rm -rf "$dir"
make_server_dir 755 "$dir"
lake="file://$dir"
psql=("$(bindir)/psql" -X -q -At -v ON_ERROR_STOP=1)
"${psql[@]}" "$("$ROOT/scripts/cluster.sh" uri postgres)" -c 'DROP DATABASE IF EXISTS millrace_profile' -c 'CREATE DATABASE millrace_profile' 2>/dev/null
psql+=("$("$ROOT/scripts/cluster.sh" uri millrace_profile)")

columns='transaction_id text, event_time timestamptz, step int, customer text, age text, gender text, zipcode text, merchant text, category text, amount numeric(12,2), fraud int'
format=$what
[ "$what" = json ] || format=csv
create() { # create NAME SOURCE MORE
    "${psql[@]}" -o /dev/null -c "SELECT millrace.create_pipeline('$1', source => '$2', columns => '$columns', staging => 'staging.$1', every => NULL,
        $3 options => '{\"max_files_per_chunk\": 1}')"
}
"${psql[@]}" -o /dev/null -c 'CREATE EXTENSION pg_millrace' -c 'CREATE SCHEMA staging' \
    -c "SELECT millrace.simulate('transactions', '$lake/files', rows_per_file => 10000, files => $files, seed => 1, format => '$format')"
source=$lake/files
if [ "$what" = delta ]; then
    create made "$source" "semi_processed => '$lake/table',"
    "${psql[@]}" -c "CALL millrace.run('made')"
    source=$lake/table
    create load "$source" "format => 'delta',"
elif [ "$what" = raw ] || [ "$what" = seed ]; then
    create load "$source" "raw => '$lake/raw',"
else
    create load "$source" ''
fi
if [ "$what" = seed ]; then
    "${psql[@]}" -o /dev/null -c "SELECT millrace.add_expectation('load', 'amount', 'amount > 0'), millrace.add_expectation('load', 'merchant', 'merchant <> ''''')" \
        -c "SELECT millrace.create_aggregate('load', 'stats', 'SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions,
                count(DISTINCT customer) FILTER (WHERE gender = ''F'') AS female_customers FROM staging.load GROUP BY merchant', publish => '$lake/processed')"
fi

# A look at the lake first, so that the threads are there; then perf has a second to attach itself.
"${psql[@]}" -o "$dir/session.out" >/dev/null <<SQL &
\o $dir/pid
SELECT pg_backend_pid();
\o $dir/out
SELECT count(*) FROM millrace.list('$lake/files');
SELECT pg_sleep(2);
CALL millrace.run('load');
SQL
session=$!
until [ -s "$dir/pid" ]; do sleep 0.05; done
sleep 1
perf record -q -e cpu-clock -F 999 -g -o "$dir/perf.data" -p "$(cat "$dir/pid")" &
perf=$!
wait "$session"
wait "$perf" || true

show() { perf report -i "$dir/perf.data" -g none --percent-limit 1 --stdio "$@" 2>/dev/null | grep -v '^#' | grep . || true; }
say "By thread (postgres: the backend; millrace: the reading threads) and library"
show --no-children --sort comm,dso
say "The backend, callees included"
show --children --comm postgres --sort symbol | cut -c1-100 | sed -n 1,50p
say "The reading threads, each function by itself"
show --no-children --comm millrace --sort symbol | cut -c1-140 | sed -n 1,40p
