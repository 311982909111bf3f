//! Everything that is available now, for a client that calls run(): the same ticks as the worker's, until one is idle.

use std::time::Duration;

use crate::catalog::pipelines;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pg::wait_event::Wait;
use crate::pg::{error, latch, runtime};
use crate::pipeline::runner::{Runner, Tick};
use crate::pipeline::{scope, throttle};

/// Files that are there when run() is called but have not settled are waited for, if that takes no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Ticks until there is nothing left. An error is noted with the pipeline, then passed on.
pub fn run(pipeline: &Pipeline) -> Result<()> {
    if transaction::in_recovery() {
        return Err(Error::new(Code::WrongState, "a standby can't run pipelines").hint("Call run() on the primary."));
    }
    let mut runner = Runner::new(Mode::Procedure, pipeline.id);
    let mut patience = LONGEST_WAIT;
    loop {
        match runner.tick() {
            Ok(Tick::Sealed(_) | Tick::Worked) => {}
            Ok(Tick::Idle) => {
                if let Some(wait) = runner.unsettled().filter(|wait| *wait <= patience) {
                    patience -= wait;
                    runtime::wait(async move {
                        tokio::time::sleep(wait).await;
                        Ok(())
                    })?;
                    continue;
                }
                for (path, e) in runner.take_failed() {
                    error::warn(
                        Error::new(e.code, format!("file \"{path}\" could not be read"))
                            .detail(e.to_string())
                            .hint("It is tried again later; see millrace.files. The other files are loaded."),
                    );
                }
                return runner.retain(pipeline);
            }
            // The rate asks for a short rest, no more; between two ticks nothing is held.
            Ok(Tick::Held(reason)) if reason == throttle::BY_RATE => {
                latch::sleep(Wait::Tick, Duration::from_millis(20));
            }
            Ok(Tick::Held(reason)) => {
                error::warn(
                    Error::new(Code::Limit, format!("pipeline \"{}\" is held back", pipeline.name))
                        .detail(format!("Reason: {reason}."))
                        .hint("What is loaded is complete; call run() again later."),
                );
                return runner.retain(pipeline);
            }
            Ok(Tick::Off(reason)) => {
                return Err(Error::new(Code::WrongState, format!("pipeline \"{}\" can't run", pipeline.name))
                    .detail(format!("The pipeline: {reason}."))
                    .hint("SELECT millrace.resume(…) lets it go on."));
            }
            Err(e) => {
                let wait = pipeline.options.backoff.as_millis() as i64;
                transaction::run(Mode::Procedure, || {
                    scope::catalog(|| pipelines::record_failure(pipeline.id, &e, wait))
                })?;
                return Err(e);
            }
        }
    }
}
