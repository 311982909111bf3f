//! (placeholder)
pub mod analyze;
