//! JSON: one object a record, its members the fields.
//!
//! Strict: a record that is no object, names a member twice or is no JSON at all comes out whole as corrupt.

mod record;

pub use record::{Malformed, members, text};
