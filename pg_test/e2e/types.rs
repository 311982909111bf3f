//! The table of types in `docs/types.md` is what happens: from Parquet files to columns, and back to Delta tables.

use crate::python::{python, script};
use crate::retail;
use crate::server::Preload;
use crate::site::{Place, Site, land, url};
use crate::sql::quote;
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../docs/types.md");

/// Of a Delta table in the lake.
fn ask(python: &str, question: &str, place: &Place) -> Vec<String> {
    let (location, environment) = place.for_python();
    ask_of(python, question, &location, environment)
}

/// Writes a file into the lake; gives what is said of it.
fn write(python: &str, question: &str, place: &Place) -> Vec<String> {
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join("written.parquet");
    let said = ask_of(python, question, file.to_str().unwrap(), vec![]);
    place.take_over(made.path());
    said
}

fn ask_of(python: &str, question: &str, place: &str, environment: Vec<(&'static str, String)>) -> Vec<String> {
    let output = script(python, "parquet_types.py").args([question, place]).envs(environment).output().unwrap();
    assert!(output.status.success(), "{question} of {place}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// The rows of the document's table of this heading: the text of each cell, without its marks.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(&format!("## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

#[test]
fn every_type_of_a_parquet_file_gets_the_column_that_the_document_says_and_keeps_its_values() {
    let python = python();
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("types");
    let (landing, lake) = (server.create_dir("types_landing"), server.create_dir("types_lake"));
    // A line for each column: its name, its type, and its values as Postgres should show them.
    let written = write(&python, "write", &landing);
    let place = quote(&url(&landing));
    let found: BTreeMap<String, String> = session
        .rows(&format!("SELECT column_name, data_type FROM millrace.describe({place})"))
        .into_iter()
        .map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap()))
        .collect();
    let table = documented("From Parquet and Delta to Postgres");
    assert_eq!(table.len(), written.len(), "each documented type is written and each written one is documented");
    for line in &written {
        let parts: Vec<&str> = line.split('\t').collect();
        let row = table.iter().find(|row| row[0] == parts[1]).unwrap_or_else(|| panic!("not documented: {line}"));
        assert_eq!(found[parts[0]], row[2], "{line}");
    }

    for raw in [false, true] {
        let name = format!("types_{raw}");
        let raw = if raw { quote(&url(&lake.join("raw"))) } else { "NULL".into() };
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{name}', source => {place}, raw => {raw}, semi_processed => {}, every => NULL, options => '{{\"settle\": 0}}')",
            quote(&url(&lake.join(&format!("clean_{name}"))))
        ));
        session.execute(&format!("CALL millrace.run('{name}')"));
        assert_eq!(session.lines(&format!("SELECT raw, reasons FROM staging.{name}_rejects")), [""; 0], "{name}");
        for line in &written {
            let parts: Vec<&str> = line.split('\t').collect();
            let shown = session.value(&format!(
                "SELECT string_agg(coalesce({}::text, 'NULL'), '~' ORDER BY _row_no) FROM staging.{name}",
                parts[0]
            ));
            assert_eq!(shown, parts[2..].join("~").replace("\\n", "\n"), "{line}");
        }
        retail::assert_verified(&mut session, &name);
    }
    // What another reader finds in the clean layer has the types that the document says.
    let clean: BTreeMap<String, String> = ask(&python, "schema", &lake.join("clean_types_true"))
        .iter()
        .map(|line| line.split_once('\t').map(|(name, data_type)| (name.to_string(), data_type.to_string())).unwrap())
        .collect();
    let back = documented("From Postgres to Delta");
    for (name, postgres) in &found {
        let kind = back.iter().find(|row| &row[0] == postgres || (row[0] == "anything else")).unwrap();
        assert_eq!(clean[name], kind[1], "{name} {postgres}");
    }
    let lists: Vec<String> = ask(&python, "values", &lake.join("clean_types_true"))
        .iter()
        .filter_map(|line| line.split_once('\t').map(|(_, values)| values.to_string()))
        .collect();
    assert_eq!(
        lists,
        ["[[], [1, None], None]", "[['a,b', 'c\"d', ''], ['NULL', None], None]", "[[1.5, -0.0], [nan, 1.0], None]"]
    );

    // What no list can hold is refused by name, and nothing is written in its place.
    let place = server.create_dir("types_matrix");
    session.execute(&format!(
        "SELECT millrace.create_pipeline('matrix', '{}/*.csv', columns => 'm int[]', semi_processed => '{}', every => NULL, options => '{{\"settle\": 0}}')",
        url(&place),
        url(&lake.join("matrix"))
    ));
    land(&place, "1.csv", b"m\n\"{{1,2},{3,4}}\"\n");
    session.execute("CALL millrace.run('matrix')");
    let error = session.value("SELECT error FROM millrace.publications WHERE pipeline = 'matrix'");
    assert!(error.contains("\"m\"") && error.contains("several dimensions"), "{error}");
}

#[test]
fn a_uuid_is_one_also_where_the_file_says_so_in_the_words_of_parquet_alone() {
    let python = python();
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("types_uuid");
    let landing = server.create_dir("types_uuid_landing");
    write(&python, "plain", &landing);
    let place = quote(&url(&landing));
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => {place}, every => NULL, options => '{{\"settle\": 0}}')"
    ));
    session.execute("CALL millrace.run('p')");
    assert_eq!(
        session.lines("SELECT pg_typeof(id), pg_typeof(ids), id, ids, n FROM staging.p ORDER BY n"),
        [
            "uuid|uuid[]|00000000-0000-0000-0000-000000000001|{00000000-0000-0000-0000-000000000001}|1",
            "uuid|uuid[]||{NULL}|2"
        ]
    );
}

/// What a column may be declared as. Those that a cast cuts off and a load refuses are not among them.
const DECLARED: &[&str] = &[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(12,3)",
    "text",
    "varchar",
    "date",
    "timestamp",
    "timestamptz",
    "timestamptz(0)",
    "time",
    "interval",
];

/// The column of the script's that holds floats of four bytes.
const FLOAT: &str = "c10";

#[test]
fn a_value_goes_into_a_column_of_any_type_as_postgres_reads_its_text() {
    let python = python();
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("types_matrix");
    let landing = server.create_dir("types_matrix_landing");
    let written = write(&python, "matrix", &landing);
    session.execute(
        "CREATE FUNCTION read_as(value text, type text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE result text;
         BEGIN
             EXECUTE format('SELECT (%L::%s)::text', value, type) INTO result;
             RETURN result;
         EXCEPTION WHEN data_exception THEN RETURN 'refused';
         END $$",
    );
    let (mut columns, mut expected) = (vec![], vec![]);
    for line in &written {
        let parts: Vec<&str> = line.split('\t').collect();
        for (i, declared) in DECLARED.iter().enumerate() {
            // A float is the double of the same value, not of the same digits.
            let cast = if (parts[0], *declared) == (FLOAT, "double precision") { "real::float8" } else { declared };
            let read = |value: &&str| match *value {
                "NULL" => "NULL".to_owned(),
                value => session.value(&format!("SELECT read_as({}, '{cast}')", quote(&value.replace("\\n", "\n")))),
            };
            let read: Vec<String> = parts[1..].iter().map(read).collect();
            if !read.contains(&"refused".to_owned()) {
                columns.push(format!("{}_{i} {declared}", parts[0]));
                expected.push((format!("{}_{i}", parts[0]), read.join("~")));
            }
        }
    }
    assert!(expected.len() > 120, "{} columns", expected.len());
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => {}, columns => '{}', every => NULL, options => '{{\"settle\": 0}}')",
        quote(&url(&landing)),
        columns.join(", ")
    ));
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.lines("SELECT reasons FROM staging.p_rejects"), [""; 0]);
    for (column, values) in expected {
        let found = session.value(&format!(
            "SELECT string_agg(coalesce({column}::text, 'NULL'), '~' ORDER BY _row_no) FROM staging.p"
        ));
        assert_eq!(
            found,
            values,
            "{column} {}",
            columns.iter().find(|c| c.starts_with(&format!("{column} "))).unwrap()
        );
    }
}
