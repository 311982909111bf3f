-- Updates pg_millrace 0.1.0. Made by scripts/update_sql.py from sql/update/0.1.0.sql and the sources: change those, never this file.

-- What tables need to become those of 0.2.0; all else is taken from sql/schema.

DO $$ BEGIN
    IF millrace.library_version() = '0.1.0' THEN
        RAISE EXCEPTION 'the library that is loaded is still that of pg_millrace 0.1.0' USING
            ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Restart the server, or, where pg_millrace is not in shared_preload_libraries, connect anew; then update again.';
    END IF;
END $$;

-- Late aggregates of keyed pipelines are filled in steps.
ALTER TABLE millrace.aggregate ADD COLUMN filled_part jsonb;

CREATE TABLE millrace.home (
    pipeline_id    integer PRIMARY KEY REFERENCES millrace.pipeline ON DELETE CASCADE,
    system_identifier text NOT NULL,
    database       bigint NOT NULL,              -- its number, which a change of name leaves as it is
    timeline       bigint NOT NULL,
    mark           text NOT NULL,                -- what the data directory says of itself in a file that base backups leave out
    since          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

CREATE TABLE millrace.duration (
    pipeline_id    integer NOT NULL REFERENCES millrace.pipeline ON DELETE CASCADE,
    hop            text NOT NULL,                -- chunk, end_to_end, read, land, load; publish:<layer>; consume:<id of the consumer>
    hour           integer NOT NULL,             -- since 1970; 0 = all hours before those that are apart
    bucket         smallint NOT NULL,            -- longer than 2^((bucket - 1) / 8) and at most 2^(bucket / 8) milliseconds
    count          bigint NOT NULL,
    total_ms       double precision NOT NULL,
    PRIMARY KEY (pipeline_id, hop, hour, bucket)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION millrace.take_over(pipeline text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'take_over_wrapper';

COMMENT ON FUNCTION millrace.take_over(text) IS
'Says that this database, and no longer the one it was copied or restored from, writes into the pipeline''s lake, and lets the pipeline go on. For one that
stopped because this database is a copy, or because the lake has moved on. The original must be gone, or its pipeline dropped. pipeline: its name; for its owner.';

REVOKE ALL ON FUNCTION millrace.take_over(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION millrace.take_over(text) TO millrace_admin;

CREATE OR REPLACE FUNCTION millrace._refuse_null(argument text, is_null boolean) RETURNS void
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

CREATE OR REPLACE FUNCTION millrace._drop(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    cursors constant integer[] := ARRAY(SELECT k.id FROM millrace._cursors(c) k);
BEGIN
    DELETE FROM millrace.delivery d WHERE d.consumer_id = ANY (cursors) AND d.state <> 'dead';
    DELETE FROM millrace.duration d WHERE d.pipeline_id = c.pipeline_id AND d.hop = 'consume:' || c.id;
    IF EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = ANY (cursors)) OR EXISTS (SELECT FROM millrace.dead_part p WHERE p.consumer_id = ANY (cursors))
       OR EXISTS (SELECT FROM millrace.rejected_row r WHERE r.consumer_id = ANY (cursors)) THEN
        UPDATE millrace.consumer k SET state = 'dropped', state_reason = NULL WHERE k.id = c.id OR k.parent_id = c.id;
    ELSE
        DELETE FROM millrace.consumer k WHERE k.id = c.id;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION millrace._next_chunk(
    stream   text,
    consumer text,
    worker   text,
    lease    interval,
    wait     interval
) RETURNS TABLE (chunk_no bigint, token uuid, epoch bigint, attempt integer, redelivered boolean, row_count bigint, sealed_at timestamptz, lease_until timestamptz,
               slot integer, first_row_no bigint, last_row_no bigint, generation integer)
LANGUAGE plpgsql SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    session constant text := millrace._this_session();
    me      constant text := coalesce(worker, session);
    give_up timestamptz;
    c       millrace.consumer;
    claim   record;
    d       millrace.delivery;
BEGIN
    IF lease <= interval '0' OR wait < interval '0' OR wait > interval '1 minute' OR pg_catalog.btrim(worker) = '' THEN
        PERFORM millrace._refuse_next_chunk(worker, lease, wait);
    END IF;
    give_up := pg_catalog.clock_timestamp() + wait;
    LOOP
        SELECT k.* INTO c FROM millrace.consumer k
        WHERE k.stream = _next_chunk.stream AND k.name = _next_chunk.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
        IF NOT FOUND THEN
            PERFORM millrace._no_such_consumer(stream, consumer);
        END IF;
        PERFORM millrace._may_consume(c.pipeline_id, c.stream);
        IF c.state = 'halted' THEN
            PERFORM millrace._refuse_halted(c);
        ELSIF c.state = 'expired' THEN
            RAISE EXCEPTION USING ERRCODE = 'MR003',
                MESSAGE = pg_catalog.format('consumer "%s" of stream "%s" has expired', consumer, stream),
                DETAIL = coalesce(c.state_reason, 'Chunks that it has not acked are gone.'),
                HINT = 'millrace.seek(stream, consumer, ''earliest'') goes on with what is left; millrace.drop_consumer gives it up.';
        ELSIF c.state = 'active' THEN
            IF c.mode = 'ordered' THEN
                claim := millrace._claim(c, me, session, coalesce(lease, c.lease));
            ELSIF c.mode = 'pool' THEN
                claim := millrace._pool_claim(c, me, session, coalesce(lease, c.lease));
            ELSE
                claim := millrace._keyed_claim(c, me, session, coalesce(lease, c.lease));
            END IF;
            d := claim.d;
            IF d.chunk_no IS NOT NULL THEN
                chunk_no := d.chunk_no;
                token := d.token;
                epoch := d.epoch;
                attempt := d.attempt;
                redelivered := d.handed_out > 1;
                row_count := claim.row_count;
                sealed_at := claim.sealed_at;
                lease_until := d.lease_until;
                slot := CASE c.mode WHEN 'keyed' THEN d.slot END;
                first_row_no := d.row_from;
                last_row_no := d.row_to;
                generation := d.generation;
                RETURN NEXT;
                RETURN;
            END IF;
            -- An error now would undo the halt that this very call has found. The next call raises.
            EXIT WHEN claim.halted;
            IF c.auto_drop AND millrace._drop_when_done(c) THEN
                RETURN;
            END IF;
        END IF;
        EXIT WHEN give_up IS NULL OR pg_catalog.clock_timestamp() >= give_up;
        -- Where all is done, the commit of a chunk wakes us. What else may come, others' acks and retries, is asked for often.
        PERFORM millrace._nap(CASE WHEN c.acked_through >= (SELECT p.head FROM millrace.position p WHERE p.pipeline_id = c.pipeline_id) THEN 250 ELSE 20 END);
    END LOOP;
END
$$;

COMMENT ON FUNCTION millrace._next_chunk(text, text, text, interval, interval) IS
    'Internal. next_chunk, whatever there is to be done: as next_chunk.';

REVOKE ALL ON FUNCTION millrace._next_chunk(text, text, text, interval, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION millrace.next_chunk(
    stream   text,
    consumer text,
    worker   text     DEFAULT NULL,
    lease    interval DEFAULT NULL,
    wait     interval DEFAULT NULL
) RETURNS TABLE (chunk_no bigint, token uuid, epoch bigint, attempt integer, redelivered boolean, row_count bigint, sealed_at timestamptz, lease_until timestamptz,
               slot integer, first_row_no bigint, last_row_no bigint, generation integer)
LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'next_chunk_wrapper';

CREATE OR REPLACE FUNCTION millrace._ack(stream text, consumer text, chunk_no bigint, token uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    c millrace.consumer;
    d millrace.delivery;
BEGIN
    c := millrace._lock_to_answer(stream, consumer, chunk_no, token);
    d := millrace._leased(c, chunk_no, token);
    IF d.state = 'acked' THEN
        RETURN 'already_acked';
    END IF;
    IF d.row_to < d.rows_end THEN
        d.state := 'acked';
        PERFORM millrace._next_part(d);
        PERFORM millrace._answered(c, true);
        RETURN 'acked';
    END IF;
    UPDATE millrace.delivery u SET state = 'acked', closed_at = pg_catalog.clock_timestamp()
    WHERE u.consumer_id = c.id AND u.chunk_no = d.chunk_no;
    IF c.mode = 'pool' THEN
        PERFORM millrace._pool_settle(c.id);
    ELSE
        PERFORM millrace._closed(c, d.chunk_no, true);
    END IF;
    RETURN 'acked';
END
$$;

COMMENT ON FUNCTION millrace._ack(text, text, bigint, uuid) IS 'Internal. ack, whatever there is to be done: as ack.';

REVOKE ALL ON FUNCTION millrace._ack(text, text, bigint, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION millrace.ack(stream text, consumer text, chunk_no bigint, token uuid DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ack_wrapper';

CREATE OR REPLACE FUNCTION millrace._pool_settle(pool integer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    c       millrace.consumer;
    closed  bigint[];
    through bigint;
    mark    bigint;
    kept    integer;
    gone    integer := 0;
    last    bigint;
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(pool, 'row', 0)) THEN
        RETURN;
    END IF;
    SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = pool FOR NO KEY UPDATE;
    closed := ARRAY(SELECT d.chunk_no FROM millrace.delivery d
                    WHERE d.consumer_id = c.id AND d.chunk_no > c.acked_through AND d.state IN ('acked', 'skipped', 'dead') ORDER BY d.chunk_no);
    through := c.acked_through;
    IF pg_catalog.cardinality(closed) > 0 THEN
        SELECT n.chunk_no - 1 INTO through FROM millrace._first_chunk_after(c, c.acked_through, closed) n;
        through := coalesce(through, closed[pg_catalog.cardinality(closed)]);
    END IF;

    -- The latest hundred or so stay, for repeated acks to be known by. Looked after once in a while: counting costs more than an ack. Behind a
    -- chunk that was open for long thousands may go at once; more than that is left to the next.
    mark := c.purged_through;
    kept := c.closed_kept;
    IF through / 32 > c.acked_through / 32 THEN
        SELECT pg_catalog.count(*) INTO kept FROM millrace.delivery d
        WHERE d.consumer_id = c.id AND d.chunk_no > mark AND d.chunk_no <= through AND d.state IN ('acked', 'skipped');
        WITH oldest AS (
            SELECT d.chunk_no FROM millrace.delivery d
            WHERE d.consumer_id = c.id AND d.chunk_no > mark AND d.chunk_no <= through AND d.state IN ('acked', 'skipped')
            ORDER BY d.chunk_no LIMIT greatest(least(kept - 100, 4096), 0) FOR UPDATE SKIP LOCKED
        ), purged AS (
            DELETE FROM millrace.delivery d USING oldest o
            WHERE d.consumer_id = c.id AND d.chunk_no = o.chunk_no RETURNING d.chunk_no
        )
        SELECT pg_catalog.count(*), pg_catalog.max(p.chunk_no) INTO gone, last FROM purged p;
        kept := kept - gone;
    END IF;
    UPDATE millrace.consumer k
    SET acked_through = through, closed_kept = kept, last_seen = pg_catalog.clock_timestamp(),
        -- One that somebody had locked stays behind the mark: then the mark stays too.
        purged_through = CASE WHEN last IS NULL OR EXISTS (
            SELECT FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.chunk_no > mark AND d.chunk_no < last AND d.state IN ('acked', 'skipped')
        ) THEN mark ELSE last END,
        redriven = CASE WHEN k.redriven = 0 THEN 0 ELSE (
            SELECT pg_catalog.count(*) FROM millrace.delivery d
            WHERE d.consumer_id = c.id AND d.chunk_no <= through AND d.state IN ('leased', 'retry_wait', 'pending')
        ) END
    WHERE k.id = c.id;
END
$$;

CREATE OR REPLACE FUNCTION millrace._pool_claim(
    seen          millrace.consumer,
    me            text,
    session       text,
    lease         interval,
    OUT row_count bigint,
    OUT sealed_at timestamptz,
    OUT d         millrace.delivery,
    OUT halted    boolean
)
LANGUAGE plpgsql
AS $$
DECLARE
    c      millrace.consumer;
    choice record;
    busy   bigint[] := '{}';
    old    millrace.delivery;
    place  integer;
    begun  timestamptz;
BEGIN
    halted := false;
    choice := millrace._pool_choice(seen, me, busy);
    IF choice.action IS NULL THEN
        RETURN;
    END IF;
    -- As in _claim: the holder of a running lease waits for an operator, all others go away at once.
    IF choice.action = 'renew' THEN
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(millrace._pool_key(seen.id, 'all', 0));
    ELSIF NOT pg_catalog.pg_try_advisory_xact_lock_shared(millrace._pool_key(seen.id, 'all', 0)) THEN
        RETURN;
    END IF;
    -- An old snapshot cannot be looked at again: it must be the newest, and stay so.
    IF pg_catalog.current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        IF NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(seen.id, 'row', 0)) THEN
            RETURN;
        END IF;
        PERFORM FROM millrace.consumer k WHERE k.id = seen.id FOR NO KEY UPDATE;
    END IF;

    WHILE d.chunk_no IS NULL LOOP
        SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = seen.id AND k.state = 'active';
        IF NOT FOUND THEN
            RETURN;
        END IF;
        choice := millrace._pool_choice(c, me, busy);
        IF choice.action IS NULL THEN
            RETURN;
        END IF;
        old := choice.d;
        begun := pg_catalog.clock_timestamp();

        IF choice.action = 'renew' THEN
            d := millrace._lease(c, choice.action, choice.chunk_no, old, me, session, lease, NULL);
        ELSIF choice.action IN ('first', 'again') THEN
            place := coalesce(place, millrace._pool_slot(c));
            IF place IS NULL THEN
                RETURN;
            END IF;
            IF NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'chunk', choice.chunk_no)) THEN
                PERFORM WHERE false;
            ELSIF choice.action = 'again' THEN
                PERFORM FROM millrace.delivery u
                WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no AND u.state IN ('pending', 'retry_wait') FOR UPDATE SKIP LOCKED;
            ELSE
                -- Looked at again, all in one snapshot that is younger than the lock: whoever had it before may have handed the chunk out.
                PERFORM FROM millrace.consumer k WHERE k.id = c.id AND k.acked_through < choice.chunk_no
                    AND NOT EXISTS (SELECT FROM millrace.delivery u WHERE u.consumer_id = k.id AND u.chunk_no = choice.chunk_no);
            END IF;
            IF FOUND THEN
                d := millrace._lease(c, choice.action, choice.chunk_no, old, me, session, lease, place);
            END IF;
        ELSIF pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'row', 0))
              AND pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'chunk', choice.chunk_no)) THEN
            SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = c.id;
            PERFORM FROM millrace.delivery u
            WHERE u.consumer_id = c.id AND u.chunk_no = choice.chunk_no AND u.state = 'leased' AND u.token = old.token AND u.lease_until <= begun
            FOR UPDATE SKIP LOCKED;
            IF FOUND AND choice.action = 'poison' THEN
                c := millrace._poison(c, old, 'lease ran out', pg_catalog.format('the lease of worker "%s" ran out', old.worker), true);
                halted := c.state = 'halted';
            ELSIF FOUND THEN
                IF choice.action = 'take_over' THEN
                    c.epoch := c.epoch + 1;
                    UPDATE millrace.consumer k SET epoch = c.epoch, takeovers = k.takeovers + 1 WHERE k.id = c.id;
                END IF;
                d := millrace._lease(c, choice.action, choice.chunk_no, old, me, session, lease, old.slot);
            END IF;
        END IF;
        -- Somebody else is at it, or has just been: what comes next?
        IF d.chunk_no IS NULL THEN
            busy := busy || choice.chunk_no;
        END IF;
    END LOOP;
    row_count := choice.row_count;
    sealed_at := choice.sealed_at;
END
$$;

COMMENT ON VIEW millrace.aggregates IS
'A row per aggregate: its query and where its result is read. as_of: the chunk that the view shows the state after. told_from: the chunk from which on its stream
(<view>_changes) has every change, beginning with an image of every group; NULL while nobody consumes or publishes it. filled_through: the chunk up to which
an aggregate that came late is filled (of a keyed pipeline: as of which a part of the keys is, in their order), and until then its view computes the query itself; NULL: it is complete.';

CREATE OR REPLACE FUNCTION millrace._bucket(ms double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ms > 0.001 THEN least(greatest(pg_catalog.ceil(8 * pg_catalog.ln(ms) / pg_catalog.ln(2::double precision) - 1e-9), -80), 256) ELSE -80 END::smallint;

COMMENT ON FUNCTION millrace._bucket(double precision) IS 'Internal. The bucket of a histogram that so many milliseconds belong to.';

REVOKE ALL ON FUNCTION millrace._bucket(double precision) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION millrace._bucket(double precision) TO millrace_admin, millrace_consumer, millrace_monitor;

CREATE OR REPLACE FUNCTION millrace._note_durations(pipeline integer, hops text[], micros bigint[]) RETURNS void
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

CREATE OR REPLACE FUNCTION millrace._note_deliveries() RETURNS trigger
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

CREATE OR REPLACE FUNCTION millrace._note_delivery() RETURNS trigger
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

CREATE OR REPLACE VIEW millrace._durations AS
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

CREATE OR REPLACE VIEW millrace.durations AS
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

CREATE OR REPLACE FUNCTION millrace._waits_for(pid integer) RETURNS text
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'waits_for_wrapper';

COMMENT ON FUNCTION millrace._waits_for(integer) IS
'Internal. What a process that runs a pipeline of this database waits for now. NULL: it works, or is no such process.';

REVOKE ALL ON FUNCTION millrace._waits_for(integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION millrace._waits_for(integer) TO millrace_admin, millrace_consumer, millrace_monitor;

CREATE OR REPLACE VIEW millrace.progress AS
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

CREATE OR REPLACE VIEW millrace.stats AS
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

SELECT pg_catalog.pg_extension_config_dump('millrace.home', '');

SELECT pg_catalog.pg_extension_config_dump('millrace.duration', '');

-- Pipelines that failed meanwhile, for want of what this has brought, try again at once.
UPDATE millrace.position SET retry_at = NULL WHERE retry_at IS NOT NULL;

SELECT millrace.wake_workers();
