//! Pure definitions that every other folder shares. No I/O, no Postgres, no async.

pub mod aggregate;
pub mod error;

pub use error::{Code, Error, Result};
