//! The promise of aggregates, tried at random: after every chunk, and for every reader at every instant, each view shows what its query
//! over the staging table shows, to the last digit; and what is published is the view.
//!
//! Two pipelines, one that appends and one with a key, and twenty queries over each. Inserts, updates, deletes, duplicates, late rows,
//! rejects that are requeued, workers that are killed, aggregates that come late, readers all the while. `PROPERTY_SEED` repeats a run,
//! `PROPERTY_STEPS` makes it longer.

mod late;
mod published;
mod queries;
mod rows;

use crate::retail::assert_verified;
use crate::server::{Preload, note, signal, wait_until};
use crate::site::{Place, Site, land, url};
use crate::sql::{Session, quote};
use queries::QUERIES;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rows::Writer;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const DATABASE: &str = "property";
const SOON: Duration = Duration::from_secs(120);
const PIPELINES: [(&str, &str); 2] = [
    ("grows", "{\"settle\": 0, \"max_files_per_chunk\": 1}"),
    (
        "changes",
        "{\"settle\": 0, \"max_files_per_chunk\": 1, \"primary_key\": [\"id\"], \"on_conflict\": \"newest\", \"order_by\": [\"at\"], \"delete_when\": \"op = ''D''\"}",
    ),
];

struct Stream {
    name: &'static str,
    landing: Place,
    lake: Place,
    writer: Writer,
    landed: i64,
}

impl Stream {
    /// `place`: what its directories are called by, which several servers share.
    fn create(server: &Site, session: &mut Session, place: &str, name: &'static str, options: &str) -> Stream {
        let landing = server.create_dir(&format!("{place}_{name}_landing"));
        let lake = server.create_dir(&format!("{place}_{name}_lake"));
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => '{}/*.csv', columns => {}, staging => 'staging.{name}', every => '50 ms', options => '{options}')",
            url(&landing),
            quote(rows::COLUMNS)
        ));
        Stream { name, landing, lake, writer: Writer::default(), landed: 0 }
    }

    fn create_aggregates(&self, session: &mut Session, chosen: impl Fn(usize) -> bool) {
        for (i, query) in QUERIES.iter().enumerate().filter(|(i, _)| chosen(*i)) {
            let publish = match query.published_by {
                Some(_) => quote(&url(&self.lake.join(query.name))),
                None => "NULL".into(),
            };
            let options = if query.whole { r#"{"publish_mode": "overwrite"}"# } else { "{}" };
            session.execute(&format!(
                "SELECT millrace.create_aggregate('{0}', 'views_{0}.q{i}', {1}, publish => {publish}, options => '{options}')",
                self.name,
                quote(&query.over(&format!("staging.{}", self.name)))
            ));
        }
    }

    fn land(&mut self, text: &str) {
        land(&self.landing, &format!("{:05}.csv", self.landed), text.as_bytes());
        self.landed += 1;
    }

    fn is_loaded(&self, server: &Site) -> bool {
        let Ok(mut session) = server.try_session(DATABASE) else { return false };
        let loaded = session.try_value(&format!(
            "SELECT count(*) FROM millrace.files WHERE pipeline = '{}' AND state = 'loaded'",
            self.name
        ));
        loaded.is_ok_and(|n| n == self.landed.to_string())
    }
}

/// What the view shows and what its query does, where they differ.
fn difference(stream: &str, i: usize) -> String {
    let (view, query) = (format!("views_{stream}.q{i}"), QUERIES[i].over(&format!("staging.{stream}")));
    format!(
        "(SELECT 'kept', t::text FROM (SELECT * FROM {view} EXCEPT ALL {query}) t)
         UNION ALL (SELECT 'recomputed', t::text FROM ({query} EXCEPT ALL SELECT * FROM {view}) t)"
    )
}

/// Reads until it is over; a view that differs from its query in one and the same snapshot is told.
fn read_until(
    server: &Site,
    over: &AtomicBool,
    (seed, created): (u64, &AtomicUsize),
    wrong: &Mutex<Vec<String>>,
) -> usize {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut read = 0;
    while !over.load(Ordering::Relaxed) {
        let Ok(mut session) = server.try_session(DATABASE) else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        while !over.load(Ordering::Relaxed) {
            let (stream, _) = PIPELINES[random.random_range(0..PIPELINES.len())];
            let i = random.random_range(0..created.load(Ordering::Relaxed));
            match session.try_rows(&difference(stream, i)) {
                Ok(rows) if rows.is_empty() => read += 1,
                Ok(rows) => wrong.lock().unwrap().push(format!("{} of {stream}: {rows:?}", QUERIES[i].name)),
                Err(e) if e.as_db_error().is_some_and(|e| !e.code().code().starts_with("57")) => {
                    wrong.lock().unwrap().push(format!("{}: {e:?}", QUERIES[i].name))
                }
                // The server restarts after a kill.
                Err(_) => break,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    read
}

struct SetOnDrop<'a>(&'a AtomicBool);
impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn views_equal_their_queries_after_every_chunk_whatever_comes_and_dies() {
    let seed = number("PROPERTY_SEED").unwrap_or_else(|| rand::rngs::StdRng::from_os_rng().random_range(0..1_000_000));
    let server = Site::alone(module_path!(), Preload::Yes);
    // Where each step takes longer there are fewer.
    let steps = number("PROPERTY_STEPS").unwrap_or(if server.is_disk() { 12 } else { 4 });
    note(&format!("property: PROPERTY_SEED={seed} PROPERTY_STEPS={steps}"));
    let mut random = ChaCha8Rng::seed_from_u64(seed);

    let mut session = server.create_database(DATABASE);
    session.execute(
        "CREATE SCHEMA staging; CREATE SCHEMA views_grows; CREATE SCHEMA views_changes;
         CREATE COLLATION staging.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    let mut streams = PIPELINES.map(|(name, options)| Stream::create(&server, &mut session, "all", name, options));
    let late = random.random_range(3..8).min(steps - 2);
    for stream in &streams {
        stream.create_aggregates(&mut session, |i| i < 15);
    }
    drop(session);

    let (over, created, wrong) = (AtomicBool::new(false), AtomicUsize::new(15), Mutex::new(vec![]));
    let reads: usize = std::thread::scope(|threads| {
        let readers: Vec<_> = (0..3)
            .map(|i| {
                let (server, over, created, wrong) = (&server, &over, &created, &wrong);
                threads.spawn(move || read_until(server, over, (seed + i, created), wrong))
            })
            .collect();
        let end = SetOnDrop(&over);
        for step in 0..steps {
            for stream in &mut streams {
                let files = if random.random_range(0..5) == 0 { 3 } else { 1 };
                for _ in 0..files {
                    let deletes = random.random_range(0..6) == 0;
                    let text =
                        if deletes { stream.writer.deletes(&mut random) } else { stream.writer.file(&mut random) };
                    stream.land(&text);
                }
            }
            if random.random_range(0..6) == 0 {
                kill_a_worker(&server, Duration::from_millis(random.random_range(0..150)));
            }
            for stream in &streams {
                wait_until("what has landed is loaded", SOON, || stream.is_loaded(&server));
            }
            let mut session = reconnect(&server);
            if step == late {
                for stream in &streams {
                    stream.create_aggregates(&mut session, |i| i >= 15);
                }
                created.store(QUERIES.len(), Ordering::Relaxed);
            }
            let requeued = (random.random_range(0..4) == 0).then(|| {
                session.number("SELECT millrace.requeue_rejects('grows', fix => 'n = ''1''') + millrace.requeue_rejects('changes', fix => 'n = ''1''')")
            });
            for (stream, _) in PIPELINES {
                for (i, query) in QUERIES.iter().enumerate().take(created.load(Ordering::Relaxed)) {
                    let differing = session.lines(&difference(stream, i));
                    assert!(
                        differing.is_empty(),
                        "step {step} (requeued: {requeued:?}): {} of {stream} differs from its query:\n{}",
                        query.name,
                        differing.join("\n")
                    );
                }
            }
            if step % 10 == 9 || step + 1 == steps {
                PIPELINES.iter().for_each(|(stream, _)| assert_verified(&mut session, stream));
                streams.iter().for_each(|stream| {
                    published::assert_published(&server, &mut session, stream, created.load(Ordering::Relaxed))
                });
            }
            assert!(wrong.lock().unwrap().is_empty(), "a reader found:\n{}", wrong.lock().unwrap().join("\n"));
        }
        drop(end);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(wrong.lock().unwrap().is_empty(), "a reader found:\n{}", wrong.lock().unwrap().join("\n"));
    assert!(reads > 0, "nobody read");
    let mut session = reconnect(&server);
    assert!(session.number("SELECT count(*) FROM staging.changes_replaced") > 0, "no row was replaced");
    assert!(session.number("SELECT count(*) FROM staging.grows_rejects") > 0, "no row was rejected");
    note(&format!("property: {reads} reads"));
}

fn reconnect(server: &Site) -> Session {
    wait_until("the server answers", SOON, || server.try_session(DATABASE).is_ok());
    server.session(DATABASE)
}

/// Ends a pipeline's worker without a word, after a while; the server then restarts all of its processes.
fn kill_a_worker(server: &Site, after: Duration) {
    let Ok(mut session) = server.try_session(DATABASE) else { return };
    let pid = session.try_value(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' ORDER BY random() LIMIT 1",
    );
    std::thread::sleep(after);
    if let Some(pid) = pid.ok().and_then(|pid| pid.parse().ok()) {
        signal("KILL", pid);
        wait_until("the server has noticed", SOON, || session.try_value("SELECT 1").is_err());
    }
}
