-- The public functions and views of the schema millrace as one JSON document. Names that begin with _ are internal.
SELECT jsonb_build_object(
    'functions', (
        SELECT jsonb_agg(jsonb_build_object(
                   'name', p.proname,
                   'signature', p.oid::regprocedure::text,
                   'usage', CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE '' END || p.proname || '(' || pg_get_function_arguments(p.oid) || ')'
                            || CASE WHEN p.prokind = 'p' THEN '' ELSE E'\n→ ' || pg_get_function_result(p.oid) END,
                   'comment', obj_description(p.oid, 'pg_proc'),
                   'arguments', coalesce((
                       SELECT jsonb_agg(jsonb_build_object('name', coalesce(p.proargnames[n], ''), 'type', format_type(p.proargtypes[n - 1], NULL),
                                                           'default', pg_get_function_arg_default(p.oid, n)) ORDER BY n)
                         FROM generate_series(1, p.pronargs) AS n), '[]'),
                   'callers', coalesce((
                       SELECT jsonb_agg(r ORDER BY r)
                         FROM unnest('{millrace_admin,millrace_consumer,millrace_monitor}'::text[]) AS r
                        WHERE has_function_privilege(r, p.oid, 'EXECUTE')), '[]'))
               ORDER BY p.proname COLLATE "C", p.oid::regprocedure::text COLLATE "C")
          FROM pg_proc p
         WHERE p.pronamespace = 'millrace'::regnamespace AND p.proname NOT LIKE '\_%'
           AND p.prokind IN ('f', 'p') AND coalesce(obj_description(p.oid, 'pg_proc'), '') NOT LIKE 'Internal.%'),
    'uncommented', (
        SELECT coalesce(jsonb_agg(p.oid::regprocedure::text), '[]') FROM pg_proc p
         WHERE p.pronamespace = 'millrace'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL),
    'views', (
        SELECT jsonb_agg(jsonb_build_object(
                   'name', c.relname,
                   'comment', obj_description(c.oid, 'pg_class'),
                   'columns', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
                                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
               ORDER BY c.relname COLLATE "C")
          FROM pg_class c WHERE c.relnamespace = 'millrace'::regnamespace AND c.relkind = 'v'));
