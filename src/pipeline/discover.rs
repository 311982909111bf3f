//! Which landing files are new: the listing less what the ledger knows.
//!
//! Promises: a look at a source whose files are all done with asks Postgres nothing; any other asks for as many files at once as a
//! chunk may hold, and for more and more, to a few thousand, where the ledger knows them; never for each. A file is read only once it
//! has settled. What is kept between looks is a cache: the ledger decides.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use crate::catalog::files::Known;
use crate::catalog::{events, files};
use crate::lake::listing::LandingFile;
use crate::lake::settling::Settling;
use crate::model::options::{OnReplaced, Order};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::progress;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::read::Planned;
use crate::pipeline::source::Source;
use crate::pipeline::{identity, scope};

/// How long what a listing showed is good for, while files that it showed are still being loaded.
const STALE: Duration = Duration::from_secs(5);
/// Files that the ledger is asked for at once: so many at most, and at least where a chunk holds fewer.
const ASKED: usize = 4_096;
const LEAST_ASKED: usize = 16;

/// What the looks so far have shown.
#[derive(Default)]
pub struct Discovery {
    /// Files that need no further look while they stay as they are.
    settled: HashMap<String, (String, u64)>,
    settling: Settling,
    /// Listed, settled, and not handed out yet.
    backlog: VecDeque<LandingFile>,
    listed_at: Option<Instant>,
    /// How long until the last of the files has settled that the newest listing showed.
    unsettled: Option<Duration>,
    /// Number and size of those that have not.
    held_back: (usize, u64),
    ledger_epoch: i32,
    source: Option<Source>,
    /// Most files of a chunk, while a batch that could not be loaded is taken apart.
    most_files: Option<usize>,
}

/// What the ledger says to a file that was listed.
pub enum Verdict {
    Take(Planned),
    Done(LandingFile),
    NotNow,
    Replaced(LandingFile),
}

impl Discovery {
    /// Looks at everything anew next time.
    pub fn forget(&mut self) {
        self.settled.clear();
        self.backlog.clear();
        self.listed_at = None;
    }

    /// How long until files that are there have settled, if some have not.
    pub fn unsettled(&self) -> Option<Duration> {
        self.unsettled
    }

    /// The next files to load, in order, as many as one chunk may hold.
    pub fn next(&mut self, mode: Mode, pipeline: &Pipeline, source: &Source) -> Result<Vec<Planned>> {
        if self.ledger_epoch != pipeline.ledger_epoch {
            self.ledger_epoch = pipeline.ledger_epoch;
            self.forget();
        }
        self.source = Some(source.clone());
        if self.backlog.is_empty() || self.listed_at.is_none_or(|at| at.elapsed() > STALE) {
            self.look(mode, pipeline, source)?;
        }
        self.more(mode, pipeline, vec![])
    }

    /// The same among the files that were listed and not handed out yet, while those that were are still on their way; behind what is
    /// left of those.
    pub fn more(&mut self, mode: Mode, pipeline: &Pipeline, left: Vec<Planned>) -> Result<Vec<Planned>> {
        let mut planned = left;
        let mut bytes = planned.iter().map(|p| p.file.size.saturating_sub(p.from_byte)).sum();
        let mut most = self.most_files(pipeline).clamp(LEAST_ASKED, ASKED);
        while self.backlog.front().is_some_and(|file| !self.is_full(pipeline, &planned, bytes, file)) {
            let asked: Vec<LandingFile> = self.backlog.drain(..self.backlog.len().min(most)).collect();
            most = ASKED.min(4 * most);
            let mut replaced = self.sort_out(mode, pipeline, asked, &mut planned, &mut bytes)?;
            if let Some(source) = &self.source {
                replaced = identity::replaced(mode, pipeline, source, replaced)?;
            }
            if !replaced.is_empty() {
                note_replaced(mode, pipeline, &replaced)?;
            }
        }
        let left = planned.iter().map(|p| &p.file).chain(&self.backlog);
        let (count, size) = left.fold(self.held_back, |(count, size), file| (count + 1, size + file.size));
        progress::backlog(count, size);
        Ok(planned)
    }

    fn look(&mut self, mode: Mode, pipeline: &Pipeline, source: &Source) -> Result<()> {
        let options = &pipeline.options;
        let mut listed = source.list(options.recursive)?;
        self.listed_at = Some(Instant::now());
        if self.settled.len() > 2 * listed.len() + ASKED {
            let paths: HashSet<&str> = listed.iter().map(|f| f.path.as_str()).collect();
            self.settled.retain(|path, _| paths.contains(path.as_str()));
        }
        listed.retain(|f| self.settled.get(&f.path).is_none_or(|(etag, size)| *etag != f.etag || *size != f.size));
        let settle = options.settle_at(source.directory.location());
        let (mut ready, waiting) = self.settling.sift(listed, settle, Instant::now(), SystemTime::now());
        self.unsettled = waiting.iter().map(|w| w.wait).max();
        self.held_back = waiting.iter().fold((0, 0), |(count, size), w| (count + 1, size + w.file.size));
        let new: Vec<_> = waiting
            .iter()
            .filter(|w| w.is_new)
            .map(|w| (w.file.path.clone(), w.file.etag.clone(), w.file.size as i64))
            .collect();
        if !new.is_empty() {
            transaction::run(mode, || scope::catalog(|| files::record_waiting(pipeline.id, &new)))?;
        }
        if options.order == Order::Modified {
            ready.sort_by(|a, b| a.modified.cmp(&b.modified).then_with(|| a.path.cmp(&b.path)));
        }
        self.backlog = ready.into();
        Ok(())
    }

    /// Adds to the plan what is to be loaded, until the chunk is full; the rest goes back to the backlog. Gives the files that were
    /// replaced after they were loaded.
    fn sort_out(
        &mut self,
        mode: Mode,
        pipeline: &Pipeline,
        asked: Vec<LandingFile>,
        planned: &mut Vec<Planned>,
        bytes: &mut u64,
    ) -> Result<Vec<LandingFile>> {
        let paths = asked.iter().map(|f| f.path.clone()).collect();
        let known = transaction::run(mode, || scope::catalog(|| files::known(pipeline.id, paths)))?;
        let known: HashMap<&str, &Known> = known.iter().map(|k| (k.path.as_str(), k)).collect();
        let mut replaced = Vec::new();
        let mut asked = asked.into_iter();
        while let Some(file) = asked.next() {
            let full = self.is_full(pipeline, planned, *bytes, &file);
            match verdict(known.get(file.path.as_str()).copied(), file) {
                Verdict::Take(next) if full => {
                    for file in asked.rev().chain([next.file]) {
                        self.backlog.push_front(file);
                    }
                    break;
                }
                Verdict::Take(next) => {
                    *bytes += next.file.size;
                    planned.push(next);
                }
                Verdict::Done(file) => {
                    self.settled.insert(file.path, (file.etag, file.size));
                }
                Verdict::NotNow => {}
                Verdict::Replaced(file) if pipeline.options.on_replaced == OnReplaced::Reload => {
                    if full {
                        for file in asked.rev().chain([file]) {
                            self.backlog.push_front(file);
                        }
                        break;
                    }
                    *bytes += file.size;
                    replaced.push(file.clone());
                    planned.push(Planned { file, from_byte: 0, records_done: 0 });
                }
                Verdict::Replaced(file) => {
                    self.settled.insert(file.path.clone(), (file.etag.clone(), file.size));
                    replaced.push(file);
                }
            }
        }
        Ok(replaced)
    }

    /// Whether a chunk of these files has no room for another.
    fn is_full(&self, pipeline: &Pipeline, planned: &[Planned], bytes: u64, file: &LandingFile) -> bool {
        let too_large = bytes > 0 && bytes + file.size > pipeline.options.max_bytes_per_chunk;
        planned.len() >= self.most_files(pipeline) || too_large
    }

    fn most_files(&self, pipeline: &Pipeline) -> usize {
        self.most_files.unwrap_or(usize::MAX).min(pipeline.options.max_files_per_chunk as usize)
    }

    /// A batch of so many files could not be loaded for a reason that one of them may be: the next one has half as many.
    /// False where there was one alone.
    pub fn halve(&mut self, files: usize) -> bool {
        self.backlog.clear();
        self.most_files = Some((files / 2).max(1));
        files > 1
    }

    /// A batch was loaded.
    pub fn grow(&mut self) {
        self.most_files = self.most_files.map(|most| most * 2).filter(|most| *most < ASKED);
    }
}

pub fn verdict(known: Option<&Known>, file: LandingFile) -> Verdict {
    let whole = |file| Verdict::Take(Planned { file, from_byte: 0, records_done: 0 });
    let Some(known) = known else { return whole(file) };
    let same = known.etag == file.etag && known.size == file.size as i64;
    if known.is_skipped_for_good() || same && known.is_settled() {
        return Verdict::Done(file);
    }
    if same {
        // What has landed is loaded from the raw layer.
        return match known.due && known.state != "landed" && !known.held_back {
            true => Verdict::Take(Planned {
                file,
                from_byte: known.bytes_done as u64,
                records_done: known.records_done as u64,
            }),
            false => Verdict::NotNow,
        };
    }
    // A file that was never loaded, not even in part, may be replaced as its producer likes; one that was taken away has made room.
    match !known.cleaned && (known.records_done > 0 || matches!(known.state.as_str(), "loaded" | "changed")) {
        true => Verdict::Replaced(file),
        false => whole(file),
    }
}

fn note_replaced(mode: Mode, pipeline: &Pipeline, replaced: &[LandingFile]) -> Result<()> {
    let (reload, fail) = match pipeline.options.on_replaced {
        OnReplaced::Ignore => (false, false),
        OnReplaced::Reload => (true, false),
        OnReplaced::Fail => (false, true),
    };
    let first = replaced.first().map(|f| f.path.clone()).unwrap_or_default();
    let noted: Vec<_> = replaced.iter().map(|f| (f.path.clone(), f.etag.clone(), f.size as i64)).collect();
    let message = match reload {
        true => {
            "the file was replaced after it was loaded; its records are loaded as those of a new file, and the rows of the earlier version stay"
        }
        false => "the file was replaced after it was loaded; its rows are those of the first version",
    };
    transaction::run(mode, || {
        scope::catalog(|| {
            match reload {
                true => files::begin_again(pipeline.id, &noted)?,
                false => files::record_state(pipeline.id, &noted, "changed", Some(message))?,
            }
            let paths = replaced.iter().map(|f| f.path.clone()).collect();
            events::record_each(&pipeline.name, "file_replaced", paths, vec![message.to_owned(); replaced.len()])
        })
    })?;
    match fail {
        true => Err(Error::new(Code::Stopped, format!("file \"{first}\" was replaced after it was loaded"))
            .detail("The pipeline has on_replaced 'fail'. Nothing of the new version is loaded.")
            .hint("SELECT millrace.resume(…) goes on without it; CALL millrace.retry_file(…) loads it as well.")),
        false => Ok(()),
    }
}
