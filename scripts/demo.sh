#!/usr/bin/env bash
# A minute of simulated card transactions through the whole flow, shown on one screen.
# DEMO_SECONDS (60) and DEMO_ROWS (10000 a second) change its size; LAKE=azurite puts the lake into Azurite. Ends with verify(); the exit status is 0 only if
# every check is ok and the consumer got each chunk exactly once. A server that it had to start, it stops again.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

seconds=${DEMO_SECONDS:-60}
rows=${DEMO_ROWS:-10000}
lake_kind=${LAKE:-local}
case $lake_kind in
local) ;;
azurite) "$ROOT/scripts/setup.sh" azurite ;;
*) fail "LAKE=$lake_kind is not known; the demo's lake is local or azurite" ;;
esac
demo=$MILLRACE_HOME/demo
here=$ROOT/scripts/demo
bin=$(bindir)

was_running=yes
"$ROOT/scripts/cluster.sh" status >/dev/null 2>&1 || was_running=
"$ROOT/scripts/cluster.sh" start >/dev/null
uri=$("$ROOT/scripts/cluster.sh" uri millrace_demo)
admin=$("$ROOT/scripts/cluster.sh" uri postgres)

export PGOPTIONS='-c client_min_messages=warning'
psql() { "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 "$@"; }
ask() { psql -d "$uri" -c "$1"; }

consumer=
finish() {
    trap - EXIT INT TERM
    [ ! -t 1 ] || printf '\e[?25h'
    if [ -n "$consumer" ]; then
        psql -d "$admin" -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'billing'" >/dev/null 2>&1 || true
        wait "$consumer" 2>/dev/null || true
    fi
    [ -n "$was_running" ] || "$ROOT/scripts/cluster.sh" stop
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Creating database millrace_demo with the pipeline of scripts/demo/pipeline.sql"
psql -d "$admin" -c 'DROP DATABASE IF EXISTS millrace_demo WITH (FORCE)' -c 'CREATE DATABASE millrace_demo'
as_server rm -rf "$demo/landing" "$demo/lake"
rm -rf "$demo/azurite"
make_server_dir 755 "$demo" "$demo/landing" "$demo/lake"
psql -d "$uri" -c 'CREATE EXTENSION pg_millrace'
landing=file://$demo/landing lake=file://$demo/lake
if [ "$lake_kind" = azurite ]; then
    # It ends with this script: it watches the pipe that is its standard input.
    coproc blobs { exec node "$ROOT/pg_test/azurite/serve.mjs" "$AZURITE" "$demo/azurite" demo; }
    read -r answer <&"${blobs[0]}" || fail 'Azurite does not start'
    field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$answer"; }
    container=abfss://demo@$(field account).dfs.core.windows.net
    landing=$container/landing lake=$container/lake
    say "The lake is $container in Azurite, at $(field endpoint)"
    psql -d "$uri" -v location="$container" -v endpoint="$(field endpoint)" -v key="$(field key)" -f "$here/azurite.sql"
fi
psql -d "$uri" -v landing="$landing" -v lake="$lake" -f "$here/pipeline.sql" >/dev/null
psql -d "$uri" -f "$here/billing.sql" -f "$here/screen.sql"

PGAPPNAME=billing psql -d "$uri" -c 'CALL billing.work()' &
consumer=$!

land() {
    ask "SELECT millrace.simulate('transactions', '$landing', rows_per_file => $rows, files => 1,
                                  seed => $1, options => '{\"bad_ratio\": 0.001}')" >/dev/null
}
show() {
    if [ ! -t 1 ]; then
        printf '%3s s  %s\n' "$1" "$(ask 'SELECT demo.line()')"
        return
    fi
    # Written as a whole and over the old one: nothing flickers, nothing scrolls.
    local screen
    screen=$(ask "SELECT demo.screen('$1 s of $seconds s')")
    printf '\e[?25l\e[H%s\e[K\n\e[J' "${screen//$'\n'/$'\e[K\n'}"
}
sleep_until() { # seconds since the start, as EPOCHREALTIME counts them, in microseconds
    local left=$((started + $1 * 1000000 - ${EPOCHREALTIME//[.,]/}))
    if [ "$left" -gt 0 ]; then sleep "$((left / 1000000)).$(printf '%06d' $((left % 1000000)))"; fi
}

[ ! -t 1 ] || printf '\e[2J'
started=${EPOCHREALTIME//[.,]/}
for ((second = 1; second <= seconds; second++)); do
    land "$second"
    sleep_until "$second"
    show "$second"
done

# What has landed must arrive; a minute is far more than it takes.
arrived="SELECT (SELECT rows + rejects = $seconds * $rows AND acked = chunks FROM demo.figures)
            AND NOT EXISTS (SELECT FROM millrace.publications WHERE pipeline = 'transactions' AND state <> 'done')"
for ((i = 0; i < 300; i++)); do
    [ "$(ask "$arrived")" = t ] && break
    sleep 0.2
done
ask 'DROP TABLE billing.closing_time'
wait "$consumer" || true
consumer=
[ ! -t 1 ] || show "$seconds"

echo
ask "SELECT format('Landed %s files of %s transactions: %s rows and %s rejects in %s chunks, %s acked, %s published.',
                   $seconds, demo.n($rows), demo.n(rows), demo.n(rejects), chunks, acked, published) FROM demo.figures"
echo
"$bin/psql" -X -P pager=off -P footer=off -d "$uri" \
    -c "SELECT layer, check_name, expected, found, ok FROM millrace.verify('transactions')" \
    -c "SELECT * FROM demo.billing_checks"
bad=$(ask "SELECT (SELECT count(*) FROM millrace.verify('transactions') WHERE ok IS NOT TRUE) + (SELECT count(*) FROM demo.billing_checks WHERE ok IS NOT TRUE)")
if [ "$bad" != 0 ] || [ "$(ask "$arrived")" != t ]; then
    echo "NOT everything arrived exactly once; look with: scripts/cluster.sh psql millrace_demo" >&2
    was_running=yes # left up for that look
    exit 1
fi
echo "Everything that landed arrived exactly once."
