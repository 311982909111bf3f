//! A Delta table as a pipeline's source: read whole as it was at one version, then followed version by version.
//!
//! Promises: each row is taken once, whatever dies whenever: how far the table was read is an offset that commits with the rows. A
//! version may take several chunks, and versions that only added rows may share one; a version that changed rows shares none. What is
//! gone before it was read stops the pipeline.

mod ahead;
pub mod define;
mod read;
mod sweep;

use std::time::Duration;

use crate::catalog::events;
use crate::lake::delta::{Changes, DataFile, Follower, Table};
use crate::lake::store::Credentials;
use crate::model::location::Location;
use crate::model::offset::Offset;
use crate::model::options::{ChangeFeed, OnChange};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pipeline::runner::slow;
use crate::pipeline::scope;

pub use ahead::Ahead;
pub use read::read;
pub use sweep::{NO_FILE, is_due, sweep};

/// What a file of a version says about the rows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Added,
    Removed,
    /// Of a change data feed, the rows as they were before and those that were deleted.
    FeedBefore,
    /// And the rows as they are now.
    FeedAfter,
}

struct Step {
    file: DataFile,
    role: Role,
}

/// The files that make up one version, or the whole table at one.
struct Work {
    version: u64,
    snapshot: bool,
    steps: Vec<Step>,
    /// True where rows were changed and are not taken.
    skipped: bool,
    /// True where the version may share a chunk with others: it added rows, with the columns that there were, and did nothing else.
    shares: bool,
}

/// What decides how the table is read.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub on_change: OnChange,
    pub change_feed: ChangeFeed,
    /// How long reading the log may take.
    pub limit: Duration,
}

impl Manner {
    pub fn of(pipeline: &Pipeline, limit: Duration) -> Manner {
        Manner { on_change: pipeline.options.on_change, change_feed: pipeline.options.change_feed, limit }
    }
}

/// A source that is open, with the version that is being read.
pub struct Source {
    location: Location,
    credentials: Credentials,
    /// The table at the version of `work`, while it is read as a whole.
    whole: Option<Table>,
    follower: Option<Follower>,
    work: Option<Work>,
}

impl Source {
    pub fn new(url: &str, credentials: &Credentials) -> Result<Source> {
        let location = Location::parse(url)?;
        Ok(Source { location, credentials: credentials.clone(), whole: None, follower: None, work: None })
    }

    /// The same as [`Source::prepare`], given up after a while.
    pub async fn prepare_within(&mut self, offset: &mut Offset, manner: &Manner) -> Result<bool> {
        tokio::time::timeout(manner.limit, self.prepare(offset, manner))
            .await
            .unwrap_or_else(|_| Err(slow("reading the log of the Delta table")))
    }

    /// Makes ready what is to be read at the offset, whose `renamed` and `table` are brought up to date; false where there is nothing yet.
    async fn prepare(&mut self, offset: &mut Offset, manner: &Manner) -> Result<bool> {
        if self.work.as_ref().is_some_and(|w| w.version == offset.version && w.snapshot == offset.snapshot) {
            return Ok(true);
        }
        self.work = None;
        if offset.snapshot {
            return self.prepare_whole(offset).await.map(|()| true);
        }
        self.whole = None;
        let ready = self.follower.take().filter(|f| f.table().version() + 1 == offset.version);
        let mut follower = match ready {
            Some(follower) => follower,
            None => {
                let opened = Follower::open(&self.location, &self.credentials, offset.version).await?;
                if opened.table().version() < offset.version {
                    check_identity(opened.table(), offset)?;
                }
                opened
            }
        };
        let before = follower.table().stored_names();
        let changes = follower.next().await?;
        if let Some(changes) = &changes {
            offset.table = follower.table().id().to_owned();
            if changes.has_new_columns {
                offset.note_renamed(&before, &follower.table().stored_names());
            }
        }
        self.follower = Some(follower);
        let Some(changes) = changes else { return Ok(false) };
        self.work = Some(work_of(changes, manner, &self.location)?);
        Ok(true)
    }

    async fn prepare_whole(&mut self, offset: &Offset) -> Result<()> {
        let table =
            Table::open_at(&self.location, &self.credentials, offset.version).await.map_err(|e| match e.code {
                Code::Corrupt => Error::new(
                    Code::Gap,
                    format!("version {} of the Delta table can't be read any more", offset.version),
                )
                .detail(e.to_string()),
                _ => e,
            })?;
        check_identity(&table, offset)?;
        let files = table.data_files().await?;
        let steps = files.into_iter().map(|file| Step { file, role: Role::Added }).collect();
        self.whole = Some(table);
        self.work = Some(Work { version: offset.version, snapshot: true, steps, skipped: false, shares: false });
        Ok(())
    }

    /// Files and bytes that are left at the offset.
    pub fn left(&self, offset: &Offset) -> (usize, u64) {
        let steps = self.work.iter().flat_map(|work| &work.steps);
        let left: Vec<u64> =
            steps.skip(usize::try_from(offset.files).unwrap_or(usize::MAX)).map(|s| s.file.size).collect();
        (left.len(), left.iter().sum())
    }

    /// The version whose changes are left out, if that is what was read at the offset.
    pub fn skipped(&self, at: &Offset) -> Option<u64> {
        self.work.as_ref().filter(|work| work.skipped && work.version == at.version).map(|work| work.version)
    }

    fn table(&self) -> Result<&Table> {
        let following = self.follower.as_ref().map(Follower::table);
        self.whole.as_ref().or(following).ok_or_else(|| Error::new(Code::Internal, "the Delta table is not open"))
    }
}

/// A gap with what the user can do about it.
pub fn way_on(error: Error, pipeline: &Pipeline) -> Error {
    if error.code != Code::Gap {
        return error;
    }
    let call = format!("CALL millrace.resnapshot('{}');", pipeline.name.replace('\'', "''"));
    let why = error.hint.as_ref().map(|hint| format!("{hint} ")).unwrap_or_default();
    error.hint(format!("{why}Restore it and resume the pipeline, or begin anew: {call}"))
}

/// Tells people of a version that was passed over.
pub fn note_skipped(mode: Mode, pipeline: &Pipeline, version: u64) -> Result<()> {
    let subject = format!("version {version}");
    let message = "the version changed or deleted rows and was passed over (on_change is skip)";
    transaction::run(mode, || {
        scope::catalog(|| events::record(&pipeline.name, "version_skipped", Some(&subject), Some(message), None))
    })
}

fn check_identity(table: &Table, offset: &Offset) -> Result<()> {
    if table.id() == offset.table {
        return Ok(());
    }
    Err(Error::new(Code::Gap, "another Delta table was put in place of the one that was read").detail(format!(
        "location: {}: its id is {}, it was {}",
        table.location(),
        table.id(),
        offset.table
    )))
}

fn work_of(changes: Changes, manner: &Manner, location: &Location) -> Result<Work> {
    let shares = changes.only_adds() && !changes.has_new_columns;
    let mut work = Work { version: changes.version, snapshot: false, steps: vec![], skipped: false, shares };
    let feed_alone = manner.change_feed == ChangeFeed::Always;
    let mut take = |files: Vec<DataFile>, role| work.steps.extend(files.into_iter().map(|file| Step { file, role }));
    match manner.on_change {
        _ if changes.only_adds() => take(changes.added, Role::Added),
        OnChange::Fail => {
            return Err(Error::new(
                Code::Stopped,
                format!("version {} of the Delta table changed or deleted rows", changes.version),
            )
            .detail(format!("location: {location}: a pipeline that appends can't take that back from staging"))
            .hint(
                "Set option \"on_change\" to \"skip\" and resume; or create a pipeline with \"primary_key\" and \"on_change\": \"apply\".",
            ));
        }
        OnChange::Skip => work.skipped = true,
        // What goes comes first: a row that only moved, or was changed, is there again behind it, whatever the order of the files.
        OnChange::Apply if feed_alone && !changes.has_feed => {
            return Err(Error::new(
                Code::Stopped,
                format!("version {} of the Delta table changed rows and wrote no change data feed", changes.version),
            )
            .detail(format!("location: {location}: option \"change_feed\" is true"))
            .hint("Set option \"change_feed\" to \"auto\" and resume: the files of the version tell the same."));
        }
        OnChange::Apply if !changes.feed.is_empty() && manner.change_feed != ChangeFeed::Never => {
            take(changes.feed.clone(), Role::FeedBefore);
            take(changes.feed, Role::FeedAfter);
        }
        OnChange::Apply => {
            take(changes.removed, Role::Removed);
            take(changes.added, Role::Added);
        }
    }
    Ok(work)
}
