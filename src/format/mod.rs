//! Reading what producers write: bytes of landing files become record batches of text, one column per header name.
//!
//! Promises: every record of a file comes out exactly once, either split into fields or whole as a corrupt record, and its
//! exact bytes can always be had again. Never casts anything (that is `convert`), never does I/O.

pub mod csv;
