//! The wall clock of a server, and its steps.

use crate::server::Setup;
use std::path::PathBuf;
use std::process::Command;

/// What a server needs to have a clock that can be set.
pub struct Clock {
    _dir: tempfile::TempDir,
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// None where there is no compiler of C.
    pub fn make() -> Option<Clock> {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (library, offset) = (dir.path().join("clock.so"), dir.path().join("offset"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/pg_test/e2e/storm/clock.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]).output();
        if !built.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let clock = Clock { _dir: dir, library, offset };
        clock.is_off_by(0);
        Some(clock)
    }

    pub fn tell(&self, setup: &mut Setup) {
        setup.environment.push(("LD_PRELOAD", self.library.clone()));
        setup.environment.push(("CLOCK_OFFSET_FILE", self.offset.clone()));
    }

    /// In place: the file is mapped into every process of the server.
    pub fn is_off_by(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.offset).unwrap();
        file.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0).unwrap();
    }
}
