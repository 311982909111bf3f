#!/bin/bash
# Races between sessions, step by step: specs/*.spec, compared with expected/*.out.
# Connects as PGHOST, PGPORT and PGUSER (a superuser) say and works in a database of its own, MILL_DB.
# Arguments name specs; without any, all run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
database=${MILL_DB:-millrace_isolation}
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
tester=$(dirname "$(pg_config --pgxs)")/../../src/test/isolation
tester=$(cd "$tester" && pwd)
specs=("$@")
if [ ${#specs[@]} -eq 0 ]; then
    for spec in "$here"/specs/*.spec; do
        specs+=("$(basename "$spec" .spec)")
    done
fi

"$here/../consumers/database.sh" "$database"
unset PGDATABASE
if ! "$tester/pg_isolation_regress" --use-existing --dbname="$database" --bindir="$(pg_config --bindir)" \
        --inputdir="$here" --outputdir="$output" "${specs[@]}"; then
    cat "$output/regression.diffs" 2>/dev/null || true
    [ -z "${MILL_KEEP_OUTPUT:-}" ] || cp -r "$output/results/." "$MILL_KEEP_OUTPUT"
    exit 1
fi
dropdb "$database"
