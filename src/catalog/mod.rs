//! The tables of schema millrace, and the SQL that works on pipelines' own tables: the only Rust with SQL strings.
//!
//! Functions here expect to run inside a transaction, with settings pinned and the right role acting; see `pipeline::scope`.

pub mod aggregate;
pub mod aggregates;
pub mod chunks;
pub mod events;
pub mod expectations;
pub mod files;
pub mod layers;
pub mod pipelines;
pub mod servers;
pub mod staging;
