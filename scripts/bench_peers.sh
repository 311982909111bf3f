#!/usr/bin/env bash
# pg_millrace beside Spark (JDBC), deltalake with ADBC, and COPY, in one run: a table and benches/peers.json. PEERS_FILES (300) files of
# 10,000 rows, PEERS_RUNS (3). Takes about half an hour. Needs Java, and installs PySpark and the others into an environment of their own.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

command -v java >/dev/null || fail "Spark needs Java: apt-get install openjdk-17-jre-headless"
export JDBC_JAR=${JDBC_JAR:-/usr/share/java/postgresql.jar}
if [ ! -f "$JDBC_JAR" ]; then
    [ "$(id -u)" = 0 ] || fail "Spark needs the JDBC driver: apt-get install libpostgresql-jdbc-java, or JDBC_JAR"
    apt-get install -yqq libpostgresql-jdbc-java >/dev/null
fi
venv=$MILLRACE_CACHE/peers
want="pyspark==3.5.7 deltalake==1.6.6 pyarrow==26.0.1 adbc-driver-postgresql==1.13.0 psycopg[binary]==3.2.13"
if [ "$(cat "$venv/wanted" 2>/dev/null)" != "$want" ]; then
    say "Installing PySpark, deltalake and ADBC into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/pip" install --quiet --disable-pip-version-check $want
    echo "$want" >"$venv/wanted"
fi

borrow_server

dir=$MILLRACE_HOME/peers
rm -rf "$dir"
make_server_dir 777 "$dir"
admin=$("$ROOT/scripts/cluster.sh" uri postgres)
PGURL=$("$ROOT/scripts/cluster.sh" uri millrace_peers)
"$(bindir)/psql" -Xq "$admin" -c 'DROP DATABASE IF EXISTS millrace_peers WITH (FORCE)' -c 'CREATE DATABASE millrace_peers' 2>/dev/null
"$(bindir)/psql" -Xq "$PGURL" -o /dev/null -c 'CREATE EXTENSION pg_millrace' -c 'CREATE SCHEMA staging'
# postgresql://user:password@host:port/database, as JDBC wants it.
JDBC_URL=$(sed -E 's|^postgresql://([^:]+):([^@]+)@([^/]+)/(.*)$|jdbc:postgresql://\3/\4?user=\1\&password=\2|' <<<"$PGURL")
export PGURL JDBC_URL
"$venv/bin/python" "$ROOT/benches/peers/peers.py" "$dir" "${PEERS_OUT:-$ROOT/benches/peers.json}"
"$(bindir)/psql" -Xq "$admin" -c 'DROP DATABASE millrace_peers WITH (FORCE)'
