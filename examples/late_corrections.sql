-- Which days changed after they were over, and by which chunk: rows that come late count where they belong, and max(_chunk_no) of
-- a day tells the chunk that touched it last. The stream of changed groups tells every correction one by one.
SELECT millrace.create_aggregate('transactions', 'per_day', $$
    SELECT (event_time AT TIME ZONE 'UTC')::date AS day, count(*) AS transactions, sum(amount) AS amount, max(_chunk_no) AS last_chunk
    FROM staging.transactions
    GROUP BY 1 $$);
SELECT millrace.create_consumer('transactions.per_day', 'ledger', start_at => 'latest');

-- Days that are over and were corrected by the newest chunk.
SELECT day, transactions, amount
FROM staging.per_day
WHERE last_chunk = millrace.as_of('per_day') AND day < (SELECT max(day) FROM staging.per_day)
ORDER BY day;

-- The next corrections for the ledger: what each changed day is now. Work and ack are one transaction.
BEGIN;
CREATE TABLE IF NOT EXISTS staging.ledger AS SELECT * FROM staging.per_day_changes WHERE false;
INSERT INTO staging.ledger
SELECT c.* FROM millrace.next_chunk('transactions.per_day', 'ledger') AS n, millrace.chunk_rows(NULL::staging.per_day_changes, n.chunk_no) AS c;
SELECT millrace.ack('transactions.per_day', 'ledger', d.chunk_no)
FROM millrace.deliveries AS d
WHERE d.stream = 'transactions.per_day' AND d.consumer = 'ledger' AND d.state = 'leased';
COMMIT;
