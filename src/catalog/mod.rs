//! The tables of schema millrace, and the SQL that works on pipelines' own tables: the only Rust with SQL strings.
//!
//! Functions here expect to run inside a transaction, with settings pinned and the right role acting; see `pipeline::scope`.

pub mod aggregate;
#[cfg(feature = "pg15")]
pub mod aggregates;
#[cfg(feature = "pg15")]
pub mod backfills;
#[cfg(feature = "pg15")]
pub mod chunks;
#[cfg(feature = "pg15")]
pub mod dedup;
#[cfg(feature = "pg15")]
pub mod events;
#[cfg(feature = "pg15")]
pub mod expectations;
#[cfg(feature = "pg15")]
pub mod files;
#[cfg(feature = "pg15")]
pub mod held_back;
#[cfg(feature = "pg15")]
pub mod keyed;
#[cfg(feature = "pg15")]
pub mod layers;
#[cfg(feature = "pg15")]
pub mod limits;
#[cfg(feature = "pg15")]
pub mod pipelines;
#[cfg(feature = "pg15")]
pub mod servers;
#[cfg(feature = "pg15")]
pub mod staging;
#[cfg(feature = "pg15")]
pub mod transform;
