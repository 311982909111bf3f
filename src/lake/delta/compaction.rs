//! Small files become large ones, copied or written anew, which one commit that changes no row puts in their place.
//!
//! Files of a partition are taken together while none of them is larger than all smaller ones together: so a row is written again as
//! often as its file has doubled, however many commits there are. Promises: memory holds what one file's reader and one writer need;
//! somebody else's commit that takes out a file which is being rewritten makes this one give up, and nothing is changed; the old files
//! stay for readers of earlier versions until the table's retention of removed files is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deltalake::kernel::Add;
use futures::stream::StreamExt;
use serde_json::{Map, json};

use super::commit::{Commit, Plan, remove_of};
use super::data::Written;
use super::rows::DataFile;
use super::{Table, features};
use crate::lake::error::place_error;
use crate::model::landing::MANIFEST_KEY;
use crate::model::{Code, Result};

/// Files that are half as large are left alone.
const TARGET: i64 = 128 * 1024 * 1024;

/// It takes so many to make it worth while.
const LEAST_FILES: usize = 16;

/// Bytes that one commit rewrites at most.
const MOST_BYTES: i64 = 1024 * 1024 * 1024;

const BATCH_ROWS: usize = 8 * 1024;

/// The operation by which a commit of ours is known that changes no row.
pub const OPERATION: &str = "OPTIMIZE";

impl Table {
    /// Rewrites small files; how many became how many.
    pub(super) async fn compact(&mut self, live: &BTreeMap<String, Add>) -> Result<Option<(usize, usize)>> {
        features::check_write(&self.protocol, &self.metadata, &self.dir.place())?;
        let groups = choose(live.values());
        if groups.is_empty() {
            return Ok(None);
        }
        let mut written = Written { adds: vec![], rows: 0, bytes: 0 };
        for group in &groups {
            let outcome = match self.join(group).await {
                Ok(None) => self.rewrite(group).await,
                Ok(Some(joined)) => Ok(joined),
                Err(e) => Err(e),
            };
            match outcome {
                Ok(part) => {
                    written.rows += part.rows;
                    written.bytes += part.bytes;
                    written.adds.extend(part.adds);
                }
                Err(e) => {
                    self.remove_files(&written.adds).await;
                    return Err(e);
                }
            }
        }
        for add in &mut written.adds {
            add.data_change = false;
        }
        let removed: Vec<&Add> = groups.into_iter().flatten().collect();
        let counts = (removed.len(), written.adds.len());
        let plan = Plan {
            metadata: None,
            adds: written.adds.clone(),
            removes: removed.into_iter().map(|add| remove_of(add, false)).collect(),
            is_whole: false,
            is_rewrite: true,
        };
        let info = Map::from_iter([(MANIFEST_KEY.to_owned(), json!({ "upkeep": "small files" }))]);
        self.commit(plan, &written, &Commit { app_id: "", version: 0, operation: OPERATION, info }).await?;
        Ok(Some(counts))
    }

    /// Writes the rows of some files of one partition as fewer files.
    pub(super) async fn rewrite(&self, files: &[&Add]) -> Result<Written> {
        let files = files.iter().map(|add| DataFile::live(add, &self.dir)).collect::<Result<Vec<_>>>()?;
        let expected: Option<u64> = files.iter().map(DataFile::rows).sum();
        let read = Arc::new(AtomicU64::new(0));
        let counter = read.clone();
        let rows = self.source().batches(files, BATCH_ROWS, 0).inspect(move |batch| {
            if let Ok(batch) = batch {
                counter.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            }
        });
        let (_, written) = self.write_data(None, rows.boxed()).await?;
        let read = read.load(Ordering::Relaxed);
        if written.rows != read || expected.is_some_and(|expected| expected != read) {
            self.remove_files(&written.adds).await;
            return Err(place_error(
                Code::Corrupt,
                format!("small files hold {read} rows, {} were written and {expected:?} were expected", written.rows),
                &self.dir.place(),
            ));
        }
        Ok(written)
    }

    async fn remove_files(&self, adds: &[Add]) {
        for add in adds {
            self.dir.remove_quietly(&add.path).await;
        }
    }
}

/// The files that are to become one, group by group.
fn choose<'a>(live: impl Iterator<Item = &'a Add>) -> Vec<Vec<&'a Add>> {
    let mut partitions: BTreeMap<Vec<(&str, Option<&str>)>, Vec<&Add>> = BTreeMap::new();
    for add in live.filter(|add| add.size < TARGET / 2 && add.deletion_vector.is_none()) {
        let mut key: Vec<_> = add.partition_values.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        key.sort_unstable();
        partitions.entry(key).or_default().push(add);
    }
    let (mut groups, mut bytes) = (Vec::new(), 0);
    for mut files in partitions.into_values() {
        files.sort_by_key(|add| add.size);
        let mut sum: i64 = files.iter().map(|add| add.size).sum();
        while let Some(largest) = files.last().filter(|largest| largest.size > sum - largest.size) {
            sum -= largest.size;
            files.pop();
        }
        let mut group = Vec::new();
        let mut size = 0;
        for (i, add) in files.iter().enumerate() {
            group.push(*add);
            size += add.size;
            let is_last = i + 1 == files.len();
            if size >= TARGET || is_last {
                if group.len() >= LEAST_FILES && bytes < MOST_BYTES {
                    bytes += size;
                    groups.push(std::mem::take(&mut group));
                }
                group.clear();
                size = 0;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[i64]) -> Vec<Add> {
        let add = |(i, size): (usize, &i64)| Add { path: format!("{i}"), size: *size, ..Default::default() };
        sizes.iter().enumerate().map(add).collect()
    }

    #[test]
    fn a_row_is_written_again_as_often_as_its_file_has_doubled() {
        let (mut live, mut rewritten, commits) = (Vec::new(), 0i64, 100_000);
        for n in 1..=commits {
            live.push(1_000);
            if n % 100 == 0 {
                let adds = files(&live);
                for group in choose(adds.iter()) {
                    let size: i64 = group.iter().map(|add| add.size).sum();
                    let gone: Vec<usize> = group.iter().map(|add| add.path.parse().unwrap()).collect();
                    let mut i = 0;
                    live.retain(|_| {
                        i += 1;
                        !gone.contains(&(i - 1))
                    });
                    live.push(size);
                    rewritten += size;
                }
            }
            assert!(live.len() < 130, "{} files", live.len());
        }
        assert!(rewritten < 12 * commits * 1_000, "each row was written {} times", rewritten / commits / 1_000);
    }

    #[test]
    fn few_files_large_ones_and_those_of_other_partitions_are_left_alone() {
        assert!(choose(files(&[10; 15]).iter()).is_empty());
        assert!(choose(files(&[TARGET / 2; 40]).iter()).is_empty());
        let mut two = files(&[10; 30]);
        for (i, add) in two.iter_mut().enumerate() {
            add.partition_values = [("p".to_owned(), Some((i % 2).to_string()))].into();
        }
        assert!(choose(two.iter()).is_empty());
        assert_eq!(choose(files(&[10; 16]).iter()).len(), 1);
    }
}
