-- Promises of mode pool, as one session sees them.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('pool');
SELECT mill_test.seal('pool', CASE WHEN n = 3 THEN 0 ELSE n END, 1) FROM generate_series(1, 12) n;

-- Each worker gets another chunk, up to max_in_flight; a worker that asks again gets its own; acks come in any order, and the
-- position moves over closed chunks without a gap.
SELECT millrace.create_consumer('pool', 'c', mode => 'pool', max_in_flight => 3);
DO $$
DECLARE
    a record;
    b record;
    c record;
    e record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'c', worker => 'a');
    SELECT * INTO b FROM millrace.next_chunk('pool', 'c', worker => 'b');
    SELECT * INTO c FROM millrace.next_chunk('pool', 'c', worker => 'c');
    ASSERT (a.chunk_no, b.chunk_no, c.chunk_no) = (1::bigint, 2::bigint, 4::bigint), 'chunk 3 has no rows';
    ASSERT (a.row_count, c.row_count, a.attempt, a.redelivered) = (1::bigint, 4::bigint, 1, false);
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('pool', 'c', worker => 'd')), 'three are out';
    SELECT * INTO e FROM millrace.next_chunk('pool', 'c', worker => 'b');
    ASSERT (e.chunk_no, e.token, e.attempt, e.redelivered) = (b.chunk_no, b.token, 1, true), 'asked again, the same chunk';
    ASSERT (SELECT (in_flight, max_in_flight, lag_chunks) FROM millrace.consumers WHERE stream = 'pool' AND consumer = 'c') = (3::bigint, 3, 11::bigint);
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'pool', 'c', b.token)) = 'MR001', 'another''s chunk';
    ASSERT millrace.ack('pool', 'c', 4, c.token) = 'acked';
    ASSERT millrace.ack('pool', 'c', 4, c.token) = 'already_acked';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'c') = 0, 'chunk 1 is open';
    ASSERT millrace.ack('pool', 'c', 1, a.token) = 'acked';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'c') = 1, 'chunk 2 is open';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'c', worker => 'd')) = 5;
    ASSERT millrace.ack('pool', 'c', 2, b.token) = 'acked';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'c') = 4, 'over those acked before, and the one without rows';
    ASSERT (SELECT (acked_through, lag_chunks) FROM millrace.consumers WHERE stream = 'pool' AND consumer = 'c') = (4::bigint, 8::bigint);
END $$;

-- A retry holds up nobody, and comes before newer chunks when it is due; release gives back without charge.
SELECT millrace.create_consumer('pool', 'retry', mode => 'pool', max_in_flight => 2);
DO $$
DECLARE
    a record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'retry', worker => 'a');
    ASSERT millrace.nack('pool', 'retry', 1, a.token, delay => '1 hour', reason => 'later') = 'retry_wait';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'pool', 'retry', a.token)) = 'MR002', 'given up';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'retry', worker => 'a')) = 2;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'retry', worker => 'b')) = 4, 'a chunk that waits takes no place';
    PERFORM millrace.ack('pool', 'retry', 4);
    UPDATE millrace.delivery d SET visible_at = now() FROM millrace.consumer c WHERE c.id = d.consumer_id AND c.name = 'retry' AND d.chunk_no = 1;
    SELECT * INTO a FROM millrace.next_chunk('pool', 'retry', worker => 'b');
    ASSERT a.chunk_no = 1 AND a.attempt = 2 AND a.redelivered;
    ASSERT millrace.release('pool', 'retry', 1, a.token) = 'released';
    SELECT * INTO a FROM millrace.next_chunk('pool', 'retry', worker => 'c');
    ASSERT a.chunk_no = 1 AND a.attempt = 2;
    ASSERT millrace.extend('pool', 'retry', 1, a.token, '1 hour') > a.lease_until;
    ASSERT millrace.ack('pool', 'retry', 1, a.token) = 'acked';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'retry') = 1;
END $$;

-- Takeover: leases that have run out take the places, so they go first, even before a retry that is due; old tokens raise.
SELECT millrace.create_consumer('pool', 'late', mode => 'pool', max_in_flight => 2, lease => '1 millisecond', max_attempts => 2);
DO $$
DECLARE
    a record;
    b record;
    h record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'late', worker => 'x', lease => '1 hour');
    PERFORM millrace.nack('pool', 'late', 1, a.token, delay => '0');
    SELECT * INTO a FROM millrace.next_chunk('pool', 'late', worker => 'a', lease => '1 hour');
    ASSERT a.chunk_no = 1;
    PERFORM millrace.release('pool', 'late', 1, a.token);
    PERFORM millrace.next_chunk('pool', 'late', worker => 'p', lease => '1 hour');
    SELECT * INTO a FROM millrace.next_chunk('pool', 'late', worker => 'a', lease => '100 ms');
    SELECT * INTO b FROM millrace.deliveries WHERE stream = 'pool' AND consumer = 'late' AND chunk_no = 1;
    PERFORM millrace.release('pool', 'late', 1, b.token);
    SELECT * INTO b FROM millrace.next_chunk('pool', 'late', worker => 'b', lease => '100 ms');
    ASSERT (a.chunk_no, b.chunk_no) = (2::bigint, 1::bigint);
    PERFORM pg_sleep(0.12);
    SELECT * INTO h FROM millrace.next_chunk('pool', 'late', worker => 'h', lease => '1 hour');
    ASSERT h.chunk_no = 2 AND h.attempt = 2 AND h.redelivered AND h.epoch = a.epoch + 1 AND h.token <> a.token, 'chunk 1 was at its last attempt, and is dead';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 2, %L)', 'pool', 'late', a.token)) = 'MR001';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'pool', 'late', b.token)) = 'MR001';
    ASSERT millrace.ack('pool', 'late', 2, h.token) = 'acked';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 2, %L)', 'pool', 'late', a.token)) = 'MR001', 'also when the heir has acked';
    ASSERT (SELECT (dead, takeovers, acked_through) FROM millrace.consumers WHERE stream = 'pool' AND consumer = 'late') = (1::bigint, 1::bigint, 3::bigint);
    -- Nobody took over: the owner may still ack, and by asking again keeps its token.
    SELECT * INTO a FROM millrace.next_chunk('pool', 'late', worker => 'a');
    PERFORM pg_sleep(0.005);
    SELECT * INTO b FROM millrace.next_chunk('pool', 'late', worker => 'a');
    ASSERT (b.chunk_no, b.token, b.attempt) = (a.chunk_no, a.token, 2);
    PERFORM pg_sleep(0.005);
    ASSERT millrace.ack('pool', 'late', a.chunk_no, a.token) = 'acked';
END $$;

-- Poison: dead closes its place in the prefix alone; redrive brings it back beside the cursor.
SELECT millrace.create_consumer('pool', 'dead', mode => 'pool', max_in_flight => 4, max_attempts => 1);
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'dead', worker => 'a');
    SELECT * INTO b FROM millrace.next_chunk('pool', 'dead', worker => 'b');
    ASSERT millrace.nack('pool', 'dead', 2, b.token) = 'dead';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'dead') = 0, 'chunk 1 is open';
    PERFORM millrace.ack('pool', 'dead', 1, a.token);
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'dead') = 3;
    PERFORM millrace.redrive('pool', 'dead', 2);
    SELECT * INTO b FROM millrace.next_chunk('pool', 'dead', worker => 'b');
    ASSERT b.chunk_no = 2 AND b.attempt = 1;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'dead', worker => 'a')) = 4;
    ASSERT (SELECT redriven FROM millrace.consumer WHERE stream = 'pool' AND name = 'dead') = 1;
    ASSERT millrace.ack('pool', 'dead', 2, b.token) = 'acked';
    ASSERT (SELECT (redriven, acked_through) FROM millrace.consumer WHERE stream = 'pool' AND name = 'dead') = (0, 3::bigint);
END $$;
SELECT millrace.create_consumer('pool', 'halt', mode => 'pool', max_attempts => 1, on_poison => 'halt');
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'halt', worker => 'a');
    SELECT * INTO b FROM millrace.next_chunk('pool', 'halt', worker => 'b');
    ASSERT millrace.nack('pool', 'halt', 1, a.token) = 'halted';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.next_chunk('pool', 'halt', worker => 'a')$q$) = 'MR004';
    ASSERT millrace.ack('pool', 'halt', 2, b.token) = 'acked', 'what is in work may end';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'halt') = 0, 'a halted chunk blocks the prefix';
    PERFORM millrace.resume_consumer('pool', 'halt');
    ASSERT (SELECT (chunk_no, attempt) FROM millrace.next_chunk('pool', 'halt', worker => 'a')) = (1::bigint, 1);
END $$;

-- Operators: skip one in work and one ahead; seek ends leases only by force; pause.
SELECT millrace.create_consumer('pool', 'admin', mode => 'pool');
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('pool', 'admin', worker => 'a');
    SELECT * INTO b FROM millrace.next_chunk('pool', 'admin', worker => 'b');
    PERFORM millrace.skip('pool', 'admin', 2, 'in work'), millrace.skip('pool', 'admin', 4, 'ahead');
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 2, %L)', 'pool', 'admin', b.token)) = 'MR001';
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'admin') = 0;
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'admin', worker => 'b')) = 5;
    PERFORM millrace.ack('pool', 'admin', 1, a.token);
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'pool' AND name = 'admin') = 4;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.seek('pool', 'admin', 1)$q$) = '55006';
    PERFORM millrace.seek('pool', 'admin', 1, force => true);
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'pool', 'admin', a.token)) = 'MR002';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('pool', 'admin', worker => 'a')) = 1, 'all of it again';
    PERFORM millrace.pause_consumer('pool', 'admin');
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('pool', 'admin', worker => 'b'));
    ASSERT millrace.ack('pool', 'admin', 1) = 'acked';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.ack('pool', 'nobody', 1)$q$) = '42704';
END $$;

-- A stream of rejects, many chunks: all are handed out, few deliveries are kept, the latest hundred acks are known.
SELECT mill_test.make_pipeline('poolflat');
SELECT mill_test.seal('poolflat', 1, n % 2) FROM generate_series(1, 1200) n;
SELECT millrace.create_consumer('poolflat', 'c', mode => 'pool'), millrace.create_consumer('poolflat.rejects', 'c', mode => 'pool');
DO $$
DECLARE
    k    record;
    name text;
    seen bigint := 0;
    most bigint := 0;
BEGIN
    FOREACH name IN ARRAY '{poolflat,poolflat.rejects}'::text[] LOOP
        LOOP
            SELECT * INTO k FROM millrace.next_chunk(name, 'c');
            EXIT WHEN NOT FOUND;
            PERFORM millrace.ack(name, 'c', k.chunk_no);
            seen := seen + 1;
            most := greatest(most, (SELECT count(*) FROM millrace.deliveries d WHERE d.stream = name));
        END LOOP;
    END LOOP;
    ASSERT seen = 1800, seen::text;
    ASSERT most BETWEEN 100 AND 164, most::text;
    ASSERT (SELECT min(n) FROM (SELECT count(*) AS n FROM millrace.deliveries WHERE stream LIKE 'poolflat%' GROUP BY stream) s) >= 100;
    ASSERT millrace.ack('poolflat', 'c', 1101) = 'already_acked';
    ASSERT (SELECT bool_and(lag_chunks = 0 AND acked_through = 1200) FROM millrace.consumers WHERE stream LIKE 'poolflat%');
END $$;
