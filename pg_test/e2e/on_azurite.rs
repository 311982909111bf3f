//! The subjects of flow once more, with their lake on Azurite: each file's tests ask by the name of their module where they are.

// The same files stand in main.rs for local disk.
#![allow(clippy::duplicate_mod)]

#[path = "aggregate_approx.rs"]
mod aggregate_approx;
#[path = "aggregate_counting.rs"]
mod aggregate_counting;
#[path = "aggregate_places.rs"]
mod aggregate_places;
#[path = "aggregate_queries.rs"]
mod aggregate_queries;
#[path = "aggregate_reading.rs"]
mod aggregate_reading;
#[path = "aggregates.rs"]
mod aggregates;
#[path = "any_file.rs"]
mod any_file;
#[path = "backfill.rs"]
mod backfill;
#[path = "bad_input.rs"]
mod bad_input;
#[path = "consumers.rs"]
mod consumers;
#[path = "dashboard.rs"]
mod dashboard;
#[path = "dialects.rs"]
mod dialects;
#[path = "direct.rs"]
mod direct;
#[path = "duplicates.rs"]
mod duplicates;
#[path = "durations.rs"]
mod durations;
#[path = "evolving.rs"]
mod evolving;
#[path = "examples.rs"]
mod examples;
#[path = "expectations.rs"]
mod expectations;
#[path = "formats.rs"]
mod formats;
#[path = "history.rs"]
mod history;
#[path = "keyed.rs"]
mod keyed;
#[path = "layers.rs"]
mod layers;
#[path = "limits.rs"]
mod limits;
#[path = "memory.rs"]
mod memory;
#[path = "outsider.rs"]
mod outsider;
#[path = "property/mod.rs"]
mod property;
#[path = "schemas.rs"]
mod schemas;
#[path = "seeing.rs"]
mod seeing;
#[path = "simulate.rs"]
mod simulate;
#[path = "transforms.rs"]
mod transforms;
#[path = "types.rs"]
mod types;
