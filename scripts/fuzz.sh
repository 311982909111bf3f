#!/usr/bin/env bash
# Feeds hostile bytes to each target of fuzz/ for FUZZ_SECONDS (60) or FUZZ_RUNS executions, whichever ends first, one after the other;
# FUZZ_TARGETS names a subset. A panic, a hang of 10 seconds or more than FUZZ_MEMORY megabytes (1024) ends it with the input in
# $FUZZ_HOME/<target>, where what was learned is kept too. With FUZZ_PG, how to reach a server, each text that is cast is compared with what
# Postgres makes of it. The last lines say how often each target ran. Needs no tool but the compiler that builds the extension, and a C++ compiler.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
FUZZ_HOME=${FUZZ_HOME:-$MILLRACE_CACHE/fuzz}
profile=${FUZZ_PROFILE:-release}
targets=${FUZZ_TARGETS:-csv json location options secrets delta_log parquet encoding}

say "Building the fuzz targets"
# shellcheck disable=SC2046,SC2086 # words
RUSTC_WRAPPER=$ROOT/scripts/fuzz_rustc.sh cargo build --manifest-path fuzz/Cargo.toml --profile "$profile" --locked $(printf -- '--bin %s ' $targets)
built=$CARGO_TARGET_DIR/${profile/dev/debug}
results=()
for target in $targets; do
    found=$FUZZ_HOME/$target
    mkdir -p "$found/corpus"
    say "Fuzzing: $target"
    if ! "$built/$target" "$found/corpus" "fuzz/corpus/$target" -artifact_prefix="$found/" -max_total_time="${FUZZ_SECONDS:-60}" -runs="${FUZZ_RUNS:--1}" \
        -rss_limit_mb="${FUZZ_MEMORY:-1024}" -malloc_limit_mb=512 -timeout=10 -max_len=65536 -print_final_stats=1 -verbosity=0 >"$found/log" 2>&1; then
        tail -n 40 "$found/log" >&2
        fail "$target found something; the input lies in $found"
    fi
    results+=("$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found/log") executions")
done
say 'Summary'
printf '%s\n' "${results[@]}"
