#!/bin/bash
# database.sh NAME: makes a fresh database with the schema millrace and the fake pipeline of these tests in it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
database=$1
export PGOPTIONS='-c client_min_messages=warning'
dropdb --if-exists "$database"
createdb "$database"
psql -qX -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE EXTENSION pg_millrace'
psql -qX -v ON_ERROR_STOP=1 -d "$database" -f "$here/fake_pipeline.sql"
