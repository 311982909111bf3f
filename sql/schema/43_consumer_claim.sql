-- Handing out chunks: next_chunk, and chunk_rows to read what it handed out.
--
-- next_chunk first looks without a lock. Most calls find nothing to do, and those stay reads: they take no lock that would
-- make the holder's ack wait, get no transaction id and write nothing. Only a call that would change something locks the
-- consumer, and looks again if the row is not the one it saw.

CREATE FUNCTION millrace._ordered_choice(
    c               millrace.consumer,
    me              text,
    OUT chunk_no    bigint,
    OUT row_count   bigint,
    OUT sealed_at   timestamptz,
    OUT holder      text,
    OUT lease_until timestamptz,
    OUT action      text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    right_now timestamptz;
    at        bigint := c.acked_through;
    k         record;
    d         millrace.delivery;
    behind    millrace.delivery;
BEGIN
    -- Two probes and not a join: a plan that is kept for any position misjudges the join, and reads all chunks.
    LOOP
        -- One branch a layer, each with the very condition of its partial index.
        IF c.layer = 'rows' THEN
            SELECT n.chunk_no, n.row_count AS size, n.sealed_at INTO k FROM millrace.chunk n
            WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no > at AND n.row_count > 0 ORDER BY n.chunk_no LIMIT 1;
        ELSE
            SELECT n.chunk_no, n.reject_count AS size, n.sealed_at INTO k FROM millrace.chunk n
            WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no > at AND n.reject_count > 0 ORDER BY n.chunk_no LIMIT 1;
        END IF;
        EXIT WHEN NOT FOUND;
        SELECT u.* INTO d FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no = k.chunk_no;
        EXIT WHEN NOT FOUND OR d.state IN ('leased', 'retry_wait', 'pending');
        -- Closed before its turn.
        at := k.chunk_no;
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
            SELECT n.chunk_no, CASE c.layer WHEN 'rows' THEN n.row_count ELSE n.reject_count END AS size, n.sealed_at INTO k
            FROM millrace.chunk n WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no = d.chunk_no;
        END IF;
    END IF;

    chunk_no := k.chunk_no;
    row_count := k.size;
    sealed_at := k.sealed_at;
    holder := d.worker;
    lease_until := d.lease_until;
    action := CASE
        WHEN k.chunk_no IS NULL THEN NULL
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

CREATE FUNCTION millrace._with_failure(history jsonb, what text, d millrace.delivery, reason text) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- A chunk that fails for ever, under a large max_attempts, must not grow its row for ever.
    SELECT CASE WHEN pg_catalog.jsonb_array_length(history) >= 20 THEN history - 0 ELSE history END
        || pg_catalog.jsonb_build_object('at', pg_catalog.clock_timestamp(), 'what', what, 'attempt', d.attempt,
               'worker', d.worker, 'session', d.session, 'reason', reason)
$$;
COMMENT ON FUNCTION millrace._with_failure(jsonb, text, millrace.delivery, text) IS
    'Internal. A delivery''s history with one failure more, and the oldest dropped where it gets long.';
REVOKE ALL ON FUNCTION millrace._with_failure(jsonb, text, millrace.delivery, text) FROM PUBLIC;

CREATE FUNCTION millrace._poison(c millrace.consumer, d millrace.delivery, what text, reason text, ends_lease boolean) RETURNS millrace.consumer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    result millrace.consumer;
BEGIN
    UPDATE millrace.delivery u
    SET state = CASE c.on_poison WHEN 'halt' THEN 'pending' ELSE 'dead' END,
        token = CASE WHEN ends_lease THEN pg_catalog.gen_random_uuid() ELSE u.token END,
        session = CASE WHEN ends_lease THEN NULL ELSE u.session END,
        lease_until = NULL,
        closed_at = CASE c.on_poison WHEN 'halt' THEN NULL ELSE pg_catalog.clock_timestamp() END,
        last_error = reason,
        history = millrace._with_failure(u.history, what, d, reason)
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;

    IF c.mode = 'pool' AND c.on_poison <> 'halt' THEN
        PERFORM millrace._pool_settle(c.id);
        result := c;
    ELSIF c.on_poison = 'halt' THEN
        IF c.mode = 'pool' THEN
            PERFORM pg_catalog.pg_advisory_xact_lock(millrace._pool_key(c.id, 'row', 0));
        END IF;
        UPDATE millrace.consumer k
        SET state = 'halted', last_seen = pg_catalog.clock_timestamp(),
            state_reason = pg_catalog.format('chunk %s failed %s times: %s', d.chunk_no, d.attempt, reason)
        WHERE k.id = c.id RETURNING k.* INTO result;
    ELSE
        UPDATE millrace.consumer k
        SET acked_through = greatest(k.acked_through, d.chunk_no), last_seen = pg_catalog.clock_timestamp(),
            redriven = k.redriven - CASE WHEN d.chunk_no <= k.acked_through THEN 1 ELSE 0 END
        WHERE k.id = c.id RETURNING k.* INTO result;
    END IF;
    PERFORM millrace._note(c, CASE c.on_poison WHEN 'halt' THEN 'consumer_halted' ELSE 'chunk_dead' END, reason,
        pg_catalog.jsonb_build_object('chunk_no', d.chunk_no, 'attempts', d.attempt, 'replay_no', d.replay_no, 'worker', d.worker));
    RETURN result;
END
$$;
COMMENT ON FUNCTION millrace._poison(millrace.consumer, millrace.delivery, text, text, boolean) IS
    'Internal. The last attempt of a chunk has failed: sets it aside or halts the consumer, as its on_poison says. ends_lease: the holder has not given it up, so its token dies.';
REVOKE ALL ON FUNCTION millrace._poison(millrace.consumer, millrace.delivery, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION millrace._claim(
    seen          millrace.consumer,
    me            text,
    session       text,
    lease         interval,
    OUT row_count bigint,
    OUT sealed_at timestamptz,
    OUT d         millrace.delivery,
    OUT halted    boolean
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c      millrace.consumer;
    choice record;
    old    millrace.delivery;
    late   text;
    begun  timestamptz;
BEGIN
    SELECT * INTO choice FROM millrace._ordered_choice(seen, me);
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
        SELECT * INTO choice FROM millrace._ordered_choice(c, me);
    END IF;

    WHILE choice.action = 'poison' AND c.state = 'active' LOOP
        SELECT u.* INTO old FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no;
        c := millrace._poison(c, old, 'lease ran out', pg_catalog.format('the lease of worker "%s" ran out', old.worker), true);
        SELECT * INTO choice FROM millrace._ordered_choice(c, me);
    END LOOP;
    halted := c.state = 'halted';
    IF c.state <> 'active' OR choice.action IS NULL THEN
        RETURN;
    END IF;

    begun := pg_catalog.clock_timestamp();
    IF choice.action = 'first' THEN
        INSERT INTO millrace.delivery AS n (consumer_id, chunk_no, state, token, worker, session, epoch, attempt, replay_no, lease, leased_at, lease_until)
        VALUES (c.id, choice.chunk_no, 'leased', pg_catalog.gen_random_uuid(), me, session, c.epoch, 1, c.replay_no, lease, begun, begun + lease)
        RETURNING n.* INTO d;
    ELSIF choice.action = 'renew' THEN
        UPDATE millrace.delivery u
        SET handed_out = u.handed_out + 1, session = _claim.session, lease = _claim.lease, lease_until = begun + _claim.lease
        WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no RETURNING u.* INTO d;
    ELSIF choice.action = 'again' THEN
        UPDATE millrace.delivery u
        SET state = 'leased', token = pg_catalog.gen_random_uuid(), worker = me, session = _claim.session, epoch = c.epoch,
            attempt = u.attempt + 1, handed_out = u.handed_out + 1, lease = _claim.lease, leased_at = begun, lease_until = begun + _claim.lease, visible_at = NULL
        WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no RETURNING u.* INTO d;
    ELSE
        late := pg_catalog.format('the lease of worker "%s" ran out', choice.holder);
        c.epoch := c.epoch + CASE choice.action WHEN 'take_over' THEN 1 ELSE 0 END;
        UPDATE millrace.delivery u
        SET token = CASE choice.action WHEN 'take_over' THEN pg_catalog.gen_random_uuid() ELSE u.token END,
            takeovers = u.takeovers + CASE choice.action WHEN 'take_over' THEN 1 ELSE 0 END,
            worker = me, session = _claim.session, epoch = c.epoch,
            attempt = u.attempt + 1, handed_out = u.handed_out + 1, lease = _claim.lease, leased_at = begun, lease_until = begun + _claim.lease,
            last_error = late, history = millrace._with_failure(u.history, 'lease ran out', u, late)
        WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no RETURNING u.* INTO d;
    END IF;

    -- All before the chunk is closed or without rows, else it would not have been chosen.
    UPDATE millrace.consumer k
    SET acked_through = greatest(k.acked_through, choice.chunk_no - 1), epoch = c.epoch,
        takeovers = k.takeovers + CASE choice.action WHEN 'take_over' THEN 1 ELSE 0 END, last_seen = begun
    WHERE k.id = c.id;
    row_count := choice.row_count;
    sealed_at := choice.sealed_at;
END
$$;
COMMENT ON FUNCTION millrace._claim(millrace.consumer, text, text, interval) IS
    'Internal. Leases the next chunk of an ordered consumer to worker "me", if it may have one; d is NULL if not, and halted true if that is because the chunk turned out to be poison. "seen" is the consumer as read without a lock.';
REVOKE ALL ON FUNCTION millrace._claim(millrace.consumer, text, text, interval) FROM PUBLIC;

CREATE FUNCTION millrace.next_chunk(
    stream   text,
    consumer text,
    worker   text     DEFAULT NULL,
    lease    interval DEFAULT NULL,
    wait     interval DEFAULT NULL
) RETURNS TABLE (chunk_no bigint, token uuid, epoch bigint, attempt integer, redelivered boolean, row_count bigint, sealed_at timestamptz, lease_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    give_up constant timestamptz := pg_catalog.clock_timestamp() + wait;
    me      text;
    session text;
    c       millrace.consumer;
    claim   record;
    d       millrace.delivery;
BEGIN
    IF lease <= interval '0' THEN
        PERFORM millrace._refuse_argument('lease', 'must be longer than nothing', 'Leave it out to use the consumer''s own.');
    END IF;
    IF wait < interval '0' OR wait > interval '1 minute' THEN
        PERFORM millrace._refuse_argument('wait', 'must be between 0 and 1 minute', 'A statement that waits longer holds back vacuum; ask again instead.');
    END IF;
    IF pg_catalog.btrim(worker) = '' THEN
        PERFORM millrace._refuse_argument('worker', 'must not be empty', 'Leave it out to be known by this session.');
    END IF;
    session := millrace._this_session();
    me := coalesce(worker, session);

    LOOP
        SELECT k.* INTO c FROM millrace.consumer k
        WHERE k.stream = next_chunk.stream AND k.name = next_chunk.consumer AND k.state <> 'dropped';
        IF NOT FOUND THEN
            PERFORM millrace._no_such_consumer(stream, consumer);
        ELSIF c.state = 'halted' THEN
            RAISE EXCEPTION USING ERRCODE = 'MR004',
                MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is halted', consumer, stream),
                DETAIL = c.state_reason,
                HINT = 'Mend the cause, or millrace.skip the chunk; then millrace.resume_consumer(stream, consumer).';
        ELSIF c.state = 'expired' THEN
            RAISE EXCEPTION USING ERRCODE = 'MR003',
                MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" has expired', consumer, stream),
                DETAIL = coalesce(c.state_reason, 'Chunks that it has not acked are gone.'),
                HINT = 'millrace.seek(stream, consumer, ''earliest'') goes on with what is left; millrace.drop_consumer gives it up.';
        ELSIF c.state = 'active' THEN
            IF c.mode = 'pool' THEN
                SELECT * INTO claim FROM millrace._pool_claim(c, me, session, coalesce(lease, c.lease));
            ELSE
                SELECT * INTO claim FROM millrace._claim(c, me, session, coalesce(lease, c.lease));
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
                RETURN NEXT;
                RETURN;
            END IF;
            -- An error now would undo the halt that this very call has found. The next call raises.
            EXIT WHEN claim.halted;
        END IF;
        EXIT WHEN give_up IS NULL OR pg_catalog.clock_timestamp() >= give_up;
        PERFORM pg_catalog.pg_sleep(0.02);
    END LOOP;
END
$$;
COMMENT ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) IS
'Leases the next chunk of a stream to a worker. No row: nothing to do now (no chunk, another worker has it, its retry is not due, the consumer is paused; of a pool: max_in_flight chunks are out).
stream, consumer: which cursor.
worker: who asks; asking again it gets the same chunk and token, with the lease renewed. NULL: this session. Clients behind a connection pool share sessions and must pass one.
lease: how long this worker may take; NULL: as the consumer says.
wait: how long to wait for a chunk, at most 1 minute; NULL: not at all. A transaction of level REPEATABLE READ waits in vain.
Returns chunk_no; token (for ack, nack, extend, release); epoch (fencing token for outside systems); attempt (1 = first); redelivered (it was handed out before); row_count; sealed_at; lease_until.
Commit the claim before long work, and read the chunk''s rows in a later statement or with millrace.chunk_rows: the statement that calls next_chunk may be too old to see them.
Raises MR003 if the consumer has expired, MR004 if it is halted, 42704 if there is none.';
REVOKE ALL ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.next_chunk(text, text, text, interval, interval) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.chunk_rows(of anyelement, chunk_no bigint) RETURNS SETOF anyelement
-- VOLATILE, so that it reads with a snapshot of its own: a chunk that next_chunk returns in the same statement may have been
-- sealed after that statement's snapshot, and would read as empty. No search_path is set, because the views and policies of
-- the caller's tables run in here; every name below is qualified instead.
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    kind     pg_catalog.regtype := pg_catalog.pg_typeof(of);
    relation text;
BEGIN
    IF chunk_no IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "chunk_no" must not be null';
    END IF;
    SELECT pg_catalog.format('%I.%I', n.nspname, r.relname) INTO relation
    FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) t.typrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
    WHERE t.oid OPERATOR(pg_catalog.=) kind
      AND r.relkind OPERATOR(pg_catalog.<>) 'c'
      AND a.attname OPERATOR(pg_catalog.=) '_chunk_no' AND NOT a.attisdropped;
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = pg_catalog.format('type %s is not the row of a table or view with a column "_chunk_no"', kind),
            HINT = 'Pass a null of the table''s row type, as in millrace.chunk_rows(NULL::staging.transactions, 42).';
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format('SELECT t.* FROM %s AS t WHERE t._chunk_no OPERATOR(pg_catalog.=) $1', relation) USING chunk_no;
END
$$;
COMMENT ON FUNCTION millrace.chunk_rows(anyelement, bigint) IS
'The rows of one chunk, read with the caller''s own rights.
of: a null of the row type of the staging table, its rejects, or a view over them with the column _chunk_no, as in millrace.chunk_rows(NULL::staging.transactions, 42).
chunk_no: the chunk, as next_chunk returned it.';
REVOKE ALL ON FUNCTION millrace.chunk_rows(anyelement, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.chunk_rows(anyelement, bigint) TO millrace_consumer, millrace_admin;
