-- Consuming in the caller's own transaction: consume, and what a failure is counted by where no claim has outlived the rollback.

CREATE FUNCTION millrace._claim_to_fail(c millrace.consumer, chunk_no bigint) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    me   constant text := millrace._this_session();
    next record;
BEGIN
    IF c.mode = 'ordered' THEN
        next := millrace._ordered_choice(c, me);
    ELSIF NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'chunk', _claim_to_fail.chunk_no)) THEN
        RETURN;
    ELSE
        PERFORM FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.chunk_no = _claim_to_fail.chunk_no FOR UPDATE;
        SELECT n.chunk_no,
               CASE WHEN d.chunk_no IS NULL THEN CASE WHEN n.chunk_no > c.acked_through THEN 'first' END
                    WHEN d.state = 'pending' OR d.state = 'retry_wait' AND d.visible_at <= pg_catalog.clock_timestamp() THEN 'again' END AS action, d INTO next
        FROM millrace._first_chunk_after(c, _claim_to_fail.chunk_no - 1, '{}') n
        LEFT JOIN millrace.delivery d ON d.consumer_id = c.id AND d.chunk_no = n.chunk_no;
    END IF;
    IF next.chunk_no IS DISTINCT FROM _claim_to_fail.chunk_no THEN
        RETURN;
    END IF;
    IF next.action IN ('first', 'again') THEN
        PERFORM millrace._lease(c, next.action, next.chunk_no, next.d, me, me, c.lease, c.slot);
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._claim_to_fail(millrace.consumer, bigint) IS
    'Internal. Leases a chunk to this session, so that it can be nacked, if the session could have got it from next_chunk now; else does nothing.';
REVOKE ALL ON FUNCTION millrace._claim_to_fail(millrace.consumer, bigint) FROM PUBLIC;

CREATE FUNCTION millrace.consume(stream text, consumer text, sql text, worker text DEFAULT NULL, on_error text DEFAULT 'raise') RETURNS bigint
-- Runs with the caller's rights and the caller's search_path, for the caller's SQL runs in here; every name below is qualified.
LANGUAGE plpgsql
AS $$
DECLARE
    k record;
BEGIN
    IF sql IS NULL OR on_error IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = pg_catalog.format('argument "%s" must not be null', CASE WHEN sql IS NULL THEN 'sql' ELSE 'on_error' END);
    ELSIF on_error OPERATOR(pg_catalog.<>) 'raise' AND on_error OPERATOR(pg_catalog.<>) 'nack' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('argument "on_error" has the value "%s"', on_error),
            HINT = 'Use ''raise'' (the error undoes everything) or ''nack'' (the error undoes the work, and the attempt is counted).';
    END IF;

    SELECT n.chunk_no, n.token, n.slot INTO k FROM millrace.next_chunk(stream, consumer, worker) n;
    IF k.chunk_no IS NULL THEN
        RETURN NULL;
    END IF;
    IF on_error OPERATOR(pg_catalog.=) 'raise' THEN
        EXECUTE sql USING k.chunk_no, k.token, k.slot;
    ELSE
        BEGIN
            EXECUTE sql USING k.chunk_no, k.token, k.slot;
        EXCEPTION WHEN OTHERS THEN
            -- The chunk is not to blame for a deadlock or a serialization failure.
            IF pg_catalog.left(SQLSTATE, 2) OPERATOR(pg_catalog.=) '40' THEN
                RAISE;
            END IF;
            RAISE WARNING USING ERRCODE = SQLSTATE,
                MESSAGE = pg_catalog.format('chunk %s of stream "%s" failed for consumer "%s": %s', k.chunk_no, stream, consumer, SQLERRM),
                DETAIL = pg_catalog.format('Its delivery is %s.', millrace.nack(stream, consumer, k.chunk_no, k.token, reason => SQLERRM));
            RETURN NULL;
        END;
    END IF;
    PERFORM millrace.ack(stream, consumer, k.chunk_no, k.token);
    RETURN k.chunk_no;
END
$$;
COMMENT ON FUNCTION millrace.consume(text, text, text, text, text) IS
'Takes the next chunk, runs a statement for it and acks it, all in the caller''s transaction: the work happens exactly once. Made for pg_cron and psql.
stream, consumer: which cursor.
sql: the work, run with the caller''s rights and search_path; $1 is the chunk_no, as in INSERT INTO totals SELECT count(*) FROM staging.transactions WHERE _chunk_no = $1. Rows it returns are thrown away. $2 is the token, for chunk_rows(of, $1, stream, consumer, $2), which a keyed consumer needs; $3 the slot.
worker: as for next_chunk.
on_error: raise: an error of the work undoes everything, the claim too, so no attempt is counted and the chunk comes again; to count it call nack afterwards, for a consumer of claim => ''tx''. nack: an error undoes the work alone; it becomes a warning, and the chunk is nacked with it.
Returns the chunk_no; NULL if there was nothing to do now or, with on_error => ''nack'', if the work failed.
Raises what next_chunk raises. Pools run in parallel; of an ordered consumer a second call returns NULL while a first one runs.';
REVOKE ALL ON FUNCTION millrace.consume(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.consume(text, text, text, text, text) TO millrace_consumer, millrace_admin;
