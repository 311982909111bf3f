-- Chunks by time: $1 seconds back, $2 seconds a point. Rows and rejects per second, and the greatest lag from landing to seal.
SELECT c.pipeline, floor(EXTRACT(epoch FROM c.sealed_at) / $2) * $2 AS at, sum(c.row_count) / $2 AS rows, sum(c.reject_count) / $2 AS rejects,
       max((c.timings ->> 'lag')::float8) / 1000 AS lag
  FROM millrace.pipelines p
  JOIN millrace.chunks c ON c.pipeline = p.pipeline AND c.chunk_no > p.last_chunk_no - 10000
 WHERE c.sealed_at > clock_timestamp() - $1 * interval '1 second'
 GROUP BY 1, 2
 ORDER BY 1, 2
