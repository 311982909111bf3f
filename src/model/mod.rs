//! Pure definitions that every other folder shares. No I/O, no Postgres, no async.

pub mod error;
pub mod simulate;

pub use error::{Code, Error, Result};
