-- A report of one screen, for psql's \watch. Made of the views alone, with the caller's rights.

CREATE FUNCTION millrace.watch(pipeline text DEFAULT NULL)
RETURNS TABLE (report text) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p       record;
    now_    record;
    speeds  double precision[];
    most    double precision;
    line    record;
    blocks  constant text := '▁▂▃▄▅▆▇█';
BEGIN
    IF watch.pipeline IS NULL THEN
        report := format('%-24s %-11s %12s %12s %10s %10s', 'pipeline', 'phase', 'rows', 'rows/s', 'backlog', 'lag');
        RETURN NEXT;
        FOR line IN
            SELECT s.pipeline AS name, max(g.phase) AS phase, s.rows, s.rows_per_second, max(g.backlog_files) AS backlog, s.lag_seconds
              FROM millrace.stats s JOIN millrace.progress g ON g.pipeline = s.pipeline
             WHERE s.hop = 'end_to_end' GROUP BY s.pipeline, s.rows, s.rows_per_second, s.lag_seconds ORDER BY s.pipeline
        LOOP
            report := format('%-24s %-11s %12s %12s %10s %10s', left(line.name, 24), line.phase, to_char(line.rows, 'FM999,999,999,990'),
                             to_char(line.rows_per_second, 'FM999,999,990'), coalesce(line.backlog::text, '-'),
                             coalesce(to_char(line.lag_seconds, 'FM999,990.0') || ' s', '-'));
            RETURN NEXT;
        END LOOP;
        RETURN;
    END IF;
    SELECT * INTO p FROM millrace.pipelines v WHERE v.pipeline = watch.pipeline;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'pipeline "%" does not exist', watch.pipeline
            USING ERRCODE = 'undefined_object', HINT = 'SELECT pipeline FROM millrace.pipelines lists them; millrace.watch() shows all.';
    END IF;
    SELECT * INTO now_ FROM millrace.progress v WHERE v.pipeline = watch.pipeline ORDER BY v.phase = 'waiting', v.pid LIMIT 1;

    report := format('%-40s%38s', format('%s: %s', left(p.pipeline, 28), now_.phase), to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS'));
    RETURN NEXT;
    report := repeat('─', 78);
    RETURN NEXT;
    IF now_.bytes > 0 THEN
        report := format('chunk    %s %5s %%   %s of %s files, %s of %s', rpad(repeat('█', (now_.percent * 0.3)::int), 30, '░'), now_.percent,
                         now_.files_done, now_.files, pg_size_pretty(now_.bytes_done), pg_size_pretty(now_.bytes));
        RETURN NEXT;
    END IF;
    IF now_.backlog_files > 0 THEN
        report := format('backlog  %s files, %s, done in %s at %s/s', now_.backlog_files, pg_size_pretty(now_.backlog_bytes),
                         coalesce(date_trunc('second', now_.eta)::text, '?'), coalesce(pg_size_pretty(now_.bytes_per_second), '?'));
        RETURN NEXT;
    END IF;

    -- Rows per second of the last minute, two seconds a character.
    SELECT array_agg(coalesce(b.rows, 0) / 2.0 ORDER BY t.i DESC), max(coalesce(b.rows, 0)) / 2.0 INTO speeds, most
      FROM generate_series(0, 29) AS t (i)
      LEFT JOIN (SELECT floor(extract(epoch FROM clock_timestamp() - c.sealed_at) / 2)::int AS i, sum(c.row_count)::double precision AS rows
                   FROM millrace.chunks c
                  WHERE c.pipeline = watch.pipeline AND c.chunk_no > p.last_chunk_no - 1000 AND c.sealed_at > clock_timestamp() - interval '1 minute'
                  GROUP BY 1) b USING (i);
    report := format('rows/s   %s  now %s, at most %s',
                     (SELECT string_agg(CASE WHEN v > 0 THEN substr(blocks, least(8, ceil(8 * v / most)::int), 1) ELSE ' ' END, '' ORDER BY n)
                        FROM unnest(speeds) WITH ORDINALITY AS u (v, n)),
                     to_char(speeds[cardinality(speeds)], 'FM999,999,990'), to_char(most, 'FM999,999,990'));
    RETURN NEXT;
    report := '';
    RETURN NEXT;
    report := format('%-30s %10s %14s %10s %10s', 'hop', 'lag', 'p50', 'p95', 'p99');
    RETURN NEXT;
    FOR line IN SELECT * FROM millrace.stats s WHERE s.pipeline = watch.pipeline ORDER BY s.hop LIKE 'consume:%', s.hop LIKE 'publish:%', s.hop = 'end_to_end', s.hop = 'chunk', s.hop LIMIT 12 LOOP
        report := format('%-30s %10s %14s %10s %10s', left(line.hop, 30), coalesce(to_char(line.lag_seconds, 'FM999,990.0') || ' s', ''),
                         coalesce(to_char(line.p50_ms, 'FM999,999,990') || ' ms', '-'), coalesce(to_char(line.p95_ms, 'FM999,999,990') || ' ms', '-'),
                         coalesce(to_char(line.p99_ms, 'FM999,999,990') || ' ms', '-'));
        RETURN NEXT;
    END LOOP;
    report := '';
    RETURN NEXT;
    SELECT s.chunks, s.rows, s.bytes INTO line FROM millrace.stats s WHERE s.pipeline = watch.pipeline AND s.hop = 'chunk';
    report := format('loaded   %s chunks, %s rows, %s', to_char(line.chunks, 'FM999,999,990'), to_char(line.rows, 'FM999,999,999,990'), pg_size_pretty(line.bytes::bigint));
    RETURN NEXT;
    FOR line IN
        SELECT c.stream, c.consumer, c.state, c.lag_chunks, c.lag_rows, greatest(max(c.lag_chunks) OVER (), 1) AS most
          FROM millrace.consumers c WHERE c.stream = watch.pipeline OR c.stream LIKE replace(replace(watch.pipeline, '\', '\\'), '_', '\_') || '.%'
         ORDER BY c.lag_chunks DESC, c.consumer LIMIT 5
    LOOP
        report := format('consumer %-22s %-8s %s %s chunks, %s rows behind', left(line.consumer, 22), line.state,
                         rpad(repeat('█', ceil(10.0 * line.lag_chunks / line.most)::int), 10, '░'), line.lag_chunks, line.lag_rows);
        RETURN NEXT;
    END LOOP;
    IF p.state_reason IS NOT NULL OR p.failures > 0 THEN
        report := format('trouble  %s', left(translate(coalesce(p.state_reason, p.last_error), E'\n', ' '), 69));
        RETURN NEXT;
        report := 'SELECT * FROM millrace.doctor() says what to do.';
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace.watch(text) IS
'A report of one screen, as text: what a pipeline does now, bars of its throughput and lag, times of each hop, its consumers. For psql: SELECT * FROM millrace.watch(''transactions'') \watch 2
pipeline: its name; NULL = a line for each. Raises 42704 when there is none of that name.';
REVOKE ALL ON FUNCTION millrace.watch(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.watch(text) TO millrace_admin, millrace_consumer, millrace_monitor;
