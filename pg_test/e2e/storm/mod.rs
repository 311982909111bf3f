//! `make chaos`: pipelines, consumers and publishers at work while everything around them fails, round after round, and a truth kept
//! outside that all of it is held against. README.md here says what happens and what must hold.
//!
//! `CHAOS_SECONDS` bounds it (20), `CHAOS_SEED` (1) says what is drawn, `CHAOS_EVENTS` (3) come in a round, `CHAOS_KILLS` (a third) of them kills, `CHAOS_KINDS`
//! (names, by comma) keeps to some kinds of events, `CHAOS_TRACE` tells of each.

mod clients;
mod clock;
mod events;
mod truth;
mod world;

use crate::server::note;
use clients::{CONSUMERS, Outside, call_run};
use events::{KILLS, Kind, OTHERS};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use world::{PIPELINES, World};

/// What is waited for takes a second or two; a busy machine may take long.
const LONG: Duration = Duration::from_secs(240);
/// Events in one world: then its tables have grown, and another begins.
const EVENTS: u64 = 75;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Of a round.
fn events() -> u64 {
    setting("CHAOS_EVENTS").unwrap_or(3).max(1)
}

/// Kinds in turn, each as often as any other, in an order that is drawn.
struct Deck {
    kinds: Vec<Kind>,
    left: Vec<Kind>,
}

impl Deck {
    fn of(kinds: &[Kind]) -> Deck {
        let only = std::env::var("CHAOS_KINDS").unwrap_or_default();
        let meant = |kind: &&Kind| only.is_empty() || only.split(',').any(|name| name == format!("{kind:?}"));
        Deck { kinds: kinds.iter().filter(meant).copied().collect(), left: vec![] }
    }

    fn draw(&mut self, dice: &mut ChaCha8Rng) -> Option<Kind> {
        if self.left.is_empty() {
            self.left = self.kinds.clone();
            self.left.shuffle(dice);
        }
        self.left.pop()
    }
}

#[test]
fn whatever_happens_nothing_is_lost_doubled_or_wrong() {
    let seconds = setting("CHAOS_SECONDS").unwrap_or(20);
    let seed = setting("CHAOS_SEED").unwrap_or(1);
    note(&format!("storm: CHAOS_SEED={seed} CHAOS_SECONDS={seconds}"));
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut decks = (Deck::of(&KILLS), Deck::of(&OTHERS));
    let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
    let (begun, mut rounds) = (Instant::now(), 0);
    let is_over = |begun: Instant| begun.elapsed() > Duration::from_secs(seconds);
    while rounds == 0 || !is_over(begun) {
        let world = World::new(dice.random());
        if rounds == 0 {
            for (there, what) in [
                (world.mounted, "DiskOf…Full: left out, only root may mount"),
                (world.clock.is_some(), "ClockStep: left out, no compiler of C"),
            ] {
                if !there {
                    note(&format!("storm: {what}"));
                }
            }
        }
        let outside = Mutex::new(BTreeMap::new());
        std::thread::scope(|threads| {
            let _end = End(&world);
            threads.spawn(|| world.produce());
            threads.spawn(|| call_run(&world));
            for consumer in &CONSUMERS {
                let world = &world;
                threads.spawn(move || consumer.consume(world));
            }
            threads.spawn(|| Outside::default().consume(&world, |o| *outside.lock().unwrap() = o.ledger.clone()));
            for _ in 0..(EVENTS / events()).max(1) {
                round(&world, &mut dice, &mut decks, &mut counts);
                check(&world, &outside);
                rounds += 1;
                if is_over(begun) {
                    break;
                }
            }
        });
        note(&format!("storm: {rounds} rounds in {} s: {}", begun.elapsed().as_secs(), tell(&counts)));
    }
}

/// For whoever looks at a run.
fn trace(what: &str) {
    if std::env::var_os("CHAOS_TRACE").is_some() {
        note(&format!("storm: {what}"));
    }
}

fn tell(counts: &BTreeMap<Kind, u32>) -> String {
    counts.iter().map(|(kind, n)| format!("{kind:?} {n}")).collect::<Vec<_>>().join(", ")
}

/// Also when an assertion fails: the others must not go on for ever.
struct End<'a>(&'a World);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Files land, things happen, and then it is quiet until everything is where it belongs.
fn round(world: &World, dice: &mut ChaCha8Rng, decks: &mut (Deck, Deck), counts: &mut BTreeMap<Kind, u32>) {
    world.landing.store(true, Ordering::Relaxed);
    let events = events();
    let kills = setting("CHAOS_KILLS").unwrap_or((events / 3).max(1)).min(events);
    let mut kinds: Vec<Kind> = (0..kills).filter_map(|_| decks.0.draw(dice)).collect();
    kinds.extend((kills..events).filter_map(|_| decks.1.draw(dice)));
    kinds.shuffle(dice);
    for kind in kinds {
        std::thread::sleep(Duration::from_millis(dice.random_range(20..250)));
        let began = Instant::now();
        if events::strike(world, kind, dice) {
            *counts.entry(kind).or_default() += 1;
        }
        trace(&format!("{kind:?} took {} ms", began.elapsed().as_millis()));
        world.revive();
    }
    std::thread::sleep(Duration::from_millis(dice.random_range(0..150)));
    world.landing.store(false, Ordering::Relaxed);
    drop(world.storage.write().unwrap());
    world.calm();
}

/// Waits until all that has landed is loaded, published and consumed, and holds it against the truth.
fn check(world: &World, outside: &Mutex<BTreeMap<i64, (i64, i64)>>) {
    let mut session = world.session();
    // A session may be the victim of a process that was killed a moment ago.
    let mut ask = |sql: &str| loop {
        match session.try_rows(sql) {
            Ok(rows) => {
                return rows
                    .into_iter()
                    .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|"))
                    .collect::<Vec<_>>();
            }
            Err(error) => {
                let alive =
                    error.as_db_error().is_some_and(|e| e.code().code() != "57P02" && e.code().code() != "57P01");
                assert!(!alive, "{sql}\n{}", crate::sql::explain(&error));
                session = world.session();
            }
        }
    };
    let truth = world.truth.lock().unwrap();
    let files = [truth.sales.files, truth.accounts.files, truth.shop.files];
    let began = Instant::now();
    let mut state = vec![];
    let settled = |ask: &mut dyn FnMut(&str) -> Vec<String>, state: &mut Vec<String>| {
        *state = ask(
            "SELECT p.pipeline, p.state, p.last_error, (SELECT count(*) FROM millrace.files f WHERE f.pipeline = p.pipeline AND f.state = 'loaded'),
                    (SELECT count(*) FROM millrace.publications o WHERE o.pipeline = p.pipeline AND o.state <> 'done'),
                    (SELECT coalesce(sum(c.lag_chunks), 0) FROM millrace.consumers c WHERE c.stream = p.pipeline)
               FROM millrace.pipelines p ORDER BY array_position('{sales,accounts,shop}'::text[], p.pipeline)",
        );
        state.len() == PIPELINES.len()
            && state.iter().zip(files).all(|(line, files)| line.ends_with(&format!("|{files}|0|0")))
    };
    while !settled(&mut ask, &mut state) {
        assert!(
            began.elapsed() < LONG,
            "waited in vain until {files:?} files are loaded, published and consumed:\n{}\n{}",
            state.join("\n"),
            ask("SELECT state, chunk_no, token, consumer, worker, attempt, last_error FROM millrace.deliveries")
                .join("\n")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    trace(&format!("quiet after {} ms", began.elapsed().as_millis()));
    for pipeline in PIPELINES {
        let wrong = ask(&format!(
            "SELECT layer, check_name, expected, found, detail FROM millrace.verify('{pipeline}') WHERE ok IS NOT TRUE"
        ));
        assert!(wrong.is_empty(), "verify('{pipeline}') finds:\n{}", wrong.join("\n"));
    }
    let sales = &truth.sales;
    let sums = [format!("{}|{}", sales.rows, truth::money(sales.cents))];
    let rejected = format!("{}|{}", sales.rejects, sales.dropped);
    assert_eq!(ask("SELECT count(*), coalesce(sum(amount), 0.00) FROM staging.sales"), sums);
    assert_eq!(ask("SELECT count(DISTINCT id) FROM staging.sales"), [sales.rows.to_string()]);
    assert_eq!(
        ask(
            "SELECT (SELECT count(*) FROM staging.sales_rejects), sum(dropped_count) FROM millrace.chunks WHERE pipeline = 'sales'"
        ),
        [rejected]
    );
    assert_eq!(ask("SELECT account, n, amount FROM staging.by_account ORDER BY account"), sales.by_account());
    assert_eq!(
        ask("SELECT account, version, balance, tier FROM staging.accounts ORDER BY account"),
        truth.accounts.state()
    );
    assert_eq!(ask("SELECT tier, n, balance FROM staging.by_tier ORDER BY tier"), truth.accounts.by_tier());
    // The consumers: each chunk once, with all its rows.
    assert_eq!(ask("SELECT count(*), coalesce(sum(amount), 0.00) FROM copy.sales"), sums);
    assert_eq!(
        ask("SELECT account, version, balance, tier FROM copy.accounts ORDER BY account"),
        truth.accounts.state()
    );
    // A chunk of nothing but late versions has no rows, and is handed to nobody.
    for (consumer, stream) in [("copier", "sales"), ("pool", "sales"), ("mirror", "accounts")] {
        let differing = ask(&format!(
            "SELECT * FROM (SELECT chunk_no, rows FROM copy.ledger WHERE consumer = '{consumer}') l
               FULL JOIN (SELECT chunk_no, row_count FROM millrace.chunks WHERE pipeline = '{stream}' AND row_count > 0) c USING (chunk_no)
              WHERE rows IS DISTINCT FROM row_count"
        ));
        assert!(differing.is_empty(), "the ledger of {consumer} differs: {differing:?}");
        let repeated = ask(&format!(
            "SELECT chunk_no FROM copy.ledger WHERE consumer = '{consumer}' GROUP BY 1 HAVING count(*) > 1"
        ));
        assert!(repeated.is_empty(), "{consumer} was given twice: {repeated:?}");
    }
    assert_eq!(ask("SELECT sum(amount) FROM copy.ledger WHERE consumer = 'pool'"), [truth::money(sales.cents)]);
    let ledger = outside.lock().unwrap();
    let sum = |of: fn(&(i64, i64)) -> i64| ledger.values().map(of).sum::<i64>();
    assert_eq!((sum(|l| l.0), sum(|l| l.1)), (truth.shop.rows, truth.shop.quantity));
    assert_eq!(ledger.keys().next_back().copied().unwrap_or(0), ledger.len() as i64, "a gap in the ledger of the shop");
    // Nobody gave up on anything, and nothing broke that a storm does not break.
    assert_eq!(ask("SELECT path, error FROM millrace.files WHERE state = 'dead'"), [""; 0]);
    assert_eq!(ask("SELECT consumer, chunk_no FROM millrace.dead_letters"), [""; 0]);
    let log = world.server.log();
    let bugs = ["signal 11", "signal 6", "signal 7", "panicked", "This is a bug in pg_millrace", "TRAP:"];
    let lines: Vec<&str> = log.lines().filter(|line| bugs.iter().any(|bug| line.contains(bug))).collect();
    assert!(lines.is_empty(), "the log says:\n{}", lines.join("\n"));
    assert_eq!(*world.differences.lock().unwrap(), [""; 0]);
    trace(&format!("checked after {} ms", began.elapsed().as_millis()));
}
