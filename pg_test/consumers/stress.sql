-- Workers that are slow, give up and die at random; what they commit must be every chunk once, in order.
SELECT mill_test.make_pipeline('stress');
SELECT millrace.create_consumer('stress', 'c', lease => '40 milliseconds', max_attempts => 1000000, backoff => '5 milliseconds', max_backoff => '20 milliseconds');
CREATE TABLE mill_test.done (id bigint GENERATED ALWAYS AS IDENTITY, chunk_no bigint, rows bigint, pid integer DEFAULT pg_backend_pid());
CREATE TABLE mill_test.lost (pid integer DEFAULT pg_backend_pid(), code text);

CREATE PROCEDURE mill_test.load(chunks integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..chunks LOOP
        -- Some chunks hold rejects alone.
        PERFORM mill_test.seal('stress', CASE WHEN n % 7 = 0 THEN 0 ELSE n % 5 + 1 END, 1);
        COMMIT;
        PERFORM pg_sleep(random() * 0.02);
    END LOOP;
END
$$;

CREATE PROCEDURE mill_test.work(last_chunk bigint) LANGUAGE plpgsql AS $$
DECLARE
    k record;
BEGIN
    LOOP
        SELECT * INTO k FROM millrace.next_chunk('stress', 'c');
        COMMIT;
        IF k.chunk_no IS NULL THEN
            EXIT WHEN (SELECT acked_through >= last_chunk FROM millrace.consumers WHERE stream = 'stress' AND consumer = 'c');
            PERFORM pg_sleep(0.003);
        ELSE
            BEGIN
                IF random() < 0.1 THEN
                    PERFORM millrace.nack('stress', 'c', k.chunk_no, k.token, reason => 'at random');
                ELSE
                    INSERT INTO mill_test.done (chunk_no, rows)
                    SELECT k.chunk_no, count(*) FROM millrace.chunk_rows(NULL::mill_test.stress, k.chunk_no);
                    IF random() < 0.2 THEN
                        PERFORM pg_sleep(random() * 0.15);
                    END IF;
                    PERFORM millrace.ack('stress', 'c', k.chunk_no, k.token);
                END IF;
            EXCEPTION WHEN SQLSTATE 'MR001' OR SQLSTATE 'MR002' THEN
                INSERT INTO mill_test.lost (code) VALUES (SQLSTATE);
            END;
            COMMIT;
        END IF;
    END LOOP;
END
$$;
