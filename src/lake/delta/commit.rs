//! Adds a version to a table.
//!
//! Promises: a version is one file that appears whole or not at all, after the data files that it names. It carries the caller's
//! transaction; where another writer has committed that application's transaction since our snapshot, or changed the schema, nothing
//! is committed and the error is a `Conflict`. Other writers' appends do not disturb ours. An `Unavailable` or `Io` error from the
//! commit itself leaves open whether it is there: refresh and compare [`Table::txn_version`].

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::Utc;
use deltalake::kernel::{Add, Remove, Transaction};
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value, json};

use super::data::{self, Written};
use super::log::{Entry, Lines, MetaData, entry_name, parse_entry};
use super::orphans::LONGEST_WAIT;
use super::schema::Columns;
use super::{Table, features};
use crate::model::{Code, Error, Result};

/// What a version says about itself.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    pub app_id: &'a str,
    /// The version of the application's transaction, not of the table.
    pub version: i64,
    pub operation: &'a str,
    /// Goes into the commit's information beside what the protocol asks for.
    pub info: Map<String, Value>,
}

/// How often a commit yields to other writers before it gives up.
const MAX_TRIES: usize = 100;

/// The actions of a version that is to be committed.
pub(super) struct Plan {
    pub metadata: Option<MetaData>,
    pub adds: Vec<Add>,
    pub removes: Vec<Remove>,
    /// True where the removed files must be all that there are.
    pub is_whole: bool,
    /// True where the rows stay what they are: such a commit is nobody's transaction.
    pub is_rewrite: bool,
}

/// Rows that are written, and are part of the table only when [`Table::append_prepared`] has committed them.
pub struct Prepared {
    metadata: Option<MetaData>,
    written: Written,
    columns: Arc<Columns>,
    at: Instant,
}

impl Table {
    /// Adds rows, and columns that the table lacks, in one version.
    pub async fn append(&mut self, batches: Vec<RecordBatch>, commit: Commit<'_>) -> Result<u64> {
        self.check_writable(&commit).await?;
        let prepared = self.prepare(batches).await?;
        self.commit_prepared(prepared, commit).await
    }

    /// Writes the data files of rows that are to be appended.
    pub async fn prepare(&self, batches: Vec<RecordBatch>) -> Result<Prepared> {
        let wider = self.widened(batches.iter().map(RecordBatch::schema_ref))?;
        let rows = stream::iter(batches.into_iter().map(Ok)).boxed();
        let (metadata, written) = self.write_data(wider, rows).await?;
        Ok(Prepared { metadata, written, columns: self.columns.clone(), at: Instant::now() })
    }

    /// Commits what [`Table::prepare`] wrote.
    pub async fn append_prepared(&mut self, prepared: Prepared, commit: Commit<'_>) -> Result<u64> {
        let ready = match self.check_writable(&commit).await {
            Ok(()) if prepared.at.elapsed() > LONGEST_WAIT => {
                Err(self.conflict("the files were written too long ago", &commit))
            }
            Ok(()) if *prepared.columns != *self.columns => {
                Err(self.conflict("the table's schema was changed meanwhile", &commit))
            }
            checked => checked,
        };
        if let Err(e) = ready {
            self.discard_prepared(prepared).await;
            return Err(e);
        }
        self.commit_prepared(prepared, commit).await
    }

    async fn commit_prepared(&mut self, prepared: Prepared, commit: Commit<'_>) -> Result<u64> {
        let Prepared { metadata, written, .. } = prepared;
        let plan =
            Plan { metadata, adds: written.adds.clone(), removes: Vec::new(), is_whole: false, is_rewrite: false };
        self.commit(plan, &written, &commit).await
    }

    /// Removes the data files of what is not to be committed.
    pub async fn discard_prepared(&self, prepared: Prepared) {
        for add in &prepared.written.adds {
            self.dir.remove_quietly(&add.path).await;
        }
    }

    /// The same for rows that need not fit into memory; all batches must have columns of `schema`.
    pub async fn append_stream(
        &mut self,
        schema: SchemaRef,
        batches: BoxStream<'_, Result<RecordBatch>>,
        commit: Commit<'_>,
    ) -> Result<u64> {
        self.check_writable(&commit).await?;
        let wider = self.widened([&schema])?;
        self.append_rows(wider, batches, commit).await
    }

    async fn append_rows(
        &mut self,
        wider: Option<Columns>,
        batches: BoxStream<'_, Result<RecordBatch>>,
        commit: Commit<'_>,
    ) -> Result<u64> {
        let (metadata, written) = self.write_data(wider, batches).await?;
        let plan =
            Plan { metadata, adds: written.adds.clone(), removes: Vec::new(), is_whole: false, is_rewrite: false };
        self.commit(plan, &written, &commit).await
    }

    /// Takes out all rows and adds these, in one version; all batches must have columns of `schema`.
    pub async fn overwrite(
        &mut self,
        schema: SchemaRef,
        batches: BoxStream<'_, Result<RecordBatch>>,
        commit: Commit<'_>,
    ) -> Result<u64> {
        self.check_writable(&commit).await?;
        features::check_overwrite(&self.metadata, &self.dir.place())?;
        let removes = self.live_files().await?.values().map(|add| remove_of(add, true)).collect();
        let wider = self.widened([&schema])?;
        let (metadata, written) = self.write_data(wider, batches).await?;
        let plan = Plan { metadata, adds: written.adds.clone(), removes, is_whole: true, is_rewrite: false };
        self.commit(plan, &written, &commit).await
    }

    async fn check_writable(&self, commit: &Commit<'_>) -> Result<()> {
        features::check_write(&self.protocol, &self.metadata, &self.dir.place())?;
        self.check_still_there().await?;
        match self.txn_version(commit.app_id).await? {
            Some(version) if version == commit.version => {
                Err(self.conflict("this transaction is in the table already", commit))
            }
            _ => Ok(()),
        }
    }

    /// The table's columns with those that the rows have beyond them; None where they have none.
    fn widened<'a>(&self, schemas: impl IntoIterator<Item = &'a SchemaRef>) -> Result<Option<Columns>> {
        let mut wider: Option<Columns> = None;
        let mut last: Option<&SchemaRef> = None;
        for schema in schemas {
            if last.is_some_and(|last| last == schema) {
                continue;
            }
            let columns = wider.as_ref().unwrap_or(&self.columns);
            let zoneless = self.protocol.all_features().any(|feature| feature == "timestampNtz");
            wider = columns.with_added(schema, zoneless).map_err(|e| self.locate(e))?.or(wider);
            last = Some(schema);
        }
        Ok(wider)
    }

    pub(super) async fn write_data(
        &self,
        wider: Option<Columns>,
        batches: BoxStream<'_, Result<RecordBatch>>,
    ) -> Result<(Option<MetaData>, Written)> {
        let metadata = match &wider {
            Some(columns) => Some(MetaData { schema_string: columns.to_delta()?, ..self.metadata.clone() }),
            None => None,
        };
        let columns = wider.as_ref().unwrap_or(&self.columns);
        let indexed = self.metadata.property("delta.dataSkippingNumIndexedCols").unwrap_or("32");
        let written = data::write(&self.dir, self.log_store.as_ref(), columns, indexed, batches)
            .await
            .map_err(|e| if e.detail.is_none() { self.locate(e) } else { e })?;
        Ok((metadata, written))
    }

    pub(super) async fn commit(&mut self, plan: Plan, written: &Written, commit: &Commit<'_>) -> Result<u64> {
        let id = uuid::Uuid::new_v4().to_string();
        for _ in 0..MAX_TRIES {
            let next = self.version + 1;
            let lines = self.lines(&plan, written, commit, &id)?;
            match self.dir.create_new(&entry_name(next), lines.clone()).await {
                Ok(true) => {
                    self.apply(next, parse_entry(&lines, &self.dir.place())?)?;
                    return Ok(next);
                }
                Ok(false) => {}
                Err(error) => return Err(perhaps_there(error)),
            }
            let place = self.dir.place_of(&entry_name(next));
            let taken = self.dir.get(&entry_name(next)).await.map_err(perhaps_there)?;
            let Some(taken) = taken else { continue };
            let entry = parse_entry(&taken, &place)?;
            // A request that was sent twice meets what its first try wrote.
            let is_ours = entry.id() == Some(id.as_str());
            let reason = if is_ours { None } else { conflict_with(&entry, &plan, commit) };
            self.apply(next, entry)?;
            if is_ours {
                return Ok(next);
            }
            if let Some(reason) = reason {
                self.discard(&plan).await;
                return Err(self.conflict(reason, commit));
            }
        }
        self.discard(&plan).await;
        Err(self.conflict("other writers were faster every time", commit))
    }

    fn lines(&self, plan: &Plan, written: &Written, commit: &Commit<'_>, id: &str) -> Result<bytes::Bytes> {
        let now = Utc::now().timestamp_millis();
        let mut info = commit.info.clone();
        let mode = if plan.is_whole { "Overwrite" } else { "Append" };
        let partition_by = serde_json::to_string(&self.columns.partition_by).unwrap_or_default();
        let own = json!({
            "timestamp": now,
            "operation": commit.operation,
            "operationParameters": { "mode": mode, "partitionBy": partition_by },
            "operationMetrics": {
                "numAddedFiles": plan.adds.len().to_string(),
                "numRemovedFiles": plan.removes.len().to_string(),
                "numOutputRows": written.rows.to_string(),
                "numOutputBytes": written.bytes.to_string(),
            },
            "readVersion": self.version,
            "isolationLevel": "Serializable",
            "isBlindAppend": !plan.is_whole && !plan.is_rewrite,
            "engineInfo": concat!("pg_millrace/", env!("CARGO_PKG_VERSION")),
            "txnId": id,
        });
        if let Value::Object(own) = own {
            info.extend(own);
        }
        let mut lines = Lines::default();
        lines.push("commitInfo", &info)?;
        if let Some(metadata) = &plan.metadata {
            lines.push("metaData", metadata)?;
        }
        if !plan.is_rewrite {
            lines.push("txn", &Transaction::new_with_last_update(commit.app_id, commit.version, Some(now)))?;
        }
        for remove in &plan.removes {
            lines.push("remove", remove)?;
        }
        for add in &plan.adds {
            lines.push("add", add)?;
        }
        Ok(lines.finish())
    }

    /// Removes data files that no version will ever name.
    async fn discard(&self, plan: &Plan) {
        for add in &plan.adds {
            self.dir.remove_quietly(&add.path).await;
        }
    }

    fn conflict(&self, reason: &str, commit: &Commit<'_>) -> Error {
        Error::new(Code::Conflict, "another writer has changed the Delta table")
            .detail(format!(
                "location: {}, version {}, application {}, transaction {}: {reason}",
                self.dir.place(),
                self.version,
                commit.app_id,
                commit.version
            ))
            .hint("Read the table's transaction version again and plan from there.")
    }

    fn locate(&self, error: Error) -> Error {
        let detail = error.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let text = format!("location: {}{detail}", self.dir.place());
        error.detail(text)
    }
}

pub(super) fn remove_of(add: &Add, data_change: bool) -> Remove {
    Remove {
        path: add.path.clone(),
        data_change,
        deletion_timestamp: Some(Utc::now().timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(add.partition_values.clone()),
        size: Some(add.size),
        ..Default::default()
    }
}

/// Why our commit cannot come after this one.
fn conflict_with(winner: &Entry, plan: &Plan, commit: &Commit<'_>) -> Option<&'static str> {
    let files_changed = !winner.adds.is_empty() || !winner.removes.is_empty();
    let is_ours = |path: &String| plan.removes.iter().any(|remove| remove.path == *path);
    if !plan.is_rewrite && winner.txns.iter().any(|txn| txn.app_id == commit.app_id) {
        Some("the same application has committed meanwhile")
    } else if plan.is_rewrite && winner.removes.iter().any(|remove| is_ours(&remove.path)) {
        Some("a file that was to be rewritten was removed meanwhile")
    } else if winner.protocol.is_some() {
        Some("the table's protocol was changed meanwhile")
    } else if winner.metadata.is_some() {
        Some("the table's schema or properties were changed meanwhile")
    } else if plan.is_whole && files_changed {
        Some("rows were added or removed meanwhile")
    } else {
        None
    }
}

fn perhaps_there(error: Error) -> Error {
    if error.is_temporary() {
        error.hint("It is not known whether the version was committed: read the table's transaction version before another try.")
    } else {
        error
    }
}
