//! The Python that other Delta readers and writers of the tests live in.

use std::process::Command;
use std::sync::OnceLock;

/// A Python that can read Delta tables.
pub fn python() -> String {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let python = std::env::var("MILLRACE_PYTHON").unwrap_or_else(|_| "python3".into());
            let asked = Command::new(&python).args(["-c", "import deltalake, pyarrow; print('here')"]).output();
            assert!(
                asked.is_ok_and(|output| output.stdout == b"here\n"),
                "{python} has no deltalake and pyarrow; scripts/setup.sh installs them, MILLRACE_PYTHON says where"
            );
            python
        })
        .clone()
}

/// A script beside this file, still without its arguments.
pub fn script(python: &str, name: &str) -> Command {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/pg_test/e2e");
    let mut command = Command::new(python);
    command.arg(format!("{here}/run.py")).arg(format!("{here}/{name}"));
    command
}
