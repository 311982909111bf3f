//! What tells rows and files apart that come again, where there is no key table.

use serde::{Deserialize, Serialize};

use crate::model::options::Options;
use crate::model::{Code, Error, Result};

/// What makes a landing file one that was loaded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Its path, with its etag and size.
    #[default]
    Path,
    /// Or that its bytes are those of another.
    Content,
}

/// Refuses options that mean nothing without each other, or beside a key.
pub fn check(options: &Options) -> Result<()> {
    let (key, window) = (!options.dedup_key.is_empty(), options.dedup_window.is_some());
    if key != window {
        return Err(Error::new(Code::InvalidParameter, "options \"dedup_key\" and \"dedup_window\" need each other")
            .detail("The key tells rows apart, the window says how far back is looked for one that came before.")
            .hint(r#"Write {"dedup_key": ["id"], "dedup_window": "7 days"}."#));
    }
    if key && !options.primary_key.is_empty() {
        return Err(Error::new(Code::InvalidParameter, "option \"dedup_key\" has no meaning with \"primary_key\"")
            .detail("Rows of a keyed pipeline replace each other, or with \"on_conflict\": \"ignore\" the first stays.")
            .hint("Leave dedup_key and dedup_window out."));
    }
    Ok(())
}
