#!/usr/bin/env bash
# Promises about monitoring and the containers: each query of the exporter and of the dashboard runs as the role that it is for, on a server that
# docker/initdb has set up; rules use metrics that exist and have a runbook; Dockerfile, compose.yaml and what they name are sound.
# Connects as PGHOST, PGPORT and PGUSER (a superuser) say; needs Azurite.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
database=millrace_monitoring
work=$(mktemp -d /tmp/mr-monitoring-XXXXXX)
export PGOPTIONS='-c client_min_messages=warning'
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
finish() {
    trap - EXIT
    dropdb --if-exists --force "$database"
    sql -d postgres -c 'DROP ROLE IF EXISTS grafana' -c 'DROP ROLE IF EXISTS mr_exporter'
    rm -rf "$work"
}
trap finish EXIT
python3 scripts/docker_lint.py
python3 pg_test/monitoring/queries.py rules
echo 'containers and rules: ok'

chmod 755 "$work"
make_server_dir 755 "$work/landing"
coproc blobs { exec node pg_test/azurite/serve.mjs "$AZURITE" "$work/azurite"; }
read -r answer <&"${blobs[0]}" || fail 'Azurite does not start'
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$answer"; }
node docker/azurite/create-container.mjs "$(field endpoint)" "$(field account)" "$(field key)" lake

dropdb --if-exists --force "$database"
createdb "$database"
export PGDATABASE=$database
sql -c 'CREATE EXTENSION pg_millrace' -c "CREATE ROLE mr_exporter LOGIN IN ROLE millrace_monitor"
export POSTGRES_DB=$database MILLRACE_DEMO=yes MILLRACE_LANDING=file://$work/landing GRAFANA_DB_PASSWORD='no'' secret'
AZURITE_ENDPOINT=$(field endpoint) AZURITE_KEY=$(field key) docker/initdb/20_demo.sh >/dev/null
docker/initdb/30_grafana.sh
sql -o /dev/null -c "SELECT * FROM millrace.simulate('transactions', 'file://$work/landing', rows_per_file => 1000, files => 3, options => '{\"bad_ratio\": 0.01}')" \
    -c "SELECT millrace.add_expectation('transactions', 'positive amount', 'amount > 0')"
sql -f pg_test/docs/wait_for.sql -c 'CALL docs.settle()'

echo "SET SESSION AUTHORIZATION mr_exporter; $(python3 pg_test/monitoring/queries.py exporter)" | sql -o /dev/null
[ "$(sql -c "SELECT count(*) FROM millrace.pipelines")" = 1 ] || fail 'the demo made no pipeline'
echo 'exporter: ok'
echo "SET SESSION AUTHORIZATION grafana; $(python3 pg_test/monitoring/queries.py dashboard)" | sql >"$work/dashboard"
# Panels with data, not just queries that parse.
for expected in '^2970$' '^M[0-9]*|[0-9]*$' '^transactions|.*|.*|[0-9]*$'; do
    grep -q "$expected" "$work/dashboard" || { cat "$work/dashboard" >&2; fail "the dashboard does not show $expected"; }
done
if grep '^EMPTY' "$work/dashboard" >&2; then fail 'a panel of the dashboard has nothing to show'; fi
# Rejects go by what was not met, with no value of a row in it.
sql -o /dev/null -c "SELECT millrace.add_expectation('transactions', 'small amount', 'amount < 30')" \
    -c "SELECT * FROM millrace.simulate('transactions', 'file://$work/landing', rows_per_file => 1000, files => 1, seed => 9, options => '{\"bad_ratio\": 0.01}')" \
    -c "CALL docs.wait_for(\$\$SELECT count(*) > 0 FROM staging.transactions_rejects WHERE reasons::text LIKE '%small amount%'\$\$)"
echo "SET SESSION AUTHORIZATION grafana; $(python3 pg_test/monitoring/queries.py dashboard)" | sql >"$work/dashboard"
for expected in 'amount: not small amount' 'amount: not numeric(12,2)' 'record: fields or quotes'; do
    [ "$(grep -c "^transactions|$expected|[0-9]*$" "$work/dashboard")" = 1 ] || { cat "$work/dashboard" >&2; fail "rejects by reason do not show $expected"; }
done
if sql -c 'SET SESSION AUTHORIZATION grafana' -c 'SELECT * FROM staging.transactions' >/dev/null 2>&1; then fail 'grafana sees rows'; fi
echo 'dashboard: ok'

# A pipeline that is held back says so everywhere.
sql -o /dev/null -c "SELECT millrace.pause('transactions')" -c "UPDATE millrace.position SET throttled_by = 'a consumer', throttled_since = now() - interval '1 hour'" \
    -c "UPDATE millrace.pipeline SET state = 'active', every = NULL"
[ "$(sql -c 'SELECT phase FROM millrace.progress')" = 'held back' ] || fail 'progress does not show that the pipeline is held back'
sql -c "SELECT finding FROM millrace.doctor() WHERE check_name = 'state' AND status = 'warning'" | grep -q 'by a consumer$' || fail 'the doctor does not tell that the pipeline is held back'
echo 'held back: ok'
