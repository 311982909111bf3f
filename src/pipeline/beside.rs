//! Small files that are fetched and decoded beside each other, on all of the runtime's threads, while those before them are.
//!
//! Promises: they come out in their order, and no more of them is in memory than a chunk may hold. What was begun and is not wanted in
//! the end is called off.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::model::Result;
use crate::pg::runtime;
use crate::pipeline::read::{Plan, Planned, Read, read_whole};

/// Files at most this large are read as a whole.
const SMALL: u64 = 4 * 1024 * 1024;
/// So many files at once: enough to hide what a request takes to be answered.
const FILES: usize = 4;

/// Files of a chunk, in order.
pub struct ReadAhead {
    plan: Arc<Plan>,
    left: VecDeque<Planned>,
    begun: VecDeque<Begun>,
    /// Size of the files that were given out.
    given: u64,
}

struct Begun {
    planned: Planned,
    /// `None`: it is to be read by whoever asks for it.
    task: Option<JoinHandle<Result<Read>>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl ReadAhead {
    pub fn new(plan: Arc<Plan>, files: Vec<Planned>) -> ReadAhead {
        ReadAhead { plan, left: files.into(), begun: VecDeque::new(), given: 0 }
    }

    /// The next file, with what it holds if it was read as a whole. `so_far`: what the files before it came to.
    pub async fn next(&mut self, so_far: &Read) -> Option<(Planned, Option<Result<Read>>)> {
        self.begin(so_far);
        let mut next = self.begun.pop_front()?;
        self.given += next.planned.file.size;
        let whole = match &mut next.task {
            Some(task) => Some(task.await.unwrap_or_else(|_| Err(runtime::panicked()))),
            None => None,
        };
        Some((next.planned.clone(), whole))
    }

    /// Begins as many as the chunk has room for, going by what those before them came to.
    fn begin(&mut self, so_far: &Read) {
        let growth = if self.given == 0 { 1.0 } else { (so_far.held as f64 / self.given as f64).max(1.0) };
        let expected = |planned: &Planned| (planned.file.size as f64 * growth) as u64;
        let mut room = self.plan.max_bytes.saturating_sub(so_far.held);
        room = self.begun.iter().fold(room, |room, begun| room.saturating_sub(expected(&begun.planned)));
        while self.begun.len() < FILES && (room > 0 || self.begun.is_empty()) {
            let Some(planned) = self.left.pop_front() else { break };
            room = room.saturating_sub(expected(&planned));
            let is_small = planned.from_byte == 0 && planned.file.size <= SMALL.min(self.plan.max_bytes / 4);
            let task = is_small.then(|| {
                let (plan, planned) = (self.plan.clone(), planned.clone());
                tokio::spawn(async move { read_whole(&plan, &planned).await })
            });
            self.begun.push_back(Begun { planned, task });
        }
    }
}
