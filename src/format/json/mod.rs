//! JSON lines: one object a line and record, its members the fields.
//!
//! Strict: a record that is no object, names a member twice or is no JSON at all comes out whole as corrupt.

mod reader;
mod record;

pub use reader::{MAX_LINE, Reader};
pub use record::{Malformed, Verbatim, members, text};
