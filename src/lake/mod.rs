//! Reading and writing the lake: landing files and Delta tables.
//!
//! Promises: everything here is async and waits for nothing else; no thread, runtime or process environment is used, credentials
//! come in as plain names and values. Every error names the location without its secrets. Nothing knows of Postgres.
//! A multi-threaded tokio runtime with at least one worker and four blocking threads is needed: the Delta kernel waits on the latter.

pub mod allowed;
mod azure;
#[cfg(test)]
mod azure_tests;
#[cfg(test)]
#[path = "../../pg_test/azurite/mod.rs"]
mod azurite;
pub mod cleaning;
mod damaged;
pub mod decompress;
pub mod delta;
pub mod error;
mod gcs;
mod guarded;
pub mod listing;
mod local;
mod measured;
mod metadata;
pub mod network;
pub mod parquet_file;
pub mod parquet_rows;
pub mod parquet_writing;
pub mod reading;
mod s3;
pub mod server_options;
pub mod settling;
pub mod store;
#[cfg(test)]
mod tests;
pub mod unread;
pub mod waiting;
pub mod writing;

pub use store::{Credentials, Dir};
