-- What the extension is in the catalog, a line for each of its properties, without object ids: two databases with the same lines have the same extension.
-- Columns of a table count in any order: a column that was added later stands at the end.
\pset format unaligned
\pset tuples_only on
WITH member AS (
    SELECT d.classid, d.objid, pg_identify_object(d.classid, d.objid, 0) AS what
      FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     WHERE e.extname = 'pg_millrace' AND d.deptype = 'e'
), roles AS (SELECT oid, rolname FROM pg_roles UNION ALL SELECT 0, 'PUBLIC'),
acl AS (
    SELECT 'pg_proc'::regclass AS classid, oid AS objid, coalesce(proacl, acldefault('f', proowner)) AS list FROM pg_proc
    UNION ALL SELECT 'pg_class'::regclass, oid, coalesce(relacl, acldefault('r', relowner)) FROM pg_class
    UNION ALL SELECT 'pg_namespace'::regclass, oid, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, coalesce(fdwacl, acldefault('F', fdwowner)) FROM pg_foreign_data_wrapper
)
SELECT line FROM (
    SELECT format('%s %s', (what).type, (what).identity) AS line FROM member
    UNION ALL
    SELECT format('comment %s: %s', (what).identity, obj_description(objid, classid::regclass::text)) FROM member
    UNION ALL
    SELECT format('right %s: %s %s%s', (what).identity, r.rolname, a.privilege_type, CASE WHEN a.is_grantable THEN '*' ELSE '' END)
      FROM member JOIN acl USING (classid, objid) CROSS JOIN LATERAL aclexplode(acl.list) a JOIN roles r ON r.oid = a.grantee
    UNION ALL
    SELECT format('definition %s: %s', (what).identity, CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) ELSE p.prosrc END) FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
    UNION ALL
    SELECT format('definition %s: %s %s', (what).identity, pg_get_viewdef(c.oid), c.reloptions) FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND c.relkind = 'v'
    UNION ALL
    SELECT format('storage %s: %s %s', (what).identity, c.relpersistence, c.reloptions) FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND c.relkind = 'r'
    UNION ALL
    SELECT format('column %s.%s: %s%s %s %s', (what).identity, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                  pg_get_expr(d.adbin, d.adrelid), a.attidentity::text || a.attgenerated::text)
      FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND c.relkind IN ('r', 'c')
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('constraint %s.%s: %s', (what).identity, k.conname, pg_get_constraintdef(k.oid)) FROM member JOIN pg_constraint k ON classid = 'pg_class'::regclass AND k.conrelid = objid
    UNION ALL
    SELECT format('index %s: %s', (what).identity, pg_get_indexdef(i.indexrelid)) FROM member JOIN pg_index i ON classid = 'pg_class'::regclass AND i.indrelid = objid
    UNION ALL
    SELECT format('trigger %s: %s', (what).identity, pg_get_triggerdef(t.oid)) FROM member JOIN pg_trigger t ON classid = 'pg_class'::regclass AND t.tgrelid = objid AND NOT t.tgisinternal
    UNION ALL
    SELECT format('dumped %s: %s', c.oid::regclass, e.extcondition[n]) FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig) WITH ORDINALITY AS u (dumped, n) JOIN pg_class c ON c.oid = u.dumped
     WHERE e.extname = 'pg_millrace'
) lines ORDER BY line COLLATE "C";
