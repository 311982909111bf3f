-- Turnover, average, spread and customers of each merchant. Every figure is exact after each chunk.
SELECT millrace.create_aggregate('transactions', 'merchant_performance', $$
    SELECT merchant,
           count(*) AS transactions,
           sum(amount) AS turnover,
           avg(amount) AS mean,
           stddev_samp(amount) AS spread,
           max(amount) AS largest,
           count(DISTINCT customer) AS customers,
           count(*) FILTER (WHERE fraud = 1) AS frauds,
           bool_or(fraud = 1) AS any_fraud
    FROM staging.transactions
    GROUP BY merchant $$);

-- The view is read like any other; millrace.as_of tells which chunk it is of.
SELECT millrace.as_of('merchant_performance'), merchant, transactions, turnover, round(mean, 2) AS mean, customers
FROM staging.merchant_performance
ORDER BY turnover DESC
LIMIT 10;
