//! Workers come and go as they should: with pipelines, databases, the extension and the server.

use crate::server::{Preload, Server, land, url, wait_until};
use crate::sql::{Session, quote};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn workers(session: &mut Session, database: &str) -> i64 {
    session.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('pg_millrace pipeline', 'pg_millrace database') AND datname = {}",
        quote(database)
    ))
}

fn create_pipeline(session: &mut Session, name: &str, staging: &str, landing: &Path) {
    session.execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS staging;
         SELECT millrace.create_pipeline({}, source => {}, columns => 'id int', staging => {}, every => '50 ms')",
        quote(name),
        quote(&format!("{}/*.csv", url(landing))),
        quote(staging)
    ));
}

fn land_and_wait(session: &mut Session, landing: &Path, file: &str, table: &str) {
    let before = session.number(&format!("SELECT count(*) FROM {table}"));
    land(landing, file, b"id\n1\n");
    wait_until("a landed file is loaded", SOON, || session.number(&format!("SELECT count(*) FROM {table}")) > before);
}

#[test]
fn a_pipeline_goes_on_after_a_restart_of_the_server() {
    let server = Server::start_new(Preload::Yes);
    let landing = server.create_dir("landing");
    let mut session = server.create_database("restart");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");

    let took = server.stop_fast();
    assert!(took < Duration::from_secs(5), "a fast shutdown took {took:?} with workers running");
    server.start();

    let mut session = server.session("restart");
    land_and_wait(&mut session, &landing, "2.csv", "staging.p");
    assert_eq!(session.lines("SELECT chunk_no, row_count FROM millrace.chunks ORDER BY 1"), ["1|1", "2|1"]);
    assert!(!server.log().contains("PANIC"), "{}", server.log_tail());
}

#[test]
fn a_worker_with_much_to_do_ends_with_its_postmaster_so_that_a_new_one_can_start() {
    const FILES: i64 = 1_500;
    let server = Server::start_new(Preload::Yes);
    let landing = server.create_dir("landing");
    let mut session = server.create_database("orphan");
    // Busy, not asleep: whoever sleeps is told of the postmaster's end by Postgres itself.
    session.execute(
        "CREATE SCHEMA staging;
         CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN WHILE clock_timestamp() < now() + interval ''50 ms'' LOOP END LOOP; RETURN NEW; END'",
    );
    for n in 0..FILES {
        land(&landing, &format!("{n}.csv"), b"id\n1\n");
    }
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', every => NULL,
                options => '{{\"max_files_per_chunk\": 1}}');
         CREATE TRIGGER busy BEFORE INSERT ON staging.p FOR EACH ROW EXECUTE FUNCTION busy();
         SELECT millrace.alter_pipeline('p', every => '50 ms')",
        url(&landing)
    ));
    let loaded = "SELECT count(*) FROM staging.p";
    wait_until("it works", SOON, || session.number(loaded) > 2);
    drop(session);
    server.kill();
    // Fails where the old server's memory is in use for half a minute.
    server.start();
    let mut session = server.session("orphan");
    let left = FILES - session.number(loaded);
    assert!(left > FILES / 10, "only {left} files were left to be loaded");
}

#[test]
fn dropping_the_extension_ends_its_workers_and_keeps_the_users_tables() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("drop_extension_landing");
    let mut session = server.create_database("drop_extension");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    assert!(workers(&mut session, "drop_extension") > 0);

    session.execute("DROP EXTENSION pg_millrace CASCADE");
    wait_until("the workers are gone", SOON, || workers(&mut session, "drop_extension") == 0);
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 1);

    // And back again, in the same database.
    session.execute("CREATE EXTENSION pg_millrace");
    create_pipeline(&mut session, "q", "staging.q", &landing);
    wait_until("the new pipeline loads", SOON, || session.number("SELECT count(*) FROM staging.q") == 1);
}

#[test]
fn a_database_with_running_pipelines_can_be_dropped() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("drop_database_landing");
    let mut session = server.create_database("drop_database");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    drop(session);

    // Without FORCE: a session of ours in it would be in the way, workers are not.
    let mut admin = server.session("postgres");
    admin.execute("SET statement_timeout = '20 s'");
    wait_until("the last session is gone", SOON, || {
        admin.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'drop_database' AND backend_type = 'client backend'",
        ) == 0
    });
    admin.execute("DROP DATABASE drop_database");
    assert_eq!(workers(&mut admin, "drop_database"), 0);
}

#[test]
fn whoever_may_not_drop_a_database_does_not_stop_its_workers() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("not_dropped_landing");
    let mut session = server.create_database("not_dropped");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    let pid =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' AND datname = 'not_dropped'";
    let before = session.value(pid);

    let mut admin = server.session("postgres");
    admin.execute("CREATE ROLE somebody LOGIN");
    let mut somebody = server.session_as("postgres", "somebody");
    somebody.raises("DROP DATABASE not_dropped", "42501");
    assert_eq!(session.value(pid), before);
}

#[test]
fn what_was_published_by_a_process_that_died_is_counted_and_not_published_again() {
    let server = Server::shared(Preload::No);
    let places = crate::retail::Places::new(&server, "died");
    let mut session = server.create_database("died");
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => {}, columns => 'id int', semi_processed => {}, every => NULL)",
        quote(&url(&places.landing)),
        quote(&url(&places.semi_processed)),
    ));
    land(&places.landing, "1.csv", b"id\n1\n2\n");
    session.execute("CALL millrace.run('p')");
    // As if the process had died between the commit in the lake and its note here.
    session.execute("UPDATE millrace.publication SET state = 'pending', rows = NULL, delta_version = NULL");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.line("SELECT state, rows FROM millrace.publications"), "done|2");
    crate::retail::assert_verified(&mut session, "p");
}

#[test]
fn errors_show_no_rust_backtrace_whatever_the_servers_environment_says() {
    let server = Server::shared(Preload::No);
    let landing = server.create_dir("backtrace_landing");
    let mut session = server.create_database("backtrace");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    let error =
        session.raises("SELECT millrace.create_aggregate('p', 'a', 'SELECT no_such(id) FROM staging.p')", "42883");
    assert!(!error.detail().unwrap_or_default().contains("pgrx"), "{error:?}");
}

#[test]
fn a_paused_pipeline_waits_and_a_resumed_one_catches_up() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("pause_landing");
    let mut session = server.create_database("pause");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");

    session.execute("SELECT millrace.pause('p')");
    land(&landing, "2.csv", b"id\n2\n");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 1);
    session.execute("SELECT millrace.resume('p')");
    wait_until("the file is loaded after resume", SOON, || session.number("SELECT count(*) FROM staging.p") == 2);
}

#[test]
fn alter_changes_the_tick_and_options_of_a_running_pipeline() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("alter_landing");
    let mut session = server.create_database("alter");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");

    session.execute("SELECT millrace.alter_pipeline('p', every => '1 hour')");
    session.execute("SELECT millrace.alter_pipeline('p', every => '50 ms', options => '{\"max_files_per_chunk\": 1}')");
    land(&landing, "2.csv", b"id\n2\n");
    land(&landing, "3.csv", b"id\n3\n");
    wait_until("both are loaded", SOON, || session.number("SELECT count(*) FROM staging.p") == 3);
    assert_eq!(session.number("SELECT max(row_count) FROM millrace.chunks"), 1);
    session.refused("SELECT millrace.alter_pipeline('p', options => '{\"no_such\": 1}')", "22023");
}

#[test]
fn a_worker_that_waits_for_a_distant_tick_sees_a_change_that_commits_after_its_wake_up() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("late_commit_landing");
    let mut session = server.create_database("late_commit");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    session.execute("SELECT millrace.alter_pipeline('p', every => '1 hour')");
    std::thread::sleep(Duration::from_secs(3));

    session.execute("BEGIN");
    session.execute("SELECT millrace.alter_pipeline('p', every => '50 ms')");
    std::thread::sleep(Duration::from_secs(1));
    session.execute("COMMIT");
    land_and_wait(&mut session, &landing, "2.csv", "staging.p");
}

#[test]
fn a_running_pipeline_follows_its_staging_table_through_other_names_schemas_and_columns() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("moved_landing");
    let mut session = server.create_database("moved");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    for (i, (change, table)) in [
        ("ALTER TABLE staging.p RENAME TO q", "staging.q"),
        ("CREATE SCHEMA other; ALTER TABLE staging.q SET SCHEMA other", "other.q"),
        ("ALTER SCHEMA other RENAME TO another", "another.q"),
        ("ALTER TABLE another.q ADD COLUMN more int DEFAULT 5", "another.q"),
        ("ALTER TABLE another.q ALTER COLUMN id TYPE bigint", "another.q"),
        ("ALTER TABLE another.q RENAME COLUMN more TO less", "another.q"),
        ("ALTER TABLE another.q DROP COLUMN less", "another.q"),
    ]
    .iter()
    .enumerate()
    {
        session.execute(change);
        land_and_wait(&mut session, &landing, &format!("{}.csv", i + 2), table);
    }
    assert_eq!(session.lines("SELECT DISTINCT id FROM another.q"), ["1"]);
    assert_eq!(session.number("SELECT failures FROM millrace.pipelines WHERE pipeline = 'p'"), 0);
}

#[test]
fn a_dropped_pipeline_ends_its_worker_and_keeps_its_tables_unless_told_otherwise() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("drop_pipeline_landing");
    let mut session = server.create_database("drop_pipeline");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");
    session.execute("SELECT millrace.drop_pipeline('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 1);
    assert_eq!(session.number("SELECT count(*) FROM millrace.pipelines"), 0);
    wait_until("its worker is gone", SOON, || {
        session.number(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' AND datname = current_database()",
        ) == 0
    });

    create_pipeline(&mut session, "q", "staging.q", &landing);
    wait_until("q loads", SOON, || session.number("SELECT count(*) FROM staging.q") == 1);
    session.execute("SELECT millrace.drop_pipeline('q', drop_tables => true)");
    assert_eq!(session.value("SELECT to_regclass('staging.q')"), "");
}

#[test]
fn an_error_is_recorded_and_backed_off_and_the_worker_lives_on() {
    let server = Server::shared(Preload::Yes);
    let landing = server.create_dir("backoff_landing");
    let mut session = server.create_database("backoff");
    create_pipeline(&mut session, "p", "staging.p", &landing);
    land_and_wait(&mut session, &landing, "1.csv", "staging.p");

    let away = landing.with_extension("away");
    std::fs::rename(&landing, &away).unwrap();
    wait_until("the error shows", SOON, || {
        session.number("SELECT count(*) FROM millrace.pipelines WHERE pipeline = 'p' AND last_error IS NOT NULL") == 1
    });
    let starts = server.log().matches("was terminated").count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.log().matches("was terminated").count(), starts, "a crash loop:\n{}", server.log_tail());

    std::fs::rename(&away, &landing).unwrap();
    land(&landing, "2.csv", b"id\n2\n");
    wait_until("it recovers by itself", Duration::from_secs(60), || {
        session.number("SELECT count(*) FROM staging.p") == 2
    });
}

#[test]
fn names_with_quotes_dollars_and_foreign_letters_are_names() {
    let server = Server::shared(Preload::Yes);
    let mut session = server.create_database("it's \"a\" $$name$$");
    for (i, name) in ["'; DROP SCHEMA millrace CASCADE; --", "a\"b", "$$x$$", "naïve 流"].iter().enumerate() {
        let landing = server.create_dir(&format!("hostile_{i}"));
        let table = format!("staging.t{i}");
        create_pipeline(&mut session, name, &table, &landing);
        land_and_wait(&mut session, &landing, "it's a \"file\".csv", &table);
        session.execute(&format!(
            "SELECT millrace.create_consumer({}, {}, start_at => 'earliest')",
            quote(name),
            quote(name)
        ));
        assert_eq!(
            session.value(&format!("SELECT chunk_no FROM millrace.next_chunk({}, {})", quote(name), quote(name))),
            "1"
        );
        crate::retail::assert_verified(&mut session, name);
    }
    for name in ["", "a.b", "line\nbreak"] {
        session.refused(
            &format!("SELECT millrace.create_pipeline({}, source => 'file:///tmp', columns => 'id int')", quote(name)),
            "22023",
        );
    }
}
