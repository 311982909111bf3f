//! Lists the landing files of a directory.
//!
//! Promises: files come sorted by path; names (of files or directories) that begin with `.` or `_`, and those that writers use
//! while a file is not complete, never appear. A file replaced under the same name has another ETag.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use object_store::{ObjectMeta, path::Path};

use super::error::store_error;
use super::local;
use super::store::{Dir, etag_of};
use crate::model::{Code, Error, Result};

/// One file as a listing saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingFile {
    /// Relative to the directory, with `/` between components.
    pub path: String,
    pub etag: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

/// The files of a directory that meet the pattern, sorted by path.
///
/// A pattern without `/` is matched against the file's name, one with `/` against the path below the directory, which then is
/// read with all its subdirectories.
pub async fn list(dir: &Dir, pattern: Option<&str>, recursive: bool) -> Result<Vec<LandingFile>> {
    let filter = Filter::new(pattern)?;
    let recursive = recursive || filter.whole_path;
    let mut found = match dir.local_path("")? {
        Some(path) => local::list(path, recursive, move |relative| filter.accepts(relative), dir.place()).await?,
        None => list_store(dir, &filter, recursive).await?,
    };
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

async fn list_store(dir: &Dir, filter: &Filter, recursive: bool) -> Result<Vec<LandingFile>> {
    let failed = |e| store_error(&e, "list directory", &dir.place());
    let keep = |meta: ObjectMeta| {
        let relative = relative(&meta.location, dir.prefix())?;
        let visible = !relative.split('/').any(is_hidden) && filter.accepts(&relative);
        visible.then(|| LandingFile {
            etag: etag_of(&meta),
            path: relative,
            size: meta.size,
            modified: meta.last_modified,
        })
    };
    if !recursive {
        let listed = dir.root().list_with_delimiter(Some(dir.prefix())).await.map_err(failed)?;
        return Ok(listed.objects.into_iter().filter_map(keep).collect());
    }
    let mut found = Vec::new();
    let mut stream = dir.root().list(Some(dir.prefix()));
    while let Some(meta) = stream.try_next().await.map_err(failed)? {
        found.extend(keep(meta));
    }
    Ok(found)
}

fn relative(path: &Path, prefix: &Path) -> Option<String> {
    let rest = path.as_ref().strip_prefix(prefix.as_ref())?;
    Some(rest.strip_prefix('/').unwrap_or(rest).to_owned())
}

/// Which names a listing shows.
struct Filter {
    glob: Option<GlobMatcher>,
    whole_path: bool,
}

impl Filter {
    fn new(pattern: Option<&str>) -> Result<Filter> {
        let Some(pattern) = pattern else { return Ok(Filter { glob: None, whole_path: false }) };
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|e| {
            Error::new(Code::InvalidParameter, "pattern is not a valid glob").detail(e.to_string()).hint(
                "Use * for any characters, ** for any directories, ? for one character, [abc] and {x,y} for choices.",
            )
        })?;
        Ok(Filter { glob: Some(glob.compile_matcher()), whole_path: pattern.contains('/') || pattern.contains("**") })
    }

    fn accepts(&self, relative: &str) -> bool {
        let name = if self.whole_path { relative } else { relative.rsplit('/').next().unwrap_or(relative) };
        self.glob.as_ref().is_none_or(|glob| glob.is_match(name))
    }
}

/// Endings that writers give to files which are not complete yet.
const TEMPORARY_ENDINGS: &[&str] =
    &[".tmp", ".temp", ".part", ".partial", ".crdownload", ".inprogress", ".filepart", "._copying_", "~"];

/// True for the name of a file or directory that no listing shows.
pub(super) fn is_hidden(name: &str) -> bool {
    name.is_empty() || name.starts_with(['.', '_']) || is_temporary(name)
}

fn is_temporary(name: &str) -> bool {
    let ends_with = |ending: &&str| {
        let at = name.len().saturating_sub(ending.len());
        name.len() >= ending.len() && name.as_bytes()[at..].eq_ignore_ascii_case(ending.as_bytes())
    };
    // `name#1` is how an object store on local disk calls a file that it is still writing
    let staged = name.rsplit_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    staged || TEMPORARY_ENDINGS.iter().any(ends_with)
}
