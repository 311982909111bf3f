-- What tables need to become those of 0.2.0; all else is taken from sql/schema.

DO $$ BEGIN
    IF millrace.library_version() = '0.1.0' THEN
        RAISE EXCEPTION 'the library that is loaded is still that of pg_millrace 0.1.0' USING
            ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Restart the server, or, where pg_millrace is not in shared_preload_libraries, connect anew; then update again.';
    END IF;
END $$;

-- Late aggregates of keyed pipelines are filled in steps.
ALTER TABLE millrace.aggregate ADD COLUMN filled_part jsonb;
