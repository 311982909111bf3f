#!/bin/bash
# Tests of the consumer calls: each script asserts what it promises, and stops at the first thing that is not so.
# MODEL_STEPS (3000) and MODEL_SEED are for the random walks. pool_stress.sh at its full size, and stress.sh, are run by hand.
# Connects as PGHOST, PGPORT and PGUSER (a superuser) say and works in a database of its own, MILL_DB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PGDATABASE=${MILL_DB:-millrace_consumers}
"$here/database.sh" "$PGDATABASE"
for script in create answer turns peers poison streams admin pool keyed split consume reject_rows rights; do
    printf '%s: ' "$script"
    psql -qX -o /dev/null -v ON_ERROR_STOP=1 -f "$here/$script.sql"
    echo ok
done
psql -qX -o /dev/null -v ON_ERROR_STOP=1 -v steps="${MODEL_STEPS:-3000}" ${MODEL_SEED:+-v seed="$MODEL_SEED"} -f "$here/model.sql"
dropdb "$PGDATABASE"
unset PGDATABASE
CHUNKS=300 WORKERS=64 HOLD=6 MAX_WAIT=4000 "$here/pool_stress.sh"
"$here/pgbouncer.sh"
"$here/examples.sh"
