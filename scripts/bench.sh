#!/usr/bin/env bash
# What loads cost, each beside a baseline in the same run: a table, benches/results.json and benches/results.svg.
# BENCH_FILES (60) files of 10,000 rows, BENCH_RUNS (5), BENCH_ONLY (a part of a workload's name). Times depend on the machine; ratios
# hold when it is otherwise idle.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

borrow_server

dir=$MILLRACE_HOME/bench
rm -rf "$dir"
make_server_dir 755 "$dir"
BENCH_URI=$("$ROOT/scripts/cluster.sh" uri postgres)
BENCH_OUT=${BENCH_OUT:-$ROOT/benches}
if [ "$(id -u)" = 0 ]; then export BENCH_OWNER=$SERVER_USER; fi
export BENCH_URI BENCH_OUT BENCH_DIR=$dir
cd "$ROOT"
cargo bench --quiet --profile dev --no-default-features --bench bench
