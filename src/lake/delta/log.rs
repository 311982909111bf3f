//! One entry of a Delta log: its name, what we read of it, and the lines that we write.
//!
//! Promises: actions that we do not know are passed over when reading; what a metadata action holds beyond what we know is kept
//! when it is written again.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltalake::kernel::{Add, AddCDCFile, Remove, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lake::error::place_error;
use crate::model::{Code, Error, Result};

pub(super) const LOG: &str = "_delta_log";
pub(super) const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// The name of a version's entry, relative to the table.
pub(super) fn entry_name(version: u64) -> String {
    format!("{LOG}/{version:020}.json")
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

impl Protocol {
    pub fn all_features(&self) -> impl Iterator<Item = &String> {
        self.reader_features.iter().chain(&self.writer_features).flatten()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    pub format: Value,
    pub schema_string: String,
    #[serde(default)]
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub configuration: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub created_time: Option<i64>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl MetaData {
    pub fn property(&self, name: &str) -> Option<&str> {
        self.configuration.get(name)?.as_deref()
    }
}

/// What one version did.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub info: Option<Map<String, Value>>,
    pub protocol: Option<Protocol>,
    pub metadata: Option<MetaData>,
    pub txns: Vec<Transaction>,
    pub adds: Vec<Add>,
    pub removes: Vec<Remove>,
    /// Files of the change data feed.
    pub feed: Vec<AddCDCFile>,
}

impl Entry {
    /// The mark by which a writer knows its own commit.
    pub fn id(&self) -> Option<&str> {
        self.info.as_ref()?.get("txnId")?.as_str()
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "commitInfo")]
    info: Option<Map<String, Value>>,
    protocol: Option<Protocol>,
    #[serde(rename = "metaData")]
    metadata: Option<MetaData>,
    txn: Option<Transaction>,
    add: Option<Add>,
    remove: Option<Remove>,
    cdc: Option<AddCDCFile>,
}

pub(super) fn parse_entry(bytes: &[u8], place: &str) -> Result<Entry> {
    let mut entry = Entry::default();
    for line in serde_json::Deserializer::from_slice(bytes).into_iter::<Line>() {
        let line = line.map_err(|e| {
            let error = place_error(Code::Corrupt, "cannot read an entry of the Delta log", place);
            let detail = error.detail.clone().unwrap_or_default();
            error.detail(format!("{detail}: {e}"))
        })?;
        entry.info = line.info.or(entry.info);
        entry.protocol = line.protocol.or(entry.protocol);
        entry.metadata = line.metadata.or(entry.metadata);
        entry.txns.extend(line.txn);
        entry.adds.extend(line.add);
        entry.removes.extend(line.remove);
        entry.feed.extend(line.cdc);
    }
    Ok(entry)
}

/// The lines of a new entry, the commit's information first.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub fn push(&mut self, name: &str, action: &impl Serialize) -> Result<()> {
        let failed = |e: serde_json::Error| {
            Error::new(Code::Internal, "cannot write an entry of the Delta log").detail(e.to_string())
        };
        let value = serde_json::to_value(action).map_err(failed)?;
        let line = Map::from_iter([(name.to_owned(), value)]);
        serde_json::to_writer(&mut self.0, &line).map_err(failed)?;
        self.0.push(b'\n');
        Ok(())
    }

    pub fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// The number of rows that a file's statistics tell.
pub(super) fn row_count(add: &Add) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stats {
        num_records: Option<u64>,
    }
    serde_json::from_str::<Stats>(add.stats.as_deref()?).ok()?.num_records
}
