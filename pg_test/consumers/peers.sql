-- Bugs that other queues on Postgres have had, one after the other: none of them is here. The races among them are specs of pg_test/isolation;
-- docs/internals/consumers.md names both for each.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('peers');
SELECT mill_test.seal('peers', 5), mill_test.seal('peers', 5), mill_test.seal('peers', 5);
CREATE FUNCTION mill_test.said(answer text, consumer text, chunk_no bigint, token uuid) RETURNS text LANGUAGE sql AS $$
    SELECT mill_test.sqlstate_of(format(CASE answer WHEN 'reject_rows' THEN 'SELECT millrace.reject_rows(''peers'', %2$L, %3$s, ''{1}'', ''bad'', %4$L)'
                                                    ELSE 'SELECT millrace.%1$I(''peers'', %2$L, %3$s, %4$L)' END, answer, consumer, chunk_no, token))
$$;

-- Zombie acks: a worker that was taken over is never told that all is well, neither before nor after its heir has acked.
SELECT millrace.create_consumer('peers', name, mode => mode, lease => '1 ms') FROM (VALUES ('ordered', 'ordered'), ('pool', 'pool')) c (name, mode);
DO $$
DECLARE
    consumer text;
    zombie   record;
    heir     record;
BEGIN
    FOREACH consumer IN ARRAY '{ordered,pool}'::text[] LOOP
        SELECT * INTO zombie FROM millrace.next_chunk('peers', consumer, worker => 'zombie');
        PERFORM pg_sleep(0.005);
        SELECT * INTO heir FROM millrace.next_chunk('peers', consumer, worker => 'heir', lease => '1 hour');
        ASSERT heir.chunk_no = zombie.chunk_no AND heir.token <> zombie.token AND heir.epoch > zombie.epoch;
        ASSERT mill_test.said('ack', consumer, 1, zombie.token) = 'MR001', 'the heir is at work';
        ASSERT millrace.ack('peers', consumer, 1, heir.token) = 'acked';
        ASSERT mill_test.said('ack', consumer, 1, zombie.token) = 'MR001', 'the heir has acked';
        ASSERT millrace.ack('peers', consumer, 1, heir.token) = 'already_acked', 'only who acked is told so';
    END LOOP;
END $$;

-- Ownership, and the forged nack: whatever is said needs the token of this very lease. One that is made up, of another chunk or of another consumer changes nothing.
DO $$
DECLARE
    target   text;
    answer   text;
    mine     record;
    other    record;
    before   text;
BEGIN
    FOREACH target IN ARRAY '{ordered,pool}'::text[] LOOP
        SELECT * INTO mine FROM millrace.next_chunk('peers', target, worker => 'me', lease => '1 hour');
        SELECT * INTO other FROM millrace.next_chunk('peers', CASE target WHEN 'pool' THEN 'ordered' ELSE 'pool' END, worker => 'you', lease => '1 hour');
        SELECT d::text INTO before FROM millrace.deliveries d WHERE d.stream = 'peers' AND d.consumer = target AND d.chunk_no = mine.chunk_no;
        FOREACH answer IN ARRAY '{ack,nack,release,extend,split,reject_rows}'::text[] LOOP
            ASSERT mill_test.said(answer, target, mine.chunk_no, gen_random_uuid()) = 'MR001', answer || ' with a token that is made up';
            ASSERT mill_test.said(answer, target, mine.chunk_no, other.token) = 'MR001', answer || ' with a token of another consumer';
            ASSERT mill_test.said(answer, target, mine.chunk_no + 1, mine.token) = 'MR002', answer || ' for another chunk';
        END LOOP;
        ASSERT (SELECT d::text FROM millrace.deliveries d WHERE d.stream = 'peers' AND d.consumer = target AND d.chunk_no = mine.chunk_no) = before, 'nothing has changed';
        ASSERT mill_test.said('reject_rows', target, mine.chunk_no, mine.token) = 'ok';
        ASSERT mill_test.sqlstate_of(format('SELECT millrace.reject_rows(''peers'', %L, %s, ''{99}'', ''bad'', %L)', target, mine.chunk_no, mine.token)) = '42704', 'a row that is made up';
        PERFORM millrace.release('peers', target, mine.chunk_no, mine.token);
        PERFORM millrace.release('peers', other_name, other.chunk_no, other.token) FROM (SELECT CASE target WHEN 'pool' THEN 'ordered' ELSE 'pool' END AS other_name) o;
    END LOOP;
END $$;

-- Duplicate dead letters: a chunk that dies again, or is set aside by two who find it out, is one letter; a row that is rejected again is one row.
SELECT millrace.create_consumer('peers', 'letters', max_attempts => 1);
DO $$
DECLARE
    k record;
BEGIN
    FOR turn IN 1..3 LOOP
        SELECT * INTO k FROM millrace.next_chunk('peers', 'letters');
        PERFORM millrace.reject_rows('peers', 'letters', 1, '{2,3}', 'bad');
        ASSERT millrace.nack('peers', 'letters', k.chunk_no, k.token, reason => 'bad') = 'dead';
        ASSERT mill_test.said('nack', 'letters', k.chunk_no, k.token) = 'MR002', 'said twice';
        ASSERT (SELECT count(*) FROM millrace.dead_letters l WHERE l.consumer = 'letters') = 1;
        ASSERT (SELECT count(*) FROM millrace.rejected_rows r WHERE r.consumer = 'letters') = 2;
        PERFORM millrace.redrive('peers', 'letters', 1);
    END LOOP;
END $$;

-- Partial receive: a chunk is handed out whole, in one answer, and read whole; nothing of it is acked before all is.
SELECT millrace.create_consumer('peers', 'whole', start_at => '2');
DO $$
DECLARE
    k record;
BEGIN
    SELECT * INTO k FROM millrace.next_chunk('peers', 'whole');
    ASSERT k.row_count = 5 AND (SELECT count(*) FROM millrace.chunk_rows(NULL::mill_test.peers, k.chunk_no)) = 5;
    PERFORM millrace.nack('peers', 'whole', k.chunk_no, k.token, delay => '0');
    SELECT * INTO k FROM millrace.next_chunk('peers', 'whole');
    ASSERT k.row_count = 5 AND k.first_row_no IS NULL AND (SELECT count(*) FROM millrace.chunk_rows(NULL::mill_test.peers, k.chunk_no)) = 5, 'all of it again';
END $$;

-- Pinned retention: neither a consumer that is gone for good nor a dead letter keeps what is past the longest retention; the consumer expires, and is told.
SELECT mill_test.seal('peers', 5) FROM generate_series(1, 7);
DO $$
DECLARE
    plan record;
BEGIN
    SELECT * INTO plan FROM millrace._plan_retention((SELECT id FROM millrace.pipeline WHERE name = 'peers'), 'chunks', 2, 'chunks', 4, '{1,2,3,4,5,6,7,8,9}');
    ASSERT plan.through = 6 AND 2 = ANY (plan.pinned), plan::text;
    ASSERT (SELECT array_agg(DISTINCT state) FROM millrace.consumers WHERE stream = 'peers') = '{expired}';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('peers', 'ordered')$q$) = 'MR003', 'never a silent gap';
    ASSERT millrace.ack('peers', 'whole', 2) = 'acked', 'what was at work may end';
END $$;

-- A stream without chunks has consumers all the same: create.sql. A consumer that joins late misses nothing and gets nothing twice: create.sql, start.spec.
-- The number of slots changes without a row out of order: keyed.sql, keyed.spec.
