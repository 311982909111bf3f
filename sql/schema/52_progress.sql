-- What pipelines are doing now, and how fast they are. Neither shows a row of data or a secret.

CREATE FUNCTION millrace.current_work()
RETURNS TABLE (pid integer, pipeline_id integer, phase text, phase_since timestamptz, files bigint, files_done bigint, bytes bigint,
               bytes_done bigint, rows_done bigint, backlog_files bigint, backlog_bytes bigint, busy_since timestamptz,
               busy_rows bigint, busy_bytes bigint)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'current_work_wrapper';
COMMENT ON FUNCTION millrace.current_work() IS
'The processes of this database that run a pipeline now, from shared memory; behind the view millrace.progress. Empty without preload.';

CREATE FUNCTION millrace._waits_for(pid integer) RETURNS text
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'waits_for_wrapper';
COMMENT ON FUNCTION millrace._waits_for(integer) IS
'Internal. What a process that runs a pipeline of this database waits for now. NULL: it works, or is no such process.';
REVOKE ALL ON FUNCTION millrace._waits_for(integer) FROM PUBLIC;
-- Whoever reads the view below calls it.
GRANT EXECUTE ON FUNCTION millrace._waits_for(integer) TO millrace_admin, millrace_consumer, millrace_monitor;

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
       s.retry_at,
       CASE WHEN w.phase = 'waiting' AND s.retry_at > pg_catalog.clock_timestamp() THEN 'next attempt'
            WHEN w.phase = 'waiting' AND s.throttled_by IS NOT NULL THEN s.throttled_by
            ELSE millrace._waits_for(w.pid) END AS waits_for
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
waits_for: lake (storage, or the threads that decode what came from it), next tick, next attempt (at retry_at), what holds it back (as throttled_by), or what the server calls it, such as ''Lock: relation'' or ''IO: WALSync''; NULL: it works, or no process has it.
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
                  pg_catalog.sum(c.byte_count) FILTER (WHERE c.sealed_at > pg_catalog.clock_timestamp() - interval '1 minute') / 60 AS bytes_per_second
             FROM millrace.chunk c
            WHERE c.pipeline_id = p.id AND c.chunk_no > s.head - 2000
           ) w
), took AS (
    SELECT h.pipeline_id, h.hop,
           pg_catalog.min(h.ms) FILTER (WHERE h.until >= 0.5 * h.whole) AS p50,
           pg_catalog.min(h.ms) FILTER (WHERE h.until >= 0.95 * h.whole) AS p95,
           pg_catalog.min(h.ms) FILTER (WHERE h.until >= 0.99 * h.whole) AS p99
      FROM (SELECT d.pipeline_id, d.hop, pg_catalog.round(pg_catalog.power(2::double precision, (d.bucket - 0.5) / 8)::numeric, 1) AS ms,
                   pg_catalog.sum(pg_catalog.sum(d.count)) OVER (PARTITION BY d.pipeline_id, d.hop ORDER BY d.bucket) AS until,
                   pg_catalog.sum(pg_catalog.sum(d.count)) OVER (PARTITION BY d.pipeline_id, d.hop) AS whole
              FROM millrace._durations d WHERE d.hour > 0 GROUP BY d.pipeline_id, d.hop, d.bucket) h
     GROUP BY h.pipeline_id, h.hop
), line AS (
    SELECT r.id, r.name AS pipeline, hop.name AS hop, r.head AS chunks, coalesce(r.rows_total, 0) AS rows, coalesce(r.bytes_total, 0) AS bytes,
           pg_catalog.round(coalesce(r.rows_per_second, 0)) AS rows_per_second, pg_catalog.round(coalesce(r.bytes_per_second, 0)) AS bytes_per_second,
           hop.lag AS lag_seconds
      FROM recent r
     CROSS JOIN LATERAL (VALUES ('read', NULL::double precision), ('land', NULL), ('load', NULL), ('chunk', NULL), ('end_to_end', r.lag)) AS hop (name, lag)
     WHERE hop.name <> 'land' OR r.lands
    UNION ALL
    SELECT r.id, r.name, 'publish:' || l.layer, coalesce(done.chunk_no - l.from_chunk, 0),
           CASE WHEN l.layer = 'semi_processed' THEN coalesce(last.rows_total - coalesce(first.rows_total, 0), 0) END, NULL, NULL, NULL,
           coalesce(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - oldest.sealed_at)::double precision, 0)
      FROM recent r
      JOIN millrace.layer l ON l.pipeline_id = r.id
      LEFT JOIN LATERAL (SELECT b.chunk_no FROM millrace.publication b
                          WHERE b.pipeline_id = r.id AND b.layer = l.layer AND b.state = 'done' ORDER BY b.chunk_no DESC LIMIT 1) done ON true
      LEFT JOIN LATERAL (SELECT c.sealed_at FROM millrace.publication b JOIN millrace.chunk c USING (pipeline_id, chunk_no)
                          WHERE b.pipeline_id = r.id AND b.layer = l.layer AND b.state = 'pending' ORDER BY b.chunk_no LIMIT 1) oldest ON true
      LEFT JOIN millrace.chunk last ON last.pipeline_id = r.id AND last.chunk_no = done.chunk_no
      LEFT JOIN millrace.chunk first ON first.pipeline_id = r.id AND first.chunk_no = l.from_chunk
    UNION ALL
    SELECT r.id, r.name, 'consume:' || c.stream || '/' || c.consumer, c.acked_through, NULL, NULL, NULL, NULL, c.lag_seconds
      FROM millrace.consumers c
      JOIN millrace.consumer k ON k.stream = c.stream AND k.name = c.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL
      JOIN recent r ON r.id = k.pipeline_id
)
SELECT l.pipeline, l.hop, l.chunks, l.rows, l.bytes, l.rows_per_second, l.bytes_per_second, l.lag_seconds, t.p50 AS p50_ms, t.p95 AS p95_ms, t.p99 AS p99_ms
  FROM line l
  LEFT JOIN took t ON t.pipeline_id = l.id AND t.hop = l.hop;
COMMENT ON VIEW millrace.stats IS
'How much and how fast, a row per pipeline and hop. chunks, rows, bytes: since the pipeline was created, also over restarts. rows_per_second, bytes_per_second: in the last minute.
p50_ms, p95_ms, p99_ms: of this hour and the latest before in which there was something, by histogram: within 4.5 % of what the percentile (the nearest rank) is. millrace.durations has the histograms since the beginning.
hop: read, land, load: what was spent on each; chunk: from the first look at the files to the seal; end_to_end: from the last change of the oldest file to the seal, lag_seconds = that of the latest chunk;
publish:<layer>: from the seal to the commit in the lake, lag_seconds = age of the oldest chunk not published; consume:<stream>/<consumer>: from lease to ack, lag_seconds as in millrace.consumers.';

REVOKE ALL ON millrace.progress, millrace.stats FROM PUBLIC;
REVOKE ALL ON FUNCTION millrace.current_work() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.current_work() TO millrace_admin, millrace_consumer, millrace_monitor;
GRANT SELECT ON millrace.progress, millrace.stats TO millrace_admin, millrace_consumer, millrace_monitor;
