//! Pure definitions that every other folder shares. No I/O, no Postgres, no async.

pub mod aggregate;
pub mod dedup;
pub mod error;
pub mod expectation;
pub mod keyed;
pub mod landing;
pub mod location;
pub mod mask;
pub mod names;
pub mod offset;
pub mod options;
pub mod pipeline;
pub mod publishing;
pub mod retention;
pub mod retry;
pub mod simulate;
pub mod transform;

pub use error::{Code, Error, Result};
pub use location::Location;
