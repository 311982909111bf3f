-- Backfills: history brought in, or handed out once more, beside live traffic. A row a backfill; who works on it is the pipeline's
-- worker, or the session that called. How far it is commits with what it did, so that it goes on there whatever dies.

CREATE TABLE millrace.backfill (
    pipeline_id    integer NOT NULL REFERENCES millrace.pipeline ON DELETE CASCADE,
    generation     integer NOT NULL,             -- marks its chunks
    kind           text NOT NULL CHECK (kind IN ('location', 'versions', 'chunks')),
    location       text,
    first          bigint,                       -- as asked for; NULL: no end on that side
    last           bigint,
    through        bigint,                       -- the last version or chunk of it
    rate           bigint CHECK (rate > 0),      -- rows a second
    state          text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'stopped')),
    source_offset  jsonb,                        -- versions: model::offset::Offset, how far they are read
    chunks_done    bigint NOT NULL DEFAULT 0,
    rows_done      bigint NOT NULL DEFAULT 0,
    attempts       integer NOT NULL DEFAULT 0,   -- failures in a row
    error          text,
    sqlstate       text,
    retry_at       timestamptz,
    started_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_by     text NOT NULL DEFAULT SESSION_USER,
    finished_at    timestamptz,
    PRIMARY KEY (pipeline_id, generation)
) WITH (fillfactor = 50);
-- Looked up with each look at the pipeline.
CREATE UNIQUE INDEX backfill_running ON millrace.backfill (pipeline_id) INCLUDE (generation) WHERE state = 'running';

-- Of a backfill of chunks: which of them each consumer, or slot of one, is still to be given.
CREATE TABLE millrace.backfill_cursor (
    pipeline_id    integer NOT NULL,
    generation     integer NOT NULL,
    consumer_id    integer NOT NULL REFERENCES millrace.consumer ON DELETE CASCADE,
    next_chunk     bigint NOT NULL,
    last_chunk     bigint NOT NULL,
    replay_no      integer NOT NULL,
    PRIMARY KEY (pipeline_id, generation, consumer_id),
    FOREIGN KEY (pipeline_id, generation) REFERENCES millrace.backfill ON DELETE CASCADE
) WITH (fillfactor = 50);
REVOKE ALL ON millrace.backfill, millrace.backfill_cursor FROM PUBLIC;

CREATE FUNCTION millrace._new_generation(pipeline_id integer) RETURNS integer
LANGUAGE sql
AS $$
    SELECT 1 + greatest(
        (SELECT (p.source_offset ->> 'generation')::integer FROM millrace.position p WHERE p.pipeline_id = _new_generation.pipeline_id),
        (SELECT b.generation FROM millrace.backfill b WHERE b.pipeline_id = _new_generation.pipeline_id ORDER BY b.generation DESC LIMIT 1), 0)
$$;
COMMENT ON FUNCTION millrace._new_generation(integer) IS
    'Internal. The number of a pipeline''s next re-reading, be it a resnapshot or a backfill. The caller has the position locked.';
REVOKE ALL ON FUNCTION millrace._new_generation(integer) FROM PUBLIC;

CREATE FUNCTION millrace._begin_handing_out(pipeline_id integer, generation integer, from_chunk bigint, consumers text[]) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    b     millrace.backfill;
    c     millrace.consumer;
    k     millrace.consumer;
    found bigint := 0;
    named text;
BEGIN
    SELECT n.* INTO b FROM millrace.backfill n WHERE n.pipeline_id = _begin_handing_out.pipeline_id AND n.generation = _begin_handing_out.generation;
    FOREACH named IN ARRAY coalesce(consumers, '{}') LOOP
        IF NOT EXISTS (SELECT FROM millrace.consumer n WHERE n.pipeline_id = b.pipeline_id AND n.name = named AND n.state <> 'dropped' AND n.parent_id IS NULL) THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object',
                MESSAGE = pg_catalog.format('no stream of the pipeline has a consumer "%s"', named),
                HINT = 'SELECT stream, consumer FROM millrace.consumers lists them.';
        END IF;
    END LOOP;
    FOR c IN SELECT n.* FROM millrace.consumer n
             WHERE n.pipeline_id = b.pipeline_id AND n.parent_id IS NULL AND n.state NOT IN ('dropped', 'expired')
               AND CASE WHEN consumers IS NULL THEN n.backfills ELSE n.name = ANY (consumers) END
             ORDER BY n.id LOOP
        FOR k IN SELECT n.* FROM millrace._cursors(c) n WHERE NOT n.retired LOOP
            -- What it has not come to yet it will be given anyway.
            CONTINUE WHEN k.acked_through < from_chunk;
            IF k.mode = 'pool' THEN
                PERFORM pg_catalog.pg_advisory_xact_lock(millrace._pool_key(k.id, 'row', 0));
            END IF;
            UPDATE millrace.consumer n SET replay_no = n.replay_no + 1 WHERE n.id = k.id RETURNING n.* INTO k;
            INSERT INTO millrace.backfill_cursor (pipeline_id, generation, consumer_id, next_chunk, last_chunk, replay_no)
            VALUES (b.pipeline_id, b.generation, k.id, from_chunk, least(b.through, k.acked_through), k.replay_no);
            found := found + 1;
        END LOOP;
    END LOOP;
    RETURN found;
END
$$;
COMMENT ON FUNCTION millrace._begin_handing_out(integer, integer, bigint, text[]) IS
    'Internal. Notes which chunks a backfill is to hand out again to whom: to those named, or to all that want backfills. Returns the number of cursors.';
REVOKE ALL ON FUNCTION millrace._begin_handing_out(integer, integer, bigint, text[]) FROM PUBLIC;

CREATE FUNCTION millrace._hand_out_again(pipeline_id integer, generation integer, most bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    -- So few wait for a consumer at once: its live chunks come in between.
    waiting constant integer := 16;
    t       millrace.backfill_cursor;
    c       millrace.consumer;
    n       record;
    was     text;
    kept    bigint;
    rows    bigint := 0;
    handed  bigint := 0;
BEGIN
    SELECT p.kept_from INTO kept FROM millrace.position p WHERE p.pipeline_id = _hand_out_again.pipeline_id;
    FOR t IN SELECT u.* FROM millrace.backfill_cursor u
             WHERE u.pipeline_id = _hand_out_again.pipeline_id AND u.generation = _hand_out_again.generation AND u.next_chunk <= u.last_chunk
             ORDER BY u.next_chunk, u.consumer_id LOOP
        EXIT WHEN rows >= most;
        SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = t.consumer_id;
        IF c.state IN ('dropped', 'expired') OR c.retired THEN
            DELETE FROM millrace.backfill_cursor u WHERE u.pipeline_id = t.pipeline_id AND u.generation = t.generation AND u.consumer_id = t.consumer_id;
            CONTINUE;
        END IF;
        -- Nobody is waited for: who is busy now has its turn with the next look.
        IF c.mode = 'pool' THEN
            CONTINUE WHEN NOT pg_catalog.pg_try_advisory_xact_lock_shared(millrace._pool_key(c.id, 'all', 0));
            CONTINUE WHEN NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'row', 0));
            SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = t.consumer_id FOR NO KEY UPDATE;
        ELSE
            SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = t.consumer_id FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
        END IF;
        IF t.next_chunk < kept THEN
            PERFORM millrace._note(c, 'backfill_passed_over', pg_catalog.format('retention has removed chunks %s to %s before they could be handed out again',
                t.next_chunk, least(kept - 1, t.last_chunk)), pg_catalog.jsonb_build_object('generation', t.generation, 'slot', c.slot));
            t.next_chunk := kept;
        END IF;
        LOOP
            EXIT WHEN t.next_chunk > t.last_chunk OR c.redriven >= waiting OR rows >= most;
            -- Where somebody has sought back meanwhile, what lies ahead of the consumer comes anyway.
            EXIT WHEN t.next_chunk > c.acked_through;
            SELECT k.chunk_no, CASE c.layer WHEN 'rejects' THEN k.reject_count ELSE k.row_count END AS row_count INTO n FROM millrace.chunk k
            WHERE k.pipeline_id = c.pipeline_id AND k.chunk_no >= t.next_chunk AND k.chunk_no <= t.last_chunk
              AND CASE c.layer WHEN 'rejects' THEN k.reject_count ELSE k.row_count END > 0
            ORDER BY k.chunk_no LIMIT 1;
            IF NOT FOUND THEN
                t.next_chunk := t.last_chunk + 1;
                EXIT;
            END IF;
            SELECT d.state INTO was FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.chunk_no = n.chunk_no FOR UPDATE;
            -- One that is open, or dead, has its own way back.
            IF NOT FOUND OR was IN ('acked', 'skipped') THEN
                DELETE FROM millrace.delivery d WHERE d.consumer_id = c.id AND d.chunk_no = n.chunk_no;
                INSERT INTO millrace.delivery (consumer_id, chunk_no, state, token, epoch, attempt, replay_no, handed_out, generation)
                VALUES (c.id, n.chunk_no, 'pending', pg_catalog.gen_random_uuid(), c.epoch, 0, t.replay_no, 0, t.generation);
                UPDATE millrace.consumer k SET redriven = k.redriven + 1, closed_kept = k.closed_kept - CASE WHEN was IS NULL THEN 0 ELSE 1 END
                WHERE k.id = c.id RETURNING k.* INTO c;
                rows := rows + n.row_count;
                handed := handed + 1;
            END IF;
            t.next_chunk := n.chunk_no + 1;
        END LOOP;
        IF t.next_chunk > c.acked_through THEN
            t.next_chunk := t.last_chunk + 1;
        END IF;
        UPDATE millrace.backfill_cursor u SET next_chunk = t.next_chunk
        WHERE u.pipeline_id = t.pipeline_id AND u.generation = t.generation AND u.consumer_id = t.consumer_id AND u.next_chunk <> t.next_chunk;
    END LOOP;
    UPDATE millrace.backfill b SET chunks_done = b.chunks_done + handed, rows_done = b.rows_done + rows
    WHERE b.pipeline_id = _hand_out_again.pipeline_id AND b.generation = _hand_out_again.generation AND handed > 0;
    IF NOT EXISTS (SELECT FROM millrace.backfill_cursor u WHERE u.pipeline_id = _hand_out_again.pipeline_id AND u.generation = _hand_out_again.generation
                   AND u.next_chunk <= u.last_chunk) THEN
        RETURN NULL;
    END IF;
    RETURN rows;
END
$$;
COMMENT ON FUNCTION millrace._hand_out_again(integer, integer, bigint) IS
    'Internal. Makes chunks of a backfill''s range pending again behind their consumers'' positions, about so many rows of them; returns the rows, NULL once nothing is left.';
REVOKE ALL ON FUNCTION millrace._hand_out_again(integer, integer, bigint) FROM PUBLIC;

CREATE PROCEDURE millrace.backfill(
    pipeline text, location text DEFAULT NULL, versions int8range DEFAULT NULL, chunks int8range DEFAULT NULL, rate bigint DEFAULT NULL,
    consumers text[] DEFAULT NULL
) LANGUAGE c AS 'MODULE_PATHNAME', 'backfill_wrapper';
COMMENT ON PROCEDURE millrace.backfill(text, text, int8range, int8range, bigint, text[]) IS
'Brings history in, or hands it out once more, beside live traffic, and returns once that is done. Exactly one of location, versions and chunks says what.
pipeline: its name.
location: URL of a directory, file or pattern with older landing files, of the source''s format: they are loaded as those of the source are, as further chunks. Files are known by their whole URL: those that were loaded are not loaded again, so that calling it again after a failure goes on, and later brings what is new there.
versions: of a Delta source, an inclusive range as in ''[3,7]''; what these versions added is loaded as further chunks. Versions that were loaded already are left out.
chunks: a range as in ''[3,7]''; chunks of history are made pending again for consumers that are past them, beside their positions, as redrive does: no row is loaded again and no aggregate changes. Their replay_no is new.
rate: rows a second at most; NULL: as fast as live traffic leaves room. At least one chunk a second is worked on whatever the live traffic.
consumers: with chunks, the names of those who get them; NULL: all that were created with backfills => true.
Chunks that it brings, and deliveries that it makes, carry its generation (millrace.backfills). It is worked on by the pipeline''s worker or, where none runs, by this session; who cancels the call ends the wait, and the worker goes on: millrace.stop_backfill ends it. A call like one that is running waits for that one and sets its rate.
For the pipeline''s owner; not inside a transaction block. 55000: another backfill of the pipeline is running.';

CREATE FUNCTION millrace.stop_backfill(pipeline text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'stop_backfill_wrapper';
COMMENT ON FUNCTION millrace.stop_backfill(text) IS
'Ends a pipeline''s running backfill: what it has brought stays, and a new call of millrace.backfill goes on behind it, but for chunks, whose range begins anew. pipeline: its name. For its owner. 55000: none is running.';

REVOKE ALL ON PROCEDURE millrace.backfill(text, text, int8range, int8range, bigint, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION millrace.stop_backfill(text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE millrace.backfill(text, text, int8range, int8range, bigint, text[]) TO millrace_admin;
GRANT EXECUTE ON FUNCTION millrace.stop_backfill(text) TO millrace_admin;

CREATE VIEW millrace.backfills AS
SELECT p.name AS pipeline, b.generation, b.location,
       CASE b.kind WHEN 'versions' THEN pg_catalog.int8range(b.first, b.last, '[]') END AS versions,
       CASE b.kind WHEN 'chunks' THEN pg_catalog.int8range(b.first, b.last, '[]') END AS chunks,
       b.rate, b.state, b.chunks_done, b.rows_done,
       CASE b.kind WHEN 'versions' THEN (b.source_offset ->> 'version')::bigint
                   WHEN 'chunks' THEN (SELECT pg_catalog.min(u.next_chunk) FROM millrace.backfill_cursor u
                                       WHERE u.pipeline_id = b.pipeline_id AND u.generation = b.generation AND u.next_chunk <= u.last_chunk) END AS next,
       b.through, b.attempts, b.error, b.sqlstate, b.retry_at, b.started_at, b.started_by, b.finished_at
FROM millrace.backfill b JOIN millrace.pipeline p ON p.id = b.pipeline_id;
COMMENT ON VIEW millrace.backfills IS
'A row per backfill. generation: marks its chunks in millrace.chunks, and its deliveries. state: running, done, failed (error says why), stopped. chunks_done, rows_done: what it has brought, or handed out.
next, through: the version that is read, or the chunk that is to be handed out next, and the last one of it. attempts, retry_at: failures in a row, and when it goes on after the last.';
REVOKE ALL ON millrace.backfills FROM PUBLIC;
GRANT SELECT ON millrace.backfills TO millrace_admin, millrace_consumer, millrace_monitor;
