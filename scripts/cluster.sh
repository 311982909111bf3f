#!/usr/bin/env bash
# The private server: `cluster.sh start | stop | status | uri [DATABASE] | env | psql [DATABASE]`.
# start finds it running or starts it, with the extension in database millrace, and prints the URI as its last line.
# Local connections come through a directory that only the server's user may enter; TCP is loopback with a password.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

data=$MILLRACE_HOME/data
socket=$MILLRACE_HOME/socket
log=$MILLRACE_HOME/log/server.log
password_file=$MILLRACE_HOME/password
bin=$(bindir 2>/dev/null) || fail "no Postgres at $PG_CONFIG; run make install, or set PG_CONFIG"

running() { as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1; }
port() { cat "$MILLRACE_HOME/port"; }
password() { cat "$password_file"; }
uri() { echo "postgresql://postgres:$(password)@127.0.0.1:$(port)/${1:-millrace}"; }
sql() { # sql DATABASE ARGS…
    local database=$1
    shift
    PGPASSWORD=$(password) PGOPTIONS='-c client_min_messages=warning' "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(port)" -U postgres -d "$database" "$@"
}

# Ask the kernel for a free port by trying to connect: nobody answers on a free one.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((RANDOM % 20000 + 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    fail "found no free port between 20000 and 40000"
}

create() {
    say "Creating a private server in $data"
    [ -f "$password_file" ] || (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$password_file")
    [ -f "$MILLRACE_HOME/port" ] || free_port >"$MILLRACE_HOME/port"
    as_server "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
    as_server tee "$data/pg_hba.conf" >/dev/null <<HBA
local all all               trust
host  all all 127.0.0.1/32  scram-sha-256
HBA
    as_server tee -a "$data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $(port)
unix_socket_directories = '$socket'
shared_preload_libraries = 'pg_millrace,pg_cron'
cron.database_name = 'millrace'
cron.host = '$socket'
max_worker_processes = 32
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
log_line_prefix = '%m [%p] %b '
CONF
}

launch() {
    # Without stdin and stdout of ours: a caller that reads our output to its end must not wait for the server's.
    as_server "$bin/pg_ctl" start -w -t 60 -D "$data" -l "$log" -o "${1:-}" </dev/null >/dev/null 2>&1 9>&- ||
        { tail -n 20 "$log" >&2; fail "the server did not start; its log is $log"; }
}

# What is installed now, in one word each: the library that a running server has loaded, the SQL that a database was made with.
library_hash() { sha256sum <"$("$PG_CONFIG" --pkglibdir)/pg_millrace.so"; }
script_hash() { cat "$("$PG_CONFIG" --sharedir)"/extension/pg_millrace* | sha256sum; }

start() {
    make_home
    exec 9>"$MILLRACE_HOME/lock"
    flock 9 # two starts at once: the second finds what the first has made
    make_server_dir 700 "$socket" "$MILLRACE_HOME/log"
    make_server_dir 755 "$MILLRACE_HOME/landing" "$MILLRACE_HOME/lake"
    local fresh=
    if ! as_server test -f "$data/PG_VERSION"; then
        make_server_dir 700 "$data"
        create
        fresh=yes
    fi
    if running && [ "$(cat "$MILLRACE_HOME/loaded" 2>/dev/null)" != "$(library_hash)" ]; then
        say "The library has changed since the server started: restarting it"
        stop
    fi
    if ! running; then
        say "Starting the private server on port $(port)"
        if [ -n "$fresh" ]; then
            # pg_cron looks for its database at start, so this one has to be there before the preloaded start.
            launch "-c shared_preload_libraries= -c listen_addresses="
            as_server "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$socket" -p "$(port)" -U postgres -d postgres <<<"
                ALTER ROLE postgres PASSWORD '$(password)';
                CREATE DATABASE millrace;"
            as_server "$bin/pg_ctl" stop -w -m fast -D "$data" >/dev/null
        fi
        launch
        library_hash >"$MILLRACE_HOME/loaded"
    fi
    if [ "$(cat "$MILLRACE_HOME/created" 2>/dev/null)" != "$(script_hash)" ]; then
        if [ "$(sql postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'millrace'")" = 1 ] &&
            [ "$(sql millrace -c "SELECT count(*) FROM pg_extension WHERE extname = 'pg_millrace'")" = 1 ]; then
            say "The extension's SQL has changed since it was created: dropping and creating it in database millrace"
            sql millrace -c 'DROP EXTENSION pg_millrace CASCADE'
        fi
        sql millrace -c 'CREATE EXTENSION IF NOT EXISTS pg_cron' -c 'CREATE EXTENSION pg_millrace'
        script_hash >"$MILLRACE_HOME/created"
    fi
    uri
}
stop() {
    if running; then
        as_server "$bin/pg_ctl" stop -w -m fast -D "$data" >/dev/null
        say "Stopped the private server"
    fi
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    status) if running; then uri; else echo 'not running'; exit 3; fi ;;
    uri) shift; uri "$@" ;;
    env) echo "export PGHOST=127.0.0.1 PGPORT=$(port) PGUSER=postgres PGPASSWORD=$(password)" ;;
    psql)
        shift
        running || start >/dev/null
        exec "$bin/psql" "$(uri "$@")"
        ;;
    *) fail "usage: cluster.sh start | stop | status | uri [DATABASE] | env | psql [DATABASE]" ;;
esac
