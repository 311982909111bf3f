//! Hostile users: names that are SQL, functions and operators that stand in front of Postgres' own, row security and rights on columns where
//! rows come in and go out, and what a dump shows to whom.

use crate::rights_tables::{CALLS, Case, state_of};
use crate::server::{Preload, Server, land, url};
use crate::sql::quote;

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names that are taken for what they are: of 63 bytes, half of them behind a character of two; of several scripts; SQL.
fn names() -> Vec<String> {
    vec![
        "\"; DROP SCHEMA millrace CASCADE; --".into(),
        "'); DROP OWNED BY CURRENT_USER; SELECT ('".into(),
        format!("{}x", "é".repeat(31)),
        format!("m{}", "n".repeat(62)),
        "名前 $1 %s %I \\ {} 流".into(),
        "SELECT".into(),
    ]
}

#[test]
fn names_that_are_sql_or_as_long_as_can_be_are_names_wherever_one_is_given() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("hostile_names");
    for (i, name) in names().iter().enumerate() {
        let landing = server.create_dir(&format!("hostile_names_{i}"));
        land(&landing, "1.csv", format!("id,{}\n1,5\n2,-5\nx,1\n", quoted_field(name)).as_bytes());
        let (id, text) = (ident(name), quote(name));
        let (role, role_text) = (ident(name), quote(name));
        // An aggregate's view stands beside the staging table, and its tables have longer names.
        let mut other = format!("a{name}");
        while other.len() > 55 {
            other.pop();
        }
        let aggregate = quote(&other);
        session.execute(&format!(
            "CREATE SCHEMA {id}; CREATE ROLE {role} IN ROLE millrace_admin, pg_read_server_files; GRANT ALL ON SCHEMA {id} TO {role};
             SET ROLE {role}"
        ));
        session.execute(&format!(
            "SELECT millrace.create_pipeline({text}, source => '{}/*.csv', columns => {}, staging => {}, every => NULL)",
            url(&landing),
            quote(&format!("id int, {id} int")),
            quote(&format!("{id}.{id}")),
        ));
        session.execute(&format!(
            "SELECT millrace.add_expectation({text}, {text}, {});
             SELECT millrace.create_aggregate({text}, {aggregate}, {})",
            quote(&format!("{id} > 0")),
            quote(&format!("SELECT {id}, count(*) AS n FROM {id}.{id} GROUP BY {id}")),
        ));
        session.execute(&format!("CALL millrace.run({text})"));
        assert_eq!(session.lines(&format!("SELECT id, {id} FROM {id}.{id}")), ["1|5"], "{name}");
        let rejects = session.value(&format!("SELECT rejects FROM millrace.pipelines WHERE pipeline = {text}"));
        assert_eq!(session.number(&format!("SELECT count(*) FROM {rejects}")), 2, "{name}");
        assert_eq!(
            session.number(&format!(
                "SELECT millrace.requeue_rejects({text}, fix => {})",
                quote(&format!("{id} = 7, id = 7"))
            )),
            2,
            "{name}"
        );
        let view = session.value(&format!("SELECT view FROM millrace.aggregates WHERE pipeline = {text}"));
        assert_eq!(session.lines(&format!("SELECT n FROM {view} ORDER BY n")), ["1", "2"], "{name}");
        session.execute(&format!(
            "SELECT millrace.create_consumer({text}, {text}); SELECT millrace.create_consumer({}, {text});
             SELECT millrace.grant_stream({text}, {role_text})",
            quote(&format!("{name}.rejects"))
        ));
        assert_eq!(
            session.line(&format!(
                "SELECT n.chunk_no, (SELECT count(*) FROM millrace.chunk_rows(NULL::{id}.{id}, n.chunk_no, {text}, {text}))
                   FROM millrace.next_chunk({text}, {text}, worker => {text}) AS n"
            )),
            "1|1",
            "{name}"
        );
        assert_eq!(session.value(&format!("SELECT millrace.ack({text}, {text}, 1)")), "acked", "{name}");
        crate::retail::assert_verified(&mut session, name);
        session
            .execute(&format!("SELECT * FROM millrace.watch({text}); SELECT * FROM millrace.check_locations({text})"));
        session.execute(&format!(
            "SELECT millrace.revoke_stream({text}, {role_text}); SELECT millrace.drop_pipeline({text}, drop_tables => true);
             RESET ROLE; DROP SCHEMA {id}; DROP OWNED BY {role}; DROP ROLE {role}"
        ));
    }
    assert_eq!(session.number("SELECT count(*) FROM millrace.pipelines"), 0);
}

fn quoted_field(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// In schema evil: for every function and operator of Postgres that takes arguments of common types, one of the same name that fits such calls
/// better, and tells whose rights it was called with.
const SHADOWS: &str = r#"
    CREATE TABLE evil.seen (who name, what text);
    GRANT INSERT ON evil.seen TO PUBLIC; GRANT USAGE ON SCHEMA evil TO PUBLIC;
    DO $$
    DECLARE
        f record;
        body text := 'BEGIN IF current_user OPERATOR(pg_catalog.<>) %L THEN INSERT INTO evil.seen VALUES (current_user, %L); END IF; RETURN NULL; END';
    BEGIN
        FOR f IN SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.prorettype::regtype AS gives
                   FROM pg_proc p
                  WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
                    AND p.proname IN ('format', 'now', 'clock_timestamp', 'coalesce', 'quote_ident', 'quote_literal', 'to_regclass', 'has_table_privilege',
                        'pg_has_role', 'current_setting', 'set_config', 'array_length', 'cardinality', 'unnest', 'jsonb_build_object', 'to_jsonb',
                        'greatest', 'least', 'lower', 'upper', 'length', 'substr', 'replace', 'round', 'abs', 'mod', 'text', 'int8', 'int4', 'md5',
                        'gen_random_uuid', 'pg_backend_pid', 'pg_notify', 'hashtextextended', 'pg_advisory_xact_lock', 'obj_description',
                        'regclass', 'parse_ident', 'starts_with', 'strpos', 'split_part', 'array_position', 'interval', 'date_part', 'extract')
                    AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'void'::regtype)
                    AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS t (oid) JOIN pg_type y ON y.oid = t.oid WHERE y.typtype = 'p')
        LOOP
            EXECUTE pg_catalog.format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.args, f.gives,
                           pg_catalog.format(body, current_user, f.proname));
        END LOOP;
        -- What pg_catalog has with VARIADIC alone: an exact match wins.
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE plpgsql AS %L', pg_catalog.format(body, current_user, 'format'));
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.format(text, name) RETURNS text LANGUAGE plpgsql AS %L', pg_catalog.format(body, current_user, 'format'));
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE plpgsql AS %L', pg_catalog.format(body, current_user, 'jsonb_build_object'));
        FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS gives, row_number() OVER () AS n
                   FROM pg_operator o
                  WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
                    AND o.oprname IN ('=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '~~', '->', '->>', '@>', '&&')
                    AND o.oprleft::regtype::text IN ('text', 'name', 'integer', 'bigint', 'oid', 'boolean', 'timestamp with time zone', 'interval', 'jsonb', 'uuid', 'text[]', 'bigint[]')
                    AND o.oprright::regtype::text IN ('text', 'name', 'integer', 'bigint', 'oid', 'boolean', 'timestamp with time zone', 'interval', 'jsonb', 'uuid', 'text[]', 'bigint[]')
        LOOP
            EXECUTE pg_catalog.format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', f.n, f.l, f.r, f.gives,
                           pg_catalog.format(body, current_user, f.oprname));
            EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (FUNCTION = evil.op%s, LEFTARG = %s, RIGHTARG = %s)', f.oprname, f.n, f.l, f.r);
        END LOOP;
    END $$;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC;
"#;

#[test]
fn nothing_that_stands_first_in_a_callers_search_path_is_called_with_anothers_rights() {
    let Case { server, mut session, token } = Case::new("hostile_path");
    session.execute(
        "CREATE ROLE hostile_path_eve LOGIN IN ROLE millrace_admin, millrace_consumer, pg_read_server_files, hostile_path_owner;
         CREATE SCHEMA evil AUTHORIZATION hostile_path_eve",
    );
    let mut eve = server.session_as("hostile_path", "hostile_path_eve");
    eve.execute(SHADOWS);
    assert!(session.number("SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace") > 200);
    eve.execute("SET search_path = evil, pg_catalog");
    for (_, sql, _) in CALLS {
        state_of(&mut eve, &sql.replace("{token}", &token), sql.starts_with("CALL"));
    }
    // Somebody with more rights who has her schema first in the path, as by ALTER DATABASE … SET, does not lend them to her through us: only what is
    // written without a schema in his own statements is hers.
    session.execute("SET search_path = evil, pg_catalog");
    for view in ["pipelines", "chunks", "consumers", "deliveries", "stats", "files", "events", "progress"] {
        session.rows(&format!("SELECT * FROM millrace.{view}"));
    }
    session.rows("SELECT * FROM millrace.doctor()");
    session.execute("RESET search_path");
    assert_eq!(session.lines("SELECT DISTINCT who, what FROM evil.seen"), Vec::<String>::new());
    // The trap does catch.
    session.execute("SET search_path = evil, pg_catalog; SELECT 'a'::text || 'b'::text; RESET search_path");
    assert_eq!(session.lines("SELECT DISTINCT who, what FROM evil.seen"), ["postgres|||"]);
}

#[test]
fn creating_the_extension_calls_nothing_that_somebody_has_put_in_its_way() {
    let server = Server::shared(Preload::No);
    for sql in ["CREATE DATABASE hostile_install", "CREATE ROLE hostile_install_eve LOGIN"] {
        server.session("postgres").execute(sql);
    }
    let mut session = server.session("hostile_install");
    session.execute("GRANT CREATE ON DATABASE hostile_install TO hostile_install_eve; GRANT CREATE ON SCHEMA public TO hostile_install_eve");
    let mut eve = server.session_as("hostile_install", "hostile_install_eve");
    eve.execute("CREATE SCHEMA evil");
    eve.execute(
        &SHADOWS
            .replace("CREATE FUNCTION evil.", "CREATE FUNCTION public.")
            .replace("evil.%s (FUNCTION = evil.", "public.%s (FUNCTION = public."),
    );
    session.execute("CREATE EXTENSION pg_millrace");
    assert_eq!(session.lines("SELECT DISTINCT who, what FROM evil.seen"), Vec::<String>::new());
    // A schema of that name that was there before is not taken over.
    server.session("postgres").execute("CREATE DATABASE hostile_schema OWNER hostile_install_eve");
    server.session_as("hostile_schema", "hostile_install_eve").execute("CREATE SCHEMA millrace");
    server.session("hostile_schema").raises("CREATE EXTENSION pg_millrace", "42P06");
}

#[test]
fn row_security_and_rights_on_columns_hold_for_the_pipelines_owner() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("hostile_owner");
    let landing = server.create_dir("hostile_owner_landing");
    land(&landing, "1.csv", b"id,secret\n1,a\n");
    session.execute(
        "CREATE ROLE hostile_owner_eve LOGIN IN ROLE millrace_admin, pg_read_server_files;
         CREATE SCHEMA staging; GRANT ALL ON SCHEMA staging TO hostile_owner_eve",
    );
    let mut eve = server.session_as("hostile_owner", "hostile_owner_eve");
    let create = format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, secret text', staging => 'staging.p', every => NULL)",
        url(&landing)
    );
    // A table of somebody else's.
    session.execute(
        "CREATE TABLE staging.p (id int, secret text, _chunk_no bigint NOT NULL, _row_no bigint NOT NULL);
         GRANT SELECT, INSERT ON staging.p TO hostile_owner_eve",
    );
    eve.execute(&create);
    eve.execute("CALL millrace.run('p')");
    session.execute("REVOKE INSERT ON staging.p FROM hostile_owner_eve");
    let count = "SELECT count(*) FROM staging.p";
    let mut refused = |n: i32, grant: &str, state: &str| {
        land(&landing, &format!("{n}.csv"), format!("id,secret\n{n},a\n").as_bytes());
        session.execute(grant);
        // Whoever runs it: the owner's rights count, not the superuser's.
        session.raises("CALL millrace.run('p')", state);
        eve.raises("CALL millrace.run('p')", state);
        assert_eq!(session.number(count), 1, "{grant}");
    };
    refused(2, "SELECT 1", "42501");
    refused(3, "GRANT INSERT (id) ON staging.p TO hostile_owner_eve", "42501");
    refused(
        4,
        "GRANT INSERT ON staging.p TO hostile_owner_eve;
         ALTER TABLE staging.p ENABLE ROW LEVEL SECURITY;
         CREATE POLICY few ON staging.p USING (id < 0)",
        "0A000",
    );
    session.execute("ALTER TABLE staging.p DISABLE ROW LEVEL SECURITY");
    eve.execute("CALL millrace.run('p')");
    assert_eq!(session.number(count), 4);
}

#[test]
fn a_table_of_an_aggregate_that_its_owner_may_only_read_is_not_written() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("hostile_aggregate");
    let landing = server.create_dir("hostile_aggregate_landing");
    session.execute(
        "CREATE ROLE hostile_aggregate_eve LOGIN IN ROLE millrace_admin, pg_read_server_files;
         CREATE SCHEMA staging; GRANT ALL ON SCHEMA staging TO hostile_aggregate_eve",
    );
    let mut eve = server.session_as("hostile_aggregate", "hostile_aggregate_eve");
    eve.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, who text', staging => 'staging.p', every => NULL);
         SELECT millrace.create_aggregate('p', 'a', 'SELECT id, count(DISTINCT who) AS n FROM staging.p GROUP BY id')",
        url(&landing)
    ));
    session.execute(
        "ALTER TABLE staging.a_distinct_1 OWNER TO postgres; GRANT SELECT ON staging.a_distinct_1 TO hostile_aggregate_eve",
    );
    land(&landing, "1.csv", b"id,who\n1,a\n");
    eve.raises("CALL millrace.run('p')", "42501");
    assert_eq!(session.number("SELECT count(*) FROM staging.a_distinct_1"), 0);
    session.execute("GRANT INSERT ON staging.a_distinct_1 TO hostile_aggregate_eve");
    eve.execute("CALL millrace.run('p')");
    assert_eq!(session.line("SELECT id, n FROM staging.a"), "1|1");
}

#[test]
fn consumers_read_the_rows_and_columns_that_are_theirs() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("hostile_rows");
    let landing = server.create_dir("hostile_rows_landing");
    land(&landing, "1.csv", b"id,secret\n1,a\n2,b\nx,c\n");
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, secret text', staging => 'staging.p', every => NULL);
         SELECT millrace.create_consumer('p', 'c');
         CREATE ROLE hostile_rows_bob LOGIN IN ROLE millrace_consumer; GRANT USAGE ON SCHEMA staging TO hostile_rows_bob;
         SELECT millrace.grant_stream('p', 'hostile_rows_bob');
         ALTER TABLE staging.p ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON staging.p FOR SELECT TO hostile_rows_bob USING (id = 1);
         GRANT SELECT (id, _chunk_no, _row_no) ON staging.p TO hostile_rows_bob",
        url(&landing)
    ));
    session.execute("CALL millrace.run('p')");
    let mut bob = server.session_as("hostile_rows", "hostile_rows_bob");
    assert_eq!(bob.value("SELECT chunk_no FROM millrace.next_chunk('p', 'c')"), "1");
    for sql in [
        "SELECT * FROM millrace.chunk_rows(NULL::staging.p, 1)",
        "SELECT id FROM millrace.chunk_rows(NULL::staging.p, 1)",
        "SELECT millrace.consume('p', 'c', 'SELECT secret FROM staging.p WHERE _chunk_no = $1')",
    ] {
        bob.raises(sql, "42501");
    }
    assert_eq!(bob.lines("SELECT id FROM staging.p WHERE _chunk_no = 1"), ["1"]);
    assert_eq!(bob.number("SELECT count(*) FROM millrace.rejects"), 0, "nobody let him see the rejects");
    session.execute("GRANT SELECT ON staging.p TO hostile_rows_bob");
    assert_eq!(bob.lines("SELECT id, secret FROM millrace.chunk_rows(NULL::staging.p, 1, 'p', 'c')"), ["1|a"]);
}

#[test]
fn a_dump_by_a_role_without_rights_fails_and_one_that_may_read_shows_no_secret_and_restores() {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("hostile_dump");
    let landing = server.create_dir("hostile_dump_landing");
    land(&landing, "1.csv", b"id\n1\n");
    let secret = "UExBTlRFRC1JTi1BLURVTVA=";
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://lake', account_name 'acme');
         CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (account_key '{secret}');
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', every => NULL);
         SELECT millrace.create_consumer('p', 'c');
         CREATE ROLE hostile_dump_eve LOGIN IN ROLE millrace_admin; CREATE ROLE hostile_dump_bob LOGIN IN ROLE pg_read_all_data",
        url(&landing)
    ));
    session.execute("CALL millrace.run('p')");
    let refused = server.dump_as("hostile_dump", "hostile_dump_eve").unwrap_err();
    assert!(refused.contains("permission denied") && !refused.contains(secret), "{refused}");
    let script = server.dump_as("hostile_dump", "hostile_dump_bob").unwrap();
    assert!(!script.contains(secret), "a secret is in the dump");
    assert!(server.dump("hostile_dump").contains(secret), "for a superuser it is whole");
    server.session("postgres").execute("CREATE DATABASE hostile_restored");
    server.restore("hostile_restored", &script);
    let mut restored = server.session("hostile_restored");
    assert_eq!(
        restored.line("SELECT owner, (SELECT max(chunk_no) FROM millrace.chunks) FROM millrace.pipelines"),
        "postgres|1"
    );
    assert_eq!(restored.line("SELECT count(*), max(id) FROM staging.p"), "1|1");
    assert_eq!(restored.value("SELECT chunk_no FROM millrace.next_chunk('p', 'c')"), "1");
    // The mapping is there without what it held.
    let error = restored.refused("SELECT * FROM millrace.list('az://lake/in')", "42704");
    assert!(
        error.message().contains("without credentials") && error.hint().unwrap().contains("ALTER USER MAPPING"),
        "{error:?}"
    );
}
