//! The rows and files of a table's present version, or of one version alone, and the checkpoint.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::DateTime;
use deltalake::DeltaTableError;
use deltalake::kernel::Add;
use futures::stream::BoxStream;

use super::log::{entry_name, parse_entry};
use super::rows::{DataFile, Source, VersionReader};
use super::{Table, features, live, snapshot};
use crate::lake::error::{delta_error, format_error, place_error};
use crate::lake::listing::LandingFile;
use crate::model::{Code, Result};

impl Table {
    /// The rows that a version added.
    pub async fn read_version(&self, version: u64) -> Result<VersionReader> {
        let name = entry_name(version);
        let place = self.dir.place_of(&name);
        let bytes = self.dir.get(&name).await?.ok_or_else(|| {
            place_error(Code::Gap, format!("version {version} is not in the log of the Delta table"), &place)
                .hint("The entry was cleaned up before it was read. Start the pipeline anew from a version that is still there.")
        })?;
        VersionReader::new(self.source(), parse_entry(&bytes, &place)?)
    }

    /// The number of rows in the table, from the statistics of its files (and from a file itself where it has none).
    pub async fn count_rows(&self) -> Result<u64> {
        let source = self.source();
        let mut rows = 0;
        for add in self.read_live().await?.values() {
            let file = DataFile::live(add, &self.dir)?;
            rows += match file.rows() {
                Some(rows) => rows,
                None => source.count(&file).await?,
            };
        }
        Ok(rows)
    }

    /// All rows of the table, in batches of at most `batch_rows`, in no order.
    pub async fn scan(&self, batch_rows: usize) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let source = self.source();
        Ok(source.batches(self.data_files().await?, batch_rows, 0))
    }

    /// The files that hold the rows of this version, ordered by path.
    pub async fn data_files(&self) -> Result<Vec<DataFile>> {
        self.read_live().await?.values().map(|add| DataFile::live(add, &self.dir)).collect()
    }

    /// The same as a listing shows files: without those that are no part of the table any more.
    pub async fn listing(&self) -> Result<Vec<LandingFile>> {
        let shown = |add: &Add| {
            let file = DataFile::live(add, &self.dir)?;
            let modified = DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default();
            // The log has no ETags.
            Ok(LandingFile { path: file.path, etag: String::new(), size: file.size, modified })
        };
        self.read_live().await?.values().map(shown).collect()
    }

    /// Writes a checkpoint of this version.
    pub(super) async fn write_checkpoint(&mut self) -> Result<()> {
        features::check_write(&self.protocol, &self.metadata, &self.dir.place())?;
        let failed = |e: DeltaTableError| delta_error(&e, "write a checkpoint of the Delta table", &self.dir.place());
        let base = snapshot(&self.log_store, Some(self.version)).await.map_err(failed)?;
        let scan = base.scan_builder().with_skip_stats(true).build().map_err(failed)?;
        let (snapshot, engine) = (scan.snapshot().clone(), self.log_store.engine(None));
        self.on_blocking_thread(move || snapshot.checkpoint(engine.as_ref(), None).map(drop))
            .await?
            .map_err(|e| format_error(&e, "write a checkpoint of the Delta table", &self.dir.place()))?;
        self.checkpoint = Some(self.version);
        Ok(())
    }

    /// The files of this version, kept from now on.
    pub(super) async fn live_files(&mut self) -> Result<&BTreeMap<String, Add>> {
        let live = match self.live.take() {
            Some(live) => live,
            None => self.read_live().await?,
        };
        if let Some(add) = live.values().find(|add| add.deletion_vector.is_some()) {
            return Err(features::deletion_vector(&add.path, &self.dir.place()));
        }
        Ok(self.live.insert(live))
    }

    pub(super) async fn read_live(&self) -> Result<BTreeMap<String, Add>> {
        if let Some(live) = &self.live {
            return Ok(live.clone());
        }
        let failed = |e: DeltaTableError| delta_error(&e, "read the files of the Delta table", &self.dir.place());
        let newer;
        let base = if self.base.version() == self.version {
            &self.base
        } else {
            newer = snapshot(&self.log_store, Some(self.version)).await.map_err(failed)?;
            &newer
        };
        let scan = base.scan_builder().with_skip_stats(true).build().map_err(failed)?;
        let (snapshot, engine) = (scan.snapshot().clone(), self.log_store.engine(None));
        self.on_blocking_thread(move || live::replay(snapshot, engine.as_ref()))
            .await?
            .map_err(|e| format_error(&e, "read the files of the Delta table", &self.dir.place()))
    }

    pub(super) fn source(&self) -> Source {
        Source { dir: self.dir.clone(), columns: self.columns.clone() }
    }
}
