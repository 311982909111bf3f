//! What a pipeline costs that has nothing to do.

use std::time::Duration;

use crate::data::COLUMNS;
use crate::place::Place;
use crate::report::Line;

const WATCHED: Duration = Duration::from_secs(20);
/// Clock ticks a second, as /proc counts: the kernel's fixed user-space value.
const TICKS: f64 = 100.0;

pub fn measure(place: &mut Place) -> Vec<Line> {
    let landing = place.url("csv");
    place.execute(&format!(
        "SELECT millrace.create_pipeline('idle', source => '{landing}/*.csv', columns => '{COLUMNS}', staging => 'staging.idle', every => '1 second',
             options => '{{\"include_existing\": false}}')"
    ));
    // Autovacuum writes and counts transactions, too, and has reason to after all those loads.
    place.execute("ALTER SYSTEM SET autovacuum = off");
    place.execute("SELECT pg_reload_conf()");
    std::thread::sleep(Duration::from_secs(10));
    place.execute("CHECKPOINT");
    // Behind it the background writer of any idle server logs the running transactions once more, within 15 seconds.
    std::thread::sleep(Duration::from_secs(16));
    let pid = place.value(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_millrace pipeline' AND datname = current_database()",
    );
    let seen = |place: &mut Place| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the worker runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let cpu: f64 = [11, 12].iter().map(|i| fields[*i].parse::<f64>().expect("a number of ticks")).sum();
        let xid: i64 = place.value("SELECT txid_snapshot_xmax(txid_current_snapshot())").parse().expect("a number");
        (cpu / TICKS, xid, place.value("SELECT pg_current_wal_insert_lsn()"))
    };
    let before = seen(place);
    std::thread::sleep(WATCHED);
    let after = seen(place);
    let wal: i64 = place
        .value(&format!("SELECT pg_wal_lsn_diff('{}', '{}')::bigint", after.2, before.2))
        .parse()
        .expect("a number");
    place.execute("SELECT millrace.drop_pipeline('idle', drop_tables => true)");
    place.execute("ALTER SYSTEM RESET autovacuum");
    place.execute("SELECT pg_reload_conf()");
    let share = (after.0 - before.0) / WATCHED.as_secs_f64() * 100.0;
    let line = |what: &str, ours: String, value: f64, want: f64| Line {
        what: what.to_owned(),
        ours,
        baseline: String::new(),
        ratio: value,
        want,
        at_most: true,
        note: format!("{} s, every 1 second", WATCHED.as_secs()),
    };
    vec![
        line("idle pipeline: percent of a core", format!("{share:.2} %"), share, 0.2),
        line("idle pipeline: transaction ids", format!("{}", after.1 - before.1), (after.1 - before.1) as f64, 0.0),
        line("idle pipeline: bytes of WAL", format!("{wal}"), wal as f64, 0.0),
    ]
}
