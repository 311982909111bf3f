//! The extension as its users meet it: real servers, real sessions, real commits, real kills.
//!
//! Every test makes what it needs (a database, or a server when it kills one) and leaves nothing behind. Needs the
//! extension installed (`make install`); `make test` does that first. Settings by environment: `PG_CONFIG`,
//! `MILLRACE_PYTHON` (a Python with the `deltalake` package), `MILLRACE_SHARED` (the folder that holds `data/`),
//! `LAND_PER_SECOND` (how fast invoices land). A test without the shared data says "skipped" and passes; Azurite and that
//! Python must be there, with moto in it. `matrix.rs` says which tests run on which storage.

mod aggregate_approx;
mod aggregate_counting;
mod aggregate_places;
mod aggregate_queries;
mod aggregate_reading;
mod aggregates;
mod allowed;
mod any_file;
mod azure;
#[path = "../azurite/mod.rs"]
mod azurite;
mod backfill;
mod bad_input;
mod by_run;
mod cancelled;
mod chaos;
mod cleanup;
mod consumers;
mod copier;
mod credentials;
mod dashboard;
mod delta;
mod delta_history;
mod delta_made;
mod dialects;
mod direct;
mod discovery;
mod duplicates;
mod durations;
mod evolving;
mod examples;
mod expectations;
mod fault_points;
mod faults;
mod formats;
mod history;
mod hostile;
mod invoices;
mod judged;
mod keyed;
mod lake;
mod layers;
mod lifecycle;
mod limits;
mod local_disk;
mod look;
mod matrix;
mod memory;
mod model;
mod moving;
mod on_azurite;
mod outsider;
#[allow(dead_code)]
#[path = "../../examples/rust/pool.rs"]
mod pool;
mod property;
mod python;
mod relay;
mod requeue;
mod resources;
mod retail;
mod rights;
mod rights_tables;
mod s3;
mod schemas;
mod seeing;
mod server;
mod simulate;
mod site;
mod sql;
mod storm;
mod transforms;
mod types;
