-- What a worker says about the chunk it has: ack, nack, release, extend.
--
-- Each checks stream, consumer, chunk and token together, under the consumer's row lock (of a pool: the delivery's). Whoever has lost the lease gets an
-- error, never a friendly answer: the error is what makes the loser's transaction roll back, so that work done twice
-- commits once. A lease that has run out is still good while nobody has taken the chunk over.

CREATE FUNCTION millrace._lock_to_answer(stream text, consumer text, chunk_no bigint, token uuid) RETURNS millrace.consumer
LANGUAGE plpgsql
AS $$
DECLARE
    c millrace.consumer;
BEGIN
    SELECT k.* INTO c FROM millrace.consumer k
    WHERE k.stream = _lock_to_answer.stream AND k.name = _lock_to_answer.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL AND k.mode = 'ordered'
    FOR UPDATE;
    IF NOT FOUND THEN
        SELECT k.* INTO c FROM millrace.consumer k
        WHERE k.stream = _lock_to_answer.stream AND k.name = _lock_to_answer.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
        c := CASE WHEN c.mode = 'keyed' THEN millrace._slot_to_answer(c, chunk_no, token) ELSE millrace._pool_enter(stream, consumer) END;
    END IF;
    PERFORM millrace._may_consume(c.pipeline_id, c.stream);
    RETURN c;
END
$$;
COMMENT ON FUNCTION millrace._lock_to_answer(text, text, bigint, uuid) IS
    'Internal. The consumer, for one who answers for a chunk: its row, or that of the slot that has the chunk, is locked; of a pool, only those are kept out who change the whole of it.';
REVOKE ALL ON FUNCTION millrace._lock_to_answer(text, text, bigint, uuid) FROM PUBLIC;

CREATE FUNCTION millrace._answered(c millrace.consumer, gives_back boolean) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF c.mode = 'pool' THEN
        PERFORM millrace._pool_settle(c.id);
    ELSE
        UPDATE millrace.consumer k SET last_seen = pg_catalog.clock_timestamp(), holder = CASE WHEN NOT gives_back THEN k.holder END WHERE k.id = c.id;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._answered(millrace.consumer, boolean) IS
    'Internal. Notes that a worker has answered, where its chunk stays open. gives_back: it has the chunk no more.';
REVOKE ALL ON FUNCTION millrace._answered(millrace.consumer, boolean) FROM PUBLIC;

CREATE FUNCTION millrace._leased(c millrace.consumer, chunk_no bigint, token uuid) RETURNS millrace.delivery
LANGUAGE plpgsql
AS $$
DECLARE
    d       millrace.delivery;
    session text;
    known   boolean;
BEGIN
    IF chunk_no IS NULL THEN
        PERFORM millrace._refuse_null('chunk_no', true);
    END IF;
    session := CASE WHEN token IS NULL THEN millrace._this_session() END;
    SELECT k.* INTO d FROM millrace.delivery k WHERE k.consumer_id = c.id AND k.chunk_no = _leased.chunk_no;
    -- A lease that is lost does not come back: who has lost it is told without waiting for whoever is at the delivery now.
    IF c.mode = 'pool' AND (d.state = 'leased' AND (token = d.token OR session = d.session)) THEN
        SELECT k.* INTO d FROM millrace.delivery k WHERE k.consumer_id = c.id AND k.chunk_no = _leased.chunk_no FOR UPDATE;
    END IF;
    IF d.chunk_no IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'MR002',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" is not leased to consumer "%s"', chunk_no, c.stream, c.name),
            DETAIL = 'It was never handed out, or it was closed long ago.',
            HINT = 'Only a chunk that next_chunk has returned can be answered. Roll back.';
    END IF;

    IF token = d.acked_token THEN
        -- A part of a split chunk; the chunk itself goes on.
        d.state := 'acked';
        RETURN d;
    END IF;
    IF token = d.token OR session = d.session THEN
        IF d.state IN ('leased', 'acked') THEN
            RETURN d;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'MR002',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" is not leased to consumer "%s" any more', chunk_no, c.stream, c.name),
            DETAIL = pg_catalog.format('The lease was given back; the delivery''s state is %s.', d.state),
            HINT = 'Roll back, and call next_chunk to go on.';
    END IF;

    -- Without a token, tell who has lost the lease from who never had it.
    known := token IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(d.history) h WHERE h ->> 'session' = session);
    IF known THEN
        RAISE EXCEPTION USING ERRCODE = 'MR001',
            MESSAGE = pg_catalog.format('stale lease on chunk %s of stream "%s" for consumer "%s"', chunk_no, c.stream, c.name),
            DETAIL = pg_catalog.format('The lease was lost, or never was. Attempt %s went to worker "%s"; the delivery''s state is %s.', d.attempt, d.worker, d.state),
            HINT = 'Roll back: the work on this chunk is not yours any more. Then call next_chunk. If chunks take longer than the lease, call extend while at work.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'MR002',
        MESSAGE = pg_catalog.format('this session has no lease on chunk %s of stream "%s" for consumer "%s"', chunk_no, c.stream, c.name),
        DETAIL = pg_catalog.format('Attempt %s went to worker "%s"; the delivery''s state is %s.', d.attempt, d.worker, d.state),
        HINT = 'If another session called next_chunk for this worker, pass the token that it got.';
END
$$;
COMMENT ON FUNCTION millrace._leased(millrace.consumer, bigint, uuid) IS
    'Internal. The delivery that the caller''s token (NULL: session) holds or has acked; raises MR001 where the lease was lost, MR002 where there is none.';
REVOKE ALL ON FUNCTION millrace._leased(millrace.consumer, bigint, uuid) FROM PUBLIC;

CREATE FUNCTION millrace._held(c millrace.consumer, chunk_no bigint, token uuid) RETURNS millrace.delivery
LANGUAGE plpgsql
AS $$
DECLARE
    d millrace.delivery;
BEGIN
    d := millrace._leased(c, chunk_no, token);
    IF d.state = 'acked' THEN
        RAISE EXCEPTION USING ERRCODE = 'MR002',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" is acked by consumer "%s" already', chunk_no, c.stream, c.name),
            DETAIL = pg_catalog.format('This lease acked it at %s.', d.closed_at),
            HINT = 'An ack is final; millrace.seek hands chunks out again.';
    END IF;
    RETURN d;
END
$$;
COMMENT ON FUNCTION millrace._held(millrace.consumer, bigint, uuid) IS
    'Internal. As _leased, but raises MR002 also for a chunk that the caller has acked.';
REVOKE ALL ON FUNCTION millrace._held(millrace.consumer, bigint, uuid) FROM PUBLIC;

CREATE FUNCTION millrace._closed(c millrace.consumer, closed bigint, was_open boolean) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    -- Ordered: an open delivery after the cursor is of the very chunk that is next. A chunk skipped before it was handed
    -- out moves nothing: it is passed over when its turn comes.
    through bigint := CASE WHEN was_open THEN greatest(c.acked_through, closed) ELSE c.acked_through END;
    behind  boolean := closed <= c.acked_through;
    mark    bigint := least(c.purged_through, closed - 1);
    kept    integer := c.closed_kept + 1;
    gone    integer;
    last    bigint;
BEGIN
    -- The latest hundred stay, for repeated acks to be known by; older ones go in bounded steps, so that no ack pays for
    -- many. A redriven chunk that closes is older than the others and would go at once: it stays, but where many of them close.
    IF kept >= (CASE WHEN behind THEN 300 ELSE 164 END) THEN
        WITH oldest AS (
            SELECT d.chunk_no FROM millrace.delivery d
            WHERE d.consumer_id = c.id AND d.chunk_no > mark AND d.chunk_no <= through AND d.chunk_no <> closed AND d.state IN ('acked', 'skipped')
            ORDER BY d.chunk_no LIMIT 64
        ), purged AS (
            DELETE FROM millrace.delivery d USING oldest o
            WHERE d.consumer_id = c.id AND d.chunk_no = o.chunk_no RETURNING d.chunk_no
        )
        SELECT pg_catalog.count(*), pg_catalog.max(p.chunk_no) INTO gone, last FROM purged p;
        kept := kept - gone;
        mark := CASE WHEN last > closed THEN closed - 1 ELSE greatest(mark, last) END;
    END IF;
    UPDATE millrace.consumer k
    SET acked_through = through, closed_kept = kept, purged_through = mark, last_seen = pg_catalog.clock_timestamp(), holder = NULL,
        redriven = k.redriven - CASE WHEN was_open AND behind THEN 1 ELSE 0 END
    WHERE k.id = c.id;
END
$$;
COMMENT ON FUNCTION millrace._closed(millrace.consumer, bigint, boolean) IS
    'Internal. Moves the cursor over a chunk whose delivery was just acked or skipped, and purges the oldest closed ones. was_open: it was leased, pending or waiting for its retry before.';
REVOKE ALL ON FUNCTION millrace._closed(millrace.consumer, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION millrace._ack(stream text, consumer text, chunk_no bigint, token uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    c millrace.consumer;
    d millrace.delivery;
BEGIN
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    d := millrace._leased(c, chunk_no, token);
    IF d.state = 'acked' THEN
        RETURN 'already_acked';
    END IF;
    IF d.row_to < d.rows_end THEN
        d.state := 'acked';
        PERFORM millrace._next_part(d);
        PERFORM millrace._answered(c, true);
        RETURN 'acked';
    END IF;
    UPDATE millrace.delivery u SET state = 'acked', closed_at = pg_catalog.clock_timestamp()
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    IF c.mode = 'pool' THEN
        PERFORM millrace._pool_settle(c.id);
    ELSE
        PERFORM millrace._closed(c, d.chunk_no, true);
    END IF;
    RETURN 'acked';
END
$$;
COMMENT ON FUNCTION millrace._ack(text, text, bigint, uuid) IS 'Internal. ack, whatever there is to be done: as ack.';
REVOKE ALL ON FUNCTION millrace._ack(text, text, bigint, uuid) FROM PUBLIC;

-- Nearly every ack is of the chunk that is next for an ordered consumer: that is done without a statement. The rest asks _ack.
CREATE FUNCTION millrace.ack(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ack_wrapper';
COMMENT ON FUNCTION millrace.ack(text, text, bigint, uuid) IS
'Says that a chunk is done; the consumer moves on. In one transaction with the work it makes the work happen exactly once.
stream, consumer, chunk_no: what is done.
token: as next_chunk returned it; NULL: the lease of this session.
Returns acked, or already_acked if this very lease has acked before.
Raises MR001 if another worker has taken the chunk over (also if that one has acked it), MR002 if the chunk is not leased: in both cases roll the work back.';
REVOKE ALL ON FUNCTION millrace.ack(text, text, bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.ack(text, text, bigint, uuid) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.nack(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL, delay interval DEFAULT NULL, reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c     millrace.consumer;
    d     millrace.delivery;
    why   text := pg_catalog.left(coalesce(reason, 'nack without a reason'), 4000);
    pause interval := delay;
BEGIN
    IF delay < interval '0' THEN
        PERFORM millrace._refuse_argument('delay', 'must not be negative', 'Leave it out to use the consumer''s backoff.');
    END IF;
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    IF c.claim = 'tx' AND token IS NULL THEN
        PERFORM millrace._claim_to_fail(c, chunk_no);
    END IF;
    d := millrace._held(c, chunk_no, token);

    IF d.attempt >= c.max_attempts THEN
        c := millrace._poison(c, d, 'nack', why, false);
        RETURN CASE c.state WHEN 'halted' THEN 'halted' ELSE 'dead' END;
    END IF;

    IF pause IS NULL THEN
        -- In seconds, as a double: doubling an interval runs out of range after some tens of attempts.
        pause := least(EXTRACT(epoch FROM c.backoff)::double precision * pg_catalog.power(2::double precision, least(d.attempt - 1, 40)),
                       EXTRACT(epoch FROM greatest(c.max_backoff, c.backoff))::double precision) * interval '1 second';
    END IF;
    UPDATE millrace.delivery u
    SET state = 'retry_wait', lease_until = NULL, visible_at = pg_catalog.clock_timestamp() + pause,
        last_error = why, history = millrace._with_failure(u.history, 'nack', u, why)
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    PERFORM millrace._answered(c, true);
    RETURN 'retry_wait';
END
$$;
COMMENT ON FUNCTION millrace.nack(text, text, bigint, uuid, interval, text) IS
'Says that a chunk has failed: it is handed out again after a while, before any later chunk.
stream, consumer, chunk_no, token: as for ack.
delay: how long to wait before the next attempt; NULL: the consumer''s backoff, doubled with each attempt.
reason: kept with the delivery, for people.
Returns retry_wait; or, if this was the last of max_attempts, dead (set aside, see millrace.dead_letters) or halted, as the consumer''s on_poison says.
Roll the chunk''s work back first, and call this in a transaction of its own. Of a consumer of claim => ''tx'', whose claim was rolled back with the work, it takes a chunk without token that next_chunk would hand out now, and counts the attempt. Raises MR001 and MR002 as ack does.';
REVOKE ALL ON FUNCTION millrace.nack(text, text, bigint, uuid, interval, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.nack(text, text, bigint, uuid, interval, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.release(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c millrace.consumer;
    d millrace.delivery;
BEGIN
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    d := millrace._held(c, chunk_no, token);
    UPDATE millrace.delivery u SET state = 'pending', attempt = u.attempt - 1, lease_until = NULL
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    PERFORM millrace._answered(c, true);
    RETURN 'released';
END
$$;
COMMENT ON FUNCTION millrace.release(text, text, bigint, uuid) IS
'Gives a chunk back unworked, as in an orderly shutdown: the next worker that asks gets it at once, and no attempt is charged.
stream, consumer, chunk_no, token: as for ack.
Returns released. Raises MR001 and MR002 as ack does.';
REVOKE ALL ON FUNCTION millrace.release(text, text, bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.release(text, text, bigint, uuid) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.extend(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL, lease interval DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c     millrace.consumer;
    d     millrace.delivery;
    until timestamptz;
BEGIN
    IF lease <= interval '0' THEN
        PERFORM millrace._refuse_argument('lease', 'must be longer than nothing', 'To give the chunk back, use millrace.release.');
    END IF;
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    d := millrace._held(c, chunk_no, token);
    until := pg_catalog.clock_timestamp() + coalesce(lease, d.lease);
    UPDATE millrace.delivery u SET lease_until = until WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    PERFORM millrace._answered(c, false);
    RETURN until;
END
$$;
COMMENT ON FUNCTION millrace.extend(text, text, bigint, uuid, interval) IS
'Renews a lease while at work on a long chunk (a heartbeat); call it from a connection of its own and commit, so that others see it.
stream, consumer, chunk_no, token: as for ack.
lease: how long from now; NULL: as long as next_chunk gave.
Returns the new end of the lease. Raises MR001 and MR002 as ack does: then stop working.';
REVOKE ALL ON FUNCTION millrace.extend(text, text, bigint, uuid, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.extend(text, text, bigint, uuid, interval) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.split(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c     millrace.consumer;
    d     millrace.delivery;
    first bigint;
    last  bigint;
    ends  bigint;
BEGIN
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    IF c.layer = 'aggregate' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('chunks of stream "%s" cannot be split', stream),
            DETAIL = 'The changes of an aggregate have no row numbers.',
            HINT = 'Ack the chunk, or nack it.';
    END IF;
    d := millrace._held(c, chunk_no, token);
    first := coalesce(d.row_from, 1);
    last := d.row_to;
    ends := d.rows_end;
    IF last IS NULL THEN
        SELECT greatest(k.row_count + k.reject_count + k.dropped_count,
                        (SELECT pg_catalog.max((f ->> 'first_row_no')::bigint + (f ->> 'records')::bigint - 1) FROM pg_catalog.jsonb_array_elements(k.source -> 'files') f))
        INTO last FROM millrace.chunk k WHERE k.pipeline_id = c.pipeline_id AND k.chunk_no = d.chunk_no;
        ends := last;
    END IF;
    IF last <= first THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" cannot be split further', d.chunk_no, stream),
            DETAIL = pg_catalog.format('The lease is for row %s alone.', first),
            HINT = 'millrace.reject_rows sets the row aside; then ack. Or nack it, until it is a dead letter.';
    END IF;
    UPDATE millrace.delivery u
    SET state = 'pending', attempt = 0, lease_until = NULL, row_from = first, row_to = first + (last - first) / 2, rows_end = ends
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no RETURNING u.row_to - u.row_from + 1 INTO last;
    PERFORM millrace._answered(c, true);
    PERFORM millrace._note(c, 'chunk_split', 'chunk is handed out in parts', pg_catalog.jsonb_build_object('chunk_no', d.chunk_no, 'slot', c.slot, 'rows', last));
    RETURN last;
END
$$;
COMMENT ON FUNCTION millrace.split(text, text, bigint, uuid) IS
'Gives a chunk back to be handed out in parts, for a worker that cannot tell which of its rows is bad: the lease ends, and next_chunk gives the first half (first_row_no to last_row_no), then, once that is acked or dead, the next part of that size, and so on in order. Each part has all its attempts; one that fails too often is a dead letter by itself, or can be split again.
stream, consumer, chunk_no, token: as for ack. Read a part with chunk_rows(of, chunk_no, stream, consumer, token). With effects outside the database, first_row_no belongs into the idempotency key.
Returns how many row numbers a part spans. Raises 55000 for a single row, MR001 and MR002 as ack does.';
REVOKE ALL ON FUNCTION millrace.split(text, text, bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.split(text, text, bigint, uuid) TO millrace_consumer, millrace_admin;
