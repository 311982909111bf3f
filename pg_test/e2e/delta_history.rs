//! Delta tables with long histories, made at random by the Python package: what it reads after each step is what is in staging, and
//! what aggregates show is what their queries over staging do.
//!
//! For long runs by hand, `DELTA_HISTORIES` says how many histories each storage gets, `DELTA_SEED` the first of their seeds and
//! `DELTA_STEPS` how long they are.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::delta::{Writer, assert_verified, create};
use crate::lake::{Lake, Storage, on_each_storage};
use crate::python::python;
use crate::server::{Preload, Server};
use crate::sql::{Session, quote};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Rows as JSON without NULLs, with instants as microseconds and decimals with their digits, as the script prints them.
fn staged(session: &mut Session, pipeline: &str) -> Vec<String> {
    let rows = session.lines(&format!(
        "SELECT (SELECT jsonb_object_agg(key, value) FROM jsonb_each(
                    to_jsonb(s) - '_chunk_no' - '_row_no' || jsonb_build_object('cost', cost::text, 'bytes', bytes::text,
                        'moment', (extract(epoch FROM moment) * 1000000)::bigint, 'wall', (extract(epoch FROM wall) * 1000000)::bigint))
                 WHERE value <> 'null')
         FROM staging.{pipeline} s"
    ));
    canonical(rows.iter().map(|row| serde_json::from_str(row).unwrap()))
}

fn canonical(rows: impl Iterator<Item = Value>) -> Vec<String> {
    let ordered = |row: Value| serde_json::from_value::<BTreeMap<String, Value>>(row).unwrap();
    let mut rows: Vec<String> = rows.map(|row| serde_json::to_string(&ordered(row)).unwrap()).collect();
    rows.sort_unstable();
    rows
}

fn assert_same(found: Vec<String>, expected: Vec<String>, when: &str) {
    let lacking: Vec<&String> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
    let more: Vec<&String> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
    assert!(
        found == expected,
        "{when}: {} rows, {} expected; lacking {lacking:#?}, too many {more:#?}",
        found.len(),
        expected.len()
    );
}

/// What each version added that did nothing else, from `first` on.
fn added(state: &Value, first: usize) -> Vec<String> {
    let versions = state["added"].as_array().unwrap().iter().skip(first);
    canonical(versions.filter_map(Value::as_array).flatten().cloned())
}

fn rows(state: &Value) -> Vec<String> {
    canonical(state["rows"].as_array().unwrap().iter().cloned())
}

/// Kept over rows that the table's versions insert, update and delete; `{t}` is the staging table.
const QUERIES: [&str; 6] = [
    "SELECT part, count(*) AS n, sum(cost) AS cost, avg(cost) AS mean, count(DISTINCT name) AS names FROM {t} GROUP BY part",
    "SELECT day, flag, min(moment) AS first, max(wall) AS last, bool_or(amount > 0) AS some FROM {t} GROUP BY day, flag",
    "SELECT flag, sum(amount) AS amount, stddev(cost) AS spread, count(tags) AS tagged FROM {t} GROUP BY flag",
    "SELECT cost, string_agg(name, ',' ORDER BY id) AS names FROM {t} WHERE amount > -500 GROUP BY cost",
    "SELECT count(*) AS n, max(id) AS last, count(DISTINCT part) FILTER (WHERE flag) AS parts FROM {t}",
    "SELECT id % 7 AS bucket, count(DISTINCT cost) AS costs, variance(id) AS v, min(name) AS name FROM {t} GROUP BY id % 7",
];

/// The views with their queries.
fn keep_aggregates(session: &mut Session, pipeline: &str) -> Vec<(String, String)> {
    let mut views = Vec::new();
    for (i, query) in QUERIES.iter().enumerate() {
        let query = query.replace("{t}", &format!("staging.{pipeline}"));
        session
            .execute(&format!("SELECT millrace.create_aggregate('{pipeline}', '{pipeline}_{i}', {})", quote(&query)));
        views.push((format!("staging.{pipeline}_{i}"), query));
    }
    views
}

fn follow(session: &mut Session, lake: &Lake, python: &str, seed: u64, steps: u64) {
    let (place, arguments) = (format!("t{seed}"), [seed.to_string(), "feed".into()]);
    let arguments: Vec<&str> = arguments.iter().take(1 + (seed % 2) as usize).map(String::as_str).collect();
    let mut writer = Writer::start(python, "delta_history.py", lake, &place, &arguments);
    let mut act = |what: &str| -> Value { serde_json::from_str(&writer.ask(what)).unwrap() };
    let source = lake.url(&place);
    let mut state = act("0");
    let apply = r#"{"primary_key": "id", "on_change": "apply", "on_new_column": "add", "max_rows_per_chunk": "#;
    create(session, "small", &source, &format!("{apply}7}}"));
    create(session, "large", &source, &format!("{apply}100000}}"));
    create(session, "skip", &source, r#"{"on_change": "skip", "on_new_column": "add"}"#);
    let views = keep_aggregates(session, "small");
    let (mut story, mut kept_from, mut is_late) = (vec![], 0, false);
    for step in 0..steps {
        // One version after the other; then several between two looks; then the files of old ones go.
        let ask = match step % 8 {
            7 => "vacuum",
            6 => "4",
            _ => "1",
        };
        state = act(ask);
        let version = state["version"].as_u64().unwrap();
        story.push(format!("{version}: {}", state["did"]));
        let when = format!("seed {seed} {} {story:#?}", state["layout"]);
        for pipeline in ["small", "large"] {
            session.execute(&format!("CALL millrace.run('{pipeline}')"));
            assert_same(staged(session, pipeline), rows(&state), &format!("{pipeline} {when}"));
        }
        for (view, query) in &views {
            let differing = session.lines(&format!(
                "(SELECT 'kept', t::text FROM (TABLE {view} EXCEPT ALL {query}) t)
                 UNION ALL (SELECT 'recomputed', t::text FROM ({query} EXCEPT ALL TABLE {view}) t)"
            ));
            assert!(differing.is_empty(), "{view} differs from its query, {when}: {differing:#?}");
        }
        session.execute("CALL millrace.run('skip')");
        assert_same(staged(session, "skip"), added(&state, 0), &format!("skip {when}"));
        if ask == "vacuum" {
            kept_from = version as usize + 1;
        }
        if step == steps / 2 {
            create(session, "late", &source, &format!("{apply}50}}"));
            is_late = true;
        }
        if is_late {
            session.execute("CALL millrace.run('late')");
            assert_same(staged(session, "late"), rows(&state), &format!("late {when}"));
        }
    }
    let options = format!(r#"{{"start_version": {kept_from}, "on_change": "skip", "on_new_column": "add"}}"#);
    create(session, "later", &source, &options);
    session.execute("CALL millrace.run('later')");
    let when = format!("seed {seed} from {kept_from} {story:#?}");
    assert_same(staged(session, "later"), added(&state, kept_from), &when);
    for pipeline in ["small", "large", "skip", "late", "later"] {
        assert_verified(session, pipeline);
        session.execute(&format!("SELECT millrace.drop_pipeline('{pipeline}', drop_tables => true)"));
    }
}

on_each_storage! {
fn staging_is_what_the_package_reads_after_each_step_of_a_random_history(storage, cell) {
    let python = python();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database(cell);
    session.execute("CREATE SCHEMA staging");
    let lake = Lake::new(storage, &server, &mut session, cell);
    let (first, steps) = (setting("DELTA_SEED", 1), setting("DELTA_STEPS", 16));
    let histories = if storage == Storage::Disk { 2 } else { 1 };
    for seed in first..first + setting("DELTA_HISTORIES", histories) {
        follow(&mut session, &lake, &python, seed, steps);
    }
}
}
