//! A dashboard that joins the aggregates of two pipelines is polled by many while both load: nobody waits for a lock, nobody meets a
//! deadlock. `DASHBOARD_SECONDS` (5) says for how long, `DASHBOARD_READERS` (50) how many.

use crate::retail::assert_verified;
use crate::server::{Preload, note, wait_until};
use crate::site::{Site, land, url};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

const JOINED: &str = "SELECT merchant, s.n AS sales, s.total, s.customers, r.n AS refunds, r.total AS refunded, s.total - coalesce(r.total, 0) AS net,
        millrace.as_of('sales') AS sales_as_of, millrace.as_of('refunds') AS refunds_as_of
   FROM staging.sales s LEFT JOIN staging.refunds r USING (merchant) ORDER BY net DESC NULLS LAST LIMIT 20";

#[test]
fn many_readers_of_joined_aggregates_wait_for_nobody() {
    let (seconds, readers) = (number("DASHBOARD_SECONDS", 5), number("DASHBOARD_READERS", 50));
    let server = Site::alone(module_path!(), Preload::Yes);
    let mut session = server.create_database("dashboard");
    session.execute("ALTER SYSTEM SET deadlock_timeout = '200ms'");
    session.execute("SELECT pg_reload_conf()");
    session.execute("CREATE SCHEMA staging");
    let landings = ["sales", "refunds"].map(|name| {
        let landing = server.create_dir(&format!("{name}_landing"));
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => '{}/*.csv', columns => 'merchant text, customer text, amount numeric',
                    staging => 'staging.{name}_rows', every => '50 ms', options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}');
             SELECT millrace.create_aggregate('{name}', '{name}', 'SELECT merchant, count(*) AS n, sum(amount) AS total, count(DISTINCT customer) AS customers
                    FROM staging.{name}_rows GROUP BY merchant')",
            url(&landing)
        ));
        landing
    });
    let (over, polls, waits, wrong) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(vec![]));
    let mut files = 0;
    std::thread::scope(|threads| {
        for _ in 0..readers {
            threads.spawn(|| {
                let mut session = server.session("dashboard");
                // A wait for a lock is an error here, so that none goes unseen.
                session.execute("SET lock_timeout = '1ms'");
                while !over.load(Ordering::Relaxed) {
                    match session.try_rows(JOINED) {
                        Ok(_) => _ = polls.fetch_add(1, Ordering::Relaxed),
                        Err(e) => wrong.lock().unwrap().push(e.to_string()),
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        threads.spawn(|| {
            let mut session = server.session("dashboard");
            while !over.load(Ordering::Relaxed) {
                // Loaders may wait for each other: those that notify somebody commit one after the other.
                let waiting =
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'";
                waits.fetch_add(session.number(waiting) as usize, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            for landing in &landings {
                let line = |i: u64| format!("m{},c{},{}.25\n", (i * 31 + files) % 200, (i * 7 + files) % 500, i % 90);
                let text: String =
                    std::iter::once("merchant,customer,amount\n".to_owned()).chain((0..500).map(line)).collect();
                land(landing, &format!("{files:05}.csv"), text.as_bytes());
            }
            files += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(wrong.lock().unwrap().is_empty(), "readers met: {:?}", wrong.lock().unwrap());
    assert_eq!(waits.load(Ordering::Relaxed), 0, "a reader waited for a lock");
    assert!(!server.log().contains("deadlock detected"), "{}", server.log_tail());
    wait_until("all is loaded", Duration::from_secs(120), || {
        session.number("SELECT count(*) FROM millrace.files WHERE state = 'loaded'") == 2 * files as i64
    });
    ["sales", "refunds"].iter().for_each(|name| assert_verified(&mut session, name));
    note(&format!(
        "dashboard: {} polls by {readers} readers in {seconds} s, {files} files a pipeline",
        polls.load(Ordering::Relaxed)
    ));
}
