-- What people and dashboards see of consumers. A token is the right to ack, so only members of millrace_admin see tokens:
-- a worker has got its own from next_chunk, and gets it again by asking again.

CREATE VIEW millrace.consumers AS
SELECT c.stream,
       c.name AS consumer,
       c.mode,
       c.state,
       c.state_reason,
       -- The stored position stands before chunks that have no rows in this stream until a later chunk is handed out.
       greatest(c.acked_through, coalesce(ahead.first_chunk - 1, p.head)) AS acked_through,
       p.head,
       ahead.chunks AS lag_chunks,
       ahead.rows AS lag_rows,
       coalesce(greatest(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - oldest.sealed_at), 0), 0)::double precision AS lag_seconds,
       c.epoch,
       open.chunk_no AS open_chunk,
       open.lease_until,
       open.leased_at AS oldest_lease,
       coalesce(open.attempt, 0) AS attempts,
       c.takeovers,
       dead.chunks AS dead,
       c.replay_no,
       c.lease,
       c.max_attempts,
       c.backoff,
       c.max_backoff,
       c.on_poison,
       greatest(c.last_seen, flying.last_leased) AS last_seen,
       c.created_at,
       c.created_by,
       c.claim,
       c.max_in_flight,
       flying.chunks AS in_flight
FROM millrace.consumer c
JOIN millrace.position p ON p.pipeline_id = c.pipeline_id
-- Counted from the indexes chunk_with_rows and chunk_with_rejects alone: what it costs grows with the lag, not with history.
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS chunks, coalesce(pg_catalog.sum(k.n), 0)::bigint AS rows, pg_catalog.min(k.chunk_no) AS first_chunk
    FROM (
        SELECT r.chunk_no, r.row_count AS n FROM millrace.chunk r
        WHERE c.layer = 'rows' AND r.pipeline_id = c.pipeline_id AND r.chunk_no > c.acked_through AND r.row_count > 0
        UNION ALL
        SELECT r.chunk_no, r.reject_count FROM millrace.chunk r
        WHERE c.layer = 'rejects' AND r.pipeline_id = c.pipeline_id AND r.chunk_no > c.acked_through AND r.reject_count > 0
    ) k
    WHERE NOT EXISTS (
        SELECT FROM millrace.delivery d
        WHERE d.consumer_id = c.id AND d.chunk_no = k.chunk_no AND d.state IN ('acked', 'skipped', 'dead')
    )
) ahead
LEFT JOIN millrace.chunk oldest ON oldest.pipeline_id = c.pipeline_id AND oldest.chunk_no = ahead.first_chunk
LEFT JOIN LATERAL (
    SELECT d.chunk_no, d.leased_at, d.lease_until, d.attempt FROM millrace.delivery d
    WHERE d.consumer_id = c.id AND d.state IN ('leased', 'retry_wait', 'pending')
    ORDER BY d.state = 'leased' DESC, d.leased_at LIMIT 1
) open ON true
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS chunks FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.state = 'dead'
) dead
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS chunks, pg_catalog.max(d.leased_at) AS last_leased FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.state = 'leased'
) flying
WHERE c.state <> 'dropped';
COMMENT ON VIEW millrace.consumers IS
'One row a consumer: where it stands and how far it is behind.
acked_through: nothing up to this chunk is left to do. head: last sealed chunk. lag_chunks, lag_rows: what is not closed yet, the chunk in work included; lag_seconds: age of the oldest such chunk.
open_chunk, lease_until, oldest_lease, attempts: of the chunk in work or waiting for its retry, of several the one leased longest. in_flight, max_in_flight: chunks that are leased, and how many may be. takeovers, dead: leases that ran out and were taken over; chunks set aside.
last_seen: last call that changed something; idle polls leave no trace.';

CREATE VIEW millrace.deliveries AS
SELECT c.stream,
       c.name AS consumer,
       d.chunk_no,
       d.state,
       d.worker,
       CASE WHEN pg_catalog.pg_has_role(CURRENT_USER, 'millrace_admin', 'USAGE') THEN d.token END AS token,
       d.epoch,
       d.attempt,
       d.replay_no,
       d.takeovers,
       d.handed_out,
       d.leased_at,
       d.lease_until,
       d.visible_at,
       d.closed_at,
       d.last_error,
       d.history
FROM millrace.delivery d
JOIN millrace.consumer c ON c.id = d.consumer_id
WHERE c.state <> 'dropped';
COMMENT ON VIEW millrace.deliveries IS
'Chunks that were handed out: the open ones, the dead, and of each consumer the latest hundred or so that are acked or skipped.
state: leased, retry_wait (not before visible_at), pending (given back or redriven), acked, skipped, dead. token: shown to members of millrace_admin alone. history: the latest failures.';

CREATE VIEW millrace.dead_letters AS
SELECT c.stream,
       c.name AS consumer,
       d.chunk_no,
       d.attempt AS attempts,
       d.replay_no,
       d.worker,
       d.last_error,
       d.history,
       d.closed_at AS died_at,
       c.state = 'dropped' AS consumer_dropped
FROM millrace.delivery d
JOIN millrace.consumer c ON c.id = d.consumer_id
WHERE d.state = 'dead';
COMMENT ON VIEW millrace.dead_letters IS
'Chunks that a consumer has set aside after max_attempts, also those of consumers that were dropped since (consumer_dropped). millrace.redrive hands one out again, millrace.skip closes it.';

REVOKE ALL ON millrace.consumers, millrace.deliveries, millrace.dead_letters FROM PUBLIC;
GRANT SELECT ON millrace.consumers, millrace.deliveries, millrace.dead_letters TO millrace_admin, millrace_consumer, millrace_monitor;
