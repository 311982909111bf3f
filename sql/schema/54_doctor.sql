-- Checks of the server and of every pipeline, each with what to change. Run with the caller's rights; changes nothing.

CREATE FUNCTION millrace.machine_facts()
RETURNS TABLE (memory_bytes bigint, disk_bytes bigint, disk_free_bytes bigint, launcher_pid integer)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'machine_facts_wrapper';
COMMENT ON FUNCTION millrace.machine_facts() IS
'Memory of the machine, size and free space of the disk of the data directory, and the process of the launcher, if one runs. NULL = not known.';

CREATE FUNCTION millrace.check_locations(pipeline text)
RETURNS TABLE (layer text, location text, ok boolean, found text, hint text, newest timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'check_locations_wrapper';
COMMENT ON FUNCTION millrace.check_locations(text) IS
'Looks at the source and at each layer of a pipeline with its owner''s credentials: whether it answers, what is there, and else why not and what to do.
pipeline: its name; for its owner. newest: last change of the newest landing file. Asks the storage; gives up after millrace.network_timeout.';

CREATE FUNCTION millrace.doctor()
RETURNS TABLE (status text, check_name text, subject text, finding text, advice text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    preloaded boolean := millrace.preloaded();
    machine   record;
    p         record;
    item      record;
    ticking   bigint;
    by_run    bigint;
    needed    bigint;
    others    bigint;
    jobs      bigint;
    staging   regclass;
    rejects   regclass;
    hidden    boolean;
BEGIN
    SELECT * INTO machine FROM millrace.machine_facts();
    SELECT count(*) FILTER (WHERE v.every IS NOT NULL), count(*) FILTER (WHERE v.every IS NULL) INTO ticking, by_run
      FROM millrace.pipelines v WHERE v.state = 'active';

    -- The server.
    check_name := 'version'; subject := 'server';
    finding := format('extension %s, library %s', (SELECT extversion FROM pg_extension WHERE extname = 'pg_millrace'), millrace.library_version());
    status := CASE WHEN (SELECT extversion FROM pg_extension WHERE extname = 'pg_millrace') = millrace.library_version() THEN 'ok' ELSE 'error' END;
    advice := CASE WHEN status <> 'ok' THEN 'ALTER EXTENSION pg_millrace UPDATE; if the library is the older one, restart the server.' END;
    RETURN NEXT;

    check_name := 'preload';
    status := CASE WHEN preloaded THEN 'ok' WHEN ticking > 0 THEN 'error' ELSE 'notice' END;
    finding := CASE WHEN preloaded THEN 'in shared_preload_libraries' ELSE format('not preloaded: no background workers; %s pipelines wait for one', ticking) END;
    advice := CASE WHEN NOT preloaded THEN 'Add pg_millrace to shared_preload_libraries and restart; or CALL millrace.run(…) from pg_cron or any client, which does the same work.' END;
    RETURN NEXT;

    check_name := 'role in replication';
    status := CASE WHEN pg_is_in_recovery() THEN 'warning' ELSE 'ok' END;
    finding := CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END;
    advice := CASE WHEN pg_is_in_recovery() THEN 'Pipelines and consumers move on the primary alone; here everything can be read.' END;
    RETURN NEXT;

    IF preloaded THEN
        check_name := 'launcher';
        status := CASE WHEN machine.launcher_pid IS NOT NULL OR pg_is_in_recovery() THEN 'ok' ELSE 'error' END;
        finding := coalesce('process ' || machine.launcher_pid, 'not running');
        advice := CASE WHEN status <> 'ok' THEN 'Look into the server log for pg_millrace; max_worker_processes may be used up at start.' END;
        RETURN NEXT;

        check_name := 'max_worker_processes';
        needed := 2 + ticking;
        IF pg_has_role('pg_read_all_stats', 'USAGE') THEN
            SELECT count(*) INTO others FROM pg_stat_activity a
             WHERE a.backend_type NOT LIKE 'pg_millrace %'
               AND a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer',
                                          'startup', 'walreceiver', 'walsender', 'walwriter', 'archiver', 'parallel worker', 'logger', 'standalone backend', 'slotsync worker', 'walsummarizer', 'io worker');
        ELSE
            others := 1;
        END IF;
        status := CASE WHEN current_setting('max_worker_processes')::bigint < needed + others THEN 'error' ELSE 'ok' END;
        finding := format('%s; this database needs %s, others use %s', current_setting('max_worker_processes'), needed, others);
        advice := CASE WHEN status <> 'ok' THEN format('Set max_worker_processes to at least %s, plus what parallel queries are to have, and restart.', needed + others) END;
        RETURN NEXT;

        check_name := 'millrace.max_workers';
        status := CASE WHEN current_setting('millrace.max_workers')::bigint < 1 + ticking THEN 'error' ELSE 'ok' END;
        finding := format('%s; this database needs %s', current_setting('millrace.max_workers'), 1 + ticking);
        advice := CASE WHEN status <> 'ok' THEN format('Set millrace.max_workers to at least %s; a reload is enough.', 1 + ticking) END;
        RETURN NEXT;
    END IF;

    check_name := 'memory';
    needed := pg_size_bytes(current_setting('millrace.work_mem')) * greatest(ticking, 1);
    status := CASE WHEN machine.memory_bytes IS NULL THEN 'skipped' WHEN needed > machine.memory_bytes / 2 THEN 'warning' ELSE 'ok' END;
    finding := format('%s pipelines may use %s of %s', greatest(ticking, 1), pg_size_pretty(needed), coalesce(pg_size_pretty(machine.memory_bytes), '?'));
    advice := CASE WHEN status = 'warning' THEN 'Lower millrace.work_mem; a reload is enough.' END;
    RETURN NEXT;

    check_name := 'disk';
    status := CASE WHEN machine.disk_free_bytes IS NULL THEN 'skipped'
                   WHEN machine.disk_free_bytes < greatest(machine.disk_bytes / 50, 1024 * 1024 * 1024) THEN 'error'
                   WHEN machine.disk_free_bytes < machine.disk_bytes / 10 THEN 'warning' ELSE 'ok' END;
    finding := format('%s of %s free', coalesce(pg_size_pretty(machine.disk_free_bytes), '?'), coalesce(pg_size_pretty(machine.disk_bytes), '?'));
    advice := CASE WHEN status IN ('warning', 'error') THEN 'Free space on the disk of the data directory: a full disk stops the server. Old partitions of staging tables can be dropped.' END;
    RETURN NEXT;

    check_name := 'durability';
    status := CASE WHEN current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off' THEN 'warning' ELSE 'ok' END;
    finding := format('fsync %s, full_page_writes %s', current_setting('fsync'), current_setting('full_page_writes'));
    advice := CASE WHEN status <> 'ok' THEN 'Turn both on: without them a crash of the machine can destroy what was committed.' END;
    RETURN NEXT;

    check_name := 'autovacuum';
    status := CASE WHEN current_setting('autovacuum') = 'off' OR current_setting('track_counts') = 'off' THEN 'warning' ELSE 'ok' END;
    finding := format('autovacuum %s, track_counts %s', current_setting('autovacuum'), current_setting('track_counts'));
    advice := CASE WHEN status <> 'ok' THEN 'Turn both on: the positions of pipelines and consumers are updated with every chunk.' END;
    RETURN NEXT;

    IF by_run > 0 OR NOT preloaded THEN
        check_name := 'pg_cron';
        jobs := NULL;
        IF to_regclass('cron.job') IS NOT NULL AND has_schema_privilege('cron', 'USAGE') AND has_table_privilege('cron.job', 'SELECT') THEN
            EXECUTE 'SELECT count(*) FROM cron.job WHERE command ILIKE ''%millrace.run%''' INTO jobs;
        END IF;
        status := CASE WHEN coalesce(jobs, 0) > 0 THEN 'ok' ELSE 'notice' END;
        finding := CASE WHEN to_regclass('cron.job') IS NULL THEN 'not installed in this database'
                      WHEN jobs IS NULL THEN 'installed; its jobs are not yours to see' ELSE format('%s jobs call millrace.run', jobs) END;
        advice := CASE WHEN status <> 'ok' THEN format('%s pipelines move only when millrace.run is called: SELECT cron.schedule(''name'', ''* * * * *'', $c$CALL millrace.run(''name'')$c$), or call it from elsewhere.',
                                                       CASE WHEN preloaded THEN by_run ELSE by_run + ticking END) END;
        RETURN NEXT;
    END IF;

    -- The pipelines.
    FOR p IN SELECT v.*, g.phase FROM millrace.pipelines v
               LEFT JOIN LATERAL (SELECT min(w.phase) AS phase FROM millrace.progress w WHERE w.pipeline = v.pipeline) g ON true
              ORDER BY v.pipeline LOOP
        subject := p.pipeline;

        check_name := 'state';
        status := CASE WHEN p.state = 'stopped' THEN 'error' WHEN p.state = 'paused' THEN 'notice' WHEN p.failures > 0 OR p.throttled_by IS NOT NULL THEN 'warning' ELSE 'ok' END;
        finding := CASE WHEN p.failures > 0 AND p.state = 'active' THEN format('failed %s times in a row: %s', p.failures, p.last_error)
                      WHEN p.throttled_by IS NOT NULL AND p.state = 'active' THEN format('held back since %s by %s', p.throttled_since, p.throttled_by)
                      ELSE p.state || coalesce(': ' || p.state_reason, '') END;
        advice := CASE WHEN p.state = 'stopped' THEN format('Mend the reason, then SELECT millrace.resume(%L); where it is a share of rejects that you accept, millrace.accept_chunk(%1$L).', p.pipeline)
                       WHEN p.failures > 0 AND p.state = 'active' THEN format('It is tried again at %s; SELECT millrace.resume(%L) tries at once.', p.retry_at, p.pipeline)
                       WHEN p.throttled_by IS NOT NULL AND p.state = 'active' THEN 'It goes on by itself once that is within the limit again: speed up who is behind, or raise the limit with millrace.alter_pipeline.'
                       WHEN p.state = 'paused' THEN format('SELECT millrace.resume(%L) lets it go on.', p.pipeline) END;
        RETURN NEXT;

        IF preloaded AND p.state = 'active' AND p.every IS NOT NULL AND NOT pg_is_in_recovery() THEN
            check_name := 'worker';
            status := CASE WHEN p.phase = 'not running' THEN 'error' ELSE 'ok' END;
            finding := p.phase;
            advice := CASE WHEN status <> 'ok' THEN 'A worker starts within a few seconds; if not, raise millrace.max_workers or max_worker_processes, and look into the server log.' END;
            RETURN NEXT;
        END IF;

        check_name := 'owner and tables';
        BEGIN
            -- Of a dropped table the number is left, and from Postgres 16 on to_regclass takes numbers for what they are.
            staging := (SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass(p.staging));
            rejects := (SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass(p.rejects));
            hidden := false;
        EXCEPTION WHEN insufficient_privilege THEN
            hidden := true;
        END;
        IF hidden THEN
            status := 'skipped'; finding := format('the schema of %s is not yours to look into', p.staging); advice := NULL;
        ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = to_regrole(p.owner)) THEN
            status := 'error'; finding := format('role %s does not exist', p.owner); advice := 'Drop the pipeline and create it anew as a role that stays.';
        ELSIF staging IS NULL OR rejects IS NULL THEN
            status := 'error'; finding := 'the staging or the rejects table is gone'; advice := format('SELECT millrace.drop_pipeline(%L), then create it anew.', p.pipeline);
        ELSIF NOT has_table_privilege(to_regrole(p.owner)::oid, staging, 'INSERT') THEN
            status := 'error'; finding := format('%s may not insert into %s', p.owner, p.staging); advice := format('GRANT INSERT ON %s TO %s;', p.staging, p.owner);
        ELSE
            status := 'ok'; finding := format('%s loads %s', p.owner, p.staging); advice := NULL;
        END IF;
        RETURN NEXT;

        -- The lake, with the owner's credentials: for those who may act as the owner.
        IF has_function_privilege('millrace.check_locations(text)', 'EXECUTE') AND EXISTS (SELECT FROM pg_roles r WHERE r.oid = to_regrole(p.owner)) AND pg_has_role(to_regrole(p.owner)::oid, 'USAGE') THEN
            FOR item IN SELECT * FROM millrace.check_locations(p.pipeline) LOOP
                check_name := 'location: ' || item.layer;
                status := CASE WHEN item.ok THEN 'ok' ELSE 'error' END;
                finding := format('%s: %s', item.location, item.found);
                advice := item.hint;
                RETURN NEXT;
                IF item.newest IS NOT NULL THEN
                    check_name := 'clock';
                    status := CASE WHEN item.newest > clock_timestamp() + interval '5 seconds' THEN 'warning' ELSE 'ok' END;
                    finding := CASE WHEN status = 'ok' THEN 'no file is from the future'
                                  ELSE format('the newest file is from %s in the future', date_trunc('second', item.newest - clock_timestamp())) END;
                    advice := CASE WHEN status <> 'ok' THEN 'Let this machine and the storage keep the same time (NTP): lag, settle and leases go by the clock.' END;
                    RETURN NEXT;
                END IF;
            END LOOP;
        ELSE
            check_name := 'locations'; status := 'skipped'; finding := format('only %s and members of it may look', p.owner);
            advice := format('Call millrace.doctor() as %s.', p.owner);
            RETURN NEXT;
        END IF;

        check_name := 'files';
        SELECT count(*) FILTER (WHERE f.state = 'dead') AS dead, count(*) FILTER (WHERE f.state = 'failed') AS failed, min(f.error) AS error INTO item
          FROM millrace.files f WHERE f.pipeline = p.pipeline AND f.state IN ('dead', 'failed');
        status := CASE WHEN item.dead > 0 THEN 'error' WHEN item.failed > 0 THEN 'warning' ELSE 'ok' END;
        finding := CASE WHEN status = 'ok' THEN 'none is failed or dead' ELSE format('%s dead, %s failed: %s', item.dead, item.failed, item.error) END;
        advice := CASE WHEN status <> 'ok' THEN format('SELECT path, state, error FROM millrace.files WHERE pipeline = %L AND error IS NOT NULL; a file that its producer writes anew is loaded.', p.pipeline) END;
        RETURN NEXT;

        check_name := 'rejects';
        SELECT coalesce(sum(c.reject_count), 0) AS rejects, coalesce(sum(c.row_count + c.reject_count), 0) AS records INTO item
          FROM millrace.chunks c WHERE c.pipeline = p.pipeline AND c.chunk_no > p.last_chunk_no - 100;
        status := CASE WHEN item.rejects > item.records * 0.1 THEN 'warning' ELSE 'ok' END;
        finding := format('%s of %s records in the latest 100 chunks', item.rejects, item.records);
        advice := CASE WHEN status <> 'ok' THEN format('SELECT reasons, count(*) FROM %s GROUP BY 1 ORDER BY 2 DESC says why; millrace.requeue_rejects brings them back once that is mended.', p.rejects) END;
        RETURN NEXT;

        check_name := 'publishing';
        -- Chunks may be meant to wait for each other.
        SELECT count(*) AS waiting, max(b.error) AS error,
               now() - min(c.sealed_at) > coalesce(p.options ->> 'publish_every', '0')::interval * 2 AS is_late INTO item
          FROM millrace.publications b JOIN millrace.chunks c USING (pipeline, chunk_no) WHERE b.pipeline = p.pipeline AND b.state = 'pending';
        status := CASE WHEN item.error IS NOT NULL THEN 'warning' WHEN item.waiting > 100 AND item.is_late THEN 'warning' ELSE 'ok' END;
        finding := format('%s chunks wait%s', item.waiting, coalesce(': ' || item.error, ''));
        advice := CASE WHEN status <> 'ok' THEN 'Look at the location of the layer; publishing goes on by itself once it answers, and nothing is published twice.' END;
        RETURN NEXT;
    END LOOP;

    FOR item IN SELECT * FROM millrace.consumers c ORDER BY c.stream, c.consumer LOOP
        subject := item.stream || '/' || item.consumer;
        check_name := 'consumer';
        status := CASE WHEN item.state IN ('halted', 'expired') THEN 'error' WHEN item.dead > 0 OR item.lag_seconds > 3600 THEN 'warning'
                       WHEN item.state <> 'active' THEN 'notice' ELSE 'ok' END;
        finding := format('%s%s, %s chunks behind, %s dead', item.state, coalesce(' (' || item.state_reason || ')', ''), item.lag_chunks, item.dead);
        advice := CASE WHEN item.state IN ('halted', 'paused') THEN format('Mend the cause, then SELECT millrace.resume_consumer(%L, %L).', item.stream, item.consumer)
                       WHEN item.state = 'expired' THEN format('What it has not read is gone: SELECT millrace.seek(%L, %L, …) to where it is to go on.', item.stream, item.consumer)
                       WHEN item.dead > 0 THEN 'SELECT * FROM millrace.dead_letters says why; millrace.redrive hands a chunk out again, millrace.skip closes it.'
                       WHEN item.lag_seconds > 3600 THEN 'Start more or faster workers; drop it with millrace.drop_consumer if nobody needs it any more.' END;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION millrace.doctor() IS
'Checks the server (version, preload, workers, memory, disk, durability, pg_cron), each pipeline (state, worker, owner, tables, locations with its credentials, clock, files, rejects, publishing) and each consumer.
A row per check. status: ok, notice, warning, error, or skipped where the caller may not look; finding: what is; advice: what to change. SELECT * FROM millrace.doctor() WHERE status NOT IN (''ok'', ''skipped'') is what to act on.';

REVOKE ALL ON FUNCTION millrace.machine_facts(), millrace.check_locations(text), millrace.doctor() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.machine_facts(), millrace.doctor() TO millrace_admin, millrace_consumer, millrace_monitor;
GRANT EXECUTE ON FUNCTION millrace.check_locations(text) TO millrace_admin;
