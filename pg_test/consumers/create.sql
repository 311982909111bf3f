-- Promises of create_consumer and drop_consumer, and of the errors of names and arguments.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('create_empty'), mill_test.make_pipeline('create_full');
SELECT mill_test.seal('create_full', 10, 0, now() - make_interval(hours => 10 - n)) FROM generate_series(1, 5) n;

DO $$ BEGIN
    ASSERT millrace.create_consumer('create_empty', 'e') = 0, 'earliest of a stream without chunks';
    ASSERT millrace.create_consumer('create_empty', 'l', 'latest') = 0, 'latest of a stream without chunks';
    ASSERT millrace.create_consumer('create_empty', 'n', '1') = 0, 'the first chunk to come, by its number';
    ASSERT millrace.create_consumer('create_empty', 't', (now() - interval '1 hour')::text) = 0, 'a time on a stream without chunks';
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('create_empty', 'e')), 'nothing to hand out yet';
    PERFORM mill_test.seal('create_empty');
    ASSERT (SELECT array_agg(k.chunk_no) FROM unnest('{e,l,n,t}'::text[]) c, millrace.next_chunk('create_empty', c) k) = '{1,1,1,1}', 'all get the first chunk';

    ASSERT millrace.create_consumer('create_full', 'e') = 0, 'earliest is before the oldest chunk';
    ASSERT millrace.create_consumer('create_full', 'l', 'latest') = 5, 'latest is after the last sealed chunk';
    ASSERT millrace.create_consumer('create_full', 'n', '3') = 2, 'a number is the first chunk handed out';
    ASSERT millrace.create_consumer('create_full', 'end', '6') = 5, 'also the very next to come';
    ASSERT millrace.create_consumer('create_full', 't', (now() - interval '7 hours 30 minutes')::text) = 2, 'a time is the first chunk sealed then or later';
    ASSERT millrace.create_consumer('create_full', 'old', '-infinity') = 0, 'a time before all chunks';
    ASSERT millrace.create_consumer('create_full', 'new', 'now') = 5, 'a time after all chunks';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('create_full', 'n')) = 3, 'number';
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('create_full', 't')) = 3, 'time';
    ASSERT millrace.create_consumer('create_full.rejects', 'e') = 0, 'names are one of a kind within a stream, not a pipeline';
END $$;

-- snapshot: the rows up to the number returned, and the chunks after it, are all there is, each once.
SELECT mill_test.make_pipeline('create_snapshot');
SELECT mill_test.seal('create_snapshot', 3), mill_test.seal('create_snapshot', 4), mill_test.seal('create_snapshot', 0, 2);
DO $$
DECLARE
    through bigint := millrace.create_consumer('create_snapshot', 's', 'snapshot');
BEGIN
    ASSERT through = 3;
    PERFORM mill_test.seal('create_snapshot', 5);
    ASSERT (SELECT count(*) FROM mill_test.create_snapshot WHERE _chunk_no <= through) = 7;
    ASSERT (SELECT (chunk_no, row_count) FROM millrace.next_chunk('create_snapshot', 's')) = (4::bigint, 5::bigint);
END $$;

-- Where the clock went back between two chunks, a start by time misses none.
SELECT mill_test.make_pipeline('create_clock');
SELECT mill_test.seal('create_clock', 1, 0, '2020-01-01 10:00:05Z'), mill_test.seal('create_clock', 1, 0, '2020-01-01 10:00:02Z');
DO $$ BEGIN
    ASSERT millrace.create_consumer('create_clock', 'c', '2020-01-01 10:00:03Z') = 0, 'chunk 1 is handed out';
    ASSERT millrace.create_consumer('create_clock', 'd', '2020-01-01 10:00:01Z') = 0, 'chunk 1 is handed out here too';
END $$;

-- Every error has its SQLSTATE.
DO $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s: %s instead of %s', statement, mill_test.sqlstate_of(statement), expected), E'\n') INTO wrong
    FROM (VALUES
        ($q$SELECT millrace.create_consumer('create_full', 'e')$q$, '42710'),
        ($q$SELECT millrace.create_consumer('nowhere', 'x')$q$, '42704'),
        ($q$SELECT millrace.create_consumer('create_full.other', 'x')$q$, '42704'),
        ($q$SELECT millrace.create_consumer('create_full.rows', 'x')$q$, '42704'),
        ($q$SELECT millrace.create_consumer('create_full.', 'x')$q$, '42704'),
        ($q$SELECT millrace.create_consumer('', 'x')$q$, '42704'),
        ($q$SELECT millrace.create_consumer(NULL, 'x')$q$, '22004'),
        ($q$SELECT millrace.create_consumer('create_full', NULL)$q$, '22004'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', NULL)$q$, '22004'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', lease => NULL)$q$, '22004'),
        ($q$SELECT millrace.create_consumer('create_full', ' ')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', 'yesteryear')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', '0')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', '7')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', '99999999999999999999999')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', 'tomorrow')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', '2020-13-01')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', mode => 'keyed')$q$, '22004'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', max_in_flight => 2)$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', claim => 'session')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', mode => 'pool', max_in_flight => 0)$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', mode => 'pool', max_in_flight => 1001)$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', mode => 'random')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', lease => '0')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', max_attempts => 0)$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', backoff => '-1 second')$q$, '22023'),
        ($q$SELECT millrace.create_consumer('create_full', 'x', on_poison => 'panic')$q$, '22023'),
        ($q$SELECT millrace.drop_consumer('create_full', 'x')$q$, '42704'),
        ($q$SELECT millrace.drop_consumer('create_full', NULL)$q$, '22004'),
        ($q$SELECT millrace.drop_consumer('create_full', 'l', NULL)$q$, '22004'),
        ($q$SELECT * FROM millrace.next_chunk('create_full', 'x')$q$, '42704'),
        ($q$SELECT * FROM millrace.next_chunk('nowhere', 'x')$q$, '42704'),
        ($q$SELECT * FROM millrace.next_chunk(NULL, 'x')$q$, '22004'),
        ($q$SELECT * FROM millrace.next_chunk('create_full', NULL)$q$, '22004'),
        ($q$SELECT * FROM millrace.next_chunk('create_full', 'l', worker => '')$q$, '22023'),
        ($q$SELECT * FROM millrace.next_chunk('create_full', 'l', lease => '-1 s')$q$, '22023'),
        ($q$SELECT * FROM millrace.next_chunk('create_full', 'l', wait => '1 hour')$q$, '22023'),
        ($q$SELECT millrace.ack('create_full', 'l', NULL)$q$, '22004'),
        ($q$SELECT millrace.nack('create_full', 'l', NULL)$q$, '22004'),
        ($q$SELECT millrace.nack('create_full', 'l', 1, delay => '-1 s')$q$, '22023'),
        ($q$SELECT millrace.release('create_full', NULL, 1)$q$, '22004'),
        ($q$SELECT millrace.extend(NULL, 'l', 1)$q$, '22004'),
        ($q$SELECT millrace.extend('create_full', 'l', 1, lease => '0')$q$, '22023')
    ) t (statement, expected)
    WHERE mill_test.sqlstate_of(statement) <> expected;
    ASSERT wrong IS NULL, wrong;
END $$;

-- An aggregate has a stream of its own, which goes with it.
INSERT INTO millrace.aggregate (pipeline_id, name, query, view_name, state_table, plan)
SELECT id, 'totals', 'SELECT', staging, staging, '{}' FROM millrace.pipeline WHERE name = 'create_full';
DO $$ BEGIN
    PERFORM millrace.create_consumer('create_full.totals', 'x');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('create_full.totals', 'x')) = 1;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.split('create_full.totals', 'x', 1)$q$) = '0A000';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.reject_rows('create_full.totals', 'x', 1, '{1}', 'bad')$q$) = '0A000';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.create_consumer('create_full.totals', 'k', mode => 'keyed', slots => 2, key => 'amount')$q$) = '22023';
    DELETE FROM millrace.aggregate WHERE name = 'totals';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('create_full.totals', 'x')$q$) = '42704';
END $$;

-- drop_consumer refuses a running lease, unless forced; then the worker's ack fails, also under a new consumer of that name.
DO $$
DECLARE
    k record;
BEGIN
    SELECT * INTO k FROM millrace.next_chunk('create_full', 'e');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.drop_consumer('create_full', 'e')$q$) = '55006', 'a lease is running';
    PERFORM millrace.drop_consumer('create_full', 'e', force => true);
    ASSERT NOT EXISTS (SELECT FROM millrace.consumers WHERE stream = 'create_full' AND consumer = 'e');
    ASSERT (SELECT detail ->> 'force' FROM millrace.event WHERE kind = 'consumer_dropped' AND subject = 'create_full/e') = 'true', 'the drop is audited';
    PERFORM millrace.create_consumer('create_full', 'e');
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, %s, %L)', 'create_full', 'e', k.chunk_no, k.token)) = 'MR002', 'not handed out by the new one';
    PERFORM millrace.next_chunk('create_full', 'e');
    ASSERT mill_test.sqlstate_of(format('SELECT millrace.ack(%L, %L, %s, %L)', 'create_full', 'e', k.chunk_no, k.token)) = 'MR001', 'the old token is no token of the new one';
END $$;
