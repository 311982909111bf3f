-- Histograms of what each hop takes. Buckets are spaced by the eighth root of two, so that the middle of one is within 4.5 % of all that is in it,
-- and so that histograms are merged by adding. They grow with the hops and hours that are apart, never with the chunks; they are rows, so they
-- count what was committed, once, and outlive a crash. What a consumer takes is told by its deliveries; it is added here when they go.

CREATE FUNCTION millrace._bucket(ms double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ms > 0.001 THEN least(greatest(pg_catalog.ceil(8 * pg_catalog.ln(ms) / pg_catalog.ln(2::double precision) - 1e-9), -80), 256) ELSE -80 END::smallint;
COMMENT ON FUNCTION millrace._bucket(double precision) IS 'Internal. The bucket of a histogram that so many milliseconds belong to.';
REVOKE ALL ON FUNCTION millrace._bucket(double precision) FROM PUBLIC;
-- Whoever reads the views below calls it.
GRANT EXECUTE ON FUNCTION millrace._bucket(double precision) TO millrace_admin, millrace_consumer, millrace_monitor;

CREATE FUNCTION millrace._note_durations(pipeline integer, hops text[], micros bigint[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    this_hour constant integer := pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp()) / 3600);
    hour_before integer;
BEGIN
    INSERT INTO millrace.duration AS d (pipeline_id, hop, hour, bucket, count, total_ms)
    SELECT pipeline, coalesce(t.hop, hops[1]), this_hour, millrace._bucket(t.micros / 1000::double precision), pg_catalog.count(*), pg_catalog.sum(t.micros / 1000::double precision)
    FROM ROWS FROM (pg_catalog.unnest(hops), pg_catalog.unnest(_note_durations.micros)) AS t (hop, micros)
    WHERE t.micros >= 0
    GROUP BY 2, 4
    ON CONFLICT ON CONSTRAINT duration_pkey DO UPDATE SET count = d.count + EXCLUDED.count, total_ms = d.total_ms + EXCLUDED.total_ms;

    SELECT d.hour INTO hour_before FROM millrace.duration d
    WHERE d.pipeline_id = pipeline AND d.hop = hops[1] AND d.hour < this_hour ORDER BY d.hour DESC LIMIT 1;
    IF hour_before > 0 AND EXISTS (
        SELECT FROM millrace.duration d WHERE d.pipeline_id = pipeline AND d.hop = hops[1] AND d.hour > 0 AND d.hour < hour_before
    ) THEN
        WITH old AS (
            DELETE FROM millrace.duration d
            WHERE d.pipeline_id = pipeline AND d.hop = ANY (hops) AND d.hour > 0 AND d.hour < hour_before
            RETURNING d.hop, d.bucket, d.count, d.total_ms
        )
        INSERT INTO millrace.duration AS d (pipeline_id, hop, hour, bucket, count, total_ms)
        SELECT pipeline, o.hop, 0, o.bucket, pg_catalog.sum(o.count), pg_catalog.sum(o.total_ms) FROM old o GROUP BY o.hop, o.bucket
        ON CONFLICT ON CONSTRAINT duration_pkey DO UPDATE SET count = d.count + EXCLUDED.count, total_ms = d.total_ms + EXCLUDED.total_ms;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._note_durations(integer, text[], bigint[]) IS
    'Internal. Adds to the histograms of this hour: micros[i] to that of hops[i], all to that of hops[1] where it is the only one. Leaves two hours apart: this one, and the latest before in which there was something.';
REVOKE ALL ON FUNCTION millrace._note_durations(integer, text[], bigint[]) FROM PUBLIC;

CREATE FUNCTION millrace._note_deliveries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM millrace._note_durations(k.pipeline_id, ARRAY['consume:' || coalesce(k.parent_id, k.id)], array_agg((1000000 * extract(epoch FROM o.closed_at - o.leased_at))::bigint))
    FROM gone o JOIN millrace.consumer k ON k.id = o.consumer_id
    WHERE o.state = 'acked' AND k.state <> 'dropped' AND o.closed_at >= o.leased_at
    GROUP BY k.pipeline_id, coalesce(k.parent_id, k.id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION millrace._note_deliveries() IS 'Internal. Trigger: what acked deliveries took that go is added to the histogram of their consumer.';
REVOKE ALL ON FUNCTION millrace._note_deliveries() FROM PUBLIC;
CREATE TRIGGER note_deliveries AFTER DELETE ON millrace.delivery REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION millrace._note_deliveries();

CREATE FUNCTION millrace._note_delivery() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM millrace._note_durations(k.pipeline_id, ARRAY['consume:' || coalesce(k.parent_id, k.id)], ARRAY[(1000000 * extract(epoch FROM OLD.closed_at - OLD.leased_at))::bigint])
    FROM millrace.consumer k WHERE k.id = OLD.consumer_id AND OLD.closed_at >= OLD.leased_at;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION millrace._note_delivery() IS 'Internal. Trigger: the same for an acked delivery that is handed out again.';
REVOKE ALL ON FUNCTION millrace._note_delivery() FROM PUBLIC;
CREATE TRIGGER note_delivery AFTER UPDATE ON millrace.delivery FOR EACH ROW WHEN (OLD.state = 'acked' AND NEW.state <> 'acked')
    EXECUTE FUNCTION millrace._note_delivery();

CREATE VIEW millrace._durations AS
SELECT d.pipeline_id,
       CASE WHEN d.hop LIKE 'consume:%' THEN
            (SELECT 'consume:' || k.stream || '/' || k.name FROM millrace.consumer k WHERE k.id = pg_catalog.substr(d.hop, 9)::integer) ELSE d.hop END AS hop,
       d.hour, d.bucket, d.count, d.total_ms
  FROM millrace.duration d
UNION ALL
SELECT k.pipeline_id, 'consume:' || k.stream || '/' || k.name, pg_catalog.floor(EXTRACT(epoch FROM d.closed_at) / 3600)::integer, millrace._bucket(t.ms), 1, t.ms
  FROM millrace.consumer k
  JOIN millrace.consumer part ON part.id = k.id OR part.parent_id = k.id
  JOIN millrace.delivery d ON d.consumer_id = part.id AND d.state = 'acked' AND d.closed_at >= d.leased_at
 CROSS JOIN LATERAL (SELECT 1000 * EXTRACT(epoch FROM d.closed_at - d.leased_at)::double precision AS ms) t
 WHERE k.parent_id IS NULL AND k.state <> 'dropped';
COMMENT ON VIEW millrace._durations IS 'Internal. The histograms with the names of consumers, and the deliveries that are not in them yet.';
REVOKE ALL ON millrace._durations FROM PUBLIC;

CREATE VIEW millrace.durations AS
SELECT p.name AS pipeline, h.hop, b.le_seconds, coalesce(pg_catalog.sum(h.count) FILTER (WHERE h.bucket <= b.bucket), 0)::bigint AS count, pg_catalog.sum(h.total_ms) / 1000 AS sum_seconds
  FROM (SELECT d.pipeline_id, d.hop, d.bucket, pg_catalog.sum(d.count) AS count, pg_catalog.sum(d.total_ms) AS total_ms
          FROM millrace._durations d GROUP BY d.pipeline_id, d.hop, d.bucket) h
  JOIN millrace.pipeline p ON p.id = h.pipeline_id
 CROSS JOIN (SELECT pg_catalog.power(2::double precision, i) / 1000 AS le_seconds, 8 * i AS bucket FROM pg_catalog.generate_series(0, 20) AS s (i)
             UNION ALL SELECT 'Infinity', 32767) b
 GROUP BY p.name, h.hop, b.le_seconds;
COMMENT ON VIEW millrace.durations IS
'What each hop took since the pipeline was created, as Prometheus has histograms: count of those that took le_seconds at most (1 ms, 2 ms, 4 ms … 17 minutes, infinity), and sum_seconds, what all of them took together. hop: as in millrace.stats.';
REVOKE ALL ON millrace.durations FROM PUBLIC;
GRANT SELECT ON millrace.durations TO millrace_admin, millrace_consumer, millrace_monitor;
