#!/usr/bin/env bash
# Promises about the package: what it holds and says, and that a Postgres which has nothing else of ours runs from it: a copy of the server
# in an empty prefix, the package unpacked into it, a worker that loads a file. And META.json says what PGXN asks for.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
cd "$ROOT"
unset PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
work=$(mktemp -d /tmp/mr-package-XXXXXX)
chmod 755 "$work"
finish() {
    trap - EXIT
    if [ -f "$work/data/postmaster.pid" ]; then as_server "$bin/pg_ctl" stop -w -m fast -D "$work/data" >/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT
bin=$work/none

python3 - <<'PYTHON'
import json, re, pathlib
meta = json.loads(pathlib.Path("META.json").read_text())
version = re.search(r'^version = "(.*)"', pathlib.Path("Cargo.toml").read_text(), re.M)[1]
for key in ("name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"):
    assert meta.get(key), f"META.json has no {key}"
semver = r"\d+\.\d+\.\d+(-[A-Za-z][0-9A-Za-z-]*)?"
assert re.fullmatch(semver, meta["version"]) and meta["version"] == version, "META.json and Cargo.toml differ in version"
assert meta["meta-spec"]["version"] == "1.0.0" and meta["license"] == "postgresql"
assert meta["release_status"] in ("stable", "testing", "unstable")
for name, provided in meta["provides"].items():
    assert provided["version"] == version and pathlib.Path(provided["file"]).exists() and pathlib.Path(provided["docfile"]).exists(), name
assert all(len(tag) < 256 and "/" not in tag for tag in meta["tags"])
PYTHON
echo 'META.json: ok'

package=$(PACKAGE_DIR=$work scripts/package.sh 2>/dev/null)
major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
[ "$(dpkg-deb -f "$package" Package)" = "postgresql-$major-millrace" ] || fail "the package is not named as Debian does"
for field in Version Architecture Depends Description Maintainer; do [ -n "$(dpkg-deb -f "$package" $field)" ] || fail "no field $field"; done
dpkg-deb -c "$package" | awk '$2 != "root/root" || /-rwxrwxrwx|\/tmp\// { bad = 1 } END { exit bad }' || fail "files of the package belong to somebody"
root=$work/root
dpkg-deb -x "$package" "$root"
(cd "$root" && dpkg-deb -e "$package" "$work/control" && md5sum --quiet -c "$work/control/md5sums")
# The server itself, without the extension that may be installed beside it.
cp -a "/usr/lib/postgresql/$major/." "$root/usr/lib/postgresql/$major/" 2>/dev/null || cp -a "$(dirname "$(bindir)")/." "$root/usr/lib/postgresql/$major/"
mkdir -p "$work/keep"
dpkg-deb -x "$package" "$work/keep"
rm -f "$root/usr/share/postgresql/$major/extension"/pg_millrace*
cp -a "/usr/share/postgresql/$major/." "$root/usr/share/postgresql/$major/"
rm -f "$root/usr/lib/postgresql/$major/lib/pg_millrace.so" "$root/usr/share/postgresql/$major/extension"/pg_millrace*
cp -a "$work/keep/usr/." "$root/usr/"
bin=$root/usr/lib/postgresql/$major/bin
make_server_dir 700 "$work/data"
make_server_dir 755 "$work/socket" "$work/landing"
as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
as_server tee -a "$work/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$work/socket'
shared_preload_libraries = 'pg_millrace'
max_worker_processes = 16
CONF
as_server "$bin/pg_ctl" start -w -t 60 -D "$work/data" -l "$work/socket/log" >/dev/null || { cat "$work/socket/log" >&2; exit 1; }
sql() { "$bin/psql" -XqAt -v ON_ERROR_STOP=1 -h "$work/socket" -U postgres -d postgres "$@"; }
sql -o /dev/null -c 'CREATE EXTENSION pg_millrace' -c 'CREATE SCHEMA staging' \
    -c "SELECT millrace.simulate('transactions', 'file://$work/landing', files => 2)" \
    -c "SELECT millrace.create_pipeline('t', source => 'file://$work/landing/*.csv', columns => 'transaction_id text, amount numeric', staging => 'staging.t')" \
    -f pg_test/docs/wait_for.sql -c "CALL docs.wait_for('SELECT count(*) = 20000 FROM staging.t')"
[ -z "$(sql -c "SELECT * FROM millrace.verify('t') WHERE NOT ok")" ] || fail 'verify finds something'
[ "$(sql -c "SELECT status FROM millrace.doctor() WHERE check_name IN ('version', 'preload', 'launcher', 'worker')" | sort -u)" = ok ] || fail 'the doctor finds something'
echo 'package: ok'
