//! Nothing is lost when things die: kill -9 of the pipeline's worker, of random processes, of the whole server, while
//! invoices land and a consumer copies them. The seed is printed; `CHAOS_SEED` repeats the choice of victims.

use crate::lake::{Storage, on_each_storage};
use crate::server::{Preload, Server, note, signal, wait_until};
use crate::site::{Site, url};
use crate::{copier, retail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PIPELINE_WORKER: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' LIMIT 1";
const ANY_PROCESS: &str = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() ORDER BY random() LIMIT 1";

#[derive(Debug, Clone, Copy)]
enum Victim {
    Worker,
    AnyProcess,
    ServerImmediate,
    ServerKill,
}

on_each_storage! {
fn random_kills_lose_nothing_and_double_nothing(storage, _cell) {
    let kills = if storage == Storage::Disk { 30 } else { 10 };
    let Some(files) = retail::files() else { return note("chaos: skipped, the shared data is not here") };
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand_seed);
    note(&format!("chaos: CHAOS_SEED={seed}"));
    let mut random = ChaCha8Rng::seed_from_u64(seed);

    let server = Server::start_new(Preload::Yes);
    let mut session = server.create_database("chaos");
    let places = retail::Places::on(storage, &server, &mut session, "chaos");
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "'50 ms'");
    retail::create_aggregate(&mut session, &places);
    copier::create(&mut session);
    drop(session);

    let over = AtomicBool::new(false);
    let mut killed = [0; 4];
    std::thread::scope(|threads| {
        threads.spawn(|| copy_until(&server, &over));
        let _end = SetOnDrop(&over); // also when an assertion fails here: the copier must not go on for ever
        let mut landing = files.iter();
        for kill in 0..kills {
            // The files are spread over the kills, so that each kill finds something under way.
            let due = (kill + 1) * files.len() / kills - kill * files.len() / kills;
            for file in landing.by_ref().take(due) {
                places.land(file);
                std::thread::sleep(Duration::from_millis(random.random_range(0..120)));
            }
            let victim = match random.random_range(0..10) {
                0..4 => Victim::Worker,
                4..8 => Victim::AnyProcess,
                8 => Victim::ServerImmediate,
                _ => Victim::ServerKill,
            };
            killed[victim as usize] += usize::from(strike(&server, victim));
            wait_until("the server answers again", Duration::from_secs(60), || server.try_session("chaos").is_ok());
        }
        wait_until("all invoices are loaded, copied and published", Duration::from_secs(240), || {
            let Ok(mut session) = server.try_session("chaos") else { return false };
            retail::records_loaded(&mut session) >= retail::ROWS
                && retail::all_published(&mut session)
                && session.number("SELECT count(*) FROM copier.log")
                    >= session.number("SELECT count(*) FROM millrace.chunks")
        });
    });
    note(&format!("chaos: killed [worker, any process, server immediate, server -9] = {killed:?}"));

    let mut session = server.session("chaos");
    retail::assert_exact(&mut session);
    retail::assert_dense(&mut session);
    copier::assert_exactly_once(&mut session);
    retail::assert_verified(&mut session, "invoices");
}

fn kills_in_the_middle_of_a_version_of_a_delta_table_lose_nothing_and_double_nothing(storage, _cell) {
    const ROWS: i64 = 40_000;
    let server = Site::on(storage, Arc::new(Server::start_new(Preload::Yes)));
    let mut session = server.create_database("chaos");
    let (landing, lake) = (server.create_dir("delta_kills_landing"), server.create_dir("delta_kills_lake"));
    let columns = "transaction_id text, step int, merchant text, amount numeric(12,2)";
    // All rows are one version of the table, which its follower takes in many chunks.
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.simulate('transactions', '{landing}', rows_per_file => {ROWS}, seed => 7);
         SELECT millrace.create_pipeline('first', '{landing}/*.csv', columns => '{columns}', staging => 'staging.first',
             semi_processed => '{lake}/table', every => NULL)",
        landing = url(&landing),
        lake = url(&lake)
    ));
    session.execute("CALL millrace.run('first')");
    session.execute(&format!(
        "SELECT millrace.create_pipeline('second', '{}/table', columns => '{columns}', staging => 'staging.second', every => '50 ms',
             options => '{{\"max_rows_per_chunk\": 500}}')",
        url(&lake)
    ));
    drop(session);
    let loaded = |least: i64| {
        let Ok(mut session) = server.try_session("chaos") else { return false };
        session.number("SELECT coalesce(sum(row_count), 0) FROM millrace.chunks WHERE pipeline = 'second'") >= least
    };
    for kill in 1..=4 {
        wait_until("some more rows are loaded", Duration::from_secs(60), || loaded(kill * ROWS / 10));
        strike(&server, if kill == 4 { Victim::ServerKill } else { Victim::Worker });
        wait_until("the server answers again", Duration::from_secs(60), || server.try_session("chaos").is_ok());
    }
    wait_until("all rows are loaded", Duration::from_secs(120), || loaded(ROWS));
    let mut session = server.session("chaos");
    let figures = |table: &str| {
        format!("SELECT count(*) || ' ' || count(DISTINCT transaction_id) || ' ' || sum(amount) FROM staging.{table}")
    };
    let expected = session.value(&figures("first"));
    assert!(expected.starts_with(&format!("{ROWS} {ROWS} ")), "{expected}");
    assert_eq!(session.value(&figures("second")), expected);
    assert!(
        session.number("SELECT count(*) FROM millrace.chunks WHERE pipeline = 'second'") >= 80,
        "a version in many chunks"
    );
    retail::assert_verified(&mut session, "second");
}
}

/// Kills one; false if the victim was not there to be killed.
fn strike(server: &Server, victim: Victim) -> bool {
    let process = |query: &str| {
        let pid = server.try_session("postgres").ok().and_then(|mut session| session.try_value(query).ok());
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()) else { return false };
        signal("KILL", pid);
        // The postmaster needs a moment to notice; a session opened before that would be a false "it is back".
        std::thread::sleep(Duration::from_millis(200));
        true
    };
    match victim {
        Victim::Worker => process(PIPELINE_WORKER),
        Victim::AnyProcess => process(ANY_PROCESS),
        Victim::ServerImmediate => {
            server.stop_immediate();
            server.start();
            true
        }
        Victim::ServerKill => {
            server.kill();
            server.start();
            true
        }
    }
}

/// The consumer: whatever dies under it, it connects anew and goes on.
fn copy_until(server: &Server, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(mut session) = server.try_session("chaos") {
            while !over.load(Ordering::Relaxed) {
                match copier::step(&mut session) {
                    Ok(true) => {}
                    Ok(false) => std::thread::sleep(Duration::from_millis(20)),
                    Err(_) => break,
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn rand_seed() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_millis() as u64)
}
