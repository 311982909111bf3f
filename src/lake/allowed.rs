//! The places that an administrator lets pg_millrace reach (`millrace.allowed_locations`).
//!
//! Promises: where the list is not empty, nothing outside it is read, listed, written or deleted, however a location is spelled: local
//! paths count with their symbolic links resolved, other places by account, container and path. An empty list allows all that
//! the rights of the role allow. What is in force counts at each access, also for places that were opened before.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::store::Credentials;
use super::{azure, error};
use crate::model::location::Scheme;
use crate::model::{Code, Error, Location, Result};

/// A list of beginnings of locations.
/// The default holds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowed(Vec<Location>);

static IN_FORCE: RwLock<Option<Arc<Allowed>>> = RwLock::new(None);

impl Allowed {
    /// Reads locations with commas between them.
    pub fn parse(text: &str) -> Result<Allowed> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<Vec<_>>>().map(Allowed)
    }

    /// Puts the list in force. `None`: everything is allowed.
    pub fn enforce(allowed: Option<Allowed>) {
        *IN_FORCE.write().unwrap_or_else(PoisonError::into_inner) = allowed.map(Arc::new);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds_local(&self, real: &Path) -> bool {
        let roots = self.0.iter().filter(|entry| entry.is_local()).filter_map(|entry| entry.local_path().ok());
        roots.map(|root| real_path(&root).unwrap_or(root)).any(|root| real.starts_with(root))
    }

    fn holds(&self, place: &Place) -> bool {
        let entries = self.0.iter().filter(|entry| !entry.is_local());
        entries.filter_map(|entry| Place::of(entry, &Credentials::new()).ok()).any(|entry| entry.begins(place))
    }
}

fn entry(text: &str) -> Result<Location> {
    let location = Location::parse(text)?;
    let bad = |message: &str| Err(Error::new(Code::InvalidParameter, message).detail(format!("location: {location}")));
    if location.split_glob().1.is_some() {
        return bad("an allowed location holds a pattern")
            .map_err(|e| e.hint("Name a directory: all below it is allowed."));
    }
    if !location.is_local() {
        Place::of(&location, &Credentials::new())?;
    }
    Ok(location)
}

fn in_force() -> Option<Arc<Allowed>> {
    IN_FORCE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A place in a store by every name under which an administrator may know the store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    stores: Vec<String>,
    path: Vec<String>,
}

impl Place {
    pub(super) fn of(location: &Location, credentials: &Credentials) -> Result<Place> {
        let (known, skip) = match location.scheme() {
            Scheme::File => (vec![], 0),
            Scheme::S3 | Scheme::S3a => (vec![format!("s3:{}", location.authority())], 0),
            Scheme::Gs => (vec![format!("gs:{}", location.authority())], 0),
            _ => azure::names_of(location, credentials)?,
        };
        Ok(Place { stores: known, path: location.segments()[skip..].to_vec() })
    }

    /// Another path of the same store.
    pub(super) fn at(&self, path: &str) -> Place {
        let path = path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
        Place { stores: self.stores.clone(), path }
    }

    fn begins(&self, other: &Place) -> bool {
        self.stores.iter().any(|store| other.stores.contains(store)) && other.path.starts_with(&self.path)
    }
}

/// Raises where a location is not allowed.
pub fn check(location: &Location, credentials: &Credentials) -> Result<()> {
    let (directory, _) = location.split_glob();
    match directory.is_local() {
        true => check_local(&directory.local_path()?, &location.display()),
        false if in_force().is_none() => Ok(()),
        false => check_place(&Place::of(&directory, credentials)?, &location.display()),
    }
}

pub(super) fn check_place(place: &Place, shown: &str) -> Result<()> {
    match in_force() {
        Some(allowed) if !allowed.holds(place) => Err(refused(shown)),
        _ => Ok(()),
    }
}

/// Raises where a local path is not allowed, or leads by a symbolic link to where it would not be.
pub(super) fn check_local(path: &Path, shown: &str) -> Result<()> {
    let Some(allowed) = in_force() else { return Ok(()) };
    match real_path(path) {
        Ok(real) if allowed.holds_local(&real) => Ok(()),
        Ok(_) => Err(refused(shown)),
        Err(e) => Err(error::io_error(&e, "resolve path", shown)),
    }
}

/// Raises where an open file is none that its path may lead to: links may have changed since the path was checked.
pub(super) fn check_open(file: &File, path: &Path, shown: &str) -> Result<()> {
    if in_force().is_none() {
        return Ok(());
    }
    let failed = |e: io::Error| error::io_error(&e, "read file", shown);
    let real = real_path(path).map_err(failed)?;
    check_local(&real, shown)?;
    let (opened, found) = (file.metadata().map_err(failed)?, std::fs::symlink_metadata(&real).map_err(failed)?);
    match (opened.dev(), opened.ino()) == (found.dev(), found.ino()) {
        true => Ok(()),
        false => Err(error::place_error(Code::Changed, "file changed while it was opened", shown)),
    }
}

/// The path without symbolic links; what does not exist yet counts as what it will be.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A link to nothing: who writes there makes the file it leads to, wherever that is.
            if path.symlink_metadata().is_ok() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a symbolic link leads to nothing"));
            }
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => Ok(real_path(parent)?.join(name)),
                _ => Err(e),
            }
        }
        other => other,
    }
}

fn refused(shown: &str) -> Error {
    error::place_error(Code::Forbidden, "location is not among those that are allowed", shown).hint(
        "A superuser says in millrace.allowed_locations which ones are; symbolic links count as what they lead to.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, credentials: &[(&str, &str)]) -> Place {
        let credentials = credentials.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Place::of(&Location::parse(text).unwrap(), &credentials).unwrap()
    }

    #[test]
    fn a_place_is_allowed_however_it_is_spelled_and_its_neighbour_is_not() {
        let allowed = Allowed::parse("abfss://lake@acme.dfs.core.windows.net/in, s3://bucket ,az://named/x").unwrap();
        for (text, credentials, wanted) in [
            ("abfss://lake@acme.dfs.core.windows.net/in/a.csv", &[][..], true),
            ("https://ACME.blob.core.windows.net/lake/in", &[], true),
            ("wasbs://lake@acme.blob.core.windows.net/in/deep", &[], true),
            ("az://lake/in", &[("account_name", "acme")], true),
            ("az://lake/in", &[("account_name", "acme"), ("endpoint", "https://acme.blob.core.windows.net")], true),
            ("az://lake/in", &[("account_name", "acme"), ("endpoint", "https://evil.example")], false),
            ("az://lake/in", &[("account_name", "other")], false),
            ("abfss://lake@acme.dfs.core.windows.net/inside", &[], false),
            ("abfss://lake@acme.dfs.core.windows.net/", &[], false),
            ("abfss://lake@acme.dfs.core.chinacloudapi.cn/in", &[], false),
            ("abfss://lake@acme.dfs.evil.example/in", &[], false),
            ("abfss://other@acme.dfs.core.windows.net/in", &[], false),
            ("s3://bucket/anything", &[], true),
            ("s3a://bucket/anything", &[], true),
            ("s3://buckets/anything", &[], false),
            ("gs://bucket/anything", &[], false),
            ("az://named/x/y", &[("account_name", "whichever")], true),
        ] {
            assert_eq!(allowed.holds(&place(text, credentials)), wanted, "{text} {credentials:?}");
        }
    }

    #[test]
    fn a_local_path_counts_as_what_its_links_lead_to() {
        let made = tempfile::tempdir().unwrap();
        let base = made.path().canonicalize().unwrap();
        let (root, outside) = (base.join("root"), base.join("rooted"));
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        let link = |to: &Path, from: PathBuf| std::os::unix::fs::symlink(to, from).unwrap();
        link(&outside, root.join("out"));
        link(&root.join("in"), root.join("stays"));
        link(&outside.join("new"), root.join("dangling"));
        link(&root, base.join("alias"));
        let allowed = Allowed::parse(&format!("file://{}", base.join("alias").display())).unwrap();
        let holds = |path: PathBuf| real_path(&path).is_ok_and(|real| allowed.holds_local(&real));
        for inside in ["root", "root/in", "root/in/not/yet", "root/stays/x", "alias/in"] {
            assert!(holds(base.join(inside)), "{inside}");
        }
        for outside in ["rooted", "root/out", "root/out/not/yet", "root/dangling", "alias/out/x", "", "root/../rooted"]
        {
            assert!(!holds(base.join(outside)), "{outside}");
        }
    }

    #[test]
    fn a_list_that_says_nothing_clear_is_refused() {
        for text in ["/data", "file:///data/*.csv", "file:///data/../etc", "https://acme.blob.core.windows.net"] {
            assert_eq!(Allowed::parse(text).unwrap_err().code, Code::InvalidParameter, "{text}");
        }
        assert!(Allowed::parse(" , ").unwrap().is_empty());
    }
}
