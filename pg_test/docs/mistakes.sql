-- Mistakes that people make while they follow the quickstart. Each must raise an error with a HINT that gets them on. psql variable: dir (a
-- directory of the server with landing files in landing/). In a database with the extension and nothing else.
CREATE SCHEMA staging;
CREATE TABLE staging.other (id int);
DO $$ BEGIN CREATE ROLE mr_newcomer LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT millrace_admin TO mr_newcomer;
GRANT ALL ON SCHEMA staging TO mr_newcomer;
SELECT set_config('mistakes.dir', :'dir', false) AS dir \gset
SELECT millrace.simulate('transactions', 'file://' || :'dir' || '/landing', rows_per_file => 20, files => 2, seed => 1);
SELECT millrace.create_pipeline('good', source => 'file://' || :'dir' || '/landing/*.csv', columns => 'merchant text, amount numeric, gender text, customer text',
    staging => 'staging.good', every => NULL);
CALL millrace.run('good');
SELECT millrace.create_aggregate('good', 'good_stats', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant');
SELECT millrace.add_expectation('good', 'positive', 'amount > 0');
SELECT millrace.create_consumer('good', 'billing', start_at => 'earliest');
SELECT chunk_no FROM millrace.next_chunk('good', 'billing', worker => 'one');

CREATE TABLE public.mistakes (n int GENERATED ALWAYS AS IDENTITY, who text DEFAULT 'postgres', what text);
INSERT INTO public.mistakes (what) SELECT replace(line, '@', current_setting('mistakes.dir')) FROM unnest(ARRAY[
-- where files are
$$SELECT * FROM millrace.simulate('transactions', '@/landing')$$,
$$SELECT * FROM millrace.simulate('transactions', 'file://srv/landing')$$,
$$SELECT * FROM millrace.simulate('transactions', 'file:///proc/landing')$$,
$$SELECT * FROM millrace.simulate('transaction', 'file://@/landing')$$,
$$SELECT * FROM millrace.simulate('transactions', 'file://@/landing', options => '{"bad": 1}')$$,
$$SELECT * FROM millrace.simulate('transactions', 'file://@/landing', files => -1)$$,
$$SELECT * FROM millrace.list('@/landing')$$,
$$SELECT * FROM millrace.list('file://@/nowhere')$$,
$$SELECT * FROM millrace.list('ftp://host/landing')$$,
$$SELECT * FROM millrace.list('abfss://landing@acme.dfs.core.windows.net/')$$,
$$SELECT * FROM millrace.describe('file://@/landing/*.txt')$$,
$$SELECT * FROM millrace.simulate('transactions', 'file://@/closed')$$,
$$SELECT * FROM millrace.list('file://@/closed')$$,
$$SELECT * FROM millrace.peek('file://@/landing/*.csv', limit_rows => -1)$$,
$$SELECT * FROM millrace.peek('file://@/nowhere/*.csv')$$,
-- the pipeline
$$SELECT millrace.create_pipeline('p', source => '@/landing/*.csv', staging => 'staging.p')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/nowhere/*.csv', staging => 'staging.p')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'p', columns => 'a txt')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text b text')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.other', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', every => '-1 second')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', format => 'xml')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', options => '{"setle": 0}')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', options => '{"settle": "soon"}')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', raw => '@/raw')$$,
$$SELECT millrace.create_pipeline('good', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.good', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text')$$,
$$SELECT millrace.create_pipeline(NULL, source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/closed/*.csv', staging => 'staging.p', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', raw => 'file://@/landing')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text', raw => 'file://@/closed/raw')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.good_rejects', columns => 'a text')$$,
$$SELECT millrace.create_pipeline('p', sorce => 'file://@/landing/*.csv', staging => 'staging.p')$$,
$$SELECT millrace.run('good')$$,
$$CALL millrace.run('goood')$$,
$$SELECT millrace.pause('goood')$$,
$$SELECT millrace.drop_pipeline('goood')$$,
$$SELECT * FROM millrace.watch('goood')$$,
$$SELECT * FROM millrace.verify('goood')$$,
$$SELECT millrace.alter_pipeline('good', options => '{"evry": 1}')$$,
-- the aggregate
$$SELECT millrace.create_aggregate('goood', 's', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 'good_stats', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.other GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.good')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, amount FROM staging.good')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) FROM staging.good GROUP BY merchant; SELECT 1')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELEC merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchan, count(*) AS n FROM staging.good GROUP BY merchan')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant ORDER BY n LIMIT 3')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant', publish => '@/published')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM good GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, avg(merchant) AS n FROM staging.good GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, max(a) AS n FROM staging.good GROUP BY merchant')$$,
$$SELECT millrace.create_aggregate('good', 's', '')$$,
$$SELECT millrace.create_aggregate('good', 's', NULL)$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant', publish => 'file://@/closed/s')$$,
$$SELECT millrace.drop_aggregate('good', 'stats')$$,
-- expectations
$$SELECT millrace.add_expectation('good', 'positive', 'amount > 0')$$,
$$SELECT millrace.add_expectation('good', 'no column', 'amout > 0')$$,
$$SELECT millrace.add_expectation('good', 'no condition', 'amount')$$,
$$SELECT millrace.add_expectation('good', 'what then', 'amount > 0', on_violation => 'ignore')$$,
-- the consumer
$$SELECT millrace.create_consumer('goood', 'c')$$,
$$SELECT millrace.create_consumer('good', 'billing')$$,
$$SELECT millrace.create_consumer('good', 'c', start_at => 'beginning')$$,
$$SELECT millrace.create_consumer('good', 'c', mode => 'parallel')$$,
$$SELECT * FROM millrace.next_chunk('good', 'biling')$$,
$$SELECT * FROM millrace.next_chunk('goood', 'billing')$$,
$$SELECT * FROM millrace.next_chunk('good', NULL)$$,
$$SELECT * FROM millrace.next_chunk('good.rejcts', 'billing')$$,
$$SELECT millrace.create_consumer('good', '')$$,
$$SELECT millrace.create_consumer('good', 'c', start_at => '12')$$,
$$SELECT millrace.drop_consumer('good', 'biling')$$,
$$SELECT * FROM millrace.wait_for_chunk('good', 'billing')$$,
$$CALL millrace.wait_for_chunk('good', 'biling', '1 second')$$,
$$SELECT millrace.ack('good', 'billing', 7)$$,
$$SELECT millrace.ack('good', 'biling', 1)$$,
$$SELECT millrace.ack('good', 'billing', 1, gen_random_uuid())$$,
$$SELECT * FROM millrace.chunk_rows(NULL::staging.other, 1)$$
]) AS line;
-- Who may define pipelines, but not read the server's files.
INSERT INTO public.mistakes (who, what) SELECT 'mr_newcomer', replace(line, '@', current_setting('mistakes.dir')) FROM unnest(ARRAY[
$$SELECT * FROM millrace.simulate('transactions', 'file://@/landing')$$,
$$SELECT * FROM millrace.list('file://@/landing')$$,
$$SELECT millrace.create_pipeline('p', source => 'file://@/landing/*.csv', staging => 'staging.p', columns => 'a text')$$,
$$SELECT millrace.pause('good')$$,
$$SELECT millrace.create_aggregate('good', 's', 'SELECT merchant, count(*) AS n FROM staging.good GROUP BY merchant')$$
]) AS line;

CREATE TEMP TABLE answers (n int, what text, state text, message text, hint text);
DO $$
DECLARE
    mistake record;
    state   text;
    message text;
    hint    text;
BEGIN
    FOR mistake IN SELECT * FROM public.mistakes ORDER BY n LOOP
        state := NULL; message := NULL; hint := NULL;
        BEGIN
            EXECUTE format('SET LOCAL ROLE %I', mistake.who);
            EXECUTE mistake.what;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
        END;
        RESET ROLE;
        INSERT INTO answers VALUES (mistake.n, mistake.what, coalesce(state, 'none'), message, hint);
    END LOOP;
END
$$;
\o
SELECT format('%s %s: %s%s', state, message, CASE WHEN state = 'none' THEN 'no error' ELSE 'no hint' END) AS answer, what
  FROM answers WHERE state = 'none' OR coalesce(hint, '') = '' ORDER BY n;
SELECT count(*) = 0 AS all_hinted FROM answers WHERE state = 'none' OR coalesce(hint, '') = '' \gset
\if :all_hinted
\else
DO $$ BEGIN RAISE 'a newcomer''s mistake is left without a hint'; END $$;
\endif
