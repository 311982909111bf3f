//! What is wrong with directories and files of the server's own disk: refused by name, or the trouble of that file alone.

use crate::lake::{Case, Storage};
use crate::server::Preload;
use crate::sql::quote;
use std::os::unix::fs::PermissionsExt;

fn create(source: &str, columns: &str) -> String {
    format!(
        "SELECT millrace.create_pipeline('p', source => {}, columns => {columns}, staging => 'staging.p', every => NULL)",
        quote(source)
    )
}

#[test]
fn a_missing_directory_is_named() {
    let mut case = Case::new(Storage::Disk, "disk_missing", Preload::No);
    let error = case.session.refused(&create("file:///nowhere/at/all/*.csv", "'id int'"), "58P01");
    assert!(format!("{} {:?}", error.message(), error.detail()).contains("/nowhere/at/all"), "{error:?}");
    assert_eq!(case.session.value("SELECT to_regclass('staging.p')"), "");
}

#[test]
fn an_unreadable_file_is_named_and_is_no_trouble_to_others() {
    let mut case = Case::new(Storage::Disk, "disk_unreadable", Preload::No);
    case.lake.land("one.csv", b"id\n1\n2\n");
    case.lake.land("secret.csv", b"id\n3\n");
    let file = case.lake.disk("in").unwrap().join("secret.csv");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    let error = case.session.refused(&create(&format!("{}/secret*.csv", case.lake.landing()), "NULL"), "42501");
    assert!(format!("{} {:?}", error.message(), error.detail()).contains("secret.csv"), "{error:?}");

    case.session.execute(&create(&format!("{}/*.csv", case.lake.landing()), "'id int'"));
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 2);
    let state = case.session.line("SELECT state, error IS NOT NULL FROM millrace.files WHERE path = 'secret.csv'");
    assert_eq!(state, "failed|t");
}
