-- Queries that create_aggregate refuses. Each runs from its `-- name:` line to the next one; `-- error:` gives the
-- SQLSTATE and a part of the message.

-- name: join
-- error: 0A000 a join is not supported in an incremental aggregate
SELECT s.merchant, count(*) FROM staging.sales s JOIN elsewhere.other o ON o.merchant = s.merchant GROUP BY s.merchant

-- name: join by comma
-- error: 0A000 a join is not supported
SELECT s.merchant, count(*) FROM staging.sales s, elsewhere.other o GROUP BY s.merchant

-- name: join with itself
-- error: 0A000 a join is not supported
SELECT s.merchant, count(*) FROM staging.sales s LEFT JOIN staging.sales t USING (customer) GROUP BY s.merchant

-- name: another table
-- error: 42809 reads staging.sales, not elsewhere.other
SELECT merchant, count(*) FROM elsewhere.other GROUP BY merchant

-- name: a partition
-- error: 42809 reads staging.sales, not staging.sales_p1
SELECT merchant, count(*) FROM staging.sales_p1 GROUP BY merchant

-- name: only
-- error: 0A000 ONLY is not supported
SELECT merchant, count(*) FROM ONLY staging.sales GROUP BY merchant

-- name: tablesample
-- error: 0A000 TABLESAMPLE is not supported
SELECT merchant, count(*) FROM staging.sales TABLESAMPLE SYSTEM (10) GROUP BY merchant

-- name: subquery in from
-- error: 0A000 a subquery in FROM is not supported
SELECT merchant, count(*) FROM (SELECT * FROM staging.sales) s GROUP BY merchant

-- name: function in from
-- error: 0A000 a function in FROM is not supported
SELECT i, count(*) FROM generate_series(1, 3) i GROUP BY i

-- name: subquery in where
-- error: 0A000 a subquery is not supported
SELECT merchant, count(*) FROM staging.sales WHERE merchant IN (SELECT merchant FROM elsewhere.other) GROUP BY merchant

-- name: subquery as output
-- error: 0A000 a subquery is not supported
SELECT merchant, (SELECT 1) AS one, count(*) FROM staging.sales GROUP BY merchant

-- name: with
-- error: 0A000 WITH is not supported
WITH s AS (SELECT 1) SELECT merchant, count(*) FROM staging.sales GROUP BY merchant

-- name: union
-- error: 0A000 UNION is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY merchant UNION SELECT 'x', 1

-- name: except
-- error: 0A000 EXCEPT is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY merchant EXCEPT SELECT 'x', 1

-- name: values
-- error: 0A000 VALUES is not supported
VALUES (1)

-- name: into
-- error: 0A000 INTO is not supported
SELECT merchant, count(*) INTO x FROM staging.sales GROUP BY merchant

-- name: no from
-- error: 0A000 a query without FROM is not supported
SELECT count(*)

-- name: two statements
-- error: 0A000 more than one statement is not supported
SELECT count(*) FROM staging.sales; DROP TABLE staging.sales

-- name: nothing
-- error: 22023 the aggregate's query is empty
;

-- name: not a select
-- error: 0A000 the statement DELETE is not supported
DELETE FROM staging.sales

-- name: distinct
-- error: 0A000 DISTINCT is not supported
SELECT DISTINCT merchant, count(*) FROM staging.sales GROUP BY merchant

-- name: distinct on
-- error: 0A000 DISTINCT ON is not supported
SELECT DISTINCT ON (merchant) merchant, count(*) FROM staging.sales GROUP BY merchant

-- name: order by
-- error: 0A000 ORDER BY is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY merchant ORDER BY 2

-- name: limit
-- error: 0A000 LIMIT or OFFSET is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY merchant LIMIT 10

-- name: for update
-- error: 0A000 FOR UPDATE or FOR SHARE is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY merchant FOR UPDATE

-- name: window function
-- error: 0A000 a window function is not supported
SELECT merchant, count(*), rank() OVER (ORDER BY count(*)) FROM staging.sales GROUP BY merchant

-- name: rollup
-- error: 0A000 GROUPING SETS, ROLLUP or CUBE is not supported
SELECT merchant, gender, count(*) FROM staging.sales GROUP BY ROLLUP (merchant, gender)

-- name: grouping sets
-- error: 0A000 GROUPING SETS, ROLLUP or CUBE is not supported
SELECT merchant, count(*) FROM staging.sales GROUP BY GROUPING SETS ((merchant), ())

-- name: grouping function
-- error: 0A000 GROUPING() is not supported
SELECT merchant, grouping(merchant), count(*) FROM staging.sales GROUP BY merchant

-- name: set-returning function
-- error: 0A000 a set-returning function is not supported
SELECT unnest(tags) AS tag, count(*) FROM staging.sales GROUP BY 1

-- name: no aggregates
-- error: 0A000 a query without aggregates is not supported
SELECT merchant FROM staging.sales

-- name: star
-- error: 0A000 SELECT * is not supported
SELECT * FROM staging.sales

-- name: star of a table
-- error: 0A000 SELECT * is not supported
SELECT s.* FROM staging.sales s

-- name: whole row
-- error: 0A000 a whole row as a value is not supported
SELECT count(s) FROM staging.sales s

-- name: whole row as key
-- error: 42883 could not identify an equality operator for type staging.sales
SELECT count(*) FROM staging.sales s GROUP BY s

-- name: system column
-- error: 0A000 the system column ctid is not supported
SELECT ctid, count(*) FROM staging.sales GROUP BY ctid

-- name: system column in a filter
-- error: 0A000 the system column tableoid is not supported
SELECT count(*) FILTER (WHERE tableoid > 0) FROM staging.sales

-- name: ordered set
-- error: 0A000 the ordered-set aggregate percentile_cont is not supported
SELECT merchant, percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio) FROM staging.sales GROUP BY merchant

-- name: user-defined aggregate
-- error: 0A000 the user-defined aggregate staging.total(numeric) is not supported
SELECT merchant, staging.total(amount) FROM staging.sales GROUP BY merchant

-- name: distinct rows
-- error: 0A000 of the pseudo-type record is not supported
SELECT merchant, count(DISTINCT (customer, city)) FROM staging.sales GROUP BY merchant

-- name: a row as key
-- error: 0A000 of the pseudo-type record is not supported
SELECT count(*) FROM staging.sales GROUP BY (merchant, gender)::record

-- name: a row as output
-- error: 0A000 the output column "row" of the pseudo-type record is not supported
SELECT row(merchant, count(*)) FROM staging.sales GROUP BY merchant

-- name: a key without order
-- error: 0A000 grouping by ((amount)::text)::xid is not supported
SELECT amount::text::xid, count(*) FROM staging.sales GROUP BY amount::text::xid

-- name: distinct values without order
-- error: 42883 could not identify an equality operator for type point
SELECT count(DISTINCT place) FROM staging.sales

-- name: volatile function
-- error: 0A000 the function random(), which is volatile, is not supported
SELECT merchant, count(*) FROM staging.sales WHERE random() < 0.5 GROUP BY merchant

-- name: volatile function of one's own
-- error: 0A000 the function staging.fickle(numeric), which is volatile, is not supported
SELECT merchant, sum(staging.fickle(amount)) FROM staging.sales GROUP BY merchant

-- name: volatile function over groups
-- error: 0A000 the function random(), which is volatile, is not supported
SELECT merchant, count(*) * random() AS n FROM staging.sales GROUP BY merchant

-- name: clock in where
-- error: 0A000 the function now(), which reads the clock, is not supported
SELECT merchant, count(*) FROM staging.sales WHERE event_time > now() GROUP BY merchant

-- name: clock over groups
-- error: 0A000 the function now(), which reads the clock, is not supported
SELECT merchant, now() - max(event_time) AS age FROM staging.sales GROUP BY merchant

-- name: age until today
-- error: 0A000 the function age(timestamp without time zone), which reads the clock, is not supported
SELECT merchant, min(age(local_time)) FROM staging.sales GROUP BY merchant

-- name: current date
-- error: 0A000 CURRENT_DATE is not supported
SELECT merchant, count(*) FILTER (WHERE day = current_date) FROM staging.sales GROUP BY merchant

-- name: current user
-- error: 0A000 CURRENT_USER is not supported
SELECT merchant, count(*) FILTER (WHERE customer = current_user) FROM staging.sales GROUP BY merchant

-- name: day in the session's time zone
-- error: 0A000 the function date_trunc(text,timestamp with time zone), which depends on settings of the session, is not supported
SELECT date_trunc('day', event_time) AS day, count(*) FROM staging.sales GROUP BY 1

-- name: date in the session's time zone
-- error: 0A000 the cast from timestamp with time zone to date, which depends on settings of the session, is not supported
SELECT event_time::date AS day, count(*) FROM staging.sales GROUP BY 1

-- name: operator that depends on the time zone
-- error: 0A000 the operator +(timestamp with time zone,interval), which depends on settings of the session, is not supported
SELECT max(event_time + interval '1 day') FROM staging.sales

-- name: text of a date
-- error: 0A000 the cast from date to text, which depends on settings of the session, is not supported
SELECT day::text AS day, count(*) FROM staging.sales GROUP BY 1

-- name: two columns of a name
-- error: 42710 two output columns named "count"
SELECT merchant, count(*), count(amount) FROM staging.sales GROUP BY merchant

-- name: the name of our own column
-- error: 22023 can't have a column named "_chunk_no"
SELECT _chunk_no, count(*) FROM staging.sales GROUP BY _chunk_no

-- name: the name of the column that tells what became of a group
-- error: 22023 can't have a column named "_op"
SELECT merchant AS _op, count(*) FROM staging.sales GROUP BY merchant

-- name: no columns
-- error: 0A000 a query without output columns is not supported
SELECT FROM staging.sales GROUP BY merchant

-- name: undetermined collation
-- error: 0A000 whose collation is not determined, is not supported
SELECT merchant, max(city || folded) FROM staging.sales GROUP BY merchant

-- name: syntax error
-- error: 42601 syntax error at or near
SELEC merchant FROM staging.sales

-- name: unknown column
-- error: 42703 column "shop" does not exist
SELECT shop, count(*) FROM staging.sales GROUP BY shop

-- name: ungrouped column
-- error: 42803 must appear in the GROUP BY clause
SELECT merchant, customer, count(*) FROM staging.sales GROUP BY merchant

-- name: parameter
-- error: 42P02 there is no parameter $1
SELECT merchant, count(*) FROM staging.sales WHERE amount > $1 GROUP BY merchant
