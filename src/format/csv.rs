//! CSV: how a file is written ([`Dialect`]), what reading gives ([`RawBatch`]), and the way back to the bytes ([`record_text`]).
//!
//! Strict where being lenient would let garbage pass as data: a record that does not follow the dialect, or has another
//! number of fields than the header, comes out whole in `corrupt` and never as fields. Lenient nowhere else.

mod columns;
mod dialect;
mod explain;
mod header;
mod reader;
mod record;
mod scan;
mod split;

pub use dialect::Dialect;
pub use explain::{Malformed, explain};
pub use reader::{MAX_LINE, Reader};
pub use record::{RawBatch, record_text};
pub use split::MAX_QUOTED;

#[cfg(test)]
mod tests;
