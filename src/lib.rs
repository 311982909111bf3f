//! pg_millrace: exactly-once streaming between a data lake and Postgres.
//!
//! This file is the map and nothing else. A folder imports only from those above it in this list:
//! `model` → `format`, `convert`, `lake` → `pg` → `catalog` → `pipeline` → `worker`, `api`.
//! The first four know nothing of Postgres' server code: they build and are tested without the `postgres` feature, which `pg15` to `pg18` bring.
#![deny(unsafe_code)]

pub mod convert;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod lake;
pub mod model;

#[cfg(feature = "postgres")]
mod api;
// The statements of aggregates are text over plain data; the rest of it runs them.
#[cfg_attr(not(feature = "postgres"), allow(dead_code, unused_imports))]
mod catalog;
#[cfg(feature = "postgres")]
#[allow(unsafe_code)]
mod pg;
#[cfg(feature = "postgres")]
mod pipeline;
#[cfg(feature = "postgres")]
mod worker;

#[cfg(feature = "postgres")]
pgrx::pg_module_magic!();

/// Called by Postgres when the library is loaded.
#[cfg(feature = "postgres")]
#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    worker::init();
}
