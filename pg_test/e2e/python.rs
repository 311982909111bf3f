//! The Python that other Delta readers and writers of the tests live in.

use std::process::Command;

/// A Python that can read Delta tables, if there is one.
pub fn python() -> Option<String> {
    let python = std::env::var("MILLRACE_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_deltalake = Command::new(&python).args(["-c", "import deltalake, pyarrow"]).output().ok()?.status.success();
    has_deltalake.then_some(python)
}
