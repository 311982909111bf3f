//! From fields to what Postgres stores: matching columns, guessing types, and casting with reasons.
//!
//! The rule of every cast here: say *value* only where Postgres' own input function would give exactly that value, say *undecided*
//! in every other case, and let Postgres decide that one. So a cast here can be slow for odd input, but never wrong.

mod batch;
mod boolean;
mod bytea;
mod datetime;
pub mod exact;
mod float;
pub mod identifier;
pub mod infer;
mod int;
mod json;
pub mod jsonb;
mod kind;
mod numeric;
mod refuse;
pub mod schema;
mod text;
pub mod to_arrow;
pub mod typed;
mod uuid;
pub mod widening;

pub use batch::{Encoded, Reason, Row, append_value, asked, encode_batch};
pub use kind::{Element, Field, Kind, Target, encode_field};
pub use refuse::refuse;
