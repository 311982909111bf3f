//! Data files that no version names: what a process of ours had written when it died before its commit.
//!
//! Promises: a file goes only if it is one of ours (by its name, and by what its footer says of who wrote it), if no action of the log
//! names a file of its name, and if it is older than anything that may still be committed: the table's retention of removed files, and
//! [`LEAST`]. What others have written and never committed is left to them.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::async_reader::AsyncFileReader;

use super::Table;
use super::data::{is_own_name, is_own_writer};
use super::upkeep::FILE_RETENTION;
use crate::lake::error::store_error;
use crate::lake::local;
use crate::lake::parquet_file::ParquetFile;
use crate::model::Result;

/// No file that is younger goes, whatever the table says; what was prepared so long ago is not committed.
const LEAST: Duration = Duration::from_secs(86_400);

/// What waits longer for its commit is written anew: far from the age at which it would be taken for left over.
pub(super) const LONGEST_WAIT: Duration = LEAST.checked_div(4).unwrap();

impl Table {
    /// Deletes them; tells how many. Lists the whole directory.
    pub async fn remove_orphans(&mut self, least: Duration) -> Result<usize> {
        let kept = self.retention("delta.deletedFileRetentionDuration", FILE_RETENTION, least.max(LEAST))?;
        self.remove_orphans_before(Utc::now() - kept).await
    }

    pub(super) async fn remove_orphans_before(&mut self, cutoff: DateTime<Utc>) -> Result<usize> {
        let mut unfinished = 0;
        if let Some(directory) = self.dir.local_path("")? {
            unfinished = local::remove_unfinished(directory, cutoff.into()).await?;
        }
        // Listed before the log is read: what was committed up to here is named there.
        let mut found = self.own_files(cutoff).await?;
        if found.is_empty() {
            return Ok(unfinished);
        }
        self.refresh().await?;
        let (live, removed) = self.named_files().await?;
        let named: HashSet<&str> =
            live.iter().chain(removed.iter().map(|(_, path)| path)).map(|p| name_of(p)).collect();
        found.retain(|(path, _)| !path.filename().is_some_and(|name| named.contains(name)));
        let mut orphans = Vec::new();
        for (path, size) in found {
            if self.is_written_by_us(&path, size).await {
                orphans.push(path);
            }
        }
        Ok(unfinished + self.delete(orphans).await?)
    }

    /// Data files that were written before, with names as ours have, and their sizes.
    async fn own_files(&self, cutoff: DateTime<Utc>) -> Result<Vec<(Path, u64)>> {
        let failed = |e: object_store::Error| store_error(&e, "list the table", &self.dir.place());
        let mut found = Vec::new();
        let mut listing = self.dir.root().list(Some(self.dir.prefix()));
        while let Some(meta) = listing.try_next().await.map_err(failed)? {
            if meta.last_modified < cutoff && meta.location.filename().is_some_and(is_own_name) {
                found.push((meta.location, meta.size));
            }
        }
        Ok(found)
    }

    /// A file whose footer can't be read is nobody's that we know.
    async fn is_written_by_us(&self, path: &Path, size: u64) -> bool {
        let Some(below) = path.prefix_match(self.dir.prefix()) else { return false };
        let below: Vec<String> = below.map(|part| part.as_ref().to_owned()).collect();
        let mut file = ParquetFile::immutable(&self.dir, &below.join("/"), size);
        let footer = if size < 12 { None } else { file.get_metadata(None).await.ok() };
        footer.is_some_and(|footer| footer.file_metadata().created_by().is_some_and(is_own_writer))
    }
}

/// The last part of a path of the log. Names of ours are the same however the path before them is encoded.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
