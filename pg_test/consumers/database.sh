#!/bin/bash
# database.sh NAME: makes a fresh database with the schema millrace and the fake pipeline of these tests in it.
# The schema comes from the installed extension, or, with MILL_SCHEMA=files, from the scripts in sql/schema alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
database=$1
export PGOPTIONS='-c client_min_messages=warning'
dropdb --if-exists "$database"
createdb "$database"
if [ "${MILL_SCHEMA:-extension}" = files ]; then
    for script in 01_roles 10_pipeline_tables 40_consumer_tables 41_consumer_lookup 42_consumer_create \
                  43_consumer_claim 44_consumer_answer 45_consumer_views 46_consumer_admin 47_consumer_pool 48_consumer_consume; do
        psql -qX -v ON_ERROR_STOP=1 -d "$database" -f "$here/../../sql/schema/$script.sql"
    done
else
    psql -qX -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE EXTENSION pg_millrace'
fi
psql -qX -v ON_ERROR_STOP=1 -d "$database" -f "$here/fake_pipeline.sql"
