-- Promises of split, temporary consumers and alter_consumer.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('split');
SELECT mill_test.seal('split', 10), mill_test.seal('split', 3);
SELECT millrace.create_consumer('split', 'o', max_attempts => 2, backoff => '0'), millrace.create_consumer('split', 'p', mode => 'pool', max_attempts => 1, backoff => '0');

-- Halving leads to the bad row, whatever the mode: all others are worked once, and the bad one is a dead letter by itself.
CREATE FUNCTION mill_test.work_around(consumer text, bad numeric) RETURNS numeric[] LANGUAGE plpgsql AS $$
DECLARE
    k      record;
    mine   numeric[];
    worked numeric[] := '{}';
BEGIN
    LOOP
        SELECT * INTO k FROM millrace.next_chunk('split', consumer, worker => 'w');
        EXIT WHEN NOT FOUND OR k.chunk_no > 1;
        mine := ARRAY(SELECT r.amount FROM millrace.chunk_rows(NULL::mill_test.split, k.chunk_no, 'split', consumer, k.token) r);
        ASSERT cardinality(mine) = coalesce(k.last_row_no - k.first_row_no + 1, 10);
        IF bad <> ALL (mine) THEN
            worked := worked || mine;
            ASSERT millrace.ack('split', consumer, k.chunk_no, k.token) = 'acked';
            ASSERT millrace.ack('split', consumer, k.chunk_no, k.token) = 'already_acked';
        ELSIF cardinality(mine) > 1 THEN
            PERFORM millrace.split('split', consumer, k.chunk_no, k.token);
            ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(''split'', %L, 1, %L)', consumer, k.token)) = 'MR002', 'given back';
        ELSE
            ASSERT mill_test.sqlstate_of(format('SELECT millrace.split(''split'', %L, 1, %L)', consumer, k.token)) = '55000', 'one row is not split';
            PERFORM millrace.nack('split', consumer, k.chunk_no, k.token, reason => 'bad row');
        END IF;
    END LOOP;
    IF k.chunk_no > 1 THEN
        PERFORM millrace.release('split', consumer, k.chunk_no, k.token);
    END IF;
    RETURN worked;
END
$$;
DO $$
DECLARE
    who text;
    k   record;
BEGIN
    FOREACH who IN ARRAY '{o,p}'::text[] LOOP
        ASSERT mill_test.work_around(who, 7) = '{1,2,3,4,5,6,8,9,10}', who;
        ASSERT (SELECT (chunk_no, first_row_no, last_row_no, last_error) FROM millrace.dead_letters d WHERE d.stream = 'split' AND d.consumer = who)
             = (1::bigint, 7::bigint, 7::bigint, 'bad row'::text);
        ASSERT (SELECT (acked_through, dead, lag_chunks) FROM millrace.consumers c WHERE c.stream = 'split' AND c.consumer = who) = (1::bigint, 1::bigint, 1::bigint);
        -- Mended, the part is handed out again, alone, and the consumer's position stays.
        PERFORM millrace.redrive('split', who, 1);
        SELECT * INTO k FROM millrace.next_chunk('split', who, worker => 'w');
        ASSERT (k.chunk_no, k.first_row_no, k.last_row_no) = (1::bigint, 7::bigint, 7::bigint), k::text;
        ASSERT millrace.ack('split', who, 1, k.token) = 'acked';
        ASSERT (SELECT (acked_through, dead) FROM millrace.consumers c WHERE c.stream = 'split' AND c.consumer = who) = (1::bigint, 0::bigint);
        ASSERT mill_test.sqlstate_of(format('SELECT millrace.redrive(''split'', %L, 1)', who)) = '55000';
        SELECT * INTO k FROM millrace.next_chunk('split', who, worker => 'w');
        ASSERT (k.chunk_no, k.first_row_no IS NULL) = (2::bigint, true), 'a chunk that was not split comes whole';
        PERFORM millrace.release('split', who, 2, k.token);
    END LOOP;
END $$;

-- A consumer over a range hands out that range, and is gone behind it; others are not touched.
SELECT mill_test.seal('split', 1), mill_test.seal('split', 1), mill_test.seal('split', 0, 1), mill_test.seal('split', 1);
DO $$
DECLARE
    made text;
    got  text;
    k    record;
BEGIN
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.create_consumer('split', 'x', start_at => '3', until_chunk => 2)$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.create_consumer('split', 'x', auto_drop => true)$q$) = '22023';
    FOREACH made IN ARRAY ARRAY[$q$SELECT millrace.create_consumer('split', 'again', start_at => '2', until_chunk => 5, auto_drop => true)$q$,
                                $q$SELECT millrace.create_consumer('split', 'again', start_at => '2', until_chunk => 5, auto_drop => true, mode => 'pool')$q$] LOOP
        EXECUTE made;
        got := '';
        LOOP
            SELECT * INTO k FROM millrace.next_chunk('split', 'again');
            EXIT WHEN NOT FOUND;
            got := got || k.chunk_no || ' ';
            ASSERT EXISTS (SELECT FROM millrace.consumers WHERE consumer = 'again');
            PERFORM millrace.ack('split', 'again', k.chunk_no, k.token);
        END LOOP;
        ASSERT got = '2 3 4 ', got;
        ASSERT NOT EXISTS (SELECT FROM millrace.consumers WHERE consumer = 'again'), 'gone';
    END LOOP;
    -- Without auto_drop it stays, with nothing to do.
    PERFORM millrace.create_consumer('split', 'stays', start_at => '4', until_chunk => 4);
    ASSERT millrace.consume('split', 'stays', 'SELECT 1') = 4 AND millrace.consume('split', 'stays', 'SELECT 1') IS NULL;
    ASSERT (SELECT (acked_through, lag_chunks) FROM millrace.consumers WHERE consumer = 'stays') = (4::bigint, 0::bigint);

    -- Chunks that bring once more what was there are for those who want them.
    UPDATE millrace.chunk c SET generation = 1 FROM millrace.pipeline p WHERE p.id = c.pipeline_id AND p.name = 'split' AND c.chunk_no IN (3, 6);
    PERFORM millrace.create_consumer('split', 'live', start_at => '2', backfills => false);
    ASSERT (SELECT (lag_chunks) FROM millrace.consumers WHERE consumer = 'live') = 2;
    ASSERT millrace.consume('split', 'live', 'SELECT 1') = 2 AND millrace.consume('split', 'live', 'SELECT 1') = 4 AND millrace.consume('split', 'live', 'SELECT 1') IS NULL;

    PERFORM millrace.alter_consumer('split', 'live', max_attempts => 9, blocks => false);
    ASSERT (SELECT (max_attempts, blocks) FROM millrace.consumers WHERE consumer = 'live') = (9, false);
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.alter_consumer('split', 'live', slots => 2)$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.alter_consumer('split', 'live', max_attempts => 0)$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.alter_consumer('split', 'nobody')$q$) = '42704';
END $$;
