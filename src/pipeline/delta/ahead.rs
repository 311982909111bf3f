//! The rows of a Delta table after the next: read while those before them are loaded.
//!
//! Promises: only saves time. What was read ahead counts if the pipeline, its position and its staging table are then what was
//! expected; otherwise it is read again.

use super::{Manner, Source, is_due, read};
use crate::model::Result;
use crate::model::offset::Offset;
use crate::model::pipeline::{Pipeline, Position};
use crate::pg::progress;
use crate::pg::runtime::{self, Task};
use crate::pipeline::read::{Plan, Read};

pub struct Ahead {
    pipeline: Pipeline,
    position: Position,
    plan: Plan,
    task: Task<Ready>,
}

/// The source comes back, with what it gave and the offset behind that; `None` where there was nothing that could be read ahead.
pub type Ready = (Source, Option<(Read, Offset)>);

impl Ahead {
    /// Begins to read behind `position`, which is where the pipeline will be when the turn of these rows comes.
    pub fn start(
        pipeline: &Pipeline,
        position: Position,
        plan: &Plan,
        source: Source,
        memory: u64,
        manner: Manner,
    ) -> Result<Option<Ahead>> {
        let Some(offset) = position.source.clone() else { return Ok(None) };
        let plan = Plan { shown: false, ..plan.clone() };
        let task = runtime::start(next(source, offset, plan.clone(), memory, manner))?;
        Ok(Some(Ahead { pipeline: pipeline.clone(), position, plan, task }))
    }

    /// Whether it was made for this.
    pub fn suits(&self, pipeline: &Pipeline, position: &Position, plan: &Plan) -> bool {
        self.pipeline == *pipeline && self.position == *position && self.plan.reads_like(plan)
    }

    pub fn wait(self) -> Result<Ready> {
        let ready = self.task.wait()?;
        if let Some((read, _)) = &ready.1 {
            progress::read(read.records, read.bytes);
            read.parts.iter().for_each(|_| progress::file_done());
        }
        Ok(ready)
    }
}

async fn next(mut source: Source, mut at: Offset, plan: Plan, memory: u64, manner: Manner) -> Result<Ready> {
    let ready = source.prepare_within(&mut at, &manner).await?;
    if !ready || is_due(&source, &at) {
        return Ok((source, None));
    }
    let found = read(&mut source, &at, &plan, memory, &manner).await?;
    Ok((source, Some(found)))
}
