//! The seam to the server: the only folder with `unsafe` and `pg_sys`.
//!
//! Everything above it speaks plain Rust values and [`crate::model::Error`]. Nothing here knows what a pipeline is.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod analyze;
pub mod bgworker;
pub mod builtin;
pub mod columns_parser;
pub mod condition;
pub mod copy;
pub mod databases;
pub mod datum;
pub mod direct;
pub mod disk;
pub mod drop_database;
pub mod error;
pub mod gucs;
pub mod home;
mod indexes;
pub mod input;
mod insert;
pub mod interrupts;
mod judging;
pub mod latch;
pub mod machine;
pub mod memory;
pub mod procedure;
pub mod progress;
pub mod relation;
pub mod rows;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod shmem;
pub mod spi;
pub mod subtransaction;
pub mod tally;
pub mod transaction;
pub mod transform;
pub mod unchanged;
pub mod user;
pub mod usual;
pub mod vacuum;
mod versions;
pub mod wait_event;
pub mod waiters;
