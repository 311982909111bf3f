//! Writes whole files into a directory.
//!
//! Promises: whoever lists the directory sees the whole file or none, also after a crash.

use bytes::Bytes;

use super::error::place_error;
use super::listing::is_hidden;
use super::store::Dir;
use crate::model::{Code, Result};

/// Creates or replaces a file, with its subdirectories where there are none yet.
pub async fn put_atomic(dir: &Dir, name: &str, bytes: Bytes) -> Result<()> {
    if name.split('/').any(|part| is_hidden(part) || part == "..") {
        return Err(place_error(
            Code::InvalidParameter,
            "file name is one that listings do not show",
            &dir.place_of(name),
        )
        .hint("Use a name that begins with neither a dot nor an underscore and does not end like a temporary file."));
    }
    dir.put(name, bytes).await
}
