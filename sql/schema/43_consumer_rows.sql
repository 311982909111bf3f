-- Reading what next_chunk has handed out. Both functions read with the caller's own rights; nothing here runs as another role
-- but the look-up of what a token stands for.

CREATE FUNCTION millrace.key_slot(key anyelement, slots integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (((pg_catalog.hash_record_extended(ROW(key), 0) OPERATOR(pg_catalog.%) slots) OPERATOR(pg_catalog.+) slots) OPERATOR(pg_catalog.%) slots)::pg_catalog.int4
           OPERATOR(pg_catalog.+) 1
$$;
COMMENT ON FUNCTION millrace.key_slot(anyelement, integer) IS
'The slot, from 1 to slots, that a row belongs to by the value of its key column, for keyed consumers; NULL is a value like others.
key: the value. slots: how many slots the consumer has.';

GRANT EXECUTE ON FUNCTION millrace.key_slot(anyelement, integer) TO PUBLIC;

CREATE FUNCTION millrace.delivery_part(
    stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL,
    OUT first_row_no bigint, OUT last_row_no bigint, OUT slot integer, OUT slots integer, OUT key text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    me constant text := CASE WHEN token IS NULL THEN millrace._this_session() END;
    c  millrace.consumer;
    d  millrace.delivery;
BEGIN
    SELECT k.* INTO c FROM millrace.consumer k
    WHERE k.stream = delivery_part.stream AND k.name = delivery_part.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
    IF NOT FOUND THEN
        PERFORM millrace._no_such_consumer(stream, consumer);
    END IF;
    PERFORM millrace._may_consume(c.pipeline_id, c.stream);
    SELECT u.* INTO d FROM millrace._cursors(c) k JOIN millrace.delivery u ON u.consumer_id = k.id AND u.chunk_no = delivery_part.chunk_no
    WHERE u.state = 'leased' AND (u.token = delivery_part.token OR u.session = me);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MR001',
            MESSAGE = pg_catalog.format('chunk %s of stream "%s" is not leased by this token for consumer "%s"', chunk_no, stream, consumer),
            DETAIL = 'The lease was lost or given back, or never was.',
            HINT = 'Roll back, and call next_chunk.';
    END IF;
    first_row_no := d.row_from;
    last_row_no := d.row_to;
    SELECT k.slot, k.slots, k.key INTO slot, slots, key FROM millrace.consumer k WHERE k.id = d.consumer_id AND k.parent_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION millrace.delivery_part(text, text, bigint, uuid) IS
'What of a chunk a lease is for: rows first_row_no to last_row_no (NULL: all), of a keyed consumer those of slot number slot of slots by key.
stream, consumer, chunk_no, token: as for ack. Raises MR001 if the token holds no lease on the chunk.';
REVOKE ALL ON FUNCTION millrace.delivery_part(text, text, bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.delivery_part(text, text, bigint, uuid) TO millrace_consumer, millrace_admin;

CREATE FUNCTION millrace.chunk_rows(of anyelement, chunk_no bigint, stream text DEFAULT NULL, consumer text DEFAULT NULL, token uuid DEFAULT NULL) RETURNS SETOF anyelement
-- VOLATILE, so that it reads with a snapshot of its own: a chunk that next_chunk returns in the same statement may have been
-- sealed after that statement's snapshot, and would read as empty. No search_path is set, because the views and policies of
-- the caller's tables run in here; every name below is qualified instead.
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    kind  constant pg_catalog.regtype := pg_catalog.pg_typeof(of);
    rows  text;
    part  record;
    keyed record;
BEGIN
    IF chunk_no IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "chunk_no" must not be null';
    END IF;
    -- The rejects have the number of their chunk under another name than all others.
    SELECT pg_catalog.format('SELECT t.* FROM %I.%I AS t WHERE t.%I OPERATOR(pg_catalog.=) $1', n.nspname, r.relname, a.attname) INTO rows
    FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) t.typrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
    WHERE t.oid OPERATOR(pg_catalog.=) kind
      AND r.relkind OPERATOR(pg_catalog.<>) 'c'
      AND (a.attname OPERATOR(pg_catalog.=) '_chunk_no' OR a.attname OPERATOR(pg_catalog.=) 'chunk_no') AND NOT a.attisdropped
    ORDER BY a.attname LIMIT 1;
    IF rows IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = pg_catalog.format('type %s is not the row of a table or view with a column "_chunk_no"', kind),
            HINT = 'Pass a null of the table''s row type, as in millrace.chunk_rows(NULL::staging.transactions, 42).';
    END IF;
    -- Its rows of a chunk are those that no later chunk has changed: not what the chunk was.
    SELECT p.staging, p.changes INTO keyed FROM millrace.pipelines p
    JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(p.staging)
    WHERE p.changes IS NOT NULL AND r.reltype OPERATOR(pg_catalog.=) kind::pg_catalog.oid;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = pg_catalog.format('the chunks of a pipeline with a primary_key are not read from its staging table %s', keyed.staging),
            HINT = pg_catalog.format('Its changes are in %1$s, with _op: millrace.chunk_rows(NULL::%1$s, %2$s).', keyed.changes, chunk_no);
    END IF;
    IF stream IS NOT NULL THEN
        part := millrace.delivery_part(stream, consumer, chunk_no, token);
        IF part.first_row_no IS NOT NULL THEN
            rows := pg_catalog.concat(rows, pg_catalog.format(' AND t._row_no OPERATOR(pg_catalog.>=) %s AND t._row_no OPERATOR(pg_catalog.<=) %s', part.first_row_no, part.last_row_no));
        END IF;
        IF part.slot IS NOT NULL THEN
            rows := pg_catalog.concat(rows, pg_catalog.format(' AND millrace.key_slot(t.%I, %s) OPERATOR(pg_catalog.=) %s', part.key, part.slots, part.slot));
        END IF;
    END IF;
    RETURN QUERY EXECUTE rows USING chunk_no;
END
$$;
COMMENT ON FUNCTION millrace.chunk_rows(anyelement, bigint, text, text, uuid) IS
'The rows of one chunk, read with the caller''s own rights.
of: a null of the row type of the staging table, its rejects, its changes, or a view over them with the column _chunk_no, as in millrace.chunk_rows(NULL::staging.transactions, 42).
chunk_no: the chunk, as next_chunk returned it.
stream, consumer, token: whose lease: then only the rows that the lease is for, which matters with a slot of a keyed consumer and with a chunk that was split. Without them: all rows of the chunk. token NULL: the lease of this session.';
REVOKE ALL ON FUNCTION millrace.chunk_rows(anyelement, bigint, text, text, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.chunk_rows(anyelement, bigint, text, text, uuid) TO millrace_consumer, millrace_admin;
