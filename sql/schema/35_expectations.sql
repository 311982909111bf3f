-- Expectations: conditions that each row must meet, checked while it is loaded.

CREATE FUNCTION millrace.add_expectation(
    pipeline text, name text, condition text, on_violation text DEFAULT 'quarantine', null_passes boolean DEFAULT false
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'add_expectation_wrapper';
COMMENT ON FUNCTION millrace.add_expectation(text, text, text, text, boolean) IS
'Adds a condition that each row must meet, from the next chunk on. pipeline: its name. name: of the expectation, for reasons and results. condition: SQL over the columns of one row (amount > 0), with immutable or
stable functions, run as the pipeline''s owner. on_violation: quarantine (the row goes to the rejects with its reasons), warn (it is loaded, and
counted), drop (it is left out, and counted), fail (the chunk is not loaded and the pipeline stops). null_passes: whether a condition that is
NULL is met. A row for which the condition raises an error goes to the rejects with that error as its reason.';

CREATE FUNCTION millrace.alter_expectation(
    pipeline text, name text, condition text DEFAULT NULL, on_violation text DEFAULT NULL, null_passes boolean DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'alter_expectation_wrapper';
COMMENT ON FUNCTION millrace.alter_expectation(text, text, text, text, boolean) IS
'Changes an expectation from the next chunk on; what is NULL stays as it is. Rows that are loaded or rejected already stay where they are.
pipeline, name: which expectation. condition, on_violation, null_passes: as in add_expectation.';

CREATE FUNCTION millrace.drop_expectation(pipeline text, name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_expectation_wrapper';
COMMENT ON FUNCTION millrace.drop_expectation(text, text) IS
'Drops an expectation, from the next chunk on. What it found stays in millrace.expectation_results.
pipeline, name: which expectation.';

CREATE FUNCTION millrace.accept_chunk(pipeline text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'accept_chunk_wrapper';
COMMENT ON FUNCTION millrace.accept_chunk(text) IS
'Lets the chunk through at which a pipeline has stopped (max_reject_ratio, or an expectation with on_violation fail), and the pipeline go on.
What of it does not meet such an expectation is rejected. The chunks after it are judged as ever; millrace.resume judges this one again.
pipeline: its name.';

CREATE FUNCTION millrace.requeue_rejects(pipeline text, where_clause text DEFAULT 'true', fix text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'requeue_rejects_wrapper';
COMMENT ON FUNCTION millrace.requeue_rejects(text, text, text) IS
'Reads rejects again, as if they had just landed, into a new chunk with its aggregates, outbox and consumers; gives the number of rows loaded.
pipeline: its name. where_clause: which, over the columns of the rejects table (chunk_no, file, reasons …); those whose status is rejected. fix: assignments as in
UPDATE … SET over the columns of the staging table (amount = abs(amount)), made before the row is judged; a field that is used must be valid for
its type. A row that fails again stays, with its new reasons, whatever its expectation says (drop, fail); one that is loaded stays with status
requeued. At most max_rows_per_chunk rows a call. In the caller''s transaction: no chunk is sealed until it ends.';

-- STABLE, so that COPY inserts many rows at once: what it notes is nothing that a statement could see.
CREATE FUNCTION millrace.violated(row_no bigint, met boolean[])
RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'violated_wrapper';
COMMENT ON FUNCTION millrace.violated(bigint, boolean[]) IS
'Internal. Notes a row that does not meet its expectations for the load that calls it; does nothing when called by anybody else.';

CREATE VIEW millrace.expectations AS
SELECT p.name AS pipeline, e.name AS expectation, e.condition, e.on_violation, e.null_passes, e.created_at
  FROM millrace.expectation e JOIN millrace.pipeline p ON p.id = e.pipeline_id;
COMMENT ON VIEW millrace.expectations IS 'A row per expectation: what it asks of each row, and what happens to rows that do not meet it.';

CREATE VIEW millrace.expectation_results AS
SELECT p.name AS pipeline, r.chunk_no, r.expectation, r.on_violation, r.checked, r.violated, c.sealed_at
  FROM millrace.expectation_result r
  JOIN millrace.chunk c USING (pipeline_id, chunk_no)
  JOIN millrace.pipeline p ON p.id = r.pipeline_id;
COMMENT ON VIEW millrace.expectation_results IS
'A row per chunk and expectation that was in force: rows that were checked, and rows that violated it. Records that could not be read as a row are not checked.';

REVOKE ALL ON FUNCTION millrace.add_expectation(text, text, text, text, boolean),
                       millrace.alter_expectation(text, text, text, text, boolean),
                       millrace.drop_expectation(text, text), millrace.accept_chunk(text), millrace.violated(bigint, boolean[]),
                       millrace.requeue_rejects(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.add_expectation(text, text, text, text, boolean),
                          millrace.alter_expectation(text, text, text, text, boolean),
                          millrace.drop_expectation(text, text), millrace.accept_chunk(text), millrace.violated(bigint, boolean[]),
                          millrace.requeue_rejects(text, text, text)
   TO millrace_admin;
REVOKE ALL ON millrace.expectations, millrace.expectation_results FROM PUBLIC;
GRANT SELECT ON millrace.expectations, millrace.expectation_results TO millrace_admin, millrace_consumer, millrace_monitor;
