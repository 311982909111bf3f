//! Following a table that others write: what each version did to its rows.
//!
//! Versions come one by one, each read with the columns that the table had then. The next one is asked for by its name: nothing is
//! listed. What a version did is told by its change data feed; where it wrote none, by the files that it added and removed,
//! of which deletion vectors leave the rows that stayed.
//!
//! Promises: a version that was cleaned up before it was followed is a `Gap`, never passed over; so is a table that was put in place
//! of the one that was followed. Files that a version only arranged anew (`dataChange` false) are no change.

use std::collections::HashMap;

use buoyant_kernel::history_manager::{HistoryCommitType, first_version_after};
use deltalake::kernel::Add;
use futures::stream::BoxStream;

use super::log::{Entry, entry_name, parse_entry};
use super::rows::{DataFile, Rows};
use super::{IDLE_STEPS, Table, last_checkpoint, snapshot, table_dir};
use crate::lake::error::{delta_error, format_error, place_error};
use crate::lake::parquet_rows::Limits;
use crate::lake::store::Credentials;
use crate::model::{Code, Error, Location, Result};

/// The property of a table that writes a change data feed.
const FEED: &str = "delta.enableChangeDataFeed";

/// What one version did to the rows of its table.
#[derive(Debug, Default)]
pub struct Changes {
    pub version: u64,
    /// The change data feed, if the version wrote one: it tells all that `removed` and `added` do.
    pub feed: Vec<DataFile>,
    /// Rows that were there before: deleted, or written anew among those that were added.
    pub removed: Vec<DataFile>,
    pub added: Vec<DataFile>,
    /// True where the version changed the table's columns.
    pub has_new_columns: bool,
    /// True where the table writes a change data feed at this version: where it wrote none, whole files say it all.
    pub has_feed: bool,
}

impl Changes {
    /// True where rows were only added, or nothing happened to them. A feed tells no more than that then.
    pub fn only_adds(&self) -> bool {
        self.removed.is_empty()
    }
}

/// A table at a version, and the way on.
pub struct Follower {
    table: Table,
    /// Of the table's own version, where the one before can't be read any more.
    ahead: Option<Changes>,
    idle: u32,
}

impl Follower {
    /// Opens a table at the version before `next`, so that `next` is the first that follows.
    pub async fn open(location: &Location, credentials: &Credentials, next: u64) -> Result<Follower> {
        let table = match open_newest(location, credentials).await {
            // A later version asks for what we do not do; those before it are followed until it comes.
            Err(e) if e.code == Code::Unsupported && next > 0 => {
                let before =
                    Table::open_version(table_dir(location, credentials)?, Some(next - 1)).await.ok().flatten();
                let before = before.filter(|before| before.version + 1 == next).ok_or(e)?;
                return Ok(Follower { table: before, ahead: None, idle: 0 });
            }
            opened => opened?,
        };
        let newest = table.version;
        if newest + 1 < next {
            let message = format!("the Delta table ends at version {newest}, before version {next}, which comes next");
            return Err(gap(
                message,
                "It was put back to an earlier state, or another table was put in its place.",
                &table,
            ));
        }
        if newest + 1 == next {
            return Ok(Follower { table, ahead: None, idle: 0 });
        }
        let Some(entry) = table.entry(next).await? else { return Err(missing(next, &table)) };
        let before = match next {
            0 => None,
            _ => Table::open_version(table.dir.clone(), Some(next - 1)).await.ok().flatten(),
        };
        if let Some(before) = before.filter(|before| before.version + 1 == next) {
            return Ok(Follower { table: before, ahead: None, idle: 0 });
        }
        let table = Table::open_at(location, credentials, next).await?;
        let ahead = Some(changes(next, &entry, &table)?);
        Ok(Follower { table, ahead, idle: 0 })
    }

    /// The table at the version that [`Follower::next`] gave last.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What the next version did; None where there is none yet.
    pub async fn next(&mut self) -> Result<Option<Changes>> {
        if let Some(changes) = self.ahead.take() {
            return Ok(Some(changes));
        }
        let next = self.table.version + 1;
        if let Some(entry) = self.table.entry(next).await? {
            self.idle = 0;
            self.table.check_entry(&entry)?;
            let changes = changes(next, &entry, &self.table)?;
            self.table.apply(next, entry)?;
            return Ok(Some(changes));
        }
        self.idle += 1;
        // A checkpoint ahead of us: the entry is not late but gone.
        if self.idle.is_multiple_of(IDLE_STEPS)
            && last_checkpoint(&self.table.dir).await?.is_some_and(|checkpoint| checkpoint >= next)
            && self.table.entry(next).await?.is_none()
        {
            return Err(missing(next, &self.table));
        }
        Ok(None)
    }
}

/// The table at its newest version; that there is none is an error.
pub async fn open_newest(location: &Location, credentials: &Credentials) -> Result<Table> {
    Table::open(location, credentials).await?.ok_or_else(|| {
        place_error(Code::NotFound, "there is no Delta table", &location.display())
            .hint("Check the location for a typing error; it is the directory that holds _delta_log.")
    })
}

impl Table {
    /// The rows of a file of this version from row number `from_row` of the file on; of a feed with the column [`super::CHANGE_TYPE`].
    pub async fn rows(
        &self,
        file: DataFile,
        from_row: u64,
        limits: Limits,
    ) -> Result<BoxStream<'static, Result<Rows>>> {
        self.source().rows(file, from_row, limits).await
    }

    /// The first version that was committed at or after a moment (in milliseconds since 1970); the one after the newest where all
    /// are older.
    pub async fn version_from(&self, millis: i64) -> Result<u64> {
        let place = self.dir.place();
        let what = "find the version of a moment";
        let base = snapshot(&self.log_store, None).await.map_err(|e| delta_error(&e, what, &place))?;
        let scan = base.scan_builder().with_skip_stats(true).build().map_err(|e| delta_error(&e, what, &place))?;
        let (snapshot, engine) = (scan.snapshot().clone(), self.log_store.engine(None));
        let newest = base.version();
        self.on_blocking_thread(move || {
            if snapshot.get_timestamp(engine.as_ref())? < millis {
                return Ok(newest + 1);
            }
            first_version_after(&snapshot, engine.as_ref(), millis, HistoryCommitType::Published).map(|at| at.version)
        })
        .await?
        .map_err(|e: buoyant_kernel::Error| format_error(&e, what, &place))
    }

    /// True where the table writes a change data feed.
    pub fn has_feed(&self) -> bool {
        self.metadata.property(FEED) == Some("true")
    }

    async fn entry(&self, version: u64) -> Result<Option<Entry>> {
        let name = entry_name(version);
        match self.dir.get(&name).await? {
            Some(bytes) => Ok(Some(parse_entry(&bytes, &self.dir.place_of(&name))?)),
            None => Ok(None),
        }
    }

    /// Refuses a version that asks for what we do not do.
    fn check_entry(&self, entry: &Entry) -> Result<()> {
        let protocol = entry.protocol.as_ref().unwrap_or(&self.protocol);
        let metadata = entry.metadata.as_ref().unwrap_or(&self.metadata);
        super::features::check_read(protocol, metadata, &self.dir.place()).map(drop)
    }
}

fn missing(version: u64, table: &Table) -> Error {
    let message = format!("version {version} of the Delta table is gone");
    gap(message, "Its log was cleaned up before that version was read.", table)
}

fn gap(message: String, why: &str, table: &Table) -> Error {
    place_error(Code::Gap, message, &table.dir.place()).hint(why)
}

fn changes(version: u64, entry: &Entry, table: &Table) -> Result<Changes> {
    let dir = &table.dir;
    let metadata = entry.metadata.as_ref().unwrap_or(&table.metadata);
    let mut changes = Changes {
        version,
        has_new_columns: entry.metadata.is_some(),
        has_feed: metadata.property(FEED) == Some("true"),
        ..Changes::default()
    };
    for file in entry.feed.iter() {
        changes.feed.push(DataFile::new(&file.path, file.size, Some(&file.partition_values), None, dir)?);
    }
    let mut added: HashMap<&str, &Add> =
        entry.adds.iter().filter(|add| add.data_change).map(|add| (add.path.as_str(), add)).collect();
    for remove in entry.removes.iter().filter(|remove| remove.data_change) {
        let values = remove.partition_values.as_ref();
        let old = remove.deletion_vector.clone();
        match added.remove(remove.path.as_str()) {
            // The same file with other rows deleted.
            Some(add) => {
                let file = DataFile::live(add, dir)?;
                let new = add.deletion_vector.clone();
                changes.removed.push(file.clone().between(new.clone(), old.clone()));
                changes.added.push(file.between(old, new));
            }
            None => {
                let file = DataFile::new(&remove.path, remove.size.unwrap_or(0), values, None, dir)?;
                changes.removed.push(file.except(old));
            }
        }
    }
    for add in added.into_values() {
        changes.added.push(DataFile::live(add, dir)?);
    }
    for files in [&mut changes.feed, &mut changes.removed, &mut changes.added] {
        files.retain(DataFile::may_have_rows);
        files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(changes)
}
