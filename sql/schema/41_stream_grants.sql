-- Who may consume which stream. Members of millrace_admin and of the role that owns the pipeline may consume all its streams;
-- others need millrace_consumer to call the functions, and a grant for each stream. The rows are read with a role's own
-- rights alone: grant SELECT on the tables, or on views of them, as everywhere in Postgres.

CREATE FUNCTION millrace._may_act(role name, pipeline_id integer, stream text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.pg_has_role(role, 'millrace_admin', 'USAGE')
        OR EXISTS (SELECT FROM millrace.pipeline p WHERE p.id = pipeline_id AND pg_catalog.pg_has_role(role, p.owner::oid, 'USAGE'))
        OR stream IS NOT NULL
           AND EXISTS (SELECT FROM millrace.stream_grant g WHERE g.pipeline_id = _may_act.pipeline_id AND g.stream = _may_act.stream
                       AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = g.grantee::oid) AND pg_catalog.pg_has_role(role, g.grantee::oid, 'USAGE'))
$$;
COMMENT ON FUNCTION millrace._may_act(name, integer, text) IS
    'Internal. Whether a role may consume a stream of a pipeline; with stream NULL, whether it may say who else may.';
REVOKE ALL ON FUNCTION millrace._may_act(name, integer, text) FROM PUBLIC;

CREATE FUNCTION millrace._refuse_stranger(pipeline_id integer, stream text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    -- The functions run as the extension's owner, so that current_user is not the caller.
    caller constant name := CASE pg_catalog.current_setting('role') WHEN 'none' THEN SESSION_USER ELSE pg_catalog.current_setting('role') END;
BEGIN
    IF millrace._may_act(caller, pipeline_id, stream) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = pg_catalog.format('permission denied for stream "%s"', stream),
        DETAIL = pg_catalog.format('Role "%s" has no grant for it.', caller),
        HINT = pg_catalog.format('SELECT millrace.grant_stream(%L, %L); as the pipeline''s owner or a member of millrace_admin.', stream, caller);
END
$$;
COMMENT ON FUNCTION millrace._refuse_stranger(integer, text) IS
    'Internal. Raises 42501 unless the session''s role, or the one it was set to, may consume the stream.';
REVOKE ALL ON FUNCTION millrace._refuse_stranger(integer, text) FROM PUBLIC;

CREATE FUNCTION millrace._may_consume(pipeline_id integer, stream text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    -- What superusers are asked need not be looked up.
    IF NOT (pg_catalog.current_setting('is_superuser') = 'on' AND pg_catalog.current_setting('role') = 'none') THEN
        PERFORM millrace._refuse_stranger(pipeline_id, stream);
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._may_consume(integer, text) IS
    'Internal. Raises 42501 unless the caller may consume the stream.';
REVOKE ALL ON FUNCTION millrace._may_consume(integer, text) FROM PUBLIC;

CREATE FUNCTION millrace._role_to_grant(stream text, role text, OUT pipeline_id integer, OUT grantee regrole)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    caller constant name := CASE pg_catalog.current_setting('role') WHEN 'none' THEN SESSION_USER ELSE pg_catalog.current_setting('role') END;
BEGIN
    pipeline_id := (millrace._resolve_stream(stream)).pipeline_id;
    PERFORM millrace._refuse_null('role', role IS NULL);
    SELECT r.oid::regrole INTO grantee FROM pg_catalog.pg_roles r WHERE r.rolname = role;
    IF grantee IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = pg_catalog.format('role "%s" does not exist', role),
            HINT = 'Name the role as in pg_roles, without quotes.';
    END IF;
    IF NOT millrace._may_act(caller, pipeline_id, NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = pg_catalog.format('permission denied to grant stream "%s"', stream),
            DETAIL = pg_catalog.format('Role "%s" does not own the pipeline.', caller),
            HINT = 'Act as the pipeline''s owner, or as a member of millrace_admin.';
    END IF;
END
$$;
COMMENT ON FUNCTION millrace._role_to_grant(text, text) IS
    'Internal. The pipeline and the role of a grant; raises 42501 unless the caller may grant the stream.';
REVOKE ALL ON FUNCTION millrace._role_to_grant(text, text) FROM PUBLIC;

CREATE FUNCTION millrace.grant_stream(stream text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target record;
BEGIN
    target := millrace._role_to_grant(stream, role);
    INSERT INTO millrace.stream_grant (pipeline_id, stream, grantee) VALUES (target.pipeline_id, stream, target.grantee) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO millrace.event (pipeline, kind, subject, message)
        SELECT p.name, 'stream_granted', stream, pg_catalog.format('stream granted to role %s', target.grantee) FROM millrace.pipeline p WHERE p.id = target.pipeline_id;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace.grant_stream(text, text) IS
'Lets a role, and its members, consume a stream. They also need millrace_consumer, and SELECT on the tables or on views of them.
stream: as in create_consumer. role: its name. Granting twice does nothing.
For the pipeline''s owner and members of millrace_admin; raises 42501 for others, 42704 for an unknown stream or role.';

CREATE FUNCTION millrace.revoke_stream(stream text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target record;
BEGIN
    target := millrace._role_to_grant(stream, role);
    DELETE FROM millrace.stream_grant g WHERE g.pipeline_id = target.pipeline_id AND g.stream = revoke_stream.stream AND g.grantee = target.grantee;
    IF FOUND THEN
        INSERT INTO millrace.event (pipeline, kind, subject, message)
        SELECT p.name, 'stream_revoked', stream, pg_catalog.format('stream revoked from role %s', target.grantee) FROM millrace.pipeline p WHERE p.id = target.pipeline_id;
    END IF;
END
$$;
COMMENT ON FUNCTION millrace.revoke_stream(text, text) IS
'Takes back what grant_stream gave: the role''s next call for the stream is refused, a running lease included. Its consumers stay.
stream, role: as for grant_stream. Revoking what was not granted does nothing.';
REVOKE ALL ON FUNCTION millrace.grant_stream(text, text), millrace.revoke_stream(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION millrace.grant_stream(text, text), millrace.revoke_stream(text, text) TO millrace_admin, millrace_consumer;

CREATE VIEW millrace.stream_grants AS
SELECT g.stream, g.grantee::text AS role, g.granted_by, g.granted_at FROM millrace.stream_grant g;
COMMENT ON VIEW millrace.stream_grants IS 'Which roles may consume which streams, beside administrators and the pipelines'' owners.';
REVOKE ALL ON millrace.stream_grants FROM PUBLIC;
GRANT SELECT ON millrace.stream_grants TO millrace_admin, millrace_consumer, millrace_monitor;
