#!/usr/bin/env bash
# Every shell command that README, docs and examples show is run, as commands.txt says: a command that is not in that list, or is no longer in
# any page, fails. Works with a private server of its own.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
list=pg_test/docs/commands.txt
export MILLRACE_HOME=$MILLRACE_HOME-commands
unset PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
work=$(mktemp -d /tmp/mr-commands-XXXXXX)
finish() {
    trap - EXIT
    scripts/cluster.sh stop 2>/dev/null || true
    rm -rf "$work" "$MILLRACE_HOME"
}
trap finish EXIT
export work

# The page comes up while the demo runs, and shows merchants. Its port is one that is free now.
look_at_dashboard() {
    local port page=0
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    DEMO_SECONDS=600 DASHBOARD_PORT=$port setsid make dashboard >"$work/dashboard.out" 2>&1 </dev/null &
    local maker=$!
    for _ in $(seq 1200); do
        if curl -sf "http://127.0.0.1:$port/figures" | grep -q '"merchants":\[{"merchant":"M'; then
            page=1
            break
        fi
        kill -0 "$maker" 2>/dev/null || break
        sleep 0.1
    done
    # As Ctrl-C in its terminal does: to all of them at once.
    kill -INT -- "-$maker" 2>/dev/null || true
    wait "$maker" || true
    [ "$page" = 1 ] || { cat "$work/dashboard.out" >&2; return 1; }
}

python3 scripts/docs/commands.py README.md ARCHITECTURE.md docs/*.md examples/*.md examples/*/*.md >"$work/shown"
failed=0
declare -A known shown done_already
while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    known[${line%% => *}]=${line#* => }
done <"$list"
while IFS=$'\t' read -r page command; do
    how=${known[$command]:-}
    if [ -z "$how" ]; then
        echo "FAILED: $page: no test runs: $command" >&2
        failed=1
        continue
    fi
    shown[$command]=1
    case $how in
    suite\ * | not\ here:*) continue ;;
    elsewhere\ *)
        [ -x "${how#elsewhere }" ] || [ -f "${how#elsewhere }" ] || { echo "FAILED: $how: no such test" >&2; failed=1; }
        continue
        ;;
    esac
    [ -z "${done_already[$how]:-}" ] || continue
    done_already[$how]=1
    if (eval "$how") >"$work/out" 2>&1 </dev/null; then echo "ok: $how"; else
        tail -n 20 "$work/out" >&2
        echo "FAILED: $page: $how" >&2
        failed=1
    fi
done <"$work/shown"
for command in "${!known[@]}"; do
    [ -z "${shown[$command]:-}" ] || continue
    echo "FAILED: $list: no page shows: $command" >&2
    failed=1
done
shellcheck --severity=warning -x scripts/*.sh pg_test/*/*.sh docker/initdb/*.sh .ci/run || failed=1
if docker compose version >/dev/null 2>&1; then
    POSTGRES_PASSWORD=x GRAFANA_PASSWORD=y docker compose -f docker/compose.yaml config --quiet || failed=1
    echo 'ok: docker compose config'
fi
exit $failed
