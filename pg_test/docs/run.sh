#!/usr/bin/env bash
# Promises about the documentation: every SQL block and every command in README and docs runs, in order, as it stands; what is generated is up to date;
# every function and view has a comment, and the comment explains each argument; links lead somewhere.
# Runs on a server of its own, with pg_cron and Azurite. PAGES names a subset, by file.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
export MILLRACE_HOME=$MILLRACE_HOME-docs
unset PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
work=$MILLRACE_HOME/pages
finish() {
    trap - EXIT
    scripts/cluster.sh stop
    rm -rf "$MILLRACE_HOME"
}
trap finish EXIT
uri=$(scripts/cluster.sh start)
eval "$(scripts/cluster.sh env)"
PATH=$(bindir):$PATH
export PGOPTIONS='-c client_min_messages=warning'
rm -rf "$work" "$MILLRACE_HOME/azurite"
make_server_dir 755 "$work"

# Azurite ends with this script: it watches the pipe that is its standard input.
coproc blobs { exec node pg_test/azurite/serve.mjs "$AZURITE" "$MILLRACE_HOME/azurite" lake; }
read -r answer <&"${blobs[0]}" || fail 'Azurite does not start'
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$answer"; }
account=$(field account) endpoint=$(field endpoint) key=$(field key)

ok=0
try() { # try WHAT COMMAND…
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what" >&2; ok=1; fi
}

page() { # page FILE: runs its blocks in a database of its own, or, where it says so, in that of pg_cron
    local file=$1 name database
    name=$(basename "$file" .md | tr '[:upper:]-' '[:lower:]_')
    database=docs_$name
    make_server_dir 755 "$work/$name" "$work/$name/landing" "$work/$name/lake"
    if grep -q 'cron\.schedule' "$file"; then
        database=millrace
        psql -XqAt -v ON_ERROR_STOP=1 -d millrace -o /dev/null -c 'DROP EXTENSION IF EXISTS pg_millrace CASCADE' -c 'DROP SCHEMA IF EXISTS staging, docs CASCADE' \
            -c 'DROP TABLE IF EXISTS billed, daily' -c 'SELECT cron.unschedule(jobid) FROM cron.job' -c 'CREATE EXTENSION pg_millrace'
    else
        dropdb --if-exists --force "$database"
        createdb "$database"
        psql -Xq -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE EXTENSION pg_millrace'
    fi
    psql -Xq -v ON_ERROR_STOP=1 -d "$database" -f pg_test/docs/wait_for.sql
    # Places and names that stand for the reader's own.
    python3 scripts/docs/blocks.py "$file" | sed \
        -e "s#file:///srv/#file://$work/$name/#g" \
        -e "s#/tmp/pg_millrace-0/#$work/$name/#g" \
        -e "s#@acme\.dfs#@$account.dfs#g" \
        -e "s#(location 'abfss://[a-z]*@#(endpoint '$endpoint', location 'abfss://lake@#" \
        -e "s#(account_key '…')#(account_key '$key')#" \
        -e 's#^CREATE EXTENSION pg_millrace;#CREATE EXTENSION IF NOT EXISTS pg_millrace;#' >"$work/$name.sql"
    if ! PGAPPNAME=docs psql -Xq -v ON_ERROR_STOP=1 -d "$database" -f "$work/$name.sql" >"$work/$name.out" 2>&1; then
        tail -n 15 "$work/$name.out" >&2
        return 1
    fi
    if [ "$database" != millrace ]; then dropdb --force "$database"; fi
}

catalog() { psql -XqAt -d millrace -f scripts/docs/reference.sql; }
commented() { catalog | python3 scripts/docs/reference.py --missing; }
up_to_date() { # up_to_date FILE COMMAND…: what the command prints is what the file holds
    local file=$1
    shift
    "$@" | diff -u "$file" - >"$work/diff" && return 0
    head -n 30 "$work/diff" >&2
    echo "$file is out of date: make docs" >&2
    return 1
}

if [ -z "${PAGES:-}" ]; then
    try "every function is explained" commented
    try docs/reference.md up_to_date docs/reference.md scripts/docs.sh print reference "$uri"
    try docs/configuration.md up_to_date docs/configuration.md scripts/docs.sh print configuration "$uri"
    try docs/errors.md up_to_date docs/errors.md scripts/docs.sh print errors
    for picture in docs/pictures/*.txt; do
        try "$picture" up_to_date "${picture%.txt}.svg" scripts/docs.sh print picture "$picture"
    done
    try links python3 scripts/docs/links.py
    try "the book" scripts/docs.sh book "$work/book"
    try commands pg_test/docs/commands.sh
fi
newcomers() { # what goes wrong in the quickstart, and what is then said
    make_server_dir 755 "$work/mistakes" "$work/mistakes/landing"
    # A place that the server may neither read nor write.
    make_server_dir 000 "$work/mistakes/closed"
    dropdb --if-exists --force docs_mistakes
    createdb docs_mistakes
    psql -XqAt -v ON_ERROR_STOP=1 -d docs_mistakes -o /dev/null -c 'CREATE EXTENSION pg_millrace'
    psql -XqAt -v ON_ERROR_STOP=1 -d docs_mistakes -o /dev/null -v dir="$work/mistakes" -f pg_test/docs/mistakes.sql &&
        psql -XqAt -d docs_mistakes -c 'DROP OWNED BY mr_newcomer' -c 'DROP ROLE mr_newcomer' && dropdb --force docs_mistakes
}
if [ -z "${PAGES:-}" ]; then try "a newcomer's mistakes" newcomers; fi
for file in ${PAGES:-README.md docs/*.md}; do
    grep -q '^```sql' "$file" || continue
    try "$file" page "$file"
done
exit $ok
