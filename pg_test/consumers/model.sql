-- Random walks of eight workers over an ordered consumer and two pools, against a small model: who holds which chunk by which
-- token, and what is closed. STEPS (psql variable steps) in all; the seed is printed, and may be given as a psql variable.
\set ON_ERROR_STOP on
\if :{?seed} \else
SELECT (random() * 1000000)::int AS seed \gset
\endif
\echo model: seed :seed, steps :steps
-- A stream that is new, with its consumers: every few thousand steps, for looking all of a long history over would cost more than the walk.
CREATE FUNCTION mill_test.fresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM millrace.pipeline p WHERE p.name = 'model') THEN
        PERFORM mill_test.forget('model');
        DELETE FROM mill_test.held;
        DELETE FROM mill_test.old_token;
    END IF;
    PERFORM mill_test.make_pipeline('model');
    PERFORM millrace.create_consumer('model', 'ordered', max_attempts => 3);
    PERFORM millrace.create_consumer('model', 'pool', mode => 'pool', max_in_flight => 4, max_attempts => 3);
    PERFORM millrace.create_consumer('model.rejects', 'pool', mode => 'pool', max_in_flight => 7, max_attempts => 1000000);
END
$$;

-- state: leased (late: its lease has run out), open (given back, failed or redriven), closed. turn: counts seeks and redrives; acks within it.
CREATE TABLE mill_test.held (
    stream text, consumer text, chunk_no bigint, state text, late boolean DEFAULT false, token uuid, worker text, attempt integer,
    acks integer DEFAULT 0, PRIMARY KEY (stream, consumer, chunk_no)
);
CREATE VIEW mill_test.model_chunk AS SELECT n.* FROM millrace.chunk n JOIN millrace.pipeline p ON p.id = n.pipeline_id WHERE p.name = 'model';
CREATE TABLE mill_test.old_token (stream text, consumer text, chunk_no bigint, token uuid, n bigint GENERATED ALWAYS AS IDENTITY);

CREATE FUNCTION mill_test.code_of(answer text, s text, c text, chunk_no bigint, token uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    EXECUTE format('SELECT millrace.%I($1, $2, $3, $4)::text', answer) INTO said USING s, c, chunk_no, token;
    RETURN said;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

CREATE PROCEDURE mill_test.walk(steps integer) LANGUAGE plpgsql AS $$
DECLARE
    target  record;
    m       mill_test.held;
    k       record;
    me      text;
    dice    double precision;
    said    text;
    most    integer;
    leased  integer;
    open    bigint;
    through bigint;
    counts  integer[] := '{0,0,0,0,0,0,0,0}';
BEGIN
    FOR step IN 1..steps LOOP
        SELECT c.stream, c.name AS consumer, c.mode, c.max_in_flight, c.max_attempts, c.id, c.layer INTO target
        FROM millrace.consumer c WHERE c.state = 'active' AND c.stream LIKE 'model%' ORDER BY random() LIMIT 1;
        me := 'w' || (random() * 7)::int;
        dice := random();
        SELECT * INTO m FROM mill_test.held x WHERE (x.stream, x.consumer) = (target.stream, target.consumer) AND x.state = 'leased' ORDER BY random() LIMIT 1;

        IF dice < 0.15 THEN
            PERFORM mill_test.seal('model', (random() * 2)::int, (random() * 2)::int);
        ELSIF dice < 0.50 THEN
            SELECT * INTO k FROM millrace.next_chunk(target.stream, target.consumer, worker => me);
            SELECT count(*) INTO leased FROM mill_test.held x WHERE (x.stream, x.consumer) = (target.stream, target.consumer) AND x.state = 'leased' AND NOT x.late;
            -- Leases that ran out at the last attempt are poison, as a call found out.
            UPDATE mill_test.held x SET state = 'closed' FROM millrace.delivery d
            WHERE d.consumer_id = target.id AND d.chunk_no = x.chunk_no AND (x.stream, x.consumer) = (target.stream, target.consumer)
              AND d.state = 'dead' AND x.state = 'leased' AND x.late AND x.attempt = target.max_attempts;
            IF k.chunk_no IS NULL THEN
                -- Nothing only for a reason: a pool is full, ordered has one out, or there is nothing open.
                ASSERT NOT EXISTS (SELECT FROM mill_test.held x WHERE (x.stream, x.consumer, x.worker, x.state) = (target.stream, target.consumer, me, 'leased')), 'a holder got nothing';
                SELECT count(*) INTO open FROM mill_test.model_chunk n LEFT JOIN mill_test.held x ON (x.stream, x.consumer, x.chunk_no) = (target.stream, target.consumer, n.chunk_no)
                WHERE CASE target.layer WHEN 'rows' THEN n.row_count ELSE n.reject_count END > 0 AND (x.state IS NULL OR x.state = 'open' OR x.state = 'leased' AND x.late);
                ASSERT leased >= target.max_in_flight OR open = 0, format('nothing for %s of %s, though %s are open', me, target, open);
            ELSE
                counts[1] := counts[1] + 1;
                SELECT * INTO m FROM mill_test.held x WHERE (x.stream, x.consumer, x.chunk_no) = (target.stream, target.consumer, k.chunk_no);
                ASSERT m.state IS DISTINCT FROM 'closed', 'a closed chunk was handed out';
                ASSERT m.state IS DISTINCT FROM 'leased' OR m.late OR m.worker = me, 'a chunk in work was handed out';
                IF m.state = 'leased' AND m.worker = me THEN
                    ASSERT k.token = m.token AND k.attempt = m.attempt + m.late::int, 'one''s own again';
                ELSE
                    ASSERT k.token IS DISTINCT FROM m.token AND k.attempt = coalesce(m.attempt, 0) + 1, format('%s after %s', k, m);
                    ASSERT leased < target.max_in_flight, 'too many out';
                    IF m.token IS NOT NULL THEN
                        counts[2] := counts[2] + 1;
                        INSERT INTO mill_test.old_token VALUES (target.stream, target.consumer, k.chunk_no, m.token);
                    END IF;
                END IF;
                INSERT INTO mill_test.held VALUES (target.stream, target.consumer, k.chunk_no, 'leased', false, k.token, me, k.attempt)
                ON CONFLICT ON CONSTRAINT held_pkey DO UPDATE SET state = 'leased', late = false, token = k.token, worker = me, attempt = k.attempt;
            END IF;
        ELSIF dice < 0.80 AND m.token IS NOT NULL THEN
            said := CASE WHEN dice < 0.68 THEN 'ack' WHEN dice < 0.74 THEN 'nack' WHEN dice < 0.77 THEN 'release' ELSE 'extend' END;
            k := NULL;
            IF said = 'nack' THEN
                said := millrace.nack(target.stream, target.consumer, m.chunk_no, m.token, delay => '0');
                ASSERT said = CASE WHEN m.attempt >= target.max_attempts THEN 'dead' ELSE 'retry_wait' END, said;
                UPDATE mill_test.held x SET state = CASE said WHEN 'dead' THEN 'closed' ELSE 'open' END WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
                counts[3] := counts[3] + 1;
            ELSIF said = 'ack' THEN
                ASSERT millrace.ack(target.stream, target.consumer, m.chunk_no, m.token) = 'acked', 'a good token acks, late or not';
                ASSERT millrace.ack(target.stream, target.consumer, m.chunk_no, m.token) = 'already_acked';
                UPDATE mill_test.held x SET state = 'closed', acks = x.acks + 1 WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
                counts[4] := counts[4] + 1;
            ELSIF said = 'release' THEN
                PERFORM millrace.release(target.stream, target.consumer, m.chunk_no, m.token);
                UPDATE mill_test.held x SET state = 'open', attempt = x.attempt - 1 WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
            ELSE
                PERFORM millrace.extend(target.stream, target.consumer, m.chunk_no, m.token);
                UPDATE mill_test.held x SET late = false WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
            END IF;
        ELSIF dice < 0.88 AND m.token IS NOT NULL THEN
            -- A lease runs out: its worker died, or the clock jumped.
            UPDATE millrace.delivery d SET lease_until = now() - interval '1 hour' WHERE d.consumer_id = target.id AND d.chunk_no = m.chunk_no;
            UPDATE mill_test.held x SET late = true WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
        ELSIF dice < 0.95 THEN
            -- A worker that has lost its lease, however long ago, gets nothing but an error.
            SELECT * INTO k FROM (SELECT * FROM mill_test.old_token o WHERE (o.stream, o.consumer) = (target.stream, target.consumer) ORDER BY o.n DESC LIMIT 30) o ORDER BY random() LIMIT 1;
            IF FOUND THEN
                said := mill_test.code_of((ARRAY['ack', 'nack', 'release', 'extend'])[1 + (random() * 3)::int], target.stream, target.consumer, k.chunk_no, k.token);
                ASSERT said IN ('MR001', 'MR002'), 'a stale token: ' || said;
                counts[5] := counts[5] + 1;
            END IF;
        ELSIF dice < 0.97 THEN
            SELECT d.chunk_no INTO open FROM millrace.delivery d WHERE d.consumer_id = target.id AND d.state = 'dead' ORDER BY random() LIMIT 1;
            IF FOUND THEN
                PERFORM millrace.redrive(target.stream, target.consumer, open);
                UPDATE mill_test.held x SET state = 'open', attempt = 0, acks = 0 WHERE (x.stream, x.consumer, x.chunk_no) = (target.stream, target.consumer, open);
                counts[6] := counts[6] + 1;
            END IF;
        ELSIF dice < 0.99 AND m.token IS NOT NULL THEN
            PERFORM millrace.skip(target.stream, target.consumer, m.chunk_no, 'at random');
            INSERT INTO mill_test.old_token VALUES (m.stream, m.consumer, m.chunk_no, m.token);
            UPDATE mill_test.held x SET state = 'closed' WHERE (x.stream, x.consumer, x.chunk_no) = (m.stream, m.consumer, m.chunk_no);
            counts[7] := counts[7] + 1;
        ELSIF dice > 0.998 THEN
            -- Back a little; what was open and redriven before the target goes on as it was, but without its lease.
            SELECT greatest(p.head - (random() * 20)::int, 0) INTO open FROM millrace.position p JOIN millrace.pipeline l ON l.id = p.pipeline_id WHERE l.name = 'model';
            INSERT INTO mill_test.old_token
            SELECT x.stream, x.consumer, x.chunk_no, x.token FROM mill_test.held x
            WHERE (x.stream, x.consumer) = (target.stream, target.consumer) AND (x.chunk_no > open OR x.state = 'leased') AND x.token IS NOT NULL;
            through := (SELECT c.acked_through FROM millrace.consumer c WHERE c.id = target.id);
            PERFORM millrace.seek(target.stream, target.consumer, open + 1, force => true);
            DELETE FROM mill_test.held x WHERE (x.stream, x.consumer) = (target.stream, target.consumer) AND x.chunk_no > open;
            -- Jumped over: closed by the operator's word.
            INSERT INTO mill_test.held (stream, consumer, chunk_no, state)
            SELECT target.stream, target.consumer, n.chunk_no, 'closed' FROM mill_test.model_chunk n WHERE n.chunk_no <= open
            ON CONFLICT ON CONSTRAINT held_pkey DO UPDATE
            SET state = CASE WHEN held.chunk_no <= through AND held.state <> 'closed' THEN 'open' ELSE 'closed' END, late = false;
            counts[8] := counts[8] + 1;
        END IF;

        -- The position is where the model has it: before the first chunk that is not closed, but for those redriven.
        IF step % 10 = 0 THEN
            SELECT max(x.acks) INTO most FROM mill_test.held x;
            ASSERT coalesce(most, 0) <= 1, 'committed twice';
            SELECT c.acked_through INTO through FROM millrace.consumer c WHERE c.id = target.id;
            SELECT min(n.chunk_no) INTO open FROM mill_test.model_chunk n LEFT JOIN mill_test.held x ON (x.stream, x.consumer, x.chunk_no) = (target.stream, target.consumer, n.chunk_no)
            WHERE CASE target.layer WHEN 'rows' THEN n.row_count ELSE n.reject_count END > 0 AND n.chunk_no > through AND x.state IS DISTINCT FROM 'closed';
            ASSERT (SELECT v.acked_through FROM millrace.consumers v WHERE (v.stream, v.consumer) = (target.stream, target.consumer))
                 = coalesce(open - 1, (SELECT v.head FROM millrace.consumers v WHERE (v.stream, v.consumer) = (target.stream, target.consumer))), 'the position';
            ASSERT target.mode = 'ordered' OR (SELECT count(*) = (SELECT count(*) FROM mill_test.held x WHERE (x.stream, x.consumer, x.state) = (target.stream, target.consumer, 'leased'))
                   FROM millrace.delivery d WHERE d.consumer_id = target.id AND d.state = 'leased'), 'as many out as the model has';
        END IF;
        IF step % 2500 = 0 THEN
            PERFORM mill_test.fresh();
        END IF;
        IF step % 500 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
    RAISE NOTICE 'model: % handed out, % of them anew, % nacks, % acks, % stale answers refused, % redrives, % skips, % seeks',
        counts[1], counts[2], counts[3], counts[4], counts[5], counts[6], counts[7], counts[8];
END
$$;
SELECT mill_test.fresh();
SELECT setseed(:seed / 1000000.0);
CALL mill_test.walk(:steps);
