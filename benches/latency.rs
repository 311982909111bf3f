//! From the rename of a file of 10,000 rows, one a second, to its aggregate being visible to another session.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::data::COLUMNS;
use crate::place::{Place, ROWS_PER_FILE};
use crate::report::Line;

const FILES: usize = 30;
/// Waiting longer than this is a failure, not a latency.
const LIMIT: Duration = Duration::from_secs(60);

pub fn measure(place: &mut Place) -> Vec<Line> {
    let (landing, side) = (place.fresh_dir("latency"), place.fresh_dir("latency_side"));
    place.execute(&format!(
        "SELECT millrace.simulate('transactions', '{side}', rows_per_file => {ROWS_PER_FILE}, files => {FILES}, seed => 2)"
    ));
    place.execute(&format!(
        "SELECT millrace.create_pipeline('latency', source => '{landing}/*.csv', columns => '{COLUMNS}', staging => 'staging.latency', every => '100 ms');
         SELECT millrace.create_aggregate('latency', 'latency_stats', 'SELECT merchant, count(*) AS n, avg(amount) AS a FROM staging.latency GROUP BY merchant')"
    ));
    let mut reader = Client::connect(&place.uri, NoTls).expect("the server answers");
    // A pipeline at work, not one that is about to begin.
    let begun = Instant::now();
    while reader
        .query_one("SELECT count(*) FROM millrace.progress WHERE pipeline = 'latency' AND pid IS NOT NULL", &[])
        .expect("an answer")
        .get::<_, i64>(0)
        == 0
    {
        assert!(begun.elapsed() < LIMIT, "the pipeline's worker does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut times = vec![];
    for (i, path) in place.paths("latency_side").into_iter().enumerate() {
        let second = Instant::now();
        std::fs::rename(&path, place.dir.join("latency").join(path.file_name().expect("a name"))).expect("a rename");
        let expected = ((i + 1) * ROWS_PER_FILE) as i64;
        let begun = Instant::now();
        loop {
            let seen = reader.query_one("SELECT coalesce(sum(n), 0)::bigint FROM staging.latency_stats", &[]);
            if seen.expect("the view answers").get::<_, i64>(0) >= expected {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "the aggregate does not get to {expected} rows");
            std::thread::sleep(Duration::from_millis(2));
        }
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
    }
    place.execute("SELECT millrace.drop_pipeline('latency', drop_tables => true)");
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    let line = |what: &str, ms: f64, want: f64| Line {
        what: what.to_owned(),
        ours: format!("{ms:.0} ms"),
        baseline: format!("{want:.0} ms"),
        ratio: ms / want,
        want: 1.0,
        at_most: true,
        note: format!("{FILES} files"),
    };
    vec![
        line("latency, rename → aggregate, median", at(50), 120.0),
        line("latency, rename → aggregate, 99th percentile", at(99), 300.0),
    ]
}
