//! Each durable step of the engine has a point before it and a point behind it. A process is stopped right there, killed with `kill -9`, and
//! what comes after finds everything in order: `verify()` is clean, totals are those of an account kept here, a consumer misses and repeats
//! nothing.
//!
//! No build of the extension knows of these points: a step in the lake is stopped at the relay, before storage hears of it or when it has done
//! it; a step in Postgres is stopped by a trigger that waits in the commit (before), or in a commit that is on disk and waits for a standby
//! that is not there (behind). So it is the released library that is killed. `POINTS` names them all; `FAULT_POINT` (a part of a name) keeps
//! to some.

use crate::azurite::Azurite;
use crate::lake::{self, CONTAINER, put};
use crate::relay::{Gate, Relay, Side};
use crate::retail::assert_verified;
use crate::server::{Preload, Server, note, signal, wait_until};
use crate::sql::Session;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

/// Where a step stops.
enum At {
    /// A request to storage: its method, and words of its path.
    Request(&'static str, &'static [&'static str]),
    /// The commit of the transaction in which this happens to a row of a table.
    Commit(&'static str),
}

use At::{Commit, Request};

/// By name: what is done at that moment, and where it stops. Two points each: before and behind.
const POINTS: [(&str, &str, At); 18] = [
    ("land: data file", "CALL millrace.run('p')", Request("PUT", &["/p/raw/part-"])),
    ("land: commit", "CALL millrace.run('p')", Request("PUT", &["/p/raw/_delta_log/", ".json"])),
    ("land: commit, keyed", "CALL millrace.run('k')", Request("PUT", &["/k/raw/_delta_log/", ".json"])),
    ("load: commit", "CALL millrace.run('p')", Commit("INSERT ON millrace.chunk")),
    ("load: commit, keyed", "CALL millrace.run('k')", Commit("INSERT ON millrace.chunk")),
    ("publish: data file", "CALL millrace.run('p')", Request("PUT", &["/p/semi/part-"])),
    ("publish: commit", "CALL millrace.run('p')", Request("PUT", &["/p/semi/_delta_log/", ".json"])),
    ("publish: commit, aggregate", "CALL millrace.run('p')", Request("PUT", &["/p/sums/_delta_log/", ".json"])),
    ("publish: commit, state", "CALL millrace.run('k')", Request("PUT", &["/k/sums/_delta_log/", ".json"])),
    ("publish: note", "CALL millrace.run('p')", Commit("UPDATE OF state ON millrace.publication")),
    ("upkeep: checkpoint", "CALL millrace.run('k')", Request("PUT", &["/k/raw/_delta_log/", ".checkpoint."])),
    (
        "upkeep: pointer to the checkpoint",
        "CALL millrace.run('k')",
        Request("PUT", &["/k/raw/_delta_log/_last_checkpoint"]),
    ),
    ("cleanup: copy", "CALL millrace.run('p')", Request("PUT", &["/p/archive/"])),
    ("cleanup: delete", "CALL millrace.run('p')", Request("POST", &["comp=batch"])),
    ("cleanup: note", "CALL millrace.run('p')", Commit("UPDATE OF cleanup ON millrace.file")),
    ("retention: drop", "CALL millrace.run('r')", Commit("UPDATE OF kept_from ON millrace.position")),
    ("claim", CLAIM, Commit("INSERT ON copy.claimed")),
    ("ack", "SELECT copy.work('p')", Commit("INSERT ON copy.ledger")),
];

/// The lease itself is taken without a statement, so no trigger sees it; this row commits with it.
const CLAIM: &str =
    "INSERT INTO copy.claimed SELECT chunk_no FROM millrace.next_chunk('p', 'copier', worker => 'copier')";

struct Case {
    server: Server,
    azurite: Azurite,
    relay: Relay,
    files: i64,
}

const PIPELINES: [&str; 3] = ["p", "k", "r"];

impl Case {
    fn new() -> Case {
        let server = Server::start_new(Preload::No);
        let azurite = Azurite::start(&[CONTAINER]);
        let relay = Relay::to(&azurite);
        let mut session = server.create_database("points");
        session.execute("CREATE SCHEMA staging");
        session.execute(&lake::create_server_at(&azurite, &relay.endpoint(&azurite)));
        session.execute(&lake::create_mapping(&azurite));
        let place = lake::location(&azurite);
        let create = |name: &str, more: &str, options: &str| {
            format!(
                "SELECT millrace.create_pipeline('{name}', source => '{place}/{name}/in/*.csv', columns => 'id bigint, k int', staging => 'staging.{name}',
                        every => NULL, {more} options => '{{\"settle\": 0, \"checkpoint_every\": 2, \"backoff\": \"10 ms\", {options}}}');"
            )
        };
        let layers = |name: &str| format!("raw => '{place}/{name}/raw', semi_processed => '{place}/{name}/semi',");
        session.execute(&create(
            "p",
            &layers("p"),
            &format!("\"cleanup\": \"archive\", \"archive\": \"{place}/p/archive\""),
        ));
        session.execute(&create(
            "k",
            &layers("k"),
            "\"primary_key\": \"k\", \"order_by\": \"id\", \"max_files_per_chunk\": 1",
        ));
        session.execute(&create("r", "", "\"retention\": \"2 chunks\", \"chunks_per_partition\": 1"));
        session.execute(&format!(
            "SELECT millrace.create_aggregate('p', 'p_sums', 'SELECT k, count(*) AS n, sum(id) AS ids FROM staging.p GROUP BY k', publish => '{place}/p/sums');
             SELECT millrace.create_aggregate('k', 'k_sums', 'SELECT count(*) AS n, sum(id) AS ids FROM staging.k',
                    publish => '{place}/k/sums', options => '{{\"publish_mode\": \"overwrite\"}}');
             CREATE SCHEMA copy;
             CREATE TABLE copy.ledger (stream text, chunk_no bigint, rows bigint, ids bigint);
             CREATE TABLE copy.claimed (chunk_no bigint);
             CREATE FUNCTION copy.work(stream text) RETURNS boolean LANGUAGE plpgsql AS $$
             DECLARE c record;
             BEGIN
                 SELECT * INTO c FROM millrace.next_chunk(stream, 'copier', worker => 'copier');
                 IF c.chunk_no IS NULL THEN RETURN false; END IF;
                 EXECUTE format('INSERT INTO copy.ledger SELECT %L, %s, count(*), sum(id) FROM millrace.chunk_rows(NULL::staging.%I, %s)', stream,
                                c.chunk_no, stream || CASE stream WHEN 'k' THEN '_changes' ELSE '' END, c.chunk_no);
                 PERFORM millrace.ack(stream, 'copier', c.chunk_no, c.token);
                 RETURN true;
             END $$;
             SELECT millrace.create_consumer(s, 'copier') FROM unnest('{{p,k,r}}'::text[]) s;
             CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
                 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'"
        ));
        Case { server, azurite, relay, files: 0 }
    }

    /// Something to do for every pipeline: a row for each key.
    fn land(&mut self) {
        self.files += 1;
        for name in PIPELINES {
            let ids = (self.files * 7 - 6..=self.files * 7).map(|id| format!("{id},{}\n", id % 7));
            let text = format!("id,k\n{}", ids.collect::<String>());
            put(&self.azurite, &format!("{name}/in/{:04}.csv", self.files), text.as_bytes());
        }
    }

    fn session(&self) -> Session {
        let mut session = None;
        wait_until("the server answers", LONG, || {
            session = self.server.try_session("points").ok();
            session.is_some()
        });
        session.unwrap()
    }

    /// Works everything off, and holds it against the account.
    fn check(&self, point: &str) {
        let mut session = self.session();
        for name in PIPELINES {
            session.execute(&format!("CALL millrace.run('{name}')"));
            while session.value(&format!("SELECT copy.work('{name}')")) == "t" {}
        }
        // Retention goes as far as the consumer lets it.
        session.execute("CALL millrace.run('r')");
        for name in PIPELINES {
            assert_verified(&mut session, name);
        }
        let ids = 1..=self.files * 7;
        let (count, sum) = (ids.clone().count(), ids.clone().sum::<i64>());
        let expected = format!("{count}|{sum}");
        let newest: Vec<i64> = (0..7).filter_map(|k| ids.clone().rev().find(|id| id % 7 == k)).collect();
        let state = format!("{}|{}", newest.len(), newest.iter().sum::<i64>());
        assert_eq!(session.line("SELECT count(*), sum(id) FROM staging.p"), expected, "{point}");
        assert_eq!(session.line("SELECT sum(n), sum(ids) FROM staging.p_sums"), expected, "{point}");
        assert_eq!(session.line("SELECT count(*), sum(id) FROM staging.k"), state, "{point}");
        assert_eq!(session.line("SELECT n, ids FROM staging.k_sums"), state, "{point}");
        for name in PIPELINES {
            let ledger = format!("FROM copy.ledger WHERE stream = '{name}'");
            assert_eq!(
                session.line(&format!("SELECT sum(rows), sum(ids) {ledger}")),
                expected,
                "{point}: the ledger of {name}"
            );
            assert_eq!(
                session.line(&format!("SELECT count(*), count(DISTINCT chunk_no), max(chunk_no) {ledger}")),
                session.line(&format!("SELECT head, head, head FROM millrace.consumers WHERE stream = '{name}'")),
                "{point}: each chunk of {name} once"
            );
        }
        assert!(session.number("SELECT count(DISTINCT _chunk_no) FROM staging.r") <= 3, "{point}: retention goes on");
        assert_eq!(session.number("SELECT count(*) FROM millrace.publications WHERE state <> 'done'"), 0, "{point}");
        assert_eq!(lake::list(&self.azurite, "p/in"), [""; 0], "{point}: archived");
        assert_eq!(lake::list(&self.azurite, "p/archive").len() as i64, self.files, "{point}: archived");
    }

    /// Does what leads to the point, in a process of its own, and kills that one there.
    fn kill_at(&self, (name, sql, at): &(&str, &str, At), side: Side) {
        let mut admin = self.session();
        match at {
            Request(method, words) => {
                let words = words.iter().map(|word| word.to_string()).collect();
                self.relay.gate(Gate { method, words, side });
            }
            Commit(what) => {
                admin.execute(&format!(
                    "CREATE CONSTRAINT TRIGGER stop AFTER {what} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stop();
                     SELECT pg_advisory_lock(7)"
                ));
            }
        }
        let mut victim = self.session();
        let pid: u32 = victim.value("SELECT pg_backend_pid()").parse().unwrap();
        std::thread::scope(|threads| {
            let doing = threads.spawn(move || victim.try_execute(sql));
            let waits = |admin: &mut Session, event: &str| {
                wait_until(&format!("{name}, {side:?}: it waits for {event}"), LONG, || {
                    admin.value(&format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}")) == event
                });
            };
            match at {
                Request(..) => {
                    assert!(self.relay.wait_for_held(LONG).is_some(), "{name}, {side:?}: nothing came by");
                }
                Commit(_) => {
                    waits(&mut admin, "advisory");
                    if side == Side::After {
                        self.no_commit_returns(&mut admin, threads);
                        admin.execute("SELECT pg_advisory_unlock(7)");
                        waits(&mut admin, "SyncRep");
                    }
                }
            }
            signal("KILL", pid);
            assert!(doing.join().unwrap().is_err(), "{name}, {side:?}: it was not there to be killed");
        });
        self.relay.open_gate();
        // The postmaster ends all sessions when it notices; one that was opened before that would end, too.
        wait_until("the postmaster has noticed", LONG, || admin.try_value("SELECT 1").is_err());
        let mut admin = self.session();
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names");
        admin.execute("SELECT pg_reload_conf()");
        wait_until("commits return", LONG, || admin.value("SHOW synchronous_standby_names").is_empty());
        if let Commit(what) = at {
            admin.execute(&format!("DROP TRIGGER stop ON {}", what.rsplit(' ').next().unwrap()));
        }
    }

    /// From here on what commits is on disk, and is not told so.
    fn no_commit_returns<'scope>(&self, admin: &mut Session, threads: &'scope std::thread::Scope<'scope, '_>) {
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        admin.execute("SELECT pg_reload_conf()");
        let mut probe = self.session();
        let pid = probe.value("SELECT pg_backend_pid()");
        // Ends with the server.
        threads.spawn(move || while probe.try_execute("SELECT pg_logical_emit_message(true, 'probe', '')").is_ok() {});
        wait_until("commits wait", LONG, || {
            admin.value(&format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}")) == "SyncRep"
        });
    }
}

/// Kills at these points, before the step and then behind it, where what begins anew comes by once more.
fn kill_at_points(meant: fn(&At) -> bool) {
    let mut case = Case::new();
    // So that each step comes: retention has something to drop, a checkpoint is due.
    for _ in 0..3 {
        case.land();
        for name in PIPELINES {
            case.session().execute(&format!("CALL millrace.run('{name}')"));
        }
    }
    case.check("at the start");
    let only = std::env::var("FAULT_POINT").unwrap_or_default();
    let points: Vec<_> = POINTS.iter().filter(|(name, _, at)| meant(at) && name.contains(&only)).collect();
    for point in &points {
        for side in [Side::Before, Side::After] {
            // Two versions, so that upkeep is due in this run.
            case.land();
            case.land();
            if point.0 == "claim" || point.0 == "ack" {
                case.session().execute("CALL millrace.run('p')");
            }
            case.kill_at(point, side);
        }
        case.check(point.0);
    }
    note(&format!("fault points: killed before and behind {} steps", points.len()));
}

#[test]
fn killed_before_and_behind_any_durable_step_in_the_lake_nothing_is_lost_doubled_or_wrong() {
    kill_at_points(|at| matches!(at, Request(..)));
}

#[test]
fn killed_before_and_behind_any_commit_nothing_is_lost_doubled_or_wrong() {
    kill_at_points(|at| matches!(at, Commit(_)));
}
