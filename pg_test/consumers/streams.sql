-- Promises about what belongs to a stream, what lag means, and that neither grows dearer with history.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('streams');
SELECT millrace.create_consumer('streams', 'rows'), millrace.create_consumer('streams.rejects', 'bad');
-- 1 both, 2 rejects only, 3 rejects only, 4 rows only, 5 rows only, 6 rejects only
SELECT mill_test.seal('streams', 10, 2), mill_test.seal('streams', 0, 3), mill_test.seal('streams', 0, 4),
       mill_test.seal('streams', 20, 0), mill_test.seal('streams', 30, 0), mill_test.seal('streams', 0, 5);
DO $$
DECLARE
    got text := '';
    k   record;
BEGIN
    ASSERT (SELECT (acked_through, head, lag_chunks, lag_rows) FROM millrace.consumers WHERE stream = 'streams') = (0::bigint, 6::bigint, 3::bigint, 60::bigint);
    ASSERT (SELECT (acked_through, head, lag_chunks, lag_rows) FROM millrace.consumers WHERE stream = 'streams.rejects') = (0::bigint, 6::bigint, 4::bigint, 14::bigint);
    LOOP
        SELECT * INTO k FROM millrace.next_chunk('streams', 'rows');
        EXIT WHEN NOT FOUND;
        got := got || format('%s:%s ', k.chunk_no, k.row_count);
        PERFORM millrace.ack('streams', 'rows', k.chunk_no);
    END LOOP;
    ASSERT got = '1:10 4:20 5:30 ', got;
    ASSERT (SELECT (acked_through, lag_chunks) FROM millrace.consumers WHERE stream = 'streams') = (6::bigint, 0::bigint), 'a chunk without clean rows is passed over at the end too';

    got := '';
    LOOP
        SELECT * INTO k FROM millrace.next_chunk('streams.rejects', 'bad');
        EXIT WHEN NOT FOUND;
        got := got || format('%s:%s ', k.chunk_no, k.row_count);
        ASSERT (SELECT count(*) FROM millrace.chunk_rows(NULL::mill_test.streams_rejects, k.chunk_no)) = k.row_count;
        PERFORM millrace.ack('streams.rejects', 'bad', k.chunk_no);
    END LOOP;
    ASSERT got = '1:2 2:3 3:4 6:5 ', got;
    ASSERT (SELECT acked_through FROM millrace.consumers WHERE stream = 'streams.rejects') = 6;
    PERFORM mill_test.seal('streams', 1, 0);
    ASSERT (SELECT (acked_through, head, lag_chunks) FROM millrace.consumers WHERE stream = 'streams.rejects') = (7::bigint, 7::bigint, 0::bigint);
    ASSERT (SELECT (acked_through, head, lag_chunks) FROM millrace.consumers WHERE stream = 'streams') = (6::bigint, 7::bigint, 1::bigint);
END $$;

-- However many chunks were acked, and with rejects only here and there, the deliveries kept stay few and the last hundred acks are remembered.
SELECT mill_test.make_pipeline('flat');
SELECT millrace.create_consumer('flat', 'c'), millrace.create_consumer('flat.rejects', 'c');
SELECT mill_test.seal('flat', 1, CASE WHEN n % 3 = 0 THEN 1 ELSE 0 END) FROM generate_series(1, 1000) n;
DO $$
DECLARE
    k    record;
    name text;
    most bigint := 0;
    seen bigint := 0;
BEGIN
    FOREACH name IN ARRAY '{flat,flat.rejects}'::text[] LOOP
        LOOP
            SELECT * INTO k FROM millrace.next_chunk(name, 'c');
            EXIT WHEN NOT FOUND;
            PERFORM millrace.ack(name, 'c', k.chunk_no);
            seen := seen + 1;
            most := greatest(most, (SELECT count(*) FROM millrace.deliveries d WHERE d.stream = name));
        END LOOP;
    END LOOP;
    ASSERT seen = 1000 + 333, seen::text;
    ASSERT most BETWEEN 100 AND 164, most::text;
    ASSERT (SELECT min(n) FROM (SELECT count(*) AS n FROM millrace.deliveries WHERE stream LIKE 'flat%' GROUP BY stream) s) >= 100;
    ASSERT millrace.ack('flat', 'c', 901) = 'already_acked';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.ack('flat', 'c', 1)$q$) = 'MR002', 'forgotten, and so refused';
END $$;

-- Looking for the next chunk is an index probe, with an empty table's statistics or a full one's.
CREATE FUNCTION mill_test.buffers_of(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
SELECT mill_test.make_pipeline('long');
SELECT millrace.create_consumer('long', 'slow'), millrace.create_consumer('long.rejects', 'idle');
SELECT mill_test.seal('long', 1, 0);
DO $$
DECLARE
    few  bigint;
    many bigint;
BEGIN
    FOR i IN 1..10 LOOP
        few := mill_test.buffers_of($q$SELECT * FROM millrace.next_chunk('long', 'slow')$q$);
        PERFORM millrace.release('long', 'slow', 1);
    END LOOP;
    INSERT INTO millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source)
    SELECT p.id, n, 1, 0, 0, now(), '0', '{}' FROM millrace.pipeline p, generate_series(2, 100000) n WHERE p.name = 'long';
    UPDATE millrace.position SET head = 100000 FROM millrace.pipeline p WHERE p.id = pipeline_id AND p.name = 'long';
    -- The least of some: a call that comes behind an autovacuum reads catalogs anew, which is not what is asked here.
    FOR i IN 1..10 LOOP
        many := least(many, mill_test.buffers_of($q$SELECT * FROM millrace.next_chunk('long', 'slow')$q$));
        PERFORM millrace.release('long', 'slow', 1);
    END LOOP;
    ASSERT many < few + 50, format('%s buffers with few chunks, %s with many', few, many);
    many := NULL;
    FOR i IN 1..10 LOOP
        many := least(many, mill_test.buffers_of($q$SELECT * FROM millrace.next_chunk('long.rejects', 'idle')$q$));
    END LOOP;
    ASSERT many < 50, format('%s buffers to find that none of many chunks has rejects', many);
END $$;
