//! What keeps a table quick to open, to read and to write however long its history is.
//!
//! Once in so many versions small files are compacted, a checkpoint is written, entries of the log go that are older than the table
//! keeps them, and so do files that were removed longer ago than the table keeps those. Promises: no version within the retention of
//! the log loses anything that it needs; whatever dies in between, the next upkeep goes on from there.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deltalake::DeltaTableError;
use deltalake::table::state::DeltaTableState;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;

use super::log::{LOG, entry_name};
use super::{KERNEL, Table};
use crate::lake::error::{delta_error, place_error, store_error};
use crate::model::options::duration;
use crate::model::{Code, Result};

const DAY: Duration = Duration::from_secs(86_400);

/// How long the log and removed files are kept where the table does not say.
const LOG_RETENTION: Duration = DAY.saturating_mul(30);
pub(super) const FILE_RETENTION: Duration = DAY.saturating_mul(7);

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The version of the table's newest checkpoint.
    pub checkpoint: u64,
    /// How many small files became how many.
    pub compacted: Option<(usize, usize)>,
    pub log_files_removed: usize,
    pub data_files_removed: usize,
}

impl Table {
    /// True where the newest checkpoint that is known is so many versions ago. Costs nothing.
    pub fn is_upkeep_due(&self, every: u64) -> bool {
        self.version.saturating_sub(self.checkpoint.unwrap_or(0)) >= every
    }

    /// Tells of a checkpoint that another handle has written.
    pub fn note_checkpoint(&mut self, version: u64) {
        self.checkpoint = self.checkpoint.max(Some(version));
    }

    /// Does what is due, where it is. Whatever the table says, nothing goes that is younger than `least`.
    pub async fn upkeep(&mut self, every: u64, least: Duration) -> Result<Kept> {
        self.refresh().await?;
        let mut kept = Kept { checkpoint: self.checkpoint.unwrap_or(0), ..Kept::default() };
        if !self.is_upkeep_due(every) {
            return Ok(kept);
        }
        let live = self.read_live().await?;
        kept.compacted = match self.compact(&live).await {
            // Somebody else has rewritten the files.
            Err(e) if e.code == Code::Conflict => None,
            done => done?,
        };
        drop(live);
        let (_, removed) = self.named_files().await?;
        kept.data_files_removed = self.delete_expired(&removed, least).await?;
        self.write_checkpoint().await?;
        // The checkpoint no longer names what had expired when it was written.
        kept.data_files_removed += self.delete_expired(&removed, least).await?;
        kept.checkpoint = self.version;
        if self.metadata.property("delta.enableExpiredLogCleanup") != Some("false") {
            kept.log_files_removed = self.clean_log(least).await?;
        }
        Ok(kept)
    }

    /// The files of the table, and those that are no longer part of it, by when they were removed.
    pub(super) async fn named_files(&self) -> Result<(HashSet<String>, BTreeSet<(i64, String)>)> {
        let failed = |e: DeltaTableError| delta_error(&e, "read the files of the Delta table", &self.dir.place());
        let _permit = KERNEL.acquire().await;
        let state = DeltaTableState::try_new(self.log_store.as_ref(), Some(self.version)).await.map_err(failed)?;
        // One that came back is none.
        let live: HashSet<String> = state.log_data().iter().map(|file| file.path().into_owned()).collect();
        let mut removed = BTreeSet::new();
        let mut tombstones = state.all_tombstones(self.log_store.as_ref());
        while let Some(tombstone) = tombstones.try_next().await.map_err(failed)? {
            let path = tombstone.path().into_owned();
            if let Some(at) = tombstone.deletion_timestamp()
                && !live.contains(&path)
            {
                removed.insert((at, path));
            }
        }
        Ok((live, removed))
    }

    /// Deletes files that were removed longer ago than the table keeps them.
    async fn delete_expired(&self, removed: &BTreeSet<(i64, String)>, least: Duration) -> Result<usize> {
        let cutoff = Utc::now() - self.retention("delta.deletedFileRetentionDuration", FILE_RETENTION, least)?;
        let expired = removed.iter().take_while(|(at, _)| *at <= cutoff.timestamp_millis());
        // A shallow clone names files of other tables.
        let ours = expired.map(|(_, path)| path).filter(|path| !path.contains("://") && !path.starts_with('/'));
        let paths = ours.map(|path| self.dir.path(path)).collect::<Result<Vec<Path>>>()?;
        self.delete(paths).await
    }

    /// Removes entries of the log that are older than the table keeps them, and that no later version needs.
    async fn clean_log(&self, least: Duration) -> Result<usize> {
        let retention = self.retention("delta.logRetentionDuration", LOG_RETENTION, least)?;
        let cutoff = Utc::now() - retention;
        // Listed only where there is something to find, and not for a few entries: a day's worth at a time, with a month kept.
        let Some(oldest) = self.oldest_entry().await? else { return Ok(0) };
        if oldest > cutoff - retention / 30 {
            return Ok(0);
        }
        let failed = |e: object_store::Error| store_error(&e, "list the log", &self.dir.place());
        let mut found = Vec::new();
        let mut listing = self.dir.root().list(Some(&self.dir.path(LOG)?));
        while let Some(meta) = listing.try_next().await.map_err(failed)? {
            if let Some(file) = LogFile::of(&meta.location) {
                found.push((file, meta.last_modified, meta.location));
            }
        }
        let paths = removable(found, cutoff, self.version);
        self.delete(paths).await
    }

    /// When the oldest entry was written. Versions have no gaps, so that it is found with a few looks.
    async fn oldest_entry(&self) -> Result<Option<DateTime<Utc>>> {
        let (mut missing, mut there) = (None, self.version);
        loop {
            let low = missing.map_or(0, |version: u64| version + 1);
            if low >= there {
                break;
            }
            // The first of all is most often there.
            let probe = if missing.is_none() { 0 } else { low + (there - low) / 2 };
            match self.dir.exists(&entry_name(probe)).await? {
                true => there = probe,
                false => missing = Some(probe),
            }
        }
        self.dir.modified(&entry_name(there)).await
    }

    pub(super) async fn delete(&self, paths: Vec<Path>) -> Result<usize> {
        let count = paths.len();
        let deleted = self.dir.root().delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        deleted
            .map(|outcome| match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(store_error(&e, "delete file", &self.dir.place())),
            })
            .try_collect::<Vec<()>>()
            .await?;
        Ok(count)
    }

    /// A property such as `interval 30 days`.
    pub(super) fn retention(&self, property: &str, usual: Duration, least: Duration) -> Result<TimeDelta> {
        let kept = match self.metadata.property(property) {
            None => Some(usual),
            Some(text) => {
                let text = text.trim().to_lowercase();
                duration::parse(text.strip_prefix("interval").unwrap_or(&text).trim())
            }
        };
        kept.and_then(|kept| TimeDelta::from_std(kept.max(least)).ok()).ok_or_else(|| {
            let message = format!("the Delta table's property {property} is no duration that is known");
            place_error(Code::Unsupported, message, &self.dir.place()).hint("Write it as in \"interval 30 days\".")
        })
    }
}

/// A file of the log that belongs to one version.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LogFile {
    version: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Entry,
    /// A part of a checkpoint that has so many.
    Checkpoint {
        parts: u64,
    },
    Checksum,
}

impl LogFile {
    fn of(path: &Path) -> Option<LogFile> {
        let (version, rest) = path.filename()?.split_once('.')?;
        let is_version = version.len() == 20 && version.bytes().all(|b| b.is_ascii_digit());
        let version = is_version.then(|| version.parse().ok()).flatten()?;
        let kind = match rest.split('.').collect::<Vec<_>>().as_slice() {
            ["json"] => Kind::Entry,
            ["crc"] => Kind::Checksum,
            ["checkpoint", "parquet"] | ["checkpoint", _, "parquet" | "json"] => Kind::Checkpoint { parts: 1 },
            ["checkpoint", _, parts, "parquet"] => Kind::Checkpoint { parts: parts.parse().ok()? },
            _ => return None,
        };
        Some(LogFile { version, kind })
    }
}

/// What may go: everything before the newest whole checkpoint from which each entry within the retention can be reached.
fn removable(mut found: Vec<(LogFile, DateTime<Utc>, Path)>, cutoff: DateTime<Utc>, version: u64) -> Vec<Path> {
    found.sort_by_key(|(file, ..)| file.version);
    let is_kept =
        |(file, modified, _): &&(LogFile, DateTime<Utc>, Path)| file.kind == Kind::Entry && *modified > cutoff;
    let first_kept = found.iter().find(is_kept).map_or(version, |(file, ..)| file.version);
    let mut base = None;
    for (file, ..) in &found {
        if let Kind::Checkpoint { parts } = file.kind
            && file.version <= first_kept
        {
            let there = found.iter().filter(|(other, ..)| other == file).count() as u64;
            if there >= parts {
                base = Some(file.version);
            }
        }
    }
    let Some(base) = base else { return vec![] };
    found.into_iter().filter(|(file, ..)| file.version < base).map(|(_, _, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, i64)]) -> Vec<(LogFile, DateTime<Utc>, Path)> {
        let day = |days: i64| DateTime::from_timestamp(days * 86_400, 0).unwrap();
        files
            .iter()
            .map(|(name, days)| {
                let path = Path::from(format!("t/_delta_log/{name}"));
                (LogFile::of(&path).unwrap(), day(*days), path)
            })
            .collect()
    }

    #[test]
    fn each_version_within_the_retention_keeps_the_checkpoint_that_it_needs() {
        let name = |version: u64, rest: &str| format!("{version:020}.{rest}");
        let entries: Vec<(String, i64)> = (0..=30).map(|v| (name(v, "json"), v as i64)).collect();
        let mut files = entries.clone();
        files
            .extend([(name(10, "checkpoint.parquet"), 10), (name(20, "checkpoint.0000000001.0000000002.parquet"), 20)]);
        let removed = |files: &[(String, i64)], days: i64| {
            let files: Vec<(&str, i64)> = files.iter().map(|(name, at)| (name.as_str(), *at)).collect();
            removable(found(&files), DateTime::from_timestamp(days * 86_400, 0).unwrap(), 30).len()
        };
        // The checkpoint at 20 lacks a part; version 25 and all after 10 are reached from the one at 10.
        assert_eq!(removed(&files, 24), 10);
        files.push((name(20, "checkpoint.0000000002.0000000002.parquet"), 20));
        assert_eq!(removed(&files, 24), 21);
        assert_eq!(removed(&files, 15), 10);
        assert_eq!((removed(&files, 5), removed(&entries, 24)), (0, 0));
    }

    #[test]
    fn other_files_of_the_log_are_not_ours_to_remove() {
        for name in ["_last_checkpoint", "00000000000000000001.json.tmp", "0001.json", "_sidecars/x.parquet"] {
            assert_eq!(LogFile::of(&Path::from(format!("t/_delta_log/{name}"))), None, "{name}");
        }
    }
}
