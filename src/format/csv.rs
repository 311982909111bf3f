//! CSV: how a file is written ([`Dialect`]), what reading gives ([`crate::format::RawBatch`]), and the way back to the bytes ([`append_record`]).
//!
//! Strict where being lenient would let garbage pass as data: a record that does not follow the dialect, or has another
//! number of fields than the header, comes out whole in `corrupt` and never as fields. Lenient nowhere else.

mod columns;
mod dialect;
mod explain;
mod header;
mod reader;
mod scan;
mod split;
mod write;

pub use dialect::Dialect;
pub use explain::{Malformed, explain};
pub use reader::{MAX_LINE, Reader};
pub use split::MAX_QUOTED;
pub use write::append_record;

#[cfg(test)]
mod tests;
