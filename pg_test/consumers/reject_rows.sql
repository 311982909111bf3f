-- Promises of reject_rows.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('reject');
SELECT mill_test.seal('reject', 5, 1), mill_test.seal('reject', 5, 1);
SELECT millrace.create_consumer('reject', 'c'), millrace.create_consumer('reject', 'pool', mode => 'pool'),
       millrace.create_consumer('reject', 'other'), millrace.create_consumer('reject.rejects', 'r');
DO $$
DECLARE
    name text;
    a    record;
    b    record;
BEGIN
    FOREACH name IN ARRAY '{c,pool}'::text[] LOOP
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1}', 'bad')$q$, name)) = 'MR002', 'not handed out';
        SELECT * INTO a FROM millrace.next_chunk('reject', name, worker => 'a');
        ASSERT millrace.reject_rows('reject', name, 1, '{2,4}', 'no such account', a.token) = 2;
        ASSERT millrace.reject_rows('reject', name, 1, '{4,5,5}', 'again', a.token) = 1, 'a repeat is harmless';
        ASSERT millrace.reject_rows('reject', name, 1, '{}', 'none') = 0;
        ASSERT (SELECT array_agg((row_no, reason, attempt, worker)::text ORDER BY row_no) FROM millrace.rejected_rows WHERE stream = 'reject' AND consumer = name)
             = '{"(2,\"no such account\",1,a)","(4,\"no such account\",1,a)","(5,again,1,a)"}';
        ASSERT (SELECT array_agg(s.amount ORDER BY s.amount) FROM millrace.rejected_rows r JOIN mill_test.reject s ON (s._chunk_no, s._row_no) = (r.chunk_no, r.row_no)
                WHERE r.stream = 'reject' AND r.consumer = name) = '{2,4,5}', 'the rows themselves';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1,6}', 'bad')$q$, name)) = '42704', 'no such row';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{0}', 'bad')$q$, name)) = '42704', 'no such row';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1,NULL}', 'bad')$q$, name)) = '22004';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, NULL, 'bad')$q$, name)) = '22004';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1}', NULL)$q$, name)) = '22004';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 2, '{1}', 'bad', %L)$q$, name, a.token)) = 'MR002', 'another chunk';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1}', 'bad', %L)$q$, name, gen_random_uuid())) = 'MR001', 'another token';
        ASSERT millrace.ack('reject', name, 1, a.token) = 'acked';
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 1, '{1}', 'bad', %L)$q$, name, a.token)) = 'MR002', 'an ack is final';

        -- Who has lost the lease rejects nothing.
        SELECT * INTO a FROM millrace.next_chunk('reject', name, worker => 'a', lease => '1 ms');
        PERFORM pg_sleep(0.005);
        SELECT * INTO b FROM millrace.next_chunk('reject', name, worker => 'b');
        ASSERT mill_test.sqlstate_of(format($q$SELECT millrace.reject_rows('reject', %L, 2, '{1}', 'bad', %L)$q$, name, a.token)) = 'MR001', 'taken over';
        ASSERT millrace.reject_rows('reject', name, 2, '{1}', 'bad', b.token) = 1;
    END LOOP;
    ASSERT NOT EXISTS (SELECT FROM millrace.rejected_rows WHERE consumer = 'other'), 'each consumer has its own';
    PERFORM millrace.next_chunk('reject.rejects', 'r');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.reject_rows('reject.rejects', 'r', 1, '{1}', 'bad')$q$) = '0A000';

    -- What comes again is rejected again or not; what was rejected outlives its consumer.
    PERFORM millrace.seek('reject', 'c', 2, force => true);
    ASSERT (SELECT array_agg(row_no ORDER BY row_no) FROM millrace.rejected_rows WHERE consumer = 'c') = '{2,4,5}';
    PERFORM millrace.drop_consumer('reject', 'c');
    ASSERT (SELECT count(*) FROM millrace.rejected_rows WHERE consumer = 'c' AND consumer_dropped) = 3;
    PERFORM millrace.create_consumer('reject', 'c');
END $$;
