#!/usr/bin/env bash
# The storm of pg_test/e2e/storm, for CHAOS_SECONDS (600), on the extension that is installed.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
scripts/setup.sh
CHAOS_SECONDS=${CHAOS_SECONDS:-600} MILLRACE_PYTHON=$VENV/bin/python exec cargo test --no-default-features --test e2e storm:: -- --nocapture
