#!/usr/bin/env bash
# Promises about examples/dashboard: in a real browser its charts and lists fill and go on by themselves while files land, it asks no other
# host, outlives its connection, and its role can neither see rows nor change anything. Makes the picture of docs/monitoring.md where
# DASHBOARD_PICTURE names a file; LAND_FILES (12) says how much lands before. Connects as PGHOST, PGPORT and PGUSER (a superuser) say.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
database=payments
browser=$(command -v chromium || true)
[ -n "$browser" ] || fail 'no chromium here: scripts/setup.sh installs it'
work=$(mktemp -d /tmp/mr-dashboard-XXXXXX)
chmod 755 "$work"
export PGOPTIONS='-c client_min_messages=warning'
sql() { psql -XqAt -v ON_ERROR_STOP=1 -d "$database" "$@"; }
children=()
finish() {
    trap - EXIT
    touch "$work/over"
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    dropdb --if-exists --force "$database"
    psql -XqAt -d postgres -c 'DROP ROLE IF EXISTS millrace_dashboard'
    rm -rf "$work"
}
trap finish EXIT
scripts/dashboard.sh build

make_server_dir 755 "$work/landing" "$work/lake"
dropdb --if-exists --force "$database"
createdb "$database"
sql -o /dev/null -c 'CREATE EXTENSION pg_millrace'
sql -o /dev/null -v landing="file://$work/landing" -v lake="file://$work/lake" -f scripts/demo/pipeline.sql -f scripts/demo/billing.sql
sql -v password=look -f examples/dashboard/grants.sql
sql -v password=look -f examples/dashboard/grants.sql # once more does no harm
sql -c 'CALL billing.work()' 2>/dev/null &
children+=($!)
(
    for ((file = 1; ; file++)); do
        [ ! -e "$work/over" ] || break
        sql -o /dev/null -c "SELECT millrace.simulate('transactions', 'file://$work/landing', rows_per_file => 4000 + $file * 997 % 3000, files => 1, seed => $file,
            options => '{\"bad_ratio\": 0.002}')"
        if [ "$file" = "${LAND_FILES:-12}" ]; then touch "$work/landed"; fi
        sleep 0.5
    done
) 2>/dev/null &
children+=($!)

MILLRACE_CONNINFO="host=$PGHOST port=$PGPORT dbname=$database user=millrace_dashboard password=look" \
    "$CARGO_TARGET_DIR/debug/millrace_dashboard" 0 >"$work/address" 2>"$work/log" &
children+=($!)
for _ in $(seq 600); do
    [ ! -s "$work/address" ] || break
    sleep 0.1
done
url=$(cat "$work/address")
[ -n "$url" ] || { cat "$work/log" >&2; fail 'the dashboard does not start'; }
for _ in $(seq 1200); do
    [ ! -e "$work/landed" ] || break
    sleep 0.1
done
NODE_PATH=$NODE_MODULES/node_modules node pg_test/dashboard/page.cjs "$browser" "$url" "$work/profile" "${DASHBOARD_PICTURE:-$work/page.png}"
echo 'page: ok'

# The page comes back by itself after its connection was ended.
sql -o /dev/null -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace_dashboard'"
for _ in $(seq 100); do
    ! curl -sf "${url}figures" >"$work/figures" || break
    sleep 0.1
done
python3 - "$work/figures" <<'PYTHON'
import json, sys
figures = json.load(open(sys.argv[1]))
assert figures["about"]["role"] == "millrace_dashboard" and figures["merchants"] and figures["pipelines"][0]["rows"] > 0, figures
PYTHON
[ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: elsewhere.example' "$url")" = 403 ] || fail 'a name of another host is answered'
[ "$(curl -s -o /dev/null -w '%{http_code}' "${url}figures?span=9999999")" = 400 ] || fail 'any span is answered'
for statement in 'SELECT * FROM staging.transactions' 'SELECT raw FROM staging.transactions_rejects' "SELECT millrace.pause('transactions')" \
    'CREATE TABLE public.t ()' "SET default_transaction_read_only = off; INSERT INTO billing.account VALUES ('x', 1, 1)"; do
    if PGPASSWORD=look psql -XqAt -v ON_ERROR_STOP=1 -U millrace_dashboard -d "$database" -c "$statement" >/dev/null 2>&1; then
        fail "the dashboard's role may do: $statement"
    fi
done
[ "$(PGPASSWORD=look psql -XqAt -U millrace_dashboard -d "$database" -c 'SELECT count(*) FROM millrace.rejects')" = 0 ] || fail 'the role sees rejects'
echo 'rights: ok'
