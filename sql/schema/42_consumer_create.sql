-- Making and dropping consumers.

CREATE FUNCTION millrace._start_position(stream text, pipeline_id integer, argument text, start_at text) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    head   bigint;
    oldest bigint;
    wanted numeric;
    since  timestamptz;
    first  bigint;
BEGIN
    -- Whoever seals a chunk holds this row FOR UPDATE to its commit. So this waits for a chunk that is being sealed and then
    -- reads the head with it, and no chunk is sealed before this transaction ends: whatever it reads of the staging table,
    -- a chunk is either at or before the position, and read now, or after it, and handed out later. Never both, never neither.
    -- (A REPEATABLE READ transaction whose snapshot is older than the head gets a serialization failure here, as it must.)
    -- The row exists from the pipeline's creation, so a stream without chunks is no special case; it is gone if the pipeline was
    -- dropped while this waited.
    SELECT p.head, CASE (millrace._resolve_stream(stream)).layer WHEN 'rejects' THEN GREATEST(p.kept_from, p.rejects_kept_from) ELSE p.kept_from END
      INTO head, oldest FROM millrace.position p WHERE p.pipeline_id = _start_position.pipeline_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('stream "%s" does not exist', stream),
            DETAIL = 'Its pipeline was dropped just now.';
    END IF;

    IF start_at = 'earliest' THEN
        RETURN oldest - 1;
    ELSIF start_at IN ('latest', 'snapshot') THEN
        -- Rows carry their chunk, so the state as of the head is there to be read, now or later, and nothing has to be copied.
        RETURN head;
    ELSIF start_at ~ '^[0-9]+$' THEN
        wanted := start_at::numeric;
        IF wanted < oldest OR wanted > head + 1 THEN
            PERFORM millrace._refuse_argument(argument, pg_catalog.format('is chunk %s, which the stream cannot start with', start_at),
                pg_catalog.format('The oldest chunk that is kept is %s, the next one to come is %s; ''earliest'' and ''latest'' stand for these.', oldest, head + 1));
        END IF;
        RETURN wanted::bigint - 1;
    END IF;

    BEGIN
        since := start_at::timestamptz;
    EXCEPTION WHEN data_exception THEN
        PERFORM millrace._refuse_argument(argument, pg_catalog.format('has the value "%s"', start_at),
            'Use ''earliest'', ''latest'', ''snapshot'', the number of the first chunk to hand out, or a timestamp with time zone.');
    END;
    IF since > pg_catalog.clock_timestamp() THEN
        PERFORM millrace._refuse_argument(argument, 'is in the future', 'Use ''latest'' to start with the next chunk to come.');
    END IF;
    -- By chunk_no and not by sealed_at: where the clock went back, the earlier chunk wins and nothing is missed.
    SELECT k.chunk_no INTO first FROM millrace.chunk k
    WHERE k.pipeline_id = _start_position.pipeline_id AND k.sealed_at >= since AND k.chunk_no >= oldest
    ORDER BY k.chunk_no LIMIT 1;
    RETURN coalesce(first - 1, head);
END
$$;
COMMENT ON FUNCTION millrace._start_position(text, integer, text, text) IS
    'Internal. The chunk after which a consumer starts, for earliest, latest, snapshot, a chunk_no or a timestamptz; locks the stream to the end of the transaction.';
REVOKE ALL ON FUNCTION millrace._start_position(text, integer, text, text) FROM PUBLIC;

CREATE FUNCTION millrace._check_slots(pipeline_id integer, layer text, slots integer, key text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF layer <> 'rows' THEN
        PERFORM millrace._refuse_argument('mode', 'is keyed, which is for clean rows alone', 'Use ''ordered'' or ''pool'' for rejects and aggregates.');
    END IF;
    PERFORM millrace._refuse_null('slots', slots IS NULL);
    PERFORM millrace._refuse_null('key', key IS NULL);
    IF slots < 1 OR slots > 256 THEN
        PERFORM millrace._refuse_argument('slots', 'must be between 1 and 256', 'It is how many workers may be at work at once.');
    END IF;
    IF NOT EXISTS (SELECT FROM millrace.pipeline p JOIN pg_catalog.pg_attribute a ON a.attrelid = p.staging::oid
                   WHERE p.id = pipeline_id AND a.attname = key AND a.attnum > 0 AND NOT a.attisdropped) THEN
        PERFORM millrace._refuse_argument('key', pg_catalog.format('names no column of the staging table: "%s"', key), 'Name it as in the table, without quotes.');
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._check_slots(integer, text, integer, text) IS 'Internal. Raises 22023 for slots or a key that a keyed consumer cannot have.';
REVOKE ALL ON FUNCTION millrace._check_slots(integer, text, integer, text) FROM PUBLIC;

CREATE FUNCTION millrace.create_consumer(
    stream        text,
    consumer      text,
    start_at      text     DEFAULT 'earliest',
    mode          text     DEFAULT 'ordered',
    lease         interval DEFAULT '5 minutes',
    max_attempts  integer  DEFAULT 5,
    backoff       interval DEFAULT '10 seconds',
    on_poison     text     DEFAULT 'dead_letter',
    max_backoff   interval DEFAULT '1 hour',
    max_in_flight integer  DEFAULT NULL,
    claim         text     DEFAULT 'lease',
    slots         integer  DEFAULT NULL,
    key           text     DEFAULT NULL,
    blocks        boolean  DEFAULT true,
    backfills     boolean  DEFAULT true,
    until_chunk   bigint   DEFAULT NULL,
    auto_drop     boolean  DEFAULT false
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    source record;
    start  bigint;
    made   millrace.consumer;
BEGIN
    SELECT * INTO source FROM millrace._resolve_stream(stream);
    made.pipeline_id := source.pipeline_id;
    made.stream := stream;
    PERFORM millrace._may_consume(made.pipeline_id, made.stream);
    PERFORM millrace._refuse_null('consumer', consumer IS NULL);
    PERFORM millrace._refuse_null('start_at', start_at IS NULL);
    PERFORM millrace._refuse_null('mode', mode IS NULL);
    PERFORM millrace._refuse_null('lease', lease IS NULL);
    PERFORM millrace._refuse_null('max_attempts', max_attempts IS NULL);
    PERFORM millrace._refuse_null('backoff', backoff IS NULL);
    PERFORM millrace._refuse_null('on_poison', on_poison IS NULL);
    PERFORM millrace._refuse_null('max_backoff', max_backoff IS NULL);
    IF pg_catalog.btrim(consumer) = '' OR pg_catalog.length(consumer) > 200 THEN
        PERFORM millrace._refuse_argument('consumer', 'is not a usable name', 'Use 1 to 200 characters, not only blanks.');
    END IF;
    IF mode NOT IN ('ordered', 'pool', 'keyed') THEN
        PERFORM millrace._refuse_argument('mode', pg_catalog.format('has the value "%s"', mode), 'Use ''ordered'', ''pool'' or ''keyed''.');
    ELSIF mode <> 'keyed' AND (slots IS NOT NULL OR key IS NOT NULL) THEN
        PERFORM millrace._refuse_argument('slots', 'is for keyed consumers, as key is', 'Use mode => ''keyed'', slots => 8, key => ''merchant''.');
    ELSIF mode = 'keyed' THEN
        PERFORM millrace._check_slots(source.pipeline_id, source.layer, slots, key);
    END IF;
    PERFORM millrace._refuse_null('blocks', blocks IS NULL);
    PERFORM millrace._refuse_null('backfills', backfills IS NULL);
    PERFORM millrace._refuse_null('auto_drop', auto_drop IS NULL);
    IF auto_drop AND until_chunk IS NULL THEN
        PERFORM millrace._refuse_argument('auto_drop', 'needs until_chunk', 'A consumer without an end is never done.');
    END IF;
    IF mode <> 'pool' AND max_in_flight <> 1 THEN
        PERFORM millrace._refuse_argument('max_in_flight', 'must be 1 for an ordered or keyed consumer', 'Use mode => ''pool'' for several chunks at once.');
    ELSIF max_in_flight < 1 OR max_in_flight > 1000 THEN
        PERFORM millrace._refuse_argument('max_in_flight', 'must be between 1 and 1000', 'It is how many chunks may be leased at once.');
    END IF;
    PERFORM millrace._refuse_null('claim', claim IS NULL);
    IF claim NOT IN ('lease', 'tx') THEN
        PERFORM millrace._refuse_argument('claim', pg_catalog.format('has the value "%s"', claim),
            'Use ''lease'' (the claim is committed before the work) or ''tx'' (claim, work and ack are one transaction).');
    END IF;
    IF on_poison NOT IN ('dead_letter', 'halt') THEN
        PERFORM millrace._refuse_argument('on_poison', pg_catalog.format('has the value "%s"', on_poison),
            'Use ''dead_letter'' (the chunk is set aside and later ones go on) or ''halt'' (nothing goes on until somebody looks).');
    END IF;
    IF lease <= interval '0' THEN
        PERFORM millrace._refuse_argument('lease', 'must be longer than nothing', 'Allow more than the slowest chunk takes, or call extend while at work.');
    END IF;
    IF max_attempts < 1 THEN
        PERFORM millrace._refuse_argument('max_attempts', 'must be at least 1', 'The first handing-out counts.');
    END IF;
    IF backoff < interval '0' OR max_backoff < interval '0' THEN
        PERFORM millrace._refuse_argument('backoff', 'must not be negative', 'The same goes for max_backoff.');
    END IF;

    start := millrace._start_position(stream, source.pipeline_id, 'start_at', start_at);

    IF until_chunk <= start THEN
        PERFORM millrace._refuse_argument('until_chunk', pg_catalog.format('is %s, where the consumer starts after chunk %s', until_chunk, start), 'It is the last chunk to be handed out.');
    END IF;
    INSERT INTO millrace.consumer (pipeline_id, stream, layer, aggregate_id, name, mode, claim, max_in_flight, lease, max_attempts, backoff, max_backoff, on_poison, acked_through,
                                   purged_through, slots, key, blocks, backfills, until_chunk, auto_drop)
    VALUES (source.pipeline_id, stream, source.layer, source.aggregate_id, consumer, mode, claim, coalesce(max_in_flight, CASE mode WHEN 'pool' THEN 8 ELSE 1 END), lease, max_attempts,
            backoff, max_backoff, on_poison, start, start, slots, key, blocks, backfills, until_chunk, auto_drop)
    ON CONFLICT DO NOTHING
    RETURNING * INTO made;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = pg_catalog.format('stream "%s" has a consumer "%s" already', stream, consumer),
            HINT = 'Use another name, or millrace.drop_consumer(stream, consumer) first. To move it, use millrace.seek.';
    END IF;
    IF mode = 'keyed' THEN
        PERFORM millrace._make_slots(made, slots, start);
    END IF;
    PERFORM millrace._note(made, 'consumer_created', 'consumer created',
        pg_catalog.jsonb_build_object('start_at', start_at, 'acked_through', start));
    RETURN start;
END
$$;
COMMENT ON FUNCTION millrace.create_consumer(text, text, text, text, interval, integer, interval, text, interval, integer, text, integer, text, boolean, boolean, bigint, boolean) IS
'Makes a named cursor on a stream. Returns the chunk after which it starts: rows up to that chunk are yours to read now, later ones will be handed out, with no gap and no overlap.
stream: ''<pipeline>'' (clean rows; of a keyed pipeline its changes), ''<pipeline>.rejects'', or ''<pipeline>.<aggregate>'' (the changes of an aggregate). Needs a grant, see grant_stream.
consumer: name, one of a kind within the stream.
start_at: earliest (the oldest chunk that is kept), latest (the next chunk to come), snapshot (as latest, for who first reads the table as it is: the rows with _chunk_no up to the number returned), the number of the first chunk to hand out, or a timestamptz (the first chunk sealed then or later).
mode: ordered: one chunk at a time, the next one only when it is acked, skipped or dead. pool: up to max_in_flight chunks at once, each to another worker, acked in any order; a retry holds up no other chunk. keyed: rows go to slots by the hash of a column, each slot gets every chunk, in order, for its own rows.
lease: how long a worker may keep a chunk before another one may take it over.
max_attempts: how often a chunk is handed out before it counts as poison.
backoff, max_backoff: wait before the second attempt, doubled for each further one up to max_backoff.
on_poison: dead_letter (set the chunk aside and go on) or halt (hand out nothing more until resume_consumer).
max_in_flight: of a pool; 1 to 1000, NULL: 8. A worker has one chunk at a time: it takes as many workers to have as many in flight.
claim: lease (workers commit the claim before the work, so that failed attempts are counted) or tx (claim, work and ack are one transaction, as consume does: a rollback undoes the attempt too, and nack, in a transaction of its own and without a token, reports it).
slots, key: of a keyed consumer: how many slots (1 to 256), and the column whose value says which slot a row belongs to.
blocks: false: it holds back neither loading (max_lag_chunks, max_lag_bytes) nor retention when it falls behind.
backfills: false: chunks that bring once more what was there (millrace.resnapshot, millrace.backfill) are not handed out.
until_chunk, auto_drop: the last chunk to hand out, and whether to drop the consumer once all up to there is closed: a temporary consumer that reads a range once more.
Loading waits until the transaction that calls this ends: keep it short.';
REVOKE ALL ON FUNCTION millrace.create_consumer(text, text, text, text, interval, integer, interval, text, interval, integer, text, integer, text, boolean, boolean, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.create_consumer(text, text, text, text, interval, integer, interval, text, interval, integer, text, integer, text, boolean, boolean, bigint, boolean) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace._drop(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    cursors constant integer[] := ARRAY(SELECT k.id FROM millrace._cursors(c) k);
BEGIN
    DELETE FROM millrace.delivery d WHERE d.consumer_id = ANY (cursors) AND d.state <> 'dead';
    DELETE FROM millrace.duration d WHERE d.pipeline_id = c.pipeline_id AND d.hop = 'consume:' || c.id;
    IF EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = ANY (cursors)) OR EXISTS (SELECT FROM millrace.dead_part p WHERE p.consumer_id = ANY (cursors))
       OR EXISTS (SELECT FROM millrace.rejected_row r WHERE r.consumer_id = ANY (cursors)) THEN
        UPDATE millrace.consumer k SET state = 'dropped', state_reason = NULL WHERE k.id = c.id OR k.parent_id = c.id;
    ELSE
        DELETE FROM millrace.consumer k WHERE k.id = c.id;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._drop(millrace.consumer) IS 'Internal. Removes a consumer that is locked; keeps its dead letters and rejected rows.';
REVOKE ALL ON FUNCTION millrace._drop(millrace.consumer) FROM PUBLIC;

CREATE FUNCTION millrace._drop_when_done(seen millrace.consumer) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    c    millrace.consumer;
    k    millrace.consumer;
    next bigint;
BEGIN
    IF (SELECT p.head < seen.until_chunk FROM millrace.position p WHERE p.pipeline_id = seen.pipeline_id) THEN
        RETURN false;
    END IF;
    IF seen.mode = 'pool' AND NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(seen.id, 'all', 0)) THEN
        RETURN false;
    END IF;
    SELECT n.* INTO c FROM millrace.consumer n WHERE n.id = seen.id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR k IN SELECT n.* FROM millrace._cursors(c) n LOOP
        PERFORM FROM millrace.consumer n WHERE n.id = k.id FOR UPDATE;
        IF k.mode = 'pool' THEN
            next := (millrace._first_chunk_after(k, k.acked_through,
                ARRAY(SELECT d.chunk_no FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.chunk_no > k.acked_through))).chunk_no;
        ELSE
            next := (millrace._ordered_choice(k, '')).chunk_no;
        END IF;
        IF next IS NOT NULL OR EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.state IN ('leased', 'retry_wait', 'pending')) THEN
            RETURN false;
        END IF;
    END LOOP;
    PERFORM millrace._note(c, 'consumer_dropped', 'consumer has read its range and is dropped', pg_catalog.jsonb_build_object('until_chunk', c.until_chunk));
    PERFORM millrace._drop(c);
    RETURN true;
END
$$;
COMMENT ON FUNCTION millrace._drop_when_done(millrace.consumer) IS
    'Internal. Drops a temporary consumer that has closed all up to its until_chunk; true if it did. Waits for nobody.';
REVOKE ALL ON FUNCTION millrace._drop_when_done(millrace.consumer) FROM PUBLIC;

CREATE FUNCTION millrace.drop_consumer(stream text, consumer text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c    millrace.consumer;
    open millrace.delivery;
BEGIN
    PERFORM millrace._refuse_null('force', force IS NULL);
    c := millrace._lock_consumer(stream, consumer);
    SELECT d.* INTO open FROM millrace._cursors(c) k JOIN millrace.delivery d ON d.consumer_id = k.id
    WHERE d.state = 'leased' AND d.lease_until > pg_catalog.clock_timestamp()
    ORDER BY d.chunk_no LIMIT 1;
    IF FOUND AND NOT force THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" is at work on chunk %s', consumer, stream, open.chunk_no),
            DETAIL = pg_catalog.format('Worker "%s" has a lease on it until %s.', open.worker, open.lease_until),
            HINT = 'Wait for its ack, or use force => true: then the worker''s ack fails and its work must roll back.';
    END IF;
    PERFORM millrace._note(c, 'consumer_dropped', 'consumer dropped',
        pg_catalog.jsonb_build_object('force', force, 'acked_through', c.acked_through, 'lease_ended_of_chunk', open.chunk_no));

    PERFORM millrace._drop(c);
END
$$;
COMMENT ON FUNCTION millrace.drop_consumer(text, text, boolean) IS
'Removes a consumer and its position; its dead letters stay in millrace.dead_letters, the rows it has rejected in millrace.rejected_rows.
stream, consumer: which one.
force: true also ends a lease that is running: the worker''s ack, nack and extend then raise.';
REVOKE ALL ON FUNCTION millrace.drop_consumer(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.drop_consumer(text, text, boolean) TO millrace_consumer, millrace_admin;
