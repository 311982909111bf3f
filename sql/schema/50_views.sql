-- What people look at. Views run with their owner's rights over tables that nobody else may read, and show no row of data and no secret.

CREATE VIEW millrace.pipelines AS
SELECT p.name AS pipeline,
       p.state,
       p.state_reason,
       p.owner::text AS owner,
       p.source,
       p.format,
       p.staging::text AS staging,
       p.rejects::text AS rejects,
       p.raw,
       p.semi_processed,
       p.every,
       p.options,
       s.head AS last_chunk_no,
       c.sealed_at AS last_sealed_at,
       NULLIF(s.raw_version, -1) AS raw_version,
       s.failures,
       s.last_error,
       s.last_sqlstate,
       s.last_error_at,
       s.retry_at,
       p.created_at,
       s.throttled_by,
       s.throttled_since,
       s.kept_from,
       (s.source_offset ->> 'version')::bigint AS source_version,
       p.changes::text AS changes,
       p.replaced::text AS replaced,
       p.input::text AS input
  FROM millrace.pipeline p
  JOIN millrace.position s ON s.pipeline_id = p.id
  LEFT JOIN millrace.chunk c ON c.pipeline_id = p.id AND c.chunk_no = s.head;
COMMENT ON VIEW millrace.pipelines IS
'A row per pipeline: definition, state, how far it has got, and its last error.
throttled_by, throttled_since: why loading is held back, and since when; NULL where it is not. kept_from: the first chunk whose rows retention has left.
source_version: of a Delta source, the version that is read or comes next.
changes, replaced: the tables beside staging of a pipeline with a primary_key; input: of one with a transform.';

CREATE VIEW millrace.chunks AS
SELECT p.name AS pipeline, c.chunk_no, c.row_count, c.reject_count, c.byte_count, c.sealed_at, c.duration, c.source, c.dropped_count, c.requeued_count,
       c.timings, c.rows_total, c.rejects_total, c.bytes_total, c.generation, c.duplicate_count, c.filtered_count, c.derived_count
  FROM millrace.chunk c JOIN millrace.pipeline p ON p.id = c.pipeline_id;
COMMENT ON VIEW millrace.chunks IS
'A row per sealed chunk. duration: from the first look at its files to the commit. source: version of the raw layer, and the files with the records that it holds.
row_count - derived_count + filtered_count + duplicate_count - requeued_count + reject_count + dropped_count is the number of records landed;
filtered_count: records of which a transform made no row; derived_count: rows that it made of a record beside the first; dropped: left out by an expectation that says so;
duplicate_count: good rows that changed nothing, because another row of their key stays; requeued_count: records among them that had been rejects of earlier chunks.
timings: milliseconds spent on listing, reading, landing and loading; lag: from the last change of the oldest file to the seal. rows_total, rejects_total, bytes_total: of this chunk and all before. generation: 0, or the number of the millrace.resnapshot or millrace.backfill that brought the chunk.';

CREATE VIEW millrace.files AS
SELECT p.name AS pipeline, f.path, f.etag, f.size, f.modified, f.state, f.chunk_no, f.rows, f.rejects, f.attempts, f.error, f.retry_at,
       f.records_done, f.bytes_done, f.updated_at, f.dropped, f.duplicates, f.cleanup, f.filtered, f.derived
  FROM millrace.file f JOIN millrace.pipeline p ON p.id = f.pipeline_id;
COMMENT ON VIEW millrace.files IS
'The ledger of landing files. state: waiting (not settled yet, or loaded in part), landed (in the raw layer, not loaded from there), loaded, skipped, changed (replaced after it was loaded), failed (tried again at retry_at), dead (tried no more: see millrace.retry_file); error says why. cleanup: due or done, where the pipeline takes its files away. filtered: records of which a transform made no row; derived: rows that it made of a record beside the first. path is relative to the source; of files that millrace.backfill brought, their URL.';

CREATE VIEW millrace.aggregates AS
SELECT p.name AS pipeline, a.name AS aggregate, a.view_name::text AS view, a.state_table::text AS state_table, a.query, a.publish, a.created_at,
       s.head AS as_of, a.told_from, a.filled AS filled_through
  FROM millrace.aggregate a
  JOIN millrace.pipeline p ON p.id = a.pipeline_id
  JOIN millrace.position s ON s.pipeline_id = p.id;
COMMENT ON VIEW millrace.aggregates IS
'A row per aggregate: its query and where its result is read. as_of: the chunk that the view shows the state after. told_from: the chunk from which on its stream
(<view>_changes) has every change, beginning with an image of every group; NULL while nobody consumes or publishes it. filled_through: the chunk up to which
an aggregate that came late is filled (of a keyed pipeline: as of which a part of the keys is, in their order), and until then its view computes the query itself; NULL: it is complete.';

CREATE FUNCTION millrace.as_of(aggregate text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found bigint[];
BEGIN
    IF aggregate IS NULL THEN
        RAISE EXCEPTION 'argument "aggregate" must not be null' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'Name an aggregate, as in millrace.as_of(''merchant_stats'').';
    END IF;
    SELECT array_agg(s.head) INTO found
      FROM millrace.aggregate a
      JOIN millrace.pipeline p ON p.id = a.pipeline_id
      JOIN millrace.position s ON s.pipeline_id = p.id
     WHERE as_of.aggregate IN (a.name, p.name || '.' || a.name);
    IF found IS NULL THEN
        RAISE EXCEPTION 'aggregate "%" does not exist', aggregate USING ERRCODE = 'undefined_object',
            HINT = 'SELECT pipeline, aggregate FROM millrace.aggregates lists them.';
    ELSIF cardinality(found) > 1 THEN
        RAISE EXCEPTION 'several pipelines have an aggregate "%"', aggregate USING ERRCODE = 'ambiguous_alias',
            HINT = format('Name the pipeline too, as in ''<pipeline>.%s''.', aggregate);
    END IF;
    RETURN found[1];
END
$$;
COMMENT ON FUNCTION millrace.as_of(text) IS
'The chunk_no that an aggregate''s view shows the state after. Called in the statement that reads the view, or in a transaction of REPEATABLE READ,
it is of the same snapshot. 42704: no such aggregate; 42P09: several.
aggregate: its name, behind that of its pipeline and a dot where several pipelines have one of that name.';
REVOKE ALL ON FUNCTION millrace.as_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.as_of(text) TO millrace_admin, millrace_consumer, millrace_monitor;

CREATE VIEW millrace.publications AS
SELECT p.name AS pipeline, b.layer, l.location, b.chunk_no, b.state, b.rows, b.delta_version, b.attempts, b.error, b.retry_at, b.published_at
  FROM millrace.publication b
  JOIN millrace.layer l USING (pipeline_id, layer)
  JOIN millrace.pipeline p ON p.id = b.pipeline_id;
COMMENT ON VIEW millrace.publications IS 'The outbox: a row per chunk and published layer. Chunks that went in one commit share its delta_version.';

CREATE VIEW millrace.events AS
SELECT id, at, pipeline, kind, who, subject, message, detail FROM millrace.event;
COMMENT ON VIEW millrace.events IS 'What happened and who did it: definitions changed, files failed, errors, consumers moved.';

-- Rejected rows are users' data: the function runs with the caller's rights and shows the tables that the caller may read.
CREATE FUNCTION millrace.all_rejects()
RETURNS TABLE (pipeline text, chunk_no bigint, file text, row_no bigint, raw text, raw_bytes bytea, reasons jsonb, status text, rejected_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found   record;
    rejects regclass;
BEGIN
    FOR found IN SELECT p.pipeline AS name, p.rejects FROM millrace.pipelines p LOOP
        BEGIN
            rejects := to_regclass(found.rejects);
        EXCEPTION WHEN insufficient_privilege THEN
            CONTINUE;  -- not even the schema is the caller's to look into
        END;
        IF rejects IS NOT NULL AND has_table_privilege(rejects, 'SELECT') THEN
            RETURN QUERY EXECUTE format(
                'SELECT %L::text, chunk_no, file, row_no, raw, raw_bytes, reasons, status, rejected_at FROM %s', found.name, rejects);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION millrace.all_rejects() IS 'Rejected rows of all pipelines whose rejects table the caller may read. Behind the view millrace.rejects.';

CREATE VIEW millrace.rejects WITH (security_invoker = true) AS SELECT * FROM millrace.all_rejects();
COMMENT ON VIEW millrace.rejects IS
'Rejected rows of all pipelines that the caller may read: as landed (raw), from where (file, row_no = record in it), and why (reasons).';

REVOKE ALL ON ALL TABLES IN SCHEMA millrace FROM PUBLIC;
REVOKE ALL ON FUNCTION millrace.all_rejects() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.all_rejects() TO millrace_admin, millrace_consumer, millrace_monitor;
GRANT SELECT ON millrace.pipelines, millrace.chunks, millrace.files, millrace.aggregates, millrace.publications, millrace.events, millrace.rejects
   TO millrace_admin, millrace_consumer, millrace_monitor;
