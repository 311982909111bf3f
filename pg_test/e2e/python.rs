//! The Python that other Delta readers and writers of the tests live in.

use std::process::Command;
use std::sync::OnceLock;

/// A Python that can read Delta tables.
pub fn python() -> String {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let python = std::env::var("MILLRACE_PYTHON").unwrap_or_else(|_| "python3".into());
            let asked = Command::new(&python).args(["-c", "import deltalake, pyarrow"]).output();
            assert!(
                asked.is_ok_and(|output| output.status.success()),
                "{python} has no deltalake and pyarrow; scripts/setup.sh installs them, MILLRACE_PYTHON says where"
            );
            python
        })
        .clone()
}
