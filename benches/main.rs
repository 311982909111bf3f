//! `make bench`: what loads cost, each beside a baseline in the same run on the same server.
//!
//! Runs of ours and of the baseline take turns, and medians are compared, so that ratios hold where times do not. Prints a table, and
//! writes results.json and results.svg into BENCH_OUT. Needs a server with the extension (scripts/bench.sh starts it): BENCH_URI,
//! BENCH_DIR (a directory that the server may read and write, and we too). BENCH_FILES (60) files of 10,000 rows, BENCH_RUNS (5),
//! BENCH_ONLY (a part of a workload's name) set the size.

mod consumers;
mod data;
mod idle;
mod latency;
mod measure;
mod place;
mod plot;
mod report;
mod workloads;

use place::Place;
use report::Report;

fn main() {
    let mut place = Place::open();
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let mut report = Report::new(&place);
    data::make(&mut place);
    for workload in workloads::all() {
        if workload.name.contains(&only) {
            report.add(measure::run(&mut place, &workload));
        }
    }
    for (name, measure) in [
        ("consumers", consumers::measure as fn(&mut Place) -> Vec<report::Line>),
        ("latency", latency::measure),
        ("idle", idle::measure),
    ] {
        if name.contains(&only) {
            measure(&mut place).into_iter().for_each(|line| report.add(line));
        }
    }
    report.write();
}
