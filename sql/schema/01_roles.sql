-- Roles are cluster-wide: they may be here already from another database, and they outlive the extension.
DO $roles$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['millrace_monitor', 'millrace_consumer', 'millrace_admin'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) role_name);
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN unique_violation OR duplicate_object THEN
            NULL;  -- another database's CREATE EXTENSION was faster
        END;
    END LOOP;
END
$roles$;

CREATE SCHEMA millrace;
REVOKE ALL ON SCHEMA millrace FROM PUBLIC;
GRANT USAGE ON SCHEMA millrace TO millrace_admin, millrace_consumer, millrace_monitor;
