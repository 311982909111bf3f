-- The demo's pipeline: everything a user writes is here. psql variables: landing, lake (URLs).
CREATE SCHEMA staging;

SELECT millrace.create_pipeline('transactions',
    source  => :'landing' || '/*.csv',
    columns => 'transaction_id text NOT NULL, event_time timestamptz NOT NULL, step int, customer text NOT NULL,
                age text, gender text, zipcode text, merchant text NOT NULL, category text,
                amount numeric(12,2) NOT NULL, fraud int',
    staging => 'staging.transactions',
    raw     => :'lake' || '/raw/transactions',
    every   => '100 ms');

SELECT millrace.create_aggregate('transactions', 'merchant_stats', $$
    SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions,
           count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers
    FROM staging.transactions GROUP BY merchant $$,
    publish => :'lake' || '/processed/merchant_stats');

SELECT millrace.create_consumer('transactions', 'billing', start_at => 'earliest');
