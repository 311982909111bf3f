#!/usr/bin/env bash
# A worker that bills transactions, with psql alone: takes chunks of a stream, works each in one transaction with its ack.
#
# worker.sh CONNINFO STREAM CONSUMER [--once]
#
# The claim is committed before the work, so that a failed attempt is counted; work and ack are one transaction, so that the work happens
# exactly once. What fails is given back with its error as reason. SIGTERM and Ctrl-C let the chunk at hand finish. --once: ends when there
# is nothing left to do.
set -uo pipefail
conninfo=$1 stream=$2 consumer=$3 once=${4:-}
worker=$(hostname)/$$
stopping=
trap 'stopping=yes' TERM INT

# SQL from standard input; values come as variables, which psql quotes. In a group of its own: Ctrl-C is for this script to answer.
sql() {
    setsid -w psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -d "$conninfo" -v stream="$stream" -v consumer="$consumer" -v worker="$worker" "$@"
}

while [ -z "$stopping" ]; do
    read -r chunk token < <(sql <<<"SELECT chunk_no, token FROM millrace.next_chunk(:'stream', :'consumer', worker => :'worker')") || true
    if [ -z "${chunk:-}" ]; then
        [ "$once" != --once ] || break
        sql <<<"CALL millrace.wait_for_chunk(:'stream', :'consumer', '1 second')" || sleep 1
        continue
    fi
    if ! error=$(sql -v chunk="$chunk" -v token="$token" --single-transaction -o /dev/null 2>&1 <<'SQL'
INSERT INTO billed (chunk_no, customer, amount)
SELECT :chunk, customer, sum(amount)
  FROM millrace.chunk_rows(NULL::staging.transactions, :chunk, :'stream', :'consumer', :'token') GROUP BY customer;
SELECT millrace.ack(:'stream', :'consumer', :chunk, :'token');
SQL
    ); then
        # Raises once more if the lease went to another worker: then there is nothing to give back.
        sql -v chunk="$chunk" -v token="$token" -v reason="$error" -o /dev/null \
            <<<"SELECT millrace.nack(:'stream', :'consumer', :chunk, :'token', reason => :'reason')" || true
    fi
done
