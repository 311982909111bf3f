#!/usr/bin/env bash
# All tests, cheapest first: lints, unit tests without Postgres, then the release build on private servers.
# Ends with a line per suite; the exit status is 0 only if every one passed. MILLRACE_TESTS names a subset: "unit e2e".
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"

suites=${MILLRACE_TESTS:-lint unit e2e isolation regress}
results=()
failed=0
run() { # run SUITE COMMAND…
    local suite=$1
    shift
    [[ " $suites " == *" $suite "* ]] || return 0
    say "Testing: $suite"
    local begun=$SECONDS
    if "$@"; then results+=("$suite: ok ($((SECONDS - begun)) s)"); else
        results+=("$suite: FAILED ($((SECONDS - begun)) s)")
        failed=1
    fi
}
# shellcheck disable=SC2317 # called by run
e2e() {
    MILLRACE_PYTHON=$VENV/bin/python cargo test --no-default-features --test e2e -- --test-threads="${E2E_THREADS:-2}"
}

scripts/setup.sh
run lint scripts/lint.sh
run unit cargo test --no-default-features --lib
if [[ $suites == *e2e* || $suites == *isolation* || $suites == *regress* ]]; then scripts/install.sh; fi
run e2e e2e
for suite in isolation regress; do
    if [ -x "pg_test/$suite/run.sh" ]; then run "$suite" "pg_test/$suite/run.sh"; fi
done
say 'Summary'
printf '%s\n' "${results[@]}"
exit $failed
