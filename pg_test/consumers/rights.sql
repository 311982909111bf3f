-- Promises about who may do what.
\set ON_ERROR_STOP on
SELECT mill_test.make_pipeline('rights');
SELECT mill_test.seal('rights');
GRANT USAGE ON SCHEMA mill_test TO millrace_consumer, millrace_monitor, millrace_admin;
GRANT SELECT ON mill_test.rights TO millrace_admin;

-- Nothing but the calls and the views is open to anybody.
DO $$
DECLARE
    open text;
BEGIN
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO open
    FROM pg_proc p WHERE p.pronamespace = 'millrace'::regnamespace AND has_function_privilege('millrace_monitor', p.oid, 'EXECUTE')
     AND p.proname IN ('create_consumer', 'drop_consumer', 'next_chunk', 'ack', 'nack', 'release', 'extend', 'skip', 'seek', 'redrive', 'pause_consumer', 'resume_consumer', 'chunk_rows', 'consume', 'reject_rows', 'split', 'alter_consumer', 'delivery_part', 'grant_stream', 'revoke_stream');
    ASSERT open IS NULL, 'a monitor may call ' || open;
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO open
    FROM pg_proc p, unnest('{millrace_monitor,millrace_consumer,millrace_admin}'::text[]) r
    WHERE p.pronamespace = 'millrace'::regnamespace AND p.proname LIKE '\_%' AND has_function_privilege(r, p.oid, 'EXECUTE')
     AND p.proname NOT IN ('_bucket', '_waits_for'); -- views call them with their reader's rights: arithmetic alone, and what a process waits for
    ASSERT open IS NULL, 'internal, but open: ' || open;
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO open
    FROM pg_proc p WHERE p.pronamespace = 'millrace'::regnamespace AND p.prosecdef
     AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false);
    ASSERT open IS NULL, 'runs as the owner under any search_path: ' || open;
    ASSERT NOT has_table_privilege('millrace_admin', 'millrace.consumer', 'SELECT') AND NOT has_table_privilege('millrace_admin', 'millrace.delivery', 'SELECT');
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO open
    FROM pg_proc p WHERE p.pronamespace = 'millrace'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
     AND (p.proname LIKE '\_%' OR p.proname IN ('create_consumer', 'drop_consumer', 'next_chunk', 'ack', 'nack', 'release', 'extend', 'skip', 'seek', 'redrive', 'pause_consumer', 'resume_consumer', 'chunk_rows', 'consume', 'reject_rows', 'split', 'alter_consumer', 'delivery_part', 'grant_stream', 'revoke_stream'));
    ASSERT open IS NULL, 'without a comment: ' || open;
END $$;

-- A consumer role does all of it without any right on the tables; it reads the rows with its own rights alone.
CREATE ROLE mill_stranger; GRANT millrace_consumer TO mill_stranger; GRANT USAGE ON SCHEMA mill_test TO mill_stranger;
SET ROLE mill_stranger;
DO $$ BEGIN
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.create_consumer('rights', 'c')$q$) = '42501', 'a stream that was not granted';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.grant_stream('rights', 'mill_stranger')$q$) = '42501', 'only the owner grants';
END $$;
RESET ROLE;
SELECT millrace.grant_stream('rights', 'millrace_consumer'), millrace.grant_stream('rights', 'millrace_consumer');
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM millrace.stream_grants WHERE stream = 'rights') = 1;
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.grant_stream('rights.nothing', 'millrace_consumer')$q$) = '42704';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.grant_stream('rights', 'no "such" role')$q$) = '42704';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.grant_stream(NULL, 'millrace_consumer')$q$) = '22004';
END $$;
SET ROLE millrace_consumer;
DO $$ BEGIN
    PERFORM millrace.create_consumer('rights', 'c');
    ASSERT (SELECT chunk_no FROM millrace.next_chunk('rights', 'c')) = 1;
    ASSERT mill_test.sqlstate_of('SELECT count(*) FROM millrace.chunk_rows(NULL::mill_test.rights, 1)') = '42501', 'no right on the staging table';
    ASSERT (SELECT token IS NULL FROM millrace.deliveries WHERE stream = 'rights'), 'tokens are for admins';
    PERFORM millrace.extend('rights', 'c', 1);
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('rights', 'c', 'SELECT count(*) FROM mill_test.rights WHERE _chunk_no = $1')$q$) = '42501', 'consume has the caller''s rights';
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.consume('rights', 'c', 'UPDATE millrace.consumer SET acked_through = $1')$q$) = '42501', 'never the owner''s';
END $$;
-- What was revoked is refused at once, a running lease included; the other streams never were granted.
RESET ROLE;
SELECT millrace.revoke_stream('rights', 'millrace_consumer');
SET ROLE millrace_consumer;
DO $$
DECLARE
    call text;
BEGIN
    FOREACH call IN ARRAY ARRAY[$q$SELECT * FROM millrace.next_chunk('rights', 'c')$q$, $q$SELECT millrace.ack('rights', 'c', 1)$q$, $q$SELECT millrace.nack('rights', 'c', 1)$q$,
        $q$SELECT millrace.release('rights', 'c', 1)$q$, $q$SELECT millrace.extend('rights', 'c', 1)$q$, $q$SELECT millrace.split('rights', 'c', 1)$q$,
        $q$SELECT millrace.reject_rows('rights', 'c', 1, '{1}', 'x')$q$, $q$SELECT millrace.skip('rights', 'c', 1, 'x')$q$, $q$SELECT millrace.seek('rights', 'c', 1)$q$,
        $q$SELECT millrace.redrive('rights', 'c', 1)$q$, $q$SELECT millrace.pause_consumer('rights', 'c')$q$, $q$SELECT millrace.resume_consumer('rights', 'c')$q$,
        $q$SELECT millrace.alter_consumer('rights', 'c', max_attempts => 9)$q$, $q$SELECT millrace.drop_consumer('rights', 'c')$q$, $q$SELECT millrace.delivery_part('rights', 'c', 1)$q$,
        $q$SELECT millrace.create_consumer('rights', 'd')$q$, $q$SELECT millrace.create_consumer('rights.rejects', 'd')$q$, $q$SELECT millrace.consume('rights', 'c', 'SELECT 1')$q$] LOOP
        ASSERT mill_test.sqlstate_of(call) = '42501', call;
    END LOOP;
END $$;
RESET ROLE;
DROP OWNED BY mill_stranger; DROP ROLE mill_stranger;
SET ROLE millrace_monitor;
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM millrace.consumers WHERE stream = 'rights') = 1;
    ASSERT (SELECT token IS NULL AND state = 'leased' FROM millrace.deliveries WHERE stream = 'rights');
    ASSERT mill_test.sqlstate_of($q$SELECT millrace.ack('rights', 'c', 1)$q$) = '42501';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.next_chunk('rights', 'c')$q$) = '42501';
    ASSERT mill_test.sqlstate_of($q$SELECT * FROM millrace.delivery$q$) = '42501';
END $$;
RESET ROLE;
SET ROLE millrace_admin;
DO $$ BEGIN
    ASSERT (SELECT token IS NOT NULL FROM millrace.deliveries WHERE stream = 'rights');
    ASSERT (SELECT count(*) FROM millrace.chunk_rows(NULL::mill_test.rights, 1)) = 10;
    PERFORM millrace.drop_consumer('rights', 'c', force => true);
END $$;
RESET ROLE;
