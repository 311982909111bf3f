#!/usr/bin/env bash
# Promises about upgrades: from each release, ALTER EXTENSION … UPDATE in the middle of the stream gives the very extension that a fresh install
# gives, and every row stays; a release's script, once it is kept in releases/, never changes.
#
# Before the first release the chain is empty, so the mechanism is tested with a version of its own: an older one made from today's script by
# leaving out the last files, and the update that adds them. That an update which forgets something is found is tested too.
# Connects as PGHOST, PGPORT and PGUSER (a superuser) say; puts scripts of versions named test… beside the installed one, and takes them away.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
here=pg_test/upgrade
extensions=$("$PG_CONFIG" --sharedir)/extension
[ -w "$extensions" ] || fail "$extensions can't be written to: run as somebody who can"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d /tmp/mr-upgrade-XXXXXX)
export PGOPTIONS='-c client_min_messages=warning'
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
finish() {
    trap - EXIT
    dropdb --if-exists --force mr_upgraded
    dropdb --if-exists --force mr_fresh
    rm -rf "$work" "$extensions"/pg_millrace--test*.sql
}
trap finish EXIT
chmod 755 "$work"

# The order in which the files of the schema are installed.
files() { grep -o 'sql/schema/[^"]*\.sql' src/api/schema.rs; }
digest() { psql -Xq -v ON_ERROR_STOP=1 -d "$1" -f $here/digest.sql; }

# from VERSION: an extension of that version, with data, updated while it loads; the lines in which it differs from a fresh one
from() {
    local landing=$work/landing-$1
    make_server_dir 755 "$landing"
    dropdb --if-exists --force mr_upgraded
    createdb mr_upgraded
    sql -d mr_upgraded -o /dev/null -c "CREATE EXTENSION pg_millrace VERSION '$1'" -c 'CREATE SCHEMA staging' \
        -c "SELECT millrace.simulate('transactions', 'file://$landing', rows_per_file => 1000, files => 3)" \
        -c "SELECT millrace.create_pipeline('t', source => 'file://$landing/*.csv', columns => 'transaction_id text, amount numeric', staging => 'staging.t', every => NULL, options => '{\"max_files_per_chunk\": 1}')" \
        -c "CALL millrace.run('t')" -c "SELECT millrace.create_consumer('t', 'c', start_at => 'earliest')"
    local token
    token=$(sql -d mr_upgraded -c "SELECT token FROM millrace.next_chunk('t', 'c')")
    sql -d mr_upgraded -o /dev/null -c "SELECT millrace.alter_pipeline('t', every => '50 ms')"
    sql -d mr_upgraded -o /dev/null -c "SELECT millrace.simulate('transactions', 'file://$landing', rows_per_file => 1000, files => 20, seed => 7)"
    sql -d mr_upgraded -c 'ALTER EXTENSION pg_millrace UPDATE'
    sql -d mr_upgraded -f pg_test/docs/wait_for.sql -c "CALL docs.wait_for('SELECT count(*) = 23000 FROM staging.t')" -c 'DROP SCHEMA docs CASCADE'
    [ "$(sql -d mr_upgraded -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_millrace'")" = "$version" ] || fail "the update did not lead to $version"
    [ -z "$(sql -d mr_upgraded -c "SELECT * FROM millrace.verify('t') WHERE NOT ok")" ] || fail 'verify finds something after the update'
    [ "$(sql -d mr_upgraded -c "SELECT millrace.ack('t', 'c', 1, '$token')")" = acked ] || fail 'a lease from before the update is gone'
    digest mr_upgraded | diff "$work/fresh" -
}

createdb mr_fresh
sql -d mr_fresh -c 'CREATE EXTENSION pg_millrace'
digest mr_fresh >"$work/fresh"
[ "$(wc -l <"$work/fresh")" -gt 500 ] || fail 'the digest sees too little'

# The mechanism: what the files of the reports add is what an update has to add.
later='sql/schema/5[2-4]_'
files | grep -v "$later" | xargs cat >"$extensions/pg_millrace--test1.sql"
files | grep "$later" | xargs cat >"$extensions/pg_millrace--test1--$version.sql"
from test1 || fail 'an updated extension differs from a fresh one'
echo 'an update gives what a fresh install gives: ok'

# A comment, a right, a column: each one forgotten must show.
files | grep "$later" | xargs cat >"$work/update"
for forgotten in 's/^GRANT SELECT ON millrace.progress.*$//' "s/^COMMENT ON VIEW millrace.progress IS\$/COMMENT ON VIEW millrace.chunks IS/" 's/       s.retry_at$/       s.retry_at AS again_at/'; do
    sed "$forgotten" "$work/update" >"$extensions/pg_millrace--test1--$version.sql"
    ! cmp -s "$work/update" "$extensions/pg_millrace--test1--$version.sql" || fail "nothing is forgotten by $forgotten"
    dropdb --if-exists --force mr_upgraded
    createdb mr_upgraded
    sql -d mr_upgraded -c "CREATE EXTENSION pg_millrace VERSION 'test1'" -c 'ALTER EXTENSION pg_millrace UPDATE'
    if digest mr_upgraded | diff -q "$work/fresh" - >/dev/null; then fail "the digest does not see $forgotten"; fi
done
echo 'an update that forgets something is found: ok'
rm -f "$extensions"/pg_millrace--test*.sql

# The releases: each leads here.
for script in "$here"/releases/pg_millrace--*.sql; do
    [ -e "$script" ] || continue
    release=${script##*--}
    release=${release%.sql}
    if [ "$release" = "$version" ]; then
        files | xargs cat | cmp -s - "$script" || fail "$version is released: its SQL may not change any more; raise the version and write sql/pg_millrace--$version--….sql"
    else
        cp "$script" "$extensions/pg_millrace--$release.sql"
        from "$release" || fail "updated from $release it differs from a fresh one"
        rm -f "$extensions/pg_millrace--$release.sql"
    fi
    echo "release $release: ok"
done
