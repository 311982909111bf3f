#!/usr/bin/env bash
# Compiles the extension against every major version of Postgres that it supports, without a server or headers of any: the crate of the
# bindings carries those of each version. `check_versions.sh [MAJOR…]`; what it does is tested with 15 (make test) and 17 (make test-pg17).
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
[ $# -gt 0 ] || set -- 16 17 18
for major in "$@"; do
    say "Compiling for Postgres $major"
    DOCS_RS=1 RUSTC_WRAPPER=$ROOT/scripts/rustc_bundled_bindings.sh cargo check --quiet --lib --no-default-features --features "pg$major"
done
# A build for a real server of that version must make its bindings from the server's headers: forget that there was nothing to make.
# What such a run says is nothing, also where an earlier one has left files.
for said in "$CARGO_TARGET_DIR"/debug/build/pgrx-pg-sys-*/output; do
    run=${said%/output}
    if [ -e "$said" ] && [ ! -s "$said" ]; then rm -rf "$run" "$CARGO_TARGET_DIR/debug/.fingerprint/${run##*/}"; fi
done
