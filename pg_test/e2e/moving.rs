//! A database that is restored, recovered, promoted or copied: what takes the original's place goes on exactly where it was, or stops where the
//! lake has moved on and says so; a copy beside its original leaves the lake alone.

use crate::retail::assert_verified;
use crate::server::{Preload, Server, land, url, wait_until};
use crate::sql::Session;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

struct Case {
    server: Server,
    session: Session,
    landing: PathBuf,
    lake: PathBuf,
}

/// A server of its own, with a pipeline that has every layer, an aggregate and a consumer, and two chunks of which one is acknowledged.
fn case(preload: Preload) -> Case {
    let server = Server::start_new(preload);
    let mut session = server.create_database("moving");
    let (landing, lake) = (server.create_dir("landing"), server.create_dir("lake"));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', every => NULL,
             raw => '{lake}/raw', semi_processed => '{lake}/clean', options => '{{\"settle\": 0}}');
         SELECT millrace.create_aggregate('p', 'odd', 'SELECT id % 2 AS odd, count(*) AS n FROM staging.p GROUP BY 1', publish => '{lake}/odd');
         SELECT millrace.create_consumer('p', 'c', start_at => 'earliest')",
        url(&landing),
        lake = url(&lake)
    ));
    let mut case = Case { server, session, landing, lake };
    for number in 1..=2 {
        case.load(number);
    }
    case.session.execute("SELECT millrace.next_chunk('p', 'c'); SELECT millrace.ack('p', 'c', 1)");
    case
}

impl Case {
    fn load(&mut self, number: u32) {
        load(&self.landing, &mut self.session, number);
    }

    /// Every file of the lake.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.lake.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { waiting.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

fn load(landing: &Path, session: &mut Session, number: u32) {
    land(landing, &format!("{number}.csv"), format!("id\n{number}\n").as_bytes());
    session.execute("CALL millrace.run('p')");
}

/// All is there that was landed, once, in every layer; and the consumer goes on behind what it acknowledged.
fn assert_whole(session: &mut Session, files: u32) {
    let ids: Vec<String> = (1..=files).map(|id| id.to_string()).collect();
    assert_eq!(session.lines("SELECT id FROM staging.p ORDER BY id"), ids);
    assert_eq!(session.value("SELECT sum(n) FROM staging.odd"), files.to_string());
    assert_verified(session, "p");
    for chunk in 2..=files {
        assert_eq!(session.value("SELECT chunk_no FROM millrace.next_chunk('p', 'c')"), chunk.to_string());
        session.execute(&format!("SELECT millrace.ack('p', 'c', {chunk})"));
    }
}

fn assert_stopped(session: &mut Session, why: &str) {
    let error = session.raises("CALL millrace.run('p')", "23514");
    assert!(error.message().contains(why) && error.detail().is_some(), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("take_over")), "{error:?}");
    let state = session.line("SELECT state, state_reason FROM millrace.pipelines WHERE pipeline = 'p'");
    assert!(state.starts_with("stopped|") && state.contains(why), "{state}");
}

#[test]
fn a_dump_that_is_restored_on_a_fresh_server_goes_on_where_it_was() {
    let case = case(Preload::No);
    let dump = case.server.dump("moving");
    case.server.stop_fast();
    let fresh = Server::start_apart(Preload::No);
    fresh.session("postgres").execute("CREATE DATABASE moving");
    fresh.restore("moving", &dump);
    let mut session = fresh.session("moving");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 2, "nothing is loaded twice");
    load(&case.landing, &mut session, 3);
    assert_whole(&mut session, 3);
    assert_eq!(session.number("SELECT count(*) FROM millrace.events WHERE kind = 'moved'"), 1);
}

#[test]
fn a_restored_dump_stops_where_the_lake_has_moved_on_and_takes_over_when_it_is_told_to() {
    let mut case = case(Preload::No);
    let dump = case.server.dump("moving");
    case.load(3);
    let before = case.files();
    case.server.stop_fast();
    let fresh = Server::start_apart(Preload::No);
    fresh.session("postgres").execute("CREATE DATABASE moving");
    fresh.restore("moving", &dump);
    let mut session = fresh.session("moving");
    assert_stopped(&mut session, "the lake has moved on");
    session.execute("SELECT millrace.resume('p')");
    assert_stopped(&mut session, "the lake has moved on");
    assert_eq!(case.files(), before);
    session.execute("SELECT millrace.take_over('p')");
    session.execute("CALL millrace.run('p')");
    load(&case.landing, &mut session, 4);
    assert_whole(&mut session, 4);
}

#[test]
fn a_database_made_from_a_template_leaves_the_lake_of_its_original_alone() {
    let mut case = case(Preload::No);
    case.session = case.server.session("postgres");
    case.session.execute("CREATE DATABASE copy TEMPLATE moving");
    let mut copy = case.server.session("copy");
    case.session = case.server.session("moving");
    let before = case.files();
    land(&case.landing, "3.csv", b"id\n3\n");
    assert_stopped(&mut copy, "is a copy");
    copy.execute("SELECT millrace.resume('p')");
    assert_stopped(&mut copy, "is a copy");
    copy.execute("SELECT millrace.drop_pipeline('p', drop_tables => true)");
    assert_eq!(case.files(), before);
    case.session.execute("CALL millrace.run('p')");
    assert_whole(&mut case.session, 3);
}

#[test]
fn a_base_backup_that_is_started_beside_its_original_leaves_the_lake_alone() {
    let mut case = case(Preload::No);
    let copy = case.server.base_backup(Preload::No, "");
    copy.start();
    let before = case.files();
    land(&case.landing, "3.csv", b"id\n3\n");
    let mut session = copy.session("moving");
    assert_stopped(&mut session, "is a copy");
    assert_eq!(case.files(), before);
    case.session.execute("CALL millrace.run('p')");
    assert_whole(&mut case.session, 3);
    // A crash is no move.
    drop(session);
    case.server.kill();
    case.server.start();
    case.session = case.server.session("moving");
    load(&case.landing, &mut case.session, 4);
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 4);
}

#[test]
fn a_standby_is_left_alone_and_a_promoted_one_goes_on() {
    let mut case = case(Preload::Yes);
    let conninfo = case.server.conninfo("moving").replace("dbname=moving", "");
    let standby =
        case.server.base_backup(Preload::Yes, &format!("primary_conninfo = '{conninfo}'\nhot_standby = on\n"));
    standby.touch("standby.signal");
    standby.start();
    let mut session = standby.session("moving");
    session.raises("CALL millrace.run('p')", "55000");
    case.session.execute("SELECT millrace.alter_pipeline('p', every => '50 ms')");
    land(&case.landing, "3.csv", b"id\n3\n");
    wait_until("the standby follows", SOON, || session.number("SELECT count(*) FROM staging.p") == 3);
    assert_eq!(
        session.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_millrace pipeline%'"),
        0
    );
    wait_until("what was loaded is published", SOON, || {
        session.number("SELECT count(*) FROM millrace.publications WHERE chunk_no = 3 AND state = 'done'") == 2
    });
    case.server.stop_fast();
    session.execute("SELECT pg_promote()");
    land(&case.landing, "4.csv", b"id\n4\n");
    wait_until("the promoted one goes on by itself", SOON, || session.number("SELECT count(*) FROM staging.p") == 4);
    session.execute("SELECT millrace.alter_pipeline('p', every => '1 hour')");
    session.execute("CALL millrace.run('p')");
    assert_whole(&mut session, 4);
}

/// The server as it was at a named moment, recovered from a base backup and the log of the original, which is gone.
fn recovered(case: &Case, backup: Server, moment: &str) -> Server {
    case.server.stop_fast();
    backup.configure(&format!(
        "restore_command = 'cp \"{}/pg_wal/%f\" \"%p\"'\nrecovery_target_name = '{moment}'\nrecovery_target_action = 'promote'\n",
        case.server.data().display()
    ));
    backup.touch("recovery.signal");
    backup.start();
    let mut session = backup.session("moving");
    wait_until("recovery ends", SOON, || session.value("SELECT pg_is_in_recovery()") == "f");
    backup
}

#[test]
fn a_recovery_to_a_moment_between_landing_and_loading_loads_what_was_landed() {
    let mut case = case(Preload::No);
    let backup = case.server.base_backup(Preload::No, "");
    case.session.execute(
        "CREATE FUNCTION staging.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE lock_not_available; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON staging.p FOR EACH ROW EXECUTE FUNCTION staging.refuse()",
    );
    land(&case.landing, "3.csv", b"id\n3\n");
    let _ = case.session.try_execute("CALL millrace.run('p')");
    assert_eq!(case.session.number("SELECT head FROM millrace.position"), 2, "landed and not loaded");
    case.session.execute("SELECT pg_create_restore_point('between')");
    case.session.execute("DROP TRIGGER refuse ON staging.p");
    let server = recovered(&case, backup, "between");
    let mut session = server.session("moving");
    session.execute("DROP TRIGGER refuse ON staging.p");
    session.execute("CALL millrace.run('p')");
    load(&case.landing, &mut session, 4);
    assert_whole(&mut session, 4);
}

#[test]
fn a_recovery_to_a_moment_before_what_is_published_stops_and_says_so() {
    let mut case = case(Preload::No);
    let backup = case.server.base_backup(Preload::No, "");
    case.session.execute("SELECT pg_create_restore_point('before')");
    case.load(3);
    let before = case.files();
    let server = recovered(&case, backup, "before");
    let mut session = server.session("moving");
    assert_stopped(&mut session, "the lake has moved on");
    assert_eq!(case.files(), before);
    session.execute("SELECT millrace.take_over('p')");
    session.execute("CALL millrace.run('p')");
    assert_whole(&mut session, 3);
}
