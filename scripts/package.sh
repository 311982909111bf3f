#!/usr/bin/env bash
# Makes postgresql-<major>-millrace_<version>-1_<architecture>.deb from what `make install` has installed into the Postgres of PG_CONFIG;
# the last line is its path. The files go where Debian's Postgres of that major version looks for them.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
command -v dpkg-deb >/dev/null || fail "no dpkg-deb: this makes Debian packages"

major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
architecture=$(dpkg --print-architecture)
name=postgresql-$major-millrace
out=${PACKAGE_DIR:-$MILLRACE_CACHE/packages}
library=$("$PG_CONFIG" --pkglibdir)/pg_millrace.so
extensions=$("$PG_CONFIG" --sharedir)/extension
[ -f "$library" ] && [ -f "$extensions/pg_millrace--$version.sql" ] || fail "pg_millrace $version is not installed there; run make install"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
doc=$tree/usr/share/doc/$name
install -D -m 644 -t "$tree/usr/lib/postgresql/$major/lib" "$library"
install -D -m 644 -t "$tree/usr/share/postgresql/$major/extension" "$extensions"/pg_millrace.control "$extensions"/pg_millrace--*.sql
install -D -m 644 -t "$doc" "$ROOT/README.md"
install -D -m 644 "$ROOT/LICENSE" "$doc/copyright"
gzip -9nc "$ROOT/CHANGELOG.md" >"$doc/changelog.gz"
if command -v strip >/dev/null; then strip --strip-unneeded "$tree/usr/lib/postgresql/$major/lib/pg_millrace.so"; fi

# The oldest C library that has every symbol that is used.
libc=$(objdump -T "$library" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
size=$(du -sk "$tree" | cut -f 1)
mkdir -p "$tree/DEBIAN" "$out"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: $name
Version: $version-1
Section: database
Priority: optional
Architecture: $architecture
Maintainer: The developers of pg_millrace <pg_millrace@localhost>
Installed-Size: $size
Depends: postgresql-$major, ca-certificates, libc6${libc:+ (>= $libc)}, libgcc-s1
Suggests: postgresql-$major-cron
Description: exactly-once streaming between a data lake and Postgres
 Files land in a lake; seconds later their clean rows, aggregates over them and a
 cursor for every consumer are in Postgres, exactly once.
 .
 For background workers add pg_millrace to shared_preload_libraries and restart;
 then CREATE EXTENSION pg_millrace in each database that is to have pipelines.
CONTROL
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
package=$out/${name}_$version-1_$architecture.deb
dpkg-deb --build --root-owner-group "$tree" "$package" >&2
echo "$package"
