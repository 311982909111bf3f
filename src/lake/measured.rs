//! A store whose answers have the length that was asked for.
//!
//! Promise: what is read of an object is as many bytes as the store said of them, and they are those that were asked for; anything else is an
//! error that another try may mend. Without that a proxy's wrong length would reach readers that trust it, of whom some panic.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

#[derive(Debug)]
pub(super) struct Measured(Arc<dyn ObjectStore>);

impl Measured {
    pub(super) fn store(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Measured(inner))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn wrong_length(expected: u64, found: u64) -> object_store::Error {
    let what = format!("an answer of {found} bytes came in place of {expected}");
    object_store::Error::Generic { store: "storage", source: IoError::new(ErrorKind::UnexpectedEof, what).into() }
}

/// The bytes that were asked for, of an object of this size.
fn asked_for(range: &GetRange, size: u64) -> Range<u64> {
    match range {
        GetRange::Bounded(range) => range.start..range.end.min(size),
        GetRange::Offset(start) => *start..size,
        GetRange::Suffix(length) => size.saturating_sub(*length)..size,
    }
}

/// The stream, which fails as soon as there is more than was said, or at its end where there was less.
fn measured(inner: BoxStream<'static, Result<Bytes>>, expected: u64) -> BoxStream<'static, Result<Bytes>> {
    let state = (inner, 0);
    stream::try_unfold(state, move |(mut inner, mut found)| async move {
        let next = inner.try_next().await?;
        found += next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let is_wrong = if next.is_some() { found > expected } else { found != expected };
        if is_wrong {
            return Err(wrong_length(expected, found));
        }
        Ok(next.map(|bytes| (bytes, (inner, found))))
    })
    .boxed()
}

#[async_trait]
impl ObjectStore for Measured {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (range, head) = (options.range.clone(), options.head);
        let mut result = self.0.get_opts(location, options).await?;
        if head {
            return Ok(result);
        }
        let asked = range.map_or(0..result.meta.size, |range| asked_for(&range, result.meta.size));
        if result.range != asked {
            return Err(wrong_length(asked.end - asked.start, result.range.end - result.range.start));
        }
        result.payload = match result.payload {
            GetResultPayload::Stream(stream) => GetResultPayload::Stream(measured(stream, asked.end - asked.start)),
            file => file,
        };
        Ok(result)
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::error::store_error;

    fn read(chunks: &[&'static str], expected: u64) -> Result<usize> {
        let chunks: Vec<Result<Bytes>> = chunks.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        let read = measured(stream::iter(chunks).boxed(), expected).try_collect::<Vec<_>>();
        futures::executor::block_on(read).map(|chunks| chunks.iter().map(Bytes::len).sum())
    }

    #[test]
    fn an_answer_is_as_long_as_was_said_or_an_error_that_another_try_may_mend() {
        assert_eq!(read(&["ab", "c"], 3).unwrap(), 3);
        assert_eq!(read(&[], 0).unwrap(), 0);
        for (chunks, expected) in [(&["ab", "c"][..], 2), (&["ab", "c"], 4), (&[], 1), (&["a"], 0)] {
            let error = read(chunks, expected).unwrap_err();
            assert!(store_error(&error, "read file", "az://lake/file").is_temporary(), "{error}");
        }
    }

    #[test]
    fn what_was_asked_for_ends_where_the_object_does() {
        assert_eq!(asked_for(&GetRange::Bounded(2..20), 10), 2..10);
        assert_eq!(asked_for(&GetRange::Offset(4), 10), 4..10);
        assert_eq!(asked_for(&GetRange::Suffix(4), 10), 6..10);
        assert_eq!(asked_for(&GetRange::Suffix(40), 10), 0..10);
    }
}
