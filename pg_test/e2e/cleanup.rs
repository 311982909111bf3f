//! Landing files are taken away when everything that they are for is committed, and not before.

use crate::lake::{Case, Storage, on_each_storage};
use crate::retail::assert_verified;
use crate::server::{Preload, wait_until};
use crate::sql::quote;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn create(case: &Case, every: &str, options: &str) -> String {
    format!(
        "SELECT millrace.create_pipeline('p', source => {}, columns => 'id int', staging => 'staging.p', raw => {}, semi_processed => {},
                every => {every}, options => '{options}')",
        quote(&format!("{}/*.csv", case.lake.url("in"))),
        quote(&case.lake.url("raw")),
        quote(&case.lake.url("semi")),
    )
}

fn put(case: &Case, name: &str, id: i32) {
    case.lake.put("in", name, format!("id\n{id}\n").as_bytes());
}

on_each_storage! {
    fn loaded_and_published_files_are_deleted_and_their_names_are_free_again(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        case.session.execute(&create(&case, "NULL", r#"{"settle": 0, "cleanup": "delete"}"#));
        put(&case, "a.csv", 1);
        put(&case, "b.csv", 2);
        case.lake.put("in", "empty.csv", b"");
        case.lake.put("in", "c.txt", b"not ours");
        case.run();
        assert_eq!(case.lake.list("in"), ["c.txt"]);
        assert_eq!(case.session.lines("SELECT DISTINCT state, cleanup FROM millrace.files"), ["loaded|done"]);
        put(&case, "a.csv", 3);
        case.run();
        case.run();
        assert_eq!((case.ids(), case.lake.list("in")), ("1 2 3".into(), vec!["c.txt".to_string()]));
        assert_verified(&mut case.session, "p");
    }

    fn archived_files_are_moved_whole_while_the_worker_goes_on(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::Yes);
        let options = format!(r#"{{"settle": 0, "cleanup": "archive", "archive": "{}"}}"#, case.lake.url("kept"));
        case.session.execute(&create(&case, "'50 ms'", &options));
        let names: Vec<String> = (0..20).map(|n| format!("{n:02}.csv")).collect();
        for (n, name) in names.iter().enumerate() {
            put(&case, name, n as i32);
        }
        wait_until("all files are archived", SOON, || case.lake.list("kept") == names && case.lake.list("in").is_empty());
        assert_eq!(case.lake.get("kept", "07.csv"), b"id\n7\n");
        wait_until("the ledger says so", SOON, || {
            case.session.number("SELECT count(*) FROM millrace.files WHERE state = 'loaded' AND cleanup = 'done'") == 20
        });
        assert_verified(&mut case.session, "p");
    }

    fn a_cleanup_that_does_not_fit_is_refused(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        for options in [
            r#"{"cleanup": "archive"}"#.to_string(),
            r#"{"cleanup": "sometimes"}"#.to_string(),
            format!(r#"{{"cleanup": "archive", "archive": "{}/kept"}}"#, case.lake.url("in")),
            format!(r#"{{"cleanup": "archive", "archive": "{}"}}"#, case.lake.url("raw")),
        ] {
            case.session.raises(&create(&case, "NULL", &options), "22023");
        }
        case.session.execute(&create(&case, "NULL", "{}"));
        let alter = |place: &str| {
            format!(r#"SELECT millrace.alter_pipeline('p', options => '{{"cleanup": "archive", "archive": "{}"}}')"#, case.lake.url(place))
        };
        case.session.raises(&alter("semi/x"), "22023");
        case.session.execute(&alter("kept"));
        case.session.execute(&alter("kept/deeper"));
        let elsewhere = alter("elsewhere").replace(r#""cleanup": "archive", "#, "");
        case.session.execute(&elsewhere);
        case.session.raises(r#"SELECT millrace.alter_pipeline('p', options => '{"archive": null}')"#, "22023");
        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"cleanup": null, "archive": null}')"#);
    }
}

#[test]
fn a_file_on_disk_stays_until_its_chunk_is_published() {
    let mut case = Case::new(Storage::Disk, "cleanup_late", Preload::No);
    case.session.execute(&create(&case, "NULL", r#"{"cleanup": "delete"}"#));
    put(&case, "a.csv", 1);
    let semi = case.lake.disk("semi").unwrap();
    let away = semi.with_extension("away");
    std::fs::rename(&semi, &away).unwrap();
    case.run();
    assert_eq!((case.ids(), case.lake.list("in")), ("1".into(), vec!["a.csv".to_string()]));
    assert_eq!(case.session.value("SELECT cleanup FROM millrace.files"), "due");
    std::fs::rename(&away, &semi).unwrap();
    wait_until("it is published and taken away", SOON, || {
        case.run();
        case.lake.list("in").is_empty()
    });
    assert_verified(&mut case.session, "p");
}

#[test]
fn one_place_on_azurite_is_known_by_all_its_names() {
    let mut case = Case::new(Storage::Azurite, "one_place", Preload::No);
    let place = case.lake.url("in");
    let (container, rest) = place.strip_prefix("abfss://").unwrap().split_once('@').unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let account = host.split('.').next().unwrap();
    for other in [
        format!("https://{host}/{container}/{path}/raw"),
        format!("https://{}/{container}/{path}", host.replace(".dfs.", ".blob.")),
        format!("wasbs://{container}@{}/{path}", host.replace(".dfs.", ".blob.")),
        format!("az://{container}/{path}/raw"),
    ] {
        case.session.execute(&format!(
            "DROP SERVER IF EXISTS other CASCADE;
             CREATE SERVER other FOREIGN DATA WRAPPER millrace OPTIONS (location 'az://{container}', account_name '{account}');
             CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (account_key 'VE9Q')"
        ));
        let create = create(&case, "NULL", "{}").replace(&case.lake.url("raw"), &other);
        let error = case.session.raises(&create, "22023");
        assert!(error.message().contains("places apart"), "{other}: {error:?}");
    }
    case.session.execute(&create(&case, "NULL", "{}"));
    let second = create(&case, "NULL", "{}").replace("'p'", "'q'").replace("staging.p", "staging.q");
    let error = case.session.raises(&second, "22023");
    assert!(error.message().contains("another pipeline"), "{error:?}");
    drop(case.server);
}
