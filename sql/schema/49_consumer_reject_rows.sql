-- A consumer that cannot work some rows of a chunk sets them aside by number and acks the rest.
--
-- Only the place of a row is kept, never the row: staging holds users' data under users' rights, and nothing here reads it.

CREATE TABLE millrace.rejected_row (
    consumer_id    integer NOT NULL REFERENCES millrace.consumer ON DELETE CASCADE,
    chunk_no       bigint NOT NULL,
    row_no         bigint NOT NULL,
    reason         text NOT NULL,
    attempt        integer NOT NULL,
    worker         text,
    rejected_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (consumer_id, chunk_no, row_no)
);
REVOKE ALL ON millrace.rejected_row FROM PUBLIC;

CREATE FUNCTION millrace.reject_rows(stream text, consumer text, chunk_no bigint, row_nos bigint[], reason text, token uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    c       millrace.consumer;
    d       millrace.delivery;
    unknown bigint;
    added   bigint;
BEGIN
    PERFORM millrace._refuse_null('row_nos', row_nos IS NULL OR pg_catalog.array_position(row_nos, NULL) IS NOT NULL);
    PERFORM millrace._refuse_null('reason', reason IS NULL);
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    IF c.layer <> 'rows' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('rows of stream "%s" cannot be rejected', stream),
            DETAIL = CASE c.layer WHEN 'rejects' THEN 'They are rejects already.' ELSE 'The changes of an aggregate have no row numbers.' END,
            HINT = 'Ack the chunk, or nack it.';
    END IF;
    d := millrace._held(c, chunk_no, token);

    SELECT n INTO unknown FROM pg_catalog.unnest(row_nos) n
    WHERE NOT EXISTS (
        SELECT FROM millrace.chunk k
        CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(k.source -> 'files') f
        WHERE k.pipeline_id = c.pipeline_id AND k.chunk_no = d.chunk_no
          AND n >= (f ->> 'first_row_no')::bigint AND n < (f ->> 'first_row_no')::bigint + (f ->> 'records')::bigint
    ) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" has no row %s', d.chunk_no, stream, unknown),
            HINT = 'Pass the values of _row_no of the chunk''s rows.';
    END IF;

    INSERT INTO millrace.rejected_row (consumer_id, chunk_no, row_no, reason, attempt, worker)
    SELECT c.id, d.chunk_no, n, pg_catalog.left(reason, 4000), d.attempt, d.worker FROM pg_catalog.unnest(row_nos) n
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    PERFORM millrace._answered(c, false);
    RETURN added;
END
$$;
COMMENT ON FUNCTION millrace.reject_rows(text, text, bigint, bigint[], text, uuid) IS
'Sets rows of the chunk in work aside, so that the rest can be acked; they are listed in millrace.rejected_rows. Call it in the transaction of the ack.
stream, consumer, chunk_no, token: as for ack.
row_nos: their _row_no. reason: why; kept with each row.
Returns how many are new: a row rejected before, as in an earlier attempt, stays as it was.
Raises 42704 for a row that the chunk does not have, MR001 and MR002 as ack does.';
REVOKE ALL ON FUNCTION millrace.reject_rows(text, text, bigint, bigint[], text, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.reject_rows(text, text, bigint, bigint[], text, uuid) TO millrace_consumer, millrace_admin;

CREATE VIEW millrace.rejected_rows AS
SELECT c.stream,
       c.name AS consumer,
       r.chunk_no,
       r.row_no,
       r.reason,
       r.attempt,
       r.worker,
       r.rejected_at,
       c.state = 'dropped' AS consumer_dropped
FROM millrace.rejected_row r
JOIN millrace.consumer c ON c.id = r.consumer_id;
COMMENT ON VIEW millrace.rejected_rows IS
'Rows that a consumer has set aside with reject_rows, also those of consumers that were dropped since (consumer_dropped).
Join chunk_no and row_no with _chunk_no and _row_no of the staging table for the rows themselves; millrace.lineage leads to their files.';
REVOKE ALL ON millrace.rejected_rows FROM PUBLIC;
GRANT SELECT ON millrace.rejected_rows TO millrace_admin, millrace_consumer, millrace_monitor;
