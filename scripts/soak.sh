#!/usr/bin/env bash
# Chunk after chunk for SOAK_SECONDS (3600), on the extension that is installed; memory, open files and connections of the workers are told
# every minute, and must not grow.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
scripts/setup.sh
SOAK_SECONDS=${SOAK_SECONDS:-3600} MILLRACE_PYTHON=$VENV/bin/python exec cargo test --no-default-features --test e2e chunk_after_chunk -- --nocapture
