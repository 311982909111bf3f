//! Delta tables of others as sources: what their readers find is what is in staging.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::lake::{Lake, on_each_storage};
use crate::python::python;
use crate::server::{Preload, Server, note};
use crate::sql::Session;

/// Somebody who writes a table with the Python package, and reads it.
pub struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Runs one of the writing scripts on the table at a place.
    pub fn start(python: &str, script: &str, lake: &Lake, place: &str, arguments: &[&str]) -> Writer {
        let (url, environment) = lake.for_python(place);
        let mut command = crate::python::script(python, script);
        command.arg(&url).args(arguments).envs(environment);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Writer { child, input, output }
    }

    fn new(python: &str, lake: &Lake, place: &str, feed: bool) -> Writer {
        Writer::start(python, "delta_writer.py", lake, place, if feed { &["feed"] } else { &[] })
    }

    /// Says something; gives the answer.
    pub fn ask(&mut self, question: &str) -> String {
        writeln!(self.input, "{question}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the writer ended at {question}");
        line.trim_end().to_owned()
    }

    /// Does something to the table; gives its rows.
    fn act(&mut self, action: &str) -> Vec<String> {
        self.ask(action).split(';').filter(|row| !row.is_empty()).map(String::from).collect()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MILLRACE_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("data/delta").join(name);
    path.canonicalize().ok().filter(|path| path.is_dir())
}

pub fn create(session: &mut Session, name: &str, source: &str, options: &str) {
    session.execute(&format!(
        "SELECT millrace.create_pipeline('{name}', '{source}', every => NULL, options => '{options}')"
    ));
}

/// Puts a file, or everything below a directory, into a place.
fn copy(lake: &Lake, from: &Path, place: &str, name: &str) {
    if from.is_file() {
        return lake.put(place, name, &std::fs::read(from).unwrap());
    }
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let inner = entry.file_name().into_string().unwrap();
        copy(lake, &entry.path(), place, &if name.is_empty() { inner } else { format!("{name}/{inner}") });
    }
}

fn staged(session: &mut Session, table: &str) -> Vec<String> {
    session.lines(&format!("SELECT id || '|' || name || '|' || amount::numeric(20,2) FROM staging.{table} ORDER BY id"))
}

/// The rows as Postgres shows them: amounts with two digits.
fn shown(rows: &[String]) -> Vec<String> {
    let two_digits = |row: &String| {
        let (rest, amount) = row.rsplit_once('|').unwrap();
        format!("{}|{:.2}", rest, amount.parse::<f64>().unwrap())
    };
    rows.iter().map(two_digits).collect()
}

pub fn assert_verified(session: &mut Session, pipeline: &str) {
    let wrong = session.lines(&format!(
        "SELECT layer, check_name, expected, found, detail FROM millrace.verify('{pipeline}') WHERE NOT ok"
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
}

const APPLY: &str = r#"{"primary_key": "id", "on_change": "apply"}"#;

on_each_storage! {
fn every_table_of_the_delta_project_is_loaded_with_its_types(storage, cell) {
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    for (name, rows, probe) in [
        ("basic-with-inserts-deletes-checkpoint", "41", "SELECT 1"),
        ("basic_partitioned", "6", "SELECT 1"),
        ("data-reader-primitives", "11", "SELECT 1"),
        ("data-reader-timestamp_ntz", "9", "SELECT 1"),
        ("dv-partitioned-with-checkpoint", "35", "SELECT 1"),
        ("parquet-decimal-type", "99998", "SELECT 1 FROM staging.t5 HAVING max(col3) = 999999999399991.99997"),
        ("snapshot-data3", "30", "SELECT 1"),
        ("snapshot-repartitioned", "20", "SELECT 1"),
        ("table-with-columnmapping-mode-name", "6", "SELECT 1"),
        ("v2-checkpoint-parquet", "10", "SELECT 1"),
    ] {
        let Some(path) = shared(name) else { return note("delta: skipped, the shared data is not here") };
        copy(&lake, &path.join("delta"), name, "");
        let source = lake.url(name);
        session.execute(&format!("SELECT millrace.create_pipeline('t5', '{source}', every => NULL)"));
        session.execute("CALL millrace.run('t5')");
        assert_eq!(session.value("SELECT count(*) FROM staging.t5"), rows, "{name}");
        assert_eq!(session.value("SELECT count(*) FROM staging.t5_rejects"), "0", "{name}");
        assert_eq!(session.value(probe), "1", "{name}");
        assert_verified(&mut session, "t5");
        session.execute("SELECT millrace.drop_pipeline('t5', drop_tables => true)");
    }
}

fn a_table_that_others_append_to_is_followed_and_what_they_change_stops_it(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut writer = Writer::new(&python, &lake, "t", false);
    writer.act("append 0 10");
    create(&mut session, "p", &lake.url("t"), "{}");
    assert_eq!(session.value("SELECT format FROM millrace.pipelines"), "delta");
    session.execute("CALL millrace.run('p')");
    // a commit larger than a chunk, one that only moves rows, a new column
    session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"max_rows_per_chunk": 100}')"#);
    writer.act("append 10 1050");
    writer.act("optimize");
    writer.act("checkpoint");
    let all = writer.act("widen 1050 1060");
    session.execute("CALL millrace.run('p')");
    assert_eq!(staged(&mut session, "p"), shown(&all));
    assert_eq!(session.value("SELECT max(row_count) FROM millrace.chunks"), "100");
    assert_verified(&mut session, "p");
    assert_eq!(
        session.value("SELECT count(*) FROM staging.p s, millrace.lineage('p', s._chunk_no, s._row_no) l WHERE l.path LIKE 'part=' || s.part || '/%'"),
        "1060",
        "each row leads back to a file of its partition"
    );

    writer.act("delete 0 5");
    let refused = session.raises("CALL millrace.run('p')", "23514");
    assert!(refused.message().contains("version 4"), "{refused}");
    assert_eq!(session.value("SELECT state FROM millrace.pipelines"), "stopped");
    session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"on_change": "skip"}')"#);
    session.execute("SELECT millrace.resume('p')");
    let behind = writer.act("widen 1060 1070");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), behind.len() as i64 + 5);
    assert_eq!(session.value("SELECT count(*) FROM millrace.events WHERE kind = 'version_skipped'"), "1");
    assert_verified(&mut session, "p");
}

fn what_is_gone_before_it_was_read_stops_the_pipeline_and_resnapshot_is_the_way_on(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut writer = Writer::new(&python, &lake, "t", false);
    writer.act("append 0 10");
    create(&mut session, "p", &lake.url("t"), r#"{"on_change": "skip"}"#);
    session.execute("CALL millrace.run('p')");
    writer.act("append 10 20");
    writer.act("overwrite 100 103");
    writer.act("vacuum");
    let gap = session.raises("CALL millrace.run('p')", "58P01");
    assert!(gap.message().contains("gone"), "{gap}");
    assert!(gap.hint().unwrap().contains("CALL millrace.resnapshot('p')"), "{gap:?}");
    assert_eq!(session.value("SELECT state FROM millrace.pipelines"), "stopped");
    session.execute("SELECT millrace.create_consumer('p', 'once', start_at => 'latest', backfills => false)");
    session.execute("CALL millrace.resnapshot('p')");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.value("SELECT count(*) || ' ' || sum(id) FROM staging.p"), "13 348");
    let generations = "SELECT string_agg(generation::text, ' ' ORDER BY chunk_no) FROM millrace.chunks";
    assert_eq!(session.value(generations), "0 1", "what is read again is marked");
    let handed_out = "SELECT count(*) FROM millrace.next_chunk('p', 'once')";
    assert_eq!(session.number(handed_out), 0, "and is not for those who want each row once");
    assert_eq!(
        session.value("SELECT source -> 'delta' ->> 'generation' FROM millrace.chunks ORDER BY chunk_no DESC LIMIT 1"),
        "1"
    );
    let now = writer.act("append 200 201");
    session.execute("CALL millrace.run('p')");
    assert_eq!((now.len(), session.number("SELECT count(*) FROM staging.p")), (4, 14));
    assert_eq!(session.value(generations), "0 1 0");
    assert_eq!(session.number(handed_out), 1, "what comes after it is");
    assert_verified(&mut session, "p");
    session.execute("CALL millrace.resnapshot('p', load_existing => false)");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 14);
}

fn reading_begins_where_the_options_say(storage, cell) {
    let Some(path) = shared("snapshot-data3") else { return note("delta: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    copy(&lake, &path.join("delta"), "t", "");
    for (name, options, rows) in [
        ("whole", "{}", 30),
        ("none", r#"{"include_existing": false}"#, 0),
        ("from_next", r#"{"start_version": 4}"#, 0),
        ("long_ago", r#"{"start_timestamp": "1999-01-01", "on_change": "skip"}"#, 40),
        ("tomorrow", r#"{"start_timestamp": "tomorrow"}"#, 0),
    ] {
        create(&mut session, name, &lake.url("t"), options);
        session.execute(&format!("CALL millrace.run('{name}')"));
        let found = session.number(&format!("SELECT count(*) FROM staging.{name}"));
        if name != "long_ago" {
            assert_eq!(found, rows, "{name}");
        }
        assert_verified(&mut session, name);
    }
    let create = |options: &str| {
        format!("SELECT millrace.create_pipeline('x', '{}', every => NULL, options => '{options}')", lake.url("t"))
    };
    session.refused_with_hint(&create(r#"{"start_version": 5}"#), "22023");
    session.refused_with_hint(&create(r#"{"start_version": 1, "start_timestamp": "today"}"#), "22023");
    session.refused_with_hint(&create(r#"{"delimiter": ";"}"#), "22023");
    session.refused_with_hint(&create(r#"{"on_change": "apply"}"#), "22023");
    lake.create(&server, "landing");
    session.refused_with_hint(
        &format!("SELECT millrace.create_pipeline('x', '{}', format => 'delta')", lake.url("landing")),
        "58P01",
    );
}

fn a_feed_and_deletion_vectors_are_followed_version_by_version(storage, cell) {
    let Some(path) = shared("cdf-table-with-dv") else { return note("delta: skipped, the shared data is not here") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let files = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_file());
    files.for_each(|file| copy(&lake, &file, "t", file.file_name().unwrap().to_str().unwrap()));
    let mut counts = Vec::new();
    for version in 0..7 {
        let entry = format!("_delta_log/{version:020}.json");
        copy(&lake, &path.join(&entry), "t", &entry);
        if version == 0 {
            create(&mut session, "p", &lake.url("t"), r#"{"primary_key": ["value"], "on_change": "apply"}"#);
        }
        session.execute("CALL millrace.run('p')");
        counts.push(session.number("SELECT count(*) FROM staging.p"));
    }
    assert_eq!(counts, [10, 8, 10, 6, 8, 9, 10]);
    assert_eq!(
        session.lines("SELECT _op, count(*) FROM staging.p_changes GROUP BY 1 ORDER BY 1"),
        ["delete|7", "insert|17"],
        "each version came as what it did"
    );
    assert_verified(&mut session, "p");
}

fn staging_equals_a_table_that_others_change_after_each_of_their_commits(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    for (name, feed) in [("with_feed", true), ("without", false)] {
        let mut writer = Writer::new(&python, &lake, name, feed);
        writer.act("append 0 20");
        create(&mut session, name, &lake.url(name), APPLY);
        let (mut seen, mut last) = (String::from("0"), vec![]);
        for action in [
            "state",
            "append 20 30",
            "delete 3 6",
            "update 10 12",
            "merge 15 35",
            "optimize",
            "delete 0 100",
            "append 0 5",
            "overwrite 2 9",
            "checkpoint",
            "widen 100 103",
        ] {
            let rows = shown(&writer.act(action));
            session.execute(&format!("CALL millrace.run('{name}')"));
            assert_eq!(staged(&mut session, name), rows, "{name} after {action}");
            let changes = session.value(&format!("SELECT count(*) FROM staging.{name}_changes"));
            if rows == last {
                assert_eq!(changes, seen, "{name}: {action} changes nothing");
            }
            (seen, last) = (changes, rows);
        }
        assert_eq!(
            session.lines(&format!(
                "SELECT _op, count(*) FROM staging.{name}_changes JOIN (SELECT min(_chunk_no) AS c FROM staging.{name}_changes WHERE name = 'un10') u ON _chunk_no = c GROUP BY 1"
            )),
            ["update|2"],
            "{name}: of a file that is written anew only the rows that changed are changes"
        );
        // small chunks: what goes comes first, and what counts is the end of the version
        session
            .execute(&format!(r#"SELECT millrace.alter_pipeline('{name}', options => '{{"max_rows_per_chunk": 3}}')"#));
        for action in ["update 0 200", "delete 3 102"] {
            let rows = shown(&writer.act(action));
            session.execute(&format!("CALL millrace.run('{name}')"));
            assert_eq!(staged(&mut session, name), rows, "{name} after {action} in small chunks");
        }
        assert_verified(&mut session, name);
    }
}

fn a_keyed_pipeline_that_begins_anew_loses_what_is_no_longer_there(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    let lake = Lake::new(storage, &server, &mut session, cell);
    let mut writer = Writer::new(&python, &lake, "t", false);
    writer.act("append 0 20");
    create(&mut session, "p", &lake.url("t"), APPLY);
    session.execute("CALL millrace.run('p')");
    writer.act("append 20 30");
    writer.act("overwrite 5 25");
    let rows = shown(&writer.act("vacuum"));
    session.raises("CALL millrace.run('p')", "58P01");
    session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"max_rows_per_chunk": 7}')"#);
    session.execute("CALL millrace.resnapshot('p')");
    session.execute("CALL millrace.run('p')");
    assert_eq!(staged(&mut session, "p"), rows);
    let rows = shown(&writer.act("delete 7 9"));
    session.execute("CALL millrace.run('p')");
    assert_eq!(staged(&mut session, "p"), rows);
    assert_verified(&mut session, "p");
}
}
