-- Promises of keyed consumers: each slot gets its own rows of every chunk, in order, whatever the others do; and the number of
-- slots changes without a row lost, doubled or out of order.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('keyed');
-- The fake pipeline's rows have amounts 1 to n: the key here.
SELECT mill_test.seal('keyed', 50), mill_test.seal('keyed', 50), mill_test.seal('keyed', 50);
SELECT millrace.create_consumer('keyed', 'c', mode => 'keyed', slots => 3, key => 'amount');
CREATE TABLE mill_test.seen (id bigint GENERATED ALWAYS AS IDENTITY, key numeric, chunk_no bigint, slot integer);

CREATE FUNCTION mill_test.take(consumer text, worker text, n integer DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    k   record;
    got text := '';
BEGIN
    FOR i IN 1..n LOOP
        SELECT * INTO k FROM millrace.next_chunk('keyed', consumer, worker => take.worker);
        EXIT WHEN NOT FOUND;
        INSERT INTO mill_test.seen (key, chunk_no, slot)
        SELECT r.amount, k.chunk_no, k.slot FROM millrace.chunk_rows(NULL::mill_test.keyed, k.chunk_no, 'keyed', consumer, k.token) r;
        ASSERT millrace.ack('keyed', consumer, k.chunk_no, k.token) = 'acked';
        ASSERT millrace.ack('keyed', consumer, k.chunk_no, k.token) = 'already_acked';
        got := got || k.chunk_no || ':' || k.slot || ' ';
    END LOOP;
    RETURN got;
END
$$;

DO $$
DECLARE
    a record;
    b record;
    c record;
    f text;
BEGIN
    -- Three workers have three slots, a fourth none; each again gets its own.
    SELECT * INTO a FROM millrace.next_chunk('keyed', 'c', worker => 'a');
    SELECT * INTO b FROM millrace.next_chunk('keyed', 'c', worker => 'b');
    SELECT * INTO c FROM millrace.next_chunk('keyed', 'c', worker => 'c');
    ASSERT (a.chunk_no, b.chunk_no, c.chunk_no) = (1::bigint, 1::bigint, 1::bigint), 'every slot begins with the first chunk';
    ASSERT a.slot + b.slot + c.slot = 6 AND a.slot <> b.slot, 'each its own slot';
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('keyed', 'c', worker => 'd'));
    ASSERT (SELECT n.token FROM millrace.next_chunk('keyed', 'c', worker => 'b') n) = b.token;
    ASSERT (SELECT in_flight FROM millrace.consumers WHERE stream = 'keyed') = 3;

    -- The rows of a chunk are those of all its slots, each in one.
    ASSERT (SELECT array_agg(r.amount ORDER BY r.amount) FROM (
        SELECT * FROM millrace.chunk_rows(NULL::mill_test.keyed, 1, 'keyed', 'c', a.token)
        UNION ALL SELECT * FROM millrace.chunk_rows(NULL::mill_test.keyed, 1, 'keyed', 'c', b.token)
        UNION ALL SELECT * FROM millrace.chunk_rows(NULL::mill_test.keyed, 1, 'keyed', 'c', c.token)) r)
        = (SELECT array_agg(n::numeric) FROM generate_series(1, 50) n);
    -- A token is good for its own slot, and nobody else's chunk.
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(''keyed'', ''c'', 2, %L)', a.token)) = 'MR002';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(''keyed'', ''c'', 1, %L)', gen_random_uuid())) = 'MR001';

    -- A slot that waits for its retry holds up no other; its own keys it does.
    PERFORM millrace.nack('keyed', 'c', 1, a.token, delay => '1 hour');
    PERFORM millrace.ack('keyed', 'c', 1, b.token), millrace.ack('keyed', 'c', 1, c.token);
    FOREACH f IN ARRAY ARRAY['b', 'b', 'c', 'c'] LOOP
        ASSERT mill_test.take('c', f) <> '', 'the other slots go on';
    END LOOP;
    ASSERT mill_test.take('c', 'd') = '';
    ASSERT (SELECT (acked_through, lag_chunks, dead) FROM millrace.consumers WHERE stream = 'keyed') = (0::bigint, 3::bigint, 0::bigint), 'it stands where its last slot stands';
    ASSERT (SELECT array_agg(acked_through ORDER BY acked_through) FROM millrace.consumer_slots WHERE stream = 'keyed') = '{0,3,3}';
    UPDATE millrace.delivery d SET visible_at = now() - interval '1 second' WHERE d.state = 'retry_wait';
    ASSERT mill_test.take('c', 'd', 9) = format('1:%1$s 2:%1$s 3:%1$s ', a.slot);
    ASSERT (SELECT (acked_through, lag_chunks) FROM millrace.consumers WHERE stream = 'keyed') = (3::bigint, 0::bigint);
END $$;

-- A takeover is of one slot alone.
SELECT mill_test.seal('keyed', 50);
DO $$
DECLARE
    a record;
    h record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('keyed', 'c', worker => 'a', lease => '1 ms');
    PERFORM pg_sleep(0.01);
    PERFORM millrace.next_chunk('keyed', 'c', worker => 'x'), millrace.next_chunk('keyed', 'c', worker => 'y');
    SELECT * INTO h FROM millrace.next_chunk('keyed', 'c', worker => 'h');
    ASSERT (SELECT count(*) FROM millrace.deliveries WHERE stream = 'keyed' AND state = 'leased' AND chunk_no = 4) = 3, 'all three are out';
    ASSERT (SELECT sum(takeovers) FROM millrace.consumer_slots WHERE stream = 'keyed') = 1;
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(''keyed'', ''c'', 4, %L)', a.token)) = 'MR001';
    ASSERT mill_test.sqlstate_of(format('SELECT * FROM millrace.chunk_rows(NULL::mill_test.keyed, 4, ''keyed'', ''c'', %L)', a.token)) = 'MR001';
    -- Another number of slots waits for what is out, and is refused by name meanwhile.
    PERFORM millrace.alter_consumer('keyed', 'c', slots => 5);
    ASSERT (SELECT next_slots FROM millrace.consumers WHERE stream = 'keyed') = 5;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.alter_consumer('keyed', 'c', slots => 2)$q$) = '55000';
    PERFORM mill_test.seal('keyed', 50);
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('keyed', 'c', worker => 'new')), 'nothing newer while it drains';
    PERFORM millrace.ack('keyed', 'c', d.chunk_no, d.token) FROM millrace.deliveries d WHERE d.stream = 'keyed' AND d.state = 'leased';
    ASSERT mill_test.take('c', 'new', 99) ~ '^5:1 5:2 5:3 5:4 5:5 $', 'then the new slots go on behind it';
    ASSERT (SELECT (acked_through, slots, next_slots IS NULL) FROM millrace.consumers WHERE stream = 'keyed') = (5::bigint, 5, true);
END $$;

-- Every key was worked once a chunk, and in order, for the slots that this test took rows of.
DO $$ BEGIN
    ASSERT NOT EXISTS (SELECT FROM mill_test.seen GROUP BY key, chunk_no HAVING count(*) > 1);
    ASSERT NOT EXISTS (SELECT FROM (SELECT chunk_no, lag(chunk_no) OVER (PARTITION BY key ORDER BY id) AS before FROM mill_test.seen) s WHERE before >= chunk_no);
    ASSERT (SELECT count(*) FROM mill_test.seen WHERE chunk_no = 5) = 50;
END $$;

-- Dead letters are a slot's own; a halted slot holds up no other, and says so once nothing else is left. Operators act on all slots.
SELECT millrace.create_consumer('keyed', 'k_dead', mode => 'keyed', slots => 2, key => 'amount', max_attempts => 1, start_at => '5'),
       millrace.create_consumer('keyed', 'k_halt', mode => 'keyed', slots => 2, key => 'amount', max_attempts => 1, start_at => '5', on_poison => 'halt');
DO $$
DECLARE
    k record;
BEGIN
    SELECT * INTO k FROM millrace.next_chunk('keyed', 'k_dead', worker => 'a');
    ASSERT millrace.nack('keyed', 'k_dead', 5, k.token) = 'dead';
    ASSERT mill_test.take('k_dead', 'b', 9) = format('5:%s ', 3 - k.slot);
    ASSERT (SELECT (chunk_no, slot) FROM millrace.dead_letters WHERE stream = 'keyed' AND consumer = 'k_dead') = (5::bigint, k.slot);
    PERFORM millrace.alter_consumer('keyed', 'k_dead', slots => 3);
    ASSERT (SELECT count(*) FILTER (WHERE retired) = 1 AND count(*) = 4 FROM millrace.consumer_slots WHERE consumer = 'k_dead'), 'the dead letter keeps its slot';
    PERFORM millrace.redrive('keyed', 'k_dead', 5);
    TRUNCATE mill_test.seen;
    ASSERT mill_test.take('k_dead', 'b', 9) = format('5:%s ', k.slot);
    ASSERT (SELECT bool_and(millrace.key_slot(key, 2) = k.slot) AND count(*) > 0 FROM mill_test.seen), 'with the rows that it died with';

    SELECT * INTO k FROM millrace.next_chunk('keyed', 'k_halt', worker => 'a');
    ASSERT millrace.nack('keyed', 'k_halt', 5, k.token) = 'halted';
    ASSERT (SELECT state FROM millrace.consumers WHERE consumer = 'k_halt') = 'halted';
    ASSERT mill_test.take('k_halt', 'b', 1) = format('5:%s ', 3 - k.slot);
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('keyed', 'k_halt')$q$) = 'MR004';
    PERFORM millrace.resume_consumer('keyed', 'k_halt');
    ASSERT mill_test.take('k_halt', 'b', 9) = format('5:%s ', k.slot);

    PERFORM millrace.seek('keyed', 'k_halt', 1);
    ASSERT regexp_replace(mill_test.take('k_halt', 'b', 99), ':.', '', 'g') = '1 1 2 2 3 3 4 4 5 5 ', 'the slots take turns';
    PERFORM mill_test.seal('keyed', 1);
    PERFORM millrace.skip('keyed', 'k_halt', 6, 'not wanted');
    ASSERT mill_test.take('k_halt', 'b', 99) = '';
    PERFORM millrace.pause_consumer('keyed', 'k_halt');
    PERFORM mill_test.seal('keyed', 1);
    ASSERT mill_test.take('k_halt', 'b', 99) = '';
    PERFORM millrace.resume_consumer('keyed', 'k_halt');
    ASSERT mill_test.take('k_halt', 'b', 1) <> '';
    PERFORM millrace.next_chunk('keyed', 'k_halt', worker => 'b');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.drop_consumer('keyed', 'k_halt')$q$) = '55006';
    PERFORM millrace.drop_consumer('keyed', 'k_halt', force => true);
    ASSERT NOT EXISTS (SELECT FROM millrace.consumer WHERE name = 'k_halt');
END $$;

-- consume works on a slot's rows by the token.
DO $$ BEGIN
    PERFORM millrace.create_consumer('keyed', 'sql', mode => 'keyed', slots => 2, key => 'amount', start_at => '7');
    TRUNCATE mill_test.seen;
    FOR i IN 1..2 LOOP
        ASSERT millrace.consume('keyed', 'sql', $q$INSERT INTO mill_test.seen (key, chunk_no, slot) SELECT amount, $1, $3
            FROM millrace.chunk_rows(NULL::mill_test.keyed, $1, 'keyed', 'sql', $2)$q$) = 7;
    END LOOP;
    ASSERT millrace.consume('keyed', 'sql', 'SELECT 1') IS NULL;
    ASSERT (SELECT count(*) FROM mill_test.seen) = 1;
END $$;
