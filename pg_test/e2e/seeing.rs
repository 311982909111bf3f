//! What people see of the server at work: progress, stats, watch and doctor, and that none of it shows data or secrets.

use crate::server::{Preload, wait_until};
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::{Session, quote};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn create_pipeline(session: &mut Session, landing: &Place, every: &str, options: &str) {
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => {}, columns => 'id int NOT NULL, note text', staging => 'staging.p',
                every => {every}, options => {})",
        quote(&format!("{}/*.csv", url(landing))),
        quote(&at_once(options))
    ));
}

#[test]
fn progress_shows_what_a_worker_is_at_and_what_is_left() {
    let server = Site::of(module_path!(), Preload::Yes);
    let landing = server.create_dir("progress_landing");
    let mut session = server.create_database("progress");
    create_pipeline(&mut session, &landing, "'50 ms'", r#"{"max_files_per_chunk": 1}"#);
    // Loading stands still for as long as this session holds the lock.
    session.execute(
        "CREATE FUNCTION staging.stand_still() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(4711); RETURN NEW; END $$;
         SELECT millrace.pause('p');
         CREATE TRIGGER stand_still BEFORE INSERT ON staging.p FOR EACH ROW EXECUTE FUNCTION staging.stand_still();
         SELECT pg_advisory_lock(4711);",
    );
    for i in 0..3 {
        land(&landing, &format!("{i}.csv"), b"id,note\n1,a\n2,b\n");
    }
    session.execute("SELECT millrace.resume('p')");
    wait_until("the worker is at loading", SOON, || {
        session.value("SELECT phase FROM millrace.progress WHERE pipeline = 'p'") == "loading"
    });
    assert_eq!(
        session.line("SELECT files_done, files, bytes_done, bytes, percent, rows_done, backlog_files, backlog_bytes FROM millrace.progress"),
        "1|1|16|16|100.0|2|3|48"
    );
    wait_until("it says for what it waits", SOON, || {
        session.value("SELECT waits_for FROM millrace.progress") == "Lock: advisory"
    });
    let activity = "SELECT application_name, query, state FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' AND datname = current_database()";
    wait_until("its activity says so", SOON, || session.line(activity) == "pg_millrace p|pipeline p: loading|active");
    assert!(session.lines("SELECT * FROM millrace.watch('p')").join("\n").contains("p: loading"));

    session.execute("SELECT pg_advisory_unlock(4711)");
    wait_until("everything is loaded, and the worker waits", SOON, || {
        session.line("SELECT phase, backlog_files FROM millrace.progress") == "waiting|0"
    });
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 6);
    session.execute("SELECT millrace.alter_pipeline('p', every => '1 hour')");
    wait_until("it waits for its next tick, in words of its own", SOON, || {
        session.value("SELECT waits_for FROM millrace.progress") == "next tick"
    });
    // Postgres lets extensions name their waits since 17.
    let named = session.number("SHOW server_version_num") >= 170_000;
    for (kind, event) in [("launcher", "MillraceDuty"), ("pipeline", "MillraceTick")] {
        let event = if named { event } else { "Extension" };
        wait_until("pg_stat_activity shows the wait", SOON, || {
            session
                .lines(&format!("SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'pg_millrace {kind}' AND wait_event IS NOT NULL"))
                .contains(&event.to_string())
        });
    }
    session.execute("SELECT millrace.pause('p')");
    wait_until("its worker is gone", SOON, || {
        session.line("SELECT phase, pid IS NULL, waits_for IS NULL FROM millrace.progress") == "paused|t|t"
    });
}

#[test]
fn without_preload_no_process_is_seen_and_the_figures_of_chunks_are_there() {
    let server = Site::of(module_path!(), Preload::No);
    let landing = server.create_dir("stats_landing");
    let mut session = server.create_database("stats");
    create_pipeline(&mut session, &landing, "NULL", r#"{"max_files_per_chunk": 1}"#);
    for i in 0..5 {
        land(&landing, &format!("{i}.csv"), b"id,note\n1,a\n2,b\nx,c\n");
    }
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.line("SELECT phase, pid IS NULL FROM millrace.progress"), "by run only|t");
    assert_eq!(
        session.lines("SELECT chunk_no, rows_total, rejects_total, bytes_total FROM millrace.chunks ORDER BY 1"),
        ["1|2|1|20", "2|4|2|40", "3|6|3|60", "4|8|4|80", "5|10|5|100"]
    );
    assert_eq!(
        session.lines("SELECT hop, chunks, rows, bytes FROM millrace.stats ORDER BY hop COLLATE \"C\""),
        ["chunk|5|10|100", "end_to_end|5|10|100", "load|5|10|100", "read|5|10|100"]
    );
    assert_eq!(
        session
            .number("SELECT count(*) FROM millrace.stats WHERE p50_ms > 0 AND p95_ms >= p50_ms AND p99_ms >= p95_ms"),
        4
    );
    assert_eq!(
        session.number(
            "SELECT count(*) FROM millrace.chunks WHERE (timings ->> 'loading')::float > 0 AND (timings ->> 'lag')::float > 0"
        ),
        5
    );
}

#[test]
fn watch_fits_on_one_screen_and_refuses_an_unknown_pipeline() {
    let server = Site::of(module_path!(), Preload::No);
    let landing = server.create_dir("watch_landing");
    let mut session = server.create_database("watch");
    create_pipeline(&mut session, &landing, "NULL", "{}");
    session.execute("SELECT millrace.create_consumer('p', 'billing', start_at => 'earliest')");
    let empty = session.lines("SELECT * FROM millrace.watch('p')");
    assert!(empty.len() < 24, "{empty:?}");
    land(&landing, "1.csv", b"id,note\n1,a\n2,b\n");
    session.execute("CALL millrace.run('p')");
    let screen = session.lines("SELECT * FROM millrace.watch('p')");
    assert!(screen.len() < 24 && screen.iter().all(|line| line.chars().count() <= 84), "{screen:?}");
    let text = screen.join("\n");
    for part in ["p: by run only", "loaded   1 chunks, 2 rows", "billing", "1 chunks, 2 rows behind", "p99"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert_eq!(session.lines("SELECT * FROM millrace.watch()").len(), 2);
    session.refused_with_hint("SELECT * FROM millrace.watch('no such')", "42704");
}

fn advice(session: &mut Session, check: &str) -> String {
    session.line(&format!("SELECT status, advice FROM millrace.doctor() WHERE check_name = {}", quote(check)))
}

#[test]
fn doctor_finds_nothing_wrong_with_a_healthy_pipeline_and_names_what_is() {
    let server = Site::of(module_path!(), Preload::Yes);
    let landing = server.create_dir("doctor_landing");
    let mut session = server.create_database("doctor");
    create_pipeline(&mut session, &landing, "'50 ms'", "{}");
    land(&landing, "1.csv", b"id,note\n1,a\n");
    wait_until("the row is loaded", SOON, || session.number("SELECT count(*) FROM staging.p") == 1);
    // These servers run without fsync; the machine's disk is as it is.
    let bad =
        "SELECT * FROM millrace.doctor() WHERE status <> 'ok' AND check_name NOT IN ('durability', 'disk', 'memory')";
    assert_eq!(session.lines(bad), Vec::<String>::new());

    assert!(advice(&mut session, "durability").starts_with("warning|Turn both on"));
    match landing.disk() {
        Some(disk) => std::fs::remove_dir_all(disk).unwrap(),
        None => session.execute("DROP USER MAPPING FOR CURRENT_USER SERVER lake"),
    }
    wait_until("the location is missed", SOON, || advice(&mut session, "location: source").starts_with("error|"));
    wait_until("the failure is told", SOON, || {
        let told = advice(&mut session, "state");
        told.starts_with("warning|It is tried again at") && told.contains("millrace.resume('p')")
    });
    session.execute("SELECT millrace.pause('p')");
    wait_until("the pause is told", SOON, || {
        advice(&mut session, "state") == "notice|SELECT millrace.resume('p') lets it go on."
    });
    session.execute("DROP TABLE staging.p CASCADE");
    assert!(advice(&mut session, "owner and tables").starts_with("error|SELECT millrace.drop_pipeline('p')"));
}

#[test]
fn doctor_says_how_pipelines_move_on_a_server_without_preload() {
    let server = Site::of(module_path!(), Preload::No);
    let landing = server.create_dir("doctor_no_preload_landing");
    let mut session = server.create_database("doctor_no_preload");
    assert!(advice(&mut session, "preload").starts_with("notice|Add pg_millrace to shared_preload_libraries"));
    create_pipeline(&mut session, &landing, "'1 second'", "{}");
    assert!(advice(&mut session, "preload").starts_with("error|Add pg_millrace to shared_preload_libraries"));
    assert!(advice(&mut session, "pg_cron").contains("1 pipelines move only when millrace.run is called"));
}

#[test]
fn a_monitor_sees_how_it_goes_but_no_data_and_no_secret() {
    let server = Site::of(module_path!(), Preload::Yes);
    let landing = server.create_dir("monitor_landing");
    let mut session = server.create_database("monitor");
    create_pipeline(&mut session, &landing, "'50 ms'", "{}");
    session.execute(
        "SELECT millrace.create_consumer('p', 'c', start_at => 'earliest');
         CREATE SERVER hidden FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://hidden/', endpoint 'http://127.0.0.1:9/', allow_http 'true');
         CREATE USER MAPPING FOR CURRENT_USER SERVER hidden OPTIONS (account_key 'bm9ib2R5a25vd3M=');
         DO $$ BEGIN CREATE ROLE eco_monitor LOGIN IN ROLE millrace_monitor; EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
    );
    land(&landing, "1.csv", b"id,note\n1,precious\nx,precious\n");
    wait_until("the row is loaded", SOON, || session.number("SELECT count(*) FROM staging.p") == 1);

    let mut monitor = server.session_as("monitor", "eco_monitor");
    let views = monitor.lines(
        "SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'millrace'::regnamespace AND relkind = 'v'
            AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1",
    );
    assert!(views.contains(&"millrace.progress".to_string()) && views.contains(&"millrace.stats".to_string()));
    let mut seen = String::new();
    let from = views.into_iter().chain(
        ["millrace.doctor()", "millrace.watch()", "millrace.watch('p')", "millrace.machine_facts()"].map(String::from),
    );
    for what in from {
        seen.push_str(&monitor.lines(&format!("SELECT * FROM {what} AS v")).join("\n"));
    }
    assert!(
        seen.contains("only postgres and members of it may look"),
        "a monitor does not use the owner's credentials"
    );
    for hidden in ["precious", "bm9ib2R5a25vd3M="] {
        assert!(!seen.contains(hidden), "{hidden} is shown");
    }
    monitor.raises("SELECT * FROM millrace.check_locations('p')", "42501");
    monitor.raises("SELECT * FROM staging.p", "42501");
}
