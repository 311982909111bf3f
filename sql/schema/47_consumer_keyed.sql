-- Keyed consumers: a fixed number of slots, to which rows go by the hash of a key column. Each slot is an ordered consumer of its own,
-- with the same chunks, its own position, lease and token; so rows of one key are worked in order, and those of others beside them.
--
-- The consumer itself is a row without a position, which workers never lock. Its number of slots changes by draining: no slot is given
-- a chunk that none has had yet, and once all stand at the same chunk, new slots take over there.

CREATE FUNCTION millrace._make_slots(c millrace.consumer, wanted integer, after bigint) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO millrace.consumer (pipeline_id, stream, layer, aggregate_id, name, mode, parent_id, slot, slots, key, claim, lease, max_attempts, backoff, max_backoff,
                                   on_poison, state, acked_through, purged_through, epoch, replay_no, until_chunk, blocks, backfills, created_by)
    SELECT c.pipeline_id, c.stream, c.layer, c.aggregate_id, c.name, 'ordered', c.id, n, wanted, c.key, c.claim, c.lease, c.max_attempts, c.backoff, c.max_backoff,
           c.on_poison, c.state, after, after, c.epoch, c.replay_no, c.until_chunk, c.blocks, c.backfills, c.created_by
    FROM pg_catalog.generate_series(1, wanted) n
$$;
COMMENT ON FUNCTION millrace._make_slots(millrace.consumer, integer, bigint) IS 'Internal. The slots of a keyed consumer, standing after a chunk.';
REVOKE ALL ON FUNCTION millrace._make_slots(millrace.consumer, integer, bigint) FROM PUBLIC;

CREATE FUNCTION millrace._slot_to_answer(c millrace.consumer, chunk_no bigint, token uuid) RETURNS millrace.consumer
LANGUAGE plpgsql
AS $$
DECLARE
    me   constant text := CASE WHEN token IS NULL THEN millrace._this_session() END;
    slot millrace.consumer;
BEGIN
    PERFORM millrace._refuse_null('chunk_no', chunk_no IS NULL);
    -- Whose token it is; else, for the error that follows, whoever has the chunk.
    SELECT k.* INTO slot FROM millrace.consumer k LEFT JOIN millrace.delivery d ON d.consumer_id = k.id AND d.chunk_no = _slot_to_answer.chunk_no
    WHERE k.parent_id = c.id
    ORDER BY (d.token = _slot_to_answer.token OR d.acked_token = _slot_to_answer.token OR d.session = me) IS TRUE DESC,
             (d.state = 'leased') IS TRUE DESC, d.chunk_no IS NULL, k.id LIMIT 1;
    -- Its token is looked at again under the lock, by _leased.
    SELECT k.* INTO slot FROM millrace.consumer k WHERE k.id = slot.id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM millrace._no_such_consumer(c.stream, c.name);
    END IF;
    RETURN slot;
END
$$;
COMMENT ON FUNCTION millrace._slot_to_answer(millrace.consumer, bigint, uuid) IS
    'Internal. The slot of a keyed consumer that a token (NULL: this session) answers for, locked.';
REVOKE ALL ON FUNCTION millrace._slot_to_answer(millrace.consumer, bigint, uuid) FROM PUBLIC;

CREATE FUNCTION millrace._cut_over(parent integer) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    c     millrace.consumer;
    slot  millrace.consumer;
    drain bigint;
BEGIN
    SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = parent AND k.next_slots IS NOT NULL FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR slot IN SELECT k.* FROM millrace.consumer k WHERE k.parent_id = c.id ORDER BY k.id FOR UPDATE LOOP
        CONTINUE WHEN slot.retired;
        drain := slot.until_chunk;
        IF slot.state <> 'active' OR (millrace._ordered_choice(slot, '')).action IS NOT NULL
           OR EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = slot.id AND d.state IN ('leased', 'retry_wait', 'pending')) THEN
            RETURN false;
        END IF;
    END LOOP;
    -- What is dead stays with the slot that it died in, so that it can be redriven.
    DELETE FROM millrace.consumer k WHERE k.parent_id = c.id
       AND NOT EXISTS (SELECT FROM millrace.delivery d WHERE d.consumer_id = k.id AND d.state IN ('dead', 'leased', 'retry_wait', 'pending'))
       AND NOT EXISTS (SELECT FROM millrace.dead_part p WHERE p.consumer_id = k.id)
       AND NOT EXISTS (SELECT FROM millrace.rejected_row r WHERE r.consumer_id = k.id);
    UPDATE millrace.consumer k SET retired = true, acked_through = greatest(k.acked_through, drain) WHERE k.parent_id = c.id;
    PERFORM millrace._make_slots(c, c.next_slots, drain);
    UPDATE millrace.consumer k SET slots = c.next_slots, next_slots = NULL WHERE k.id = c.id;
    PERFORM millrace._note(c, 'consumer_slots', 'consumer has a new number of slots', pg_catalog.jsonb_build_object('from', c.slots, 'to', c.next_slots, 'after', drain));
    RETURN true;
END
$$;
COMMENT ON FUNCTION millrace._cut_over(integer) IS
    'Internal. Gives a keyed consumer its new number of slots, if all of the old ones stand at the chunk where they drain to; true if that is done.';
REVOKE ALL ON FUNCTION millrace._cut_over(integer) FROM PUBLIC;

CREATE FUNCTION millrace._keyed_claim(
    c             millrace.consumer,
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
    slot    millrace.consumer;
    claim   record;
    stopped millrace.consumer;
BEGIN
    halted := false;
    -- One's own first; then whoever has waited longest, so that few workers still serve many slots.
    FOR slot IN
        SELECT k.* FROM millrace.consumer k WHERE k.parent_id = c.id AND (k.holder IS NULL OR k.holder = me OR k.state = 'halted'
            OR EXISTS (SELECT FROM millrace.delivery u WHERE u.consumer_id = k.id AND u.chunk_no > k.acked_through AND u.state = 'leased' AND u.lease_until <= pg_catalog.clock_timestamp())
            OR k.redriven > 0)
        ORDER BY (k.holder = me) IS TRUE DESC, k.last_seen NULLS FIRST, k.id
    LOOP
        IF slot.state = 'halted' THEN
            stopped := slot;
            CONTINUE;
        END IF;
        claim := millrace._claim(slot, me, session, lease);
        halted := halted OR coalesce(claim.halted, false);
        d := claim.d;
        IF d.chunk_no IS NOT NULL THEN
            row_count := claim.row_count;
            sealed_at := claim.sealed_at;
            RETURN;
        END IF;
    END LOOP;
    IF c.next_slots IS NOT NULL AND millrace._cut_over(c.id) THEN
        SELECT k.* INTO c FROM millrace.consumer k WHERE k.id = c.id;
        claim := millrace._keyed_claim(c, me, session, lease);
        row_count := claim.row_count;
        sealed_at := claim.sealed_at;
        d := claim.d;
        halted := claim.halted;
    ELSIF stopped.id IS NOT NULL AND NOT halted THEN
        PERFORM millrace._refuse_halted(stopped);
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._keyed_claim(millrace.consumer, text, text, interval) IS
    'Internal. As _claim, for a keyed consumer: leases the next chunk of one of its slots. Slots that are halted hold up no other; only where nothing else is left they raise MR004.';
REVOKE ALL ON FUNCTION millrace._keyed_claim(millrace.consumer, text, text, interval) FROM PUBLIC;
