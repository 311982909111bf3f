--
-- PostgreSQL database dump
--

\restrict c5V5y1Bxx3AQoeq32NOmaPFgfqrXDNUM6MgoQHMmqwfqHMXkaEWj19Osc1zqWJJ


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pg_millrace; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION pg_millrace WITH SCHEMA public VERSION '0.1.0';


--
-- Name: EXTENSION pg_millrace; Type: COMMENT; Schema: -; Owner: -
--



--
-- Name: staging; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA staging;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: by_category_state; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.by_category_state (
    h bigint NOT NULL,
    k1 text,
    rows bigint DEFAULT 0 NOT NULL,
    p1 numeric,
    p2 numeric,
    p3 text,
    _chunk_no bigint
)
WITH (fillfactor='50');


--
-- Name: by_category; Type: VIEW; Schema: staging; Owner: -
--

CREATE VIEW staging.by_category AS
 WITH grouped AS (
         SELECT by_category_state.k1,
            by_category_state.p1 AS a1,
            by_category_state.p2 AS a2,
            by_category_state.p3 AS a3
           FROM staging.by_category_state
        )
 SELECT grouped.k1 AS category,
    grouped.a1 AS "least",
    grouped.a2 AS most,
    grouped.a3 AS all_merchants
   FROM grouped;


--
-- Name: by_category_changes; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.by_category_changes (
    _chunk_no bigint NOT NULL,
    _op text NOT NULL,
    category text,
    "least" numeric,
    most numeric,
    all_merchants text
);


--
-- Name: TABLE by_category_changes; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.by_category_changes IS 'The groups that each chunk changed, as they were after it: _op is upsert, or delete for a group whose last row was taken away (then as it was before).';


--
-- Name: by_category_long; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.by_category_long (
)
INHERITS (staging.by_category_state)
WITH (fillfactor='50');


--
-- Name: by_remainder_state; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.by_remainder_state (
    h bigint NOT NULL,
    k1 integer,
    rows bigint DEFAULT 0 NOT NULL,
    p1 bigint,
    p2 bigint DEFAULT 0 NOT NULL,
    p3 integer,
    _chunk_no bigint
)
WITH (fillfactor='50');


--
-- Name: by_remainder; Type: VIEW; Schema: staging; Owner: -
--

CREATE VIEW staging.by_remainder AS
 WITH grouped AS (
         SELECT by_remainder_state.k1,
            by_remainder_state.rows AS a1,
            by_remainder_state.p1 AS a2,
            by_remainder_state.p3 AS a3
           FROM staging.by_remainder_state
        )
 SELECT grouped.k1 AS r,
    grouped.a1 AS rows,
    grouped.a2 AS n,
    grouped.a3 AS "least"
   FROM grouped;


--
-- Name: by_remainder_changes; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.by_remainder_changes (
    _chunk_no bigint NOT NULL,
    _op text NOT NULL,
    r integer,
    rows bigint,
    n bigint,
    "least" integer
);


--
-- Name: TABLE by_remainder_changes; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.by_remainder_changes IS 'The groups that each chunk changed, as they were after it: _op is upsert, or delete for a group whose last row was taken away (then as it was before).';


--
-- Name: k; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k (
    id integer NOT NULL,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL
)
WITH (fillfactor='80');


--
-- Name: k_changes; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k_changes (
    id integer,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    _op text NOT NULL
)
PARTITION BY RANGE (_chunk_no);


--
-- Name: TABLE k_changes; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.k_changes IS 'What each chunk changed (_op insert, update, delete): the new image of the row, of a deleted one its last.';


--
-- Name: k_changes_p0; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k_changes_p0 (
    id integer,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    _op text NOT NULL
);


--
-- Name: k_incoming; Type: TABLE; Schema: staging; Owner: -
--

CREATE UNLOGGED TABLE staging.k_incoming (
    id integer NOT NULL,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    _op text
);


--
-- Name: TABLE k_incoming; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.k_incoming IS 'Rows of the chunk that is being loaded; empty between chunks.';


--
-- Name: k_rejects; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k_rejects (
    chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    file text NOT NULL,
    row_no bigint NOT NULL,
    raw text,
    raw_bytes bytea,
    reasons jsonb NOT NULL,
    status text DEFAULT 'rejected'::text NOT NULL,
    rejected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
PARTITION BY RANGE (chunk_no);


--
-- Name: TABLE k_rejects; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.k_rejects IS 'Records that could not be loaded: as landed (raw; raw_bytes where that is no valid text), from where, and why.';


--
-- Name: COLUMN k_rejects._row_no; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON COLUMN staging.k_rejects._row_no IS 'Number of the record in its chunk, counted through all its files.';


--
-- Name: COLUMN k_rejects.row_no; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON COLUMN staging.k_rejects.row_no IS 'Number of the record in its file, from 1, the header not counted.';


--
-- Name: k_replaced; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k_replaced (
    id integer,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL
)
PARTITION BY RANGE (_chunk_no);


--
-- Name: TABLE k_replaced; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.k_replaced IS 'The old image of each row that a chunk updated; _chunk_no and _row_no are those of the change.';


--
-- Name: k_replaced_p0; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.k_replaced_p0 (
    id integer,
    n integer,
    op text,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL
);


--
-- Name: merchants_state; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.merchants_state (
    h bigint NOT NULL,
    k1 text,
    rows bigint DEFAULT 0 NOT NULL,
    p1 numeric,
    p2 bigint DEFAULT 0 NOT NULL,
    p3 bigint DEFAULT 0 NOT NULL,
    _chunk_no bigint
)
WITH (fillfactor='50');


--
-- Name: merchants; Type: VIEW; Schema: staging; Owner: -
--

CREATE VIEW staging.merchants AS
 WITH grouped AS (
         SELECT merchants_state.k1,
            (merchants_state.p1 / (merchants_state.p2)::numeric) AS a1,
            merchants_state.rows AS a2,
            merchants_state.p3 AS a3
           FROM staging.merchants_state
        )
 SELECT grouped.k1 AS merchant,
    grouped.a1 AS avg_amount,
    grouped.a2 AS transactions,
    grouped.a3 AS female_customers
   FROM grouped;


--
-- Name: merchants_changes; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.merchants_changes (
    _chunk_no bigint NOT NULL,
    _op text NOT NULL,
    merchant text,
    avg_amount numeric,
    transactions bigint,
    female_customers bigint
);


--
-- Name: TABLE merchants_changes; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.merchants_changes IS 'The groups that each chunk changed, as they were after it: _op is upsert, or delete for a group whose last row was taken away (then as it was before).';


--
-- Name: merchants_distinct_1; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.merchants_distinct_1 (
    h bigint NOT NULL,
    v text NOT NULL,
    k1 text
);


--
-- Name: merchants_long; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.merchants_long (
)
INHERITS (staging.merchants_state)
WITH (fillfactor='50');


--
-- Name: t; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.t (
    transaction_id text NOT NULL,
    event_time timestamp with time zone,
    step integer,
    customer text,
    age text,
    gender text,
    zipcode text,
    merchant text NOT NULL,
    category text,
    amount numeric(12,2) NOT NULL,
    fraud integer,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL
)
PARTITION BY RANGE (_chunk_no);


--
-- Name: t_p0; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.t_p0 (
    transaction_id text NOT NULL,
    event_time timestamp with time zone,
    step integer,
    customer text,
    age text,
    gender text,
    zipcode text,
    merchant text NOT NULL,
    category text,
    amount numeric(12,2) NOT NULL,
    fraud integer,
    _chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL
);


--
-- Name: t_rejects; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.t_rejects (
    chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    file text NOT NULL,
    row_no bigint NOT NULL,
    raw text,
    raw_bytes bytea,
    reasons jsonb NOT NULL,
    status text DEFAULT 'rejected'::text NOT NULL,
    rejected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
PARTITION BY RANGE (chunk_no);


--
-- Name: TABLE t_rejects; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON TABLE staging.t_rejects IS 'Records that could not be loaded: as landed (raw; raw_bytes where that is no valid text), from where, and why.';


--
-- Name: COLUMN t_rejects._row_no; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON COLUMN staging.t_rejects._row_no IS 'Number of the record in its chunk, counted through all its files.';


--
-- Name: COLUMN t_rejects.row_no; Type: COMMENT; Schema: staging; Owner: -
--

COMMENT ON COLUMN staging.t_rejects.row_no IS 'Number of the record in its file, from 1, the header not counted.';


--
-- Name: t_rejects_p0; Type: TABLE; Schema: staging; Owner: -
--

CREATE TABLE staging.t_rejects_p0 (
    chunk_no bigint NOT NULL,
    _row_no bigint NOT NULL,
    file text NOT NULL,
    row_no bigint NOT NULL,
    raw text,
    raw_bytes bytea,
    reasons jsonb NOT NULL,
    status text DEFAULT 'rejected'::text NOT NULL,
    rejected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: k_changes_p0; Type: TABLE ATTACH; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.k_changes ATTACH PARTITION staging.k_changes_p0 FOR VALUES FROM ('0') TO ('10000');


--
-- Name: k_replaced_p0; Type: TABLE ATTACH; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.k_replaced ATTACH PARTITION staging.k_replaced_p0 FOR VALUES FROM ('0') TO ('10000');


--
-- Name: t_p0; Type: TABLE ATTACH; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.t ATTACH PARTITION staging.t_p0 FOR VALUES FROM ('0') TO ('10000');


--
-- Name: t_rejects_p0; Type: TABLE ATTACH; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.t_rejects ATTACH PARTITION staging.t_rejects_p0 FOR VALUES FROM ('0') TO ('10000');


--
-- Name: by_category_long rows; Type: DEFAULT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.by_category_long ALTER COLUMN rows SET DEFAULT 0;


--
-- Name: merchants_long rows; Type: DEFAULT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.merchants_long ALTER COLUMN rows SET DEFAULT 0;


--
-- Name: merchants_long p2; Type: DEFAULT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.merchants_long ALTER COLUMN p2 SET DEFAULT 0;


--
-- Name: merchants_long p3; Type: DEFAULT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.merchants_long ALTER COLUMN p3 SET DEFAULT 0;


--
-- Data for Name: pipeline; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.pipeline (id, name, owner, source, format, staging, rejects, raw, semi_processed, every, options, settings, app_id, state, state_reason, ledger_epoch, created_at, changes, replaced, incoming, deleted, input, source_types, transform) FROM stdin;
1	t	postgres	@landing@/t/*.csv	csv	staging.t	staging.t_rejects	\N	\N	00:00:00.05	{"null": "", "order": "path", "quote": "\\"", "escape": null, "header": true, "settle": null, "archive": null, "backoff": "1000 ms", "cleanup": "none", "encoding": "utf-8", "identity": "path", "order_by": [], "dedup_key": [], "delimiter": ",", "multiline": true, "on_change": "fail", "recursive": false, "retention": null, "transform": null, "change_feed": "auto", "compression": "auto", "delete_when": null, "on_conflict": null, "on_replaced": "ignore", "primary_key": [], "dedup_window": null, "max_attempts": 5, "partition_by": [], "publish_mode": "append", "max_lag_bytes": null, "max_retention": null, "min_free_disk": null, "on_new_column": "ignore", "publish_every": null, "start_version": null, "max_lag_chunks": null, "start_timestamp": null, "checkpoint_every": 100, "include_existing": true, "max_reject_ratio": null, "max_outbox_chunks": null, "rejects_retention": null, "max_rows_per_chunk": 1000000, "max_bytes_per_chunk": 33554432, "max_files_per_chunk": 1, "max_rows_per_second": null, "chunks_per_partition": null}	{"TimeZone": "Etc/UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres"}	pg_millrace:t:450baa17-9df4-40b8-a530-f08d77b280ec	active	\N	0	2026-11-23 09:24:13.015638+00	\N	\N	\N	\N	\N	\N	\N
2	k	postgres	@landing@/k/*.csv	csv	staging.k	staging.k_rejects	\N	\N	00:00:00.05	{"null": "", "order": "path", "quote": "\\"", "escape": null, "header": true, "settle": null, "archive": null, "backoff": "1000 ms", "cleanup": "none", "encoding": "utf-8", "identity": "path", "order_by": [], "dedup_key": [], "delimiter": ",", "multiline": true, "on_change": "fail", "recursive": false, "retention": null, "transform": null, "change_feed": "auto", "compression": "auto", "delete_when": "(op = 'D'::text)", "on_conflict": null, "on_replaced": "ignore", "primary_key": ["id"], "dedup_window": null, "max_attempts": 5, "partition_by": [], "publish_mode": "append", "max_lag_bytes": null, "max_retention": null, "min_free_disk": null, "on_new_column": "ignore", "publish_every": null, "start_version": null, "max_lag_chunks": null, "start_timestamp": null, "checkpoint_every": 100, "include_existing": true, "max_reject_ratio": null, "max_outbox_chunks": null, "rejects_retention": null, "max_rows_per_chunk": 1000000, "max_bytes_per_chunk": 33554432, "max_files_per_chunk": 1000, "max_rows_per_second": null, "chunks_per_partition": null}	{"TimeZone": "Etc/UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres"}	pg_millrace:k:563f6186-4571-40a2-91db-041c3051f276	active	\N	0	2026-11-23 09:24:13.305998+00	staging.k_changes	staging.k_replaced	staging.k_incoming	\N	\N	\N	\N
\.


--
-- Data for Name: aggregate; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.aggregate (id, pipeline_id, name, query, view_name, state_table, plan, publish, told_from, options, filled, created_at) FROM stdin;
1	1	merchants	\n    SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions, count(DISTINCT customer) FILTER (WHERE gender = 'F') AS female_customers\n    FROM staging.t GROUP BY merchant 	staging.merchants	staging.merchants_state	{"body": "SELECT k1 AS merchant,\\n    a1 AS avg_amount,\\n    a2 AS transactions,\\n    a3 AS female_customers\\n   FROM grouped", "keys": [{"sql": "merchant", "hash": {"function": "pg_catalog.hashtextextended"}, "equal": "OPERATOR(pg_catalog.=)", "column": "k1", "collation": "\\"default\\"", "type_name": "text", "unbounded": true}], "query": "SELECT merchant,\\n    avg(amount) AS avg_amount,\\n    count(*) AS transactions,\\n    count(DISTINCT customer) FILTER (WHERE (gender = 'F'::text)) AS female_customers\\n   FROM staging.t\\n  GROUP BY merchant", "having": false, "inputs": [{"sql": "amount", "column": "x1"}, {"sql": "(gender = 'F'::text)", "column": "x2"}, {"sql": "customer", "column": "x3"}], "signed": false, "values": [{"column": "a1", "reading": {"average": {"sum": "p1", "count": "p2"}}}, {"column": "a2", "reading": {"column": "rows"}}, {"column": "a3", "reading": {"column": "p3"}}], "outputs": [{"name": "merchant", "compare": "value", "type_name": "text"}, {"name": "avg_amount", "compare": "value_and_text", "type_name": "numeric"}, {"name": "transactions", "compare": "value_and_text", "type_name": "bigint"}, {"name": "female_customers", "compare": "value_and_text", "type_name": "bigint"}], "version": 1, "partials": [{"kind": {"sum": "fixed"}, "equal": null, "column": "p1", "filter": null, "argument": "x1", "collation": null, "type_name": "numeric"}, {"kind": "count", "equal": null, "column": "p2", "filter": null, "argument": "x1", "collation": null, "type_name": "bigint"}, {"kind": {"distinct": 1}, "equal": null, "column": "p3", "filter": null, "argument": null, "collation": null, "type_name": "bigint"}], "condition": null, "keys_shown": true, "distinct_sets": [{"hash": {"function": "pg_catalog.hashtextextended"}, "equal": "OPERATOR(pg_catalog.=)", "filter": "x2", "number": 1, "argument": "x3", "collation": "\\"default\\"", "type_name": "text"}]}	\N	\N	{"approx": false, "partition_by": [], "publish_mode": "append", "publish_every": null, "checkpoint_every": null}	\N	2026-11-23 09:24:13.117552+00
2	1	by_category	SELECT category, min(amount) AS least, max(amount) AS most, string_agg(merchant, ',' ORDER BY merchant, transaction_id) AS all_merchants FROM staging.t GROUP BY category	staging.by_category	staging.by_category_state	{"body": "SELECT k1 AS category,\\n    a1 AS \\"least\\",\\n    a2 AS most,\\n    a3 AS all_merchants\\n   FROM grouped", "keys": [{"sql": "category", "hash": {"function": "pg_catalog.hashtextextended"}, "equal": "OPERATOR(pg_catalog.=)", "column": "k1", "collation": "\\"default\\"", "type_name": "text", "unbounded": true}], "query": "SELECT category,\\n    min(amount) AS \\"least\\",\\n    max(amount) AS most,\\n    string_agg(merchant, ','::text ORDER BY merchant, transaction_id, _chunk_no, _row_no) AS all_merchants\\n   FROM staging.t\\n  GROUP BY category", "having": false, "inputs": [{"sql": "amount", "column": "x1"}], "signed": false, "values": [{"column": "a1", "reading": {"column": "p1"}}, {"column": "a2", "reading": {"column": "p2"}}, {"column": "a3", "reading": {"column": "p3"}}], "outputs": [{"name": "category", "compare": "value", "type_name": "text"}, {"name": "least", "compare": "value", "type_name": "numeric"}, {"name": "most", "compare": "value", "type_name": "numeric"}, {"name": "all_merchants", "compare": "value", "type_name": "text"}], "version": 1, "partials": [{"kind": "min", "equal": "OPERATOR(pg_catalog.=)", "column": "p1", "filter": null, "argument": "x1", "collation": null, "type_name": "numeric"}, {"kind": "max", "equal": "OPERATOR(pg_catalog.=)", "column": "p2", "filter": null, "argument": "x1", "collation": null, "type_name": "numeric"}, {"kind": "again", "equal": null, "column": "p3", "filter": null, "argument": "string_agg(merchant, ','::text ORDER BY merchant, transaction_id, _chunk_no, _row_no)", "collation": "\\"default\\"", "type_name": "text"}], "condition": null, "keys_shown": true, "distinct_sets": []}	\N	\N	{"approx": false, "partition_by": [], "publish_mode": "append", "publish_every": null, "checkpoint_every": null}	\N	2026-11-23 09:24:13.200367+00
3	2	by_remainder	SELECT id % 3 AS r, count(*) AS rows, sum(n) AS n, min(n) AS least FROM staging.k GROUP BY 1	staging.by_remainder	staging.by_remainder_state	{"body": "SELECT k1 AS r,\\n    a1 AS rows,\\n    a2 AS n,\\n    a3 AS \\"least\\"\\n   FROM grouped", "keys": [{"sql": "(id % 3)", "hash": {"function": "pg_catalog.hashint4extended"}, "equal": "OPERATOR(pg_catalog.=)", "column": "k1", "collation": null, "type_name": "integer", "unbounded": false}], "query": "SELECT (id % 3) AS r,\\n    count(*) AS rows,\\n    sum(n) AS n,\\n    min(n) AS \\"least\\"\\n   FROM staging.k\\n  GROUP BY (id % 3)", "having": false, "inputs": [{"sql": "n", "column": "x1"}], "signed": true, "values": [{"column": "a1", "reading": {"column": "rows"}}, {"column": "a2", "reading": {"column": "p1"}}, {"column": "a3", "reading": {"column": "p3"}}], "outputs": [{"name": "r", "compare": "value", "type_name": "integer"}, {"name": "rows", "compare": "value_and_text", "type_name": "bigint"}, {"name": "n", "compare": "value_and_text", "type_name": "bigint"}, {"name": "least", "compare": "value", "type_name": "integer"}], "version": 1, "partials": [{"kind": {"sum": "whole"}, "equal": null, "column": "p1", "filter": null, "argument": "x1", "collation": null, "type_name": "bigint"}, {"kind": "count", "equal": null, "column": "p2", "filter": null, "argument": "x1", "collation": null, "type_name": "bigint"}, {"kind": "min", "equal": "OPERATOR(pg_catalog.=)", "column": "p3", "filter": null, "argument": "x1", "collation": null, "type_name": "integer"}], "condition": null, "keys_shown": true, "distinct_sets": []}	\N	\N	{"approx": false, "partition_by": [], "publish_mode": "append", "publish_every": null, "checkpoint_every": null}	\N	2026-11-23 09:24:13.380522+00
\.


--
-- Data for Name: backfill; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.backfill (pipeline_id, generation, kind, location, first, last, through, rate, state, source_offset, chunks_done, rows_done, attempts, error, sqlstate, retry_at, started_at, started_by, finished_at) FROM stdin;
\.


--
-- Data for Name: consumer; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.consumer (id, pipeline_id, stream, layer, aggregate_id, name, mode, parent_id, slot, slots, key, holder, retired, next_slots, claim, max_in_flight, lease, max_attempts, backoff, max_backoff, on_poison, state, state_reason, acked_through, until_chunk, auto_drop, blocks, backfills, epoch, replay_no, takeovers, redriven, closed_kept, purged_through, last_seen, created_at, created_by) FROM stdin;
2	1	t	rows	\N	many	pool	\N	\N	\N	\N	\N	f	\N	lease	2	00:05:00	5	00:00:10	01:00:00	dead_letter	active	\N	0	\N	f	t	t	1	0	0	0	0	0	\N	2026-11-23 09:24:13.647652+00	postgres
3	1	t.merchants	aggregate	1	images	ordered	\N	\N	\N	\N	\N	f	\N	lease	1	00:05:00	5	00:00:10	01:00:00	dead_letter	active	\N	3	\N	f	t	t	1	0	0	0	0	3	\N	2026-11-23 09:24:13.654803+00	postgres
1	1	t	rows	\N	one	ordered	\N	\N	\N	\N	\N	f	\N	lease	1	00:05:00	5	00:00:10	01:00:00	dead_letter	active	\N	1	\N	f	t	t	1	0	0	0	1	0	2026-11-23 09:24:13.66552+00	2026-11-23 09:24:13.633121+00	postgres
\.


--
-- Data for Name: backfill_cursor; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.backfill_cursor (pipeline_id, generation, consumer_id, next_chunk, last_chunk, replay_no) FROM stdin;
\.


--
-- Data for Name: chunk; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source, dropped_count, requeued_count, timings, rows_total, rejects_total, bytes_total, generation, duplicate_count, filtered_count, derived_count) FROM stdin;
1	1	95	5	12811	2026-11-23 09:24:13.479728+00	00:00:00.086	{"files": [{"etag": "a20022-18eaa24cf8a12d00-320b", "path": "transactions_42_00000000.csv", "size": 12811, "columns": ["transaction_id", "event_time", "step", "customer", "age", "gender", "zipcode", "merchant", "category", "amount", "fraud"], "records": 100, "first_record": 1, "first_row_no": 1}], "raw_version": null}	0	0	{"lag": 546.228, "listing": 1.858, "loading": 79.416, "reading": 5.735}	95	5	12811	0	0	0	0
1	2	94	6	12774	2026-11-23 09:24:13.522506+00	00:00:00.025	{"files": [{"etag": "a20032-18eaa24cfa4c6bff-31e6", "path": "transactions_42_00000001.csv", "size": 12774, "columns": ["transaction_id", "event_time", "step", "customer", "age", "gender", "zipcode", "merchant", "category", "amount", "fraud"], "records": 100, "first_record": 1, "first_row_no": 1}], "raw_version": null}	0	0	{"lag": 561.271, "listing": 0.284, "loading": 15.138, "reading": 10.107}	189	11	25585	0	0	0	0
1	3	100	0	12863	2026-11-23 09:24:13.55569+00	00:00:00.011	{"files": [{"etag": "a20042-18eaa24cfb408ffe-323f", "path": "transactions_42_00000002.csv", "size": 12863, "columns": ["transaction_id", "event_time", "step", "customer", "age", "gender", "zipcode", "merchant", "category", "amount", "fraud"], "records": 100, "first_record": 1, "first_row_no": 1}], "raw_version": null}	0	0	{"lag": 578.444, "listing": 0.047, "loading": 11.762, "reading": 0.021}	289	11	38448	0	0	0	0
2	1	20	0	199	2026-11-23 09:24:13.604782+00	00:00:00.032	{"files": [{"etag": "a200d7-18eaa23f24d43c94-aa", "path": "1.csv", "size": 170, "columns": ["id", "n", "op"], "records": 20, "first_record": 1, "first_row_no": 1}, {"etag": "a200d8-18eaa23f258b5793-1d", "path": "2.csv", "size": 29, "records": 3, "first_record": 1, "first_row_no": 21}], "raw_version": null}	0	0	{"lag": 60059.53, "listing": 0.828, "loading": 31.646, "reading": 0.313}	20	0	199	0	3	0	0
\.


--
-- Data for Name: dead_part; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.dead_part (consumer_id, chunk_no, row_from, row_to, attempts, replay_no, worker, last_error, history, died_at) FROM stdin;
\.


--
-- Data for Name: delivery; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.delivery (consumer_id, chunk_no, state, token, worker, session, epoch, attempt, replay_no, takeovers, handed_out, slot, lease, leased_at, lease_until, visible_at, closed_at, last_error, history, row_from, row_to, rows_end, acked_token, generation, row_count, sealed_at) FROM stdin;
1	1	acked	15c43415-8aca-4170-b3a7-833737ecb91f	26952@848741052255983	26952@848741052255983	1	1	0	0	1	\N	00:05:00	2026-11-23 09:24:13.665069+00	2026-11-23 09:29:13.665069+00	\N	2026-11-23 09:24:13.665821+00	\N	[]	\N	\N	\N	\N	0	95	2026-11-23 09:24:13.479728+00
1	2	leased	fd6d5e27-19b2-4551-9abb-9f2b273698d4	26952@848741052255983	26952@848741052255983	1	1	0	0	1	\N	00:05:00	2026-11-23 09:24:13.683665+00	2026-11-23 09:29:13.683665+00	\N	\N	\N	[]	\N	\N	\N	\N	0	94	2026-11-23 09:24:13.522506+00
2	1	leased	e6839f2a-4ff9-4706-888f-1fb8e47ac9d3	26952@848741052255983	26952@848741052255983	1	1	0	0	1	1	00:05:00	2026-11-23 09:24:13.694366+00	2026-11-23 09:29:13.694366+00	\N	\N	\N	[]	\N	\N	\N	\N	0	95	2026-11-23 09:24:13.479728+00
\.


--
-- Data for Name: event; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.event (id, at, pipeline, kind, who, subject, message, detail) FROM stdin;
1	2026-11-23 09:24:13.016247+00	t	pipeline_created	postgres	\N	\N	\N
2	2026-11-23 09:24:13.037426+00	t	expectation_added	postgres	positive amount	amount > 0	\N
3	2026-11-23 09:24:13.306309+00	k	pipeline_created	postgres	\N	\N	\N
4	2026-11-23 09:24:13.633728+00	t	consumer_created	postgres	t/one	consumer created	{"start_at": "earliest", "acked_through": 0}
5	2026-11-23 09:24:13.647929+00	t	consumer_created	postgres	t/many	consumer created	{"start_at": "earliest", "acked_through": 0}
6	2026-11-23 09:24:13.659454+00	t	consumer_created	postgres	t.merchants/images	consumer created	{"start_at": "latest", "acked_through": 3}
7	2026-11-23 09:24:13.712001+00	t	pipeline_altered	postgres	\N	\N	\N
8	2026-11-23 09:24:13.725602+00	k	pipeline_altered	postgres	\N	\N	\N
\.


--
-- Data for Name: expectation; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.expectation (id, pipeline_id, name, condition, plan, columns, on_violation, null_passes, created_at) FROM stdin;
1	1	positive amount	amount > 0	(amount > (0)::numeric)	{amount}	quarantine	f	2026-11-23 09:24:13.037148+00
\.


--
-- Data for Name: expectation_result; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.expectation_result (pipeline_id, chunk_no, expectation, on_violation, checked, violated) FROM stdin;
1	1	positive amount	quarantine	95	0
1	2	positive amount	quarantine	94	0
1	3	positive amount	quarantine	100	0
\.


--
-- Data for Name: file; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.file (pipeline_id, path, etag, size, modified, state, chunk_no, records_done, bytes_done, rows, rejects, dropped, duplicates, filtered, derived, attempts, error, retry_at, content, cleanup, updated_at) FROM stdin;
1	transactions_42_00000000.csv	a20022-18eaa24cf8a12d00-320b	12811	2026-11-23 09:24:12.93309+00	loaded	1	100	12811	95	5	0	0	0	0	0	\N	\N	\N	\N	2026-11-23 09:24:13.470689+00
1	transactions_42_00000001.csv	a20032-18eaa24cfa4c6bff-31e6	12774	2026-11-23 09:24:12.96109+00	loaded	2	100	12774	94	6	0	0	0	0	0	\N	\N	\N	\N	2026-11-23 09:24:13.52224+00
1	transactions_42_00000002.csv	a20042-18eaa24cfb408ffe-323f	12863	2026-11-23 09:24:12.97709+00	loaded	3	100	12863	100	0	0	0	0	0	0	\N	\N	\N	\N	2026-11-23 09:24:13.555397+00
2	1.csv	a200d7-18eaa23f24d43c94-aa	170	2026-11-23 09:23:13.545092+00	loaded	1	20	170	18	0	0	2	0	0	0	\N	\N	\N	\N	2026-11-23 09:24:13.60447+00
2	2.csv	a200d8-18eaa23f258b5793-1d	29	2026-11-23 09:23:13.557092+00	loaded	1	3	29	2	0	0	1	0	0	0	\N	\N	\N	\N	2026-11-23 09:24:13.604511+00
\.


--
-- Data for Name: held_back; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.held_back (pipeline_id, path, etag, raw_version, records) FROM stdin;
\.


--
-- Data for Name: layer; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.layer (pipeline_id, layer, location, from_chunk, options) FROM stdin;
\.


--
-- Data for Name: position; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace."position" (pipeline_id, head, raw_version, raw_rows_done, land_seq, last_error, last_sqlstate, last_error_at, failures, retry_at, source_offset, accepted, kept_from, rejects_kept_from, throttled_by, throttled_since) FROM stdin;
1	3	-1	0	0	\N	\N	\N	0	\N	\N	\N	1	1	\N	\N
2	1	-1	0	0	\N	\N	\N	0	\N	\N	\N	1	1	\N	\N
\.


--
-- Data for Name: publication; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.publication (pipeline_id, layer, chunk_no, state, attempts, delta_version, rows, error, retry_at, published_at) FROM stdin;
\.


--
-- Data for Name: rejected_row; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.rejected_row (consumer_id, chunk_no, row_no, reason, attempt, worker, rejected_at) FROM stdin;
\.


--
-- Data for Name: stream_grant; Type: TABLE DATA; Schema: millrace; Owner: -
--

COPY millrace.stream_grant (pipeline_id, stream, grantee, granted_by, granted_at) FROM stdin;
\.


--
-- Data for Name: by_category_changes; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.by_category_changes (_chunk_no, _op, category, "least", most, all_merchants) FROM stdin;
\.


--
-- Data for Name: by_category_long; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.by_category_long (h, k1, rows, p1, p2, p3, _chunk_no) FROM stdin;
\.


--
-- Data for Name: by_category_state; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.by_category_state (h, k1, rows, p1, p2, p3, _chunk_no) FROM stdin;
-3308353749257811227	es_leisure	1	96.91	96.91	M117188757	1
-5039910794927264016	es_tech	2	109.64	139.98	M1748431652,M3697346	2
4650286047635771508	es_barsandrestaurants	2	42.03	47.06	M1400236507,M97925176	2
4554949998274418958	es_hyper	2	56.02	418.43	M1313686961,M1741626453	2
1691620640148148371	es_sportsandtoys	2	92.50	394.29	M1352454843,M923029380	2
-3662764861131700013	es_fashion	3	46.46	107.37	M1888755466,M50039827,M547558035	3
4048707695758353697	es_food	11	2.16	55.29	M1053599405,M1053599405,M151143676,M151143676,M151143676,M85975013,M85975013,M85975013,M85975013,M85975013,M85975013	3
1118921414606950504	es_health	4	24.49	171.27	M209847108,M209847108,M480139044,M855959430	3
2126648797733683586	es_transportation	253	2.29	51.08	M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M1823072687,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600,M348934600	3
4493702665629575416	es_wellnessandbeauty	9	11.94	81.44	M1198415165,M1198415165,M1198415165,M1198415165,M1535107174,M1600850729,M1600850729,M1600850729,M980657600	3
\.


--
-- Data for Name: by_remainder_changes; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.by_remainder_changes (_chunk_no, _op, r, rows, n, "least") FROM stdin;
\.


--
-- Data for Name: by_remainder_state; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.by_remainder_state (h, k1, rows, p1, p2, p3, _chunk_no) FROM stdin;
434346878670890809	0	7	930	7	30	1
-7620678293940249823	1	7	695	7	5	1
7846366767813865367	2	6	750	6	50	1
\.


--
-- Data for Name: k; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.k (id, n, op, _chunk_no, _row_no) FROM stdin;
1	5	U	1	21
3	30	U	1	3
4	40	U	1	4
5	50	U	1	5
6	60	U	1	6
7	70	U	1	7
8	80	U	1	8
9	90	U	1	9
10	100	U	1	10
11	110	U	1	11
12	120	U	1	12
13	130	U	1	13
14	140	U	1	14
15	150	U	1	15
16	160	U	1	16
17	170	U	1	17
18	180	U	1	18
19	190	U	1	19
20	200	U	1	20
30	300	U	1	23
\.


--
-- Data for Name: k_changes_p0; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.k_changes_p0 (id, n, op, _chunk_no, _row_no, _op) FROM stdin;
1	5	U	1	21	insert
3	30	U	1	3	insert
4	40	U	1	4	insert
5	50	U	1	5	insert
6	60	U	1	6	insert
7	70	U	1	7	insert
8	80	U	1	8	insert
9	90	U	1	9	insert
10	100	U	1	10	insert
11	110	U	1	11	insert
12	120	U	1	12	insert
13	130	U	1	13	insert
14	140	U	1	14	insert
15	150	U	1	15	insert
16	160	U	1	16	insert
17	170	U	1	17	insert
18	180	U	1	18	insert
19	190	U	1	19	insert
20	200	U	1	20	insert
30	300	U	1	23	insert
\.


--
-- Data for Name: k_incoming; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.k_incoming (id, n, op, _chunk_no, _row_no, _op) FROM stdin;
\.


--
-- Data for Name: k_replaced_p0; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.k_replaced_p0 (id, n, op, _chunk_no, _row_no) FROM stdin;
\.


--
-- Data for Name: merchants_changes; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.merchants_changes (_chunk_no, _op, merchant, avg_amount, transactions, female_customers) FROM stdin;
\.


--
-- Data for Name: merchants_distinct_1; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.merchants_distinct_1 (h, v, k1) FROM stdin;
2552963694830596864	C126447416	M117188757
-3548569670821738208	C962237764	M1823072687
4878359268141939958	C124477114	M1823072687
3967920176649798968	C262952951	M1823072687
-4421708563984202083	C567037721	M855959430
-5992579016798437676	C165254894	M348934600
-1038635088788741433	C951015509	M1535107174
-1162899592541718399	C165254894	M1823072687
5988003239293172470	C624362877	M1823072687
2368934716061473646	C763660687	M1823072687
5309410130764410275	C531776082	M348934600
1005964962799929239	C279343952	M923029380
3508427723618435472	C334288455	M348934600
-6883832530463024515	C474223770	M1823072687
-7790177791531833653	C734862605	M547558035
2414348638237029473	C806180905	M348934600
4261116169583321211	C902787950	M1823072687
8976546131991803789	C764759222	M1823072687
-7260643371511831102	C669316423	M348934600
-3106087066198128598	C846140708	M1823072687
5602169997440926541	C219791569	M348934600
8825515943648393848	C184476067	M1823072687
3601657745815951176	C595726920	M1823072687
8578844147705343205	C128880824	M1198415165
2419829504783553224	C975996972	M348934600
-1668924542315437261	C152684562	M1823072687
-5154238257696413326	C542843227	M1823072687
7083216549549555400	C846140708	M151143676
-7523349054551331765	C230086949	M151143676
3287871332531274882	C864163603	M348934600
2506162007746282778	C729139419	M1823072687
5000304562198140174	C244734482	M1823072687
-7962384106379161499	C484373088	M480139044
-7490878807492837324	C238216612	M1823072687
-3968692312358882985	C127583157	M1741626453
2810184429991623811	C866552267	M1823072687
2077465108189814497	C974605652	M1823072687
7011405480507247600	C805911583	M1823072687
6813292215163141880	C924611705	M348934600
-1977720581184188050	C949994542	M1823072687
5371414185526979062	C594104416	M1823072687
3091668219177796810	C332302539	M348934600
6936487433580931389	C408924136	M1823072687
-6179513907809065862	C906140787	M1823072687
-1394215489835263836	C387422132	M1823072687
-4933524392314363719	C513598982	M348934600
4581648906255482627	C637493337	M980657600
-1190368589541022256	C925598071	M348934600
-4884254208041923674	C731862345	M348934600
-6787018320476856749	C503368947	M348934600
40807735816959424	C215989466	M1823072687
-3677106206089429696	C505661190	M1823072687
-6601129476787876671	C916711883	M1823072687
9112041188641766689	C564611632	M85975013
-4643426389030288995	C486198576	M348934600
-4339913396269172381	C154312045	M348934600
6914651613177730303	C573462602	M348934600
4230855040889041344	C917641016	M348934600
-7569499037625225083	C127583157	M151143676
5546740240645213823	C352263179	M348934600
-1994014488475092891	C774635242	M348934600
-2260875559423593758	C306182905	M348934600
1574926676650857804	C449123178	M348934600
7882233268839847728	C631931948	M1823072687
8396805873803984387	C270556119	M1823072687
6846008274246107361	C439450964	M1053599405
5422626432564285104	C438148757	M1823072687
365642150770107802	C685610991	M1823072687
-4129112470280726240	C170950061	M348934600
-3216455418527600633	C194625146	M1400236507
7723430118267033040	C375591623	M1823072687
8570023666199867317	C507696927	M348934600
-4912669170704828352	C244266205	M1823072687
-449746976559703585	C247505635	M1198415165
3579688928184654400	C861240555	M348934600
9129030396936977645	C394718462	M348934600
568576402456655358	C429976178	M1888755466
-8998310840045170434	C696928647	M1823072687
5726021657389266220	C632970757	M1823072687
-341093715279724269	C524147568	M348934600
-7518264538642817447	C940704554	M348934600
2233912436946666223	C249789252	M1823072687
5956004906832928180	C366075978	M85975013
-4833473976444553588	C482010095	M348934600
2922675081088229685	C964327682	M1823072687
3466561842646399491	C539086858	M1352454843
6705577017596733785	C801844381	M1823072687
9045306750005604336	C504193546	M1823072687
-8448202631520382644	C932651955	M348934600
-6701953438578666212	C288233153	M348934600
7556477733444515477	C471479803	M1823072687
-5208342491928829939	C447724123	M1823072687
6834715972852049071	C726539871	M1823072687
-1368180079131919954	C745320119	M1823072687
3730915865608569365	C376378618	M1823072687
790187269143255506	C873729783	M348934600
8549813166951847923	C928571153	M348934600
-743316164784563741	C688749942	M1823072687
2566191478140351854	C848296930	M1823072687
-1154192781094059068	C558561672	M348934600
-805536210359100946	C762238447	M1823072687
781750868591988278	C703408263	M85975013
-7931755198523121772	C672576750	M1823072687
-3843941315187225590	C903684145	M50039827
3438209498630042556	C586252191	M1823072687
-1102471508532583180	C337447785	M348934600
4882590327683794506	C913029191	M1823072687
4322317710993380420	C606208970	M348934600
-1456879990726629189	C612088517	M1823072687
7872225295366539527	C371409817	M1823072687
8484778920366695227	C462885710	M348934600
-2957622710066354971	C556502776	M1823072687
7636696522753267393	C947921487	M1823072687
256960413024241400	C807419049	M1823072687
8864103937646961217	C605838756	M348934600
2083039231618739168	C570373629	M348934600
-4105137081191349397	C328639368	M348934600
4239556991277365915	C334449970	M348934600
-9151228185887950156	C331655007	M1823072687
641252642295156331	C322488721	M1823072687
-2429734218650093188	C343998737	M1823072687
-8151921390178160555	C771131045	M348934600
7193626267291202347	C354516860	M1823072687
-8158295248478391816	C269510517	M1823072687
-5463448605946251711	C792264020	M348934600
-6744689788802183157	C260079737	M1823072687
7670854501093767472	C132891176	M348934600
1851388425784495633	C968102826	M1823072687
5939969981545383813	C959942049	M348934600
4142734166686974418	C399974510	M348934600
-8551214967004046642	C684181469	M1823072687
-8581450185493097584	C856699169	M1823072687
256681930835272427	C593887978	M348934600
-8685554844123389868	C150517463	M348934600
-3806173643671692347	C404358282	M348934600
8792584708472742423	C588100643	M1823072687
-4482206906642662368	C536035488	M1823072687
-8392291395443244947	C722280056	M348934600
7493642805320133297	C833268836	M348934600
2340313149651739876	C727758575	M1823072687
-4136137317261872188	C708397453	M348934600
1840982570413981184	C482929321	M1823072687
1505049061262367509	C582729237	M348934600
-1228361581048010699	C935655940	M1823072687
4935280744315128826	C668160211	M1823072687
3595776308397446943	C686607069	M348934600
-6354843723197932894	C882317855	M1823072687
7572675507973500940	C486430850	M348934600
4332034342483741293	C197205772	M1823072687
1235990957822549361	C607155574	M1823072687
-1805251311218478153	C613491791	M348934600
3789498982607848893	C885852031	M1600850729
-832070748286226261	C436661202	M348934600
4003114773031008342	C270556119	M348934600
1607216934968325457	C476042410	M348934600
2524563176908416533	C938870706	M348934600
-1015482240889695362	C550290977	M1823072687
-8806594006790929908	C661837079	M348934600
-5470336489752241729	C309625674	M1823072687
-4291486942646696960	C159289598	M348934600
160162673347007890	C687024533	M1823072687
-5625869908412498635	C312286821	M1823072687
\.


--
-- Data for Name: merchants_long; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.merchants_long (h, k1, rows, p1, p2, p3, _chunk_no) FROM stdin;
\.


--
-- Data for Name: merchants_state; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.merchants_state (h, k1, rows, p1, p2, p3, _chunk_no) FROM stdin;
-7677716158738904957	M923029380	1	394.29	1	1	1
6810134006580505384	M547558035	1	66.73	1	1	1
3697495809492782658	M97925176	1	47.06	1	0	1
638709804674047891	M117188757	1	96.91	1	1	1
-7509252073782799715	M1741626453	1	56.02	1	1	1
8211267219850596617	M980657600	1	19.05	1	1	1
-7670102319050238527	M480139044	1	64.57	1	1	1
-3625238395252812103	M1535107174	1	52.39	1	1	1
9044337105899114380	M855959430	1	135.38	1	1	1
8702377923868164992	M1400236507	1	42.03	1	1	2
6640992465420148950	M3697346	1	139.98	1	0	2
7385048965802169800	M1888755466	1	46.46	1	1	2
2282481168081638520	M1352454843	1	92.50	1	1	2
-7593440459831061294	M1313686961	1	418.43	1	0	2
-6612647397026733524	M1748431652	1	109.64	1	0	2
-6555087983543044959	M85975013	6	220.82	6	3	2
6136125133985063188	M1198415165	4	269.29	4	2	2
4030190797679570851	M151143676	3	96.98	3	3	2
-5894695870461040507	M50039827	1	107.37	1	1	3
4559962644877934276	M209847108	2	195.76	2	0	3
8305076500908206100	M348934600	111	3175.92	111	62	3
341881353143031391	M1053599405	2	59.10	2	1	3
2094431362748950543	M1600850729	3	87.62	3	1	3
5128698413651175399	M1823072687	142	3856.71	142	78	3
\.


--
-- Data for Name: t_p0; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.t_p0 (transaction_id, event_time, step, customer, age, gender, zipcode, merchant, category, amount, fraud, _chunk_no, _row_no) FROM stdin;
9b9d7536-b076-46d7-8000-000000000000	2026-01-01 00:00:00.009548+00	0	C124477114	2	F	28007	M1823072687	es_transportation	22.93	0	1	1
11f3f9d3-4c93-488a-a737-299ddae8701e	2026-01-01 00:00:00.015496+00	0	C949994542	5	F	28007	M1823072687	es_transportation	9.86	0	1	2
fa6551c7-2c53-447f-a557-51f3c5c8e03a	2026-01-01 00:00:00.021533+00	0	C805911583	3	F	28007	M1823072687	es_transportation	28.04	0	1	3
042e2c5a-7439-4c9a-b94d-1304396dd62d	2026-01-01 00:00:00.030384+00	0	C1022739050	3	M	28007	M1823072687	es_transportation	11.89	0	1	4
ea9660fc-35a3-402f-94c4-a1692cafc79f	2026-01-01 00:00:00.045441+00	0	C1278422932	2	M	28007	M348934600	es_transportation	36.45	0	1	5
7fba4cb1-9d09-48f0-a8da-34669b5feb38	2026-01-01 00:00:00.054721+00	0	C1291860530	2	M	28007	M348934600	es_transportation	45.67	0	1	6
34bacbf3-2ce2-429f-8983-24c0ed4f945c	2026-01-01 00:00:00.061749+00	0	C128880824	3	F	28007	M1198415165	es_wellnessandbeauty	58.02	0	1	7
61bd9219-5dc2-439c-b15d-d531d343c276	2026-01-01 00:00:00.075866+00	0	C866552267	4	F	28007	M1823072687	es_transportation	14.47	0	1	8
c488f6e3-28d5-48e2-b39f-40539799888a	2026-01-01 00:00:00.082543+00	0	C1132309294	3	M	28007	M1823072687	es_transportation	22.88	0	1	9
64ca3e1d-035f-4a12-bb55-69c3b396be92	2026-01-01 00:00:00.099983+00	0	C503368947	4	F	28007	M348934600	es_transportation	22.07	0	1	10
b418df21-475e-404f-a89d-6785ad0bca76	2026-01-01 00:00:00.108096+00	0	C1318879109	3	M	28007	M1823072687	es_transportation	25.84	0	1	11
dfffaeed-2c77-4930-82f8-1c15916a831e	2026-01-01 00:00:00.110024+00	0	C334288455	1	F	28007	M348934600	es_transportation	23.62	0	1	12
33156f89-cb51-46cc-b9a4-a91bb9039f8a	2026-01-01 00:00:00.140721+00	0	C1668525177	3	M	28007	M1823072687	es_transportation	45.24	0	1	15
bb9bf7ae-0f7c-4dcb-8a47-7e99fec3d7b6	2026-01-01 00:00:00.156162+00	0	C219791569	3	F	28007	M348934600	es_transportation	11.20	0	1	16
19c70612-6e44-4c02-b154-7e29a500f1be	2026-01-01 00:00:00.169596+00	0	C165254894	5	F	28007	M348934600	es_transportation	27.15	0	1	17
15b7baba-e77a-4940-bd70-00732e6052a3	2026-01-01 00:00:00.17087+00	0	C1368694953	6	M	28007	M1823072687	es_transportation	19.61	0	1	18
0a07e9c8-ff23-4702-8d93-d23febf573c2	2026-01-01 00:00:00.186946+00	0	C924611705	2	F	28007	M348934600	es_transportation	39.53	0	1	19
7a8eec1d-423d-4d0b-8889-5195a96d382e	2026-01-01 00:00:00.196114+00	0	C1159390293	2	M	28007	M1823072687	es_transportation	30.60	0	1	20
155552a6-b595-44ab-9b50-cc8de81d9196	2026-01-01 00:00:00.209583+00	0	C731862345	3	F	28007	M348934600	es_transportation	29.49	0	1	21
8e74b2bc-75ae-4600-8226-f0541123a5dd	2026-01-01 00:00:00.218899+00	0	C262952951	4	F	28007	M1823072687	es_transportation	26.82	0	1	22
cd80b6be-7e93-4c66-9d26-7af9b26b27e6	2026-01-01 00:00:00.233161+00	0	C925598071	3	F	28007	M348934600	es_transportation	30.92	0	1	24
1698705e-91de-40e4-844e-8b89a4a8673e	2026-01-01 00:00:00.246386+00	0	C1620379266	4	M	28007	M1823072687	es_transportation	34.56	0	1	25
509f6c3a-7726-4491-b5f8-f83a754372e1	2026-01-01 00:00:00.259735+00	0	C669316423	6	F	28007	M348934600	es_transportation	20.36	0	1	26
864774bf-3828-4d9a-b37f-9c185df71105	2026-01-01 00:00:00.27829+00	0	C1644288828	2	M	28007	M1823072687	es_transportation	5.50	0	1	28
bcb2755a-47d1-41b9-bd5f-4fb90051067f	2026-01-01 00:00:00.28913+00	0	C624362877	4	F	28007	M1823072687	es_transportation	21.61	0	1	29
deee8648-dde3-4232-87eb-43187824f215	2026-01-01 00:00:00.296785+00	0	C127583157	0	F	28007	M1741626453	es_hyper	56.02	0	1	30
8a7cfce2-5e22-4adb-ab77-fbec6c1ba545	2026-01-01 00:00:00.30297+00	0	C387422132	4	F	28007	M1823072687	es_transportation	23.89	0	1	31
8f07407c-b352-401e-a4d6-553aed4a9050	2026-01-01 00:00:00.313715+00	0	C1210436989	1	M	28007	M85975013	es_food	31.42	0	1	32
ba3a76af-a055-4daf-acbe-f9d52cd7eac7	2026-01-01 00:00:00.322212+00	0	C1096489371	6	M	28007	M348934600	es_transportation	7.56	0	1	33
bcae7cf9-b91b-4666-854e-94c19cf27aa6	2026-01-01 00:00:00.335609+00	0	C595726920	4	F	28007	M1823072687	es_transportation	21.40	0	1	34
7430a80a-8492-4171-91c8-ff9f2ccb5d23	2026-01-01 00:00:00.345636+00	0	C332302539	1	F	28007	M348934600	es_transportation	39.02	0	1	35
6baa6c1f-d988-495b-8522-4c669203b8e8	2026-01-01 00:00:00.35548+00	0	C1656096005	3	M	28007	M1823072687	es_transportation	28.32	0	1	36
fa9f60c2-3bb7-4ff5-b210-a33823deeb7d	2026-01-01 00:00:00.36931+00	0	C1376795861	2	M	28007	M85975013	es_food	54.87	0	1	37
3f19a450-d816-40fc-a330-568f48207cab	2026-01-01 00:00:00.378058+00	0	C1004876539	2	M	28007	M348934600	es_transportation	26.25	0	1	38
76710c16-75ac-45e1-9b28-a0ad610872c7	2026-01-01 00:00:00.388382+00	0	C1305948969	3	M	28007	M1823072687	es_transportation	11.12	0	1	39
22d7bada-a0a0-4c32-bad5-5b74771211fd	2026-01-01 00:00:00.393754+00	0	C334288455	1	F	28007	M348934600	es_transportation	27.82	0	1	40
6eb989e9-d144-4f7e-8d8a-97d438c72105	2026-01-01 00:00:00.409251+00	0	C1146004904	4	M	28007	M1823072687	es_transportation	33.70	0	1	41
dcbef87c-32f5-4ad1-b736-03ce84e20708	2026-01-01 00:00:00.414037+00	0	C152684562	3	F	28007	M1823072687	es_transportation	25.80	0	1	42
a484ee18-169b-4313-8e63-de2a0df13429	2026-01-01 00:00:00.421603+00	0	C1105407167	5	M	28007	M1823072687	es_transportation	16.84	0	1	43
96bc36ba-a684-4ec2-995a-7ecd68ccc2ef	2026-01-01 00:00:00.43676+00	0	C1595530416	3	M	28007	M348934600	es_transportation	16.20	0	1	44
bd775571-2a46-4a38-909b-6c7fa44e3d72	2026-01-01 00:00:00.445748+00	0	C542843227	5	F	28007	M1823072687	es_transportation	45.16	0	1	45
6641767c-c0bf-4820-b72b-bfb88e777bf4	2026-01-01 00:00:00.456324+00	0	C244734482	5	F	28007	M1823072687	es_transportation	28.38	0	1	46
1ed14054-98a0-4d56-8462-f374fe6c4754	2026-01-01 00:00:00.466077+00	0	C864163603	6	F	28007	M348934600	es_transportation	16.61	0	1	47
63e196e4-a142-4359-95e6-9d90bc037764	2026-01-01 00:00:00.476183+00	0	C215989466	3	F	28007	M1823072687	es_transportation	28.09	0	1	48
f1d41f53-bff8-4e1a-9f86-15cb81c8f67a	2026-01-01 00:00:00.485346+00	0	C1192653666	2	M	28007	M1823072687	es_transportation	29.33	0	1	49
c8166691-64a3-45c2-a2b4-2eebcf0d57d2	2026-01-01 00:00:00.495495+00	0	C567037721	4	F	28007	M855959430	es_health	135.38	0	1	50
177d171a-9677-4ddc-b607-edf64fb0d951	2026-01-01 00:00:00.504221+00	0	C637493337	2	F	28007	M980657600	es_wellnessandbeauty	19.05	1	1	51
47ce153b-d173-43b5-b317-3ef57e1b1faf	2026-01-01 00:00:00.516217+00	0	C764759222	3	F	28007	M1823072687	es_transportation	35.06	0	1	52
a89d3a4f-2b27-4440-8bbf-ef9ffecea6f2	2026-01-01 00:00:00.528175+00	0	C279343952	2	F	28007	M923029380	es_sportsandtoys	394.29	1	1	53
eacd89e4-b645-411f-b15b-684fdec0a32a	2026-01-01 00:00:00.532591+00	0	C734862605	2	F	28007	M547558035	es_fashion	66.73	0	1	54
be14c1c4-c262-40ba-b115-35b23e402499	2026-01-01 00:00:00.543187+00	0	C165254894	5	F	28007	M1823072687	es_transportation	29.46	0	1	55
9ed8e1c3-cf5a-4ba8-94dd-f141d5b01b16	2026-01-01 00:00:00.555444+00	0	C1195153859	1	M	28007	M1823072687	es_transportation	43.70	0	1	56
e15de24e-29a8-47c8-91a7-9e2b7f7613fb	2026-01-01 00:00:00.568316+00	0	C763660687	5	F	28007	M1823072687	es_transportation	21.97	0	1	57
7acc6169-9684-4944-8b95-0745dbcb781e	2026-01-01 00:00:00.573042+00	0	C1190262584	4	M	28007	M348934600	es_transportation	31.25	0	1	58
51aa1bed-98b3-4883-99ec-83b2e5e7e2b8	2026-01-01 00:00:00.586549+00	0	C1606917868	3	M	28007	M348934600	es_transportation	28.30	0	1	59
4540419d-8a24-401c-8770-e069f91ea526	2026-01-01 00:00:00.597865+00	0	C902787950	2	F	28007	M1823072687	es_transportation	42.11	0	1	60
a8fc7542-694b-44e4-add8-f69087f34fec	2026-01-01 00:00:00.602404+00	0	C1509968886	2	M	28007	M1823072687	es_transportation	33.93	0	1	61
2f540a70-12fb-4e3f-bc2d-cc8ae2f6f630	2026-01-01 00:00:00.61622+00	0	C1377604562	2	M	28007	M1823072687	es_transportation	32.96	0	1	62
d7562257-a24b-411b-93c2-a7f717a33e33	2026-01-01 00:00:00.624357+00	0	C513598982	5	F	28007	M348934600	es_transportation	16.51	0	1	63
b4773bb6-e0b6-4c9b-aa6e-6291c07be306	2026-01-01 00:00:00.638692+00	0	C594104416	3	F	28007	M1823072687	es_transportation	46.85	0	1	64
519be54e-73f0-4f51-b066-f2633163d4ab	2026-01-01 00:00:00.647282+00	0	C974605652	6	F	28007	M1823072687	es_transportation	43.46	0	1	65
988364fd-8e7e-49bd-9153-8a0ad9719d30	2026-01-01 00:00:00.656414+00	0	C1414751143	2	M	28007	M348934600	es_transportation	15.14	0	1	66
9f966de5-321a-415b-94b3-27053a5eedd7	2026-01-01 00:00:00.661073+00	0	C1506841759	5	M	28007	M348934600	es_transportation	39.28	0	1	67
f68fca52-dca8-4315-81c4-39c4091e23ad	2026-01-01 00:00:00.670755+00	0	C238216612	3	F	28007	M1823072687	es_transportation	42.17	0	1	68
be2bcd07-e0df-4c85-ba7a-fdf6f1faba20	2026-01-01 00:00:00.682023+00	0	C126447416	2	F	28007	M117188757	es_leisure	96.91	1	1	69
321363e5-f17c-4c7a-aa61-1829b4b680a6	2026-01-01 00:00:00.696623+00	0	C484373088	4	F	28007	M480139044	es_health	64.57	0	1	70
baae9f22-ec9b-48a6-945a-964f3e5d1143	2026-01-01 00:00:00.704663+00	0	C1560747768	2	M	28007	M348934600	es_transportation	30.18	0	1	71
040a3efe-029f-4e9c-ade4-9c01ba64a996	2026-01-01 00:00:00.711683+00	0	C1491350478	2	M	28007	M1823072687	es_transportation	19.43	0	1	72
ce553c83-1609-47da-ae37-43f22a37d049	2026-01-01 00:00:00.72601+00	0	C1110573687	3	M	28007	M348934600	es_transportation	39.82	0	1	73
17d703cc-f872-45d5-8e30-b1864a965b99	2026-01-01 00:00:00.734726+00	0	C846140708	1	F	28007	M1823072687	es_transportation	30.27	0	1	74
310c238f-9cc4-41ef-9d49-abd6b848f750	2026-01-01 00:00:00.749753+00	0	C951015509	2	F	28007	M1535107174	es_wellnessandbeauty	52.39	0	1	75
ed4f8367-236e-41bb-8da2-b17aa4ef4b40	2026-01-01 00:00:00.750154+00	0	C1403977465	2	M	28007	M1823072687	es_transportation	38.71	0	1	76
ee297432-85d5-4fa0-8067-3edc95c21974	2026-01-01 00:00:00.767095+00	0	C531776082	2	F	28007	M348934600	es_transportation	29.35	0	1	77
5e4413b8-d20e-4bc4-8c93-b5a072ec20fd	2026-01-01 00:00:00.784501+00	0	C1239477680	2	M	28007	M1823072687	es_transportation	16.68	0	1	79
b6f1df58-8916-48a5-8a4c-adf2fade96e0	2026-01-01 00:00:00.799214+00	0	C1172110067	4	M	28007	M1823072687	es_transportation	19.02	0	1	80
1c9c8ae1-acda-4788-a52b-2d2a67a840b9	2026-01-01 00:00:00.803106+00	0	C1656096005	3	M	28007	M348934600	es_transportation	26.75	0	1	81
86d0a960-255e-4604-9eb3-b63ba0edd032	2026-01-01 00:00:00.815639+00	0	C474223770	3	F	28007	M1823072687	es_transportation	27.74	0	1	82
2037129e-cdb7-43db-8555-065631dff211	2026-01-01 00:00:00.828933+00	0	C1557600018	3	M	28007	M1823072687	es_transportation	11.23	0	1	83
937b510d-43ff-4fe3-a3bb-9aef3d9b415b	2026-01-01 00:00:00.836736+00	0	C1703539980	2	M	28007	M97925176	es_barsandrestaurants	47.06	0	1	84
423501c0-2358-40e4-a6dd-b9d6457c7d21	2026-01-01 00:00:00.84005+00	0	C1440664598	2	M	28007	M1823072687	es_transportation	35.95	0	1	85
73333adb-f782-4292-afbd-827596819f9e	2026-01-01 00:00:00.859817+00	0	C1212642305	4	M	28007	M348934600	es_transportation	25.99	0	1	86
cc9eb979-6537-4384-899d-fc53087184db	2026-01-01 00:00:00.864551+00	0	C1578257491	4	M	28007	M1823072687	es_transportation	36.26	0	1	87
5910e7f6-d9da-4be6-8252-e52afd76e5c0	2026-01-01 00:00:00.874722+00	0	C230086949	4	F	28007	M151143676	es_food	26.34	0	1	88
c4e02ccd-7aaa-48f3-ab4c-d680a7d265ac	2026-01-01 00:00:00.885688+00	0	C729139419	2	F	28007	M1823072687	es_transportation	32.72	0	1	89
452e3f19-3ecc-4bac-901b-1c6068466fd5	2026-01-01 00:00:00.891606+00	0	C962237764	3	F	28007	M1823072687	es_transportation	11.03	0	1	90
c4d16e30-dbbd-4913-8540-7e2a2c1afac9	2026-01-01 00:00:00.909005+00	0	C806180905	5	F	28007	M348934600	es_transportation	26.60	0	1	91
3ac2ab5c-e7ed-4159-b778-15d2cb804c10	2026-01-01 00:00:00.91042+00	0	C1372321231	4	M	28007	M348934600	es_transportation	40.47	0	1	92
e2e5d551-82f6-471d-92db-e46bf61a89da	2026-01-01 00:00:00.921831+00	0	C906140787	3	F	28007	M1823072687	es_transportation	25.92	0	1	93
87e73227-30cd-406e-8052-03c4db33d8ac	2026-01-01 00:00:00.935651+00	0	C975996972	2	F	28007	M348934600	es_transportation	10.71	0	1	94
99f3daf6-9419-46b4-82b6-39d9909ae5ae	2026-01-01 00:00:00.949628+00	0	C408924136	1	F	28007	M1823072687	es_transportation	43.58	0	1	95
96d83415-dd2c-4724-a095-43e5ff475dee	2026-01-01 00:00:00.957309+00	0	C238216612	3	F	28007	M1823072687	es_transportation	25.40	0	1	96
3771995d-3d46-4952-8922-291971a7eb5f	2026-01-01 00:00:00.967526+00	0	C846140708	1	F	28007	M151143676	es_food	19.89	0	1	97
322a4218-f8e5-4a1b-8a98-9d8b9fdb3632	2026-01-01 00:00:00.97797+00	0	C1548882485	3	M	28007	M1823072687	es_transportation	38.10	0	1	98
23fb952a-6eab-4b5c-9c51-5c8f4386a883	2026-01-01 00:00:00.983692+00	0	C184476067	1	F	28007	M1823072687	es_transportation	11.15	0	1	99
b8472b86-a149-4377-9b04-58ef776d10fb	2026-01-01 00:00:00.995405+00	0	C1211083391	3	M	28007	M1823072687	es_transportation	18.75	0	1	100
ce3d8c02-f45b-4a3d-bb0b-66f04076ec00	2026-01-01 00:00:01.001009+00	0	C1193073065	5	M	28007	M348934600	es_transportation	27.17	0	2	1
f361ac15-306e-49eb-a5b7-2720e517e344	2026-01-01 00:00:01.01184+00	0	C940704554	4	F	28007	M348934600	es_transportation	37.75	0	2	2
de242001-c2ad-4283-974c-e4faedc65388	2026-01-01 00:00:01.029448+00	0	C1406621231	2	M	28007	M1823072687	es_transportation	13.76	0	2	3
5b22417e-b04d-4e77-8fb3-a526c96b5f08	2026-01-01 00:00:01.03092+00	0	C1251569421	5	M	28007	M1823072687	es_transportation	2.29	0	2	4
f43bd826-9a10-493f-bcce-d92917baf57f	2026-01-01 00:00:01.044427+00	0	C1497684781	2	M	28007	M1748431652	es_tech	109.64	0	2	5
7cfadc8a-dd3a-4709-9669-d5c0d23fea94	2026-01-01 00:00:01.05145+00	0	C558561672	4	F	28007	M348934600	es_transportation	8.45	0	2	6
d8531abc-383b-475f-a131-a578913ed00c	2026-01-01 00:00:01.068326+00	0	C866552267	4	F	28007	M1823072687	es_transportation	31.62	0	2	7
36ab2236-9f7b-4b02-af6e-e095be8737de	2026-01-01 00:00:01.076661+00	0	C1429324483	2	M	28007	M3697346	es_tech	139.98	0	2	8
ef3cce50-f430-48b4-b4cc-2be29fe00f88	2026-01-01 00:00:01.082819+00	0	C486198576	5	F	28007	M348934600	es_transportation	11.16	0	2	9
c8a3806b-37fa-44b8-ac97-ae4767cdac53	2026-01-01 00:00:01.104251+00	0	C1203534018	2	M	28007	M1198415165	es_wellnessandbeauty	81.44	0	2	11
c6892176-6d84-4720-855c-ffebc02a5c82	2026-01-01 00:00:01.115643+00	0	C1323649049	4	M	28007	M1823072687	es_transportation	49.43	0	2	12
c948f0a2-e3b4-4ca6-8062-4cfa0bbb9099	2026-01-01 00:00:01.127817+00	0	C928571153	3	F	28007	M348934600	es_transportation	28.53	0	2	13
3342bed5-48bf-4933-a03f-1fdd9af3e39e	2026-01-01 00:00:01.131282+00	0	C703408263	3	F	28007	M85975013	es_food	48.82	0	2	14
9c27e018-ed1f-434b-ac63-07c0a63e855c	2026-01-01 00:00:01.14531+00	0	C1732278122	2	M	28007	M348934600	es_transportation	38.02	0	2	15
ba6fba8a-69a7-440b-8451-3d3f426f455b	2026-01-01 00:00:01.158618+00	0	C1189387468	1	M	28007	M348934600	es_transportation	36.12	0	2	16
7bdfa560-e306-47ec-8bd0-5a13ce3cd26a	2026-01-01 00:00:01.167189+00	0	C154312045	1	F	28007	M348934600	es_transportation	33.97	0	2	17
2d1aa42a-2a97-4425-b18c-c4377ffcd90b	2026-01-01 00:00:01.179998+00	0	C1214182073	1	M	28007	M1823072687	es_transportation	43.42	0	2	18
bb27dbf5-c781-4cbc-a3e6-7bf62b2b9331	2026-01-01 00:00:01.181403+00	0	C507696927	1	F	28007	M348934600	es_transportation	6.12	0	2	19
9429d044-a534-4800-9543-d2255f9679af	2026-01-01 00:00:01.195182+00	0	C1057345267	5	M	28007	M1823072687	es_transportation	13.39	0	2	20
c9d993f4-0594-4069-b2e8-6bd45683be85	2026-01-01 00:00:01.205175+00	0	C1683257912	1	M	28007	M348934600	es_transportation	28.97	0	2	21
e3328339-bee6-4510-93b7-946761dd8edb	2026-01-01 00:00:01.216628+00	0	C801844381	2	F	28007	M1823072687	es_transportation	18.48	0	2	22
434ac327-d9d3-4e02-a750-24ca545cccc9	2026-01-01 00:00:01.227405+00	0	C762238447	6	F	28007	M1823072687	es_transportation	43.76	0	2	23
6e6cf97a-361d-436e-85fd-9940e749e6b4	2026-01-01 00:00:01.231017+00	0	C366075978	3	F	28007	M85975013	es_food	55.29	0	2	24
f04c80b6-9d62-4c0d-9463-1a89cb0daf5e	2026-01-01 00:00:01.240626+00	0	C1226011633	4	M	28007	M348934600	es_transportation	37.93	0	2	25
5699f057-2376-4605-b472-630db2789e6e	2026-01-01 00:00:01.257956+00	0	C1477474569	5	M	28007	M348934600	es_transportation	23.05	0	2	26
9cd59e88-a385-4c2e-8c99-936afd8d6268	2026-01-01 00:00:01.267076+00	0	C631931948	4	F	28007	M1823072687	es_transportation	21.57	0	2	27
1070e255-8892-493b-a448-c5e8b5c0e804	2026-01-01 00:00:01.275827+00	0	C1442570312	2	M	28007	M1600850729	es_wellnessandbeauty	61.42	0	2	28
76ade4cd-40af-4805-a660-dc79ba2dd61e	2026-01-01 00:00:01.281259+00	0	C539086858	5	F	28007	M1352454843	es_sportsandtoys	92.50	0	2	29
701f4b7f-3dd1-4c6c-93e8-0f2b9a2cfb12	2026-01-01 00:00:01.295949+00	0	C1571538613	4	M	28007	M209847108	es_health	171.27	0	2	30
c703d9e9-436e-451c-b83f-fbe05453857d	2026-01-01 00:00:01.306+00	0	C449123178	3	F	28007	M348934600	es_transportation	47.36	0	2	31
4ec4c98c-5f47-45b1-b7c2-20115df25027	2026-01-01 00:00:01.318523+00	0	C873729783	2	F	28007	M348934600	es_transportation	36.26	0	2	32
e6208205-a575-4ba3-bd14-90e2a0bfae48	2026-01-01 00:00:01.325454+00	0	C1646659223	1	M	28007	M348934600	es_transportation	9.06	0	2	33
2f84b241-4d71-4246-8337-a45ceefb43fc	2026-01-01 00:00:01.331922+00	0	C270556119	3	F	28007	M1823072687	es_transportation	16.74	0	2	34
b271d68c-427c-4346-8796-9436bf3197e8	2026-01-01 00:00:01.352614+00	0	C471479803	3	F	28007	M1823072687	es_transportation	21.51	0	2	36
430a6bd2-0b8e-47dd-a6d1-36365f44e741	2026-01-01 00:00:01.362172+00	0	C685610991	2	F	28007	M1823072687	es_transportation	7.58	0	2	37
73e03e6d-c966-4e4e-86a5-fe7afb3f1d60	2026-01-01 00:00:01.374555+00	0	C1051242909	4	M	28007	M1313686961	es_hyper	418.43	1	2	38
7b210093-84a1-42b7-9116-cfda67d63ec9	2026-01-01 00:00:01.389338+00	0	C504193546	5	F	28007	M1823072687	es_transportation	12.82	0	2	39
bfec056f-7bcb-45fc-826b-c44a84d9aaa0	2026-01-01 00:00:01.397932+00	0	C745320119	2	F	28007	M1823072687	es_transportation	45.09	0	2	40
8e61a1bb-fb95-4f7c-9ba0-749b6fd2c93b	2026-01-01 00:00:01.403769+00	0	C1167218417	2	M	28007	M348934600	es_transportation	20.32	0	2	41
89055612-d567-4934-893c-60f112d17817	2026-01-01 00:00:01.419484+00	0	C127583157	0	F	28007	M151143676	es_food	50.75	0	2	42
22d2e14f-97c3-48ff-84c7-26f4e5cb9e74	2026-01-01 00:00:01.429509+00	0	C1138365906	2	M	28007	M1823072687	es_transportation	24.75	0	2	43
fff52c3d-3b47-4f0f-bbc1-7eb791f57f3a	2026-01-01 00:00:01.436246+00	0	C917641016	4	F	28007	M348934600	es_transportation	30.32	0	2	44
991e691b-0871-4678-90d9-503f61e36013	2026-01-01 00:00:01.446723+00	0	C1227299107	3	M	28007	M348934600	es_transportation	36.53	0	2	45
14e3632a-ab93-488f-93fb-d71391c90202	2026-01-01 00:00:01.458194+00	0	C1144317153	4	M	28007	M348934600	es_transportation	31.21	0	2	46
c07e7cb8-67eb-4b1c-b118-20685ea323cd	2026-01-01 00:00:01.462183+00	0	C249789252	2	F	28007	M1823072687	es_transportation	16.61	0	2	47
cdfc3259-6146-4592-9275-13b8c254737c	2026-01-01 00:00:01.489215+00	0	C1607575511	2	M	28007	M348934600	es_transportation	36.85	0	2	49
cb981476-39a1-415a-93b2-118e133c08f9	2026-01-01 00:00:01.494396+00	0	C964327682	2	F	28007	M1823072687	es_transportation	6.27	0	2	50
7fe00eab-482d-462d-a84d-4c69067fa037	2026-01-01 00:00:01.513553+00	0	C573462602	1	F	28007	M348934600	es_transportation	3.88	0	2	52
ec506d26-9a1b-4a12-8514-0c3cff631bd4	2026-01-01 00:00:01.525514+00	0	C1068673525	3	M	28007	M85975013	es_food	28.26	0	2	53
cf363391-9adf-4a9f-b702-c83cb3c405ec	2026-01-01 00:00:01.531867+00	0	C726539871	1	F	28007	M1823072687	es_transportation	15.91	0	2	54
275f3974-9a18-4a06-a4e2-fafca53b80e4	2026-01-01 00:00:01.541524+00	0	C1122799484	3	M	28007	M1823072687	es_transportation	33.51	0	2	55
89e1ef57-e5ec-4eab-aa1f-11666a91fcb9	2026-01-01 00:00:01.558775+00	0	C247505635	3	F	28007	M1198415165	es_wellnessandbeauty	72.00	0	2	56
1827ddf7-118e-430e-9d5c-272a37f9f0d9	2026-01-01 00:00:01.565411+00	0	C1354196400	5	M	28007	M348934600	es_transportation	10.96	0	2	57
5ca7e972-d9aa-4801-a9a6-36c260b2ab31	2026-01-01 00:00:01.571171+00	0	C1658787148	3	M	28007	M348934600	es_transportation	10.33	0	2	58
bd2d9da3-bcd6-48bf-baff-9e7e68de4841	2026-01-01 00:00:01.58712+00	0	C1269309971	2	M	28007	M348934600	es_transportation	30.21	0	2	59
9176006e-fcfa-417e-97f8-f5dcdfa7f16c	2026-01-01 00:00:01.596725+00	0	C438148757	5	F	28007	M1823072687	es_transportation	28.39	0	2	60
58b8668e-9eec-4d62-992e-0033edfd2a8a	2026-01-01 00:00:01.607454+00	0	C696928647	4	F	28007	M1823072687	es_transportation	31.48	0	2	61
16f88164-5c39-41a3-a275-edcb767efa2b	2026-01-01 00:00:01.624487+00	0	C1645408087	4	M	28007	M348934600	es_transportation	15.07	0	2	63
f62fdf22-68fc-4560-9b1d-405bad0063f2	2026-01-01 00:00:01.637743+00	0	C1555104085	5	M	28007	M1823072687	es_transportation	24.50	0	2	64
e3b8b1bf-559c-4925-afa0-5a704734d62d	2026-01-01 00:00:01.644764+00	0	C447724123	2	F	28007	M1823072687	es_transportation	45.56	0	2	65
d61edc6e-efa6-41b2-a336-5b10b52657a4	2026-01-01 00:00:01.655739+00	0	C564611632	3	F	28007	M85975013	es_food	2.16	0	2	66
91a9f9a8-eb9f-498b-a338-75cb7a2a056b	2026-01-01 00:00:01.669282+00	0	C194625146	2	F	28007	M1400236507	es_barsandrestaurants	42.03	0	2	67
cf3189e2-5e8a-41e7-bf64-73f6f0753aa8	2026-01-01 00:00:01.674305+00	0	C524147568	3	F	28007	M348934600	es_transportation	27.22	0	2	68
de6c2003-88da-48e7-ad4f-e2bedc87fdd0	2026-01-01 00:00:01.688179+00	0	C1644517831	2	M	28007	M348934600	es_transportation	10.67	0	2	69
fd61275f-6f97-4416-9f91-fdd86c1f0625	2026-01-01 00:00:01.69188+00	0	C1624951381	4	M	28007	M1823072687	es_transportation	17.17	0	2	70
c1599483-317e-4f55-8c13-18e8896f63ac	2026-01-01 00:00:01.706329+00	0	C482010095	3	F	28007	M348934600	es_transportation	17.52	0	2	71
f130c84e-2254-4b17-ba3f-d890286ee7d5	2026-01-01 00:00:01.712748+00	0	C376378618	3	F	28007	M1823072687	es_transportation	26.88	0	2	72
4d6672ab-0522-48e6-a930-1d85361dbac7	2026-01-01 00:00:01.721406+00	0	C429976178	2	F	28007	M1888755466	es_fashion	46.46	0	2	73
5dee1daf-c081-4923-8062-6627655262fb	2026-01-01 00:00:01.731789+00	0	C848296930	2	F	28007	M1823072687	es_transportation	12.33	0	2	74
86494335-af09-4a23-952c-9e3272640ab9	2026-01-01 00:00:01.745768+00	0	C1641718418	2	M	28007	M348934600	es_transportation	25.79	0	2	75
2a736b96-8d00-4d67-a674-f34f969a29f2	2026-01-01 00:00:01.767943+00	0	C916711883	3	F	28007	M1823072687	es_transportation	36.40	0	2	77
83718f50-090e-440c-95e0-659b569e7b13	2026-01-01 00:00:01.778616+00	0	C861240555	3	F	28007	M348934600	es_transportation	29.35	0	2	78
c5171cda-582d-42bb-a1cd-899d7807afe7	2026-01-01 00:00:01.789177+00	0	C505661190	2	F	28007	M1823072687	es_transportation	33.74	0	2	79
428b815a-b299-424e-b8e2-92932f8af403	2026-01-01 00:00:01.797883+00	0	C1127953320	4	M	28007	M1823072687	es_transportation	15.43	0	2	80
3b91ca1c-3161-4b17-943d-243235d0eca9	2026-01-01 00:00:01.807186+00	0	C688749942	4	F	28007	M1823072687	es_transportation	43.01	0	2	81
8327e3d9-4183-4e06-9a1b-9c524fc77a41	2026-01-01 00:00:01.81722+00	0	C1645194943	2	M	28007	M1823072687	es_transportation	29.72	0	2	82
eaf58ea5-2f1e-44c3-9109-e95a7f02d069	2026-01-01 00:00:01.82537+00	0	C632970757	2	F	28007	M1823072687	es_transportation	36.49	0	2	83
316a3ec8-9179-4049-87f7-0c4f93c207fa	2026-01-01 00:00:01.837204+00	0	C1220028054	2	M	28007	M1823072687	es_transportation	30.98	0	2	84
bd48708d-fbdd-4ea8-8c91-2ff95e49995f	2026-01-01 00:00:01.842299+00	0	C244266205	3	F	28007	M1823072687	es_transportation	34.26	0	2	85
bd45d470-2c3f-41c9-b022-c94adcc2eb00	2026-01-01 00:00:01.859683+00	0	C774635242	5	F	28007	M348934600	es_transportation	30.21	0	2	86
021b549e-9e03-470f-9c9c-c33c3475aa25	2026-01-01 00:00:01.862099+00	0	C394718462	1	F	28007	M348934600	es_transportation	33.14	0	2	87
ce15e629-0680-4f3d-a16a-20e85ac9e165	2026-01-01 00:00:01.872695+00	0	C352263179	2	F	28007	M348934600	es_transportation	29.62	0	2	88
5314e665-a52c-4f50-bcea-aa7643921721	2026-01-01 00:00:01.887236+00	0	C1528183706	4	M	28007	M348934600	es_transportation	33.01	0	2	89
411d1c33-d509-463e-9429-8e0899d97464	2026-01-01 00:00:01.891595+00	0	C306182905	3	F	28007	M348934600	es_transportation	36.29	0	2	90
7983dd14-c3cb-4633-849e-04918b25ed9e	2026-01-01 00:00:01.904367+00	0	C932651955	3	F	28007	M348934600	es_transportation	35.77	0	2	91
07ee8f87-acd8-49ae-a79d-86621b52d111	2026-01-01 00:00:01.918334+00	0	C439450964	4	F	28007	M1053599405	es_food	22.54	0	2	92
18dba737-e420-4639-9539-4aca41741679	2026-01-01 00:00:01.929864+00	0	C375591623	5	F	28007	M1823072687	es_transportation	8.90	0	2	93
ef60d291-75b1-41e3-9198-d011e79b1d66	2026-01-01 00:00:01.937339+00	0	C1119091852	3	M	28007	M1198415165	es_wellnessandbeauty	57.83	0	2	94
f69aff48-b76b-42d5-a0d0-c73f2174b3c3	2026-01-01 00:00:01.948512+00	0	C170950061	4	F	28007	M348934600	es_transportation	45.91	0	2	95
5ce0e52b-726a-479d-a7f9-05027d74b181	2026-01-01 00:00:01.955995+00	0	C1410795591	3	M	28007	M1823072687	es_transportation	26.23	0	2	96
7a71f05e-9380-4823-a326-4adeb9b10230	2026-01-01 00:00:01.961963+00	0	C1256951364	3	M	28007	M348934600	es_transportation	22.03	0	2	97
ecae1493-23ef-4b2d-a11a-14683709ab95	2026-01-01 00:00:01.976833+00	0	C1714147436	4	M	28007	M1823072687	es_transportation	22.96	0	2	98
9dcfe17a-c9b6-454c-bdb2-b09e57725241	2026-01-01 00:00:01.98932+00	0	C1539189208	3	M	28007	M1823072687	es_transportation	26.48	0	2	99
f386f39d-4a0a-4a07-b5eb-c453b3efa3a2	2026-01-01 00:00:01.999946+00	0	C288233153	2	F	28007	M348934600	es_transportation	28.13	0	2	100
3952c61b-2ee1-49a4-82e9-cf16e913dded	2026-01-01 00:00:02.004676+00	0	C708397453	3	F	28007	M348934600	es_transportation	45.55	0	3	1
956f0274-6b05-46ff-9218-dd11eb088cc6	2026-01-01 00:00:02.017933+00	0	C556502776	3	F	28007	M1823072687	es_transportation	25.89	0	3	2
b0d86c73-bab2-426b-a257-4cf987e3ce6e	2026-01-01 00:00:02.025585+00	0	C269510517	4	F	28007	M1823072687	es_transportation	33.10	0	3	3
498674c6-4e0c-4355-ac80-51ec29f1383d	2026-01-01 00:00:02.034834+00	0	C1137874713	2	M	28007	M1823072687	es_transportation	27.43	0	3	4
fa589abd-5fbc-419f-b8af-c7771c46bc63	2026-01-01 00:00:02.047753+00	0	C593887978	5	F	28007	M348934600	es_transportation	30.57	0	3	5
d0b56979-86a1-4d94-b137-3df93c6e1dc7	2026-01-01 00:00:02.055032+00	0	C582729237	4	F	28007	M348934600	es_transportation	29.26	0	3	6
4d703bbc-2ad0-4e74-b650-49067ed2ba11	2026-01-01 00:00:02.061857+00	0	C1440888074	2	M	28007	M1823072687	es_transportation	13.20	0	3	7
d77221de-4487-43ab-b5a3-03a283901490	2026-01-01 00:00:02.07133+00	0	C197205772	5	F	28007	M1823072687	es_transportation	32.26	0	3	8
dc9ba83b-dea2-40b9-83b3-afd4c5cfd444	2026-01-01 00:00:02.084603+00	0	C328639368	1	F	28007	M348934600	es_transportation	43.26	0	3	9
7342084c-5177-457e-93a4-21833927c3d3	2026-01-01 00:00:02.096101+00	0	C606208970	3	F	28007	M348934600	es_transportation	32.88	0	3	10
3472eb47-f67f-42a3-83bc-aa3a634b2bc9	2026-01-01 00:00:02.104273+00	0	C1033255222	2	M	28007	M1823072687	es_transportation	23.94	0	3	11
ab336626-6b9a-439d-84f1-87e1abf2fcb6	2026-01-01 00:00:02.114057+00	0	C684181469	2	F	28007	M1823072687	es_transportation	33.28	0	3	12
b05a806c-eaf8-4a39-8c79-487395e7a36a	2026-01-01 00:00:02.125139+00	0	C613491791	5	F	28007	M348934600	es_transportation	38.79	0	3	13
838dd40c-4eef-4420-b594-742330860443	2026-01-01 00:00:02.133264+00	0	C1540886651	2	M	28007	M348934600	es_transportation	18.25	0	3	14
ab62629b-500d-49d0-b5c6-bfe44c8294b5	2026-01-01 00:00:02.140905+00	0	C586252191	1	F	28007	M1823072687	es_transportation	28.77	0	3	15
59efe5a2-0895-425a-b56f-cbb613650329	2026-01-01 00:00:02.154528+00	0	C771131045	2	F	28007	M348934600	es_transportation	37.52	0	3	16
bcf1c636-4070-462e-b3ae-5547b41604a2	2026-01-01 00:00:02.163282+00	0	C536035488	5	F	28007	M1823072687	es_transportation	17.11	0	3	17
3a246de7-6621-4852-a7ea-11bcb5322dfc	2026-01-01 00:00:02.173482+00	0	C913029191	2	F	28007	M1823072687	es_transportation	16.60	0	3	18
09bbad91-8e1e-4508-a331-ec081b9c23ed	2026-01-01 00:00:02.187645+00	0	C968102826	3	F	28007	M1823072687	es_transportation	28.44	0	3	19
b183868e-d32e-465c-ac20-99541d355e6d	2026-01-01 00:00:02.19984+00	0	C1446682283	2	M	28007	M348934600	es_transportation	23.70	0	3	20
b9849d8c-8d04-44a5-a345-5a1022956b6d	2026-01-01 00:00:02.205655+00	0	C462885710	2	F	28007	M348934600	es_transportation	31.63	0	3	21
49e71e10-a3c3-4c45-b553-9352aeee1e90	2026-01-01 00:00:02.212337+00	0	C482929321	2	F	28007	M1823072687	es_transportation	19.42	0	3	22
23bbba6e-c7dc-48d7-a1a2-fe8fb8c4b922	2026-01-01 00:00:02.223501+00	0	C1706639441	3	M	28007	M1823072687	es_transportation	39.33	0	3	23
f7ce741d-d149-4573-8a39-4ca31e172b13	2026-01-01 00:00:02.23399+00	0	C312286821	2	F	28007	M1823072687	es_transportation	28.05	0	3	24
88e9f2c5-5a1c-44ce-97ad-98ac52032135	2026-01-01 00:00:02.240812+00	0	C1509032418	4	M	28007	M1053599405	es_food	36.56	0	3	25
08666d0d-7410-4331-8f53-9c27f121161a	2026-01-01 00:00:02.25769+00	0	C476042410	2	F	28007	M348934600	es_transportation	21.19	0	3	26
ac6d478c-0e93-4637-8a94-3d3d8e5dcfa6	2026-01-01 00:00:02.269533+00	0	C661837079	4	F	28007	M348934600	es_transportation	25.14	0	3	27
c385a7fc-53fd-4757-8433-2a1114d40cd7	2026-01-01 00:00:02.278183+00	0	C1360224064	3	M	28007	M1823072687	es_transportation	44.79	0	3	28
b950641d-e63c-472b-afaf-0e3a3b150f39	2026-01-01 00:00:02.280099+00	0	C688749942	4	F	28007	M1823072687	es_transportation	27.41	0	3	29
b047cabe-3aff-4481-b449-c0f3b994d782	2026-01-01 00:00:02.293354+00	0	C1119091852	3	M	28007	M1823072687	es_transportation	20.59	0	3	30
ec6d06e6-d69f-4e78-92b8-78005e848bdd	2026-01-01 00:00:02.304516+00	0	C1419532990	2	M	28007	M348934600	es_transportation	23.75	0	3	31
b001b36b-f347-4c33-9894-0ba0bfe84ba4	2026-01-01 00:00:02.311851+00	0	C399974510	5	F	28007	M348934600	es_transportation	41.54	0	3	32
0ed0ae50-a151-4872-ae89-b2e04481afed	2026-01-01 00:00:02.329137+00	0	C687024533	5	F	28007	M1823072687	es_transportation	22.85	0	3	33
a787505e-161c-43e5-8a50-ea2919d191b7	2026-01-01 00:00:02.334555+00	0	C1682895087	2	M	28007	M1823072687	es_transportation	51.08	0	3	34
08e84465-6efb-4153-ad2f-85f07a7babbd	2026-01-01 00:00:02.349424+00	0	C1120318589	3	M	28007	M348934600	es_transportation	6.59	0	3	35
85d518b1-50f5-4d60-9817-2aa090f25724	2026-01-01 00:00:02.352901+00	0	C1290518521	4	M	28007	M348934600	es_transportation	19.67	0	3	36
77c15314-1092-4d25-9eb5-f6a57d432a07	2026-01-01 00:00:02.364004+00	0	C331655007	3	F	28007	M1823072687	es_transportation	36.89	0	3	37
9e0d23a0-b170-47ce-9771-f1c3701254f3	2026-01-01 00:00:02.375932+00	0	C959942049	3	F	28007	M348934600	es_transportation	22.89	0	3	38
9743a1aa-1cbb-4ca0-b49d-a1ccb946fac4	2026-01-01 00:00:02.389449+00	0	C833268836	5	F	28007	M348934600	es_transportation	20.57	0	3	39
094ca260-b242-41a4-b654-2a8b784209c3	2026-01-01 00:00:02.399728+00	0	C1401042595	3	M	28007	M1823072687	es_transportation	16.90	0	3	40
96e1ec96-3dda-425e-bcb9-d660b473632c	2026-01-01 00:00:02.400515+00	0	C668160211	2	F	28007	M1823072687	es_transportation	20.47	0	3	41
d1cd189f-9472-410c-8324-f2506c2f6b75	2026-01-01 00:00:02.411361+00	0	C686607069	4	F	28007	M348934600	es_transportation	34.62	0	3	42
34924d30-c7ed-49dc-b185-265010b5051d	2026-01-01 00:00:02.425987+00	0	C309625674	6	F	28007	M1823072687	es_transportation	34.05	0	3	43
71cc6821-32b1-4fe2-b88c-28849d60333c	2026-01-01 00:00:02.439069+00	0	C570373629	0	F	28007	M348934600	es_transportation	23.01	0	3	44
849cf72d-bbef-419f-a589-484cd74198d4	2026-01-01 00:00:02.441488+00	0	C807419049	3	F	28007	M1823072687	es_transportation	16.46	0	3	45
23bb11e8-4a24-4b11-ae13-8541e467e0c6	2026-01-01 00:00:02.451596+00	0	C1735956455	2	M	28007	M1823072687	es_transportation	25.26	0	3	46
49d6fbcf-7a83-4b4a-9611-3003939dc5fa	2026-01-01 00:00:02.462628+00	0	C588100643	2	F	28007	M1823072687	es_transportation	18.10	0	3	47
0c971fde-aa5c-4eda-9be2-c4ea582d8151	2026-01-01 00:00:02.473638+00	0	C1651135912	2	M	28007	M348934600	es_transportation	49.11	0	3	48
19b71165-8a6d-4374-bfaf-33cc52af55b5	2026-01-01 00:00:02.483136+00	0	C1227299107	3	M	28007	M1823072687	es_transportation	25.90	0	3	49
3e96168a-e917-460e-a598-4538d94fc7b4	2026-01-01 00:00:02.49804+00	0	C1071941879	2	M	28007	M1823072687	es_transportation	46.26	0	3	50
444588dc-b3e6-4a3b-b2fa-c39dfe672946	2026-01-01 00:00:02.509001+00	0	C1136169622	2	M	28007	M348934600	es_transportation	24.48	0	3	51
e38bf109-e421-4104-8ad5-bd5e20358cb9	2026-01-01 00:00:02.515515+00	0	C260079737	5	F	28007	M1823072687	es_transportation	27.13	0	3	52
706de70d-8ace-41c8-b01c-258e4feecc11	2026-01-01 00:00:02.526924+00	0	C1151090053	2	M	28007	M1823072687	es_transportation	31.27	0	3	53
27d4b8b4-a1aa-4fe3-87e6-801657fe80d9	2026-01-01 00:00:02.533362+00	0	C1214453995	6	M	28007	M348934600	es_transportation	42.33	0	3	54
d6bdfb4d-4410-4b56-92a7-8953c5b3d79a	2026-01-01 00:00:02.541535+00	0	C1194370468	3	M	28007	M348934600	es_transportation	26.03	0	3	55
c92297ac-740e-4243-b21e-3ba2ea991a10	2026-01-01 00:00:02.552357+00	0	C343998737	4	F	28007	M1823072687	es_transportation	27.61	0	3	56
11d2a34d-746a-4818-a3aa-b7ac1367b435	2026-01-01 00:00:02.56752+00	0	C486430850	2	F	28007	M348934600	es_transportation	43.07	0	3	57
c53de2bf-a754-4bcf-866f-bb6da0cccc8e	2026-01-01 00:00:02.57653+00	0	C371409817	4	F	28007	M1823072687	es_transportation	28.72	0	3	58
55372a8a-1989-4a91-b1e6-1bd9019fffaf	2026-01-01 00:00:02.589579+00	0	C1696128407	2	M	28007	M1823072687	es_transportation	30.61	0	3	59
adb7cdc9-d8fa-4a43-a26b-ba8a040f0521	2026-01-01 00:00:02.593962+00	0	C1395020289	5	M	28007	M1823072687	es_transportation	36.41	0	3	60
2199eae7-cbf6-49da-ba95-f5425b990989	2026-01-01 00:00:02.607078+00	0	C1425538589	6	M	28007	M209847108	es_health	24.49	0	3	61
f066ddae-da6a-4cfe-8f0c-1e427540b061	2026-01-01 00:00:02.619929+00	0	C605838756	3	F	28007	M348934600	es_transportation	8.84	0	3	62
c251f5da-90db-4c5b-866d-3edac79c6028	2026-01-01 00:00:02.628321+00	0	C792264020	3	F	28007	M348934600	es_transportation	23.71	0	3	63
5d237d4e-6247-4297-a0ef-0a6bc0bc9b32	2026-01-01 00:00:02.630012+00	0	C882317855	3	F	28007	M1823072687	es_transportation	31.43	0	3	64
97cf4113-7321-4225-843f-1f4793f92222	2026-01-01 00:00:02.64904+00	0	C1029504382	3	M	28007	M1600850729	es_wellnessandbeauty	11.94	0	3	65
f408285d-f0a1-4d72-b17c-a80b09fb8d73	2026-01-01 00:00:02.653474+00	0	C947921487	2	F	28007	M1823072687	es_transportation	13.25	0	3	66
3e911c3c-069f-4f17-9d58-47720d329af9	2026-01-01 00:00:02.665945+00	0	C1723734295	3	M	28007	M348934600	es_transportation	38.10	0	3	67
4e51315a-5ced-49a4-b0f2-4041b85d40e6	2026-01-01 00:00:02.670665+00	0	C1320312455	2	M	28007	M348934600	es_transportation	48.55	0	3	68
577a0bd0-cb39-4ffb-b263-50a39a5166ca	2026-01-01 00:00:02.681982+00	0	C607155574	1	F	28007	M1823072687	es_transportation	28.68	0	3	69
4dd295c5-e127-42ef-a17d-439e325ca089	2026-01-01 00:00:02.695621+00	0	C1105407167	5	M	28007	M1823072687	es_transportation	38.42	0	3	70
6a02c127-1838-4244-a616-27258abf32d6	2026-01-01 00:00:02.702493+00	0	C672576750	4	F	28007	M1823072687	es_transportation	24.07	0	3	71
cc0f3c9f-7e7c-431c-94ae-38e30c8d7013	2026-01-01 00:00:02.716045+00	0	C270556119	3	F	28007	M348934600	es_transportation	44.71	0	3	72
c12dd025-74f6-47c0-97b8-69ee2357c031	2026-01-01 00:00:02.720639+00	0	C722280056	6	F	28007	M348934600	es_transportation	37.54	0	3	73
1e2d898d-f4cd-4a22-a3c3-29b4551f8bbd	2026-01-01 00:00:02.738009+00	0	C1303074241	4	M	28007	M1823072687	es_transportation	22.18	0	3	74
f0a8d84c-27c8-45d0-a434-fbae1b2a37e1	2026-01-01 00:00:02.748205+00	0	C404358282	3	F	28007	M348934600	es_transportation	31.29	0	3	75
d63c2cf6-5dc7-4887-b42c-73cf1b328aeb	2026-01-01 00:00:02.750513+00	0	C1465721100	5	M	28007	M348934600	es_transportation	41.83	0	3	76
35b48b96-b161-4717-ac43-9d362ad67ae1	2026-01-01 00:00:02.76753+00	0	C727758575	5	F	28007	M1823072687	es_transportation	39.32	0	3	77
43303213-f6af-4eea-b1df-0f221cf7a2c1	2026-01-01 00:00:02.771383+00	0	C885852031	4	F	28007	M1600850729	es_wellnessandbeauty	14.26	0	3	78
ad8268f6-4693-4925-9bc0-874d51f74f67	2026-01-01 00:00:02.785033+00	0	C159289598	3	F	28007	M348934600	es_transportation	18.14	0	3	79
6dd5e066-287a-4d41-8cd5-21d96dec99f7	2026-01-01 00:00:02.799273+00	0	C1562305347	2	M	28007	M1823072687	es_transportation	39.92	0	3	80
a1b3e561-f7b9-460f-8156-e6b895d3f0dc	2026-01-01 00:00:02.804077+00	0	C354516860	2	F	28007	M1823072687	es_transportation	24.62	0	3	81
18dc14b6-b40c-4a77-9343-5a5542ef0daf	2026-01-01 00:00:02.810365+00	0	C550290977	1	F	28007	M1823072687	es_transportation	37.52	0	3	82
aecbf705-f45e-4234-a961-c09a356ef049	2026-01-01 00:00:02.824415+00	0	C436661202	2	F	28007	M348934600	es_transportation	28.86	0	3	83
d128287a-0691-4538-a081-d6d31bb31363	2026-01-01 00:00:02.839666+00	0	C1101137741	5	M	28007	M1823072687	es_transportation	32.85	0	3	84
ffec5b1c-845f-4579-93a4-4b6b99ad321a	2026-01-01 00:00:02.847998+00	0	C132891176	4	F	28007	M348934600	es_transportation	35.78	0	3	85
a04d694c-9615-42b2-9c57-89376184dbdb	2026-01-01 00:00:02.859585+00	0	C612088517	4	F	28007	M1823072687	es_transportation	17.86	0	3	86
ec7f6696-6600-44fd-8e6b-fc282f9efa6d	2026-01-01 00:00:02.863358+00	0	C856699169	2	F	28007	M1823072687	es_transportation	27.72	0	3	87
16208a07-8fe5-4931-b378-b7a96ea75207	2026-01-01 00:00:02.878959+00	0	C1647949427	2	M	28007	M1823072687	es_transportation	23.75	0	3	88
6e177fd1-238e-45ed-abc8-9e00316c426d	2026-01-01 00:00:02.888525+00	0	C935655940	2	F	28007	M1823072687	es_transportation	33.95	0	3	89
fe033660-49d0-4710-852e-21447763f2dd	2026-01-01 00:00:02.897411+00	0	C938870706	3	F	28007	M348934600	es_transportation	39.75	0	3	90
47f1f288-9d99-41e8-bee0-acdfaf160c62	2026-01-01 00:00:02.907146+00	0	C150517463	3	F	28007	M348934600	es_transportation	47.27	0	3	91
a44be3ef-6a66-483f-a6a6-9395db100fde	2026-01-01 00:00:02.915301+00	0	C1384219419	5	M	28007	M348934600	es_transportation	14.86	0	3	92
9eb25828-0be6-407e-ac46-3e52070cbf69	2026-01-01 00:00:02.928218+00	0	C903684145	1	F	28007	M50039827	es_fashion	107.37	0	3	93
38e53012-8aa5-4ec3-974b-ceb42712f48d	2026-01-01 00:00:02.936118+00	0	C337447785	6	F	28007	M348934600	es_transportation	35.60	0	3	94
d675b01b-f55f-4df0-8f52-80f8b4d01a2c	2026-01-01 00:00:02.946386+00	0	C1199814673	2	M	28007	M348934600	es_transportation	30.77	0	3	95
5a2ad67d-1783-44f3-808a-b39fd98af15a	2026-01-01 00:00:02.955385+00	0	C322488721	4	F	28007	M1823072687	es_transportation	38.34	0	3	96
08266edc-60ac-406e-bbd3-262a4470e9f9	2026-01-01 00:00:02.968153+00	0	C1581398674	3	M	28007	M348934600	es_transportation	37.58	0	3	97
1e0be57b-14e6-479c-b6b6-c6101fa7ed45	2026-01-01 00:00:02.970456+00	0	C1489391106	4	M	28007	M1823072687	es_transportation	15.06	0	3	98
7bbd4f80-5384-4e37-b17a-209e2dfe1461	2026-01-01 00:00:02.988748+00	0	C1657991517	1	M	28007	M1823072687	es_transportation	17.28	0	3	99
d9eaafca-38e3-46c9-b353-659d858d87de	2026-01-01 00:00:02.996196+00	0	C334449970	4	F	28007	M348934600	es_transportation	36.81	0	3	100
\.


--
-- Data for Name: t_rejects_p0; Type: TABLE DATA; Schema: staging; Owner: -
--

COPY staging.t_rejects_p0 (chunk_no, _row_no, file, row_no, raw, raw_bytes, reasons, status, rejected_at) FROM stdin;
1	13	transactions_42_00000000.csv	13	a03dc9d8-ca31-472f-9d1c-4703d8d5374a,2026-01-01 00:00:00.124592+00,0,C777849554,4,F,28007,M1823072687,es_transportation,18.47	\N	[{"message": "missing data: the record has 10 fields, 11 expected", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.437106+00
1	14	transactions_42_00000000.csv	14	af3709aa-564e-42f6-81c1-3cddae2a99fe,2026-01-01 00:00:00.137285+00,0,C592860763,6,F,28007,M348934600,es_transportation,15x41,0	\N	[{"rule": "numeric(12,2)", "value": "15x41", "column": "amount", "message": "invalid input syntax for type numeric: \\"15x41\\"", "sqlstate": "22P02"}]	rejected	2026-11-23 09:24:13.437106+00
1	23	transactions_42_00000000.csv	23	40d75477-0b72-47cb-9cd9-36e3b63d1e3a,2026-01-01 00:00:00.228499+00,0,C1147504829,5,M,28007,M348934600,es_transportation,29.22	\N	[{"message": "missing data: the record has 10 fields, 11 expected", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.437106+00
1	27	transactions_42_00000000.csv	27	59d271f0-18e6-4ded-9a6b-7873f57d4efa,2026-01-01 00:00:00.260862+00,0,C594640443,2,F,28007,"M1823072687,es_transportation,38.28,0	\N	[{"message": "the quote that opens field 8 is not closed", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.437106+00
1	78	transactions_42_00000000.csv	78	ffcd244a-bd10-4940-ab45-466d4792029f,2026-01-01 00:00:00.777831+00,0,C1663583485,4,M,28007,"M349281107,es_health,109.62,0	\N	[{"message": "the quote that opens field 8 is not closed", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.437106+00
2	10	transactions_42_00000001.csv	10	b9b7a2c7-947a-47c8-8624-76a7f79a127a,2026-01-01 00:00:01.098403+00,0,C1184887064,2,M,28007,M85975013,es_food,28x37,0	\N	[{"rule": "numeric(12,2)", "value": "28x37", "column": "amount", "message": "invalid input syntax for type numeric: \\"28x37\\"", "sqlstate": "22P02"}]	rejected	2026-11-23 09:24:13.509478+00
2	35	transactions_42_00000001.csv	35	c36d88c3-ed32-4d2a-b426-a9916453b7df,2026-01-01 00:00:01.342090+00,0,C420835942,2,F,28007,"M348934600,es_transportation,23.72,0	\N	[{"message": "the quote that opens field 8 is not closed", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.509478+00
2	48	transactions_42_00000001.csv	48	1c88fa3f-49b0-49a2-bc34-c1205a640d65,2026-01-01 00:00:01.474968+00,0,C1127953320,4,M,28007,"M348934600,es_transportation,31.40,0	\N	[{"message": "the quote that opens field 8 is not closed", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.509478+00
2	51	transactions_42_00000001.csv	51	18608a5e-9e8a-496c-aaad-b50d7f444e87,2026-01-01 00:00:01.500888+00,0,C485905010,2,F,28007,M1823072687,es_transportation,11.50	\N	[{"message": "missing data: the record has 10 fields, 11 expected", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.509478+00
2	62	transactions_42_00000001.csv	62	b49a357b-1e3c-4f67-a154-050117ed6107,2026-01-01 00:00:01.611551+00,0,C237455027,4,F,28007,M1823072687,es_transportation,10.03	\N	[{"message": "missing data: the record has 10 fields, 11 expected", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.509478+00
2	76	transactions_42_00000001.csv	76	d082fa48-15ee-4ce0-ba16-113cbcb3de2c,2026-01-01 00:00:01.757590+00,0,C1360224064,3,M,28007,"M1823072687,es_transportation,15.63,0	\N	[{"message": "the quote that opens field 8 is not closed", "sqlstate": "22P04"}]	rejected	2026-11-23 09:24:13.509478+00
\.


--
-- Name: aggregate_id_seq; Type: SEQUENCE SET; Schema: millrace; Owner: -
--

SELECT pg_catalog.setval('millrace.aggregate_id_seq', 3, true);


--
-- Name: consumer_id_seq; Type: SEQUENCE SET; Schema: millrace; Owner: -
--

SELECT pg_catalog.setval('millrace.consumer_id_seq', 3, true);


--
-- Name: event_id_seq; Type: SEQUENCE SET; Schema: millrace; Owner: -
--

SELECT pg_catalog.setval('millrace.event_id_seq', 8, true);


--
-- Name: expectation_id_seq; Type: SEQUENCE SET; Schema: millrace; Owner: -
--

SELECT pg_catalog.setval('millrace.expectation_id_seq', 1, true);


--
-- Name: pipeline_id_seq; Type: SEQUENCE SET; Schema: millrace; Owner: -
--

SELECT pg_catalog.setval('millrace.pipeline_id_seq', 2, true);


--
-- Name: k k_pkey; Type: CONSTRAINT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.k
    ADD CONSTRAINT k_pkey PRIMARY KEY (id);


--
-- Name: k_rejects k_rejects_pkey; Type: CONSTRAINT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.k_rejects
    ADD CONSTRAINT k_rejects_pkey PRIMARY KEY (chunk_no, _row_no);


--
-- Name: t_rejects t_rejects_pkey; Type: CONSTRAINT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.t_rejects
    ADD CONSTRAINT t_rejects_pkey PRIMARY KEY (chunk_no, _row_no);


--
-- Name: t_rejects_p0 t_rejects_p0_pkey; Type: CONSTRAINT; Schema: staging; Owner: -
--

ALTER TABLE ONLY staging.t_rejects_p0
    ADD CONSTRAINT t_rejects_p0_pkey PRIMARY KEY (chunk_no, _row_no);


--
-- Name: by_category_changes__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_category_changes__chunk_no_idx ON staging.by_category_changes USING btree (_chunk_no);


--
-- Name: by_category_long_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_category_long_h_idx ON staging.by_category_long USING btree (h);


--
-- Name: by_category_state_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_category_state_h_idx ON staging.by_category_state USING btree (h);


--
-- Name: by_category_state_k1_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_category_state_k1_idx ON staging.by_category_state USING btree (k1);


--
-- Name: by_category_touched; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_category_touched ON ONLY staging.t USING btree (COALESCE(hashtextextended(category, (1)::bigint), (1)::bigint));


--
-- Name: by_remainder_changes__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_remainder_changes__chunk_no_idx ON staging.by_remainder_changes USING btree (_chunk_no);


--
-- Name: by_remainder_state_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_remainder_state_h_idx ON staging.by_remainder_state USING btree (h);


--
-- Name: by_remainder_state_k1_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_remainder_state_k1_idx ON staging.by_remainder_state USING btree (k1);


--
-- Name: by_remainder_touched; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX by_remainder_touched ON staging.k USING btree (COALESCE(hashint4extended((id % 3), (1)::bigint), (1)::bigint));


--
-- Name: k_changes__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX k_changes__chunk_no_idx ON ONLY staging.k_changes USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: k_changes_p0__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX k_changes_p0__chunk_no_idx ON staging.k_changes_p0 USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: k_replaced__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX k_replaced__chunk_no_idx ON ONLY staging.k_replaced USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: k_replaced_p0__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX k_replaced_p0__chunk_no_idx ON staging.k_replaced_p0 USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: merchants_changes__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX merchants_changes__chunk_no_idx ON staging.merchants_changes USING btree (_chunk_no);


--
-- Name: merchants_distinct_1_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX merchants_distinct_1_h_idx ON staging.merchants_distinct_1 USING btree (h);


--
-- Name: merchants_long_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX merchants_long_h_idx ON staging.merchants_long USING btree (h);


--
-- Name: merchants_state_h_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX merchants_state_h_idx ON staging.merchants_state USING btree (h);


--
-- Name: merchants_state_k1_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX merchants_state_k1_idx ON staging.merchants_state USING btree (k1);


--
-- Name: t__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX t__chunk_no_idx ON ONLY staging.t USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: t_p0__chunk_no_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX t_p0__chunk_no_idx ON staging.t_p0 USING brin (_chunk_no) WITH (autosummarize='on');


--
-- Name: t_p0_coalesce_idx; Type: INDEX; Schema: staging; Owner: -
--

CREATE INDEX t_p0_coalesce_idx ON staging.t_p0 USING btree (COALESCE(hashtextextended(category, (1)::bigint), (1)::bigint));


--
-- Name: k_changes_p0__chunk_no_idx; Type: INDEX ATTACH; Schema: staging; Owner: -
--

ALTER INDEX staging.k_changes__chunk_no_idx ATTACH PARTITION staging.k_changes_p0__chunk_no_idx;


--
-- Name: k_replaced_p0__chunk_no_idx; Type: INDEX ATTACH; Schema: staging; Owner: -
--

ALTER INDEX staging.k_replaced__chunk_no_idx ATTACH PARTITION staging.k_replaced_p0__chunk_no_idx;


--
-- Name: t_p0__chunk_no_idx; Type: INDEX ATTACH; Schema: staging; Owner: -
--

ALTER INDEX staging.t__chunk_no_idx ATTACH PARTITION staging.t_p0__chunk_no_idx;


--
-- Name: t_p0_coalesce_idx; Type: INDEX ATTACH; Schema: staging; Owner: -
--

ALTER INDEX staging.by_category_touched ATTACH PARTITION staging.t_p0_coalesce_idx;


--
-- Name: t_rejects_p0_pkey; Type: INDEX ATTACH; Schema: staging; Owner: -
--

ALTER INDEX staging.t_rejects_pkey ATTACH PARTITION staging.t_rejects_p0_pkey;


--
-- PostgreSQL database dump complete
--

\unrestrict c5V5y1Bxx3AQoeq32NOmaPFgfqrXDNUM6MgoQHMmqwfqHMXkaEWj19Osc1zqWJJ

