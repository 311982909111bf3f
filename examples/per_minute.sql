-- Windows of a minute by the time of the event. There is no watermark: a row that comes late changes its own minute.
-- date_bin depends on no setting; date_trunc of a timestamptz would depend on the session's time zone, and is refused.
SELECT millrace.create_aggregate('transactions', 'per_minute', $$
    SELECT date_bin('1 minute', event_time, timestamptz '2024-01-01 00:00:00+00') AS minute,
           count(*) AS transactions,
           sum(amount) AS amount,
           count(DISTINCT customer) AS customers
    FROM staging.transactions
    GROUP BY 1 $$);

-- The last ten minutes that there are; the index on the grouping key serves them.
SELECT * FROM staging.per_minute ORDER BY minute DESC LIMIT 10;

-- Greater windows can be had from smaller ones, as long as nothing distinct is counted.
SELECT date_bin('1 hour', minute, timestamptz '2024-01-01 00:00:00+00') AS hour, sum(transactions) AS transactions, sum(amount) AS amount
FROM staging.per_minute
GROUP BY hour
ORDER BY hour;
