//! A Delta table: its snapshot in memory, followed version by version.
//!
//! A table is opened through the Delta kernel, which reads checkpoints; from there on [`Table::refresh`] asks for the next log entry
//! alone and lists nothing, so that following and writing cost the same however long the history is. Memory holds the schema and
//! the transactions seen, not the list of files (only a table that is overwritten keeps that, too).
//!
//! Promises: a table whose features we do not handle is refused by name. No method leaves a partly visible state behind.

mod commit;
mod compaction;
mod data;
mod deletion;
mod dictionaries;
mod features;
mod files;
mod follow;
#[cfg(test)]
mod foreign_tests;
mod joining;
#[cfg(test)]
mod joining_tests;
mod live;
mod log;
#[cfg(test)]
mod made;
mod mapping;
mod orphans;
mod partitions;
mod paths;
mod rows;
mod schema;
mod statistics;
#[cfg(test)]
mod tests;
mod upkeep;
#[cfg(test)]
mod upkeep_tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::Utc;
use deltalake::DeltaTableError;
use deltalake::kernel::{Add, Snapshot};
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::prefix::PrefixStore;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use self::log::{Entry, LAST_CHECKPOINT, Lines, MetaData, Protocol, entry_name, parse_entry};
use self::schema::Columns;
use super::error::{delta_error, format_error, place_error};
use super::store::{Credentials, Dir};
use crate::model::{Code, Error, Location, Result};

pub use commit::{Commit, Prepared};
pub use compaction::OPERATION as REWRITE;
pub use follow::{Changes, Follower, open_newest};
pub use rows::{CHANGE_TYPE, DataFile, Rows, VersionReader};
pub use schema::NAME_KEY;
pub use upkeep::Kept;

/// Entries that are read one by one before the kernel reads all that is new at once.
const MAX_STEPS: usize = 64;

/// Idle refreshes between two looks for a checkpoint that is ahead of us: entries before it may have been cleaned up.
const IDLE_STEPS: u32 = 64;

/// How many calls into the kernel run at once. Each holds a blocking thread while it waits for storage, and local storage needs
/// such a thread itself: without a limit many tables opened at once could wait for each other for ever.
static KERNEL: Semaphore = Semaphore::const_new(2);

/// A handle on one Delta table. Cheap to clone: what is prepared by one may be committed by the other.
#[derive(Clone)]
pub struct Table {
    dir: Dir,
    log_store: LogStoreRef,
    version: u64,
    protocol: Protocol,
    metadata: MetaData,
    columns: Arc<Columns>,
    /// The kernel's view of `version` or an earlier one.
    base: Snapshot,
    /// The newest transaction of each application since `base`.
    txns: HashMap<String, i64>,
    /// What `base` answered about the applications that were asked for.
    base_txns: Arc<Mutex<HashMap<String, Option<i64>>>>,
    /// The files of the present version, once they were needed.
    live: Option<BTreeMap<String, Add>>,
    checkpoint: Option<u64>,
    idle: u32,
}

/// Understands an entry of a log as far as a follower does, or refuses it.
#[cfg(any(test, feature = "fuzzing"))]
pub fn read_entry(dir: &Dir, bytes: &[u8]) {
    let Ok(entry) = parse_entry(bytes, "") else { return };
    let removes = entry.removes.iter().map(|remove| &remove.path);
    for path in entry.adds.iter().map(|add| &add.path).chain(removes).chain(entry.feed.iter().map(|cdc| &cdc.path)) {
        if let Ok(found) = paths::within(dir, path, "a file") {
            let _ = paths::place_of(dir, &found);
        }
    }
    let _ = entry.adds.iter().map(self::log::row_count).max();
    let _ = entry.id();
    if let (Some(protocol), Some(metadata)) = (&entry.protocol, &entry.metadata)
        && let Ok(mode) = features::check_read(protocol, metadata, "")
    {
        let _ = features::check_write(protocol, metadata, "");
        let _ = Columns::from_delta(&metadata.schema_string, &metadata.partition_columns, mode)
            .and_then(|columns| columns.to_delta());
    }
}

impl Table {
    /// The table at a location; None where there is nothing.
    pub async fn open(location: &Location, credentials: &Credentials) -> Result<Option<Table>> {
        Table::open_in(table_dir(location, credentials)?).await
    }

    /// The table as it was at a version.
    pub async fn open_at(location: &Location, credentials: &Credentials, version: u64) -> Result<Table> {
        let dir = table_dir(location, credentials)?;
        Table::open_version(dir, Some(version)).await?.ok_or_else(|| {
            place_error(Code::Gap, format!("there is no version {version} of the Delta table"), &location.display())
        })
    }

    async fn open_in(dir: Dir) -> Result<Option<Table>> {
        Table::open_version(dir, None).await
    }

    async fn open_version(dir: Dir, version: Option<u64>) -> Result<Option<Table>> {
        if !dir.may_hold_files().await? {
            return Ok(None);
        }
        // Asked for first because storage's own errors say more than the kernel's.
        let checkpoint = last_checkpoint(&dir).await?;
        let log_store = log_store(&dir)?;
        match snapshot(&log_store, version).await {
            Ok(base) => Table::from_snapshot(dir, log_store, base, checkpoint).map(Some),
            Err(e) if is_no_table(&e) => {
                if dir.holds_anything().await? {
                    return Err(place_error(
                        Code::Mismatch,
                        "directory holds something else than a Delta table",
                        &dir.place(),
                    )
                    .hint("Name an empty or new directory, or one that holds a Delta table."));
                }
                Ok(None)
            }
            Err(e) => Err(open_error(&e, &dir.place())),
        }
    }

    /// Creates a table, or opens the one that is there if it is partitioned the same way.
    pub async fn create(
        location: &Location,
        credentials: &Credentials,
        schema: SchemaRef,
        partition_by: &[String],
        description: &str,
    ) -> Result<Table> {
        Table::create_in(table_dir(location, credentials)?, schema, partition_by, description, false).await
    }

    /// The same for a table that may be given timestamps without time zone later, which older readers do not know.
    pub async fn create_open(
        location: &Location,
        credentials: &Credentials,
        schema: SchemaRef,
        description: &str,
    ) -> Result<Table> {
        Table::create_in(table_dir(location, credentials)?, schema, &[], description, true).await
    }

    async fn create_in(
        dir: Dir,
        schema: SchemaRef,
        partition_by: &[String],
        description: &str,
        zoneless: bool,
    ) -> Result<Table> {
        let columns = Columns::create(&schema, partition_by)?;
        if Table::open_in(dir.clone()).await?.is_none() {
            let lines = creation(&columns, description, zoneless || columns.has_zoneless())?;
            dir.create_new(&entry_name(0), lines.finish()).await?;
        }
        // Whoever was first, the table is now what its log says.
        let table = Table::open_in(dir.clone()).await?.ok_or_else(|| {
            place_error(Code::Conflict, "the Delta table was removed while it was created", &dir.place())
        })?;
        if table.columns.partition_by != columns.partition_by {
            return Err(place_error(Code::Mismatch, "the Delta table is partitioned by other columns", &dir.place()));
        }
        Ok(table)
    }

    fn from_snapshot(dir: Dir, log_store: LogStoreRef, base: Snapshot, checkpoint: Option<u64>) -> Result<Table> {
        let unreadable = |e: serde_json::Error| {
            Error::new(Code::Internal, "cannot read the metadata of the Delta table").detail(e.to_string())
        };
        let convert = |value: serde_json::Result<Value>| value.map_err(unreadable);
        let protocol = serde_json::from_value(convert(serde_json::to_value(base.protocol()))?).map_err(unreadable)?;
        let metadata: MetaData =
            serde_json::from_value(convert(serde_json::to_value(base.metadata()))?).map_err(unreadable)?;
        let mode = features::check_read(&protocol, &metadata, &dir.place())?;
        let columns = Columns::from_delta(&metadata.schema_string, &metadata.partition_columns, mode)?;
        Ok(Table {
            dir,
            log_store,
            version: base.version(),
            protocol,
            metadata,
            columns: Arc::new(columns),
            base,
            txns: HashMap::new(),
            base_txns: Arc::default(),
            live: None,
            checkpoint,
            idle: 0,
        })
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The columns with the names that users know.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema.clone()
    }

    pub fn location(&self) -> &Location {
        self.dir.location()
    }

    /// The columns' names in files, with their names.
    pub fn stored_names(&self) -> Vec<(String, String)> {
        let fields = self.columns.fields().iter().zip(self.columns.schema.fields());
        fields.map(|(field, named)| (self.columns.mode.physical_name(field).to_owned(), named.name().clone())).collect()
    }

    /// The table's identity: it changes when a table is removed and created anew.
    pub fn id(&self) -> &str {
        &self.metadata.id
    }

    pub fn description(&self) -> Option<&str> {
        self.metadata.description.as_deref()
    }

    /// Follows the log to its end. Where nothing is new that is one request for one file that is not there.
    pub async fn refresh(&mut self) -> Result<()> {
        for _ in 0..MAX_STEPS {
            let next = self.version + 1;
            let name = entry_name(next);
            match self.dir.get(&name).await? {
                Some(bytes) => {
                    self.apply(next, parse_entry(&bytes, &self.dir.place_of(&name))?)?;
                    self.idle = 0;
                }
                None => {
                    self.idle += 1;
                    if self.idle.is_multiple_of(IDLE_STEPS)
                        && last_checkpoint(&self.dir).await?.is_some_and(|checkpoint| checkpoint > self.version)
                    {
                        return self.reload().await;
                    }
                    return Ok(());
                }
            }
        }
        self.reload().await
    }

    /// The version that an application's newest transaction has in this snapshot.
    pub async fn txn_version(&self, app_id: &str) -> Result<Option<i64>> {
        if let Some(version) = self.txns.get(app_id) {
            return Ok(Some(*version));
        }
        if let Some(known) = self.lock_base_txns().get(app_id) {
            return Ok(*known);
        }
        let failed =
            |e: DeltaTableError| delta_error(&e, "read the transactions of the Delta table", &self.dir.place());
        let scan = self.base.scan_builder().with_skip_stats(true).build().map_err(failed)?;
        let (snapshot, engine) = (scan.snapshot().clone(), self.log_store.engine(None));
        let name = app_id.to_owned();
        let found = self
            .on_blocking_thread(move || snapshot.get_app_id_version(&name, engine.as_ref()))
            .await?
            .map_err(|e| format_error(&e, "read the transactions of the Delta table", &self.dir.place()))?;
        self.lock_base_txns().insert(app_id.to_owned(), found);
        Ok(found)
    }

    /// What a version says about itself, with the transactions that it carries under `txn`; None where the log has no such entry.
    pub async fn commit_info(&self, version: u64) -> Result<Option<Map<String, Value>>> {
        let name = entry_name(version);
        let Some(bytes) = self.dir.get(&name).await? else { return Ok(None) };
        let entry = parse_entry(&bytes, &self.dir.place_of(&name))?;
        let txns: Vec<Value> =
            entry.txns.iter().map(|txn| json!({ "appId": txn.app_id, "version": txn.version })).collect();
        let mut info = entry.info.unwrap_or_default();
        info.insert("txn".into(), Value::Array(txns));
        Ok(Some(info))
    }

    /// The kernel blocks while it waits for storage; tasks must not.
    async fn on_blocking_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit = KERNEL.acquire().await;
        let work = move || {
            // held to the end of the call, also where nobody waits for it any more
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| place_error(Code::Internal, format!("the Delta kernel did not end: {e}"), &self.dir.place()))
    }

    fn lock_base_txns(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<i64>>> {
        self.base_txns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the snapshot to the next version.
    fn apply(&mut self, version: u64, entry: Entry) -> Result<()> {
        if entry.protocol.is_some() || entry.metadata.is_some() {
            let protocol = entry.protocol.unwrap_or_else(|| self.protocol.clone());
            let metadata = entry.metadata.unwrap_or_else(|| self.metadata.clone());
            let mode = features::check_read(&protocol, &metadata, &self.dir.place())?;
            let columns = Columns::from_delta(&metadata.schema_string, &metadata.partition_columns, mode)?;
            self.columns = Arc::new(columns);
            (self.protocol, self.metadata) = (protocol, metadata);
        }
        self.txns.extend(entry.txns.into_iter().map(|txn| (txn.app_id, txn.version)));
        if let Some(live) = &mut self.live {
            for remove in &entry.removes {
                live.remove(&remove.path);
            }
            live.extend(entry.adds.into_iter().map(|add| (add.path.clone(), add)));
        }
        self.version = version;
        Ok(())
    }

    async fn reload(&mut self) -> Result<()> {
        let base = snapshot(&self.log_store, None).await.map_err(|e| open_error(&e, &self.dir.place()))?;
        let checkpoint = last_checkpoint(&self.dir).await?;
        *self = Table::from_snapshot(self.dir.clone(), self.log_store.clone(), base, checkpoint)?;
        Ok(())
    }

    /// A log that lost its newest entry belongs to a table that was removed; writing on would make a log with a hole.
    async fn check_still_there(&self) -> Result<()> {
        let name = entry_name(self.version);
        if self.dir.exists(&name).await? || last_checkpoint(&self.dir).await?.is_some_and(|v| v >= self.version) {
            return Ok(());
        }
        Err(place_error(Code::NotFound, "the Delta table was removed", &self.dir.place()))
    }
}

fn table_dir(location: &Location, credentials: &Credentials) -> Result<Dir> {
    if location.split_glob().1.is_some() {
        return Err(place_error(
            Code::InvalidParameter,
            "the location of a Delta table holds a pattern",
            &location.display(),
        )
        .hint("Name the directory of the table; write %2A for a star that is part of its name."));
    }
    Dir::at(location, credentials)
}

/// True where the directory has a Delta log; asked for with one request.
pub async fn is_delta_table(location: &Location, credentials: &Credentials) -> Result<bool> {
    Dir::at(location, credentials)?.join(self::log::LOG)?.holds_objects().await
}

/// The version of the checkpoint that the log names as its last.
async fn last_checkpoint(dir: &Dir) -> Result<Option<u64>> {
    let Some(bytes) = dir.get(LAST_CHECKPOINT).await? else { return Ok(None) };
    // A hint that cannot be read counts as none, as the protocol says.
    let hint: Option<Value> = serde_json::from_slice(&bytes).ok();
    Ok(hint.and_then(|hint| hint.get("version")?.as_u64()))
}

/// The Delta library's access to the same store that we use, so that it builds none of its own.
fn log_store(dir: &Dir) -> Result<LogStoreRef> {
    let url = dir.table_url()?;
    let prefixed = Arc::new(PrefixStore::new(dir.root().clone(), dir.prefix().clone()));
    Ok(default_logstore(prefixed, dir.root().clone(), &url, &StorageConfig::default()))
}

/// The table as the kernel sees it, at its newest version or at the one given.
async fn snapshot(log_store: &LogStoreRef, version: Option<u64>) -> Result<Snapshot, DeltaTableError> {
    let _permit = KERNEL.acquire().await;
    Snapshot::try_new(log_store.as_ref(), version).await
}

fn is_no_table(error: &DeltaTableError) -> bool {
    matches!(error, DeltaTableError::NotATable(_)) || error.to_string().contains("No files in log segment")
}

fn open_error(error: &DeltaTableError, place: &str) -> Error {
    let text = error.to_string();
    // The kernel wants a catalog before it shows the protocol in which we would see this.
    if text.contains("catalog-managed") {
        return features::catalog_managed("catalogManaged", place);
    }
    let mut error = delta_error(error, "open the Delta table", place);
    if error.code == Code::Corrupt && text.to_lowercase().contains("unsupported") {
        error.code = Code::Unsupported;
        error.hint = Some("Read a copy of the table that does without this feature.".into());
    }
    error
}

fn creation(columns: &Columns, description: &str, zoneless: bool) -> Result<Lines> {
    let now = Utc::now().timestamp_millis();
    let features = zoneless.then(|| vec!["timestampNtz".to_owned()]);
    let (min_reader_version, min_writer_version) = if features.is_some() { (3, 7) } else { (1, 2) };
    let protocol = Protocol {
        min_reader_version,
        min_writer_version,
        reader_features: features.clone(),
        writer_features: features,
    };
    let metadata = MetaData {
        id: uuid::Uuid::new_v4().to_string(),
        name: None,
        description: Some(description.to_owned()),
        format: json!({ "provider": "parquet", "options": {} }),
        schema_string: columns.to_delta()?,
        partition_columns: columns.partition_by.clone(),
        configuration: BTreeMap::new(),
        created_time: Some(now),
        rest: Map::new(),
    };
    let partition_by = serde_json::to_string(&columns.partition_by).unwrap_or_default();
    let info = json!({
        "timestamp": now,
        "operation": "CREATE TABLE",
        "operationParameters": { "partitionBy": partition_by, "description": description },
        "isBlindAppend": true,
        "engineInfo": concat!("pg_millrace/", env!("CARGO_PKG_VERSION")),
        "txnId": uuid::Uuid::new_v4().to_string(),
    });
    let mut lines = Lines::default();
    lines.push("commitInfo", &info)?;
    lines.push("protocol", &protocol)?;
    lines.push("metaData", &metadata)?;
    Ok(lines)
}
