#!/usr/bin/env python3
"""A worker that bills transactions: takes chunks of a stream, works each in one transaction with its ack, stops when asked to.

worker.py CONNINFO STREAM CONSUMER [--once]

What it shows: the claim is committed before the work, so that a failed attempt is counted; work and ack are one transaction, so that the
work happens exactly once; a heartbeat extends the lease of a long chunk from a connection of its own; SIGTERM and Ctrl-C let the chunk
at hand finish, and a worker that has lost its lease (SQLSTATE MR001, MR002) rolls back and goes on. --once: ends when there is nothing
left to do. Needs psycopg 3. Works behind PgBouncer in transaction mode, because worker and token are passed.
"""
import os
import signal
import socket
import sys
import threading

import psycopg

LOST_LEASE = ("MR001", "MR002")
stop = threading.Event()


def bill(connection, stream, consumer, chunk_no, token):
    """The work itself: plain SQL over the chunk's rows."""
    connection.execute(
        """INSERT INTO billed (chunk_no, customer, amount)
           SELECT %(chunk)s, customer, sum(amount)
             FROM millrace.chunk_rows(NULL::staging.transactions, %(chunk)s, %(stream)s, %(consumer)s, %(token)s)
            GROUP BY customer""",
        {"chunk": chunk_no, "stream": stream, "consumer": consumer, "token": token},
    )


def heartbeat(conninfo, lease, done, every=30):
    """Extends the lease until the work is done; whoever has lost it hears of that from the ack."""
    while not done.wait(every):
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute("SELECT millrace.extend(%s, %s, %s, %s)", lease)
        except psycopg.Error as error:
            print(f"heartbeat: {error}", file=sys.stderr)


def work_one(conninfo, connection, stream, consumer, worker):
    """Takes a chunk, if there is one, and works it. False: there was none."""
    claim = connection.execute(
        "SELECT chunk_no, token FROM millrace.next_chunk(%s, %s, worker => %s)", (stream, consumer, worker)
    ).fetchone()
    if claim is None:
        return False
    lease = (stream, consumer, *claim)
    done = threading.Event()
    beat = threading.Thread(target=heartbeat, args=(conninfo, lease, done), daemon=True)
    beat.start()
    try:
        with connection.transaction():
            bill(connection, *lease)
            connection.execute("SELECT millrace.ack(%s, %s, %s, %s)", lease)
    except psycopg.Error as error:
        if error.sqlstate in LOST_LEASE:
            print(f"chunk {claim[0]} went to another worker", file=sys.stderr)
        else:
            # The work is rolled back; the failure is counted in a transaction of its own.
            connection.execute("SELECT millrace.nack(%s, %s, %s, %s, reason => %s)", (*lease, str(error)))
    finally:
        done.set()
    return True


def main(conninfo, stream, consumer, once):
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    worker = f"{socket.gethostname()}/{os.getpid()}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while not stop.is_set():
            if work_one(conninfo, connection, stream, consumer, worker):
                continue
            if once:
                return
            # Holds no snapshot while it waits; short turns, so that a signal is answered.
            connection.execute("CALL millrace.wait_for_chunk(%s, %s, '1 second')", (stream, consumer))
    print("stopped", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:4], once="--once" in sys.argv[4:])
