#!/usr/bin/env bash
# The demo with its dashboard: `dashboard.sh` builds examples/dashboard, runs the demo (DEMO_SECONDS, 600) and serves the page on loopback,
# DASHBOARD_PORT (8642), until the demo ends or Ctrl-C. Where a demo runs already, it only serves the page. `dashboard.sh build` only builds,
# `dashboard.sh serve DATABASE [PORT]` shows another database of the private server that has pipeline "transactions".
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
port=${DASHBOARD_PORT:-8642}
program=$CARGO_TARGET_DIR/debug/millrace_dashboard

build() { (cd "$ROOT/examples/dashboard" && cargo build --quiet --locked) >&2; }

# The role's password is made anew each time, and reaches the program by a file that only this user can read.
serve() { # serve DATABASE PORT
    local uri password=$MILLRACE_HOME/dashboard
    uri=$("$ROOT/scripts/cluster.sh" uri "$1")
    (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$password")
    # Not as an argument, which everybody on the machine sees.
    { printf '\\set password %s\n' "$(cat "$password")" && cat "$ROOT/examples/dashboard/grants.sql"; } |
        PGOPTIONS='-c client_min_messages=warning' "$(bindir)/psql" -XqAt -v ON_ERROR_STOP=1 -d "$uri" -f -
    MILLRACE_CONNINFO="host=127.0.0.1 port=$(cat "$MILLRACE_HOME/port") dbname=$1 user=millrace_dashboard password=$(cat "$password")" \
        exec "$program" "$2"
}

case ${1:-} in
build) build ;;
serve)
    build
    serve "$2" "${3:-$port}"
    ;;
*)
    build
    demo=
    server=
    finish() {
        trap - EXIT INT TERM
        for process in $server $demo; do kill "$process" 2>/dev/null || true; done
        for process in $server $demo; do wait "$process" 2>/dev/null || true; done
    }
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    ready="SELECT to_regclass('staging.merchant_stats') IS NOT NULL AND to_regclass('staging.transactions_rejects') IS NOT NULL AND to_regclass('billing.closing_time') IS NOT NULL"
    ready() { [ "$("$(bindir)/psql" -XqAt -d "$("$ROOT/scripts/cluster.sh" uri millrace_demo)" -c "$ready" 2>/dev/null)" = t ]; }
    if ! "$ROOT/scripts/cluster.sh" status >/dev/null 2>&1 || ! ready; then
        DEMO_SECONDS=${DEMO_SECONDS:-600} "$ROOT/scripts/demo.sh" >"$MILLRACE_HOME/demo.log" 2>&1 </dev/null &
        demo=$!
        say "The demo runs; its log is $MILLRACE_HOME/demo.log"
        until ready; do
            kill -0 "$demo" 2>/dev/null || { cat "$MILLRACE_HOME/demo.log" >&2; fail 'the demo ended'; }
            sleep 0.2
        done
    fi
    serve millrace_demo "$port" &
    server=$!
    # Either ends: the demo after its time, or the server, which has said why.
    if [ -n "$demo" ]; then wait -n; else wait "$server"; fi
    ;;
esac
