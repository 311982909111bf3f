#!/bin/bash
# Consumers behind PgBouncer in transaction mode: each statement may run in another session, so worker and token are passed, and nothing
# else is needed. One server connection for two clients: what one of them leaves behind in a session, the other would meet.
# Connects as PGHOST, PGPORT, PGUSER and PGPASSWORD say, and works in a database of its own, MILL_DB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bouncer=$(PATH=$PATH:/usr/sbin command -v pgbouncer) || { echo "pgbouncer: not installed" >&2; exit 1; }
database=${MILL_DB:-millrace_pgbouncer}
"$here/database.sh" "$database"
direct() { psql -qXAt -v ON_ERROR_STOP=1 -d "$database" "$@"; }
direct -o /dev/null <<'SQL'
SELECT mill_test.make_pipeline('p');
SELECT mill_test.seal('p') FROM generate_series(1, 20);
CREATE TABLE mill_test.done (chunk_no bigint, slot integer, rows bigint, worker text);
SELECT millrace.create_consumer('p', 'ordered'), millrace.create_consumer('p', 'pool', mode => 'pool'),
       millrace.create_consumer('p', 'keyed', mode => 'keyed', slots => 3, key => 'amount');
SQL

dir=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=$((PGPORT + 1))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
cat >"$dir/bouncer.ini" <<INI
[databases]
$database = host=$PGHOST port=$PGPORT dbname=$database user=$PGUSER password=${PGPASSWORD:-}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
server_reset_query_always = 0
ignore_startup_parameters = extra_float_digits,options
logfile = $dir/log
INI
run_as=()
if [ "$(id -u)" = 0 ]; then # it refuses to run as root
    chown -R postgres "$dir"
    run_as=(runuser -u postgres --)
fi
"${run_as[@]}" "$bouncer" -q "$dir/bouncer.ini" 2>/dev/null &
pid=$!
through() { psql -qXAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -d "$database" "$@"; }
for _ in $(seq 100); do through -c 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.1; done

# A worker: claim, and in a transaction of its own work and ack.
work() { # work CONSUMER WORKER
    local consumer=$1 worker=$2 claimed chunk token slot
    while :; do
        claimed=$(through -c "SELECT chunk_no, token, slot FROM millrace.next_chunk('p', '$consumer', worker => '$worker')")
        if [ -z "$claimed" ]; then
            [ "$(through -c "SELECT lag_chunks FROM millrace.consumers WHERE consumer = '$consumer'")" != 0 ] || return 0
            sleep 0.02
            continue
        fi
        IFS='|' read -r chunk token slot <<<"$claimed"
        through -c 'BEGIN' -c "INSERT INTO mill_test.done SELECT $chunk, ${slot:-NULL}, count(*), '$consumer' FROM millrace.chunk_rows(NULL::mill_test.p, $chunk, 'p', '$consumer', '$token')" \
            -c "SELECT millrace.ack('p', '$consumer', $chunk, '$token')" -c 'COMMIT' >/dev/null
    done
}
for consumer in ordered pool keyed; do
    work "$consumer" a & first=$!
    work "$consumer" b & second=$!
    wait "$first"
    wait "$second"
done
found=$(direct -c "SELECT worker, count(*), count(DISTINCT chunk_no), sum(rows) FROM mill_test.done GROUP BY worker ORDER BY worker")
expected=$'keyed|60|20|200\nordered|20|20|200\npool|20|20|200'
[ "$found" = "$expected" ] || { printf 'found\n%s\nexpected\n%s\n' "$found" "$expected" >&2; exit 1; }
# Without a token there is only the session, which is anybody's here: passing a worker that is not its holder must not help.
direct -c "SELECT mill_test.seal('p')" >/dev/null
[ -n "$(through -c "SELECT chunk_no FROM millrace.next_chunk('p', 'ordered', worker => 'a')")" ]
[ -z "$(through -c "SELECT chunk_no FROM millrace.next_chunk('p', 'ordered', worker => 'b')")" ]
kill "$pid"
wait "$pid" 2>/dev/null || true
dropdb "$database"
echo 'pgbouncer: ok'
