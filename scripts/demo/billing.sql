-- The demo's consumer: it bills every customer for every chunk, and acks in the same transaction.
-- Its log has no unique key, so a chunk that came twice would show.
CREATE SCHEMA billing;
CREATE TABLE billing.account (customer text PRIMARY KEY, transactions bigint NOT NULL, amount numeric NOT NULL);
CREATE TABLE billing.log (chunk_no bigint, row_count bigint, attempt int, token text, acked_at timestamptz);
CREATE TABLE billing.closing_time ();

CREATE PROCEDURE billing.work() LANGUAGE plpgsql AS $$
DECLARE
    chunk record;
BEGIN
    LOOP
        SELECT * INTO chunk FROM millrace.next_chunk('transactions', 'billing');
        COMMIT; -- the claim is ours whatever happens to the work; a crash from here on counts as an attempt
        IF chunk.chunk_no IS NULL THEN
            EXIT WHEN pg_catalog.to_regclass('billing.closing_time') IS NULL;
            PERFORM pg_sleep(0.05);
            CONTINUE;
        END IF;
        INSERT INTO billing.account
            SELECT customer, count(*), sum(amount) FROM staging.transactions WHERE _chunk_no = chunk.chunk_no GROUP BY customer
            ON CONFLICT (customer) DO UPDATE
            SET transactions = account.transactions + excluded.transactions, amount = account.amount + excluded.amount;
        INSERT INTO billing.log VALUES (chunk.chunk_no, chunk.row_count, chunk.attempt, chunk.token, clock_timestamp());
        PERFORM millrace.ack('transactions', 'billing', chunk.chunk_no);
        COMMIT;
    END LOOP;
END
$$;
