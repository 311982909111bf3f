-- What an operator does with a consumer: pause, resume, skip, redrive, seek. Each leaves an event.

CREATE FUNCTION millrace.pause_consumer(stream text, consumer text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c millrace.consumer;
BEGIN
    c := millrace._lock_consumer(stream, consumer);
    IF c.state = 'paused' THEN
        RETURN;
    ELSIF c.state <> 'active' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is %s', consumer, stream, c.state),
            DETAIL = c.state_reason,
            HINT = 'It hands out nothing as it is.';
    END IF;
    UPDATE millrace.consumer k SET state = 'paused', state_reason = reason WHERE k.id = c.id OR k.parent_id = c.id AND k.state = 'active';
    PERFORM millrace._note(c, 'consumer_paused', coalesce(reason, 'consumer paused'), NULL);
END
$$;
COMMENT ON FUNCTION millrace.pause_consumer(text, text, text) IS
'Stops handing out chunks: next_chunk returns no row. A chunk in work may still be acked.
stream, consumer: which one. reason: kept with the consumer and in millrace.events.';
REVOKE ALL ON FUNCTION millrace.pause_consumer(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.pause_consumer(text, text, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.resume_consumer(stream text, consumer text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c millrace.consumer;
BEGIN
    c := millrace._lock_consumer(stream, consumer);
    IF c.state = 'active' AND NOT EXISTS (SELECT FROM millrace.consumer k WHERE k.parent_id = c.id AND k.state = 'halted') THEN
        RETURN;
    ELSIF c.state = 'expired' THEN
        RAISE EXCEPTION USING ERRCODE = 'MR003',
            MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" has expired', consumer, stream),
            DETAIL = coalesce(c.state_reason, 'Chunks that it has not acked are gone.'),
            HINT = 'millrace.seek(stream, consumer, ''earliest'') goes on with what is left.';
    END IF;
    -- Whoever resumes a halted consumer has mended the cause: the chunk that halted it gets all its attempts anew.
    UPDATE millrace.delivery d SET attempt = 0 FROM millrace._cursors(c) k
    WHERE k.state = 'halted' AND d.consumer_id = k.id AND d.state = 'pending' AND d.attempt >= c.max_attempts;
    UPDATE millrace.consumer k SET state = 'active', state_reason = NULL WHERE k.id = c.id OR k.parent_id = c.id;
    PERFORM millrace._note(c, 'consumer_resumed', 'consumer resumed', pg_catalog.jsonb_build_object('was', c.state));
END
$$;
COMMENT ON FUNCTION millrace.resume_consumer(text, text) IS
'Lets a paused or halted consumer go on. The chunk that halted it is handed out again, with all its attempts.
stream, consumer: which one. Does nothing if it is active; raises MR003 if it has expired.';
REVOKE ALL ON FUNCTION millrace.resume_consumer(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.resume_consumer(text, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.skip(stream text, consumer text, chunk_no bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c       millrace.consumer;
    k       millrace.consumer;
    was     text;
    skipped integer := 0;
BEGIN
    PERFORM millrace._refuse_null('chunk_no', chunk_no IS NULL);
    PERFORM millrace._refuse_null('reason', reason IS NULL);
    c := millrace._lock_consumer(stream, consumer);
    IF NOT EXISTS (
        SELECT FROM millrace.chunk n WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no = skip.chunk_no
           AND CASE c.layer WHEN 'rejects' THEN n.reject_count ELSE n.row_count END > 0
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('stream "%s" has no chunk %s', stream, chunk_no),
            HINT = 'SELECT * FROM millrace.chunks lists them; one without rows for a stream is not part of it.';
    END IF;

    FOR k IN SELECT n.* FROM millrace._cursors(c) n LOOP
        SELECT d.state INTO was FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.chunk_no = skip.chunk_no;
        DELETE FROM millrace.dead_part p WHERE p.consumer_id = k.id AND p.chunk_no = skip.chunk_no;
        IF FOUND THEN
            skipped := skipped + 1;
        END IF;
        CONTINUE WHEN was IN ('acked', 'skipped') OR was IS NULL AND chunk_no <= k.acked_through;
        skipped := skipped + 1;
        -- A fresh token: a worker that has the chunk now must not ack what is skipped.
        INSERT INTO millrace.delivery AS d (consumer_id, chunk_no, state, token, epoch, attempt, replay_no, handed_out, closed_at, last_error)
        VALUES (k.id, chunk_no, 'skipped', pg_catalog.gen_random_uuid(), k.epoch, 0, k.replay_no, 0, pg_catalog.clock_timestamp(), reason)
        ON CONFLICT ON CONSTRAINT delivery_pkey DO UPDATE
        SET state = 'skipped', token = excluded.token, session = NULL, lease_until = NULL, visible_at = NULL, closed_at = excluded.closed_at,
            last_error = reason, history = millrace._with_failure(d.history, 'skipped', d, reason);
        IF k.mode = 'pool' THEN
            PERFORM millrace._pool_settle(k.id);
        ELSE
            PERFORM millrace._closed(k, chunk_no, coalesce(was IN ('leased', 'retry_wait', 'pending'), false));
        END IF;
    END LOOP;
    IF skipped = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is past chunk %s', consumer, stream, chunk_no),
            DETAIL = pg_catalog.format('It has acked through chunk %s; the chunk''s delivery is %s.', c.acked_through, coalesce(was, 'closed long ago')),
            HINT = 'There is nothing to skip.';
    END IF;
    PERFORM millrace._note(c, 'chunk_skipped', reason, pg_catalog.jsonb_build_object('chunk_no', chunk_no, 'was', was));
END
$$;
COMMENT ON FUNCTION millrace.skip(text, text, bigint, text) IS
'Closes a chunk unworked for one consumer: the next one, a later one, or a dead one. A worker that has it gets MR001 from its ack.
stream, consumer, chunk_no: what to skip. reason: why; kept with the delivery and in millrace.events.
A consumer that halted on the chunk still needs millrace.resume_consumer.';
REVOKE ALL ON FUNCTION millrace.skip(text, text, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.skip(text, text, bigint, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.redrive(stream text, consumer text, chunk_no bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c        millrace.consumer;
    k        millrace.consumer;
    part     millrace.dead_part;
    was_kept boolean;
    redriven integer := 0;
BEGIN
    PERFORM millrace._refuse_null('chunk_no', chunk_no IS NULL);
    c := millrace._lock_consumer(stream, consumer);
    IF NOT EXISTS (SELECT FROM millrace.chunk n WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no = redrive.chunk_no) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('stream "%s" has no chunk %s', stream, chunk_no),
            HINT = 'SELECT * FROM millrace.chunks lists what is kept.';
    END IF;
    FOR k IN SELECT n.* FROM millrace._cursors(c) n LOOP
        UPDATE millrace.delivery d
        SET state = 'pending', attempt = 0, replay_no = k.replay_no + 1, closed_at = NULL, token = pg_catalog.gen_random_uuid(), session = NULL
        WHERE d.consumer_id = k.id AND d.chunk_no = redrive.chunk_no AND d.state = 'dead';
        IF NOT FOUND THEN
            -- Of a split chunk, the first part that is dead, once nothing of the chunk is open.
            CONTINUE WHEN EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.chunk_no = redrive.chunk_no AND d.state IN ('leased', 'retry_wait', 'pending'));
            DELETE FROM millrace.dead_part p WHERE p.ctid = (
                SELECT q.ctid FROM millrace.dead_part q WHERE q.consumer_id = k.id AND q.chunk_no = redrive.chunk_no ORDER BY q.row_from LIMIT 1
            ) RETURNING p.* INTO part;
            CONTINUE WHEN NOT FOUND;
            DELETE FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.chunk_no = redrive.chunk_no RETURNING true INTO was_kept;
            INSERT INTO millrace.delivery (consumer_id, chunk_no, state, token, epoch, attempt, replay_no, last_error, history, row_from, row_to, rows_end)
            VALUES (k.id, chunk_no, 'pending', pg_catalog.gen_random_uuid(), k.epoch, 0, k.replay_no + 1, part.last_error, part.history, part.row_from, part.row_to, part.row_to);
        ELSE
            was_kept := false;
        END IF;
        redriven := redriven + 1;
        UPDATE millrace.consumer n
        SET replay_no = n.replay_no + 1, redriven = n.redriven + CASE WHEN chunk_no <= n.acked_through THEN 1 ELSE 0 END,
            closed_kept = n.closed_kept - coalesce(was_kept, false)::integer
        WHERE n.id = k.id;
    END LOOP;
    IF redriven = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('chunk %s is not a dead letter of consumer "%s" of stream "%s"', chunk_no, consumer, stream),
            HINT = 'SELECT * FROM millrace.dead_letters lists them; millrace.seek hands out anew what was acked.';
    END IF;
    PERFORM millrace._note(c, 'chunk_redriven', 'dead chunk is handed out again',
        pg_catalog.jsonb_build_object('chunk_no', chunk_no, 'replay_no', c.replay_no + 1));
END
$$;
COMMENT ON FUNCTION millrace.redrive(text, text, bigint) IS
'Hands a dead chunk out again, before newer ones and with all its attempts; the consumer''s position stays.
stream, consumer, chunk_no: one row of millrace.dead_letters.';
REVOKE ALL ON FUNCTION millrace.redrive(text, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.redrive(text, text, bigint) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.seek(stream text, consumer text, to_position text, force boolean DEFAULT false, reason text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c      millrace.consumer;
    k      millrace.consumer;
    open   millrace.delivery;
    source record;
    target bigint;
BEGIN
    PERFORM millrace._refuse_null('to_position', to_position IS NULL);
    PERFORM millrace._refuse_null('force', force IS NULL);
    -- The stream is locked before the consumer, as everywhere.
    SELECT * INTO source FROM millrace._resolve_stream(stream);
    target := millrace._start_position(stream, source.pipeline_id, 'to_position', to_position);
    c := millrace._lock_consumer(stream, consumer);
    SELECT d.* INTO open FROM millrace._cursors(c) n JOIN millrace.delivery d ON d.consumer_id = n.id
    WHERE d.state = 'leased' AND d.lease_until > pg_catalog.clock_timestamp()
    ORDER BY d.chunk_no LIMIT 1;
    IF FOUND AND NOT force THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is at work on chunk %s', consumer, stream, open.chunk_no),
            DETAIL = pg_catalog.format('Worker "%s" has a lease on it until %s.', open.worker, open.lease_until),
            HINT = 'Wait for its ack, or use force => true: then the worker''s ack fails and its work must roll back.';
    END IF;

    FOR k IN SELECT n.* FROM millrace._cursors(c) n LOOP
        -- Nothing is left open, and nothing is closed that will be handed out anew: so old tokens answer for nothing.
        DELETE FROM millrace.delivery d
        WHERE d.consumer_id = k.id AND (d.chunk_no > target OR d.state IN ('leased', 'retry_wait', 'pending') AND d.chunk_no > k.acked_through);
        DELETE FROM millrace.rejected_row r WHERE r.consumer_id = k.id AND r.chunk_no > target;
        DELETE FROM millrace.dead_part p WHERE p.consumer_id = k.id AND p.chunk_no > target;
        UPDATE millrace.delivery d SET token = pg_catalog.gen_random_uuid(), session = NULL, state = 'pending', lease_until = NULL
        WHERE d.consumer_id = k.id AND d.state = 'leased';
        UPDATE millrace.consumer n
        SET acked_through = target, epoch = n.epoch + 1, replay_no = n.replay_no + 1, purged_through = least(n.purged_through, target), holder = NULL,
            state = CASE n.state WHEN 'paused' THEN 'paused' ELSE 'active' END,
            state_reason = CASE n.state WHEN 'paused' THEN n.state_reason END,
            redriven = left_over.open, closed_kept = left_over.closed
        FROM (SELECT pg_catalog.count(*) FILTER (WHERE d.state = 'pending' OR d.state = 'retry_wait') AS open,
                     pg_catalog.count(*) FILTER (WHERE d.state IN ('acked', 'skipped')) AS closed
              FROM millrace.delivery d WHERE d.consumer_id = k.id) left_over
        WHERE n.id = k.id;
    END LOOP;
    -- Slots that were draining stand together now: at the target.
    UPDATE millrace.consumer n
    SET acked_through = target, epoch = n.epoch + 1, replay_no = n.replay_no + 1,
        state = CASE n.state WHEN 'paused' THEN 'paused' ELSE 'active' END, state_reason = CASE n.state WHEN 'paused' THEN n.state_reason END
    WHERE n.id = c.id AND c.mode = 'keyed';
    UPDATE millrace.consumer n SET until_chunk = target WHERE n.parent_id = c.id AND c.next_slots IS NOT NULL AND NOT n.retired;
    PERFORM millrace._note(c, 'consumer_seek', coalesce(reason, 'consumer moved'),
        pg_catalog.jsonb_build_object('from', c.acked_through, 'to', target, 'asked_for', to_position, 'force', force,
            'lease_ended_of_chunk', open.chunk_no, 'replay_no', c.replay_no + 1));
    RETURN target;
END
$$;
COMMENT ON FUNCTION millrace.seek(text, text, text, boolean, text) IS
'Moves a consumer: the chunk named is the next to be handed out, and all after it, again if need be. Returns the chunk before it. A halted or expired consumer is active again. Rows rejected of chunks that come again are forgotten.
stream, consumer: which one.
to_position: as start_at of create_consumer: earliest, latest, a chunk_no or a timestamptz.
force: true also ends a lease that is running: the worker''s ack then raises.
reason: kept in millrace.events.';
REVOKE ALL ON FUNCTION millrace.seek(text, text, text, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.seek(text, text, text, boolean, text) TO millrace_consumer, millrace_admin;

-- The same for a number or a timestamp as they are, so that no cast is needed: they run as the caller, who calls the one above.
CREATE FUNCTION millrace.seek(stream text, consumer text, to_position bigint, force boolean DEFAULT false, reason text DEFAULT NULL) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$ SELECT millrace.seek(stream, consumer, to_position::text, force, reason) $$;
COMMENT ON FUNCTION millrace.seek(text, text, bigint, boolean, text) IS
'Moves a consumer to a chunk_no; else as seek with to_position as text.
stream, consumer, force, reason: as there.
to_position: number of the chunk that is the next to be handed out.';
REVOKE ALL ON FUNCTION millrace.seek(text, text, bigint, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.seek(text, text, bigint, boolean, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.seek(stream text, consumer text, to_position timestamptz, force boolean DEFAULT false, reason text DEFAULT NULL) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$ SELECT millrace.seek(stream, consumer, to_position::text, force, reason) $$;
COMMENT ON FUNCTION millrace.seek(text, text, timestamptz, boolean, text) IS
'Moves a consumer to the first chunk sealed at a time or later; else as seek with to_position as text.
stream, consumer, force, reason: as there.
to_position: the time.';
REVOKE ALL ON FUNCTION millrace.seek(text, text, timestamptz, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.seek(text, text, timestamptz, boolean, text) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.alter_consumer(
    stream        text,
    consumer      text,
    lease         interval DEFAULT NULL,
    max_attempts  integer  DEFAULT NULL,
    backoff       interval DEFAULT NULL,
    max_backoff   interval DEFAULT NULL,
    on_poison     text     DEFAULT NULL,
    max_in_flight integer  DEFAULT NULL,
    slots         integer  DEFAULT NULL,
    blocks        boolean  DEFAULT NULL,
    backfills     boolean  DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c     millrace.consumer;
    drain bigint;
BEGIN
    IF lease <= interval '0' OR backoff < interval '0' OR max_backoff < interval '0' OR max_attempts < 1 THEN
        PERFORM millrace._refuse_argument('lease', 'or max_attempts, backoff or max_backoff has a value that create_consumer would refuse', 'Leave out what is to stay as it is.');
    ELSIF on_poison NOT IN ('dead_letter', 'halt') THEN
        PERFORM millrace._refuse_argument('on_poison', pg_catalog.format('has the value "%s"', on_poison), 'Use ''dead_letter'' or ''halt''.');
    END IF;
    c := millrace._lock_consumer(stream, consumer);
    IF max_in_flight IS NOT NULL AND (c.mode <> 'pool' OR max_in_flight NOT BETWEEN 1 AND 1000) THEN
        PERFORM millrace._refuse_argument('max_in_flight', 'is for pools, from 1 to 1000', 'The number of slots of a keyed consumer is slots.');
    END IF;
    UPDATE millrace.consumer k
    SET lease = coalesce(alter_consumer.lease, k.lease), max_attempts = coalesce(alter_consumer.max_attempts, k.max_attempts),
        backoff = coalesce(alter_consumer.backoff, k.backoff), max_backoff = coalesce(alter_consumer.max_backoff, k.max_backoff),
        on_poison = coalesce(alter_consumer.on_poison, k.on_poison), blocks = coalesce(alter_consumer.blocks, k.blocks),
        backfills = coalesce(alter_consumer.backfills, k.backfills),
        max_in_flight = CASE k.mode WHEN 'pool' THEN coalesce(alter_consumer.max_in_flight, k.max_in_flight) ELSE k.max_in_flight END
    WHERE k.id = c.id OR k.parent_id = c.id;
    IF slots IS NOT NULL THEN
        IF c.mode <> 'keyed' THEN
            PERFORM millrace._refuse_argument('slots', 'is for keyed consumers', 'A pool has max_in_flight instead.');
        ELSIF c.next_slots IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is changing to %s slots already', consumer, stream, c.next_slots),
                DETAIL = 'Its slots still have chunks open that must be closed under the number they were handed out with.',
                HINT = 'Let the workers go on; skip or redrive what stands in the way.';
        END IF;
        PERFORM millrace._check_slots(c.pipeline_id, c.layer, slots, c.key);
        -- No slot is handed out what none has had yet; once all have closed the same, the new ones begin there.
        SELECT pg_catalog.max(greatest(k.acked_through, d.chunk_no)) INTO drain FROM millrace.consumer k
        LEFT JOIN millrace.delivery d ON d.consumer_id = k.id WHERE k.parent_id = c.id AND NOT k.retired;
        UPDATE millrace.consumer k SET until_chunk = drain WHERE k.parent_id = c.id AND NOT k.retired;
        UPDATE millrace.consumer k SET next_slots = alter_consumer.slots WHERE k.id = c.id;
        PERFORM millrace._cut_over(c.id);
    END IF;
    PERFORM millrace._note(c, 'consumer_altered', 'consumer altered', pg_catalog.jsonb_build_object('lease', lease, 'max_attempts', max_attempts, 'backoff', backoff,
        'max_backoff', max_backoff, 'on_poison', on_poison, 'max_in_flight', max_in_flight, 'slots', slots, 'blocks', blocks, 'backfills', backfills));
END
$$;
COMMENT ON FUNCTION millrace.alter_consumer(text, text, interval, integer, interval, interval, text, integer, integer, boolean, boolean) IS
'Changes a consumer, from the next chunk handed out; what is NULL stays.
stream, consumer: which one.
lease, max_attempts, backoff, max_backoff, on_poison, max_in_flight, blocks, backfills: as of create_consumer.
slots: another number of slots for a keyed consumer. The old ones drain first: until all of them have closed the latest chunk that any has had, no newer one is handed out; then the new ones go on behind it. Raises 55000 while an earlier change drains.';
REVOKE ALL ON FUNCTION millrace.alter_consumer(text, text, interval, integer, interval, interval, text, integer, integer, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.alter_consumer(text, text, interval, integer, interval, interval, text, integer, integer, boolean, boolean) TO millrace_consumer, millrace_admin;
