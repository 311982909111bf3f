-- Workers of a pool that are slow, give up and die at random.
SELECT mill_test.make_pipeline('stress');
SELECT millrace.create_consumer('stress', 'c', mode => 'pool', max_in_flight => :workers - 4, lease => '3 seconds', max_attempts => 1000000,
                                backoff => '5 milliseconds', max_backoff => '20 milliseconds');
CREATE TABLE mill_test.done (id bigint GENERATED ALWAYS AS IDENTITY, chunk_no bigint, rows bigint, pid integer DEFAULT pg_backend_pid());
CREATE TABLE mill_test.lost (pid integer DEFAULT pg_backend_pid(), code text);
CREATE TABLE mill_test.seen (over boolean, most_leased bigint, longest_wait interval, hold double precision);
INSERT INTO mill_test.seen VALUES (false, 0, '0', :hold);
SELECT mill_test.seal('stress', n % 5, 1) FROM generate_series(1, :chunks / 2) n;

CREATE PROCEDURE mill_test.load(chunks integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN chunks / 2 + 1..chunks LOOP
        PERFORM mill_test.seal('stress', n % 5 + 1, 1);
        COMMIT;
    END LOOP;
END
$$;

-- Only locks of the consumers' own are of interest, not the loader's. A wait is timed from the look that first finds it: what pg_locks says
-- it began at may be left of an earlier wait, for ProcWakeup (proc.c, 14 to 17) clears that of the process that wakes, not of the one woken.
-- But it tells one wait from the next, where a worker comes to wait for the same lock again.
CREATE PROCEDURE mill_test.watch() LANGUAGE plpgsql AS $$
DECLARE
    waits jsonb := '{}';
    look  double precision;
BEGIN
    WHILE NOT (SELECT over FROM mill_test.seen) LOOP
        look := EXTRACT(epoch FROM clock_timestamp());
        waits := (SELECT coalesce(jsonb_object_agg(w.what, coalesce(waits -> w.what, to_jsonb(look))), '{}')
                  FROM (SELECT DISTINCT concat_ws(' ', l.pid, l.locktype, l.relation, l.page, l.tuple, l.transactionid, l.classid, l.objid, l.waitstart) AS what
                        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                        WHERE NOT l.granted AND l.locktype IN ('transactionid', 'tuple', 'advisory') AND a.application_name = 'mill_worker' AND a.datname = current_database()) w);
        UPDATE mill_test.seen SET
            most_leased = greatest(most_leased, (SELECT count(*) FROM millrace.delivery WHERE state = 'leased')),
            longest_wait = greatest(longest_wait, (SELECT max(look - began.value::double precision) FROM jsonb_each_text(waits) began) * interval '1 second');
        COMMIT;
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;

CREATE PROCEDURE mill_test.work(last_chunk bigint) LANGUAGE plpgsql AS $$
DECLARE
    k record;
BEGIN
    LOOP
        SELECT * INTO k FROM millrace.next_chunk('stress', 'c');
        -- Now and then all in one transaction. Not after a takeover: who has lost the lease waits to know.
        IF random() < 0.8 OR k.redelivered THEN
            COMMIT;
        END IF;
        IF k.chunk_no IS NULL THEN
            EXIT WHEN (SELECT acked_through >= last_chunk FROM millrace.consumers WHERE stream = 'stress' AND consumer = 'c');
            PERFORM pg_sleep(0.01);
        ELSIF k.chunk_no % 50 = 13 AND k.attempt = 1 THEN
            -- This worker dies of its chunk: another takes it over, once the lease has run out.
            COMMIT;
            PERFORM pg_terminate_backend(pg_backend_pid());
        ELSE
            BEGIN
                IF random() < 0.05 THEN
                    PERFORM millrace.nack('stress', 'c', k.chunk_no, k.token, reason => 'at random');
                ELSE
                    INSERT INTO mill_test.done (chunk_no, rows)
                    SELECT k.chunk_no, count(*) FROM millrace.chunk_rows(NULL::mill_test.stress, k.chunk_no);
                    -- Some are slow, a few too slow.
                    IF random() < 0.05 THEN
                        PERFORM pg_sleep(random() * 0.5 + CASE WHEN random() < 0.1 THEN 3 ELSE 0 END);
                    END IF;
                    PERFORM millrace.ack('stress', 'c', k.chunk_no, k.token);
                    -- A transaction that stays open after its ack holds up nobody.
                    IF NOT k.redelivered AND (random() < 0.02 OR k.chunk_no % 50 = 7) THEN
                        PERFORM pg_sleep((SELECT hold FROM mill_test.seen));
                    END IF;
                END IF;
            EXCEPTION WHEN SQLSTATE 'MR001' OR SQLSTATE 'MR002' THEN
                INSERT INTO mill_test.lost (code) VALUES (SQLSTATE);
            END;
            COMMIT;
        END IF;
    END LOOP;
END
$$;
