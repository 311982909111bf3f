//! Whoever waits for storage that does not answer leaves within a second of being asked to, and nothing is half done.
//!
//! The relay holds one request of the work that is under way; how long the end took is printed. What is asserted is generous, for a machine
//! may be busy.

use crate::azurite::Azurite;
use crate::lake::{self, CONTAINER, put};
use crate::relay::{Gate, Relay, Side};
use crate::retail::assert_verified;
use crate::server::{Preload, Server, note, wait_until};
use crate::sql::Session;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);
/// A second is promised.
const LIMIT: Duration = Duration::from_secs(10);

struct Case {
    server: Server,
    azurite: Azurite,
    relay: Relay,
    landed: i64,
}

/// With pipelines 'p' (run by calls) and, where there are workers, 'w'.
fn case(preload: Preload) -> Case {
    let server = Server::start_new(preload);
    let mut session = server.create_database("waits");
    let azurite = Azurite::start(&[CONTAINER]);
    let relay = Relay::to(&azurite);
    session.execute("ALTER SYSTEM SET millrace.network_timeout = '1h'");
    session.execute("SELECT pg_reload_conf()");
    wait_until("the setting counts", LONG, || session.value("SHOW millrace.network_timeout") == "1h");
    session.execute("CREATE SCHEMA staging");
    session.execute(&lake::create_server_at(&azurite, &relay.endpoint(&azurite)));
    session.execute(&lake::create_mapping(&azurite));
    let place = lake::location(&azurite);
    for (name, every) in [("p", "NULL"), ("w", "'50 ms'")] {
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => '{place}/{name}/in/*.csv', columns => 'id int', staging => 'staging.{name}', every => {every},
                    raw => '{place}/{name}/raw', semi_processed => '{place}/{name}/semi', options => '{{\"settle\": 0, \"backoff\": \"100 ms\"}}')"
        ));
    }
    Case { server, azurite, relay, landed: 0 }
}

/// The work that hangs: a name, and the request that is held.
type Hang = (&'static str, &'static str, &'static str, Side);
const HANGS: [Hang; 5] = [
    ("a listing", "GET", "restype=container", Side::Before),
    ("a download", "GET", "/in/", Side::After),
    ("a landing's commit", "PUT", "/raw/_delta_log/", Side::Before),
    ("a landing's commit that is there", "PUT", "/raw/_delta_log/", Side::After),
    ("a publication's commit", "PUT", "/semi/_delta_log/", Side::Before),
];

impl Case {
    fn land(&mut self) {
        self.landed += 1;
        for name in ["p", "w"] {
            put(
                &self.azurite,
                &format!("{name}/in/{:03}.csv", self.landed),
                format!("id\n{}\n", self.landed).as_bytes(),
            );
        }
    }

    fn hold(&self, (_, method, word, side): &Hang) {
        self.relay.gate(Gate { method, words: vec![word.to_string()], side: *side });
    }

    fn wait_for_held(&self, what: &str) {
        assert!(self.relay.wait_for_held(LONG).is_some(), "{what}: it never came to that");
    }

    /// How long a call goes on that waits for storage; none if it did not come to wait before its timeout.
    fn ends(&self, admin: &mut Session, hang: &Hang, how: &str, seconds: u64) -> Option<Duration> {
        self.hold(hang);
        let mut session = self.server.session("waits");
        let pid = session.number("SELECT pg_backend_pid()");
        let timeout = Duration::from_secs(seconds);
        let times_out = how == "statement_timeout";
        if times_out {
            session.execute(&format!("SET statement_timeout = '{seconds}s'"));
        }
        std::thread::scope(|threads| {
            let called = threads.spawn(move || {
                let begun = Instant::now();
                let error = session.try_execute("CALL millrace.run('p')").expect_err("it waits");
                (begun.elapsed(), Instant::now(), error.as_db_error().map(|e| e.code().code().to_owned()))
            });
            let held = self.relay.wait_for_held(if times_out { timeout } else { LONG }).is_some();
            let asked = Instant::now();
            if !times_out {
                admin.execute(&format!("SELECT {how}({pid})"));
            }
            let (whole, ended, code) = called.join().unwrap();
            // The last words of a session that is terminated may come after its client has noticed the end.
            let expected: &[_] = if how == "pg_terminate_backend" { &[Some("57P01"), None] } else { &[Some("57014")] };
            assert!(expected.contains(&code.as_deref()), "{how}: {}: {code:?}", hang.0);
            if !held {
                self.relay.open_gate();
                return None;
            }
            Some(if times_out { whole.saturating_sub(timeout) } else { ended - asked })
        })
    }

    /// Everything that has landed is loaded once, and published.
    fn check(&self, session: &mut Session, pipeline: &str) {
        session.execute("RESET statement_timeout");
        wait_until("everything is loaded and published", LONG, || {
            if pipeline == "p" {
                session.execute("CALL millrace.run('p')");
            }
            session.line(&format!(
                "SELECT count(*), count(DISTINCT id), (SELECT count(*) FROM millrace.publications WHERE pipeline = '{pipeline}' AND state <> 'done') FROM staging.{pipeline}"
            )) == format!("{0}|{0}|0", self.landed)
        });
    }
}

fn assert_soon(what: &str, took: Duration) {
    note(&format!("cancelled: {what}: {} ms", took.as_millis()));
    assert!(took < LIMIT, "{what} took {took:?}");
}

#[test]
fn a_call_that_waits_for_storage_answers_a_cancel_a_timeout_and_a_termination_at_once() {
    let mut case = case(Preload::No);
    let mut admin = case.server.session("waits");
    for hang in &HANGS {
        for how in ["pg_cancel_backend", "statement_timeout", "pg_terminate_backend"] {
            let what = format!("{how} of a call that waits for {}", hang.0);
            // A timeout may strike before it comes to that, where all is slow.
            let took = [1, 10, 60].into_iter().find_map(|seconds| {
                case.land();
                case.ends(&mut admin, hang, how, seconds)
            });
            let took = took.unwrap_or_else(|| panic!("{what}: it never came to that"));
            assert_soon(&what, took);
            // What was held back comes late: behind the next try, and before it.
            let mut session = case.server.session("waits");
            if how == "pg_cancel_backend" {
                case.check(&mut session, "p");
            }
            case.relay.open_gate();
            case.check(&mut session, "p");
        }
    }
    assert_verified(&mut case.server.session("waits"), "p");
}

#[test]
fn a_worker_that_waits_for_storage_ends_when_it_is_told_to_and_another_goes_on() {
    let mut case = case(Preload::Yes);
    let mut admin = case.server.session("waits");
    for hang in &HANGS {
        let what = format!("pg_terminate_backend of a worker that waits for {}", hang.0);
        case.hold(hang);
        case.land();
        case.wait_for_held(&what);
        let worker = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_millrace w'";
        let pid = admin.number(worker);
        let asked = Instant::now();
        admin.execute(&format!("SELECT pg_terminate_backend({pid})"));
        let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        wait_until(&what, LONG, || admin.number(&gone) == 0);
        assert_soon(&what, asked.elapsed());
        case.relay.open_gate();
        case.check(&mut admin, "w");
    }
    assert_verified(&mut admin, "w");
}

#[test]
fn a_fast_shutdown_does_not_wait_for_storage() {
    let mut case = case(Preload::Yes);
    for hang in &HANGS {
        let what = format!("a fast shutdown while a worker waits for {}", hang.0);
        case.hold(hang);
        case.land();
        case.wait_for_held(&what);
        assert_soon(&what, case.server.stop_fast());
        case.relay.open_gate();
        case.server.start();
        case.check(&mut case.server.session("waits"), "w");
    }
    assert_verified(&mut case.server.session("waits"), "w");
}

#[test]
fn a_database_can_be_dropped_while_its_worker_and_a_call_wait_for_storage() {
    let mut case = case(Preload::Yes);
    let what = "DROP DATABASE … WITH (FORCE) while a worker and a call wait for downloads";
    let mut session = case.server.session("waits");
    case.hold(&HANGS[1]);
    case.land();
    case.wait_for_held("the worker");
    case.hold(&("", "GET", "/p/in/", Side::After));
    std::thread::scope(|threads| {
        threads.spawn(move || session.try_execute("CALL millrace.run('p')").expect_err("it waits"));
        case.wait_for_held("the call");
        let mut admin = case.server.session("postgres");
        let begun = Instant::now();
        admin.execute("DROP DATABASE waits WITH (FORCE)");
        assert_soon(what, begun.elapsed());
        let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('pg_millrace pipeline', 'pg_millrace database')";
        wait_until("its workers are gone", LONG, || admin.number(workers) == 0);
    });
    case.relay.open_gate();
}
