-- What the demo shows, made of the views that any user has.
CREATE SCHEMA demo;

CREATE VIEW demo.lag AS
SELECT c.chunk_no, c.sealed_at - max(f.modified) AS lag
FROM millrace.chunks c JOIN millrace.files f USING (pipeline, chunk_no)
WHERE c.pipeline = 'transactions' AND c.sealed_at > clock_timestamp() - interval '10 s'
GROUP BY c.chunk_no, c.sealed_at;

CREATE FUNCTION demo.ms(span interval) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(round(extract(epoch FROM span) * 1000) || ' ms', '-') $$;

CREATE FUNCTION demo.n(number numeric) RETURNS text LANGUAGE sql AS
$$ SELECT to_char(coalesce(number, 0), 'FM999,999,999,990') $$;

CREATE VIEW demo.figures AS
SELECT count(*) AS chunks, coalesce(sum(row_count), 0) AS rows, coalesce(sum(reject_count), 0) AS rejects,
       -- over the last five seconds, or since the first chunk
       coalesce(sum(row_count) FILTER (WHERE sealed_at > clock_timestamp() - interval '5 s')
                / greatest(1, least(5, ceil(extract(epoch FROM clock_timestamp() - min(sealed_at))))), 0) AS rows_per_second,
       (SELECT lag FROM demo.lag ORDER BY chunk_no DESC LIMIT 1) AS last_lag,
       (SELECT max(lag) FROM demo.lag) AS worst_lag,
       (SELECT count(*) FROM billing.log) AS acked,
       (SELECT count(*) FROM millrace.publications WHERE pipeline = 'transactions' AND state = 'done') AS published
FROM millrace.chunks WHERE pipeline = 'transactions';

CREATE FUNCTION demo.line() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s chunks, %s rows, %s rows/s, lag %s, %s rejects, %s acked, %s published',
                  chunks, demo.n(rows), demo.n(rows_per_second), demo.ms(last_lag), demo.n(rejects), acked, published)
    FROM demo.figures
$$;

CREATE FUNCTION demo.screen(title text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%-56s%22s', 'pg_millrace: landing files, staging, aggregates, consumer', title)
    UNION ALL SELECT repeat('-', 78)
    UNION ALL
    SELECT unnest(ARRAY[
        format('  chunks loaded %11s    rows/s %21s    rejects %7s', demo.n(chunks), demo.n(rows_per_second), demo.n(rejects)),
        format('  rows loaded   %11s    landed to aggregate %8s   at worst %7s', demo.n(rows), demo.ms(last_lag), demo.ms(worst_lag)),
        format('  chunks acked  %11s    published to lake %10s', demo.n(acked), demo.n(published)),
        '',
        '  merchant            average amount    transactions    female customers'])
    FROM demo.figures
    UNION ALL
    (SELECT format('  %-18s%16s%16s%20s', merchant, round(avg_amount, 2), demo.n(transactions), demo.n(female_customers))
     FROM staging.merchant_stats ORDER BY transactions DESC, merchant LIMIT 6)
    UNION ALL SELECT unnest(ARRAY['', '  consumer billing       chunk        rows    attempt    token       acked'])
    UNION ALL
    (SELECT format('  %26s%12s%11s    %-8s  %7s ago', chunk_no, demo.n(row_count), attempt, left(token, 8), demo.ms(clock_timestamp() - acked_at))
     FROM billing.log ORDER BY acked_at DESC LIMIT 5)
$$;

-- What must hold at the end, beyond verify(): the consumer got every chunk once, and its books agree with staging.
CREATE VIEW demo.billing_checks AS
SELECT 'every chunk was delivered exactly once' AS check_name,
       NOT EXISTS ((SELECT chunk_no FROM millrace.chunks WHERE pipeline = 'transactions' EXCEPT ALL SELECT chunk_no FROM billing.log)
                   UNION ALL
                   (SELECT chunk_no FROM billing.log EXCEPT ALL SELECT chunk_no FROM millrace.chunks WHERE pipeline = 'transactions')) AS ok
UNION ALL
SELECT 'the books agree with staging to the cent',
       (SELECT (coalesce(sum(transactions), 0), coalesce(sum(amount), 0)) FROM billing.account)
     = (SELECT (count(*)::numeric, coalesce(sum(amount), 0)) FROM staging.transactions);
