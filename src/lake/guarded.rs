//! A store that asks, before each access, whether its place is allowed.
//!
//! Promises: every object is asked for by its own path, whoever holds the store: our code, the Delta library, its kernel. Where no list is in
//! force the store is as it was.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::allowed::{self, Place};

#[derive(Debug)]
pub(super) struct Guarded {
    inner: Arc<dyn ObjectStore>,
    /// Where the store is; None for the local disk.
    place: Option<Place>,
}

impl Guarded {
    pub(super) fn store(inner: Arc<dyn ObjectStore>, place: Option<Place>) -> Arc<dyn ObjectStore> {
        Arc::new(Guarded { inner, place })
    }
}

fn check(place: Option<&Place>, path: &Path) -> Result<()> {
    let found = match place {
        Some(place) => allowed::check_place(&place.at(path.as_ref()), path.as_ref()),
        None => allowed::check_local(&PathBuf::from("/").join(path.as_ref()), path.as_ref()),
    };
    found.map_err(|e| object_store::Error::PermissionDenied { path: path.to_string(), source: e.into() })
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        check(self.place.as_ref(), location)?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        check(self.place.as_ref(), location)?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        check(self.place.as_ref(), location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        check(self.place.as_ref(), location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let place = self.place.clone();
        let checked =
            locations.map(move |location| location.and_then(|path| check(place.as_ref(), &path).map(|()| path)));
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match check(self.place.as_ref(), prefix.unwrap_or(&Path::default())) {
            Ok(()) => self.inner.list(prefix),
            Err(e) => stream::once(async { Err(e) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match check(self.place.as_ref(), prefix.unwrap_or(&Path::default())) {
            Ok(()) => self.inner.list_with_offset(prefix, offset),
            Err(e) => stream::once(async { Err(e) }).into_stream().boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        check(self.place.as_ref(), prefix.unwrap_or(&Path::default()))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        check(self.place.as_ref(), from)?;
        check(self.place.as_ref(), to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        check(self.place.as_ref(), from)?;
        check(self.place.as_ref(), to)?;
        self.inner.rename_opts(from, to, options).await
    }
}
