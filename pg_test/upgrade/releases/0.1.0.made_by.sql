-- Makes what 0.1.0.data.sql holds: on a server with millrace 0.1.0, with psql -v landing=file:///… to an empty directory that the server can write to.
-- A pipeline that appends, with an expectation, aggregates and consumers in the middle of their work, and one with a key.
CREATE EXTENSION pg_millrace;
CREATE SCHEMA staging;
SELECT millrace.simulate('transactions', :'landing' || '/t', rows_per_file => 100, files => 3, options => '{"bad_ratio": 0.05}');
SELECT millrace.create_pipeline('t', source => :'landing' || '/t/*.csv', staging => 'staging.t', every => NULL, options => '{"max_files_per_chunk": 1}',
    columns => 'transaction_id text NOT NULL, event_time timestamptz, step int, customer text, age text, gender text, zipcode text, merchant text NOT NULL,
                category text, amount numeric(12,2) NOT NULL, fraud int');
SELECT millrace.add_expectation('t', 'positive amount', 'amount > 0', on_violation => 'quarantine');
SELECT millrace.create_aggregate('t', 'merchants', $$
    SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions, count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers
    FROM staging.t GROUP BY merchant $$);
SELECT millrace.create_aggregate('t', 'by_category', 'SELECT category, min(amount) AS least, max(amount) AS most, string_agg(merchant, '','' ORDER BY merchant, transaction_id) AS all_merchants FROM staging.t GROUP BY category');
SELECT millrace.create_pipeline('k', source => :'landing' || '/k/*.csv', staging => 'staging.k', every => NULL, columns => 'id int, n int, op text',
    options => '{"primary_key": ["id"], "delete_when": "op = ''D''"}');
SELECT millrace.create_aggregate('k', 'by_remainder', 'SELECT id % 3 AS r, count(*) AS rows, sum(n) AS n, min(n) AS least FROM staging.k GROUP BY 1');
-- k/1.csv and k/2.csv are the caller's: id,n,op.
CALL millrace.run('t');
CALL millrace.run('k');
SELECT millrace.create_consumer('t', 'one', start_at => 'earliest');
SELECT millrace.create_consumer('t', 'many', start_at => 'earliest', mode => 'pool', max_in_flight => 2);
SELECT millrace.create_consumer('t.merchants', 'images', start_at => 'latest');
SELECT chunk_no, millrace.ack('t', 'one', chunk_no, token) FROM millrace.next_chunk('t', 'one');
SELECT chunk_no FROM millrace.next_chunk('t', 'one');
SELECT chunk_no FROM millrace.next_chunk('t', 'many');
SELECT millrace.alter_pipeline('t', every => '50 ms');
SELECT millrace.alter_pipeline('k', every => '50 ms');
