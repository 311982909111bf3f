-- Handing out chunks: next_chunk, and chunk_rows to read what it handed out.
--
-- next_chunk first looks without a lock. Most calls find nothing to do, and those stay reads: they take no lock that would
-- make the holder's ack wait, get no transaction id and write nothing. Only a call that would change something locks the
-- consumer, and looks again if the row is not the one it saw.

CREATE FUNCTION millrace._first_chunk_after(c millrace.consumer, after bigint, but_not bigint[], OUT chunk_no bigint, OUT row_count bigint, OUT sealed_at timestamptz)
LANGUAGE plpgsql
AS $$
BEGIN
    -- No upper bound either, for which the planner would rather sort than walk the index. No join with the deliveries: a plan that is kept for any position misjudges it, and reads all chunks. One branch for each
    -- partial index, with the very condition of it.
    IF c.layer = 'rejects' THEN
        SELECT n.chunk_no, n.reject_count, n.sealed_at INTO chunk_no, row_count, sealed_at FROM millrace.chunk n
        WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no > after AND n.reject_count > 0
          AND n.chunk_no <> ALL (but_not) AND (c.backfills OR n.generation = 0)
        ORDER BY n.chunk_no LIMIT 1;
    ELSE
        SELECT n.chunk_no, n.row_count, n.sealed_at INTO chunk_no, row_count, sealed_at FROM millrace.chunk n
        WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no > after AND n.row_count > 0
          AND n.chunk_no <> ALL (but_not) AND (c.backfills OR n.generation = 0)
        ORDER BY n.chunk_no LIMIT 1;
    END IF;
    IF chunk_no > c.until_chunk THEN
        chunk_no := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._first_chunk_after(millrace.consumer, bigint, bigint[]) IS
    'Internal. The first chunk with rows in the consumer''s stream after a position, passing over those listed.';
REVOKE ALL ON FUNCTION millrace._first_chunk_after(millrace.consumer, bigint, bigint[]) FROM PUBLIC;

CREATE FUNCTION millrace._ordered_choice(
    c             millrace.consumer,
    me            text,
    OUT action    text,
    OUT chunk_no  bigint,
    OUT row_count bigint,
    OUT sealed_at timestamptz,
    OUT d         millrace.delivery
)
LANGUAGE plpgsql
AS $$
DECLARE
    right_now timestamptz;
    at        bigint := c.acked_through;
    k         record;
    behind    millrace.delivery;
BEGIN
    LOOP
        IF c.retired THEN
            EXIT;
        END IF;
        k := millrace._first_chunk_after(c, at, '{}');
        EXIT WHEN k.chunk_no IS NULL;
        SELECT u.* INTO d FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no = k.chunk_no;
        EXIT WHEN NOT FOUND OR d.state IN ('leased', 'retry_wait', 'pending');
        -- Closed before its turn.
        at := k.chunk_no;
        d := NULL;
    END LOOP;
    right_now := pg_catalog.clock_timestamp();

    -- A redriven chunk goes first, but waiting for its retry it holds up nobody, and there is never a second lease beside a first.
    IF c.redriven > 0 AND d.state IS DISTINCT FROM 'leased' THEN
        SELECT u.* INTO behind FROM millrace.delivery u
        WHERE u.consumer_id = c.id AND u.chunk_no <= c.acked_through
          AND (u.state IN ('leased', 'pending') OR u.state = 'retry_wait' AND u.visible_at <= right_now)
        ORDER BY u.state = 'leased' DESC, u.chunk_no LIMIT 1;
        IF FOUND THEN
            d := behind;
            SELECT n.chunk_no, CASE c.layer WHEN 'rejects' THEN n.reject_count ELSE n.row_count END AS row_count, n.sealed_at INTO k
            FROM millrace.chunk n WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no = d.chunk_no;
        END IF;
    END IF;
    IF k IS NULL OR k.chunk_no IS NULL THEN
        RETURN;
    END IF;

    chunk_no := k.chunk_no;
    row_count := k.row_count;
    sealed_at := k.sealed_at;
    action := CASE
        WHEN d.state IS NULL THEN 'first'
        WHEN d.state = 'pending' THEN 'again'
        WHEN d.state = 'retry_wait' THEN CASE WHEN d.visible_at <= right_now THEN 'again' END
        WHEN d.lease_until > right_now THEN CASE WHEN d.worker = me THEN 'renew' END
        -- From here on the lease has run out, which is a failed attempt, whoever asks: a worker that dies of its chunk
        -- and comes back by the same name must not be given it for ever.
        WHEN d.attempt >= c.max_attempts THEN 'poison'
        WHEN d.worker = me THEN 'renew_late'
        ELSE 'take_over'
    END;
END
$$;
COMMENT ON FUNCTION millrace._ordered_choice(millrace.consumer, text) IS
    'Internal. The chunk that is next for an ordered consumer and what worker "me" may do with it; action is NULL where it must wait.';
REVOKE ALL ON FUNCTION millrace._ordered_choice(millrace.consumer, text) FROM PUBLIC;

CREATE FUNCTION millrace._lease(
    c        millrace.consumer,
    action   text,
    chunk_no bigint,
    old      millrace.delivery,
    me       text,
    session  text,
    lease    interval,
    place    integer
) RETURNS millrace.delivery
LANGUAGE plpgsql
AS $$
DECLARE
    begun constant timestamptz := pg_catalog.clock_timestamp();
    late  text;
    d     millrace.delivery;
BEGIN
    IF action = 'first' THEN
        INSERT INTO millrace.delivery AS n (consumer_id, chunk_no, state, token, worker, session, epoch, attempt, replay_no, slot, lease, leased_at, lease_until, generation, row_count, sealed_at)
        SELECT c.id, _lease.chunk_no, 'leased', pg_catalog.gen_random_uuid(), me, _lease.session, c.epoch, 1, c.replay_no, place, _lease.lease, begun, begun + _lease.lease, k.generation,
               CASE c.layer WHEN 'rejects' THEN k.reject_count ELSE k.row_count END, k.sealed_at
        FROM millrace.chunk k WHERE k.pipeline_id = c.pipeline_id AND k.chunk_no = _lease.chunk_no
        ON CONFLICT DO NOTHING
        RETURNING n.* INTO d;
    ELSIF action = 'renew' THEN
        UPDATE millrace.delivery u
        SET handed_out = u.handed_out + 1, session = _lease.session, lease = _lease.lease, lease_until = begun + _lease.lease
        WHERE u.consumer_id = c.id AND u.chunk_no = _lease.chunk_no AND u.state = 'leased' AND u.token = old.token RETURNING u.* INTO d;
    ELSIF action = 'again' THEN
        UPDATE millrace.delivery u
        SET state = 'leased', token = pg_catalog.gen_random_uuid(), worker = me, session = _lease.session, epoch = c.epoch, slot = place,
            attempt = u.attempt + 1, handed_out = u.handed_out + 1, lease = _lease.lease, leased_at = begun, lease_until = begun + _lease.lease, visible_at = NULL
        WHERE u.consumer_id = c.id AND u.chunk_no = _lease.chunk_no RETURNING u.* INTO d;
    ELSE
        late := pg_catalog.format('the lease of worker "%s" ran out', old.worker);
        UPDATE millrace.delivery u
        SET token = CASE action WHEN 'take_over' THEN pg_catalog.gen_random_uuid() ELSE u.token END,
            takeovers = u.takeovers + CASE action WHEN 'take_over' THEN 1 ELSE 0 END,
            worker = me, session = _lease.session, epoch = c.epoch,
            attempt = u.attempt + 1, handed_out = u.handed_out + 1, lease = _lease.lease, leased_at = begun, lease_until = begun + _lease.lease,
            last_error = late, history = millrace._with_failure(u.history, 'lease ran out', u, late)
        WHERE u.consumer_id = c.id AND u.chunk_no = _lease.chunk_no RETURNING u.* INTO d;
    END IF;
    RETURN d;
END
$$;
COMMENT ON FUNCTION millrace._lease(millrace.consumer, text, bigint, millrace.delivery, text, text, interval, integer) IS
    'Internal. Does what a choice has found: first, again, renew, renew_late or take_over. c: the consumer, with the epoch that the lease is to have. The caller holds the locks.';
REVOKE ALL ON FUNCTION millrace._lease(millrace.consumer, text, bigint, millrace.delivery, text, text, interval, integer) FROM PUBLIC;

CREATE FUNCTION millrace._with_failure(history jsonb, what text, d millrace.delivery, reason text) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    -- A chunk that fails for ever, under a large max_attempts, must not grow its row for ever.
    SELECT CASE WHEN pg_catalog.jsonb_array_length(history) >= 20 THEN history - 0 ELSE history END
        || pg_catalog.jsonb_build_object('at', pg_catalog.clock_timestamp(), 'what', what, 'attempt', d.attempt,
               'worker', d.worker, 'session', d.session, 'reason', reason)
$$;
COMMENT ON FUNCTION millrace._with_failure(jsonb, text, millrace.delivery, text) IS
    'Internal. A delivery''s history with one failure more, and the oldest dropped where it gets long.';
REVOKE ALL ON FUNCTION millrace._with_failure(jsonb, text, millrace.delivery, text) FROM PUBLIC;

CREATE FUNCTION millrace._next_part(d millrace.delivery) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE millrace.delivery u
    SET state = 'pending', attempt = 0, acked_token = CASE d.state WHEN 'acked' THEN d.token END, token = pg_catalog.gen_random_uuid(), session = NULL,
        lease_until = NULL, visible_at = NULL, closed_at = NULL, history = '[]',
        row_from = u.row_to + 1, row_to = least(u.row_to + 1 + (u.row_to - u.row_from), u.rows_end)
    WHERE u.consumer_id = d.consumer_id AND u.chunk_no = d.chunk_no AND u.row_to < u.rows_end;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION millrace._next_part(millrace.delivery) IS
    'Internal. Of a split chunk whose part is closed: makes the part after it the one to hand out; false if it was the last. d.state: acked keeps its token, for a repeated ack.';
REVOKE ALL ON FUNCTION millrace._next_part(millrace.delivery) FROM PUBLIC;

CREATE FUNCTION millrace._poison(c millrace.consumer, d millrace.delivery, what text, reason text, ends_lease boolean) RETURNS millrace.consumer
LANGUAGE plpgsql
AS $$
DECLARE
    result millrace.consumer;
    told   constant jsonb := millrace._with_failure(d.history, what, d, reason);
    more   boolean := false;
BEGIN
    IF d.row_from IS NOT NULL AND c.on_poison <> 'halt' THEN
        INSERT INTO millrace.dead_part AS p (consumer_id, chunk_no, row_from, row_to, attempts, replay_no, worker, last_error, history)
        VALUES (c.id, d.chunk_no, d.row_from, d.row_to, d.attempt, d.replay_no, d.worker, reason, told)
        ON CONFLICT ON CONSTRAINT dead_part_pkey DO UPDATE
        SET row_to = excluded.row_to, attempts = excluded.attempts, replay_no = excluded.replay_no, worker = excluded.worker,
            last_error = excluded.last_error, history = excluded.history, died_at = excluded.died_at;
        more := millrace._next_part(d);
    END IF;
    IF NOT more THEN
        UPDATE millrace.delivery u
        SET state = CASE WHEN c.on_poison = 'halt' THEN 'pending' WHEN d.row_from IS NULL THEN 'dead' ELSE 'skipped' END,
            token = CASE WHEN ends_lease OR d.row_from IS NOT NULL THEN pg_catalog.gen_random_uuid() ELSE u.token END,
            session = CASE WHEN ends_lease THEN NULL ELSE u.session END,
            lease_until = NULL,
            closed_at = CASE c.on_poison WHEN 'halt' THEN NULL ELSE pg_catalog.clock_timestamp() END,
            last_error = reason, history = told
        WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    END IF;

    IF c.mode = 'pool' AND c.on_poison <> 'halt' THEN
        PERFORM millrace._pool_settle(c.id);
        result := c;
    ELSIF c.on_poison = 'halt' THEN
        IF c.mode = 'pool' THEN
            PERFORM pg_catalog.pg_advisory_xact_lock(millrace._pool_key(c.id, 'row', 0));
        END IF;
        UPDATE millrace.consumer k
        SET state = 'halted', last_seen = pg_catalog.clock_timestamp(), holder = NULL,
            state_reason = pg_catalog.format('chunk %s failed %s times: %s', d.chunk_no, d.attempt, reason)
        WHERE k.id = c.id RETURNING k.* INTO result;
    ELSE
        UPDATE millrace.consumer k
        SET acked_through = CASE WHEN more THEN k.acked_through ELSE greatest(k.acked_through, d.chunk_no) END,
            last_seen = pg_catalog.clock_timestamp(), holder = NULL,
            closed_kept = k.closed_kept + CASE WHEN d.row_from IS NOT NULL AND NOT more THEN 1 ELSE 0 END,
            redriven = k.redriven - CASE WHEN d.chunk_no <= k.acked_through AND NOT more THEN 1 ELSE 0 END
        WHERE k.id = c.id RETURNING k.* INTO result;
    END IF;
    PERFORM millrace._note(c, CASE c.on_poison WHEN 'halt' THEN 'consumer_halted' ELSE 'chunk_dead' END, reason,
        pg_catalog.jsonb_build_object('chunk_no', d.chunk_no, 'attempts', d.attempt, 'replay_no', d.replay_no, 'worker', d.worker,
            'slot', c.slot, 'row_from', d.row_from, 'row_to', d.row_to));
    RETURN result;
END
$$;
COMMENT ON FUNCTION millrace._poison(millrace.consumer, millrace.delivery, text, text, boolean) IS
    'Internal. The last attempt of a chunk, or of the part of it that is out, has failed: sets it aside or halts the consumer, as its on_poison says. ends_lease: the holder has not given it up, so its token dies.';
REVOKE ALL ON FUNCTION millrace._poison(millrace.consumer, millrace.delivery, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION millrace._claim(
    seen          millrace.consumer,
    me            text,
    session       text,
    lease         interval,
    OUT row_count bigint,
    OUT sealed_at timestamptz,
    OUT d         millrace.delivery,
    OUT halted    boolean,
    OUT cursor    millrace.consumer
)
LANGUAGE plpgsql
AS $$
DECLARE
    c      millrace.consumer;
    choice record;
BEGIN
    choice := millrace._ordered_choice(seen, me);
    IF choice.action IS NULL THEN
        RETURN;
    END IF;
    -- The holder of a running lease waits for the row: it has work and must not be told that there is none because
    -- somebody else had a look at this moment. All others go away at once.
    IF choice.action = 'renew' THEN
        SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = seen.id FOR UPDATE;
    ELSE
        SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = seen.id FOR UPDATE SKIP LOCKED;
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF c IS DISTINCT FROM seen THEN
        choice := millrace._ordered_choice(c, me);
    END IF;

    WHILE choice.action = 'poison' AND c.state = 'active' LOOP
        c := millrace._poison(c, choice.d, 'lease ran out', pg_catalog.format('the lease of worker "%s" ran out', (choice.d).worker), true);
        choice := millrace._ordered_choice(c, me);
    END LOOP;
    halted := c.state = 'halted';
    IF c.state <> 'active' OR choice.action IS NULL THEN
        RETURN;
    END IF;

    IF choice.action = 'take_over' THEN
        c.epoch := c.epoch + 1;
        c.takeovers := c.takeovers + 1;
    END IF;
    d := millrace._lease(c, choice.action, choice.chunk_no, choice.d, me, session, lease, c.slot);
    IF d.chunk_no IS NULL THEN
        RETURN;
    END IF;
    -- All before the chunk is closed or without rows, else it would not have been chosen. The next chunk, claimed for the first time,
    -- changes nothing here: the ack does.
    IF choice.action <> 'first' OR choice.chunk_no <> c.acked_through + 1 OR c.parent_id IS NOT NULL THEN
        UPDATE millrace.consumer k
        SET acked_through = greatest(k.acked_through, choice.chunk_no - 1), epoch = c.epoch, takeovers = c.takeovers, last_seen = d.leased_at, holder = me
        WHERE k.id = c.id;
    END IF;
    row_count := choice.row_count;
    sealed_at := choice.sealed_at;
    cursor := c;
END
$$;
COMMENT ON FUNCTION millrace._claim(millrace.consumer, text, text, interval) IS
    'Internal. Leases the next chunk of an ordered consumer to worker "me", if it may have one; d is NULL if not, and halted true if that is because the chunk turned out to be poison. "seen" is the consumer as read without a lock.';
REVOKE ALL ON FUNCTION millrace._claim(millrace.consumer, text, text, interval) FROM PUBLIC;

CREATE FUNCTION millrace._nap(most integer) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'nap_wrapper';
COMMENT ON FUNCTION millrace._nap(integer) IS
    'Internal. Sleeps until a chunk is committed in this database, at most so many milliseconds; at most 20 where the library is not preloaded.';
REVOKE ALL ON FUNCTION millrace._nap(integer) FROM PUBLIC;

CREATE FUNCTION millrace._refuse_halted(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'MR004',
        MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is halted', c.name, c.stream),
        DETAIL = c.state_reason,
        HINT = 'Mend the cause, or millrace.skip the chunk; then millrace.resume_consumer(stream, consumer).';
END
$$;
COMMENT ON FUNCTION millrace._refuse_halted(millrace.consumer) IS 'Internal. Raises MR004.';
REVOKE ALL ON FUNCTION millrace._refuse_halted(millrace.consumer) FROM PUBLIC;

CREATE FUNCTION millrace._refuse_next_chunk(worker text, lease interval, wait interval) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF lease <= interval '0' THEN
        PERFORM millrace._refuse_argument('lease', 'must be longer than nothing', 'Leave it out to use the consumer''s own.');
    ELSIF pg_catalog.btrim(worker) = '' THEN
        PERFORM millrace._refuse_argument('worker', 'must not be empty', 'Leave it out to be known by this session.');
    END IF;
    PERFORM millrace._refuse_argument('wait', 'must be between 0 and 1 minute', 'A statement that waits longer holds back vacuum; ask again instead.');
END
$$;
COMMENT ON FUNCTION millrace._refuse_next_chunk(text, interval, interval) IS 'Internal. Says which argument of next_chunk cannot be used.';
REVOKE ALL ON FUNCTION millrace._refuse_next_chunk(text, interval, interval) FROM PUBLIC;

CREATE FUNCTION millrace._next_chunk(
    stream   text,
    consumer text,
    worker   text,
    lease    interval,
    wait     interval
) RETURNS TABLE (chunk_no bigint, token uuid, epoch bigint, attempt integer, redelivered boolean, row_count bigint, sealed_at timestamptz, lease_until timestamptz,
               slot integer, first_row_no bigint, last_row_no bigint, generation integer)
LANGUAGE plpgsql SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    session constant text := millrace._this_session();
    me      constant text := coalesce(worker, session);
    give_up timestamptz;
    c       millrace.consumer;
    claim   record;
    d       millrace.delivery;
BEGIN
    IF lease <= interval '0' OR wait < interval '0' OR wait > interval '1 minute' OR pg_catalog.btrim(worker) = '' THEN
        PERFORM millrace._refuse_next_chunk(worker, lease, wait);
    END IF;
    give_up := pg_catalog.clock_timestamp() + wait;
    LOOP
        SELECT k.* INTO c FROM millrace.consumer k
        WHERE k.stream = _next_chunk.stream AND k.name = _next_chunk.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
        IF NOT FOUND THEN
            PERFORM millrace._no_such_consumer(stream, consumer);
        END IF;
        PERFORM millrace._may_consume(c.pipeline_id, c.stream);
        IF c.state = 'halted' THEN
            PERFORM millrace._refuse_halted(c);
        ELSIF c.state = 'expired' THEN
            RAISE EXCEPTION USING ERRCODE = 'MR003',
                MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" has expired', consumer, stream),
                DETAIL = coalesce(c.state_reason, 'Chunks that it has not acked are gone.'),
                HINT = 'millrace.seek(stream, consumer, ''earliest'') goes on with what is left; millrace.drop_consumer gives it up.';
        ELSIF c.state = 'active' THEN
            IF c.mode = 'ordered' THEN
                claim := millrace._claim(c, me, session, coalesce(lease, c.lease));
            ELSIF c.mode = 'pool' THEN
                claim := millrace._pool_claim(c, me, session, coalesce(lease, c.lease));
            ELSE
                claim := millrace._keyed_claim(c, me, session, coalesce(lease, c.lease));
            END IF;
            d := claim.d;
            IF d.chunk_no IS NOT NULL THEN
                chunk_no := d.chunk_no;
                token := d.token;
                epoch := d.epoch;
                attempt := d.attempt;
                redelivered := d.handed_out > 1;
                row_count := claim.row_count;
                sealed_at := claim.sealed_at;
                lease_until := d.lease_until;
                slot := CASE c.mode WHEN 'keyed' THEN d.slot END;
                first_row_no := d.row_from;
                last_row_no := d.row_to;
                generation := d.generation;
                RETURN NEXT;
                RETURN;
            END IF;
            -- An error now would undo the halt that this very call has found. The next call raises.
            EXIT WHEN claim.halted;
            IF c.auto_drop AND millrace._drop_when_done(c) THEN
                RETURN;
            END IF;
        END IF;
        EXIT WHEN give_up IS NULL OR pg_catalog.clock_timestamp() >= give_up;
        -- Where all is done, the commit of a chunk wakes us. What else may come, others' acks and retries, is asked for often.
        PERFORM millrace._nap(CASE WHEN c.acked_through >= (SELECT p.head FROM millrace.position p WHERE p.pipeline_id = c.pipeline_id) THEN 250 ELSE 20 END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION millrace._next_chunk(text, text, text, interval, interval) IS
    'Internal. next_chunk, whatever there is to be done: as next_chunk.';
REVOKE ALL ON FUNCTION millrace._next_chunk(text, text, text, interval, interval) FROM PUBLIC;

-- Nearly every chunk is the next one of an ordered consumer, handed out for the first time: that is done without a statement. The rest asks _next_chunk.
CREATE FUNCTION millrace.next_chunk(
    stream   text,
    consumer text,
    worker   text     DEFAULT NULL,
    lease    interval DEFAULT NULL,
    wait     interval DEFAULT NULL
) RETURNS TABLE (chunk_no bigint, token uuid, epoch bigint, attempt integer, redelivered boolean, row_count bigint, sealed_at timestamptz, lease_until timestamptz,
               slot integer, first_row_no bigint, last_row_no bigint, generation integer)
LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'next_chunk_wrapper';
COMMENT ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) IS
'Leases the next chunk of a stream to a worker. No row: nothing to do now (no chunk, another worker has it, its retry is not due, the consumer is paused; of a pool: max_in_flight chunks are out).
stream, consumer: which cursor.
worker: who asks; asking again it gets the same chunk and token, with the lease renewed. NULL: this session. Clients behind a connection pool share sessions and must pass one.
lease: how long this worker may take; NULL: as the consumer says.
wait: how long to wait for a chunk, at most 1 minute; NULL: not at all. It holds a snapshot meanwhile, which holds back vacuum; CALL millrace.wait_for_chunk(stream, consumer, wait) before it holds none. A transaction of level REPEATABLE READ waits in vain.
Returns chunk_no; token (for ack, nack, extend, release, split); epoch (fencing token for outside systems); attempt (1 = first); redelivered (it was handed out before); row_count (of the whole chunk); sealed_at; lease_until;
slot (of a keyed consumer); first_row_no and last_row_no (of a chunk that was split: this part alone); generation (0; or that of the resnapshot or backfill that brought the chunk, or hands it out again). With a slot or a part, read the rows with chunk_rows(of, chunk_no, stream, consumer, token), which gives no others.
Commit the claim before long work, and read the chunk''s rows in a later statement or with millrace.chunk_rows: the statement that calls next_chunk may be too old to see them.
Raises MR003 if the consumer has expired, MR004 if it is halted, 42704 if there is none, 42501 without a grant for the stream.';
REVOKE ALL ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) TO millrace_consumer, millrace_admin;


CREATE FUNCTION millrace.has_chunk(stream text, consumer text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c millrace.consumer;
    k millrace.consumer;
BEGIN
    SELECT n.* INTO c FROM millrace.consumer n
    WHERE n.stream = has_chunk.stream AND n.name = has_chunk.consumer AND n.state <> 'dropped' AND n.parent_id IS NULL;
    IF NOT FOUND THEN
        PERFORM millrace._no_such_consumer(stream, consumer);
    END IF;
    PERFORM millrace._may_consume(c.pipeline_id, c.stream);
    IF c.state = 'paused' THEN
        RETURN false;
    END IF;
    FOR k IN SELECT n.* FROM millrace._cursors(c) n LOOP
        -- Of these next_chunk has something to say, too.
        IF k.state IN ('halted', 'expired') THEN
            RETURN true;
        ELSIF k.mode = 'pool' THEN
            IF (millrace._pool_choice(k, '', '{}')).action IS NOT NULL THEN
                RETURN true;
            END IF;
        ELSIF (millrace._ordered_choice(k, '')).action IS NOT NULL THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN c.auto_drop AND c.until_chunk <= (SELECT p.head FROM millrace.position p WHERE p.pipeline_id = c.pipeline_id);
END
$$;
COMMENT ON FUNCTION millrace.has_chunk(text, text) IS
'Whether next_chunk would have something for a new worker now: a chunk, or an error to raise. Another worker may be faster.
stream, consumer: which cursor.';
REVOKE ALL ON FUNCTION millrace.has_chunk(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.has_chunk(text, text) TO millrace_consumer, millrace_admin;

CREATE PROCEDURE millrace.wait_for_chunk(stream text, consumer text, wait interval DEFAULT '30 seconds')
LANGUAGE c AS 'MODULE_PATHNAME', 'wait_for_chunk_wrapper';
COMMENT ON PROCEDURE millrace.wait_for_chunk(text, text, interval) IS
'Returns once next_chunk has something for a consumer, at the commit of a chunk or when a retry is due, or after so long. Holds no snapshot while it waits, so that it may wait for hours; not inside a transaction block.
stream, consumer: which cursor. wait: how long at most.';
REVOKE ALL ON PROCEDURE millrace.wait_for_chunk(text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE millrace.wait_for_chunk(text, text, interval) TO millrace_consumer, millrace_admin;
