#!/usr/bin/env bash
# All tests, cheapest first: lints, unit tests without Postgres, then the release build on private servers.
# Ends with a line per suite; the exit status is 0 only if every one passed. MILLRACE_TESTS names a subset: "unit e2e".
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"

suites=${MILLRACE_TESTS:-lint unit e2e sql}
results=()
failed=0
run() { # run SUITE COMMAND… : a suite may have several commands
    local suite=$1
    shift
    [[ " $suites " == *" $suite "* ]] || return 0
    say "Testing: $suite"
    local begun=$SECONDS
    if "$@"; then results+=("$*: ok ($((SECONDS - begun)) s)"); else
        results+=("$*: FAILED ($((SECONDS - begun)) s)")
        failed=1
    fi
}
# shellcheck disable=SC2317 # called by run
e2e() {
    MILLRACE_PYTHON=$VENV/bin/python cargo test --no-default-features --test e2e -- --test-threads="${E2E_THREADS:-2}"
}
# Each folder of pg_test with a run.sh: SQL scripts and races, on a private server of their own.
sql_suites() {
    [[ " $suites " == *" sql "* ]] || return 0
    export MILLRACE_HOME=$MILLRACE_HOME-test
    trap 'scripts/cluster.sh stop' EXIT
    scripts/cluster.sh start >/dev/null
    eval "$(scripts/cluster.sh env)"
    PATH=$(bindir):$PATH
    local suite
    for suite in pg_test/*/run.sh; do
        run sql "$suite"
    done
}

scripts/setup.sh
run lint scripts/lint.sh
run unit cargo test --no-default-features --lib
case " $suites " in ' lint ' | ' unit ' | ' lint unit ') ;; *) scripts/install.sh ;; esac
run e2e e2e
sql_suites
say 'Summary'
printf '%s\n' "${results[@]}"
exit $failed
