-- What consumers mean for the pipeline: how far it may run ahead of them, and what of its past they still need.

CREATE FUNCTION millrace._done_through(c millrace.consumer, head bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    -- The stored position stands before chunks that have no rows in the stream.
    RETURN coalesce((millrace._first_chunk_after(c, c.acked_through, '{}')).chunk_no - 1, head);
END
$$;
COMMENT ON FUNCTION millrace._done_through(millrace.consumer, bigint) IS
    'Internal. The last chunk up to which nothing is left to do for a consumer, or a slot of a keyed one; head: the last sealed chunk.';
REVOKE ALL ON FUNCTION millrace._done_through(millrace.consumer, bigint) FROM PUBLIC;

CREATE FUNCTION millrace._throttled_by(
    pipeline_id integer, max_lag_chunks bigint, max_lag_bytes bigint, max_outbox_chunks bigint, max_rows_per_second bigint
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    p      millrace.position;
    c      millrace.consumer;
    k      record;
    at     bigint;
    ahead  bigint;
BEGIN
    SELECT n.* INTO p FROM millrace.position n WHERE n.pipeline_id = _throttled_by.pipeline_id;
    IF max_lag_chunks IS NOT NULL OR max_lag_bytes IS NOT NULL THEN
        FOR c IN SELECT n.* FROM millrace.consumer n
                 WHERE n.pipeline_id = p.pipeline_id AND n.mode <> 'keyed' AND NOT n.retired AND n.blocks AND n.state NOT IN ('dropped', 'expired')
                 ORDER BY n.acked_through, n.id LOOP
            at := millrace._done_through(c, p.head);
            CONTINUE WHEN at >= p.head;
            -- Counted no further than matters, and from the indexes alone.
            IF max_lag_chunks IS NOT NULL THEN
                SELECT pg_catalog.count(*) INTO ahead FROM (
                    SELECT FROM millrace.chunk n WHERE n.pipeline_id = p.pipeline_id AND n.chunk_no > at AND n.row_count > 0 AND c.layer <> 'rejects'
                    UNION ALL
                    SELECT FROM millrace.chunk n WHERE n.pipeline_id = p.pipeline_id AND n.chunk_no > at AND n.reject_count > 0 AND c.layer = 'rejects'
                    LIMIT max_lag_chunks
                ) n;
                IF ahead >= max_lag_chunks THEN
                    RETURN pg_catalog.format('max_lag_chunks: consumer "%s" of stream "%s" has %s chunks or more to do', c.name, c.stream, ahead);
                END IF;
            END IF;
            IF max_lag_bytes IS NOT NULL THEN
                IF c.layer = 'rejects' THEN
                    SELECT pg_catalog.sum(n.byte_count) INTO ahead FROM millrace.chunk n WHERE n.pipeline_id = p.pipeline_id AND n.chunk_no > at AND n.reject_count > 0;
                ELSE
                    SELECT l.bytes_total - f.bytes_total + f.byte_count INTO ahead FROM millrace.chunk l, millrace.chunk f
                    WHERE l.pipeline_id = p.pipeline_id AND l.chunk_no = p.head AND f.pipeline_id = p.pipeline_id AND f.chunk_no = at + 1;
                END IF;
                IF ahead >= max_lag_bytes THEN
                    RETURN pg_catalog.format('max_lag_bytes: consumer "%s" of stream "%s" has %s to do', c.name, c.stream, pg_catalog.pg_size_pretty(ahead));
                END IF;
            END IF;
        END LOOP;
    END IF;
    IF max_outbox_chunks IS NOT NULL THEN
        FOR k IN SELECT l.layer FROM millrace.layer l WHERE l.pipeline_id = p.pipeline_id ORDER BY l.layer LOOP
            SELECT pg_catalog.count(*) INTO ahead FROM (
                SELECT FROM millrace.publication o WHERE o.pipeline_id = p.pipeline_id AND o.layer = k.layer AND o.state = 'pending' LIMIT max_outbox_chunks
            ) o;
            IF ahead >= max_outbox_chunks THEN
                RETURN pg_catalog.format('max_outbox_chunks: %s chunks or more wait to be published to %s', ahead, k.layer);
            END IF;
        END LOOP;
    END IF;
    IF max_rows_per_second IS NOT NULL THEN
        SELECT n.row_count + n.reject_count AS rows, n.sealed_at INTO k FROM millrace.chunk n WHERE n.pipeline_id = p.pipeline_id AND n.chunk_no = p.head;
        IF k.sealed_at + k.rows::double precision / max_rows_per_second * interval '1 second' > pg_catalog.clock_timestamp()
           -- A clock that was set back must not hold a pipeline for longer than the rate asks for.
           AND k.sealed_at <= pg_catalog.clock_timestamp() THEN
            RETURN 'max_rows_per_second';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION millrace._throttled_by(integer, bigint, bigint, bigint, bigint) IS
    'Internal. Why a pipeline should not load now, by the limits that are not NULL; NULL: nothing holds it back.';
REVOKE ALL ON FUNCTION millrace._throttled_by(integer, bigint, bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION millrace._is_past(kind text, amount bigint, k millrace.chunk, head millrace.chunk) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT CASE kind
        WHEN 'age' THEN k.sealed_at < pg_catalog.clock_timestamp() - amount * interval '1 millisecond'
        WHEN 'chunks' THEN head.chunk_no - k.chunk_no >= amount
        WHEN 'bytes' THEN head.bytes_total - k.bytes_total >= amount
    END
$$;
COMMENT ON FUNCTION millrace._is_past(text, bigint, millrace.chunk, millrace.chunk) IS
    'Internal. Whether a retention of that much does not keep chunk k, where head is the newest.';
REVOKE ALL ON FUNCTION millrace._is_past(text, bigint, millrace.chunk, millrace.chunk) FROM PUBLIC;

CREATE FUNCTION millrace._last_past(kind text, amount bigint, head millrace.chunk, bounds bigint[]) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    k    millrace.chunk;
    past bigint;
    last bigint;
BEGIN
    FOREACH last IN ARRAY bounds LOOP
        EXIT WHEN last >= head.chunk_no;
        SELECT n.* INTO k FROM millrace.chunk n WHERE n.pipeline_id = head.pipeline_id AND n.chunk_no = last;
        EXIT WHEN millrace._is_past(kind, amount, k, head) IS NOT TRUE;
        past := last;
    END LOOP;
    RETURN past;
END
$$;
COMMENT ON FUNCTION millrace._last_past(text, bigint, millrace.chunk, bigint[]) IS
    'Internal. The last of the bounds that a retention of that much does not keep, where head is the newest chunk; NULL: none. bounds: the last chunks of the partitions, in order.';
REVOKE ALL ON FUNCTION millrace._last_past(text, bigint, millrace.chunk, bigint[]) FROM PUBLIC;

CREATE FUNCTION millrace._plan_retention(
    pipeline_id integer, kind text, amount bigint, max_kind text, max_amount bigint, bounds bigint[],
    OUT through bigint, OUT pinned bigint[]
)
LANGUAGE plpgsql
AS $$
DECLARE
    head   millrace.chunk;
    c      millrace.consumer;
    due    bigint;
    at_most bigint;
    late   integer[] := '{}';
    at     bigint;
BEGIN
    -- The caller has the position locked: nobody seals, creates a consumer or seeks meanwhile; consumers else move forward alone.
    SELECT n.* INTO head FROM millrace.position p JOIN millrace.chunk n ON n.pipeline_id = p.pipeline_id AND n.chunk_no = p.head
    WHERE p.pipeline_id = _plan_retention.pipeline_id;
    due := millrace._last_past(kind, amount, head, bounds);
    -- The longest retention keeps no less than the usual one.
    at_most := millrace._last_past(max_kind, max_amount, head, ARRAY(SELECT b FROM pg_catalog.unnest(bounds) b WHERE b <= due));

    -- What is not in the lake yet is kept whatever the limits say.
    SELECT least(due, pg_catalog.min(o.chunk_no) - 1) INTO due FROM millrace.publication o WHERE o.pipeline_id = head.pipeline_id AND o.state = 'pending';
    FOR c IN SELECT n.* FROM millrace.consumer n
             WHERE n.pipeline_id = head.pipeline_id AND n.mode <> 'keyed' AND NOT n.retired AND n.blocks AND n.state NOT IN ('dropped', 'expired') LOOP
        at := millrace._done_through(c, head.chunk_no);
        IF at < due AND (at_most IS NULL OR at >= at_most) THEN
            due := at;
        ELSIF at < at_most THEN
            due := least(due, at_most);
        END IF;
    END LOOP;
    -- What a backfill is still to hand out again is waited for as consumers are.
    SELECT pg_catalog.min(u.next_chunk) - 1 INTO at FROM millrace.backfill_cursor u WHERE u.pipeline_id = head.pipeline_id AND u.next_chunk <= u.last_chunk;
    IF at < due AND (at_most IS NULL OR at >= at_most) THEN
        due := at;
    ELSIF at < at_most THEN
        due := least(due, at_most);
    END IF;
    SELECT pg_catalog.max(b) INTO through FROM pg_catalog.unnest(bounds) b WHERE b <= due;
    IF through IS NULL THEN
        RETURN;
    END IF;

    -- Whoever still needs what goes has been waited for long enough, or is not waited for. One that somebody has locked comes up again.
    FOR c IN SELECT n.* FROM millrace.consumer n
             WHERE n.pipeline_id = head.pipeline_id AND n.mode <> 'keyed' AND NOT n.retired AND n.state NOT IN ('dropped', 'expired') LOOP
        CONTINUE WHEN millrace._done_through(c, head.chunk_no) >= through;
        PERFORM FROM millrace.consumer n WHERE n.id = c.id FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            through := NULL;
            RETURN;
        END IF;
        late := late || c.id || coalesce(c.parent_id, c.id);
    END LOOP;
    UPDATE millrace.consumer n
    SET state = 'expired', holder = NULL,
        state_reason = pg_catalog.format('Chunks up to %s were removed by retention; the first one that is left is %s, and the consumer had done all up to %s.',
                                         through, through + 1, n.acked_through)
    WHERE (n.id = ANY (late) OR n.parent_id = ANY (late)) AND n.state NOT IN ('dropped', 'expired');
    FOR c IN SELECT n.* FROM millrace.consumer n WHERE n.id = ANY (late) AND n.parent_id IS NULL LOOP
        PERFORM millrace._note(c, 'consumer_expired', c.state_reason, pg_catalog.jsonb_build_object('acked_through', c.acked_through, 'removed_through', through));
    END LOOP;

    pinned := ARRAY(
        SELECT d.chunk_no FROM millrace.delivery d JOIN millrace.consumer n ON n.id = d.consumer_id
        WHERE n.pipeline_id = head.pipeline_id AND d.chunk_no <= through AND d.state IN ('dead', 'leased', 'retry_wait', 'pending')
        UNION SELECT d.chunk_no FROM millrace.dead_part d JOIN millrace.consumer n ON n.id = d.consumer_id
        WHERE n.pipeline_id = head.pipeline_id AND d.chunk_no <= through);
END
$$;
COMMENT ON FUNCTION millrace._plan_retention(integer, text, bigint, text, bigint, bigint[]) IS
    'Internal. The chunk up to which partitions can be dropped now (NULL: none), and those before it that dead letters and open leases still need. Consumers past the longest retention, and those that do not count, expire. bounds: the last chunks of the partitions, in order.';
REVOKE ALL ON FUNCTION millrace._plan_retention(integer, text, bigint, text, bigint, bigint[]) FROM PUBLIC;

CREATE FUNCTION millrace._plan_rejects_retention(pipeline_id integer, kind text, amount bigint, bounds bigint[]) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    head millrace.chunk;
    c    millrace.consumer;
    due  bigint;
BEGIN
    SELECT n.* INTO head FROM millrace.position p JOIN millrace.chunk n ON n.pipeline_id = p.pipeline_id AND n.chunk_no = p.head
    WHERE p.pipeline_id = _plan_rejects_retention.pipeline_id;
    due := millrace._last_past(kind, amount, head, bounds);
    IF due IS NULL THEN
        RETURN NULL;
    END IF;
    FOR c IN SELECT n.* FROM millrace.consumer n
             WHERE n.pipeline_id = head.pipeline_id AND n.layer = 'rejects' AND n.mode <> 'keyed' AND n.state NOT IN ('dropped', 'expired') LOOP
        due := least(due, millrace._done_through(c, head.chunk_no),
                     (SELECT pg_catalog.min(d.chunk_no) - 1 FROM millrace.delivery d
                       WHERE d.consumer_id = c.id AND d.state IN ('dead', 'leased', 'retry_wait', 'pending')),
                     (SELECT pg_catalog.min(d.chunk_no) - 1 FROM millrace.dead_part d WHERE d.consumer_id = c.id));
    END LOOP;
    RETURN (SELECT pg_catalog.max(b) FROM pg_catalog.unnest(bounds) b WHERE b <= due);
END
$$;
COMMENT ON FUNCTION millrace._plan_rejects_retention(integer, text, bigint, bigint[]) IS
    'Internal. The chunk up to which partitions of rejects can be dropped now (NULL: none): past their retention, and no consumer of the rejects needs them. bounds: the last chunks of the partitions, in order.';
REVOKE ALL ON FUNCTION millrace._plan_rejects_retention(integer, text, bigint, bigint[]) FROM PUBLIC;
