-- A pipeline without a loader, for tests of consumers: rows in millrace.pipeline and millrace.position, two plain tables,
-- and a function that seals a chunk in the way the loader does. Stopped, so that no worker takes it up.
-- Loaded by a superuser, once, into a test database.
CREATE SCHEMA mill_test;

CREATE FUNCTION mill_test.make_pipeline(pipeline text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_id integer;
BEGIN
    EXECUTE format('CREATE TABLE mill_test.%I (_chunk_no bigint NOT NULL, _row_no bigint NOT NULL, amount numeric)', pipeline);
    EXECUTE format('CREATE INDEX ON mill_test.%I (_chunk_no)', pipeline);
    EXECUTE format('CREATE TABLE mill_test.%I (_chunk_no bigint NOT NULL, raw text)', pipeline || '_rejects');
    INSERT INTO millrace.pipeline (name, owner, source, format, staging, rejects, app_id, state)
    VALUES (pipeline, current_user::regrole, 'file:///nowhere', 'csv',
            format('mill_test.%I', pipeline)::regclass, format('mill_test.%I', pipeline || '_rejects')::regclass, gen_random_uuid()::text, 'stopped')
    RETURNING id INTO new_id;
    INSERT INTO millrace.position (pipeline_id) VALUES (new_id);
END
$$;

-- As the loader: the position locked to commit, the rows, the chunk, the new head.
CREATE FUNCTION mill_test.seal(pipeline text, good_rows bigint DEFAULT 10, rejects bigint DEFAULT 0, at timestamptz DEFAULT clock_timestamp())
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    target   millrace.pipeline;
    chunk_no bigint;
BEGIN
    SELECT * INTO STRICT target FROM millrace.pipeline p WHERE p.name = pipeline;
    SELECT head + 1 INTO STRICT chunk_no FROM millrace.position p WHERE p.pipeline_id = target.id FOR UPDATE;
    EXECUTE format('INSERT INTO %s SELECT $1, n, n FROM generate_series(1, $2) n', target.staging) USING chunk_no, good_rows;
    EXECUTE format('INSERT INTO %s SELECT $1, ''bad'' FROM generate_series(1, $2) n', target.rejects) USING chunk_no, rejects;
    INSERT INTO millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source)
    VALUES (target.id, chunk_no, good_rows, rejects, 0, at, '0',
            jsonb_build_object('files', jsonb_build_array(jsonb_build_object('path', 'a.csv', 'first_row_no', 1, 'first_record', 1, 'records', good_rows))));
    UPDATE millrace.position SET head = chunk_no WHERE pipeline_id = target.id;
    PERFORM pg_notify('millrace_' || pipeline, chunk_no::text);
    RETURN chunk_no;
END
$$;

-- SQLSTATE of a statement, 'ok' when it succeeds. What the statement did is undone if it fails, and only then.
CREATE FUNCTION mill_test.sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

CREATE FUNCTION mill_test.forget(pipeline text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM millrace.pipeline p WHERE p.name = pipeline;
    EXECUTE format('DROP TABLE mill_test.%I, mill_test.%I', pipeline, pipeline || '_rejects');
END
$$;
