//! Who may do what: a role without rights may do nothing, the three roles what their names say, local files as COPY does.

use crate::server::{Preload, Server, land, url};
use crate::sql::{Session, quote};
use std::path::PathBuf;
use std::sync::Arc;

/// A database with a loaded pipeline 'p' and a consumer 'c'; roles are named after it, because they are the server's.
fn database(name: &str) -> (Arc<Server>, Session, PathBuf) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    land(&landing, "1.csv", b"id\n1\n");
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', every => NULL);
         SELECT millrace.create_consumer('p', 'c', start_at => 'earliest');
         CREATE ROLE {name}_nobody LOGIN; CREATE ROLE {name}_admin LOGIN IN ROLE millrace_admin;
         CREATE ROLE {name}_consumer LOGIN IN ROLE millrace_consumer; CREATE ROLE {name}_monitor LOGIN IN ROLE millrace_monitor",
        url(&landing)
    ));
    session.execute("CALL millrace.run('p')");
    (server, session, landing)
}

#[test]
fn a_role_without_rights_may_do_nothing() {
    let (server, _session, landing) = database("rights_none");
    let mut nobody = server.session_as("rights_none", "rights_none_nobody");
    for sql in [
        "SELECT * FROM millrace.pipelines".to_string(),
        "SELECT * FROM millrace.pipeline".to_string(),
        "CALL millrace.run('p')".to_string(),
        "SELECT millrace.pause('p')".to_string(),
        "SELECT * FROM millrace.next_chunk('p', 'c')".to_string(),
        "SELECT millrace.ack('p', 'c', 1)".to_string(),
        format!("SELECT millrace.simulate('transactions', {})", quote(&url(&landing))),
    ] {
        nobody.raises(&sql, "42501");
    }
}

#[test]
fn a_monitor_looks_and_does_not_touch() {
    let (server, _session, _landing) = database("rights_monitor");
    let mut monitor = server.session_as("rights_monitor", "rights_monitor_monitor");
    for view in ["pipelines", "chunks", "files", "consumers", "deliveries", "publications", "events"] {
        monitor.rows(&format!("SELECT * FROM millrace.{view}"));
    }
    assert_eq!(monitor.number("SELECT count(*) FROM millrace.chunks"), 1);
    for sql in [
        "SELECT millrace.pause('p')",
        "CALL millrace.run('p')",
        "SELECT * FROM millrace.next_chunk('p', 'c')",
        "UPDATE millrace.position SET head = 0",
    ] {
        monitor.raises(sql, "42501");
    }
}

#[test]
fn a_role_that_may_read_a_view_alone_consumes_through_it() {
    let (server, mut session, _landing) = database("rights_view");
    session.execute(
        "CREATE VIEW staging.p_seen AS SELECT id * 10 AS tens, _chunk_no FROM staging.p;
         GRANT USAGE ON SCHEMA staging TO rights_view_consumer; GRANT SELECT ON staging.p_seen TO rights_view_consumer;
         SELECT millrace.grant_stream('p', 'rights_view_consumer')",
    );
    let mut consumer = server.session_as("rights_view", "rights_view_consumer");
    assert_eq!(consumer.value("SELECT chunk_no FROM millrace.next_chunk('p', 'c')"), "1");
    consumer.raises("SELECT * FROM millrace.chunk_rows(NULL::staging.p, 1, 'p', 'c')", "42501");
    assert_eq!(consumer.value("SELECT tens FROM millrace.chunk_rows(NULL::staging.p_seen, 1, 'p', 'c')"), "10");
    assert_eq!(consumer.value("SELECT millrace.ack('p', 'c', 1)"), "acked");
    session.execute("SELECT millrace.revoke_stream('p', 'rights_view_consumer')");
    consumer.refused("SELECT * FROM millrace.next_chunk('p', 'c')", "42501");
}

#[test]
fn a_consumer_consumes_and_does_not_define() {
    let (server, mut session, _landing) = database("rights_consumer");
    session.execute("GRANT USAGE ON SCHEMA staging TO rights_consumer_consumer; GRANT SELECT ON staging.p TO rights_consumer_consumer");
    let mut consumer = server.session_as("rights_consumer", "rights_consumer_consumer");
    consumer.refused("SELECT * FROM millrace.next_chunk('p', 'c')", "42501");
    session.execute("SELECT millrace.grant_stream('p', 'rights_consumer_consumer')");
    assert_eq!(consumer.value("SELECT chunk_no FROM millrace.next_chunk('p', 'c')"), "1");
    assert_eq!(consumer.value("SELECT id FROM millrace.chunk_rows(NULL::staging.p, 1)"), "1");
    assert_eq!(consumer.value("SELECT millrace.ack('p', 'c', 1)"), "acked");
    for sql in ["SELECT millrace.pause('p')", "SELECT millrace.drop_pipeline('p')", "DELETE FROM millrace.chunk"] {
        consumer.raises(sql, "42501");
    }
}

#[test]
fn local_files_need_the_rights_that_copy_needs() {
    let (server, mut session, landing) = database("rights_files");
    session.execute("CREATE SCHEMA mine AUTHORIZATION rights_files_admin");
    let mut admin = server.session_as("rights_files", "rights_files_admin");
    let create = format!(
        "SELECT millrace.create_pipeline('m', source => {}, columns => 'id int', staging => 'mine.m', every => NULL)",
        quote(&format!("{}/*.csv", url(&landing)))
    );
    let simulate = format!("SELECT millrace.simulate('transactions', {}, rows_per_file => 5)", quote(&url(&landing)));
    admin.refused(&create, "42501");
    admin.refused(&simulate, "42501");

    session.execute("GRANT pg_read_server_files TO rights_files_admin");
    admin.execute(&create);
    admin.execute("CALL millrace.run('m')");
    assert_eq!(admin.number("SELECT count(*) FROM mine.m"), 1);
    admin.refused(&simulate, "42501");

    session.execute("GRANT pg_write_server_files TO rights_files_admin");
    admin.execute(&simulate);
}

#[test]
fn what_a_user_supplies_runs_with_the_users_own_rights() {
    let (server, mut session, landing) = database("rights_owner");
    session.execute(
        "CREATE SCHEMA mine AUTHORIZATION rights_owner_admin; GRANT pg_read_server_files TO rights_owner_admin;
         CREATE TABLE public.secret AS SELECT 1 AS id",
    );
    let mut admin = server.session_as("rights_owner", "rights_owner_admin");
    admin.execute(&format!(
        "SELECT millrace.create_pipeline('m', source => {}, columns => 'id int', staging => 'mine.m', every => NULL)",
        quote(&format!("{}/*.csv", url(&landing)))
    ));
    admin.execute(
        "CREATE FUNCTION mine.spy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM count(*) FROM public.secret; RETURN NEW; END $$;
         CREATE TRIGGER spy BEFORE INSERT ON mine.m FOR EACH ROW EXECUTE FUNCTION mine.spy()",
    );
    // A superuser runs somebody else's pipeline: the owner's trigger must not get the superuser's rights.
    let _ = session.try_execute("CALL millrace.run('m')");
    let owner = session.line("SELECT count(*) FROM mine.m");
    assert_eq!(owner, "0", "the owner can't read public.secret, so the load can't have worked");
}
