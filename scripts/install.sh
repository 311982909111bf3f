#!/usr/bin/env bash
# Builds the release library and installs the extension into the Postgres of PG_CONFIG.
# Does nothing when what is installed was built from these very sources: linking alone takes minutes.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

library=$("$PG_CONFIG" --pkglibdir)/pg_millrace.so
extensions=$("$PG_CONFIG" --sharedir)/extension
stamp=$MILLRACE_CACHE/installed

# The stamp holds both ends: what it was built from, and what lies installed (another clone may have put its own there).
sources() { (
    cd "$ROOT"
    find src sql Cargo.toml Cargo.lock rust-toolchain.toml pg_millrace.control -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    "$PG_CONFIG" --version
) | sha256sum; }
installed() { cat "$library" "$extensions"/pg_millrace* 2>/dev/null | sha256sum; }

built_from=$(sources)
if [ -f "$library" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$built_from $(installed)" ]; then
    exit 0
fi

say "Building pg_millrace, release profile (about 10 minutes on two cores the first time, target: $CARGO_TARGET_DIR)"
sudo_flag=()
if [ ! -w "${library%/*}" ] || [ ! -w "$extensions" ]; then sudo_flag=(--sudo); fi
(cd "$ROOT" && cargo pgrx install --release --pg-config "$PG_CONFIG" "${sudo_flag[@]}" >&2)
mkdir -p "$MILLRACE_CACHE"
echo "$built_from $(installed)" >"$stamp"
say "Installed $library"
