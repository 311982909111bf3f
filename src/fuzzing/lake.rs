//! What the lake holds: Parquet files, entries of a Delta log.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use crate::format::RawBatch;
use crate::lake::delta;
use crate::lake::parquet_file::ParquetFile;
use crate::lake::parquet_rows::{Limits, ParquetRows};
use crate::lake::store::Dir;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Rows after which a file that claims more is not read on: it may claim any number in a few bytes.
const ROWS: usize = 10_000;

/// A Parquet file is read or refused.
pub fn parquet(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    runtime().block_on(async move {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let size = data.len() as u64;
        store.put(&"d/f".into(), data.into()).await.unwrap();
        let file = ParquetFile::immutable(&Dir::in_store("az://c/d", store, "d"), "f", size);
        let Ok(rows) = ParquetRows::open(file).await else { return };
        let columns = (0..rows.schema().fields().len()).collect();
        let limits = Limits { batch_rows: 100, memory: 1 << 20 };
        let Ok(mut batches) = rows.batches(columns, 0, limits) else { return };
        let mut count = 0;
        while let Ok(Some(batch)) = batches.try_next().await {
            count += batch.num_rows();
            if let Ok(raw) = RawBatch::typed(&batch, 1, 0) {
                for (column, row) in (0..raw.fields.num_columns()).flat_map(|c| (0..raw.rows()).map(move |r| (c, r))) {
                    let _ = raw.text(column, row);
                }
            }
            if count > ROWS {
                break;
            }
        }
    });
}

/// An entry of a Delta log is understood or refused.
pub fn delta_log(data: &[u8]) {
    let dir = Dir::in_store("az://c/d", Arc::new(InMemory::new()), "d");
    delta::read_entry(&dir, data);
}
