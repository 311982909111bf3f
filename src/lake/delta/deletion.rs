//! Deletion vectors: which rows of a data file are no rows of the table.
//!
//! Promises: what the kernel reads is what storage holds, checked by its checksum; one request reads one vector, however many share
//! its file. A vector that is gone is a `Gap`, one in another store is refused.

use std::sync::Arc;

use buoyant_kernel::actions::deletion_vector::{DeletionVectorDescriptor as KernelVector, DeletionVectorStorageType};
use buoyant_kernel::{DeltaResult, Error as KernelError, FileMeta, FileSlice, StorageHandler};
use bytes::{Bytes, BytesMut};
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use roaring::RoaringTreemap;
use url::Url;

use super::paths;
use crate::lake::error::{format_error, place_error};
use crate::lake::store::Dir;
use crate::model::location::decode;
use crate::model::{Code, Error, Result};

/// A vector file begins with its version; vectors stand behind it, each between its length and its checksum.
const FILE_VERSION: u8 = 1;
const LENGTH: u64 = 4;
const CHECKSUM: u64 = 4;

/// The row numbers, from 0, that a vector takes out of its file.
pub(super) async fn read(dir: &Dir, vector: &DeletionVectorDescriptor, file: &str) -> Result<RoaringTreemap> {
    let place = paths::place_of(dir, file);
    let broken = |detail: String| {
        Error::new(Code::Corrupt, "cannot read the deletion vector of a data file")
            .detail(format!("location: {place}: {detail}"))
    };
    let inline = vector.storage_type == StorageType::Inline;
    let mut wanted = KernelVector {
        storage_type: match vector.storage_type {
            StorageType::UuidRelativePath => DeletionVectorStorageType::PersistedRelative,
            StorageType::Inline => DeletionVectorStorageType::Inline,
            StorageType::AbsolutePath => DeletionVectorStorageType::PersistedAbsolute,
        },
        path_or_inline_dv: vector.path_or_inline_dv.clone(),
        offset: vector.offset,
        size_in_bytes: vector.size_in_bytes,
        cardinality: vector.cardinality,
    };
    let least = if inline { 10 } else { 1 };
    if wanted.path_or_inline_dv.len() < least || wanted.size_in_bytes < 4 || wanted.offset.is_some_and(|o| o < 0) {
        return Err(broken("its description in the log makes no sense".into()));
    }
    let table = dir.table_url()?;
    let held = match wanted.absolute_path(&table).map_err(|e| broken(e.to_string()))? {
        None => Bytes::new(),
        Some(url) => {
            let whole = decode(url.as_str()).ok_or_else(|| broken("its path is no text".into()))?;
            let path = paths::within(dir, &whole, "a deletion vector")?;
            let from = u64::try_from(wanted.offset.unwrap_or(1)).unwrap_or(1);
            let size = u64::try_from(wanted.size_in_bytes).unwrap_or(0);
            let bytes = fetch(dir, &path, from..from + LENGTH + size + CHECKSUM).await?;
            wanted.offset = Some(1);
            bytes
        }
    };
    let deleted = wanted
        .read(Arc::new(Held(held)), &table)
        .map_err(|e| format_error(&e, "read the deletion vector of a data file", &place))?;
    if i64::try_from(deleted.len()).ok() != Some(vector.cardinality) {
        return Err(broken(format!("it has {} rows, the log says {}", deleted.len(), vector.cardinality)));
    }
    Ok(deleted)
}

/// The bytes of one vector behind the version of its file, as if it were the only one there.
async fn fetch(dir: &Dir, path: &str, range: std::ops::Range<u64>) -> Result<Bytes> {
    let (dir, path) = paths::reach(dir, path);
    let parts = dir.read_ranges(path, vec![0..1, range], None).await.map_err(|e| match e.code {
        Code::NotFound => place_error(Code::Gap, "a deletion vector of the table is gone", &dir.place_of(path)),
        _ => e,
    })?;
    let mut bytes = BytesMut::new();
    for part in &parts {
        bytes.extend_from_slice(part);
    }
    match bytes.first() {
        Some(&FILE_VERSION) => Ok(bytes.freeze()),
        _ => Err(place_error(Code::Unsupported, "a deletion vector has an unknown version", &dir.place_of(path))),
    }
}

/// The one file that the kernel asks for, fetched already.
struct Held(Bytes);

fn no_such_thing<T>() -> DeltaResult<T> {
    Err(KernelError::unsupported("only the bytes of one deletion vector are here"))
}

impl StorageHandler for Held {
    fn read_files(&self, _: Vec<FileSlice>) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<Bytes>>>> {
        Ok(Box::new(std::iter::once(Ok(self.0.clone()))))
    }
    fn list_from(&self, _: &Url) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<FileMeta>>>> {
        no_such_thing()
    }
    fn copy_atomic(&self, _: &Url, _: &Url) -> DeltaResult<()> {
        no_such_thing()
    }
    fn put(&self, _: &Url, _: Bytes, _: bool) -> DeltaResult<()> {
        no_such_thing()
    }
    fn head(&self, _: &Url) -> DeltaResult<FileMeta> {
        no_such_thing()
    }
    fn delete(&self, _: &Url) -> DeltaResult<()> {
        no_such_thing()
    }
}
