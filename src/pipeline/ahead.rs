//! The chunk after the next: read, decoded and written to the raw layer's data files while the one before it is landed and loaded.
//!
//! Promises: only saves time. What was read ahead counts if the pipeline, its position and its staging table are then what was
//! expected, and is thrown away otherwise, files and all. Nothing of it is part of any table before its turn.

use crate::lake::delta::{Prepared, Table};
use crate::model::pipeline::{Pipeline, Position};
use crate::model::{Code, Error, Result};
use crate::pg::progress;
use crate::pg::runtime::{self, Task};
use crate::pipeline::land;
use crate::pipeline::read::{self, Plan, Planned, Read};

/// What comes out of it, with the raw layer for which it was written.
pub struct Ready {
    pub table: Option<Table>,
    pub read: Read,
    pub prepared: Option<Prepared>,
    /// Why the rows can't go into the raw layer: some file's columns do not fit those that are there.
    pub misfit: Option<Error>,
}

impl Ready {
    /// Gives it up; data files that were written go.
    pub async fn discard(self) {
        if let (Some(table), Some(prepared)) = (self.table, self.prepared) {
            table.discard_prepared(prepared).await;
        }
    }
}

pub struct Ahead {
    pipeline: Pipeline,
    /// `None` until it is known.
    position: Option<Position>,
    plan: Plan,
    chunk: Vec<Planned>,
    task: Task<Ready>,
}

impl Ahead {
    /// Begins.
    pub fn start(pipeline: &Pipeline, plan: &Plan, chunk: Vec<Planned>, table: Option<Table>) -> Result<Ahead> {
        let plan = Plan { shown: false, ..plan.clone() };
        let task = runtime::start(prepare(plan.clone(), chunk.clone(), table))?;
        Ok(Ahead { pipeline: pipeline.clone(), position: None, plan, chunk, task })
    }

    /// Where the pipeline will be when the turn of these files comes.
    pub fn expect(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// Whether it was made for this.
    pub fn suits(&self, pipeline: &Pipeline, position: &Position, plan: &Plan) -> bool {
        self.pipeline == *pipeline && self.position.as_ref() == Some(position) && self.plan.reads_like(plan)
    }

    pub fn chunk(&self) -> &[Planned] {
        &self.chunk
    }

    /// What was read, and of which files.
    pub fn wait(self) -> Result<(Ready, Vec<Planned>)> {
        let ready = self.task.wait()?;
        progress::read(ready.read.records, ready.read.bytes);
        ready.read.parts.iter().for_each(|_| progress::file_done());
        Ok((ready, self.chunk))
    }

    /// Gives up; data files that were written go.
    pub fn discard(self) {
        self.task.abandon(Ready::discard);
    }
}

/// Reads the files of a chunk, and writes what the raw layer, where there is one, is to hold of them.
pub async fn prepare(plan: Plan, files: Vec<Planned>, table: Option<Table>) -> Result<Ready> {
    ready(table, read::read(plan, files).await?).await
}

/// The same for what was read already.
pub async fn ready(table: Option<Table>, read: Read) -> Result<Ready> {
    let (mut prepared, mut misfit) = (None, None);
    if let Some(table) = table.as_ref().filter(|_| read.records > 0) {
        match land::prepare(table, &read).await {
            Ok(written) => prepared = Some(written),
            Err(e) if matches!(e.code, Code::Mismatch | Code::Unsupported) => misfit = Some(e),
            Err(e) => return Err(e),
        }
    }
    Ok(Ready { table, read, prepared, misfit })
}

/// What is left of the files of a chunk once it was read: the rest of one that did not fit, and those behind it.
pub fn left_over(files: Vec<Planned>, read: &Read) -> Vec<Planned> {
    let failed = |p: &Planned| read.failed.iter().any(|(file, _)| file.path == p.file.path);
    let mut left = Vec::new();
    for mut planned in files {
        match read.parts.iter().find(|part| part.path == planned.file.path) {
            Some(part) if part.done => {}
            Some(part) => {
                planned.from_byte = part.to_byte;
                planned.records_done = part.first_record + part.records - 1;
                left.push(planned);
            }
            None if failed(&planned) => {}
            None => left.push(planned),
        }
    }
    left
}
