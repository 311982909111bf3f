-- How the consumer functions find a stream, a consumer and the calling session, and what they say when there is none.
-- Names that begin with an underscore are internal: no role but the owner may call them.

CREATE FUNCTION millrace._this_session() RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'this_session_wrapper';
COMMENT ON FUNCTION millrace._this_session() IS
    'Internal. Id of the calling session: backend pid and start of the backend, for a pid comes back after a while; the default worker.';
REVOKE ALL ON FUNCTION millrace._this_session() FROM PUBLIC;

CREATE FUNCTION millrace._refuse_null(argument text, is_null boolean) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF is_null THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = pg_catalog.format('argument "%s" must not be null', argument),
            HINT = pg_catalog.format('Give a value for the argument %s.', argument);
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._refuse_null(text, boolean) IS
    'Internal. Raises 22004 for an argument that is NULL: the functions are not STRICT, because a call that quietly does nothing looks like success.';
REVOKE ALL ON FUNCTION millrace._refuse_null(text, boolean) FROM PUBLIC;

CREATE FUNCTION millrace._refuse_argument(argument text, problem text, hint text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
        MESSAGE = pg_catalog.format('argument "%s" %s', argument, problem),
        HINT = hint;
END
$$;
COMMENT ON FUNCTION millrace._refuse_argument(text, text, text) IS
    'Internal. Raises 22023 for an argument with a value that cannot be used.';
REVOKE ALL ON FUNCTION millrace._refuse_argument(text, text, text) FROM PUBLIC;

CREATE FUNCTION millrace._resolve_stream(stream text, OUT pipeline_id integer, OUT layer text, OUT aggregate_id integer)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    dot      integer;
    pipeline text;
    part     text;
BEGIN
    PERFORM millrace._refuse_null('stream', stream IS NULL);
    -- The names of pipelines never hold a dot.
    dot := pg_catalog.strpos(stream, '.');
    pipeline := CASE WHEN dot = 0 THEN stream ELSE pg_catalog.left(stream, dot - 1) END;
    part := CASE WHEN dot > 0 THEN pg_catalog.substr(stream, dot + 1) END;

    SELECT p.id INTO pipeline_id FROM millrace.pipeline p WHERE p.name = pipeline;
    IF pipeline_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('stream "%s" does not exist', stream),
            DETAIL = pg_catalog.format('There is no pipeline "%s".', pipeline),
            HINT = 'SELECT * FROM millrace.pipelines lists the pipelines; each has the streams "<pipeline>" (clean rows), "<pipeline>.rejects" and "<pipeline>.<aggregate>".';
    END IF;

    IF part IS NULL THEN
        layer := 'rows';
    ELSIF part = 'rejects' THEN
        layer := 'rejects';
    ELSE
        SELECT a.id INTO aggregate_id FROM millrace.aggregate a WHERE a.pipeline_id = _resolve_stream.pipeline_id AND a.name = part;
        layer := 'aggregate';
    END IF;
    IF layer = 'aggregate' AND aggregate_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('stream "%s" does not exist', stream),
            DETAIL = pg_catalog.format('Pipeline "%s" has neither a stream nor an aggregate "%s".', pipeline, part),
            HINT = pg_catalog.format('Its streams are "%1$s" (clean rows), "%1$s.rejects", and "%1$s.<aggregate>" for the changes of each aggregate.', pipeline);
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._resolve_stream(text) IS
    'Internal. Pipeline and layer of a stream''s name; raises 42704 for an unknown one.';
REVOKE ALL ON FUNCTION millrace._resolve_stream(text) FROM PUBLIC;

CREATE FUNCTION millrace._no_such_consumer(stream text, consumer text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM millrace._resolve_stream(stream);
    PERFORM millrace._refuse_null('consumer', consumer IS NULL);
    RAISE EXCEPTION USING ERRCODE = 'undefined_object',
        MESSAGE = pg_catalog.format('stream "%s" has no consumer "%s"', stream, consumer),
        HINT = 'SELECT stream, consumer FROM millrace.consumers lists them; millrace.create_consumer(stream, consumer) makes one.';
END
$$;
COMMENT ON FUNCTION millrace._no_such_consumer(text, text) IS
    'Internal. Says why a consumer was not found: a null argument, an unknown stream, an unknown consumer. Always raises.';
REVOKE ALL ON FUNCTION millrace._no_such_consumer(text, text) FROM PUBLIC;

CREATE FUNCTION millrace._lock_consumer(stream text, consumer text) RETURNS millrace.consumer
LANGUAGE plpgsql
AS $$
DECLARE
    c millrace.consumer;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(millrace._pool_key(k.id, 'all', 0)) FROM millrace.consumer k
    WHERE k.stream = _lock_consumer.stream AND k.name = _lock_consumer.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL AND k.mode = 'pool';
    SELECT k.* INTO c FROM millrace.consumer k
    WHERE k.stream = _lock_consumer.stream AND k.name = _lock_consumer.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM millrace._no_such_consumer(stream, consumer);
    END IF;
    PERFORM millrace._may_consume(c.pipeline_id, c.stream);
    -- Workers lock one slot and nothing else.
    IF c.mode = 'keyed' THEN
        PERFORM FROM millrace.consumer k WHERE k.parent_id = c.id ORDER BY k.id FOR UPDATE;
    END IF;
    RETURN c;
END
$$;
COMMENT ON FUNCTION millrace._lock_consumer(text, text) IS
    'Internal. The consumer''s row, with those of its slots, locked to the end of the transaction; waits for whoever has it. For a pool: no worker claims or answers meanwhile.';
REVOKE ALL ON FUNCTION millrace._lock_consumer(text, text) FROM PUBLIC;

CREATE FUNCTION millrace._cursors(c millrace.consumer) RETURNS SETOF millrace.consumer
LANGUAGE sql STABLE
AS $$
    SELECT k.* FROM millrace.consumer k WHERE CASE c.mode WHEN 'keyed' THEN k.parent_id = c.id ELSE k.id = c.id END ORDER BY k.id
$$;
COMMENT ON FUNCTION millrace._cursors(millrace.consumer) IS
    'Internal. The rows that have the positions of a consumer: of a keyed one its slots, else itself.';
REVOKE ALL ON FUNCTION millrace._cursors(millrace.consumer) FROM PUBLIC;

CREATE FUNCTION millrace._note(c millrace.consumer, kind text, message text, detail jsonb) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO millrace.event (pipeline, kind, subject, message, detail)
    SELECT p.name, kind, c.stream || '/' || c.name, message, pg_catalog.jsonb_strip_nulls(detail)
    FROM millrace.pipeline p WHERE p.id = c.pipeline_id;
$$;
COMMENT ON FUNCTION millrace._note(millrace.consumer, text, text, jsonb) IS
    'Internal. Writes an event about a consumer; it commits with what it tells of.';
REVOKE ALL ON FUNCTION millrace._note(millrace.consumer, text, text, jsonb) FROM PUBLIC;
