//! What upkeep promises: no row changes, nothing that a version needs goes, and its cost does not grow with the history.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use serde_json::{Map, Value, json};

use super::log::{LAST_CHECKPOINT, entry_name};
use super::{Commit, Table};
use crate::lake::store::Dir;
use crate::lake::tests::run;
use crate::model::Code;

/// A store in memory that counts what is asked of it.
#[derive(Debug, Default)]
struct Counting {
    store: InMemory,
    reads: AtomicUsize,
    listed: AtomicUsize,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.store.put_opts(to, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(to, options).await
    }
    async fn get_opts(&self, from: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.get_opts(from, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.store.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.store.list(prefix)
    }
    fn list_with_offset(&self, prefix: Option<&Path>, from: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.store.list_with_offset(prefix, from)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.store.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.store.copy_opts(from, to, options).await
    }
}

struct Lake {
    store: Arc<Counting>,
}

impl Lake {
    fn new() -> Lake {
        Lake { store: Arc::default() }
    }

    fn dir(&self) -> Dir {
        Dir::in_store("az://lake/t", self.store.clone(), "t")
    }

    async fn create(&self, partition_by: &[&str], properties: Value) -> Table {
        let by: Vec<String> = partition_by.iter().map(|name| name.to_string()).collect();
        let table = Table::create_in(self.dir(), schema(), &by, "", false).await.unwrap();
        let path = Path::from(format!("t/{}", entry_name(0)));
        let text = self.store.get(&path).await.unwrap().bytes().await.unwrap();
        let text =
            String::from_utf8_lossy(&text).replace("\"configuration\":{}", &format!("\"configuration\":{properties}"));
        self.store.put(&path, text.into_bytes().into()).await.unwrap();
        drop(table);
        self.open().await
    }

    async fn open(&self) -> Table {
        Table::open_in(self.dir()).await.unwrap().unwrap()
    }

    async fn names(&self, below: &str) -> Vec<String> {
        let found: Vec<ObjectMeta> = self.store.store.list(Some(&Path::from(below))).try_collect().await.unwrap();
        found.into_iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect()
    }

    async fn data_files(&self) -> usize {
        self.names("t").await.iter().filter(|name| name.starts_with("part-")).count()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("p", DataType::Int64, true)]))
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let p = Int64Array::from_iter(numbers.clone().map(|n| (n % 3 > 0).then_some(n % 3)));
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(numbers)), Arc::new(p)]).unwrap()
}

fn commit(version: i64) -> Commit<'static> {
    Commit { app_id: "app", version, operation: "STREAMING UPDATE", info: Map::new() }
}

async fn content(table: &Table) -> Vec<String> {
    let batches: Vec<RecordBatch> = table.scan(1_000).await.unwrap().try_collect().await.unwrap();
    let text = |array: &arrow::array::ArrayRef, i| arrow::util::display::array_value_to_string(array, i).unwrap();
    let mut found: Vec<String> = batches
        .iter()
        .flat_map(|b| (0..b.num_rows()).map(|i| format!("{}|{}", text(b.column(0), i), text(b.column(1), i))))
        .collect();
    found.sort();
    found
}

#[test]
fn small_files_become_few_without_a_row_changing_and_beside_other_writers() {
    run(async {
        for (partition_by, files_left) in [(&[][..], 1), (&["p"][..], 3)] {
            let lake = Lake::new();
            let mut table = lake.create(partition_by, json!({})).await;
            let mut late = lake.open().await;
            for n in 0..40 {
                table.append(vec![rows(n * 10..n * 10 + 10)], commit(n + 1)).await.unwrap();
            }
            let before = content(&table).await;
            let mut other = lake.open().await;
            let kept = other.upkeep(10, Duration::ZERO).await.unwrap();
            assert_eq!(kept.compacted, Some((40 * files_left, files_left)));
            assert_eq!(content(&lake.open().await).await, before);
            assert_eq!(content(&other).await, before);
            // Versions from before it are read as ever: their files stay.
            assert!(lake.data_files().await > 40 * files_left);
            let entry = table.commit_info(41).await.unwrap().unwrap();
            assert_eq!((entry["operation"].as_str(), entry["txn"].as_array().unwrap().len()), (Some("OPTIMIZE"), 0));
            // Followers are given nothing by it, writers who did not know of it go on.
            let nothing: Vec<RecordBatch> =
                table.read_version(41).await.unwrap().batches(10, 0).try_collect().await.unwrap();
            assert!(nothing.is_empty());
            table.append(vec![rows(400..403)], commit(41)).await.unwrap();
            late.refresh().await.unwrap();
            assert_eq!((content(&table).await.len(), late.txn_version("app").await.unwrap()), (403, Some(41)));
        }
    });
}

#[test]
fn a_rewrite_gives_up_where_somebody_else_took_out_its_files() {
    run(async {
        let lake = Lake::new();
        let mut table = lake.create(&[], json!({})).await;
        for n in 0..20 {
            table.append(vec![rows(n..n + 1)], commit(n + 1)).await.unwrap();
        }
        let mut stale = lake.open().await;
        let live = stale.read_live().await.unwrap();
        let state = stream::iter([Ok(rows(100..103))]).boxed();
        table.overwrite(schema(), state, commit(21)).await.unwrap();
        let files = lake.data_files().await;
        assert_eq!(stale.compact(&live).await.unwrap_err().code, Code::Conflict);
        assert_eq!(lake.data_files().await, files);
        assert_eq!(content(&lake.open().await).await.len(), 3);
        // The other way round: what is overwritten must be what is there.
        let mut late = lake.open().await;
        late.live_files().await.unwrap();
        for n in 22..40 {
            table.append(vec![rows(n..n + 1)], commit(n)).await.unwrap();
        }
        table.upkeep(10, Duration::ZERO).await.unwrap();
        let state = stream::iter([Ok(rows(0..1))]).boxed();
        assert_eq!(late.overwrite(schema(), state, commit(40)).await.unwrap_err().code, Code::Conflict);
    });
}

#[test]
fn removed_files_and_old_entries_go_once_the_table_no_longer_keeps_them() {
    run(async {
        let now = json!({ "delta.deletedFileRetentionDuration": "interval 0 seconds", "delta.logRetentionDuration": "interval 0 days" });
        let never = json!({ "delta.deletedFileRetentionDuration": "interval 1 week", "delta.enableExpiredLogCleanup": "false",
                            "delta.logRetentionDuration": "interval 0 days" });
        for (properties, all_stay) in [(now, false), (never, true), (json!({}), true)] {
            let lake = Lake::new();
            let mut table = lake.create(&["p"], properties).await;
            for n in 1..=60 {
                let state = stream::iter([Ok(rows(n..n + 30))]).boxed();
                table.overwrite(schema(), state, commit(n)).await.unwrap();
                if table.is_upkeep_due(10) {
                    table.upkeep(10, Duration::ZERO).await.unwrap();
                }
            }
            let names = lake.names("t/_delta_log").await;
            let entries = names.iter().filter(|name| name.ends_with(".json")).count();
            assert_eq!((lake.data_files().await, entries), if all_stay { (180, 61) } else { (3, 1) });
            let fresh = lake.open().await;
            assert_eq!((fresh.version(), content(&fresh).await.len()), (60, 30));
            assert_eq!(fresh.txn_version("app").await.unwrap(), Some(60));
        }
        let lake = Lake::new();
        let mut table = lake.create(&[], json!({ "delta.logRetentionDuration": "for ever" })).await;
        for n in 1..=3 {
            table.append(vec![rows(n..n + 1)], commit(n)).await.unwrap();
        }
        let error = table.upkeep(2, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
        assert!(error.message.contains("delta.logRetentionDuration"), "{error}");
    });
}

#[test]
fn a_commit_costs_the_same_however_many_there_were() {
    run(async {
        let lake = Lake::new();
        let mut table = lake.create(&[], json!({})).await;
        let mut costs = Vec::new();
        for n in 1..=800 {
            table.append(vec![rows(n..n + 1)], commit(n)).await.unwrap();
            if table.is_upkeep_due(100) {
                table.upkeep(100, Duration::ZERO).await.unwrap();
            }
            if n % 200 == 0 {
                let take = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed);
                costs.push((take(&lake.store.reads), take(&lake.store.listed)));
            }
        }
        let (first, last) = (costs[1], costs[3]);
        assert!(last.0 <= first.0 + first.0 / 10 && last.1 <= first.1, "{costs:?}");
        assert!(last.1 <= 12, "{costs:?}");
        // Opening reads the checkpoint and what came after it.
        lake.store.reads.store(0, Ordering::Relaxed);
        let fresh = lake.open().await;
        assert_eq!(content(&fresh).await.len(), 800);
        let reads = lake.store.reads.load(Ordering::Relaxed);
        assert!(reads < 300, "{reads} reads");
        assert!(lake.store.head(&Path::from(format!("t/{LAST_CHECKPOINT}"))).await.is_ok());
    });
}

#[test]
fn files_of_ours_that_no_version_names_go_once_they_are_old_and_nobody_elses() {
    run(async {
        let lake = Lake::new();
        let mut table = lake.create(&["p"], json!({})).await;
        table.append(vec![rows(0..9)], commit(1)).await.unwrap();
        table.overwrite(schema(), stream::iter([Ok(rows(9..18))]).boxed(), commit(2)).await.unwrap();
        let left = table.prepare(vec![rows(0..9)]).await.unwrap();
        drop(left);
        // What others are about to commit: of their own names, and of such as ours have.
        let foreign = {
            let mut bytes = Vec::new();
            let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, schema(), None).unwrap();
            writer.write(&rows(0..3)).unwrap();
            writer.close().unwrap();
            bytes
        };
        for name in ["t/part-00000-theirs.parquet", "t/theirs.parquet", "t/part-00000-torn.parquet"] {
            let bytes = if name.contains("torn") { b"PAR1 and no more".to_vec() } else { foreign.clone() };
            lake.store.put(&Path::from(name), bytes.into()).await.unwrap();
        }
        let before = content(&table).await;
        assert_eq!(lake.data_files().await, 3 + 3 + 3 + 2);
        assert_eq!(table.remove_orphans(Duration::ZERO).await.unwrap(), 0, "they are not a day old");
        let mut removed = 0;
        for _ in 0..2 {
            removed += table.remove_orphans_before(chrono::Utc::now()).await.unwrap();
        }
        assert_eq!((removed, lake.data_files().await), (3, 3 + 3 + 2));
        assert_eq!(content(&lake.open().await).await, before);
        let first = Table::open_version(lake.dir(), Some(1)).await.unwrap().unwrap();
        assert_eq!(first.count_rows().await.unwrap(), 9, "earlier versions are whole, too");
    });
}

#[test]
fn what_a_writer_had_begun_on_disk_when_it_died_goes_with_its_age() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let dir = || Dir::at(&crate::lake::tests::location(temp.path()), &Default::default()).unwrap();
        let mut table = Table::create_in(dir(), schema(), &[], "", false).await.unwrap();
        table.append(vec![rows(0..9)], commit(1)).await.unwrap();
        drop(table.prepare(vec![rows(0..9)]).await.unwrap());
        let id = "0123456789abcdef0123456789abcdef";
        let begun = [format!("_delta_log/.{:020}.json.{id}.tmp", 2), "part-00000-x-c000.zstd.parquet#1".to_owned()];
        let others = [".hidden.tmp", "notes#1", "_delta_log/_last_checkpoint.tmp"].map(str::to_owned);
        for name in begun.iter().chain(&others) {
            std::fs::write(temp.path().join(name), "x").unwrap();
        }
        let remove = async |table: &mut Table, before| table.remove_orphans_before(before).await.unwrap();
        assert_eq!(remove(&mut table, chrono::Utc::now() - chrono::TimeDelta::hours(1)).await, 0);
        assert_eq!(remove(&mut table, chrono::Utc::now() + chrono::TimeDelta::seconds(1)).await, 3);
        assert!(begun.iter().all(|name| !temp.path().join(name).exists()));
        assert!(others.iter().all(|name| temp.path().join(name).exists()));
        assert_eq!(Table::open_in(dir()).await.unwrap().unwrap().count_rows().await.unwrap(), 9);
    });
}

/// By hand: `MILLRACE_COMMITS=10000 cargo test --release --no-default-features --lib many_commits -- --nocapture` tells what each
/// thousand of commits to a table on disk took.
#[test]
fn many_commits_to_a_table_on_disk_take_as_long_as_few() {
    let commits: i64 = std::env::var("MILLRACE_COMMITS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let dir = || Dir::at(&crate::lake::tests::location(temp.path()), &Default::default()).unwrap();
        let mut table = Table::create_in(dir(), schema(), &[], "", false).await.unwrap();
        let mut began = std::time::Instant::now();
        for n in 1..=commits {
            table.append(vec![rows(n * 100..n * 100 + 100)], commit(n)).await.unwrap();
            if table.is_upkeep_due(100) {
                table.upkeep(100, Duration::ZERO).await.unwrap();
            }
            if n % 1_000 == 0 {
                let took = began.elapsed();
                began = std::time::Instant::now();
                let opened = Table::open_in(dir()).await.unwrap().unwrap();
                let opening = began.elapsed();
                let files = opened.data_files().await.unwrap().len();
                println!("{n} commits: {:.2} ms each, opened in {opening:?}, {files} files", took.as_secs_f64());
                began = std::time::Instant::now();
            }
        }
        let fresh = Table::open_in(dir()).await.unwrap().unwrap();
        assert_eq!(fresh.count_rows().await.unwrap(), commits as u64 * 100);
        assert!(fresh.data_files().await.unwrap().len() < 130);
    });
}
