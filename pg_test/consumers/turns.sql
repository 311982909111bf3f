-- Promises of the usual turn, which is taken without a statement: what it leaves is what statements leave.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('turns');
SELECT mill_test.seal('turns', 1, 0) FROM generate_series(1, 600);
CREATE EXTENSION IF NOT EXISTS amcheck;

-- Within one transaction no version of a row can go: it moves to other pages, and all indexes must follow it.
SELECT millrace.create_consumer('turns', 'c');
DO $$
DECLARE
    before constant tid := (SELECT ctid FROM millrace.consumer WHERE stream = 'turns' AND name = 'c');
    k      record;
BEGIN
    FOR n IN 1..500 LOOP
        SELECT * INTO k FROM millrace.next_chunk('turns', 'c');
        ASSERT k.chunk_no = n AND k.attempt = 1 AND NOT k.redelivered AND k.row_count = 1 AND k.generation = 0 AND k.slot IS NULL;
        ASSERT millrace.ack('turns', 'c', k.chunk_no, k.token) = 'acked';
    END LOOP;
    ASSERT (before::text::point)[0] <> (SELECT (ctid::text::point)[0] FROM millrace.consumer WHERE stream = 'turns' AND name = 'c'), 'the row has left its page';
END $$;
SELECT bt_index_check(i.indexrelid, heapallindexed => true)
FROM pg_index i WHERE i.indrelid IN ('millrace.consumer'::regclass, 'millrace.delivery'::regclass);
SET enable_seqscan = off;
DO $$ BEGIN
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'turns' AND name = 'c' AND state <> 'dropped' AND parent_id IS NULL) = 500;
    ASSERT (SELECT count(*) FROM millrace.delivery d JOIN millrace.consumer c ON c.id = d.consumer_id WHERE c.stream = 'turns' AND d.state <> 'acked') = 0;
END $$;
RESET enable_seqscan;

-- A row that is made so has what one by a statement has, in each column.
SELECT millrace.create_consumer('turns', 'statement', start_at => '1');
SELECT millrace.create_consumer('turns', 'direct', start_at => '1', lease => '7 minutes');
DO $$
DECLARE
    a millrace.delivery;
    b millrace.delivery;
BEGIN
    -- Redriven chunks are looked for, which is not the usual way.
    UPDATE millrace.consumer SET redriven = 1, lease = '7 minutes' WHERE stream = 'turns' AND name = 'statement';
    PERFORM millrace.next_chunk('turns', 'statement', worker => 'w');
    PERFORM millrace.next_chunk('turns', 'direct', worker => 'w');
    SELECT d.* INTO STRICT a FROM millrace.delivery d JOIN millrace.consumer c ON c.id = d.consumer_id WHERE c.stream = 'turns' AND c.name = 'statement';
    SELECT d.* INTO STRICT b FROM millrace.delivery d JOIN millrace.consumer c ON c.id = d.consumer_id WHERE c.stream = 'turns' AND c.name = 'direct';
    ASSERT a.token <> b.token AND b.lease_until = b.leased_at + interval '7 minutes' AND b.leased_at BETWEEN a.leased_at AND clock_timestamp();
    b.consumer_id := a.consumer_id;
    b.token := a.token;
    b.leased_at := a.leased_at;
    b.lease_until := a.lease_until;
    ASSERT a IS NOT DISTINCT FROM b, format('%s and %s', a, b);
END $$;

-- Nothing is written where nothing may be, and an idle look is a read.
DO $$
DECLARE
    k record;
BEGIN
    SELECT * INTO k FROM millrace.next_chunk('turns', 'c');
    PERFORM millrace.ack('turns', 'c', k.chunk_no, k.token);
END $$;
BEGIN READ ONLY;
DO $$ BEGIN
    ASSERT mill_test.sqlstate_of('SELECT millrace.next_chunk(''turns'', ''c'')') = '25006';
    ASSERT mill_test.sqlstate_of('SELECT millrace.ack(''turns'', ''direct'', 1)') = '25006';
END $$;
ROLLBACK;
BEGIN;
DO $$ BEGIN
    ASSERT NOT EXISTS (SELECT FROM millrace.next_chunk('turns', 'direct', worker => 'another'));
    ASSERT pg_current_xact_id_if_assigned() IS NULL;
END $$;
COMMIT;

-- One statement may hand a chunk out and ack it: each call sees what those before it have done, the usual ones and the others.
SELECT millrace.create_consumer('turns', 'once', start_at => '1');
DO $$ BEGIN
    FOR n IN 1..4 LOOP
        IF n % 2 = 0 THEN
            PERFORM millrace.next_chunk('turns', 'once', worker => 'w');
        END IF;
        ASSERT (SELECT millrace.ack('turns', 'once', k.chunk_no, k.token) FROM millrace.next_chunk('turns', 'once', worker => 'w') k) = 'acked';
    END LOOP;
    ASSERT (SELECT acked_through FROM millrace.consumer WHERE stream = 'turns' AND name = 'once') = 4;
END $$;
SELECT millrace.drop_consumer('turns', name, force => true) FROM unnest(ARRAY['c', 'statement', 'direct', 'once']) name;
