//! Two ways to the same end, in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::report::Line;
use crate::workloads::Workload;

pub fn run(place: &mut Place, workload: &Workload) -> Line {
    let (mut ours, mut baseline, mut memory) = (vec![], vec![], 0);
    for _ in 0..place.runs {
        baseline.push(timed(place, workload.baseline).0);
        let (took, grown) = timed(place, workload.ours);
        ours.push(took);
        memory = memory.max(grown);
    }
    let (ours, baseline) = (median(ours), median(baseline));
    let rate = |took: Duration| place.rows() as f64 / took.as_secs_f64();
    let ratio =
        if workload.is_cost { ours.as_secs_f64() / baseline.as_secs_f64() } else { rate(ours) / rate(baseline) };
    Line {
        what: workload.name.to_owned(),
        ours: format!("{:.0} rows/s", rate(ours)),
        baseline: format!("{}: {:.0} rows/s", workload.against, rate(baseline)),
        ratio,
        want: workload.want,
        at_most: workload.is_cost,
        note: format!("{memory} MB"),
    }
}

/// Each way sets up by itself, and says what is to be timed.
fn timed(place: &mut Place, way: fn(&mut Place) -> String) -> (Duration, u64) {
    let sql = way(place);
    place.execute("CHECKPOINT");
    let pid = place.value("SELECT pg_backend_pid()");
    let done = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(anonymous_mb(&pid));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        }
    });
    let begun = Instant::now();
    for statement in sql.split(";;") {
        place.execute(statement);
    }
    let took = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    (took, watch.join().unwrap_or(0))
}

/// Memory of the process that is its own.
pub fn anonymous_mb(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
