#!/usr/bin/env bash
# The storm of pg_test/e2e/storm, for CHAOS_SECONDS (600), drawn from CHAOS_SEED (the time), on the extension that is installed.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
scripts/setup.sh
export CHAOS_SECONDS=${CHAOS_SECONDS:-600} CHAOS_SEED=${CHAOS_SEED:-$(date +%s)}
MILLRACE_PYTHON=$VENV/bin/python exec cargo test --no-default-features --test e2e storm:: -- --nocapture
