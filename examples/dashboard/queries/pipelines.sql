-- What each pipeline does now, and how much it has done since it was created.
SELECT g.pipeline, max(g.phase) AS phase, max(g.percent) AS percent, max(g.backlog_files) AS backlog_files, max(g.backlog_bytes) AS backlog_bytes,
       max(g.eta)::text AS eta, s.chunks, s.rows, s.rows_per_second, s.lag_seconds, s.p50_ms, s.p95_ms, s.p99_ms, c.rejects_total AS rejects,
       p.failures, coalesce(p.state_reason, p.last_error, p.throttled_by) AS trouble
  FROM millrace.progress g
  JOIN millrace.pipelines p ON p.pipeline = g.pipeline
  JOIN millrace.stats s ON s.pipeline = g.pipeline AND s.hop = 'end_to_end'
  LEFT JOIN millrace.chunks c ON c.pipeline = p.pipeline AND c.chunk_no = p.last_chunk_no
 GROUP BY g.pipeline, s.chunks, s.rows, s.rows_per_second, s.lag_seconds, s.p50_ms, s.p95_ms, s.p99_ms, c.rejects_total, p.failures, p.state_reason,
          p.last_error, p.throttled_by
 ORDER BY g.pipeline
