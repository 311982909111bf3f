//! The subjects of flow once more, with their lake on Azurite: each file's tests ask by the name of their module where they are.

// The same files stand in main.rs for local disk.
#![allow(clippy::duplicate_mod)]

#[path = "aggregate_queries.rs"]
mod aggregate_queries;
#[path = "aggregate_reading.rs"]
mod aggregate_reading;
#[path = "aggregates.rs"]
mod aggregates;
#[path = "bad_input.rs"]
mod bad_input;
#[path = "consumers.rs"]
mod consumers;
#[path = "expectations.rs"]
mod expectations;
#[path = "keyed.rs"]
mod keyed;
#[path = "limits.rs"]
mod limits;
#[path = "outsider.rs"]
mod outsider;
#[path = "schemas.rs"]
mod schemas;
