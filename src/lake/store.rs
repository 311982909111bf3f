//! A directory of the lake as a handle: an object store, and the prefix below which everything lies.
//!
//! Promises: a directory that is opened exists and can be read. Stores are built from the location and the credentials given,
//! never from the process environment. What is created with [`Dir::create_new`] appears whole or not at all, and at most once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, coalesce_ranges,
};

use super::allowed::{self, Place};
use super::error::{place_error, store_error};
use super::guarded::Guarded;
use super::measured::Measured;
use super::{azure, gcs, local, s3};
use crate::model::location::Scheme;
use crate::model::{Code, Location, Result};

/// Names and values as a server and a user mapping hold them (`endpoint`, `account_key`, `sas_token` …).
pub type Credentials = BTreeMap<String, String>;

/// One directory of the lake.
#[derive(Clone)]
pub struct Dir {
    location: Location,
    root: Arc<dyn ObjectStore>,
    prefix: Path,
    local: Option<PathBuf>,
}

impl Dir {
    /// The handle alone: nothing is read, and the directory need not exist.
    pub fn at(location: &Location, credentials: &Credentials) -> Result<Dir> {
        let (location, _) = location.split_glob();
        allowed::check(&location, credentials)?;
        if !location.is_local() {
            let (root, path) = match () {
                _ if s3::serves(&location) => s3::open(&location, credentials)?,
                _ if gcs::serves(&location) => gcs::open(&location, credentials)?,
                _ => azure::open(&location, credentials)?,
            };
            let root = Guarded::store(Measured::store(root), Some(Place::of(&location, credentials)?));
            return Ok(Dir { prefix: parse_path(&path, &location)?, root, local: None, location });
        }
        let path = location.local_path()?;
        Ok(Dir {
            prefix: parse_path(&location.segments().join("/"), &location)?,
            root: Guarded::store(Arc::new(LocalFileSystem::new()), None),
            local: Some(path),
            location,
        })
    }

    /// The directory, which must exist and be readable.
    pub async fn open(location: &Location, credentials: &Credentials) -> Result<Dir> {
        let dir = Dir::at(location, credentials)?;
        match &dir.local {
            Some(path) => local::check_directory(path.clone(), dir.place()).await?,
            None => {
                let first = dir.root.list(Some(&dir.prefix)).try_next().await;
                first.map_err(|e| store_error(&e, "read directory", &dir.place()))?;
            }
        }
        Ok(dir)
    }

    /// A directory with the pattern that its location carries. A location of one file becomes its directory and a pattern that
    /// only that file meets.
    pub async fn resolve(location: &Location, credentials: &Credentials) -> Result<(Dir, Option<String>)> {
        let (directory, pattern) = location.split_glob();
        if pattern.is_none()
            && let Some((above, name)) = directory.split_last()
            && Dir::at(&above, credentials)?.exists(&name).await?
        {
            return Ok((Dir::open(&above, credentials).await?, Some(globset::escape(&name))));
        }
        Ok((Dir::open(&directory, credentials).await?, pattern))
    }

    /// A directory in any store, for tests of the code that is shared by all of them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn in_store(location: &str, root: Arc<dyn ObjectStore>, prefix: &str) -> Dir {
        Dir { location: Location::parse(location).unwrap(), root, prefix: Path::from(prefix), local: None }
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The location as text for messages.
    pub fn place(&self) -> String {
        self.location.display()
    }

    /// The location of something below, as text for messages.
    pub(crate) fn place_of(&self, relative: &str) -> String {
        self.location.join(relative).display()
    }

    /// The store with nothing cut off its paths.
    pub(crate) fn root(&self) -> &Arc<dyn ObjectStore> {
        &self.root
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The path of something below, in the terms of [`Dir::root`].
    pub(crate) fn path(&self, relative: &str) -> Result<Path> {
        let whole = match self.prefix.as_ref() {
            "" => relative.to_owned(),
            prefix => format!("{prefix}/{relative}"),
        };
        parse_path(&whole, &self.location)
    }

    /// The path of something below that is to be reached, where the directory is on local disk; raises where it must not be.
    pub(crate) fn local_path(&self, relative: &str) -> Result<Option<PathBuf>> {
        let Some(path) = self.local_below(relative) else { return Ok(None) };
        allowed::check_local(&path, &self.place_of(relative))?;
        Ok(Some(path))
    }

    fn local_below(&self, relative: &str) -> Option<PathBuf> {
        self.local.as_ref().map(|path| if relative.is_empty() { path.clone() } else { path.join(relative) })
    }

    /// The directory as the Delta library names it: its path must be the prefix in the store, whatever users write.
    pub(crate) fn table_url(&self) -> Result<url::Url> {
        let invalid = || place_error(Code::InvalidParameter, "location makes no URL", &self.place());
        if let Some(path) = &self.local {
            return url::Url::from_directory_path(path).map_err(|()| invalid());
        }
        let (scheme, authority) = (self.location.scheme().name(), self.location.authority());
        let mut url = url::Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| invalid())?;
        url.path_segments_mut()
            .map_err(|()| invalid())?
            .pop_if_empty()
            .extend(self.prefix.parts().map(|part| part.as_ref().to_owned()))
            .push("");
        Ok(url)
    }

    /// True where there is such a file.
    pub(crate) async fn exists(&self, relative: &str) -> Result<bool> {
        match self.root.head(&self.path(relative)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(store_error(&e, "read file", &self.place_of(relative))),
        }
    }

    /// When an object was written; None where there is none.
    pub(crate) async fn modified(&self, relative: &str) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
        match self.root.head(&self.path(relative)?).await {
            Ok(meta) => Ok(Some(meta.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(store_error(&e, "read file", &self.place_of(relative))),
        }
    }

    /// The size of an object.
    pub(crate) async fn size_of(&self, relative: &str) -> Result<u64> {
        let found = self.root.head(&self.path(relative)?).await;
        Ok(found.map_err(|e| store_error(&e, "read file", &self.place_of(relative)))?.size)
    }

    /// A small object whole, or None where there is none.
    pub(crate) async fn get(&self, relative: &str) -> Result<Option<Bytes>> {
        let failed = |e: object_store::Error| store_error(&e, "read file", &self.place_of(relative));
        match self.root.get(&self.path(relative)?).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Parts of an object; with an ETag, of that version of it alone.
    pub(crate) async fn read_ranges(
        &self,
        relative: &str,
        ranges: Vec<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<Vec<Bytes>> {
        let place = self.place_of(relative);
        if let Some(path) = self.local_path(relative)? {
            return local::read_ranges(path, ranges, etag.map(str::to_owned), place).await;
        }
        let path = self.path(relative)?;
        let fetch = |range: Range<u64>| {
            let options = conditional(Some(GetRange::Bounded(range)), etag);
            async { self.root.get_opts(&path, options).await?.bytes().await }
        };
        coalesce_ranges(&ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT)
            .await
            .map_err(|e| store_error(&e, "read file", &place))
    }

    /// Creates an object whole; false, and nothing is changed, where there is one already.
    pub(crate) async fn create_new(&self, relative: &str, bytes: Bytes) -> Result<bool> {
        if let Some(path) = self.local_path(relative)? {
            return local::write(path, bytes, local::Existing::Keep, self.place_of(relative)).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.root.put_opts(&self.path(relative)?, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(store_error(&e, "write file", &self.place_of(relative))),
        }
    }

    /// Creates or replaces an object whole.
    pub(crate) async fn put(&self, relative: &str, bytes: Bytes) -> Result<()> {
        if let Some(path) = self.local_path(relative)? {
            local::write(path, bytes, local::Existing::Replace, self.place_of(relative)).await?;
            return Ok(());
        }
        match self.root.put(&self.path(relative)?, PutPayload::from(bytes)).await {
            Ok(_) => Ok(()),
            Err(e) => Err(store_error(&e, "write file", &self.place_of(relative))),
        }
    }

    /// The ETag that an object has now; None where there is none.
    pub(crate) async fn etag_now(&self, relative: &str) -> Result<Option<String>> {
        if let Some(path) = self.local_path(relative)? {
            return local::etag_now(path, self.place_of(relative)).await;
        }
        match self.root.head(&self.path(relative)?).await {
            Ok(meta) => Ok(Some(etag_of(&meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(store_error(&e, "read file", &self.place_of(relative))),
        }
    }

    /// Removes an object; one that is gone already counts as removed.
    pub(crate) async fn remove(&self, relative: &str) -> Result<()> {
        match self.root.delete(&self.path(relative)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(store_error(&e, "delete file", &self.place_of(relative))),
        }
    }

    /// Removes an object if it can; what stays behind must be harmless.
    pub(crate) async fn remove_quietly(&self, relative: &str) {
        if let Ok(path) = self.path(relative) {
            let _ = self.root.delete(&path).await;
        }
    }

    /// Asks the disk to keep an object that was just written; other stores have done so already.
    pub(crate) async fn keep(&self, relative: &str) -> Result<()> {
        match self.local_path(relative)? {
            Some(path) => local::sync(path, self.place_of(relative)).await,
            None => Ok(()),
        }
    }

    /// False where the directory does not exist, in stores that have directories.
    pub(crate) async fn may_hold_files(&self) -> Result<bool> {
        let Some(path) = self.local_path("")? else { return Ok(true) };
        match local::check_directory(path, self.place()).await {
            Ok(()) => Ok(true),
            Err(e) if e.code == Code::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// All of the store in which this directory is.
    pub(crate) fn top(&self) -> Dir {
        let above = |location: Location| location.split_last().map_or(location, |(above, _)| above);
        Dir {
            location: self.prefix.parts().fold(self.location.split_glob().0, |location, _| above(location)),
            root: self.root.clone(),
            prefix: Path::default(),
            local: self.local.as_ref().map(|_| PathBuf::from("/")),
        }
    }

    /// A directory below.
    pub(crate) fn join(&self, relative: &str) -> Result<Dir> {
        Ok(Dir {
            location: self.location.join(relative),
            root: self.root.clone(),
            prefix: self.path(relative)?,
            local: self.local_below(relative),
        })
    }

    /// True where anything lies in the directory or below.
    pub(crate) async fn holds_objects(&self) -> Result<bool> {
        match self.root.list(Some(&self.prefix)).try_next().await {
            Ok(found) => Ok(found.is_some()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(store_error(&e, "read directory", &self.place())),
        }
    }

    /// True where something lies in the directory whose name does not begin with `_` or `.`.
    pub(crate) async fn holds_anything(&self) -> Result<bool> {
        let found = match self.root.list_with_delimiter(Some(&self.prefix)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(store_error(&e, "read directory", &self.place())),
        };
        let files = found.objects.iter().map(|object| &object.location);
        Ok(files.chain(&found.common_prefixes).filter_map(Path::filename).any(|name| !name.starts_with(['.', '_'])))
    }
}

/// What makes two locations one place, however they are written, as segments: a place whose segments begin with another's lies in it.
pub fn segments_of(location: &Location, credentials: &Credentials) -> Result<Vec<String>> {
    let (store, skip) = match location.scheme() {
        Scheme::File => ("file".to_owned(), 0),
        Scheme::S3 | Scheme::S3a => (format!("s3:{}", location.authority()), 0),
        Scheme::Gs => (format!("gs:{}", location.authority()), 0),
        _ => azure::identity_of(location, credentials)?,
    };
    Ok(std::iter::once(store).chain(location.segments()[skip..].iter().cloned()).collect())
}

/// The ETag of an object, without the quotes that some answers give it and others do not; where its store has none, one made of
/// time and size, which begins with `~`.
pub(crate) fn etag_of(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(etag) => etag.trim_matches('"').to_owned(),
        None => format!("~{:x}-{:x}", meta.last_modified.timestamp_nanos_opt().unwrap_or(0), meta.size),
    }
}

/// A request for one version of an object, where its store can tell versions apart.
pub(crate) fn conditional(range: Option<GetRange>, etag: Option<&str>) -> GetOptions {
    let if_match = etag.filter(|etag| !etag.starts_with('~')).map(|etag| match etag.starts_with("0x") {
        // Azure's, which HTTP wants to be quoted
        true => format!("\"{etag}\""),
        false => etag.to_owned(),
    });
    GetOptions { range, if_match, ..Default::default() }
}

fn parse_path(text: &str, location: &Location) -> Result<Path> {
    Path::parse(text).map_err(|_| {
        place_error(
            Code::InvalidParameter,
            "path holds a component that storage does not allow",
            &location.join(text).display(),
        )
    })
}
