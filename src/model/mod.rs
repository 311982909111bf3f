//! Pure definitions that every other folder shares. No I/O, no Postgres, no async.

pub mod error;
pub mod location;
pub mod mask;

pub use error::{Code, Error, Result};
pub use location::Location;
