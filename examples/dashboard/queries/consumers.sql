-- How far behind each consumer is.
SELECT stream, consumer, mode, state, acked_through, lag_chunks, lag_rows, round(lag_seconds::numeric, 1) AS lag_seconds, in_flight, dead
  FROM millrace.consumers
 ORDER BY stream, consumer
