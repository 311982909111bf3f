//! Somebody else's Delta reader (the Python package) finds in our layers what we say is in them.

use crate::server::{Preload, Server, note, url};
use crate::{retail, sql::Session};
use std::path::Path;
use std::process::Command;

/// A Python that can read Delta tables, if there is one.
pub fn python() -> Option<String> {
    let python = std::env::var("MILLRACE_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_deltalake = Command::new(&python).args(["-c", "import deltalake, pyarrow"]).output().ok()?.status.success();
    has_deltalake.then_some(python)
}

fn ask(python: &str, question: &str, table: &Path) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pg_test/e2e/outsider.py");
    let output = Command::new(python).args([script, question, &url(table)]).output().unwrap();
    assert!(output.status.success(), "{question} of {table:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

#[test]
fn another_delta_reader_finds_the_same_totals_and_the_provenance() {
    let Some(files) = retail::files() else { return note("outsider: skipped, the shared data is not here") };
    let Some(python) = python() else { return note("outsider: skipped, no Python with deltalake and pyarrow") };
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("outsider");
    let places = retail::Places::new(&server, "outsider");
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "NULL");
    retail::create_aggregate(&mut session, &places);
    for batch in files.chunks(30) {
        batch.iter().for_each(|file| retail::land_file(&places.landing, file));
        session.execute("CALL millrace.run('invoices')");
    }

    assert_eq!(ask(&python, "rows", &places.raw), [retail::TOTALS]);
    assert_eq!(ask(&python, "rows", &places.semi_processed), [retail::TOTALS]);
    let groups = ask(&python, "groups", &places.processed);
    assert_eq!(groups[0], "209029|36|3706827.641");
    assert_eq!(groups[1..], retail::COUNTRIES);

    assert_provenance(&mut session, &python, &places);
}

/// The raw layer's manifests list each landed file once, as the ledger knows it; the published layers' transactions carry
/// chunk numbers, increasing to the last one.
fn assert_provenance(session: &mut Session, python: &str, places: &retail::Places) {
    let mut manifest = ask(python, "files", &places.raw);
    manifest.sort();
    assert_eq!(
        manifest,
        session.lines(
            "SELECT path, etag, size, rows + rejects FROM millrace.files WHERE pipeline = 'invoices' ORDER BY path COLLATE \"C\""
        )
    );
    let head = session.number("SELECT max(chunk_no) FROM millrace.chunks WHERE pipeline = 'invoices'");
    let mut writers = Vec::new();
    for layer in [&places.raw, &places.semi_processed, &places.processed] {
        let commits = ask(python, "commits", layer);
        let (apps, versions): (Vec<&str>, Vec<i64>) = commits
            .iter()
            .map(|line| line.rsplit_once('|').unwrap())
            .map(|(app, version)| (app, version.parse::<i64>().unwrap()))
            .unzip();
        assert!(!apps[0].is_empty() && apps.iter().all(|app| *app == apps[0]), "one writer: {apps:?}");
        assert!(versions.is_sorted_by(|a, b| a < b), "each transaction is newer: {versions:?}");
        if layer != &places.raw {
            assert_eq!(versions.last(), Some(&head));
        }
        writers.push(apps[0].to_string());
    }
    writers.sort();
    writers.dedup();
    assert_eq!(writers.len(), 3, "each layer has an application id of its own");
}
