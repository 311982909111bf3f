//! Local disk where the object store's own ways do not suffice: fast listings, blocks with a check that the file stayed the same,
//! and writes that outlive a power cut.
//!
//! Promises: a file's ETag changes with its inode, size or modification time. A written file appears whole under its name or not
//! at all; its temporary name begins with a dot, so that no listing shows it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::allowed;
use super::error::{io_error, place_error};
use super::listing::{LandingFile, is_hidden};
use crate::model::{Code, Error, Result};

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::new(Code::Internal, "a file system call did not end").detail(e.to_string())),
    }
}

pub(super) fn etag(metadata: &Metadata) -> String {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{:x}-{nanos:x}-{:x}", metadata.ino(), metadata.len())
}

fn modified(metadata: &Metadata) -> DateTime<Utc> {
    let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
    DateTime::from_timestamp(metadata.mtime(), nanos).unwrap_or_default()
}

pub(super) async fn check_directory(path: PathBuf, place: String) -> Result<()> {
    blocking(move || {
        let metadata = fs::metadata(&path).map_err(|e| io_error(&e, "read directory", &place))?;
        if !metadata.is_dir() {
            return Err(place_error(Code::Mismatch, "location is not a directory", &place)
                .hint("Name the directory, or a pattern below it such as *.csv."));
        }
        fs::read_dir(&path).map_err(|e| io_error(&e, "read directory", &place))?;
        Ok(())
    })
    .await
}

/// All files below `path` whose relative name `wanted` accepts, without the hidden ones.
pub(super) async fn list(
    path: PathBuf,
    recursive: bool,
    wanted: impl Fn(&str) -> bool + Send + 'static,
    place: String,
) -> Result<Vec<LandingFile>> {
    blocking(move || {
        let mut found = Vec::new();
        let mut waiting = vec![(path, String::new(), 0)];
        while let Some((directory, relative, depth)) = waiting.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // removed since its parent was read
                Err(e) if e.kind() == io::ErrorKind::NotFound && depth > 0 => continue,
                Err(e) => return Err(io_error(&e, "list directory", &format!("{place}/{relative}"))),
            };
            for entry in entries {
                let entry = entry.map_err(|e| io_error(&e, "list directory", &format!("{place}/{relative}")))?;
                // A name that is not UTF-8 is listed all the same: reading it fails for that file alone.
                let name = entry.file_name().to_string_lossy().into_owned();
                if is_hidden(&name) {
                    continue;
                }
                let relative = if relative.is_empty() { name } else { format!("{relative}/{name}") };
                let kind = entry.file_type().map_err(|e| io_error(&e, "list directory", &place))?;
                if kind.is_dir() && !recursive || kind.is_file() && !wanted(&relative) {
                    continue;
                }
                let path = entry.path();
                // Nothing is looked at behind a link that leads out of what is allowed; reading it says so.
                let leads_out = kind.is_symlink() && path.exists() && allowed::check_local(&path, &place).is_err();
                // Of what is no link by its name alone, which takes the kernel half as long as its whole path does.
                let looked_at = if leads_out || !kind.is_symlink() { entry.metadata() } else { fs::metadata(&path) };
                let metadata = match looked_at {
                    Ok(metadata) => metadata,
                    // removed meanwhile, or a link to nothing
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(io_error(&e, "list directory", &format!("{place}/{relative}"))),
                };
                if metadata.is_dir() {
                    if recursive && depth < MAX_DEPTH {
                        waiting.push((path, relative, depth + 1));
                    }
                } else if (metadata.is_file() || leads_out) && wanted(&relative) {
                    let (etag, size, modified) = (etag(&metadata), metadata.len(), modified(&metadata));
                    found.push(LandingFile { path: relative, etag, size, modified });
                }
            }
        }
        Ok(found)
    })
    .await
}

/// Deeper directories are a loop of links.
const MAX_DEPTH: usize = 64;

/// An open file that must stay what the listing saw.
pub(super) struct Source {
    file: File,
    etag: Option<String>,
    place: String,
}

/// Opens a file if it still has this ETag.
pub(super) async fn open(path: PathBuf, etag: String, place: String) -> Result<Source> {
    blocking(move || {
        let file = File::open(&path).map_err(|e| io_error(&e, "read file", &place))?;
        allowed::check_open(&file, &path, &place)?;
        let source = Source { file, etag: Some(etag), place };
        source.check()?;
        Ok(source)
    })
    .await
}

impl Source {
    fn check(&self) -> Result<()> {
        let Some(wanted) = &self.etag else { return Ok(()) };
        let metadata = self.file.metadata().map_err(|e| io_error(&e, "read file", &self.place))?;
        if metadata.is_file() && etag(&metadata) == *wanted {
            return Ok(());
        }
        Err(place_error(Code::Changed, "file changed after it was listed", &self.place))
    }

    /// `length` bytes from `at`; the last block also checks that the file is still the same.
    pub(super) async fn block(self, at: u64, length: usize, is_last: bool) -> Result<(Source, Bytes)> {
        blocking(move || {
            let block = self.read(at, length)?;
            if is_last {
                self.check()?;
            }
            Ok((self, block))
        })
        .await
    }

    fn read(&self, at: u64, length: usize) -> Result<Bytes> {
        let mut block = vec![0; length];
        match self.file.read_exact_at(&mut block, at) {
            Ok(()) => Ok(Bytes::from(block)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(place_error(Code::Changed, "file became shorter while it was read", &self.place))
            }
            Err(e) => Err(io_error(&e, "read file", &self.place)),
        }
    }
}

/// Parts of a file; with an ETag, of that version of it alone.
pub(super) async fn read_ranges(
    path: PathBuf,
    ranges: Vec<Range<u64>>,
    etag: Option<String>,
    place: String,
) -> Result<Vec<Bytes>> {
    blocking(move || {
        let file = File::open(&path).map_err(|e| io_error(&e, "read file", &place))?;
        allowed::check_open(&file, &path, &place)?;
        let source = Source { file, etag, place };
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            parts.push(source.read(range.start, length)?);
        }
        source.check()?;
        Ok(parts)
    })
    .await
}

/// What to do with a file that is there already.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Writes a file whole; false where it was there and was kept.
pub(super) async fn write(path: PathBuf, bytes: Bytes, existing: Existing, place: String) -> Result<bool> {
    blocking(move || {
        let temporary = temporary_name(&path);
        let result = write_temporary(&temporary, &bytes).and_then(|()| publish(&temporary, &path, existing));
        if !matches!((&result, existing), (Ok(true), Existing::Replace)) {
            let _ = fs::remove_file(&temporary);
        }
        result.map_err(|e| io_error(&e, "write file", &place))
    })
    .await
}

fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()))
}

/// Deletes what writers had begun before a time when they died: our temporary files, and those of the library that writes data files, whose
/// names end with `#` and a number. No listing shows either.
pub(super) async fn remove_unfinished(directory: PathBuf, before: SystemTime) -> Result<usize> {
    blocking(move || {
        let mut count = 0;
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if is_unfinished(&entry.file_name().to_string_lossy())
                    && metadata.modified().is_ok_and(|at| at < before)
                {
                    count += usize::from(fs::remove_file(entry.path()).is_ok());
                }
            }
        }
        Ok(count)
    })
    .await
}

fn is_unfinished(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let ours = || name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.');
    let library = || name.rsplit_once(".parquet#");
    ours().is_some_and(|(_, id)| is_id(id)) || library().is_some_and(|(_, number)| is_number(number))
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            options.open(path)?
        }
        other => other?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

fn publish(temporary: &Path, path: &Path, existing: Existing) -> io::Result<bool> {
    match existing {
        Existing::Replace => fs::rename(temporary, path)?,
        // Unlike a rename, a link fails where the name is taken.
        Existing::Keep => match fs::hard_link(temporary, path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            other => other?,
        },
    }
    sync_parent(path)?;
    Ok(true)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// The ETag that a file has now; None where there is none.
pub(super) async fn etag_now(path: PathBuf, place: String) -> Result<Option<String>> {
    blocking(move || match fs::metadata(&path) {
        Ok(metadata) => Ok(Some(etag(&metadata))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(&e, "read file", &place)),
    })
    .await
}

/// Brings a file that somebody else wrote to disk.
pub(super) async fn sync(path: PathBuf, place: String) -> Result<()> {
    blocking(move || {
        File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_parent(&path))
            .map_err(|e| io_error(&e, "write file", &place))
    })
    .await
}
