-- Promises of pause_consumer, resume_consumer, skip, redrive and seek.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('admin');
SELECT mill_test.seal('admin', 1, 0, now() - make_interval(hours => 20 - n)) FROM generate_series(1, 12) n;

-- pause: no chunk, but the one in work may be acked.
SELECT millrace.create_consumer('admin', 'p');
DO $$ BEGIN
    PERFORM millrace.next_chunk('admin', 'p');
    PERFORM millrace.pause_consumer('admin', 'p', 'lunch');
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('admin', 'p')), 'no row';
    ASSERT (SELECT (state, state_reason) FROM millrace.consumers WHERE stream = 'admin' AND consumer = 'p') = ('paused'::text, 'lunch'::text);
    ASSERT millrace.ack('admin', 'p', 1) = 'acked';
    PERFORM millrace.resume_consumer('admin', 'p');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'p')) = 2;
END $$;

-- skip: the next, one in work, one ahead, a dead one; never one that is done.
SELECT millrace.create_consumer('admin', 's', max_attempts => 1);
DO $$
DECLARE
    k record;
BEGIN
    PERFORM millrace.skip('admin', 's', 1, 'the next');
    SELECT * INTO k FROM millrace.next_chunk('admin', 's');
    ASSERT k.chunk_no = 2;
    PERFORM millrace.skip('admin', 's', 2, 'in work');
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 2, %L)', 'admin', 's', k.token)) = 'MR001', 'its worker must roll back';
    PERFORM millrace.skip('admin', 's', 4, 'ahead'), millrace.skip('admin', 's', 5, 'ahead');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 's')) = 3;
    ASSERT (SELECT lag_chunks FROM millrace.consumers WHERE stream = 'admin' AND consumer = 's') = 8, 'skipped chunks are no lag';
    PERFORM millrace.ack('admin', 's', 3);
    ASSERT (SELECT acked_through FROM millrace.consumers WHERE stream = 'admin' AND consumer = 's') = 5;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 's')) = 6;
    ASSERT millrace.nack('admin', 's', 6) = 'dead';
    PERFORM millrace.skip('admin', 's', 6, 'dead');
    ASSERT NOT EXISTS (SELECT FROM millrace.dead_letters WHERE stream = 'admin' AND consumer = 's');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.skip('admin', 's', 3, 'late')$q$) = '55000';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.skip('admin', 's', 99, 'none')$q$) = '42704';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.skip('admin', 's', 7, NULL)$q$) = '22004';
    ASSERT (SELECT count(*) FROM millrace.event WHERE kind = 'chunk_skipped' AND subject = 'admin/s') = 5;
    ASSERT (SELECT closed_kept = (SELECT count(*) FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.state IN ('acked', 'skipped'))
            FROM millrace.consumer c WHERE c.stream = 'admin' AND c.name = 's'), 'the count of kept rows is right';
END $$;

-- skip helps a halted consumer over its chunk.
SELECT millrace.create_consumer('admin', 'h', max_attempts => 1, on_poison => 'halt');
DO $$ BEGIN
    PERFORM millrace.next_chunk('admin', 'h');
    PERFORM millrace.nack('admin', 'h', 1);
    PERFORM millrace.skip('admin', 'h', 1, 'written off');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.next_chunk('admin', 'h')$q$) = 'MR004';
    PERFORM millrace.resume_consumer('admin', 'h');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'h')) = 2;
END $$;

-- redrive: a dead chunk again, beside the cursor, with all its attempts and a new replay_no; one chunk at a time all the same.
SELECT millrace.create_consumer('admin', 'r', max_attempts => 2, backoff => '1 hour');
DO $$
DECLARE
    k record;
BEGIN
    PERFORM millrace.next_chunk('admin', 'r');
    PERFORM millrace.nack('admin', 'r', 1, delay => '0');
    PERFORM millrace.next_chunk('admin', 'r');
    ASSERT millrace.nack('admin', 'r', 1) = 'dead';
    PERFORM millrace.next_chunk('admin', 'r');
    PERFORM millrace.redrive('admin', 'r', 1);
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'r')) = 2, 'chunk 2 is in work';
    PERFORM millrace.ack('admin', 'r', 2);
    SELECT * INTO k FROM millrace.next_chunk('admin', 'r', worker => 'a');
    ASSERT k.chunk_no = 1 AND k.attempt = 1 AND k.redelivered;
    ASSERT (SELECT replay_no FROM millrace.deliveries WHERE stream = 'admin' AND consumer = 'r' AND chunk_no = 1) = 1;
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('admin', 'r', worker => 'b')), 'no second lease beside it';
    ASSERT (SELECT acked_through FROM millrace.consumers WHERE stream = 'admin' AND consumer = 'r') = 2, 'the position stays';
    ASSERT millrace.nack('admin', 'r', 1, k.token) = 'retry_wait';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'r')) = 3, 'its retry holds up nobody';
    PERFORM millrace.ack('admin', 'r', 3);
    UPDATE millrace.delivery SET visible_at = now() WHERE state = 'retry_wait' AND chunk_no = 1;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'r')) = 1;
    ASSERT millrace.ack('admin', 'r', 1) = 'acked';
    ASSERT millrace.ack('admin', 'r', 1) = 'already_acked';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'r')) = 4;
    ASSERT (SELECT (redriven, acked_through) FROM millrace.consumer WHERE stream = 'admin' AND name = 'r') = (0, 3::bigint);
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.redrive('admin', 'r', 1)$q$) = '55000', 'not dead any more';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.redrive('admin', 'r', 99)$q$) = '42704';
END $$;

-- A redriven chunk that fails again is dead again; skipped, it is closed.
DO $$
DECLARE
    k record;
BEGIN
    PERFORM millrace.nack('admin', 'r', 4, delay => '0');
    PERFORM millrace.next_chunk('admin', 'r');
    PERFORM millrace.nack('admin', 'r', 4);
    FOR i IN 1..2 LOOP
        PERFORM millrace.redrive('admin', 'r', 4);
        FOR j IN 1..2 LOOP
            ASSERT (SELECT (chunk_no, attempt) FROM millrace.next_chunk('admin', 'r')) = (4::bigint, j);
            PERFORM millrace.nack('admin', 'r', 4, delay => '0');
        END LOOP;
        ASSERT (SELECT redriven FROM millrace.consumer WHERE stream = 'admin' AND name = 'r') = 0;
        ASSERT (SELECT dead FROM millrace.consumers WHERE stream = 'admin' AND consumer = 'r') = 1;
    END LOOP;
    PERFORM millrace.redrive('admin', 'r', 4);
    PERFORM millrace.skip('admin', 'r', 4, 'given up');
    ASSERT (SELECT redriven FROM millrace.consumer WHERE stream = 'admin' AND name = 'r') = 0;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'r')) = 5;
END $$;

-- seek: back and forth; a running lease is refused, or ended by force; replays are told by replay_no and epoch.
SELECT millrace.create_consumer('admin', 'k');
DO $$
DECLARE
    a record;
    b record;
BEGIN
    FOR i IN 1..4 LOOP
        PERFORM millrace.next_chunk('admin', 'k');
        PERFORM millrace.ack('admin', 'k', i);
    END LOOP;
    SELECT * INTO a FROM millrace.next_chunk('admin', 'k');
    ASSERT a.chunk_no = 5;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.seek('admin', 'k', 2)$q$) = '55006';
    ASSERT millrace.seek('admin', 'k', 2, force => true, reason => 'wrong rate') = 1;
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 5, %L)', 'admin', 'k', a.token)) = 'MR002';
    SELECT * INTO b FROM millrace.next_chunk('admin', 'k');
    ASSERT b.chunk_no = 2 AND b.epoch = a.epoch + 1 AND b.attempt = 1;
    ASSERT (SELECT replay_no FROM millrace.deliveries WHERE stream = 'admin' AND consumer = 'k' AND chunk_no = 2) = 1;
    PERFORM millrace.ack('admin', 'k', 2);
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'k')) = 3, 'all after it come again';
    PERFORM millrace.ack('admin', 'k', 3);
    ASSERT millrace.seek('admin', 'k', 'latest') = 12;
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('admin', 'k'));
    ASSERT millrace.seek('admin', 'k', (now() - interval '10 hours 30 minutes')::timestamptz) = 9, 'by time';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'k', lease => '1 ms')) = 10;
    PERFORM pg_sleep(0.005);
    ASSERT millrace.seek('admin', 'k', 'earliest') = 0, 'a lease that has run out does not hold it';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.seek('admin', 'k', 14)$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.seek('admin', 'k', 0)$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.seek('admin', 'k', NULL::text)$q$) = '22004';
    ASSERT (SELECT detail ->> 'from' FROM millrace.event WHERE kind = 'consumer_seek' AND subject = 'admin/k' ORDER BY id LIMIT 1) = '4', 'audited';
    ASSERT (SELECT message FROM millrace.event WHERE kind = 'consumer_seek' AND subject = 'admin/k' ORDER BY id LIMIT 1) = 'wrong rate';
    FOR i IN 1..12 LOOP
        ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'k')) = i;
        PERFORM millrace.ack('admin', 'k', i);
    END LOOP;
    ASSERT (SELECT closed_kept = (SELECT count(*) FROM millrace.delivery d WHERE d.consumer_id = c.id) FROM millrace.consumer c WHERE c.stream = 'admin' AND c.name = 'k');
END $$;

-- expired: never a silent gap.
SELECT millrace.create_consumer('admin', 'x');
UPDATE millrace.consumer SET state = 'expired' WHERE stream = 'admin' AND name = 'x';
DO $$ BEGIN
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.next_chunk('admin', 'x')$q$) = 'MR003';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.resume_consumer('admin', 'x')$q$) = 'MR003';
    PERFORM millrace.seek('admin', 'x', 'earliest');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('admin', 'x')) = 1;
END $$;
