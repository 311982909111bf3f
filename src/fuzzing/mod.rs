//! What hostile bytes are fed to: one function per target of `fuzz/`, each with what must hold whatever the bytes are.
//!
//! Built for fuzzing and for tests alone: the tests replay the corpora, so that what was found once stays mended.

// A target that finds something panics: that is how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod encoding;
mod lake;
mod text;

pub use encoding::{Cast, encoding};
pub use lake::{delta_log, parquet};
pub use text::{csv, json, location, options, secrets};

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every file of a target's corpus through it.
    fn replay(target: &str, run: impl Fn(&[u8])) {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            run(&std::fs::read(&file).unwrap());
        }
    }

    #[test]
    fn nothing_that_was_ever_found_comes_back() {
        replay("csv", csv);
        replay("json", json);
        replay("location", location);
        replay("options", options);
        replay("secrets", secrets);
        replay("delta_log", delta_log);
        replay("parquet", parquet);
        replay("encoding", |data| drop(encoding(data)));
    }
}
