//! A pipeline's worker: ticks, waits, ticks. Ends when its pipeline is not to run any more.

use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::catalog::{events, pipelines};
use crate::model::pipeline::Pipeline;
use crate::model::retry::backoff;
use crate::model::{Error, Result};
use crate::pg::error::catch;
use crate::pg::progress::{self, Phase};
use crate::pg::transaction::{self, Mode};
use crate::pg::wait_event::Wait;
use crate::pg::{bgworker, latch, memory, shmem};
use crate::pipeline::load::Sealed;
use crate::pipeline::runner::{Runner, Tick};
use crate::pipeline::scope;

/// How long a definition may have changed before a worker that waits for a distant tick takes note.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Rows of a chunk behind which it pays to give memory back.
const MANY: i64 = 100_000;

#[allow(unsafe_code, reason = "exporting the name that Postgres looks up is all there is to it")]
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn millrace_pipeline_main(arg: pg_sys::Datum) {
    let Some(duty) = shmem::report_for_duty(arg.value()) else { return };
    memory::few_arenas();
    bgworker::begin(Some(duty.database));
    let mut failures = 0;
    let mut seen = None;
    let mut runner = Runner::new(Mode::Worker, duty.pipeline);
    loop {
        let began = Instant::now();
        let wait = match catch(|| step(&mut runner, &mut seen)) {
            Ok(Next::Again) => {
                failures = 0;
                Duration::ZERO
            }
            Ok(Next::Wait(every)) => {
                failures = 0;
                every.saturating_sub(began.elapsed())
            }
            Ok(Next::End) => return,
            Err(e) => {
                failures += 1;
                fail(duty.pipeline, &e, failures);
                backoff(Duration::from_secs(1), failures)
            }
        };
        if wait.is_zero() {
            latch::reload_if_asked();
            continue;
        }
        progress::phase(Phase::Waiting);
        rest(&runner, wait, &seen);
    }
}

/// Sleeps until the next tick is due, or something asks for an earlier one: a wake-up (resume and alter send one, also in the wait
/// after a failure), or a definition that is no longer the one that was `seen` by the last tick. The latter because nobody wakes us when
/// a prepared transaction is committed.
fn rest(runner: &Runner, wait: Duration, seen: &Option<Pipeline>) {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || latch::sleep(Wait::Tick, left.min(LOOK_AGAIN)) || left <= LOOK_AGAIN {
            return;
        }
        let Ok(now) = catch(|| runner.look()) else { return };
        if now.map(|(pipeline, _)| pipeline) != *seen {
            return;
        }
    }
}

enum Next {
    Again,
    Wait(Duration),
    End,
}

fn step(runner: &mut Runner, seen: &mut Option<Pipeline>) -> Result<Next> {
    let began = Instant::now();
    let Some((pipeline, position)) = runner.look()? else { return Ok(Next::End) };
    let Some(every) = tick_of(&pipeline) else {
        runner.leave(&pipeline)?;
        return Ok(Next::End);
    };
    if seen.as_ref().map(|p| &p.name) != Some(&pipeline.name) {
        bgworker::name_session(&format!("pg_millrace {}", pipeline.name));
        progress::name(&pipeline.name);
    }
    *seen = Some(pipeline.clone());
    Ok(match runner.tick_at(&pipeline, &position)? {
        Tick::Sealed(sealed) => {
            let Sealed { chunk_no, rows, rejects, dropped, duplicates, .. } = sealed;
            pgrx::debug1!(
                "pg_millrace: pipeline={:?} chunk={chunk_no} rows={rows} rejects={rejects} dropped={dropped} duplicates={duplicates} ms={}",
                pipeline.name,
                began.elapsed().as_millis()
            );
            if sealed.rows + sealed.rejects > MANY {
                memory::give_back();
            }
            Next::Again
        }
        Tick::Worked => Next::Again,
        Tick::Idle | Tick::Held(_) => Next::Wait(runner.rest(every)),
        Tick::Off(_) => Next::End,
    })
}

fn tick_of(pipeline: &Pipeline) -> Option<Duration> {
    if !pipeline.is_active() { None } else { pipeline.every() }
}

/// Notes the failure where people look; if even that fails, the server log has it.
fn fail(pipeline_id: i32, error: &Error, failures: u32) {
    let hint = error.hint.as_deref().unwrap_or_default();
    pgrx::log!(
        "pg_millrace: pipeline_id={pipeline_id} failures={failures} error={:?} hint={hint:?}",
        error.to_string()
    );
    let noted = transaction::run(Mode::Worker, || {
        if !scope::installed()? {
            return Ok(());
        }
        scope::catalog(|| {
            let Some(pipeline) = pipelines::by_id(pipeline_id)? else { return Ok(()) };
            pipelines::record_failure(pipeline_id, error, 1_000)?;
            // Once a series: the view shows the last error and the count.
            if failures == 1 {
                events::record(&pipeline.name, "failed", None, Some(&error.to_string()), None)?;
            }
            Ok(())
        })
    });
    if let Err(e) = noted {
        pgrx::log!("pg_millrace: pipeline_id={pipeline_id} step=note_failure error={:?}", e.to_string());
    }
}
