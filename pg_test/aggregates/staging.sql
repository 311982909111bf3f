-- The table that supported.sql and refused.sql read, and a function that makes random rows for it, in staging.fresh.
-- Values are chosen to be awkward: NULLs, NaN, infinities, many digits, equal values that are shown differently.

CREATE SCHEMA staging;
CREATE SCHEMA elsewhere;
CREATE COLLATION staging.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE staging.mood AS ENUM ('sad', 'fine', 'glad');
CREATE DOMAIN staging.positive AS integer CHECK (VALUE > 0);
CREATE TYPE staging.pair AS (a integer, b text);
CREATE FUNCTION staging.half(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 2';
CREATE FUNCTION staging.fickle(numeric) RETURNS numeric VOLATILE LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE staging.total(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0');
CREATE TABLE elsewhere.other (merchant text, amount numeric);

CREATE TABLE staging.sales (
    _chunk_no  bigint NOT NULL,
    _row_no    bigint NOT NULL,
    merchant   varchar(30),
    customer   text,
    city       text COLLATE "C",
    folded     text COLLATE staging.folded,
    code       char(5),
    gender     text,
    amount     numeric(12,2),
    exact      numeric,
    small      smallint,
    quantity   integer,
    big        bigint,
    ratio      double precision,
    weight     real,
    event_time timestamptz,
    local_time timestamp,
    day        date,
    took       interval,
    price      money,
    fraud      boolean,
    mood       staging.mood,
    level      staging.positive,
    pair       staging.pair,
    tags       text[],
    doc        jsonb,
    raw        json,
    place      point,
    address    inet,
    id         uuid,
    data       bytea,
    "Odd ""Name" integer
) PARTITION BY RANGE (_chunk_no);
CREATE TABLE staging.sales_p1 PARTITION OF staging.sales FOR VALUES FROM (MINVALUE) TO (0);

CREATE TABLE staging.fresh (LIKE staging.sales);

CREATE FUNCTION staging.pick(anyarray) RETURNS anyelement VOLATILE LANGUAGE sql
    AS 'SELECT $1[1 + floor(random() * array_length($1, 1))::int]';

CREATE FUNCTION staging.make(rows integer) RETURNS void LANGUAGE sql AS $$
    TRUNCATE staging.fresh;
    INSERT INTO staging.fresh
    SELECT 0, i,
        staging.pick(ARRAY['es_health', 'es_food', 'M''1', 'a "quoted" one', 'ß', NULL]),
        staging.pick(ARRAY['C1', 'C2', 'C3', 'C' || floor(random() * 1000), '', NULL]),
        staging.pick(ARRAY['Bonn', 'bonn', 'Ärgersheim', 'Zürich', NULL]),
        staging.pick(ARRAY['one', 'ONE', 'One', 'two', 'TWO', NULL]),
        staging.pick(ARRAY['a', 'a  ', 'bcd', 'abcde', NULL]),
        staging.pick(ARRAY['F', 'M', 'E', NULL]),
        staging.pick(ARRAY[round((random() * 1000)::numeric, 2), 0, -1.5, NULL]),
        staging.pick(ARRAY[1.0, 1.00, 1, 0.1, random()::numeric * 1e30, 1e-30, -12345678901234567890.123456789012345678,
            'NaN', 'Infinity', '-Infinity', NULL]),
        staging.pick(ARRAY[32767, -32768, 0, 7, NULL])::smallint,
        staging.pick(ARRAY[2147483647, -2147483648, floor(random() * 100)::int, NULL]),
        staging.pick(ARRAY[9223372036854775807, -9223372036854775807, floor(random() * 100)::bigint, NULL]),
        staging.pick(ARRAY['NaN', 'Infinity', '-Infinity', 0, '-0', random(), NULL]::float8[]),
        staging.pick(ARRAY['NaN', 0, '-0', 1.5, NULL]::real[]),
        staging.pick(ARRAY[timestamptz '2024-03-31 00:00+00' + random() * interval '3 days', 'infinity', NULL]),
        staging.pick(ARRAY[timestamp '2024-02-29' + random() * interval '3 days', NULL]),
        staging.pick(ARRAY[date '2024-02-28' + floor(random() * 4)::int, NULL]),
        staging.pick(ARRAY['1 day', '24 hours', '1 mon', '30 days', '5 seconds', NULL]::interval[]),
        staging.pick(ARRAY[1, 2.5, NULL]::numeric[])::money,
        staging.pick(ARRAY[true, false, NULL]),
        staging.pick(ARRAY['sad', 'fine', 'glad', NULL]::staging.mood[]),
        staging.pick(ARRAY[1, 2, NULL])::staging.positive,
        staging.pick(ARRAY[ROW(1, 'x'), ROW(1, NULL), ROW(NULL, NULL), NULL]::staging.pair[]),
        CASE floor(random() * 4)::int WHEN 0 THEN ARRAY['a', 'b'] WHEN 1 THEN ARRAY['a', NULL] WHEN 2 THEN '{}'::text[] END,
        staging.pick(ARRAY['{"kind": "x", "n": 1.0}', '{"kind": "y", "n": 2}', '{"n": 1.00, "kind": "x"}', '{}', NULL]::jsonb[]),
        '{"a": 1}'::json,
        point(random(), 1),
        staging.pick(ARRAY['10.0.0.1', '10.0.0.0/8', '::1', NULL]::inet[]),
        staging.pick(ARRAY['00000000-0000-0000-0000-000000000001', gen_random_uuid(), NULL]::uuid[]),
        staging.pick(ARRAY['\x00', '\x', '\xff', NULL]::bytea[]),
        staging.pick(ARRAY[1, 2, NULL])
    FROM generate_series(1, rows) AS i
$$;
