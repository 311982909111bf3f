//! What a worker holds while it waits, and what is left behind chunk by chunk: nothing, and nothing.
//!
//! `SOAK_SECONDS` lets the soak go on for so long (by default it ends after some chunks); the curve is printed. `make soak` does that.

use crate::azurite::Azurite;
use crate::lake::{self, CONTAINER, put};
use crate::relay::{Gate, Relay, Side};
use crate::retail::assert_verified;
use crate::server::{Preload, Server, Setup, note, wait_until};
use crate::sql::Session;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(900);
/// Autovacuum has transactions of its own.
const QUIET: &str = "autovacuum = off\nmillrace.work_mem = '64MB'\n";

struct Case {
    server: Server,
    session: Session,
    azurite: Azurite,
    relay: Relay,
    landed: i64,
}

/// Pipelines of all kinds, with workers that look every 50 ms: 'p' (all layers), 'k' (keyed), 'd' (follows the layer of 'p').
fn case() -> Case {
    let server = Server::start_as(Preload::Yes, Setup { settings: QUIET.into(), ..Setup::default() });
    let mut session = server.create_database("resources");
    let azurite = Azurite::start(&[CONTAINER]);
    let relay = Relay::to(&azurite);
    let place = lake::location(&azurite);
    session.execute("CREATE SCHEMA staging");
    session.execute(&lake::create_server_at(&azurite, &relay.endpoint(&azurite)));
    session.execute(&lake::create_mapping(&azurite));
    session.execute(&format!(
        r#"SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', columns => 'id int, amount numeric', staging => 'staging.p', every => '50 ms',
               raw => '{place}/raw', semi_processed => '{place}/semi', options => '{{"settle": 0, "retention": "100 chunks", "max_files_per_chunk": 1}}');
           SELECT millrace.add_expectation('p', 'positive', 'amount > 0');
           SELECT millrace.create_aggregate('p', 'sums', 'SELECT id % 10 AS digit, count(*) AS n, sum(amount) AS amount FROM staging.p GROUP BY id % 10',
               publish => '{place}/sums');
           SELECT millrace.create_pipeline('k', source => '{place}/in/*.csv', columns => 'id int, amount numeric', staging => 'staging.k', every => '50 ms',
               options => '{{"settle": 0, "primary_key": "id", "max_files_per_chunk": 1}}');
           SELECT millrace.create_pipeline('d', source => '{place}/semi', staging => 'staging.d', every => '50 ms');
           SELECT millrace.create_consumer('p', 'c', blocks => false)"#
    ));
    Case { server, session, azurite, relay, landed: 0 }
}

impl Case {
    fn land(&mut self, files: i64) {
        for _ in 0..files {
            self.landed += 1;
            let lines = (0..20).map(|n| format!("{},{}.5\n", self.landed * 20 + n, n + 1)).collect::<String>();
            put(&self.azurite, &format!("in/{:06}.csv", self.landed), format!("id,amount\n{lines}").as_bytes());
        }
    }

    fn wait_until_loaded(&mut self) {
        let loaded = format!(
            "SELECT count(*) FROM (SELECT pipeline, sum(row_count) AS n FROM millrace.chunks GROUP BY pipeline) c WHERE n = {}",
            self.landed * 20
        );
        let session = &mut self.session;
        wait_until("all is loaded and published", LONG, || {
            session.number(&loaded) == 3
                && session.number("SELECT count(*) FROM millrace.publications WHERE state <> 'done'") == 0
        });
    }

    fn worker(&mut self, pipeline: &str) -> i64 {
        self.session
            .number(&format!("SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_millrace {pipeline}'"))
    }

    /// Bytes of a process' contexts in Postgres: in TopMemoryContext itself, and in all of them.
    fn contexts(&mut self, pid: i64) -> (u64, u64) {
        let before = self.server.log().len();
        self.session.execute(&format!("SELECT pg_log_backend_memory_contexts({pid})"));
        let mut found = None;
        let server = &self.server;
        wait_until("it tells of its memory", LONG, || {
            let log = server.log()[before..].to_owned();
            // `…: 1 total in 2 blocks; 3 free (4 chunks); 5 used`
            let used = |what: &str| {
                let line = log.lines().find(|line| line.contains(&format!("[{pid}]")) && line.contains(what))?;
                line.rsplit(';').next()?.split_whitespace().next()?.parse::<u64>().ok()
            };
            found = used("TopMemoryContext:").zip(used("Grand total:"));
            found.is_some()
        });
        found.unwrap()
    }

    fn measure(&mut self, pid: i64) -> Figures {
        let (top, all) = self.contexts(pid);
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok);
        let targets: Vec<String> = open
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // Postgres keeps tables open, as many as it may.
            .filter(|target| !target.contains("/base/") && !target.contains("/pg_wal/"))
            .collect();
        let sockets = targets.iter().filter(|target| target.starts_with("socket:")).count();
        Figures { top, all, files: targets.len(), sockets, own: crate::memory::own_memory(pid) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Bytes used in TopMemoryContext, and in all contexts.
    top: u64,
    all: u64,
    /// Open files that are no tables, and those among them that are sockets.
    files: usize,
    sockets: usize,
    /// Megabytes of its own.
    own: u64,
}

#[test]
fn a_worker_with_nothing_to_do_takes_no_transaction_ids_and_writes_nothing() {
    let mut case = case();
    case.land(3);
    case.wait_until_loaded();
    let taken = |case: &mut Case| {
        case.session.line("SELECT txid_snapshot_xmax(txid_current_snapshot()), pg_current_wal_insert_lsn()")
    };
    // What is due once (upkeep, partitions made ahead) comes soon behind the last chunk; then there is a stretch without anything.
    let deadline = Instant::now() + LONG;
    loop {
        let (before, asked) = (taken(&mut case), case.relay.requests());
        let until = Instant::now() + Duration::from_secs(30);
        // Three pipelines look at storage, each time that they look at all.
        while case.relay.requests() < asked + 60 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let looks = case.relay.requests() - asked;
        assert!(looks >= 60, "the workers do not look: {looks} requests");
        let after = taken(&mut case);
        if after == before {
            return note(&format!(
                "resources: {looks} looks at storage with nothing to do took no transaction id and no byte of WAL"
            ));
        }
        assert!(Instant::now() < deadline, "idle ticks take transaction ids or write: {before}, then {after}");
    }
}

#[test]
fn while_storage_is_waited_for_no_snapshot_and_no_transaction_is_held() {
    let mut case = case();
    case.land(1);
    case.wait_until_loaded();
    case.session.execute("ALTER SYSTEM SET millrace.network_timeout = '1h'");
    case.session.execute("SELECT pg_reload_conf(), millrace.pause('k')");
    for (what, method, word) in [
        ("a listing", "GET", "restype=container"),
        ("a download", "GET", "/in/"),
        ("a data file of the raw layer", "PUT", "/raw/part-"),
        ("a commit of the raw layer", "PUT", "/raw/_delta_log/"),
        ("a data file of a published layer", "PUT", "/semi/part-"),
        ("a commit of a published layer", "PUT", "/semi/_delta_log/"),
        ("a commit of a published aggregate", "PUT", "/sums/_delta_log/"),
        ("a version of a source", "GET", "/semi/_delta_log/"),
    ] {
        case.relay.gate(Gate { method, words: vec![word.into()], side: Side::Before });
        case.land(1);
        assert!(case.relay.wait_for_held(LONG).is_some(), "{what}: it never came to that");
        // Other workers may be in a transaction for a moment; whoever waits for storage is in one for as long as that takes.
        let held = "SELECT coalesce(string_agg(format('%s: xmin %s, xid %s', application_name, backend_xmin, backend_xid), ', '), '')
                      FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' AND coalesce(backend_xmin, backend_xid) IS NOT NULL";
        let session = &mut case.session;
        wait_until(&format!("nobody who waits for {what} holds anything"), Duration::from_secs(30), || {
            session.value(held).is_empty()
        });
        case.relay.open_gate();
        case.session.execute("SELECT 1");
    }
    case.session.execute("SELECT millrace.resume('k')");
    case.wait_until_loaded();
    assert_verified(&mut case.session, "p");
}

#[test]
fn chunk_after_chunk_leaves_no_memory_no_file_and_no_connection_behind() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut case = case();
    // Plans, caches and connections are there once some chunks have come.
    case.land(40);
    case.wait_until_loaded();
    let begun = Instant::now();
    let workers: Vec<(&str, i64)> = ["p", "k", "d"].into_iter().map(|name| (name, case.worker(name))).collect();
    let first: Vec<Figures> = workers.iter().map(|(_, pid)| case.measure(*pid)).collect();
    let mut told = Instant::now();
    loop {
        case.land(30);
        case.wait_until_loaded();
        let over = begun.elapsed() >= Duration::from_secs(seconds) && case.landed >= 130;
        if over || told.elapsed() > Duration::from_secs(60) || case.landed == 70 {
            told = Instant::now();
            for (name, pid) in &workers {
                let now = case.measure(*pid);
                note(&format!(
                    "soak: {} s, {} chunks: worker of {name}: {now:?}",
                    begun.elapsed().as_secs(),
                    case.landed
                ));
            }
        }
        if over {
            break;
        }
    }
    for ((name, pid), first) in workers.iter().zip(first) {
        assert_eq!(case.worker(name), *pid, "the worker of {name} is the same all the time");
        let last = case.measure(*pid);
        let what = format!("the worker of {name}: {first:?}, then {last:?}");
        assert!(last.top < first.top + 32 * 1024, "TopMemoryContext grows: {what}");
        assert!(last.all < first.all + 1024 * 1024, "memory contexts grow: {what}");
        assert!(last.files <= first.files + 8, "open files grow: {what}");
        assert!(last.sockets <= first.sockets + 4, "connections grow: {what}");
        assert!(last.own < 64 + 150, "more memory than work_mem + 150 MB: {what}");
    }
    assert_verified(&mut case.session, "p");
}
