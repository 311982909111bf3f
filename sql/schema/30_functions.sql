-- Functions in Rust. Defaults, rights and comments stand here; what they do stands in src/api and below.
-- None is STRICT: a NULL where a value is needed is an error that says so, not a silent nothing.

CREATE FUNCTION millrace.create_pipeline(
    name text,
    source text,
    format text DEFAULT NULL,
    columns text DEFAULT NULL,
    staging text DEFAULT NULL,
    raw text DEFAULT NULL,
    semi_processed text DEFAULT NULL,
    every interval DEFAULT '1 second',
    options jsonb DEFAULT '{}',
    transform text DEFAULT NULL
) RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'create_pipeline_wrapper';
COMMENT ON FUNCTION millrace.create_pipeline(text, text, text, text, text, text, text, interval, jsonb, text) IS
'Creates a pipeline that the caller owns, and gives its name.
name: up to 63 bytes, without a dot. source: URL of a directory, or of files in it by a pattern (file:///landing/*.csv).
format: csv, json (an object a line), parquet, delta (source is the directory of a Delta table), or NULL to find out. columns: as in CREATE TABLE, or NULL to infer them from the files that are there.
staging: table that rows are loaded into, created when missing; NULL = staging.<name>. raw: URL of a Delta table that keeps every record as
landed; NULL = none. semi_processed: URL of a Delta table of the clean rows; NULL = none. every: time between two looks at the source,
50 ms to 1 day; NULL or 0 = only when millrace.run is called. options: JSON object; an unknown key is an error that lists the known ones.
transform: a SELECT … FROM input over the records, whose columns are then those of columns, that makes the rows of the staging table; NULL = records are rows.
Needs millrace_admin, and pg_read_server_files / pg_write_server_files for file:// locations.';

CREATE FUNCTION millrace.alter_pipeline(pipeline text, every interval DEFAULT NULL, options jsonb DEFAULT NULL, transform text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'alter_pipeline_wrapper';
COMMENT ON FUNCTION millrace.alter_pipeline(text, interval, jsonb, text) IS
'Changes a pipeline. pipeline: its name. every: new tick; 0 = only when millrace.run is called; NULL = as it is. options: the options to change; the others
stay; a JSON null sets one back to its default. transform: another SELECT … FROM input, from the next chunk on, whose columns the staging table must have; the option
transform set to null takes it away.';

CREATE FUNCTION millrace.pause(pipeline text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pause_wrapper';
COMMENT ON FUNCTION millrace.pause(text) IS 'Lets a pipeline rest after the chunk that it is at, until millrace.resume. pipeline: its name.';

CREATE FUNCTION millrace.resume(pipeline text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resume_wrapper';
COMMENT ON FUNCTION millrace.resume(text) IS 'Lets a paused or stopped pipeline go on, at once: waits after failures are forgotten. pipeline: its name.';

CREATE FUNCTION millrace.take_over(pipeline text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'take_over_wrapper';
COMMENT ON FUNCTION millrace.take_over(text) IS
'Says that this database, and no longer the one it was copied or restored from, writes into the pipeline''s lake, and lets the pipeline go on. For one that
stopped because this database is a copy, or because the lake has moved on. The original must be gone, or its pipeline dropped. pipeline: its name; for its owner.';

CREATE FUNCTION millrace.drop_pipeline(pipeline text, drop_tables boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_pipeline_wrapper';
COMMENT ON FUNCTION millrace.drop_pipeline(text, boolean) IS
'Forgets a pipeline with its chunks, files and consumers. Chunks that wait to be published are published first; a warning tells of those that could not be.
pipeline: its name. drop_tables: also drop staging, rejects and aggregates. What is in the lake stays.';

CREATE PROCEDURE millrace.resnapshot(pipeline text, load_existing boolean DEFAULT true)
LANGUAGE c AS 'MODULE_PATHNAME', 'resnapshot_wrapper';
COMMENT ON PROCEDURE millrace.resnapshot(text, boolean) IS
'Begins anew with a Delta source: after a gap, or when what was passed over matters after all. The pipeline is active again afterwards. pipeline: its name.
load_existing: true = the whole table is read again as it is now: a pipeline that appends gets all of its rows once more, as further chunks, whose
source says {"delta": {"generation": …}}; one with on_change apply takes out of staging what does not come again. false = reading goes on with the table''s next version. For the pipeline''s owner.';

CREATE PROCEDURE millrace.run(pipeline text) LANGUAGE c AS 'MODULE_PATHNAME', 'run_wrapper';
COMMENT ON PROCEDURE millrace.run(text) IS
'Loads and publishes everything that is available now, a commit per chunk. Files that have not settled yet are waited for, up to 10 seconds.
For the pipeline''s owner; not inside a transaction block. pipeline: its name.';

CREATE PROCEDURE millrace.retry_file(pipeline text, path text) LANGUAGE c AS 'MODULE_PATHNAME', 'retry_file_wrapper';
COMMENT ON PROCEDURE millrace.retry_file(text, text) IS
'Lets a file that is failed, dead or skipped be tried again with the next tick, as if it had never failed; it goes on behind the records that
were loaded of it. pipeline: its name. path: as in millrace.files. Kept in millrace.events. For the pipeline''s owner.';

CREATE PROCEDURE millrace.skip_file(pipeline text, path text, reason text DEFAULT NULL) LANGUAGE c AS 'MODULE_PATHNAME', 'skip_file_wrapper';
COMMENT ON PROCEDURE millrace.skip_file(text, text, text) IS
'Leaves a file out that is not loaded yet, until it is replaced or millrace.retry_file takes it back; records that were loaded of it stay. A path
that is not known yet is left out whatever comes under that name. pipeline: its name. path: as in millrace.files. reason: shown in millrace.files; kept in millrace.events. For the pipeline''s owner.';

CREATE FUNCTION millrace.create_aggregate(
    pipeline text, name text, query text, publish text DEFAULT NULL, options jsonb DEFAULT '{}'
) RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'create_aggregate_wrapper';
COMMENT ON FUNCTION millrace.create_aggregate(text, text, text, text, jsonb) IS
'Creates a view that always shows what query would, kept up to date in the transaction that loads each chunk.
pipeline: its name. name: of the view; in the schema of the staging table unless it names another. query: SELECT … FROM the staging table [WHERE …]
[GROUP BY …] [HAVING …] with Postgres'' own aggregates, each with FILTER. count, sum, avg, min, max, count(DISTINCT x), bool_and, bool_or, and variance and
stddev of integers and numerics cost as much as the chunk; the others (string_agg, array_agg, sums of floats …) are computed again for each group that a chunk
touches, from all its rows, by an index that is made on the staging table. What can''t be kept is refused by name.
publish: URL of a Delta table that gets the aggregate; NULL = none. options: how: publish_mode (append: the groups that chunks have changed, with _chunk_no;
overwrite: the whole state in place of the one before), publish_every and checkpoint_every (else as the pipeline says), partition_by. approx (true): count(DISTINCT x)
by sketches of the extension hll, some 2 % wrong and of a fixed size; not on keyed pipelines.';

CREATE FUNCTION millrace.drop_aggregate(pipeline text, name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_aggregate_wrapper';
COMMENT ON FUNCTION millrace.drop_aggregate(text, text) IS 'Drops an aggregate: its view and tables. What waits to be published is published first; its layer then stays as it is. pipeline, name: which aggregate.';

CREATE FUNCTION millrace.verify(pipeline text)
RETURNS TABLE (layer text, check_name text, expected text, found text, ok boolean, detail text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'verify_wrapper';
COMMENT ON FUNCTION millrace.verify(text) IS
'Recounts a pipeline: chunks, files, staging, rejects, aggregates, raw and published layers; a row per check, ok = as expected. Reads everything, changes nothing.
pipeline: its name.';

CREATE FUNCTION millrace.simulate(
    kind text,
    location text,
    rows_per_file bigint DEFAULT 10000,
    files bigint DEFAULT 1,
    seed bigint DEFAULT 42,
    format text DEFAULT 'csv',
    options jsonb DEFAULT '{}'
) RETURNS TABLE (file text, rows bigint, bytes bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'simulate_wrapper';
COMMENT ON FUNCTION millrace.simulate(text, text, bigint, bigint, bigint, text, jsonb) IS
'Writes synthetic landing files, each whole or not at all; the same arguments give the same bytes.
kind: transactions (payments, shaped like BankSim) or shop_events (views, carts, purchases). location: URL of the directory. rows_per_file: records in each, at most 10,000,000. files: how many. format: csv, json (an object a line) or parquet, where what is broken is NULL.
seed: other numbers give other rows and file names. options: bad_ratio (0 to 1, share of malformed records), first_file (number of the first file), start (event time).';

CREATE FUNCTION millrace.list(location text, recursive boolean DEFAULT false)
RETURNS TABLE (path text, size bigint, etag text, modified timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'list_wrapper';
COMMENT ON FUNCTION millrace.list(text, boolean) IS
'The files at a location (a directory, a pattern such as …/*.csv, or a file), as a pipeline would see them. Of a Delta table: the data
files of its newest version, which have no etag. location: its URL. recursive: also look into directories below.';

CREATE FUNCTION millrace.describe(location text, options jsonb DEFAULT '{}')
RETURNS TABLE (column_name text, data_type text, format text, version bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'describe_wrapper';
COMMENT ON FUNCTION millrace.describe(text, jsonb) IS
'The columns at a location: those of the Delta table there, with its version, or those that its files have or seem to have.
location: its URL. options: as those of a pipeline.';

CREATE FUNCTION millrace.peek(location text, limit_rows bigint DEFAULT 10, options jsonb DEFAULT '{}')
RETURNS SETOF jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'peek_wrapper';
COMMENT ON FUNCTION millrace.peek(text, bigint, jsonb) IS
'The first rows of the Delta table or the files at a location, every value as text.
location: its URL. limit_rows: how many rows, at most 10,000. options: as those of a pipeline.';

CREATE FUNCTION millrace.lineage(pipeline text, chunk_no bigint, row_no bigint)
RETURNS TABLE (path text, record_no bigint, etag text, raw_version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF lineage.pipeline IS NULL OR lineage.chunk_no IS NULL OR lineage.row_no IS NULL THEN
        RAISE EXCEPTION 'pipeline, chunk_no and row_no must not be NULL'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Take _chunk_no and _row_no from a row of the staging table.';
    END IF;
    -- A row that had been a reject comes from where the reject came from.
    RETURN QUERY
    SELECT l.*
      FROM millrace.pipeline p
      JOIN millrace.chunk c ON c.pipeline_id = p.id
     CROSS JOIN LATERAL jsonb_array_elements(c.source -> 'from') AS run
     CROSS JOIN LATERAL millrace.lineage(p.name, (run ->> 1)::bigint, (run ->> 2)::bigint + lineage.row_no - (run ->> 0)::bigint) AS l
     WHERE p.name = lineage.pipeline AND c.chunk_no = lineage.chunk_no AND lineage.row_no >= (run ->> 0)::bigint
       AND lineage.row_no < (run ->> 0)::bigint + (run ->> 3)::bigint;
    RETURN QUERY
    SELECT f ->> 'path', (f ->> 'first_record')::bigint + lineage.row_no - (f ->> 'first_row_no')::bigint, f ->> 'etag',
           (c.source ->> 'raw_version')::bigint
      FROM millrace.pipeline p
      JOIN millrace.chunk c ON c.pipeline_id = p.id
     CROSS JOIN LATERAL jsonb_array_elements(c.source -> 'files') AS f
     WHERE p.name = lineage.pipeline AND c.chunk_no = lineage.chunk_no
       AND lineage.row_no >= (f ->> 'first_row_no')::bigint
       AND lineage.row_no < (f ->> 'first_row_no')::bigint + (f ->> 'records')::bigint;
END
$$;
COMMENT ON FUNCTION millrace.lineage(text, bigint, bigint) IS
'Leads a row of staging or rejects (its _chunk_no and _row_no) back to the landing file and the number of its record there, from 1.
pipeline: its name. chunk_no, row_no: _chunk_no and _row_no of the row.';

CREATE FUNCTION millrace.preloaded() RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'preloaded_wrapper';
COMMENT ON FUNCTION millrace.preloaded() IS
'True if the server has pg_millrace in shared_preload_libraries, so that background workers run; else pipelines work by millrace.run.';

CREATE FUNCTION millrace.library_version() RETURNS text LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_version_wrapper';
COMMENT ON FUNCTION millrace.library_version() IS 'Version of the library that this session has loaded; it may differ from the extension''s until ALTER EXTENSION … UPDATE.';

CREATE FUNCTION millrace.wake_workers() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'wake_workers_wrapper';
COMMENT ON FUNCTION millrace.wake_workers() IS 'Lets the workers look for pipelines now instead of at their next look. Never needed for correctness.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA millrace FROM PUBLIC;
REVOKE ALL ON PROCEDURE millrace.run(text), millrace.retry_file(text, text), millrace.skip_file(text, text, text),
    millrace.resnapshot(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA millrace TO millrace_admin;
GRANT EXECUTE ON PROCEDURE millrace.run(text), millrace.retry_file(text, text), millrace.skip_file(text, text, text), millrace.resnapshot(text, boolean)
    TO millrace_admin;
GRANT EXECUTE ON FUNCTION millrace.lineage(text, bigint, bigint) TO millrace_consumer;
GRANT EXECUTE ON FUNCTION millrace.preloaded(), millrace.library_version() TO millrace_consumer, millrace_monitor;
