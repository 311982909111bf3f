//! A pipeline as it is defined, and how far it has got.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::model::offset::Offset;
use crate::model::options::Options;
use crate::model::transform::Transform;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pipeline {
    pub id: i32,
    pub name: String,
    pub owner: u32,
    pub source: String,
    pub format: String,
    pub staging: u32,
    pub rejects: u32,
    /// Of a keyed pipeline, the tables beside staging.
    pub changes: Option<u32>,
    pub replaced: Option<u32>,
    pub incoming: Option<u32>,
    /// And of one whose rows are ordered, the keys that were taken away.
    pub deleted: Option<u32>,
    /// Of a pipeline with a transform, the table that holds the records of a chunk until they are transformed.
    pub input: Option<u32>,
    pub transform: Option<Transform>,
    pub raw: Option<String>,
    pub semi_processed: Option<String>,
    /// `None`: only when run() is called.
    pub every_ms: Option<i64>,
    pub options: Options,
    /// Settings to run under.
    pub settings: BTreeMap<String, String>,
    pub app_id: String,
    pub state: String,
    pub state_reason: Option<String>,
    /// Counts the changes that people made to the ledger of files.
    pub ledger_epoch: i32,
    /// The generation of the backfill that is running.
    pub backfill: Option<i32>,
}

impl Pipeline {
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }

    /// True where rows have a key, so that a chunk may change and delete rows of earlier ones.
    pub fn is_keyed(&self) -> bool {
        self.changes.is_some()
    }

    /// The table whose columns the records of the source are read into.
    pub fn records_table(&self) -> u32 {
        self.input.unwrap_or(self.staging)
    }

    pub fn every(&self) -> Option<Duration> {
        self.every_ms.map(|ms| Duration::from_millis(ms.max(50) as u64))
    }

    /// The application id of one of the pipeline's writers, for Delta's `txn` action.
    pub fn writer(&self, layer: &str) -> String {
        format!("{}:{layer}", self.app_id)
    }
}

/// How far a pipeline has got. Two that are equal: nobody sealed a chunk in between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Position {
    pub head: i64,
    pub raw_version: i64,
    pub land_seq: i64,
    /// Of a pipeline that reads a Delta table.
    pub source: Option<Offset>,
}
