#!/usr/bin/env bash
# Format, clippy with and without Postgres, and the rules of the layers that no compiler checks.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"

status=0
forbid() { # forbid 'what is wrong' GREP-ARGS… : each line found is an offence
    local rule=$1 found
    shift
    if found=$(grep -rnE "$@"); then
        printf 'lint: %s\n%s\n' "$rule" "$found" >&2
        status=1
    fi
}
forbid 'these layers know nothing of Postgres server code' '\bpgrx\b|\bpg_sys\b' src/model src/format src/convert src/lake
forbid 'unit tests run without Postgres: there they never would' 'cfg\(test\)' src/pg src/pipeline src/worker src/api
forbid 'unsafe belongs into src/pg' --exclude-dir=pg '\bunsafe\b[[:space:]]*(\{|fn|impl|extern)|allow\(unsafe_code\)' src --include='*.rs' --exclude=lib.rs
forbid 'unfinished code' '\b(todo|unimplemented|dbg)!\(|#\[ignore' src pg_test --include='*.rs'
while read -r lines file; do
    printf 'lint: %s has %s lines; past 600 a file wants splitting\n' "$file" "$lines" >&2
    status=1
done < <(find src pg_test -name '*.rs' -exec wc -l {} + | awk '$1 > 600 && $2 != "total"')
if ! cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml; then
    printf 'lint: the fuzz targets cannot be built; cargo metadata --manifest-path fuzz/Cargo.toml renews their lock file\n' >&2
    status=1
fi

cargo fmt --check
cargo clippy --quiet --all-targets --no-default-features -- -D warnings
cargo clippy --quiet --lib -- -D warnings
(cd examples/dashboard && cargo fmt --check && cargo clippy --quiet --locked -- -D warnings)
scripts/check_versions.sh
exit $status
