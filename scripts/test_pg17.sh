#!/usr/bin/env bash
# The end-to-end tests and the SQL suites on Postgres 17, in a Debian trixie of its own below MILLRACE_CACHE, which debootstrap makes once; nothing
# of the machine's own system changes. The extension and the tests are built outside, against the headers inside; TEST_PG17 names parts of
# the end-to-end tests, PG17_PROFILE (release) how the extension is built. Needs root.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
major=17
root=$MILLRACE_CACHE/trixie
packages=(postgresql-17 postgresql-server-dev-17 postgresql-17-cron postgresql-17-pgq3 nodejs python3-venv python3-psycopg python3-yaml pgbouncer openssl ca-certificates procps make)

[ "$(id -u)" = 0 ] || fail 'this needs root: it makes a system of its own to run in'
# What is mounted below is seen by this script alone, and gone with it.
if [ -z "${MILLRACE_OWN_MOUNTS:-}" ]; then MILLRACE_OWN_MOUNTS=yes exec unshare --mount --propagation private "$0" "$@"; fi
scripts/setup.sh
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >&2

if [ "$(cat "$root/.millrace" 2>/dev/null)" != "${packages[*]}" ]; then
    say "Making a Debian trixie with Postgres $major in $root"
    [ -x "$root/usr/bin/apt-get" ] || debootstrap --variant=minbase trixie "$root" >&2
    mkdir -p "$root/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/pg_millrace.conf"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" apt-get update -qq
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
    echo "${packages[*]}" >"$root/.millrace"
fi
mkdir -p "$root$ROOT" "$root$MILLRACE_CACHE/azurite" "$root/opt"
mount --bind "$ROOT" "$root$ROOT"
mount --bind "$MILLRACE_CACHE/azurite" "$root$MILLRACE_CACHE/azurite"
# Real data, where there is any.
shared=${MILLRACE_SHARED:-$ROOT/../shared}
mkdir -p "$root/opt/shared"
if [ -d "$shared" ]; then mount --bind "$shared" "$root/opt/shared"; fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
inside() { chroot "$root" env -C "$ROOT" PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config MILLRACE_CACHE="$MILLRACE_CACHE" MILLRACE_PYTHON=/opt/venv/bin/python MILLRACE_SHARED=/opt/shared "$@"; }
python_packages=$(sed -n 's/^    local want="\(deltalake.*\)"/\1/p' scripts/setup.sh)
if [ "$(cat "$root/opt/venv/.millrace" 2>/dev/null)" != "$python_packages" ]; then
    # Whom this machine trusts, and how it reaches its registry.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    cp /etc/pip.conf "$root/etc/" 2>/dev/null || true
    inside python3 -m venv --clear /opt/venv
    # shellcheck disable=SC2086 # requirements, a word each
    inside /opt/venv/bin/pip install -q --disable-pip-version-check $python_packages >&2
    echo "$python_packages" >"$root/opt/venv/.millrace"
fi

say "Building for Postgres $major"
pg_config=$MILLRACE_CACHE/pg${major}_config
cat >"$pg_config" <<SH
#!/bin/sh
# The pg_config of the other system, its paths as they are seen from here.
chroot '$root' /usr/lib/postgresql/$major/bin/pg_config "\$@" | sed 's#^/usr#$root/usr#'
SH
chmod +x "$pg_config"
profile=${PG17_PROFILE:-release}
PGRX_PG_CONFIG_PATH=$pg_config cargo build --lib --profile "$profile" --no-default-features --features pg$major
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
extensions=$root/usr/share/postgresql/$major/extension
install -m 755 "$CARGO_TARGET_DIR/${profile/#dev/debug}/libpg_millrace.so" "$root/usr/lib/postgresql/$major/lib/pg_millrace.so"
rm -f "$extensions"/pg_millrace*
sed "s/@CARGO_VERSION@/$version/" pg_millrace.control >"$extensions/pg_millrace.control"
grep -o 'sql/schema/[^"]*\.sql' src/api/schema.rs | xargs cat >"$extensions/pg_millrace--$version.sql"
for file in sql/pg_millrace--*--*.sql; do if [ -f "$file" ]; then cp "$file" "$extensions/"; fi; done
cargo test --no-default-features --test e2e --no-run
e2e=$(find "$CARGO_TARGET_DIR/debug/deps" -name 'e2e-*' -executable -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
cp "$e2e" "$root/opt/e2e"

failed=0
say "Testing on $(inside /usr/lib/postgresql/$major/bin/postgres --version)"
# shellcheck disable=SC2086 # words
inside AZURITE="$MILLRACE_CACHE/azurite" /opt/e2e --test-threads="${E2E_THREADS:-2}" ${TEST_PG17:-} || failed=1
if [ -z "${TEST_PG17:-}" ]; then
    inside MILLRACE_HOME=/tmp/pg_millrace-17 AZURITE="$MILLRACE_CACHE/azurite" bash -euo pipefail -c '
        trap "scripts/cluster.sh stop" EXIT
        scripts/cluster.sh start >/dev/null
        eval "$(scripts/cluster.sh env)"
        PATH=$("$PG_CONFIG" --bindir):$PATH
        for suite in aggregates consumers isolation; do
            if [ -x pg_test/$suite/run.sh ]; then pg_test/$suite/run.sh; fi
        done' || failed=1
fi
exit $failed
