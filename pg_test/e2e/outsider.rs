//! Somebody else's Delta reader (the Python package) finds in our layers what we say is in them.

use crate::lake::Storage;
use crate::python::{python, script};
use crate::retail;
use crate::server::{Preload, Server, note};
use crate::sql::Session;
use std::path::Path;

fn ask(python: &str, question: &str, places: &retail::Places, table: &Path) -> Vec<String> {
    let mut command = script(python, "outsider.py");
    command.args([question, &places.url(table)]).envs(places.outsider_options().map(|o| ("STORAGE_OPTIONS", o)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{question} of {table:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

#[test]
fn another_delta_reader_finds_the_same_totals_and_the_provenance() {
    let Some(files) = retail::files() else { return note("outsider: skipped, the shared data is not here") };
    let python = python();
    let storage = Storage::of(module_path!());
    let server = Server::shared(Preload::No);
    let name = storage.name("outsider");
    let mut session = server.create_database(&name);
    let places = retail::Places::on(storage, &server, &mut session, &name);
    retail::create_pipeline(&mut session, &places, retail::COLUMNS, "NULL");
    retail::create_aggregate(&mut session, &places);
    for batch in files.chunks(30) {
        batch.iter().for_each(|file| places.land(file));
        session.execute("CALL millrace.run('invoices')");
    }

    assert_eq!(ask(&python, "rows", &places, &places.raw), [retail::TOTALS]);
    assert_eq!(ask(&python, "rows", &places, &places.semi_processed), [retail::TOTALS]);
    let groups = ask(&python, "groups", &places, &places.processed);
    assert_eq!(groups[0], "209029|36|3706827.641");
    assert_eq!(groups[1..], retail::COUNTRIES);

    assert_provenance(&mut session, &python, &places);
}

/// The raw layer's manifests list each landed file once, as the ledger knows it; the published layers' transactions carry
/// chunk numbers, increasing to the last one.
fn assert_provenance(session: &mut Session, python: &str, places: &retail::Places) {
    let mut manifest = ask(python, "files", places, &places.raw);
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
        let commits = ask(python, "commits", places, layer);
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
