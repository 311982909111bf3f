#!/usr/bin/env bash
# Promises about upgrades: from each release, ALTER EXTENSION … UPDATE in the middle of the stream gives the very extension that a fresh install
# gives, and every row, lease and aggregate of that release goes on; an update that forgets something is found; a release's script never changes.
#
# A release in releases/ has the script that installs it, and a dump of a database in the middle of its work, made by that release itself.
# Connects as PGHOST, PGPORT and PGUSER (a superuser) say; puts the releases' scripts beside the installed one, and takes them away.
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
put_back=()
finish() {
    trap - EXIT
    dropdb --if-exists --force mr_upgraded
    dropdb --if-exists --force mr_fresh
    local script
    for script in "${put_back[@]}"; do rm -f "$extensions/$script"; done
    if [ -e "$work/update.sql" ]; then cat "$work/update.sql" >"$extensions/$update"; fi
    rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"

# The order in which the files of the schema are installed.
files() { grep -o 'sql/schema/[^"]*\.sql' src/api/schema.rs; }
digest() { psql -Xq -v ON_ERROR_STOP=1 -d "$1" -f $here/digest.sql; }

# restore RELEASE: its database, with the library of today
restore() {
    local directory=$work/landing
    rm -rf "$directory"
    make_server_dir 755 "$directory" "$directory/t" "$directory/k"
    sed -e "s#@landing@#file://$directory#g" -e "s#@directory@#$directory#g" "$here/releases/$1.data.sql" >"$work/restored.sql"
    dropdb --if-exists --force mr_upgraded
    createdb mr_upgraded
    sql -d mr_upgraded -o /dev/null -f "$work/restored.sql"
}
land() { # land SEED: five files of 1,000 transactions, and changes to three keys
    sql -d mr_upgraded -o /dev/null -c "SELECT millrace.simulate('transactions', 'file://$work/landing/t', rows_per_file => 1000, files => 5, seed => $1)"
    printf 'id,n,op\n1,%s,U\n3,0,D\n%s,7,U\n' "$1" "$((100 + $1))" >"$work/$1.csv"
    install -m 644 "$work/$1.csv" "$work/landing/k/.$1"
    mv "$work/landing/k/.$1" "$work/landing/k/$1.csv"
}
# reminded RELEASE: between the installation and the update, whoever misses something is told of the update, and so is who asks the doctor
reminded() {
    local advice="ALTER EXTENSION pg_millrace UPDATE" said
    sql -d mr_upgraded -c "SELECT advice FROM millrace.doctor() WHERE check_name = 'version' AND status = 'error'" | grep -q "^$advice" || fail 'the doctor does not name the update'
    said=$(sql -d mr_upgraded -c "SELECT millrace.create_pipeline('early', source => 'file://$work/landing/t/*.csv', columns => 'a text', staging => 'staging.early')" 2>&1 >/dev/null) || true
    case $1,$said in
    0.1.0,*HINT:*"$advice"*) return ;; # millrace.home is missing there
    0.1.0,*) fail "no hint names the update: $said" ;;
    *,*ERROR*) grep -q "HINT: .*$advice" <<<"$said" || fail "no hint names the update: $said" ;;
    *) sql -d mr_upgraded -o /dev/null -c "SELECT millrace.drop_pipeline('early')" ;;
    esac
}
# from RELEASE: its database, updated while files land; the lines in which the extension differs from a fresh one
from() {
    restore "$1"
    local rows token
    rows=$(sql -d mr_upgraded -c 'SELECT count(*) FROM staging.t')
    token=$(sql -d mr_upgraded -c "SELECT d.token FROM millrace.delivery d JOIN millrace.consumer c ON c.id = d.consumer_id WHERE c.name = 'one' AND d.chunk_no = 2")
    reminded "$1"
    land 7
    sql -d mr_upgraded -c 'ALTER EXTENSION pg_millrace UPDATE'
    land 8
    sql -d mr_upgraded -f pg_test/docs/wait_for.sql -c "CALL docs.wait_for('SELECT count(*) = $rows + 10000 FROM staging.t')" \
        -c "CALL docs.wait_for('SELECT count(*) = 2 FROM staging.k WHERE id IN (107, 108)')" -c 'DROP SCHEMA docs CASCADE'
    [ "$(sql -d mr_upgraded -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_millrace'")" = "$version" ] || fail "the update did not lead to $version"
    local pipeline wrong
    for pipeline in t k; do
        wrong=$(sql -d mr_upgraded -c "SELECT * FROM millrace.verify('$pipeline') WHERE NOT ok")
        [ -z "$wrong" ] || fail "verify finds something after the update: $wrong"
    done
    [ "$(sql -d mr_upgraded -c 'SELECT sum(transactions) FROM staging.merchants')" = "$((rows + 10000))" ] || fail 'an aggregate did not go on'
    [ "$(sql -d mr_upgraded -c "SELECT millrace.ack('t', 'one', 2, '$token')")" = acked ] || fail 'a lease from before the update is gone'
    [ "$(sql -d mr_upgraded -c "SELECT chunk_no FROM millrace.next_chunk('t', 'one')")" = 3 ] || fail 'a consumer did not go on'
    [ "$(sql -d mr_upgraded -c "SELECT chunk_no FROM millrace.next_chunk('t', 'many', worker => 'another')")" -le 2 ] || fail 'a pool did not go on'
    digest mr_upgraded | diff "$work/fresh" -
}

createdb mr_fresh
sql -d mr_fresh -c 'CREATE EXTENSION pg_millrace'
digest mr_fresh >"$work/fresh"
[ "$(wc -l <"$work/fresh")" -gt 500 ] || fail 'the digest sees too little'

releases=()
for script in "$here"/releases/pg_millrace--*.sql; do
    release=${script##*--}
    release=${release%.sql}
    if [ "$release" = "$version" ]; then
        files | xargs cat | cmp -s - "$script" || fail "$version is released: its SQL may not change any more; raise the version, and see releases/README.md"
        continue
    fi
    releases+=("$release")
    put_back+=("pg_millrace--$release.sql")
    cp "$script" "$extensions/pg_millrace--$release.sql"
done
latest=$(printf '%s\n' "${releases[@]}" | sort -V | tail -n 1)
update=pg_millrace--$latest--$version.sql
scripts/update_sql.py "$latest" | diff "sql/$update" - >"$work/diff" || { head -n 30 "$work/diff" >&2; fail "the sources have changed: scripts/update_sql.py $latest >sql/$update"; }
for release in "${releases[@]}"; do
    from "$release" || fail "updated from $release it differs from a fresh one"
    echo "from release $release: ok"
done

# Where the server was not restarted, the library is older than the update: nothing is changed, and a hint says so.
dropdb --if-exists --force mr_upgraded
createdb mr_upgraded
sql -d mr_upgraded -c "CREATE EXTENSION pg_millrace VERSION '$latest'" \
    -c "CREATE OR REPLACE FUNCTION millrace.library_version() RETURNS text LANGUAGE sql AS 'SELECT ''$latest'''"
if said=$(sql -d mr_upgraded -c 'ALTER EXTENSION pg_millrace UPDATE' 2>&1); then fail 'an update goes through with the library of before'; fi
grep -q 'HINT: .*Restart the server' <<<"$said" || fail "no hint names the restart: $said"
echo 'an update without a restart is refused: ok'

# A comment, a right, a column: each one forgotten must show.
cp "$extensions/$update" "$work/update.sql"
for forgotten in 's/^GRANT SELECT ON millrace.durations .*$//' 's/^COMMENT ON VIEW millrace.durations IS$/COMMENT ON VIEW millrace.chunks IS/' 's/ADD COLUMN filled_part jsonb/ADD COLUMN filled_part json/'; do
    sed "$forgotten" "$work/update.sql" >"$extensions/$update"
    ! cmp -s "$work/update.sql" "$extensions/$update" || fail "nothing is forgotten by $forgotten"
    dropdb --if-exists --force mr_upgraded
    createdb mr_upgraded
    sql -d mr_upgraded -c "CREATE EXTENSION pg_millrace VERSION '$latest'" -c 'ALTER EXTENSION pg_millrace UPDATE'
    if digest mr_upgraded | diff -q "$work/fresh" - >/dev/null; then fail "the digest does not see $forgotten"; fi
done
echo 'an update that forgets something is found: ok'
