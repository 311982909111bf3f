//! Writes rows as Parquet files of a table.
//!
//! Promises: memory holds one row group for each of at most [`OPEN_PARTITIONS`] partitions, whatever is written; rows of an
//! unpartitioned table keep their order over files sorted by path. The files are on disk when [`write`] returns, and are part of the
//! table only once a commit names them.

use std::collections::HashSet;
use std::num::NonZeroU64;

use arrow::array::RecordBatch;
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake::kernel::Add;
use deltalake::logstore::LogStore;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::dictionaries;
use super::log::row_count;
use super::partitions;
use super::schema::Columns;
use crate::lake::error::delta_error;
use crate::lake::store::Dir;
use crate::model::Result;

/// Rows of one row group: a reader needs memory for that many.
const ROW_GROUP: usize = 64 * 1024;

/// Where one file ends and the next begins.
const FILE_SIZE: NonZeroU64 = NonZeroU64::new(256 * 1024 * 1024).unwrap();

/// Partitions that are written at a time: rows that come ordered by partition make one file for each, however many there are.
pub(super) const OPEN_PARTITIONS: usize = 32;

/// Rows between two looks at the size of the file.
const SLICE: usize = 8 * 1024;

/// Who wrote a file, as its footer says; a version follows.
const WRITER: &str = "pg_millrace ";

/// True for names as our files have them; those of other writers may be such, too.
pub(super) fn is_own_name(name: &str) -> bool {
    name.starts_with("part-") && name.ends_with(".parquet")
}

/// A name that no file has, in the directory of another file of the table; None for one that lies elsewhere.
pub(super) fn new_name(beside: &str) -> Option<String> {
    let directory = beside.rsplit_once('/').map(|(directory, _)| format!("{directory}/")).unwrap_or_default();
    (!beside.starts_with('/')).then(|| format!("{directory}part-00000-{}-c000.zstd.parquet", uuid::Uuid::new_v4()))
}

pub(super) fn writer() -> String {
    format!("{WRITER}{}", env!("CARGO_PKG_VERSION"))
}

pub(super) fn is_own_writer(created_by: &str) -> bool {
    created_by.starts_with(WRITER)
}

/// What was written.
pub(super) struct Written {
    pub adds: Vec<Add>,
    pub rows: u64,
    pub bytes: u64,
}

/// Writes all batches, which have the users' column names.
pub(super) async fn write(
    dir: &Dir,
    log_store: &dyn LogStore,
    columns: &Columns,
    indexed_columns: &str,
    mut batches: BoxStream<'_, Result<RecordBatch>>,
) -> Result<Written> {
    let mut next = batches.try_next().await?.map(|batch| columns.to_stored(&batch)).transpose()?;
    let config = WriterConfig::new(
        columns.stored.clone(),
        columns.partition_by.clone(),
        Some(properties(next.as_ref().map(dictionaries::without).unwrap_or_default())),
        Some(FILE_SIZE),
        Some(SLICE),
        indexed_columns.try_into().unwrap_or_default(),
        None,
    );
    let new_writer = || DeltaWriter::new(log_store.object_store(None), config.clone());
    let mut writer = new_writer();
    let failed = |e| delta_error(&e, "write data files", &dir.place());
    let mut adds = Vec::new();
    let mut open = HashSet::new();
    let outcome: Result<()> = async {
        while let Some(batch) = next.take() {
            for part in partitions::split(&batch, &columns.partition_by)? {
                if !open.contains(&part.key) && open.len() == OPEN_PARTITIONS {
                    adds.extend(std::mem::replace(&mut writer, new_writer()).close().await.map_err(failed)?);
                    open.clear();
                }
                writer.write(&part.rows).await.map_err(failed)?;
                open.insert(part.key);
            }
            next = batches.try_next().await?.map(|batch| columns.to_stored(&batch)).transpose()?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = outcome {
        // What stays behind belongs to no version.
        let _ = writer.abort().await;
        for add in &adds {
            dir.remove_quietly(&add.path).await;
        }
        return Err(error);
    }
    adds.extend(writer.close().await.map_err(failed)?);
    adds.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    for add in &adds {
        dir.keep(&add.path).await?;
    }
    let rows = adds.iter().filter_map(row_count).sum();
    let bytes = adds.iter().map(|add| u64::try_from(add.size).unwrap_or(0)).sum();
    Ok(Written { adds, rows, bytes })
}

fn properties(without_dictionary: Vec<String>) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let begun = without_dictionary.into_iter().fold(WriterProperties::builder(), |properties, column| {
        properties.set_column_dictionary_enabled(ColumnPath::new(vec![column]), false)
    });
    begun
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(writer())
        .build()
}
