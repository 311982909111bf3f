//! Where a pipeline's landing files lie.

use std::time::Duration;

use crate::lake::listing::{self, LandingFile};
use crate::lake::store::{Credentials, Dir};
use crate::model::location::Location;
use crate::model::{Code, Error, Result};
use crate::pg::{gucs, runtime};

/// A pipeline's source directory.
#[derive(Clone)]
pub struct Source {
    pub directory: Dir,
    pub pattern: Option<String>,
}

impl Source {
    pub fn open(source: &str, credentials: Credentials) -> Result<Source> {
        let location = Location::parse(source)?;
        let (directory, pattern) = runtime::wait(async move { Dir::resolve(&location, &credentials).await })?;
        Ok(Source { directory, pattern })
    }

    pub fn list(&self, recursive: bool) -> Result<Vec<LandingFile>> {
        let (directory, pattern) = (self.directory.clone(), self.pattern.clone());
        let limit = self.limit();
        let place = directory.place();
        runtime::wait(async move {
            tokio::time::timeout(limit, listing::list(&directory, pattern.as_deref(), recursive)).await.unwrap_or_else(
                |_| {
                    Err(Error::new(Code::Unavailable, "listing took too long")
                        .detail(format!("Location {place}."))
                        .hint("Raise millrace.network_timeout, or look at the storage."))
                },
            )
        })
    }

    /// Local disks know no requests that could be given up one by one; elsewhere each page of a listing has its own limit, so that
    /// a long listing may take the time that it needs.
    fn limit(&self) -> Duration {
        match self.directory.location().is_local() {
            true => gucs::network_timeout(),
            false => Duration::from_secs(24 * 3600),
        }
    }
}
