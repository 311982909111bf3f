//! A producer that adds, drops, reorders, renames and retypes columns file by file, in every format: no value is lost without a word,
//! whatever `on_new_column` says.

use crate::python::{python, script};
use crate::retail;
use crate::server::{Preload, note};
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::Session;
use std::process::Command;

struct Case {
    _server: Site,
    session: Session,
    place: Place,
    format: &'static str,
    python: Option<String>,
}

/// The steps of `producer.py`, as text: columns, and rows.
fn text_step(step: i64, json: bool) -> String {
    let columns: &[&str] = match step {
        2 => &["note", "n", "id"],
        3 => &["id", "n", "note", "colour"],
        4 => &["id", "n", "colour"],
        5 => &["id", "number", "note"],
        _ => &["id", "n", "note"],
    };
    let mut out = if json { String::new() } else { columns.join(",") + "\n" };
    for id in (0..3).map(|i| step * 10 + i) {
        let values = columns.iter().map(|column| match (*column, step) {
            ("id", _) => id.to_string(),
            ("n", 6) => ((1i64 << 40) + id).to_string(),
            ("n", 7) => ["7", "seven", ""][(id % 10) as usize].to_string(),
            ("n" | "number", _) => (id * 2).to_string(),
            (name, _) => format!("{name} {id}"),
        });
        let values: Vec<String> = values.collect();
        if json {
            let members = columns.iter().zip(&values).map(|(c, v)| match v.parse::<i64>() {
                Ok(number) => format!("\"{c}\": {number}"),
                Err(_) if v.is_empty() => format!("\"{c}\": null"),
                Err(_) => format!("\"{c}\": \"{v}\""),
            });
            out += &format!("{{{}}}\n", members.collect::<Vec<_>>().join(", "));
        } else {
            out += &(values.join(",") + "\n");
        }
    }
    out
}

impl Case {
    fn step(&mut self, step: i64) {
        match self.format {
            "csv" | "json" => {
                let text = text_step(step, self.format == "json");
                land(&self.place, &format!("{step}.{}", self.format), text.as_bytes());
            }
            format => produce(self.python.as_deref().unwrap_or_default(), format, &self.place, step),
        }
    }

    fn run(&mut self) -> Result<(), postgres::Error> {
        self.session.try_execute("CALL millrace.run('p')")
    }

    fn accounted(&mut self, steps: i64) {
        let (rows, rejects) = ("(SELECT count(*) FROM staging.p)", "(SELECT count(*) FROM staging.p_rejects)");
        assert_eq!(self.session.number(&format!("SELECT {rows} + {rejects}")), steps * 3, "{}", self.format);
        retail::assert_verified(&mut self.session, "p");
    }
}

fn produce(python: &str, format: &str, place: &Place, step: i64) {
    // Tables are written where they are, files of other kinds are brought there whole.
    let aside = tempfile::tempdir().unwrap();
    let ((location, environment), made) = match (format, place.disk()) {
        ("delta", None) => (place.for_python(), None),
        ("delta", Some(disk)) => ((disk.display().to_string(), vec![]), None),
        _ => ((aside.path().display().to_string(), vec![]), Some(aside.path())),
    };
    let status =
        script(python, "producer.py").arg(format).arg(location).arg(step.to_string()).envs(environment).status();
    assert!(status.is_ok_and(|status| status.success()), "{format}, step {step}");
    if let Some(made) = made {
        place.take_over(made);
    }
    if let Some(disk) = place.disk() {
        let _ = Command::new("chmod").args(["-R", "a+rX"]).arg(disk).status();
    }
}

fn case(name: &str, format: &'static str, mode: &str) -> Option<Case> {
    let typed = matches!(format, "parquet" | "delta");
    let python = typed.then(python);
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(&format!("evolving_{name}_{format}"));
    let place = server.create_dir(&format!("evolving_{name}_{format}"));
    if typed {
        produce(python.as_deref()?, format, &place, 1);
    }
    let source = if format == "delta" { url(&place) } else { format!("{}/*.{format}", url(&place)) };
    let options = format!("{{\"on_new_column\": \"{mode}\"}}");
    let options = if format == "delta" { options } else { at_once(&options) };
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{source}', format => '{format}', columns => 'id int, n int, note text',
            staging => 'staging.p', every => NULL, options => '{options}')"
    ));
    let mut case = Case { _server: server, session, place, format, python };
    if !typed {
        case.step(1);
    }
    Some(case)
}

/// Steps that a format can take: nobody's library appends other types to a Delta table.
fn last_step(format: &str) -> i64 {
    if format == "delta" { 5 } else { 7 }
}

fn each_format(name: &str, mode: &str, check: fn(&mut Case)) {
    for format in ["csv", "json", "parquet", "delta"] {
        let Some(mut case) = case(name, format, mode) else {
            note("evolving: Parquet and Delta skipped, no Python with deltalake and pyarrow");
            return;
        };
        check(&mut case);
    }
}

/// Takes all steps; a typed file whose column can't be what it was stops the pipeline, and is let through.
fn all_steps(case: &mut Case) {
    for step in 1..=last_step(case.format) {
        if step > 1 {
            case.step(step);
        }
        if let Err(e) = case.run() {
            let error = e.as_db_error().unwrap_or_else(|| panic!("{e}"));
            assert!(matches!(case.format, "parquet") && step >= 6, "{}, step {step}: {}", case.format, error.message());
            assert!(error.message().contains("column \"n\""), "{}", error.message());
            let detail = error.detail().unwrap_or_default();
            assert!(detail.contains("n text") && detail.contains("n bigint"), "both schemas are shown: {detail}");
            case.session.execute("SELECT millrace.accept_chunk('p')");
            case.run().unwrap_or_else(|e| panic!("{e}"));
        }
        case.accounted(step);
    }
}

#[test]
fn ignored_columns_leave_all_others_as_they_are() {
    each_format("ignore", "ignore", |case| {
        all_steps(case);
        assert_eq!(
            case.session.line("SELECT count(*), count(n), count(note) FROM staging.p WHERE id < 60"),
            "15|12|12"
        );
    });
}

#[test]
fn added_columns_hold_every_value_and_numbers_that_grow_widen_theirs() {
    each_format("add", "add", |case| {
        all_steps(case);
        assert_eq!(
            case.session.line(
                "SELECT count(*), count(n), count(note), count(colour), count(number) FROM staging.p WHERE id < 60"
            ),
            "15|12|12|6|3",
            "{}",
            case.format
        );
        if case.format != "delta" {
            assert_eq!(
                case.session.line("SELECT min(n), max(n) FROM staging.p WHERE id BETWEEN 60 AND 69"),
                "1099511627836|1099511627838"
            );
            assert_eq!(case.session.value("SELECT pg_typeof(n) FROM staging.p LIMIT 1"), "bigint");
            // What is no number is kept as it landed.
            assert_eq!(case.session.line("SELECT count(*), min(row_no) FROM staging.p_rejects"), "1|2");
            assert_eq!(case.session.number("SELECT count(*) FROM millrace.events WHERE kind = 'column_widened'"), 1);
        }
    });
}

#[test]
fn rescued_values_stand_beside_the_row() {
    each_format("rescue", "rescue", |case| {
        all_steps(case);
        assert_eq!(case.session.number("SELECT count(*) FROM staging.p_rejects"), 0, "{}", case.format);
        let rescued = "SELECT count(_rescued ->> 'colour'), count(_rescued ->> 'number') FROM staging.p";
        assert_eq!(case.session.line(rescued), "6|3");
        if case.format != "delta" {
            assert_eq!(
                case.session.line("SELECT count(n), bool_and(n IS NOT NULL OR id % 10 = 2 OR _rescued ? 'n') FROM staging.p WHERE id >= 60"),
                if case.format == "parquet" { "4|t" } else { "1|t" },
                "a wider type widens the column where files say what it is; else what does not fit is kept beside it"
            );
        }
    });
}

#[test]
fn a_pipeline_that_wants_no_other_columns_stops_at_the_first_with_both_schemas() {
    each_format("fail", "fail", |case| {
        case.run().unwrap_or_else(|e| panic!("{e}"));
        case.step(2);
        case.run().unwrap_or_else(|e| panic!("{e}"));
        case.step(3);
        let error = case.run().err();
        let error = error.as_ref().and_then(|e| e.as_db_error()).unwrap_or_else(|| panic!("it should have stopped"));
        let detail = error.detail().unwrap_or_default();
        assert!(error.message().contains("colour") && detail.contains("n integer"), "{}: {detail}", error.message());
        case.accounted(2);
        case.session.execute(
            r#"SELECT millrace.alter_pipeline('p', options => '{"on_new_column": "ignore"}'); SELECT millrace.resume('p')"#,
        );
        case.run().unwrap_or_else(|e| panic!("{e}"));
        case.accounted(3);
    });
}

#[test]
fn a_column_that_an_aggregate_is_computed_from_is_not_widened_behind_its_back() {
    let Some(mut case) = case("aggregate", "csv", "add") else { return };
    case.session.execute(
        "SELECT millrace.create_aggregate('p', 'sums', 'SELECT note, sum(n) AS n FROM staging.p GROUP BY note')",
    );
    case.run().unwrap_or_else(|e| panic!("{e}"));
    case.step(6);
    let error = case.session.refused("CALL millrace.run('p')", "23514");
    assert!(error.message().contains("aggregate \"sums\""), "{}", error.message());
    case.session.execute("SELECT millrace.drop_aggregate('p', 'sums'); SELECT millrace.resume('p')");
    case.run().unwrap_or_else(|e| panic!("{e}"));
    case.session.execute(
        "SELECT millrace.create_aggregate('p', 'sums', 'SELECT note, sum(n) AS n FROM staging.p GROUP BY note')",
    );
    assert_eq!(case.session.value("SELECT max(n) FROM staging.sums"), "1099511627838");
    case.accounted(2);
}
