//! What a pipeline does: land, load, publish, and what is around them. `runner::tick` is the one way in for the worker and for run().

pub mod access;
pub mod aggregates;
pub mod ahead;
pub mod columns;
pub mod define;
pub mod delta;
pub mod discover;
pub mod expect;
pub mod files;
pub mod infer;
pub mod judge;
pub mod land;
pub mod load;
pub mod look;
pub mod publish;
pub mod reach;
pub mod read;
pub mod rejects;
pub mod requeue;
pub mod rows;
pub mod run;
pub mod runner;
pub mod scope;
pub mod simulate;
pub mod source;
pub mod verify;
