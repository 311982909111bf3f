//! Feeds hostile bytes to `pg_millrace::fuzzing::parquet`, where what must hold is said.
//!
//! The Parquet library panics at some damaged files, which the reader makes errors of: such a panic is a find where nobody catches it, one of
//! our own code always.
#![no_main]

use std::panic;

const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src");

fn begin() {
    let found = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|place| is_ours(place.file())) {
            found(panic);
        }
    }));
}

fn is_ours(file: &str) -> bool {
    let Ok(ours) = std::fs::canonicalize(OURS) else { return true };
    std::path::Path::new(file).starts_with(ours) || file.starts_with("src/")
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| pg_millrace::fuzzing::parquet(data));
