//! (placeholder)
pub mod aggregate;
