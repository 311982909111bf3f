-- Pools: several chunks of one consumer leased at once, acked in any order. No call of a worker waits for another worker's.
--
-- What guards what, where the ordered mode has one row lock for all:
--   * Workers hold the pool's advisory lock shared while they claim or answer; whoever changes the whole of it (seek, skip,
--     drop, pause …) takes it alone. A shared row lock would do the same, but lets newcomers pass a waiting operator for ever.
--   * A delivery is changed under its own row lock. A REPEATABLE READ transaction that comes late gets a serialization failure there.
--   * A chunk handed out for the first time, and the place it takes among max_in_flight, have no row that others could see
--     before the claim commits: advisory locks stand for them, tried and never waited for. Whoever hands a chunk out again has its
--     lock too, for SKIP LOCKED alone waits where a row is changed once more behind a change that has just been committed.
--   * The consumer's row is written by who has an advisory lock for it, which is not waited for either, but to halt. SKIP LOCKED
--     would not do: where the row carries the key locks of inserted deliveries, it waits all the same. acked_through may
--     therefore stand behind; it is never ahead, and the next answer moves it on. A delivery is purged by the transaction that
--     moves acked_through over it, or later, so one snapshot always shows a closed chunk as closed, by its delivery or by the position.
--
-- A claim and an answer cost more the further the pool has got past its oldest open chunk: they read the deliveries in between.

CREATE FUNCTION millrace._pool_key(consumer_id integer, kind text, number bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT pg_catalog.hashtextextended(pg_catalog.format('millrace %s %s %s', consumer_id, kind, number), 7145)
$$;
COMMENT ON FUNCTION millrace._pool_key(integer, text, bigint) IS
    'Internal. Key of an advisory lock: of a pool as a whole (all), a chunk that is about to be handed out first (chunk), a place among max_in_flight (slot), the writing of the consumer''s row (row).';
REVOKE ALL ON FUNCTION millrace._pool_key(integer, text, bigint) FROM PUBLIC;

CREATE FUNCTION millrace._pool_enter(stream text, consumer text) RETURNS millrace.consumer
LANGUAGE plpgsql
AS $$
DECLARE
    c millrace.consumer;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(millrace._pool_key(k.id, 'all', 0)) FROM millrace.consumer k
    WHERE k.stream = _pool_enter.stream AND k.name = _pool_enter.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
    SELECT k.* INTO c FROM millrace.consumer k
    WHERE k.stream = _pool_enter.stream AND k.name = _pool_enter.consumer AND k.state <> 'dropped' AND k.parent_id IS NULL;
    IF NOT FOUND THEN
        PERFORM millrace._no_such_consumer(stream, consumer);
    END IF;
    RETURN c;
END
$$;
COMMENT ON FUNCTION millrace._pool_enter(text, text) IS
    'Internal. A pool, to answer for one of its chunks; waits for whoever changes the whole of it.';
REVOKE ALL ON FUNCTION millrace._pool_enter(text, text) FROM PUBLIC;

CREATE FUNCTION millrace._pool_settle(pool integer) RETURNS void
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
COMMENT ON FUNCTION millrace._pool_settle(integer) IS
    'Internal. Moves a pool''s position over the chunks that are closed without a gap, and purges old deliveries. Does nothing if somebody else is at it.';
REVOKE ALL ON FUNCTION millrace._pool_settle(integer) FROM PUBLIC;

CREATE FUNCTION millrace._pool_choice(
    c             millrace.consumer,
    me            text,
    busy          bigint[],
    OUT action    text,
    OUT chunk_no  bigint,
    OUT row_count bigint,
    OUT sealed_at timestamptz,
    OUT d         millrace.delivery
)
LANGUAGE plpgsql
AS $$
DECLARE
    right_now timestamptz := pg_catalog.clock_timestamp();
    after     bigint := CASE WHEN c.redriven > 0 THEN 0 ELSE c.acked_through END;
    leased    bigint;
    k         record;
BEGIN
    -- One's own first, and there is only one. Then leases that have run out, before all that need a place: they take the places.
    SELECT u.* INTO d FROM millrace.delivery u
    WHERE u.consumer_id = c.id AND u.chunk_no > after AND u.chunk_no <> ALL (busy)
      AND (u.state = 'leased' AND (u.worker = me OR u.lease_until <= right_now)
           OR u.state = 'pending' OR u.state = 'retry_wait' AND u.visible_at <= right_now)
    ORDER BY u.state = 'leased' AND u.worker = me DESC, u.state = 'leased' DESC, u.chunk_no LIMIT 1;
    IF d.state = 'leased' THEN
        action := CASE
            WHEN d.lease_until > right_now THEN 'renew'
            WHEN d.attempt >= c.max_attempts THEN 'poison'
            WHEN d.worker = me THEN 'renew_late'
            ELSE 'take_over'
        END;
    ELSE
        SELECT pg_catalog.count(*) INTO leased FROM millrace.delivery u
        WHERE u.consumer_id = c.id AND u.chunk_no > after AND u.state = 'leased';
        IF leased >= c.max_in_flight THEN
            RETURN;
        END IF;
        action := CASE WHEN d.chunk_no IS NOT NULL THEN 'again' ELSE 'first' END;
    END IF;

    IF action = 'first' THEN
        busy := busy || ARRAY(SELECT u.chunk_no FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no > c.acked_through);
        k := millrace._first_chunk_after(c, c.acked_through, busy);
        IF k.chunk_no IS NULL THEN
            action := NULL;
            RETURN;
        END IF;
    ELSE
        SELECT n.chunk_no, CASE c.layer WHEN 'rejects' THEN n.reject_count ELSE n.row_count END AS row_count, n.sealed_at INTO k
        FROM millrace.chunk n WHERE n.pipeline_id = c.pipeline_id AND n.chunk_no = d.chunk_no;
    END IF;
    chunk_no := k.chunk_no;
    row_count := k.row_count;
    sealed_at := k.sealed_at;
END
$$;
COMMENT ON FUNCTION millrace._pool_choice(millrace.consumer, text, bigint[]) IS
    'Internal. What worker "me" may do next in a pool, and with which chunk, leaving the busy ones alone; action is NULL where there is nothing.';
REVOKE ALL ON FUNCTION millrace._pool_choice(millrace.consumer, text, bigint[]) FROM PUBLIC;

CREATE FUNCTION millrace._pool_slot(c millrace.consumer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    after bigint := CASE WHEN c.redriven > 0 THEN 0 ELSE c.acked_through END;
    taken integer[];
BEGIN
    taken := ARRAY(SELECT u.slot FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no > after AND u.state = 'leased');
    FOR n IN 1..c.max_in_flight LOOP
        CONTINUE WHEN n = ANY (taken);
        CONTINUE WHEN NOT pg_catalog.pg_try_advisory_xact_lock(millrace._pool_key(c.id, 'slot', n));
        -- Whoever had the lock has committed since the look above.
        CONTINUE WHEN EXISTS (SELECT FROM millrace.delivery u WHERE u.consumer_id = c.id AND u.chunk_no > after AND u.state = 'leased' AND u.slot = n);
        RETURN n;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION millrace._pool_slot(millrace.consumer) IS
    'Internal. A free place among the max_in_flight of a pool, ours to the end of the transaction; NULL if there is none.';
REVOKE ALL ON FUNCTION millrace._pool_slot(millrace.consumer) FROM PUBLIC;

CREATE FUNCTION millrace._pool_claim(
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
COMMENT ON FUNCTION millrace._pool_claim(millrace.consumer, text, text, interval) IS
    'Internal. As _claim, for a pool: leases a chunk that no other worker has.';
REVOKE ALL ON FUNCTION millrace._pool_claim(millrace.consumer, text, text, interval) FROM PUBLIC;
