-- For hidden blocks of pages: waits until a query says true, as a reader would.
CREATE SCHEMA docs;
CREATE PROCEDURE docs.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1 .. 1200 LOOP
        EXECUTE condition INTO met;
        COMMIT;
        IF met THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
    RAISE EXCEPTION 'waited in vain for %', condition;
END
$$;

-- Until every pipeline with a worker has loaded what there is.
CREATE PROCEDURE docs.settle() LANGUAGE plpgsql AS $$
BEGIN
    CALL docs.wait_for('SELECT bool_and(g.phase = ''waiting'' AND g.backlog_files = 0 AND p.last_chunk_no > 0)
                          FROM millrace.progress g JOIN millrace.pipelines p USING (pipeline) WHERE p.state = ''active'' AND p.every IS NOT NULL');
END
$$;
