//! Memory stays within its limit whatever a Parquet file's row groups are.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::server::Preload;
use crate::site::{Site, at_once, url};
use crate::sql::quote;

const WORK_MEM_MB: u64 = 64;

/// A file of one row group of about a kilobyte a row that does not compress.
fn write(path: &std::path::Path, rows: i64) -> u64 {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None)
        .build();
    let text = |n: i64| {
        let mut state = n as u64 + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}")
        };
        (0..64).map(|_| next()).collect::<String>()
    };
    let batch = |from: i64| {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 1_000));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + 1_000).map(text)));
        RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).unwrap()
    };
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch(0).schema(), Some(properties)).unwrap();
    (0..rows / 1_000).for_each(|i| writer.write(&batch(i * 1_000)).unwrap());
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// Megabytes of its own that a process holds.
fn own_memory(pid: i64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn a_row_group_larger_than_work_mem_is_streamed_from_files_and_from_delta_tables() {
    let server = Site::alone(module_path!(), Preload::No);
    let mut session = server.create_database("memory");
    session.execute(&format!("ALTER SYSTEM SET millrace.work_mem = '{WORK_MEM_MB}MB'"));
    session.execute("SELECT pg_reload_conf()");
    let table = server.create_dir("memory");
    // What is fetched over the network is read by the same code: there half as much will do.
    let rows = if server.is_disk() { 100_000 } else { 50_000 };
    let made = tempfile::tempdir().unwrap();
    let size = write(&made.path().join("big.parquet"), rows);
    assert!(size > (rows as u64) * 950, "{size}");
    std::fs::create_dir(made.path().join("_delta_log")).unwrap();
    let fields = r#"{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"text\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}"#;
    let log = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n\
         {{\"metaData\":{{\"id\":\"big\",\"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"partitionColumns\":[],\"configuration\":{{}},\"schemaString\":\"{{\\\"type\\\":\\\"struct\\\",\\\"fields\\\":[{fields}]}}\"}}}}\n\
         {{\"add\":{{\"path\":\"big.parquet\",\"partitionValues\":{{}},\"size\":{size},\"modificationTime\":0,\"dataChange\":true}}}}\n"
    );
    std::fs::write(made.path().join("_delta_log/00000000000000000000.json"), log).unwrap();
    table.take_over(made.path());
    for (name, source) in [("files", format!("{}/*.parquet", url(&table))), ("delta", url(&table))] {
        let mut session = server.session("memory");
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => {}, every => NULL, options => '{}')",
            quote(&source),
            if name == "files" { at_once("{}") } else { "{}".into() }
        ));
        let pid = session.number("SELECT pg_backend_pid()");
        let done = AtomicBool::new(false);
        let peak = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(own_memory(pid));
                    std::thread::sleep(Duration::from_millis(5));
                }
                peak
            });
            session.execute(&format!("CALL millrace.run('{name}')"));
            done.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        assert_eq!(session.number(&format!("SELECT count(DISTINCT n) FROM staging.{name}")), rows);
        assert!(peak > 0 && peak < WORK_MEM_MB + 150, "{name}: {peak} MB");
    }
}
