//! Feeds hostile bytes to `pg_millrace::fuzzing::csv`, where what must hold is said.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pg_millrace::fuzzing::csv(data));
