//! A database's worker: sees to it that each active pipeline has its worker, and that consumers' tables stay small. Ends when the extension is gone or no pipeline is active.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::catalog::{churn, pipelines};
use crate::model::Result;
use crate::model::retry::backoff;
use crate::pg::shmem::{Claim, Duty};
use crate::pg::transaction::{self, Mode};
use crate::pg::wait_event::Wait;
use crate::pg::{bgworker, gucs, latch, shmem};
use crate::pipeline::scope;

const LOOK: Duration = Duration::from_secs(1);
/// A worker that lived this long did not fail at once: its next end is a first one again.
const STEADY: Duration = Duration::from_secs(60);
/// Looks without a pipeline before the worker ends.
const PATIENCE: u32 = 5;

#[allow(unsafe_code, reason = "exporting the name that Postgres looks up is all there is to it")]
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn millrace_database_main(arg: pg_sys::Datum) {
    let Some(duty) = shmem::report_for_duty(arg.value()) else { return };
    bgworker::begin(Some(duty.database));
    bgworker::name_session("pg_millrace database worker");
    let mut starts: HashMap<i32, Started> = HashMap::new();
    let mut tidy = super::tidy::Tidy::default();
    let mut empty = 0;
    loop {
        match transaction::run(Mode::Worker, active) {
            Ok(Some((ids, churn))) if !ids.is_empty() => {
                empty = 0;
                tidy.step(churn);
                starts.retain(|id, _| ids.contains(id));
                for id in ids {
                    start_worker(Duty { database: duty.database, pipeline: id }, starts.entry(id).or_default());
                }
            }
            Ok(Some(_)) => empty += 1,
            Ok(None) => return,
            Err(e) => {
                let hint = e.hint.as_deref().unwrap_or_default();
                pgrx::log!("pg_millrace: step=find_pipelines error={:?} hint={hint:?}", e.to_string())
            }
        }
        if empty > PATIENCE {
            return;
        }
        latch::sleep(Wait::Duty, LOOK);
    }
}

/// The active pipelines, and what consumers have left behind; `None` where the extension is not installed.
fn active() -> Result<Option<(Vec<i32>, Vec<churn::Churn>)>> {
    if transaction::in_recovery() || !scope::installed()? {
        return Ok(None);
    }
    scope::catalog(|| Ok((pipelines::active_ids()?, churn::read()?))).map(Some)
}

#[derive(Default)]
struct Started {
    times: u32,
    last: Option<Instant>,
}

impl Started {
    /// Counts a try, so that the next one waits longer.
    fn count(&mut self) {
        self.times += 1;
        self.last = Some(Instant::now());
    }
}

fn start_worker(duty: Duty, started: &mut Started) {
    if let Some(last) = started.last {
        if last.elapsed() > STEADY {
            started.times = 0;
        }
        if started.times > 0 && last.elapsed() < backoff(Duration::from_millis(200), started.times) {
            return;
        }
    }
    match shmem::claim(duty, gucs::max_workers()) {
        Claim::Slot(slot) => {
            started.count();
            if !bgworker::start("pipeline", "millrace_pipeline_main", slot) {
                shmem::release(slot);
                pgrx::log!(
                    "pg_millrace: pipeline_id={} waits_for=worker_slot hint=\"raise max_worker_processes\"",
                    duty.pipeline
                );
            }
        }
        Claim::Running | Claim::Leaving => {}
        Claim::Full => {
            started.count();
            pgrx::log!(
                "pg_millrace: pipeline_id={} waits_for=worker hint=\"all millrace.max_workers are in use\"",
                duty.pipeline
            );
        }
    }
}
