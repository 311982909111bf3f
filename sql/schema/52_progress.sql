-- What pipelines are doing now, and how fast they are. Neither shows a row of data or a secret.

CREATE FUNCTION millrace.current_work()
RETURNS TABLE (pid integer, pipeline_id integer, phase text, phase_since timestamptz, files bigint, files_done bigint, bytes bigint,
               bytes_done bigint, rows_done bigint, backlog_files bigint, backlog_bytes bigint, busy_since timestamptz,
               busy_rows bigint, busy_bytes bigint)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'current_work_wrapper';
COMMENT ON FUNCTION millrace.current_work() IS
'The processes of this database that run a pipeline now, from shared memory; behind the view millrace.progress. Empty without preload.';

CREATE VIEW millrace.progress AS
SELECT p.name AS pipeline,
       w.pid,
       CASE WHEN p.state <> 'active' THEN p.state
            WHEN w.phase = 'waiting' AND s.retry_at > pg_catalog.clock_timestamp() THEN 'backing off'
            WHEN coalesce(w.phase, 'waiting') = 'waiting' AND s.throttled_by IS NOT NULL THEN 'held back'
            ELSE coalesce(w.phase, CASE WHEN p.every IS NULL THEN 'by run only' ELSE 'not running' END) END AS phase,
       w.phase_since,
       w.files_done,
       w.files,
       w.bytes_done,
       w.bytes,
       least(100.0, pg_catalog.round(100.0 * w.bytes_done / nullif(w.bytes, 0), 1)) AS percent,
       w.rows_done,
       w.backlog_files,
       w.backlog_bytes,
       speed.rows AS rows_per_second,
       speed.bytes AS bytes_per_second,
       CASE WHEN w.backlog_bytes > 0 THEN
            greatest(w.backlog_bytes - w.bytes_done, 0) / nullif(speed.bytes, 0) * interval '1 second' END AS eta,
       s.retry_at
  FROM millrace.pipeline p
  JOIN millrace.position s ON s.pipeline_id = p.id
  LEFT JOIN millrace.current_work() w ON w.pipeline_id = p.id
 CROSS JOIN LATERAL (
       SELECT pg_catalog.round(w.busy_rows / seconds) AS rows, pg_catalog.round(w.busy_bytes / seconds) AS bytes
         FROM (SELECT nullif(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - w.busy_since), 0) AS seconds) t
       ) speed;
COMMENT ON VIEW millrace.progress IS
'What each pipeline does now, as pg_stat_progress_copy shows COPY: a row per pipeline, or per process where several work at one.
phase: waiting (for the next tick), listing, reading, landing (into the raw layer), loading, publishing; backing off (until retry_at, after a failure); held back (throttled_by of millrace.pipelines says by what); paused, stopped; not running (no worker has it); by run only.
files, bytes, rows: of the chunk in work, so far and in all; backlog: everything at the source that is not loaded yet, that chunk included, as last listed. rows_per_second, bytes_per_second: since the pipeline last had nothing to do; eta: until the backlog is done at that rate.
From shared memory: without shared_preload_libraries no process is seen.';

CREATE VIEW millrace.stats AS
WITH recent AS (
    SELECT p.id, p.name, p.raw IS NOT NULL AS lands, s.head,
           last.rows_total, last.bytes_total, (last.timings ->> 'lag')::double precision / 1000 AS lag,
           w.*
      FROM millrace.pipeline p
      JOIN millrace.position s ON s.pipeline_id = p.id
      LEFT JOIN millrace.chunk last ON last.pipeline_id = p.id AND last.chunk_no = s.head
     CROSS JOIN LATERAL (
           SELECT pg_catalog.sum(c.row_count) FILTER (WHERE c.sealed_at > pg_catalog.clock_timestamp() - interval '1 minute') / 60 AS rows_per_second,
                  pg_catalog.sum(c.byte_count) FILTER (WHERE c.sealed_at > pg_catalog.clock_timestamp() - interval '1 minute') / 60 AS bytes_per_second,
                  pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY (c.timings ->> 'reading')::double precision) AS reading,
                  pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY (c.timings ->> 'landing')::double precision) AS landing,
                  pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY (c.timings ->> 'loading')::double precision) AS loading,
                  pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY 1000 * EXTRACT(epoch FROM c.duration)::double precision) AS whole,
                  pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY (c.timings ->> 'lag')::double precision) AS arrival
             FROM millrace.chunk c
            WHERE c.pipeline_id = p.id AND c.chunk_no > s.head - 1000
           ) w
)
SELECT r.name AS pipeline, hop.name AS hop, r.head AS chunks, coalesce(r.rows_total, 0) AS rows, coalesce(r.bytes_total, 0) AS bytes,
       pg_catalog.round(coalesce(r.rows_per_second, 0)) AS rows_per_second, pg_catalog.round(coalesce(r.bytes_per_second, 0)) AS bytes_per_second,
       hop.lag AS lag_seconds, pg_catalog.round(hop.took[1]::numeric, 1) AS p50_ms, pg_catalog.round(hop.took[2]::numeric, 1) AS p95_ms, pg_catalog.round(hop.took[3]::numeric, 1) AS p99_ms
  FROM recent r
 CROSS JOIN LATERAL (VALUES ('read', r.reading, NULL::double precision), ('land', r.landing, NULL), ('load', r.loading, NULL),
                            ('chunk', r.whole, NULL), ('end_to_end', r.arrival, r.lag)) AS hop (name, took, lag)
 WHERE hop.name <> 'land' OR r.lands
UNION ALL
SELECT r.name, 'publish:' || l.layer, coalesce(done.chunk_no - l.from_chunk, 0),
       CASE WHEN l.layer = 'semi_processed' THEN coalesce(last.rows_total - coalesce(first.rows_total, 0), 0) END, NULL, NULL, NULL,
       coalesce(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - oldest.sealed_at)::double precision, 0), pg_catalog.round(w.took[1]::numeric, 1), pg_catalog.round(w.took[2]::numeric, 1), pg_catalog.round(w.took[3]::numeric, 1)
  FROM recent r
  JOIN millrace.layer l ON l.pipeline_id = r.id
  LEFT JOIN LATERAL (SELECT b.chunk_no FROM millrace.publication b
                      WHERE b.pipeline_id = r.id AND b.layer = l.layer AND b.state = 'done' ORDER BY b.chunk_no DESC LIMIT 1) done ON true
  LEFT JOIN LATERAL (SELECT c.sealed_at FROM millrace.publication b JOIN millrace.chunk c USING (pipeline_id, chunk_no)
                      WHERE b.pipeline_id = r.id AND b.layer = l.layer AND b.state = 'pending' ORDER BY b.chunk_no LIMIT 1) oldest ON true
  LEFT JOIN millrace.chunk last ON last.pipeline_id = r.id AND last.chunk_no = done.chunk_no
  LEFT JOIN millrace.chunk first ON first.pipeline_id = r.id AND first.chunk_no = l.from_chunk
 CROSS JOIN LATERAL (
       SELECT pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (
                  ORDER BY 1000 * EXTRACT(epoch FROM b.published_at - c.sealed_at)::double precision) AS took
         FROM millrace.publication b JOIN millrace.chunk c USING (pipeline_id, chunk_no)
        WHERE b.pipeline_id = r.id AND b.layer = l.layer AND b.state = 'done' AND b.chunk_no > r.head - 1000
       ) w
UNION ALL
SELECT r.name, 'consume:' || c.stream || '/' || c.consumer, c.acked_through, NULL, NULL, NULL, NULL, c.lag_seconds, pg_catalog.round(w.took[1]::numeric, 1), pg_catalog.round(w.took[2]::numeric, 1), pg_catalog.round(w.took[3]::numeric, 1)
  FROM millrace.consumers c
  JOIN millrace.consumer k ON k.stream = c.stream AND k.name = c.consumer AND k.state <> 'dropped'
  JOIN recent r ON r.id = k.pipeline_id
 CROSS JOIN LATERAL (
       SELECT pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (
                  ORDER BY 1000 * EXTRACT(epoch FROM d.closed_at - d.leased_at)::double precision) AS took
         FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.state = 'acked'
       ) w;
COMMENT ON VIEW millrace.stats IS
'How much and how fast, a row per pipeline and hop. chunks, rows, bytes: since the pipeline was created, also over restarts. rows_per_second, bytes_per_second: in the last minute.
p50_ms, p95_ms, p99_ms: exact, over the latest 1000 chunks (consumers: over the deliveries that millrace.deliveries still has).
hop: read, land, load: what was spent on each; chunk: from the first look at the files to the seal; end_to_end: from the last change of the oldest file to the seal, lag_seconds = that of the latest chunk;
publish:<layer>: from the seal to the commit in the lake, lag_seconds = age of the oldest chunk not published; consume:<stream>/<consumer>: from lease to ack, lag_seconds as in millrace.consumers.';

REVOKE ALL ON millrace.progress, millrace.stats FROM PUBLIC;
REVOKE ALL ON FUNCTION millrace.current_work() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.current_work() TO millrace_admin, millrace_consumer, millrace_monitor;
GRANT SELECT ON millrace.progress, millrace.stats TO millrace_admin, millrace_consumer, millrace_monitor;
