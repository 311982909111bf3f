-- Queries that create_aggregate accepts. Each runs from its `-- name:` line to the next one.

-- name: the everyday one
SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions,
       count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers
FROM staging.sales GROUP BY merchant

-- name: one group over everything
SELECT count(*), sum(amount), avg(amount), min(amount), max(amount), count(DISTINCT customer) AS customers FROM staging.sales

-- name: one group of rows that never come
SELECT count(*), count(amount) AS amounts, sum(amount), avg(amount), min(customer), count(DISTINCT customer) AS customers
FROM staging.sales WHERE merchant = 'nobody'

-- name: groups of rows that never come
SELECT merchant, count(*) FROM staging.sales WHERE merchant = 'nobody' GROUP BY merchant

-- name: groups whose filter lets nothing through
SELECT merchant, sum(amount) FILTER (WHERE false) AS nothing, avg(amount) FILTER (WHERE customer = 'nobody') AS no_avg,
       count(*) FILTER (WHERE NULL) AS none FROM staging.sales GROUP BY merchant

-- name: integers of each width
SELECT merchant, sum(small) AS s2, avg(small) AS a2, sum(quantity) AS s4, avg(quantity) AS a4, sum(big) AS s8, avg(big) AS a8,
       min(small) AS l2, max(big) AS g8 FROM staging.sales GROUP BY merchant

-- name: numeric to the last digit
SELECT gender, sum(exact) AS total, avg(exact) AS mean, min(exact) AS least, max(exact) AS most FROM staging.sales
WHERE exact NOT IN ('NaN', 'Infinity', '-Infinity') GROUP BY gender

-- name: numeric with infinities and not-a-number
SELECT day, sum(exact) AS total, avg(exact) AS mean, min(exact) AS least, max(exact) AS most FROM staging.sales GROUP BY day

-- name: equal numerics that are shown differently are one group
SELECT exact, count(*) FROM staging.sales GROUP BY exact

-- name: floats as keys and extremes
SELECT ratio, min(weight) AS lightest, max(weight) AS heaviest, count(DISTINCT ratio) AS n FROM staging.sales GROUP BY ratio

-- name: floats cast to numeric
SELECT merchant, sum(ratio::numeric) AS total, avg(weight::numeric) AS mean FROM staging.sales
WHERE ratio > '-Infinity' AND ratio < 'Infinity' GROUP BY 1

-- name: several keys with nulls
SELECT merchant, gender, city, count(*), count(DISTINCT customer) AS customers, sum(amount) AS total
FROM staging.sales GROUP BY merchant, gender, city

-- name: collation C
SELECT city, min(city) AS a, max(merchant COLLATE "C") AS z, min(merchant) AS m, count(DISTINCT merchant COLLATE "C") AS n
FROM staging.sales GROUP BY city

-- name: a collation given in the key
SELECT customer COLLATE "en-x-icu" AS customer, count(*), max(city COLLATE "en-x-icu") FROM staging.sales GROUP BY customer COLLATE "en-x-icu"

-- name: a collation that calls different bytes equal
SELECT folded, count(*), count(DISTINCT merchant) AS merchants FROM staging.sales GROUP BY folded

-- name: distinct values under such a collation
SELECT gender, count(DISTINCT folded) AS words, min(folded) AS first FROM staging.sales GROUP BY gender

-- name: padded characters
SELECT code, count(*), count(DISTINCT code) AS codes, min(code) AS first FROM staging.sales GROUP BY code

-- name: bins of time
SELECT date_bin('15 minutes', event_time, timestamptz '2024-01-01 00:00+00') AS bin, count(*), min(event_time) AS first,
       max(event_time) AS last FROM staging.sales WHERE event_time < '2030-01-01 00:00+00' GROUP BY bin

-- name: hours in a fixed time zone
SELECT date_trunc('hour', event_time AT TIME ZONE 'Europe/Berlin') AS hour, count(DISTINCT customer) FROM staging.sales GROUP BY 1

-- name: days in a fixed time zone
SELECT date_trunc('day', event_time, 'Europe/Berlin') AS day, sum(amount) AS total FROM staging.sales GROUP BY 1

-- name: parts of a local time
SELECT extract(hour FROM local_time) AS hour, local_time::date AS on_day, count(*) FROM staging.sales GROUP BY hour, on_day

-- name: an expression as key, used again inside another
SELECT upper(merchant) || '!' AS loud, upper(merchant) AS merchant, count(*) FROM staging.sales GROUP BY upper(merchant)

-- name: positions and output names as keys
SELECT coalesce(gender, '?') AS sex, amount > 100 AS large, count(*) FROM staging.sales GROUP BY 1, large

-- name: a case as key
SELECT CASE WHEN amount < 10 THEN 'small' WHEN amount < 100 THEN 'medium' ELSE 'large' END AS size, count(*), avg(amount) FROM staging.sales GROUP BY 1

-- name: constants as key and output
SELECT 'all' AS label, 7 AS seven, count(*) FROM staging.sales GROUP BY 'all'::text

-- name: keys alone
SELECT merchant, gender FROM staging.sales GROUP BY merchant, gender

-- name: a key that is not shown
SELECT count(*) AS n FROM staging.sales GROUP BY merchant

-- name: expressions over aggregates
SELECT merchant, round(avg(amount), 2) AS mean, sum(amount) / nullif(count(amount), 0) AS by_hand, sum(amount) * 100 / nullif(sum(sum_of.amount), 0) AS percent,
       coalesce(max(amount), 0) - coalesce(min(amount), 0) AS span, count(*) FILTER (WHERE fraud) > 0 AS any_fraud
FROM staging.sales AS sum_of GROUP BY merchant

-- name: text made when the view is read
SELECT merchant, to_char(avg(amount), 'FM999990.00') AS mean, concat(merchant, ': ', count(*)) AS line FROM staging.sales GROUP BY merchant

-- name: having
SELECT customer, count(*) AS n FROM staging.sales GROUP BY customer HAVING count(*) > 3 AND max(amount) > 0

-- name: having without group by
SELECT sum(amount) AS total FROM staging.sales HAVING count(*) > 100

-- name: an aggregate in having alone
SELECT merchant FROM staging.sales GROUP BY merchant HAVING count(DISTINCT customer) > 20

-- name: where
SELECT merchant, count(*) FROM staging.sales WHERE (amount > 10 OR amount IS NULL) AND gender IN ('F', 'M') GROUP BY merchant

-- name: the same distinct count twice and two others
SELECT merchant, count(DISTINCT customer) AS a, count(DISTINCT customer) AS b, count(DISTINCT gender) AS c,
       count(DISTINCT customer) FILTER (WHERE amount > 500) AS d FROM staging.sales GROUP BY merchant

-- name: distinct values of many types
SELECT count(DISTINCT exact) AS n1, count(DISTINCT took) AS n2, count(DISTINCT tags) AS n3, count(DISTINCT doc) AS n4, count(DISTINCT address) AS n5,
       count(DISTINCT id) AS n6, count(DISTINCT data) AS n7, count(DISTINCT mood) AS n8, count(DISTINCT pair) AS n9, count(DISTINCT fraud) AS n10,
       count(DISTINCT level) AS n11, count(DISTINCT event_time) AS n12, count(DISTINCT price) AS n13, count(DISTINCT code) AS n14 FROM staging.sales

-- name: extremes of many types
SELECT merchant, min(mood) AS m1, max(mood) AS m2, min(tags) AS m3, max(took) AS m4, min(price) AS m5, max(address) AS m6, min(day) AS m7, max(local_time) AS m8,
       min(ratio) AS m9, max(ratio) AS m10, min(level) AS m11, max(code) AS m12 FROM staging.sales GROUP BY merchant

-- name: keys of many types
SELECT mood, fraud, level, tags, doc, pair, count(*), sum(level) AS levels FROM staging.sales GROUP BY mood, fraud, level, tags, doc, pair

-- name: intervals that are equal and shown differently
SELECT took, count(*) FROM staging.sales GROUP BY took

-- name: documents
SELECT doc ->> 'kind' AS kind, sum((doc ->> 'n')::numeric) AS total, count(doc) AS docs FROM staging.sales GROUP BY doc ->> 'kind'

-- name: functions of one's own
SELECT staging.half(amount) AS half, max(staging.half(exact)) AS most, count(*) FROM staging.sales GROUP BY 1

-- name: odd names
SELECT "Odd ""Name" AS "a ""b"" $1 c", count(*) AS "%s ?", sum("Odd ""Name") AS "select" FROM staging.sales GROUP BY "Odd ""Name"

-- name: names that the state uses too
SELECT merchant AS k1, count(*) AS rows, sum(amount) AS p1, avg(amount) AS a1, max(amount) AS part, min(amount) AS grouped FROM staging.sales AS s GROUP BY merchant

-- name: unnamed outputs
SELECT merchant, count(*), sum(amount), 1 + max(amount) FROM staging.sales GROUP BY merchant

-- name: columns under other names
SELECT x.m, count(*) FROM staging.sales AS x (c, r, m) GROUP BY x.m

-- name: literals that look like parameters
SELECT merchant || ' $1 ''k1'' "x"' AS m, count(*) FILTER (WHERE merchant <> '$1 \ grouped') AS n FROM staging.sales GROUP BY 1

-- name: min and max need no distinct
SELECT gender, min(DISTINCT amount) AS a, max(DISTINCT amount) AS b FROM staging.sales GROUP BY gender

-- name: composite values count whatever their fields are
SELECT merchant, count(DISTINCT pair) AS pairs, count(pair) AS n FROM staging.sales GROUP BY merchant

-- name: counts of expressions
SELECT gender, count(amount + quantity) AS n, count(DISTINCT lower(customer)) AS customers, count(nullif(city, 'Bonn')) AS others FROM staging.sales GROUP BY gender

-- name: truth
SELECT merchant, bool_and(fraud) AS all_of, every(fraud) AS each, bool_or(fraud) AS any_of, bool_or(fraud) FILTER (WHERE gender = 'F') AS of_women,
       bool_and(amount > 0) AS positive FROM staging.sales GROUP BY merchant

-- name: spread of integers
SELECT merchant, stddev(small) AS s2, stddev_pop(quantity) AS s4, stddev_samp(big) AS s8, variance(small) AS v2, var_pop(quantity) AS v4, var_samp(big) AS v8
FROM staging.sales GROUP BY merchant

-- name: spread of numerics
SELECT gender, stddev(amount) AS s, stddev_pop(amount) AS sp, variance(amount) AS v, var_pop(amount) FILTER (WHERE fraud) AS vp, avg(amount) AS mean FROM staging.sales GROUP BY gender

-- name: spread of numerics of many digits
SELECT folded, stddev(exact) AS s, var_pop(exact) AS vp, stddev_pop(exact * 1e-20) AS sp FROM staging.sales
WHERE exact NOT IN ('NaN', 'Infinity', '-Infinity') GROUP BY folded

-- name: spread of infinities
SELECT day, stddev(exact) AS s, variance(exact) AS v, stddev_pop(exact) AS sp, var_pop(exact) AS vp FROM staging.sales GROUP BY day

-- name: spread of small groups
SELECT customer, stddev(amount) AS s, var_pop(amount) AS vp, stddev(exact / 7) AS seventh FROM staging.sales GROUP BY customer

-- name: texts in a row
SELECT merchant, string_agg(customer, ',' ORDER BY customer, city) AS customers, string_agg(DISTINCT gender, '/') AS genders,
       string_agg(city, ',') AS cities FROM staging.sales GROUP BY merchant

-- name: arrays
SELECT gender, array_agg(quantity ORDER BY quantity) AS quantities, array_agg(DISTINCT fraud) AS fraud, array_agg(amount) FILTER (WHERE amount > 900) AS large
FROM staging.sales GROUP BY gender

-- name: documents in a row
SELECT merchant, jsonb_agg(doc ORDER BY doc) AS docs, json_agg(amount) AS amounts, jsonb_object_agg(coalesce(customer, '?'), amount) AS last FROM staging.sales GROUP BY merchant

-- name: sums of floats in the order of arrival
SELECT gender, sum(ratio) AS total, avg(weight) AS mean, stddev(ratio) AS spread, corr(ratio, weight) AS together FROM staging.sales GROUP BY gender

-- name: bits
SELECT merchant, bit_and(small) AS a, bit_or(big) AS o, bit_xor(quantity) AS x FROM staging.sales GROUP BY merchant

-- name: sums of other types
SELECT gender, sum(price) AS price, sum(took) AS took, avg(took) AS usually FROM staging.sales GROUP BY gender

-- name: sums of distinct values
SELECT merchant, sum(DISTINCT quantity) AS s, avg(DISTINCT small) AS a, count(DISTINCT small) AS n FROM staging.sales GROUP BY merchant

-- name: an order that makes no difference
SELECT merchant, sum(amount ORDER BY customer) AS total FROM staging.sales GROUP BY merchant

-- name: what rows alone can tell, without groups
SELECT string_agg(gender, '') AS genders, max(amount) AS most, sum(ratio) AS total, stddev(amount) AS spread FROM staging.sales

-- name: what rows alone can tell, in groups of awkward keys
SELECT took, doc, pair, folded, string_agg(customer, ',') AS customers FROM staging.sales WHERE amount > 0 GROUP BY took, doc, pair, folded

-- name: keys longer than an entry of an index
SELECT repeat(merchant, quantity % 1000) AS long, count(*), count(DISTINCT repeat(city, 2000)) AS cities FROM staging.sales WHERE quantity > 0 GROUP BY 1
