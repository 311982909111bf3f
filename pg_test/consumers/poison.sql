-- Promises about chunks that fail for good.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('poison');
SELECT mill_test.seal('poison') FROM generate_series(1, 6) n;

-- dead_letter: after max_attempts the chunk is set aside and the next one comes.
SELECT millrace.create_consumer('poison', 'aside', max_attempts => 2, backoff => '0');
DO $$
DECLARE
    k record;
BEGIN
    PERFORM millrace.next_chunk('poison', 'aside');
    ASSERT millrace.nack('poison', 'aside', 1, reason => 'first') = 'retry_wait';
    SELECT * INTO k FROM millrace.next_chunk('poison', 'aside');
    ASSERT k.chunk_no = 1 AND k.attempt = 2;
    ASSERT millrace.nack('poison', 'aside', 1, k.token, reason => 'second') = 'dead';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'poison', 'aside', k.token)) = 'MR002', 'a dead chunk cannot be acked';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('poison', 'aside')) = 2, 'the consumer goes on';
    ASSERT (SELECT (attempts, last_error, jsonb_array_length(history), consumer_dropped) FROM millrace.dead_letters WHERE stream = 'poison' AND consumer = 'aside' AND chunk_no = 1)
         = (2, 'second'::text, 2, false);
    ASSERT (SELECT (acked_through, dead) FROM millrace.consumers WHERE stream = 'poison' AND consumer = 'aside') = (1::bigint, 1::bigint);
    ASSERT EXISTS (SELECT FROM millrace.event WHERE kind = 'chunk_dead' AND subject = 'poison/aside'), 'audited';
END $$;

-- Leases that run out count as attempts: a chunk that kills its workers is set aside too, and the one who asks gets the next.
SELECT millrace.create_consumer('poison', 'crashes', max_attempts => 2, lease => '1 millisecond');
DO $$
DECLARE
    a record;
    b record;
    c record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('poison', 'crashes', worker => 'a');
    PERFORM pg_sleep(0.005);
    SELECT * INTO b FROM millrace.next_chunk('poison', 'crashes', worker => 'b');
    PERFORM pg_sleep(0.005);
    SELECT * INTO c FROM millrace.next_chunk('poison', 'crashes', worker => 'c');
    ASSERT (a.chunk_no, b.chunk_no, b.attempt) = (1::bigint, 1::bigint, 2);
    ASSERT c.chunk_no = 2 AND c.attempt = 1 AND c.epoch = b.epoch, 'chunk 1 is set aside in the same call';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'poison', 'crashes', b.token)) = 'MR001', 'its last worker has lost it';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'poison', 'crashes', a.token)) = 'MR001';
    PERFORM millrace.ack('poison', 'crashes', 2, c.token);
END $$;

-- ... also when they all go by one name.
DO $$ BEGIN
    PERFORM millrace.next_chunk('poison', 'crashes', worker => 'same');
    PERFORM pg_sleep(0.005);
    ASSERT (SELECT (chunk_no, attempt) FROM millrace.next_chunk('poison', 'crashes', worker => 'same')) = (3::bigint, 2);
    PERFORM pg_sleep(0.005);
    ASSERT (SELECT (chunk_no, attempt) FROM millrace.next_chunk('poison', 'crashes', worker => 'same')) = (4::bigint, 1);
END $$;

-- halt: nothing more is handed out until somebody resumes; then the chunk has all its attempts again.
SELECT millrace.create_consumer('poison', 'strict', max_attempts => 1, on_poison => 'halt');
DO $$
DECLARE
    k record;
BEGIN
    SELECT * INTO k FROM millrace.next_chunk('poison', 'strict');
    ASSERT millrace.nack('poison', 'strict', 1, reason => 'money is missing') = 'halted';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('poison', 'strict')$q$) = 'MR004';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'poison', 'strict', k.token)) = 'MR002';
    ASSERT (SELECT (state, acked_through, state_reason) FROM millrace.consumers WHERE stream = 'poison' AND consumer = 'strict')
         = ('halted'::text, 0::bigint, 'chunk 1 failed 1 times: money is missing'::text);
    PERFORM millrace.resume_consumer('poison', 'strict');
    SELECT * INTO k FROM millrace.next_chunk('poison', 'strict');
    ASSERT k.chunk_no = 1 AND k.attempt = 1 AND k.redelivered;
    ASSERT millrace.ack('poison', 'strict', 1) = 'acked';
    ASSERT (SELECT count(*) FROM millrace.event WHERE subject = 'poison/strict' AND kind IN ('consumer_halted', 'consumer_resumed')) = 2;
END $$;

-- halt found out by next_chunk itself: that call returns no row, so that the halt commits; the next one raises. wait makes no difference.
SELECT millrace.create_consumer('poison', 'strict2', max_attempts => 1, on_poison => 'halt', lease => '1 millisecond');
SELECT token AS stale FROM millrace.next_chunk('poison', 'strict2', worker => 'a') \gset
SELECT pg_sleep(0.005);
SELECT count(*) = 0 AS none FROM millrace.next_chunk('poison', 'strict2', worker => 'b', wait => '5 s') \gset
\if :none
\else
    SELECT 1 / 0 AS "a chunk was handed out";
\endif
SELECT set_config('mill_test.stale', :'stale', false);
DO $$ BEGIN
    ASSERT (SELECT state FROM millrace.consumers WHERE stream = 'poison' AND consumer = 'strict2') = 'halted';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('poison', 'strict2', worker => 'b')$q$) = 'MR004';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'poison', 'strict2', current_setting('mill_test.stale'))) = 'MR001';
END $$;

-- The history of failures is bounded.
SELECT millrace.create_consumer('poison', 'stubborn', max_attempts => 1000);
DO $$ BEGIN
    FOR i IN 1..60 LOOP
        PERFORM millrace.next_chunk('poison', 'stubborn');
        PERFORM millrace.nack('poison', 'stubborn', 1, delay => '0', reason => i::text);
    END LOOP;
    ASSERT (SELECT (jsonb_array_length(history), history -> -1 ->> 'reason') FROM millrace.deliveries WHERE stream = 'poison' AND consumer = 'stubborn') = (20, '60'::text);
END $$;

-- A backoff that has been doubled many times stays within its cap, not out of range.
SELECT millrace.create_consumer('poison', 'patient', max_attempts => 1000, backoff => '1 minute', max_backoff => '1 year');
DO $$ BEGIN
    PERFORM millrace.next_chunk('poison', 'patient');
    UPDATE millrace.delivery d SET attempt = 900 FROM millrace.consumer c WHERE c.id = d.consumer_id AND c.name = 'patient';
    PERFORM millrace.nack('poison', 'patient', 1);
    ASSERT (SELECT visible_at - clock_timestamp() BETWEEN interval '365 days' AND interval '366 days' FROM millrace.deliveries WHERE consumer = 'patient');
END $$;

-- Dead letters outlive their consumer; its name is free again.
DO $$ BEGIN
    PERFORM millrace.drop_consumer('poison', 'aside', force => true);
    ASSERT (SELECT consumer_dropped FROM millrace.dead_letters WHERE stream = 'poison' AND consumer = 'aside' AND chunk_no = 1);
    ASSERT NOT EXISTS (SELECT FROM millrace.consumers WHERE stream = 'poison' AND consumer = 'aside');
    ASSERT NOT EXISTS (SELECT FROM millrace.deliveries WHERE stream = 'poison' AND consumer = 'aside');
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('poison', 'aside')$q$) = '42704';
    PERFORM millrace.create_consumer('poison', 'aside');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('poison', 'aside')) = 1;
END $$;
