-- Promises of next_chunk, ack, nack, release, extend and chunk_rows, as one session sees them.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('answer');
SELECT mill_test.seal('answer', n, 0) FROM generate_series(1, 9) n;

-- The same worker gets the same chunk and token with a longer lease; another worker gets none.
SELECT millrace.create_consumer('answer', 'own');
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'own', lease => '1 minute');
    ASSERT a.chunk_no = 1 AND a.attempt = 1 AND NOT a.redelivered AND a.row_count = 1 AND a.epoch = 1;
    ASSERT a.lease_until BETWEEN clock_timestamp() + interval '50 s' AND clock_timestamp() + interval '1 minute';
    SELECT * INTO b FROM millrace.next_chunk('answer', 'own', lease => '2 minutes');
    ASSERT (b.chunk_no, b.token, b.epoch, b.attempt) = (a.chunk_no, a.token, a.epoch, a.attempt), 'same chunk, same lease';
    ASSERT b.redelivered AND b.lease_until > a.lease_until + interval '50 s', 'renewed';
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'own', worker => 'other')), 'one chunk at a time';
    ASSERT (SELECT count(*) FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'own') = 1;
END $$;

-- ack: once; again by the same lease it says so; never for another chunk, token or consumer.
SELECT millrace.create_consumer('answer', 'twin');
DO $$
DECLARE
    a record;
BEGIN
    PERFORM millrace.next_chunk('answer', 'twin');
    SELECT * INTO a FROM millrace.next_chunk('answer', 'own');
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 2, %L)', 'answer', 'own', a.token)) = 'MR002', 'another chunk';
    ASSERT mill_test.sqlstate_of('SELECT millrace.ack(''answer'', ''own'', 2)') = 'MR002', 'a chunk that was not handed out';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'twin', a.token)) = 'MR001', 'another consumer';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'own', gen_random_uuid())) = 'MR001', 'another token';
    ASSERT millrace.ack('answer', 'own', 1, a.token) = 'acked';
    ASSERT millrace.ack('answer', 'own', 1, a.token) = 'already_acked', 'the same token';
    ASSERT millrace.ack('answer', 'own', 1) = 'already_acked', 'the same session';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'own', gen_random_uuid())) = 'MR001', 'not for another token';
    ASSERT mill_test.sqlstate_of('SELECT millrace.nack(''answer'', ''own'', 1)') = 'MR002', 'an ack is final';
    ASSERT mill_test.sqlstate_of('SELECT millrace.release(''answer'', ''own'', 1)') = 'MR002', 'an ack is final';
    ASSERT mill_test.sqlstate_of('SELECT millrace.extend(''answer'', ''own'', 1)') = 'MR002', 'an ack is final';
    ASSERT (SELECT acked_through FROM millrace.consumers WHERE stream = 'answer' AND consumer = 'own') = 1;
    SELECT * INTO a FROM millrace.next_chunk('answer', 'own');
    ASSERT a.chunk_no = 2 AND a.attempt = 1 AND NOT a.redelivered;
END $$;

-- A session may answer without a token for a worker's name that it passed itself.
SELECT millrace.create_consumer('answer', 'named');
DO $$ BEGIN
    PERFORM millrace.next_chunk('answer', 'named', worker => 'w1');
    ASSERT millrace.ack('answer', 'named', 1) = 'acked';
END $$;

-- A lease that has run out still answers while nobody has taken over.
SELECT millrace.create_consumer('answer', 'grace', lease => '1 millisecond');
DO $$
DECLARE
    a record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'grace');
    PERFORM pg_sleep(0.01);
    ASSERT millrace.extend('answer', 'grace', 1, a.token, '2 milliseconds') > a.lease_until, 'extend';
    PERFORM pg_sleep(0.01);
    ASSERT millrace.ack('answer', 'grace', 1, a.token) = 'acked', 'ack';
END $$;

-- A worker that asks again after its lease has run out keeps its token, and an attempt is charged.
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'grace');
    PERFORM pg_sleep(0.01);
    SELECT * INTO b FROM millrace.next_chunk('answer', 'grace');
    ASSERT b.token = a.token AND b.epoch = a.epoch AND b.attempt = 2 AND b.redelivered;
    ASSERT millrace.ack('answer', 'grace', b.chunk_no, a.token) = 'acked';
END $$;

-- Takeover: a fresh token, the next epoch, one attempt more; the old token raises on every answer, also when the heir has acked.
DO $$
DECLARE
    a   record;
    b   record;
    ans text;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'grace', worker => 'a');
    PERFORM pg_sleep(0.01);
    SELECT * INTO b FROM millrace.next_chunk('answer', 'grace', worker => 'b', lease => '1 hour');
    ASSERT b.chunk_no = a.chunk_no AND b.token <> a.token AND b.epoch = a.epoch + 1 AND b.attempt = 2 AND b.redelivered;
    FOREACH ans IN ARRAY '{ack,nack,release,extend}'::text[] LOOP
        ASSERT mill_test.sqlstate_of(format('SELECT millrace.%I(%L, %L, %s, %L)', ans, 'answer', 'grace', a.chunk_no, a.token)) = 'MR001', ans;
    END LOOP;
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'grace', worker => 'a')), 'the loser gets no chunk while the heir works';
    ASSERT millrace.ack('answer', 'grace', b.chunk_no, b.token) = 'acked';
    FOREACH ans IN ARRAY '{ack,nack,release,extend}'::text[] LOOP
        ASSERT mill_test.sqlstate_of(format('SELECT millrace.%I(%L, %L, %s, %L)', ans, 'answer', 'grace', a.chunk_no, a.token)) = 'MR001', ans || ' after the heir''s ack';
    END LOOP;
    ASSERT (SELECT takeovers FROM millrace.consumers WHERE stream = 'answer' AND consumer = 'grace') = 1;
    ASSERT (SELECT last_error FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'grace' AND chunk_no = a.chunk_no) = 'the lease of worker "a" ran out';
    SELECT * INTO a FROM millrace.next_chunk('answer', 'grace');
    ASSERT a.epoch = b.epoch, 'a fresh chunk is no takeover';
END $$;

-- nack: waits, then comes again before later chunks, with a new token and the next attempt; the consumer does not go on meanwhile.
SELECT millrace.create_consumer('answer', 'retry', backoff => '10 minutes', max_backoff => '30 minutes');
CREATE FUNCTION pg_temp.minutes_to_retry() RETURNS numeric LANGUAGE sql AS $$
    SELECT round(EXTRACT(epoch FROM visible_at - clock_timestamp()) / 60) FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'retry'
$$;
CREATE FUNCTION pg_temp.let_time_pass() RETURNS void LANGUAGE sql AS $$
    UPDATE millrace.delivery SET visible_at = clock_timestamp() WHERE state = 'retry_wait'
$$;
DO $$
DECLARE
    a record;
    b record;
    d record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'retry');
    ASSERT millrace.nack('answer', 'retry', 1, a.token, reason => 'no luck') = 'retry_wait';
    SELECT * INTO d FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'retry';
    ASSERT d.state = 'retry_wait' AND d.last_error = 'no luck' AND d.history -> 0 ->> 'reason' = 'no luck' AND d.lease_until IS NULL;
    ASSERT pg_temp.minutes_to_retry() = 10;
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'retry')), 'not yet, and nothing else';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'retry', a.token)) = 'MR002', 'given back';
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.nack(%L, %L, 1, %L)', 'answer', 'retry', a.token)) = 'MR002', 'given back';
    PERFORM pg_temp.let_time_pass();
    SELECT * INTO b FROM millrace.next_chunk('answer', 'retry');
    ASSERT b.chunk_no = 1 AND b.attempt = 2 AND b.redelivered AND b.token <> a.token AND b.epoch = a.epoch;
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'retry', a.token)) = 'MR001', 'the token of the first attempt';
    PERFORM millrace.nack('answer', 'retry', 1);
    ASSERT pg_temp.minutes_to_retry() = 20, 'doubled';
    PERFORM pg_temp.let_time_pass();
    PERFORM millrace.next_chunk('answer', 'retry');
    PERFORM millrace.nack('answer', 'retry', 1);
    ASSERT pg_temp.minutes_to_retry() = 30, 'capped';
    PERFORM pg_temp.let_time_pass();
    PERFORM millrace.next_chunk('answer', 'retry');
    PERFORM millrace.nack('answer', 'retry', 1, delay => '0');
    ASSERT (SELECT attempt FROM millrace.next_chunk('answer', 'retry')) = 5, 'delay => 0 comes at once';
    PERFORM millrace.ack('answer', 'retry', 1);
    ASSERT (SELECT jsonb_array_length(history) FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'retry') = 4, 'each failure is kept';
END $$;

-- release: at once, for anybody, and no attempt is charged.
SELECT millrace.create_consumer('answer', 'gentle', max_attempts => 1);
DO $$
DECLARE
    a record;
    b record;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'gentle', worker => 'a');
    ASSERT millrace.release('answer', 'gentle', 1, a.token) = 'released';
    SELECT * INTO b FROM millrace.next_chunk('answer', 'gentle', worker => 'b');
    ASSERT b.chunk_no = 1 AND b.attempt = 1 AND b.redelivered AND b.token <> a.token;
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, 1, %L)', 'answer', 'gentle', a.token)) = 'MR001';
    PERFORM millrace.release('answer', 'gentle', 1, b.token);
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.release(%L, %L, 1, %L)', 'answer', 'gentle', b.token)) = 'MR002';
END $$;

-- The rows of a chunk; an unknown chunk has none.
CREATE VIEW mill_test.answer_view AS SELECT amount * 2 AS twice, _chunk_no FROM mill_test.answer;
CREATE TYPE mill_test.no_table AS (_chunk_no bigint);
ALTER TABLE mill_test.answer ADD COLUMN gone int, ADD COLUMN extra text DEFAULT 'x';
ALTER TABLE mill_test.answer DROP COLUMN gone;
DO $$ BEGIN
    ASSERT (SELECT (count(*), sum(amount), min(extra)) FROM millrace.chunk_rows(NULL::mill_test.answer, 4)) = (4::bigint, 10::numeric, 'x'::text);
    ASSERT (SELECT sum(twice) FROM millrace.chunk_rows(NULL::mill_test.answer_view, 4)) = 20;
    ASSERT NOT EXISTS (SELECT FROM millrace.chunk_rows(NULL::mill_test.answer, 999));
    ASSERT mill_test.sqlstate_of('SELECT millrace.chunk_rows(NULL::mill_test.answer, NULL)') = '22004';
    ASSERT mill_test.sqlstate_of('SELECT millrace.chunk_rows(NULL::integer, 1)') = '42809';
    ASSERT mill_test.sqlstate_of('SELECT millrace.chunk_rows(NULL::pg_class, 1)') = '42809';
    ASSERT mill_test.sqlstate_of('SELECT millrace.chunk_rows(NULL::mill_test.no_table, 1)') = '42809';
END $$;

-- Work and ack in one transaction, in both orders, under a path that shadows everything.
SELECT millrace.create_consumer('answer', 'one');
CREATE TABLE mill_test.sink (LIKE mill_test.answer);
SET search_path = mill_test, public;
DO $$
DECLARE
    k record;
BEGIN
    FOR i IN 1..20 LOOP
        SELECT * INTO k FROM millrace.next_chunk('answer', 'one');
        EXIT WHEN NOT FOUND;
        INSERT INTO mill_test.sink SELECT * FROM millrace.chunk_rows(NULL::mill_test.answer, k.chunk_no);
        PERFORM millrace.ack('answer', 'one', k.chunk_no);
    END LOOP;
    ASSERT (SELECT count(*) FROM mill_test.sink) = (SELECT count(*) FROM mill_test.answer);
    ASSERT (SELECT (lag_chunks, lag_rows, lag_seconds) FROM millrace.consumers WHERE stream = 'answer' AND consumer = 'one') = (0::bigint, 0::bigint, 0::float8);
END $$;
RESET search_path;

-- wait: gives up in time, and takes what is there at once.
DO $$
DECLARE
    begun timestamptz := clock_timestamp();
BEGIN
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'one', wait => '150 ms'));
    ASSERT clock_timestamp() - begun BETWEEN interval '150 ms' AND interval '5 s';
    PERFORM mill_test.seal('answer');
    begun := clock_timestamp();
    ASSERT EXISTS (SELECT FROM millrace.next_chunk('answer', 'one', wait => '30 s'));
    ASSERT clock_timestamp() - begun < interval '5 s';
END $$;

-- extend: the lease runs on from now, as long as asked or as long as next_chunk gave, and nobody takes over meanwhile.
SELECT millrace.create_consumer('answer', 'heart', lease => '1 second');
DO $$
DECLARE
    a       record;
    new_end timestamptz;
BEGIN
    SELECT * INTO a FROM millrace.next_chunk('answer', 'heart', worker => 'a');
    FOR i IN 1..5 LOOP
        PERFORM pg_sleep(0.3);
        PERFORM millrace.extend('answer', 'heart', 1, a.token);
    END LOOP;
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'heart', worker => 'b')), 'kept alive';
    new_end := millrace.extend('answer', 'heart', 1, a.token, '1 hour');
    ASSERT (SELECT lease_until FROM millrace.deliveries WHERE stream = 'answer' AND consumer = 'heart') = new_end;
    PERFORM pg_sleep(1.1);
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('answer', 'heart', worker => 'b')), 'for an hour';
    PERFORM millrace.extend('answer', 'heart', 1, a.token, '1 millisecond');
    PERFORM pg_sleep(0.005);
    ASSERT (SELECT attempt FROM millrace.next_chunk('answer', 'heart', worker => 'b')) = 2, 'or less, if so asked';
END $$;
