-- What people and dashboards see of consumers. A token is the right to ack, so only members of millrace_admin see tokens:
-- a worker has got its own from next_chunk, and gets it again by asking again.

CREATE VIEW millrace.consumers AS
SELECT c.stream,
       c.name AS consumer,
       c.mode,
       CASE WHEN c.state = 'active' AND at.halted > 0 THEN 'halted' ELSE c.state END AS state,
       coalesce(c.state_reason, at.halted_reason) AS state_reason,
       -- The stored position stands before chunks that have no rows in this stream until a later chunk is handed out.
       greatest(at.acked_through, coalesce(ahead.first_chunk - 1, least(p.head, c.until_chunk))) AS acked_through,
       p.head,
       ahead.chunks AS lag_chunks,
       ahead.rows AS lag_rows,
       coalesce(greatest(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - oldest.sealed_at), 0), 0)::double precision AS lag_seconds,
       at.epoch,
       open.chunk_no AS open_chunk,
       open.lease_until,
       open.leased_at AS oldest_lease,
       coalesce(open.attempt, 0) AS attempts,
       at.takeovers,
       dead.chunks + dead.parts AS dead,
       at.replay_no,
       c.lease,
       c.max_attempts,
       c.backoff,
       c.max_backoff,
       c.on_poison,
       greatest(at.last_seen, flying.last_leased) AS last_seen,
       c.created_at,
       c.created_by,
       c.claim,
       c.max_in_flight,
       flying.chunks AS in_flight,
       ahead.bytes AS lag_bytes,
       c.blocks AND c.state <> 'expired' AND ahead.chunks > 0 AND at.acked_through <= slowest.acked_through AS blocks_retention,
       c.slots,
       c.key,
       c.next_slots,
       c.blocks,
       c.backfills,
       c.until_chunk
FROM millrace.consumer c
JOIN millrace.position p ON p.pipeline_id = c.pipeline_id
-- A keyed consumer stands where the slot stands that is furthest behind.
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(k.id) AS cursors, pg_catalog.min(k.acked_through) FILTER (WHERE NOT k.retired) AS acked_through, pg_catalog.max(k.epoch) AS epoch,
           pg_catalog.sum(k.takeovers)::bigint AS takeovers, pg_catalog.max(k.replay_no) AS replay_no, pg_catalog.max(k.last_seen) AS last_seen,
           pg_catalog.count(*) FILTER (WHERE k.state = 'halted') AS halted, pg_catalog.max(k.state_reason) FILTER (WHERE k.state = 'halted') AS halted_reason
    FROM millrace.consumer k WHERE k.id = c.id AND c.mode <> 'keyed' OR k.parent_id = c.id
) at
CROSS JOIN LATERAL (
    SELECT pg_catalog.min(k.acked_through) AS acked_through FROM millrace.consumer k
    WHERE k.pipeline_id = c.pipeline_id AND k.mode <> 'keyed' AND NOT k.retired AND k.blocks AND k.state NOT IN ('dropped', 'expired')
) slowest
-- Counted from the indexes chunk_with_rows and chunk_with_rejects alone: what it costs grows with the lag, not with history.
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS chunks, coalesce(pg_catalog.sum(k.n), 0)::bigint AS rows, coalesce(pg_catalog.sum(k.byte_count), 0)::bigint AS bytes,
           pg_catalog.min(k.chunk_no) AS first_chunk
    FROM (
        SELECT r.chunk_no, r.row_count AS n, r.byte_count, r.generation FROM millrace.chunk r
        WHERE c.layer <> 'rejects' AND r.pipeline_id = c.pipeline_id AND r.chunk_no > at.acked_through AND r.row_count > 0
        UNION ALL
        SELECT r.chunk_no, r.reject_count, r.byte_count, r.generation FROM millrace.chunk r
        WHERE c.layer = 'rejects' AND r.pipeline_id = c.pipeline_id AND r.chunk_no > at.acked_through AND r.reject_count > 0
    ) k
    WHERE (c.backfills OR k.generation = 0) AND (c.until_chunk IS NULL OR k.chunk_no <= c.until_chunk) AND NOT EXISTS (
        SELECT FROM millrace.delivery d
        WHERE d.consumer_id = c.id AND d.chunk_no = k.chunk_no AND d.state IN ('acked', 'skipped', 'dead')
    )
) ahead
LEFT JOIN millrace.chunk oldest ON oldest.pipeline_id = c.pipeline_id AND oldest.chunk_no = ahead.first_chunk
LEFT JOIN LATERAL (
    SELECT d.chunk_no, d.leased_at, d.lease_until, d.attempt FROM millrace.delivery d
    WHERE d.consumer_id = ANY (at.cursors) AND d.state IN ('leased', 'retry_wait', 'pending')
    ORDER BY d.state = 'leased' DESC, d.leased_at LIMIT 1
) open ON true
CROSS JOIN LATERAL (
    SELECT (SELECT pg_catalog.count(*) FROM millrace.delivery d WHERE d.consumer_id = ANY (at.cursors) AND d.state = 'dead') AS chunks,
           (SELECT pg_catalog.count(*) FROM millrace.dead_part d WHERE d.consumer_id = ANY (at.cursors)) AS parts
) dead
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS chunks, pg_catalog.max(d.leased_at) AS last_leased FROM millrace.delivery d WHERE d.consumer_id = ANY (at.cursors) AND d.state = 'leased'
) flying
WHERE c.state <> 'dropped' AND c.parent_id IS NULL;
COMMENT ON VIEW millrace.consumers IS
'One row a consumer: where it stands and how far it is behind.
acked_through: nothing up to this chunk is left to do (of a keyed consumer: in no slot). head: last sealed chunk. lag_chunks, lag_rows, lag_bytes: what is not closed yet, the chunk in work included; lag_seconds: age of the oldest such chunk.
open_chunk, lease_until, oldest_lease, attempts: of the chunk in work or waiting for its retry, of several the one leased longest. in_flight, max_in_flight: chunks that are leased, and how many may be. takeovers, dead: leases that ran out and were taken over; chunks, and parts of chunks, set aside.
last_seen: last call that changed something; idle polls leave no trace.
blocks: counts for backpressure and retention. blocks_retention: counts, is behind, and no consumer of the pipeline that counts is further behind: retention waits for it. next_slots: a keyed consumer is draining to change to so many slots.';

CREATE VIEW millrace.consumer_slots AS
SELECT k.stream, k.name AS consumer, k.slot, k.slots, k.retired, k.state, k.state_reason, k.acked_through, k.until_chunk, k.holder AS worker, k.epoch, k.takeovers, k.replay_no, k.last_seen
FROM millrace.consumer k WHERE k.parent_id IS NOT NULL AND k.state <> 'dropped';
COMMENT ON VIEW millrace.consumer_slots IS
'One row a slot of each keyed consumer. retired: a slot of an earlier number of slots that is kept for its dead letters and rejected rows. worker: who has its chunk.';

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
       d.history,
       d.slot,
       d.row_from AS first_row_no,
       d.row_to AS last_row_no,
       d.generation
FROM millrace.delivery d
JOIN millrace.consumer c ON c.id = d.consumer_id
WHERE c.state <> 'dropped';
COMMENT ON VIEW millrace.deliveries IS
'Chunks that were handed out: the open ones, the dead, and of each consumer the latest hundred or so that are acked or skipped.
state: leased, retry_wait (not before visible_at), pending (given back or redriven), acked, skipped, dead. token: shown to members of millrace_admin alone. history: the latest failures. generation: as next_chunk returns it.';

CREATE VIEW millrace.dead_letters AS
SELECT c.stream,
       c.name AS consumer,
       d.chunk_no,
       d.attempts,
       d.replay_no,
       d.worker,
       d.last_error,
       d.history,
       d.died_at,
       c.state = 'dropped' AS consumer_dropped,
       c.slot,
       d.first_row_no,
       d.last_row_no
FROM (
    SELECT d.consumer_id, d.chunk_no, d.attempt AS attempts, d.replay_no, d.worker, d.last_error, d.history, d.closed_at AS died_at,
           NULL::bigint AS first_row_no, NULL::bigint AS last_row_no
    FROM millrace.delivery d WHERE d.state = 'dead'
    UNION ALL
    SELECT p.consumer_id, p.chunk_no, p.attempts, p.replay_no, p.worker, p.last_error, p.history, p.died_at, p.row_from, p.row_to FROM millrace.dead_part p
) d
JOIN millrace.consumer c ON c.id = d.consumer_id;
COMMENT ON VIEW millrace.dead_letters IS
'Chunks that a consumer has set aside after max_attempts, also those of consumers that were dropped since (consumer_dropped). history: their failures. millrace.redrive hands one out again, millrace.skip closes it.
slot: of a keyed consumer. first_row_no, last_row_no: where only a part of a split chunk died. Retention keeps the rows, in the staging table as ever, until the letter is redriven or skipped.';

REVOKE ALL ON millrace.consumers, millrace.consumer_slots, millrace.deliveries, millrace.dead_letters FROM PUBLIC;
GRANT SELECT ON millrace.consumers, millrace.consumer_slots, millrace.deliveries, millrace.dead_letters TO millrace_admin, millrace_consumer, millrace_monitor;
