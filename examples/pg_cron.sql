-- A consumer without any process of its own: pg_cron calls consume, which takes a chunk, works it and acks it in one transaction.
-- Run once, in the database that pg_cron is set up for (cron.database_name), as a role that may consume the stream.
--
-- pg_cron 1.4 runs jobs each minute; each call here works up to a hundred chunks, a transaction for each. An error of the work is
-- counted and the chunk tried again later (on_error => 'nack'), so that one bad chunk does not fail the job for ever.
CREATE TABLE IF NOT EXISTS totals (chunk_no bigint PRIMARY KEY, transactions bigint NOT NULL, amount numeric);

CREATE OR REPLACE PROCEDURE total_chunks() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..100 LOOP
        EXIT WHEN millrace.consume('transactions', 'totals', $work$
            INSERT INTO totals SELECT $1, count(*), sum(amount) FROM staging.transactions WHERE _chunk_no = $1
        $work$, on_error => 'nack') IS NULL;
        COMMIT;
    END LOOP;
END
$$;

SELECT millrace.create_consumer('transactions', 'totals', start_at => 'earliest');
SELECT cron.schedule('total transactions', '* * * * *', 'CALL total_chunks()');
-- pg_cron keeps a row for each run for ever: let it forget them after a day.
SELECT cron.schedule('forget old runs', '17 3 * * *', $$DELETE FROM cron.job_run_details WHERE end_time < now() - interval '1 day'$$);
