//! Delta tables whose logs are written here line by line, for what the Python package does not write.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::delta::{Writer, assert_verified, create};
use crate::lake::{Lake, Storage, on_each_storage};
use crate::python::python;
use crate::server::{Preload, Server};

/// A table that grows by a commit at a time.
struct Made<'a> {
    lake: &'a Lake,
    place: &'static str,
    next: u64,
}

impl Made<'_> {
    /// Commits these actions as the next version.
    fn commit(&mut self, actions: &[Value]) {
        let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
        self.lake.put(self.place, &format!("_delta_log/{:020}.json", self.next), text.as_bytes());
        self.next += 1;
    }

    /// Puts a data file; gives the action that adds it.
    fn file(&self, name: &str, columns: &[(&str, ArrayRef)]) -> Value {
        let columns = columns.iter().map(|(name, values)| (*name, values.clone(), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.lake.put(self.place, name, &bytes);
        let (size, stats) = (bytes.len(), json!({ "numRecords": batch.num_rows() }).to_string());
        json!({ "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true, "stats": stats } })
    }
}

fn metadata(fields: &[Value], configuration: &Value) -> Value {
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    json!({ "metaData": { "id": "made", "format": { "provider": "parquet", "options": {} }, "partitionColumns": [],
        "createdTime": 0, "schemaString": schema, "configuration": configuration } })
}

fn field(name: &str, kind: &str) -> Value {
    json!({ "name": name, "type": kind, "nullable": true, "metadata": {} })
}

fn mapped(name: &str, kind: &str, id: i64, physical: &str) -> Value {
    let metadata = json!({ "delta.columnMapping.id": id, "delta.columnMapping.physicalName": physical });
    json!({ "name": name, "type": kind, "nullable": true, "metadata": metadata })
}

fn protocol(reader: &[&str], writer: &[&str]) -> Value {
    json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer } })
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

on_each_storage! {
fn a_renamed_column_goes_on_filling_the_column_of_staging_that_it_filled(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut table = Made { lake: &lake, place: "t", next: 0 };
    let mapping = json!({ "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "4" });
    let (n, name) = (mapped("n", "long", 1, "p-n"), mapped("name", "string", 2, "p-name"));
    let rows = |ids: &[i64], names: &[&str]| vec![("p-n", longs(ids)), ("p-name", texts(names))];
    let add = table.file("a.parquet", &rows(&[1, 2], &["a", "b"]));
    table.commit(&[protocol(&["columnMapping"], &["columnMapping"]), metadata(&[n, name.clone()], &mapping), add]);
    for (pipeline, options) in
        [("p", r#"{"on_new_column": "add"}"#), ("keyed", r#"{"on_new_column": "add", "primary_key": "n", "on_change": "apply"}"#)]
    {
        create(&mut session, pipeline, &lake.url("t"), options);
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
    }
    // Renamed alone, then with rows; then another column is dropped and a new one takes its name.
    let number = mapped("number", "long", 1, "p-n");
    table.commit(&[metadata(&[number.clone(), name], &mapping)]);
    let add = table.file("b.parquet", &rows(&[3], &["c"]));
    table.commit(&[add]);
    let (again, more) = (mapped("name", "string", 3, "p-name-2"), mapped("more", "string", 4, "p-more"));
    let add = table.file("c.parquet", &[("p-n", longs(&[4])), ("p-name-2", texts(&["d"])), ("p-more", texts(&["m"]))]);
    table.commit(&[metadata(&[number, again, more], &mapping), add]);
    for pipeline in ["p", "keyed"] {
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
        assert_eq!(
            session.lines(&format!("SELECT n, name, more FROM staging.{pipeline} ORDER BY n")),
            ["1|a|", "2|b|", "3|c|", "4|d|m"],
            "{pipeline}"
        );
        assert_verified(&mut session, pipeline);
    }
}

fn a_version_that_asks_for_what_is_not_known_is_refused_by_name_and_those_before_it_are_loaded(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut table = Made { lake: &lake, place: "t", next: 0 };
    let columns = [field("n", "long")];
    let add = table.file("a.parquet", &[("n", longs(&[1]))]);
    table.commit(&[protocol(&[], &["rowTracking", "domainMetadata", "appendOnly", "icebergCompatV2"]), metadata(&columns, &json!({})), add]);
    create(&mut session, "p", &lake.url("t"), "{}");
    let add = table.file("b c%.parquet", &[("n", longs(&[2]))]);
    let mut named = add.clone();
    named["add"]["path"] = json!("b%20c%25.parquet");
    named["add"]["baseRowId"] = json!(7);
    named["add"]["tags"] = json!({ "x": null });
    table.commit(&[named, json!({ "domainMetadata": { "domain": "d", "configuration": "{}", "removed": false } })]);
    table.commit(&[protocol(&["telepathy"], &["telepathy"])]);
    let refused = session.raises("CALL millrace.run('p')", "0A000");
    assert!(refused.message().contains("telepathy") && refused.hint().is_some(), "{refused:?}");
    assert_eq!(session.lines("SELECT n FROM staging.p ORDER BY n"), ["1", "2"]);
    for (place, feature, message) in
        [("managed", "catalogManaged", "managed by a catalog"), ("unknown", "telepathy", "telepathy")]
    {
        let mut table = Made { lake: &lake, place, next: 0 };
        table.commit(&[protocol(&[feature], &[feature, "inCommitTimestamp"]), metadata(&columns, &json!({}))]);
        let create = format!("SELECT millrace.create_pipeline('x', '{}', every => NULL)", lake.url(place));
        let refused = session.raises(&create, "0A000");
        assert!(refused.message().contains(message) && refused.hint().is_some(), "{refused:?}");
    }
}

fn a_widened_column_widens_that_of_staging(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut table = Made { lake: &lake, place: "t", next: 0 };
    let widening = json!({ "delta.enableTypeWidening": "true" });
    let add = table.file("a.parquet", &[("n", Arc::new(Int32Array::from(vec![1])))]);
    table.commit(&[protocol(&["typeWidening"], &["typeWidening"]), metadata(&[field("n", "integer")], &widening), add]);
    create(&mut session, "p", &lake.url("t"), "{}");
    session.execute("CALL millrace.run('p')");
    let add = table.file("b.parquet", &[("n", longs(&[2, 1 << 40]))]);
    table.commit(&[metadata(&[field("n", "long")], &widening), add]);
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.lines("SELECT n, pg_typeof(n) FROM staging.p ORDER BY n"), ["1|bigint", "2|bigint", "1099511627776|bigint"]);
    assert_verified(&mut session, "p");
}

fn a_shallow_clone_has_the_rows_of_files_that_another_table_holds(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let original = Made { lake: &lake, place: "t", next: 0 };
    let mut clone = Made { lake: &lake, place: "clone", next: 0 };
    let whole = |name: &str| format!("{}/{name}", lake.url("t"));
    let mut add = original.file("p=x%2Fy/a b.parquet", &[("n", longs(&[1, 2, 3]))]);
    add["add"]["path"] = json!(whole("p=x%252Fy/a%20b.parquet"));
    add["add"]["partitionValues"] = json!({ "p": "x/y" });
    let mut first = metadata(&[field("n", "long"), field("p", "string")], &json!({}));
    first["metaData"]["partitionColumns"] = json!(["p"]);
    clone.commit(&[protocol(&[], &[]), first, add]);
    create(&mut session, "p", &lake.url("clone"), "{\"max_rows_per_chunk\": 2}");
    session.execute("CALL millrace.run('p')");
    let mut own = clone.file("own.parquet", &[("n", longs(&[4]))]);
    own["add"]["partitionValues"] = json!({ "p": null });
    clone.commit(&[own]);
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.lines("SELECT n, p FROM staging.p ORDER BY n"), ["1|x/y", "2|x/y", "3|x/y", "4|"]);
    let from = "SELECT DISTINCT l.path FROM staging.p s, millrace.lineage('p', s._chunk_no, s._row_no) l WHERE s.n < 4";
    assert!(session.value(from).ends_with("t/p=x%2Fy/a b.parquet"), "{}", session.value(from));
    assert_verified(&mut session, "p");
    // What is in another store is refused by name, whatever the server may reach.
    let mut odd = clone.file("odd.parquet", &[("n", longs(&[5]))]);
    odd["add"]["path"] = json!(if storage == Storage::Disk { "abfss://lake@elsewhere.dfs.core.windows.net/a.parquet" } else { "file:///etc/passwd" });
    odd["add"]["partitionValues"] = json!({ "p": null });
    clone.commit(&[odd]);
    let refused = session.raises("CALL millrace.run('p')", "0A000");
    assert!(refused.message().contains("another store") && refused.hint().is_some(), "{refused:?}");
}

fn a_moment_is_the_first_version_that_was_committed_then_or_later(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut table = Made { lake: &lake, place: "t", next: 0 };
    // 2024-01-01 10:00 UTC, and a minute more with each version; what storage says of the files' times does not count.
    let at = |version: i64| 1_704_103_200_000 + version * 60_000;
    let property = json!({ "delta.enableInCommitTimestamps": "true" });
    for version in 0..4 {
        let info = json!({ "commitInfo": { "inCommitTimestamp": at(version), "timestamp": at(version), "operation": "WRITE" } });
        let add = table.file(&format!("{version}.parquet"), &[("n", longs(&[version]))]);
        match version {
            0 => table.commit(&[info, protocol(&[], &["inCommitTimestamp"]), metadata(&[field("n", "long")], &property), add]),
            _ => table.commit(&[info, add]),
        }
    }
    let first_after = |session: &mut crate::sql::Session, moments: &[(&str, &str)]| {
        for (moment, rows) in moments {
            create(session, "p", &lake.url("t"), &format!(r#"{{"start_timestamp": "2024-01-01 {moment}"}}"#));
            session.execute("CALL millrace.run('p')");
            let found = session.value("SELECT COALESCE(string_agg(n::text, ' ' ORDER BY n), '') FROM staging.p");
            assert_eq!(found, *rows, "{moment}");
            session.execute("SELECT millrace.drop_pipeline('p', drop_tables => true)");
        }
    };
    let moments = [
        ("09:00 UTC", "0 1 2 3"),
        ("10:00 UTC", "0 1 2 3"),
        ("10:00:00.001 UTC", "1 2 3"),
        ("12:01+02", "1 2 3"),
        ("10:01:30 UTC", "2 3"),
        ("10:03 UTC", "3"),
        ("10:03:01 UTC", ""),
    ];
    first_after(&mut session, &moments);
    // Without such times those of the log's files count.
    if storage == Storage::Disk {
        let log = lake.disk("t").unwrap().join("_delta_log");
        for version in 0..4 {
            let path = log.join(format!("{version:020}.json"));
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("inCommitTimestamp", "x").replace("enableInCommitTimestamps", "x")).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at(version as i64) as u64);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        first_after(&mut session, &moments);
    }
}

fn small_commits_share_a_chunk_and_one_that_changes_rows_shares_none(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut table = Made { lake: &lake, place: "t", next: 0 };
    table.commit(&[protocol(&[], &[]), metadata(&[field("n", "long")], &json!({}))]);
    let pipelines = [
        ("p", r#"{"on_change": "skip"}"#),
        ("by_rows", r#"{"on_change": "skip", "max_rows_per_chunk": 5}"#),
        ("by_files", r#"{"on_change": "skip", "max_files_per_chunk": 7}"#),
        ("keyed", r#"{"on_change": "apply", "primary_key": "n"}"#),
    ];
    for (name, options) in pipelines {
        create(&mut session, name, &lake.url("t"), options);
    }
    let grow = |table: &mut Made, ids: std::ops::Range<i64>| {
        for n in ids {
            let add = table.file(&format!("{n}.parquet"), &[("n", longs(&[n]))]);
            table.commit(&[add]);
        }
    };
    grow(&mut table, 1..21);
    // version 21 deletes a row, 22 moves rows only, 23 and on add again
    table.commit(&[json!({ "remove": { "path": "7.parquet", "dataChange": true, "deletionTimestamp": 0, "partitionValues": {} } })]);
    let mut moved = table.file("moved.parquet", &[("n", longs(&[1]))]);
    moved["add"]["dataChange"] = json!(false);
    table.commit(&[moved, json!({ "remove": { "path": "1.parquet", "dataChange": false, "deletionTimestamp": 0 } })]);
    grow(&mut table, 23..33);
    for (name, _) in pipelines {
        session.execute(&format!("CALL millrace.run('{name}')"));
        let expected = if name == "keyed" { "29 478" } else { "30 485" };
        assert_eq!(session.value(&format!("SELECT count(*) || ' ' || sum(n) FROM staging.{name}")), expected, "{name}");
        assert_verified(&mut session, name);
    }
    let chunks = |session: &mut crate::sql::Session, name: &str| {
        session.lines(&format!(
            "SELECT row_count, source -> 'delta' ->> 'version', source -> 'delta' ->> 'to_version' FROM millrace.chunks
             WHERE pipeline = '{name}' ORDER BY chunk_no"
        ))
    };
    assert_eq!(chunks(&mut session, "p"), ["20|1|20", "10|22|32"]);
    assert_eq!(chunks(&mut session, "by_rows"), ["5|1|5", "5|6|10", "5|11|15", "5|16|20", "5|22|27", "5|28|32"]);
    assert_eq!(chunks(&mut session, "by_files"), ["7|1|7", "7|8|14", "6|15|20", "6|22|28", "4|29|32"]);
    assert_eq!(chunks(&mut session, "keyed"), ["20|1|20", "1|21|21", "10|22|32"]);
    assert_eq!(
        session.value("SELECT count(*) FROM staging.p s, millrace.lineage('p', s._chunk_no, s._row_no) l WHERE l.path = s.n || '.parquet' AND l.etag = 'v' || s.n"),
        "30",
        "each row leads back to its file and version"
    );
    assert_eq!(session.value("SELECT count(*) FROM millrace.events WHERE kind = 'version_skipped' AND pipeline = 'p'"), "1");
}

fn changes_come_from_the_feed_or_from_the_files_as_the_option_says(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut with_feed = Writer::start(&python, "delta_writer.py", &lake, "t", &["feed"]);
    let mut without = Writer::start(&python, "delta_writer.py", &lake, "u", &[]);
    for writer in [&mut with_feed, &mut without] {
        writer.ask("append 0 9");
    }
    let options = |feed: &str| format!(r#"{{"primary_key": "id", "on_change": "apply", "change_feed": {feed}}}"#);
    for (name, feed) in [("feed", "true"), ("files", "false"), ("either", "\"auto\"")] {
        create(&mut session, name, &lake.url("t"), &options(feed));
    }
    with_feed.ask("update 0 3");
    for name in ["feed", "files", "either"] {
        session.execute(&format!("CALL millrace.run('{name}')"));
        assert_eq!(session.number(&format!("SELECT count(*) FROM staging.{name} WHERE name LIKE 'un%'")), 3, "{name}");
        let from_feed = session.number(&format!(
            "SELECT count(*) FROM millrace.files WHERE pipeline = '{name}' AND path LIKE '\\_change\\_data/%'"
        ));
        assert_eq!(from_feed > 0, name != "files", "{name}");
        assert_verified(&mut session, name);
    }
    let create_on = |place: &str, options: &str| {
        format!("SELECT millrace.create_pipeline('x', '{}', every => NULL, options => '{options}')", lake.url(place))
    };
    session.refused(&create_on("u", &options("true")), "22023");
    session.refused(&create_on("t", r#"{"change_feed": true}"#), "22023");
    create(&mut session, "later", &lake.url("u"), &options("\"auto\""));
    session.execute("CALL millrace.run('later')");
    session.execute(&format!(
        "SELECT millrace.alter_pipeline('later', options => '{}')", options("true")));
    without.ask("append 20 21");
    without.ask("delete 0 2");
    let stopped = session.refused("CALL millrace.run('later')", "23514");
    assert!(stopped.message().contains("version 2") && stopped.message().contains("feed"), "{stopped:?}");
    assert_eq!(session.number("SELECT count(*) FROM staging.later"), 10);
}
}
