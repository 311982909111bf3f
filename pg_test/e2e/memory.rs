//! Memory stays within its limit whatever a Parquet file's row groups are, however large a file and however many files and versions.
//!
//! `MEMORY_ROWS` (of a kilobyte each, in a row group) and `MEMORY_GROUPS` make that file larger, `MEMORY_CSV_MB` one of CSV, `MEMORY_FILES` and
//! `MEMORY_VERSIONS` say how many; `MEMORY_WORK_MEM` (in MB) gives more room: what docs/delta-sources.md says was measured with 200000
//! rows in each of 5 groups. What was measured is printed.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::server::{Preload, note};
use crate::site::{Site, at_once, land, url};
use crate::sql::{Session, quote};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A file of so many row groups with so many rows each, of about a kilobyte that does not compress.
fn write(path: &std::path::Path, groups: i64, rows: i64) -> u64 {
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
    for group in 0..groups {
        (0..rows / 1_000).for_each(|i| writer.write(&batch(group * rows + i * 1_000)).unwrap());
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// Megabytes of its own that a process holds.
pub fn own_memory(pid: i64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Megabytes of its own that a session holds at most while it runs a pipeline.
fn peak_of_run(session: &mut Session, pipeline: &str) -> u64 {
    let pid = session.number("SELECT pg_backend_pid()");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(own_memory(pid));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

#[test]
fn a_large_file_many_files_and_many_versions_take_no_more_memory_than_they_may() {
    let server = Site::alone(module_path!(), Preload::No);
    let mut session = server.create_database("memory");
    let work_mem = setting("MEMORY_WORK_MEM", 16);
    session.execute(&format!("ALTER SYSTEM SET millrace.work_mem = '{work_mem}MB'"));
    session.execute("SELECT pg_reload_conf()");
    session.execute("CREATE SCHEMA staging");
    // More than all that may be held.
    let megabytes = setting("MEMORY_CSV_MB", 176);
    let (files, versions) = (setting("MEMORY_FILES", 200), setting("MEMORY_VERSIONS", 40));
    let (large, many, each) = (server.create_dir("large"), server.create_dir("many"), server.create_dir("each"));
    let layer = server.create_dir("layer");
    let rows = megabytes * 1_024;
    let made = tempfile::tempdir().unwrap();
    {
        use std::io::Write;
        let mut file = std::io::BufWriter::new(File::create(made.path().join("large.csv")).unwrap());
        writeln!(file, "n,text").unwrap();
        (0..rows).for_each(|n| writeln!(file, "{n},{:0>1016}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap());
    }
    large.take_over(made.path());
    for (dir, number) in [(&many, files), (&each, versions)] {
        (0..number).for_each(|n| land(dir, &format!("{n:06}.csv"), format!("n,text\n{n},small\n").as_bytes()));
    }
    let csv = |name: &str, source: &str, more: &str, options: &str| {
        format!(
            "SELECT millrace.create_pipeline('{name}', source => '{source}/*.csv', columns => 'n numeric, text text', staging => 'staging.{name}',
                    every => NULL, {more} options => '{}')",
            at_once(options)
        )
    };
    let layer = url(&layer);
    let follow = format!(
        "SELECT millrace.create_pipeline('versions', source => '{layer}', staging => 'staging.versions', every => NULL, options => '{{\"start_version\": 0}}')"
    );
    // Each file of the third is a version of the raw layer, which the fourth follows.
    for (name, sql, expected, what) in [
        ("large", csv("large", &url(&large), "", "{}"), rows, format!("{megabytes} MB of CSV")),
        ("many", csv("many", &url(&many), "", "{}"), files, format!("{files} small files")),
        (
            "each",
            csv("each", &url(&each), &format!("raw => '{layer}',"), r#"{"max_files_per_chunk": 1}"#),
            versions,
            format!("{versions} chunks with a raw layer"),
        ),
        ("versions", follow, versions, format!("{versions} versions of a Delta table")),
    ] {
        // A session of its own for each: what one has held, the next does not count.
        let mut session = server.session("memory");
        session.execute(&sql);
        let peak = peak_of_run(&mut session, name);
        assert_eq!(session.number(&format!("SELECT count(DISTINCT n) FROM staging.{name}")) as u64, expected);
        note(&format!("memory: {what}: at most {peak} MB of its own, work_mem {work_mem} MB"));
        assert!(peak > 0 && peak < work_mem + 150, "{what}: {peak} MB");
    }
}

#[test]
fn a_row_group_larger_than_work_mem_is_streamed_from_files_and_from_delta_tables() {
    let server = Site::alone(module_path!(), Preload::No);
    let mut session = server.create_database("memory");
    let work_mem = setting("MEMORY_WORK_MEM", 64);
    session.execute(&format!("ALTER SYSTEM SET millrace.work_mem = '{work_mem}MB'"));
    session.execute("SELECT pg_reload_conf()");
    let table = server.create_dir("memory");
    // What is fetched over the network is read by the same code: there half as much will do.
    let rows = setting("MEMORY_ROWS", if server.is_disk() { 100_000 } else { 50_000 }) as i64;
    let groups = setting("MEMORY_GROUPS", 1) as i64;
    let made = tempfile::tempdir().unwrap();
    let size = write(&made.path().join("big.parquet"), groups, rows);
    assert!(size > (groups * rows) as u64 * 950, "{size}");
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
        let peak = peak_of_run(&mut session, name);
        assert_eq!(session.number(&format!("SELECT count(DISTINCT n) FROM staging.{name}")), groups * rows);
        note(&format!(
            "memory: {} MB in {groups} row groups, work_mem {work_mem} MB, {name}: at most {peak} MB of its own",
            size / 1_000_000
        ));
        assert!(peak > 0 && peak < work_mem + 150, "{name}: {peak} MB");
    }
}

/// Bytes that a process has read from files.
fn bytes_read(pid: i64) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

#[test]
fn a_compressed_file_that_makes_many_chunks_is_read_and_decoded_once() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("decoded_once");
    let landing = server.create_dir("decoded_once");
    session.execute("CREATE SCHEMA staging");
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let row = |n: i64, text: String| (format!("{n},{text}\n"), format!("{{\"n\": {n}, \"note\": \"{text}\"}}\n"));
    let rows: Vec<_> = (0..12_000).map(|n| row(n, (0..60).map(|_| word()).collect())).collect();
    let csv = rows.iter().fold("n,note\n".to_owned(), |text, row| text + &row.0);
    let json: String = rows.iter().map(|row| row.1.as_str()).collect();
    for (name, text, how, more) in [
        ("a.csv.gz", &csv, "gzip", ""),
        ("b.csv.zst", &csv, "zstd", ", \"encoding\": \"latin1\""),
        ("c.json.gz", &json, "gzip", ""),
    ] {
        let place = landing.join(how).join(&name[..1]);
        place.create();
        let file = crate::formats::compress(text.as_bytes(), how);
        land(&place, name, &file);
        let pipeline = &name[..1];
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{pipeline}', source => '{}', columns => 'n int, note text', staging => 'staging.{pipeline}', every => NULL,
                options => '{{\"settle\": 0, \"max_rows_per_chunk\": 500{more}}}')",
            url(&place)
        ));
        let pid = session.number("SELECT pg_backend_pid()");
        let before = bytes_read(pid);
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
        let read = bytes_read(pid) - before;
        assert_eq!(
            session.line(&format!("SELECT count(*), count(DISTINCT n), sum(length(note)) FROM staging.{pipeline}")),
            format!("12000|12000|{}", 12_000 * 960),
            "{name}"
        );
        assert!(session.number(&format!("SELECT count(*) FROM millrace.chunks WHERE pipeline = '{pipeline}'")) >= 24);
        crate::retail::assert_verified(&mut session, pipeline);
        // Read from its beginning for each chunk it would be some twelve times as much. Sockets are not counted.
        assert!(!server.is_disk() || read < 4 * file.len() as u64, "{name}: {read} bytes of {}", file.len());
    }
}
