-- Promises of consume and of claim => 'tx'.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('consume');
SELECT mill_test.seal('consume', n, 0) FROM generate_series(1, 4) n;
CREATE TABLE mill_test.got (chunk_no bigint, rows bigint);
CREATE FUNCTION mill_test.fail(chunk_no bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'chunk % is bad', chunk_no; END $$;

-- Next, work and ack are one; it ends with NULL; the work runs under the caller's path.
SELECT millrace.create_consumer('consume', 'c');
SET search_path = mill_test;
DO $$
DECLARE
    done bigint[];
BEGIN
    FOR i IN 1..5 LOOP
        done := done || millrace.consume('consume', 'c', 'INSERT INTO got SELECT $1, count(*) FROM consume WHERE _chunk_no = $1');
    END LOOP;
    ASSERT done = '{1,2,3,4,NULL}', done;
    ASSERT (SELECT array_agg((chunk_no, rows)::text ORDER BY chunk_no) FROM got) = '{"(1,1)","(2,2)","(3,3)","(4,4)"}';
    ASSERT (SELECT acked_through FROM millrace.consumers WHERE stream = 'consume' AND consumer = 'c') = 4;
END $$;
RESET search_path;

-- An error of the work undoes all of it, the claim too.
SELECT millrace.create_consumer('consume', 'raise');
DO $$ BEGIN
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('consume', 'raise', 'INSERT INTO mill_test.got VALUES ($1, -1); SELECT mill_test.fail($1)')$q$) = 'P0001';
    ASSERT NOT EXISTS (SELECT FROM mill_test.got WHERE rows = -1);
    ASSERT NOT EXISTS (SELECT FROM millrace.deliveries WHERE stream = 'consume' AND consumer = 'raise'), 'as if never handed out';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.nack('consume', 'raise', 1)$q$) = 'MR002', 'nobody fails a chunk that was not handed out';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('consume', 'raise', NULL)$q$) = '22004';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('consume', 'raise', 'SELECT 1', on_error => 'shrug')$q$) = '22023';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('consume', 'nobody', 'SELECT 1')$q$) = '42704';
    ASSERT millrace.consume('consume', 'raise', 'SELECT $1') = 1;
END $$;

-- claim => 'tx': the failure is counted by a nack of its own, up to max_attempts; only for what would be handed out now.
SELECT millrace.create_consumer('consume', 'tx', claim => 'tx', max_attempts => 2),
       millrace.create_consumer('consume', 'pool', claim => 'tx', mode => 'pool', max_attempts => 2);
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{tx,pool}'::text[] LOOP
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.consume('consume', %L, 'SELECT mill_test.fail($1)')$q$, name)) = 'P0001';
        ASSERT millrace.nack('consume', name, 1, reason => 'bad') = 'retry_wait';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.nack('consume', %L, 1)$q$, name)) = 'MR002', 'counted once: it was not handed out again';
        UPDATE millrace.delivery SET visible_at = now() WHERE state = 'retry_wait';
        ASSERT millrace.nack('consume', name, 1, reason => 'bad again') = 'dead';
        ASSERT (SELECT (attempts, last_error) FROM millrace.dead_letters WHERE stream = 'consume' AND consumer = name) = (2, 'bad again'::text);
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.nack('consume', %L, 1)$q$, name)) = 'MR002', 'dead';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.nack('consume', %L, 99)$q$, name)) = 'MR002', 'no such chunk';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.nack('consume', %L, 2, gen_random_uuid())$q$, name)) = 'MR002', 'a token must be of a lease';
        ASSERT millrace.consume('consume', name, 'SELECT $1') = 2;
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.nack('consume', %L, 2)$q$, name)) = 'MR002', 'an ack is final';
    END LOOP;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.nack('consume', 'tx', 4)$q$) = 'MR002', 'ordered: it is not its turn';
    ASSERT millrace.nack('consume', 'pool', 4) = 'retry_wait';
END $$;

-- on_error => 'nack': the error undoes the work, and is counted and kept.
SELECT millrace.create_consumer('consume', 'nack', max_attempts => 2, backoff => '0');
SET client_min_messages = error;
DO $$ BEGIN
    ASSERT millrace.consume('consume', 'nack', 'INSERT INTO mill_test.got VALUES ($1, -2); SELECT mill_test.fail($1)', on_error => 'nack') IS NULL;
    ASSERT (SELECT (state, attempt, last_error) FROM millrace.deliveries WHERE stream = 'consume' AND consumer = 'nack') = ('retry_wait'::text, 1, 'chunk 1 is bad'::text);
    ASSERT millrace.consume('consume', 'nack', 'SELECT mill_test.fail($1)', on_error => 'nack') IS NULL;
    ASSERT NOT EXISTS (SELECT FROM mill_test.got WHERE rows = -2);
    ASSERT (SELECT attempts FROM millrace.dead_letters WHERE stream = 'consume' AND consumer = 'nack') = 2;
    ASSERT millrace.consume('consume', 'nack', 'SELECT $1', on_error => 'nack') = 2;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('consume', 'nack', 'DO ''BEGIN RAISE serialization_failure; END''', on_error => 'nack')$q$) = '40001', 'not the chunk''s fault';
END $$;
RESET client_min_messages;
