//! The tables of schema millrace, and the SQL that works on pipelines' own tables: the only Rust with SQL strings.
//!
//! Functions here expect to run inside a transaction, with settings pinned and the right role acting; see `pipeline::scope`.

pub mod aggregate;
#[cfg(feature = "postgres")]
pub mod aggregates;
#[cfg(feature = "postgres")]
pub mod backfills;
#[cfg(feature = "postgres")]
pub mod chunks;
#[cfg(feature = "postgres")]
pub mod churn;
#[cfg(feature = "postgres")]
pub mod dedup;
#[cfg(feature = "postgres")]
pub mod events;
#[cfg(feature = "postgres")]
pub mod expectations;
#[cfg(feature = "postgres")]
pub mod files;
#[cfg(feature = "postgres")]
pub mod held_back;
#[cfg(feature = "postgres")]
pub mod homes;
#[cfg(feature = "postgres")]
pub mod keyed;
#[cfg(feature = "postgres")]
pub mod layers;
#[cfg(feature = "postgres")]
pub mod limits;
#[cfg(feature = "postgres")]
pub mod pipelines;
#[cfg(feature = "postgres")]
pub mod servers;
#[cfg(feature = "postgres")]
pub mod staging;
#[cfg(feature = "postgres")]
pub mod transform;
#[cfg(feature = "postgres")]
pub mod turn;
