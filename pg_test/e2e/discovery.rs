//! Finding files and keeping count of them: what settles, what fails, what people decide, and what an idle look costs.

use crate::lake::{Case, Storage, on_each_storage};
use crate::retail::assert_verified;
use crate::server::{Preload, land, url, wait_until};
use crate::sql::quote;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn pipeline(case: &mut Case, pattern: &str, every: &str, options: &str) {
    let source = quote(&format!("{}/{pattern}", case.lake.url("in")));
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => {source}, columns => 'id int', staging => 'staging.p', every => {every}, options => '{options}')"
    ));
}

fn state(case: &mut Case, path: &str) -> String {
    case.session.value(&format!("SELECT state FROM millrace.files WHERE path = {}", quote(path)))
}

on_each_storage! {
    fn a_file_that_has_not_settled_waits_and_the_ledger_says_so(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": "1 hour"}"#);
        case.lake.put("in", "1.csv", b"id\n1\n");
        case.run();
        assert_eq!((state(&mut case, "1.csv"), case.ids()), ("waiting".into(), String::new()));
        case.lake.put("in", "1.csv", b"id\n1\n2\n");
        case.run();
        assert_eq!(case.session.line("SELECT count(*), min(size) FROM millrace.files"), "1|7");
        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"settle": "1 s"}')"#);
        case.run();
        assert_eq!((state(&mut case, "1.csv"), case.ids()), ("loaded".into(), "1 2".into()));
        assert_verified(&mut case.session, "p");
    }

    fn a_file_that_somebody_gave_up_comes_back_when_it_is_asked_for(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0, "max_attempts": 2, "backoff": "100 ms"}"#);
        case.session.execute("CALL millrace.skip_file('p', '3.csv', 'never')");
        for n in 1..=3 {
            case.lake.put("in", &format!("{n}.csv"), format!("id\n{n}\n").as_bytes());
        }
        case.session.execute("CALL millrace.skip_file('p', '1.csv', reason => 'wrong shop')");
        case.run();
        assert_eq!(case.ids(), "2");
        assert_eq!(case.session.value("SELECT error FROM millrace.files WHERE path = '1.csv'"), "wrong shop");
        case.session.raises("CALL millrace.skip_file('p', '2.csv')", "55000");
        case.session.raises("CALL millrace.retry_file('p', '2.csv')", "55000");
        case.session.raises("CALL millrace.retry_file('p', 'none.csv')", "42704");
        case.session.raises("CALL millrace.retry_file('p', NULL)", "22004");
        case.session.raises("CALL millrace.skip_file('nope', 'x')", "42704");
        case.session.raises("CALL millrace.skip_file('p', '')", "22023");
        case.session.execute("CALL millrace.retry_file('p', '1.csv'); CALL millrace.retry_file('p', '3.csv')");
        case.run();
        assert_eq!(case.ids(), "1 2 3");
        assert_eq!(
            case.session.lines("SELECT kind, subject, who FROM millrace.events WHERE kind LIKE 'file%' ORDER BY id"),
            ["file_skipped|3.csv|postgres", "file_skipped|1.csv|postgres", "file_retried|1.csv|postgres", "file_retried|3.csv|postgres"]
        );
        assert_verified(&mut case.session, "p");
    }

    fn a_skipped_file_is_not_loaded_by_a_worker_that_has_seen_it_and_a_retried_one_is(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::Yes);
        case.lake.put("in", "1.csv", b"id\n1\n");
        pipeline(&mut case, "*.csv", "'50 ms'", r#"{"settle": 0, "include_existing": false}"#);
        case.lake.put("in", "2.csv", b"id\n2\n");
        wait_until("the second file is loaded", SOON, || case.ids() == "2");
        case.session.execute("CALL millrace.retry_file('p', '1.csv')");
        wait_until("the first file is loaded", SOON, || case.ids() == "1 2");
    }

    fn a_file_that_cannot_be_loaded_is_found_by_halving_and_holds_no_other_back(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0, "max_attempts": 2, "backoff": "1 hour"}"#);
        // An error that is not known to be about a row.
        case.session.execute(
            "CREATE FUNCTION staging.check() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.id = 5 THEN RAISE 'not this one' USING ERRCODE = 'MY001'; END IF; RETURN NULL; END $$;
             CREATE TRIGGER t AFTER INSERT ON staging.p
                FOR EACH ROW EXECUTE FUNCTION staging.check()",
        );
        for n in 0..9 {
            case.lake.put("in", &format!("{n}.csv"), format!("id\n{n}\n").as_bytes());
        }
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 6 7 8");
        assert_eq!(case.session.line("SELECT state, attempts, error FROM millrace.files WHERE path = '5.csv'"), "failed|1|not this one");
        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"max_attempts": 1}')"#);
        case.session.execute("CALL millrace.retry_file('p', '5.csv')");
        case.run();
        assert_eq!(state(&mut case, "5.csv"), "dead");
        case.session.execute("DROP TRIGGER t ON staging.p");
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 6 7 8");
        case.session.execute("CALL millrace.retry_file('p', '5.csv')");
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 5 6 7 8");
        assert_verified(&mut case.session, "p");
    }

    fn a_row_that_fails_a_deferred_constraint_is_rejected_like_any_other(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        case.session.execute("CREATE TABLE staging.shops (id int PRIMARY KEY); INSERT INTO staging.shops VALUES (1), (3)");
        case.session.execute("CREATE TABLE staging.p (_chunk_no bigint, _row_no bigint, id int REFERENCES staging.shops DEFERRABLE INITIALLY DEFERRED)");
        case.lake.put("in", "1.csv", b"id\n1\n2\n3\n");
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0}"#);
        case.run();
        assert_eq!(case.ids(), "1 3");
        assert_eq!(case.session.value("SELECT reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects"), "23503");
    }

    fn directories_by_date_and_choices_of_names_are_found_whole(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        for (n, name) in ["y=2024/m=01/a.csv", "y=2024/m=02/b.csv", "y=2025/m=01/a.csv", "y=2025/m=01/c.txt", "top.csv"].iter().enumerate() {
            if let Some(dir) = case.lake.disk("in") {
                let below = dir.join(name);
                std::fs::create_dir_all(below.parent().unwrap()).unwrap();
                std::fs::write(below, format!("id\n{n}\n")).unwrap();
            } else {
                case.lake.put("in", name, format!("id\n{n}\n").as_bytes());
            }
        }
        pipeline(&mut case, "y=20[0-9][0-9]/**/{a,b}.csv", "NULL", r#"{"settle": 0}"#);
        case.run();
        assert_eq!(case.ids(), "0 1 2");
        case.session.execute("SELECT millrace.drop_pipeline('p', drop_tables => true)");
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0, "recursive": true}"#);
        case.run();
        assert_eq!(case.ids(), "0 1 2 4");
    }
}

#[test]
fn a_file_that_grows_on_azurite_is_read_when_it_is_whole_without_anybody_asking_for_it() {
    let mut case = Case::new(Storage::Azurite, "growing", Preload::Yes);
    pipeline(&mut case, "*.csv", "'50 ms'", "{}");
    let mut content = String::from("id\n");
    for n in 0..8 {
        content.push_str(&format!("{n}\n"));
        case.lake.put("in", "grows.csv", content.as_bytes());
        std::thread::sleep(Duration::from_millis(400));
    }
    wait_until("it is loaded", SOON, || state(&mut case, "grows.csv") == "loaded");
    assert_eq!(case.ids(), "0 1 2 3 4 5 6 7");
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.events WHERE kind LIKE 'file%'"), 0);
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), 1);
}

#[test]
fn ten_thousand_empty_files_on_disk_make_no_chunk_and_no_trouble() {
    let mut case = Case::new(Storage::Disk, "empty_files", Preload::No);
    let dir = case.lake.disk("in").unwrap();
    for n in 0..10_000 {
        std::fs::write(dir.join(format!("{n:05}.csv")), "").unwrap();
    }
    pipeline(&mut case, "*.csv", "NULL", "{}");
    land(&dir, "last.csv", b"id\n1\n");
    case.run();
    assert_eq!(case.session.lines("SELECT state, count(*) FROM millrace.files GROUP BY 1"), ["loaded|10001"]);
    assert_eq!(case.ids(), "1");
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), 1);
    assert_verified(&mut case.session, "p");
}

#[test]
fn an_idle_look_at_known_files_on_disk_asks_the_ledger_nothing() {
    let mut case = Case::new(Storage::Disk, "idle_look", Preload::Yes);
    let dir = case.lake.disk("in").unwrap();
    for n in 0..5_000 {
        std::fs::write(dir.join(format!("{n:05}.csv")), "").unwrap();
    }
    pipeline(&mut case, "*.csv", "'50 ms'", r#"{"include_existing": false}"#);
    land(&dir, "z.csv", b"id\n1\n");
    wait_until("the new file is loaded", SOON, || case.ids() == "1");
    // Counters are a second late.
    let scans = "SELECT pg_stat_clear_snapshot(); SELECT seq_scan + idx_scan FROM pg_stat_all_tables WHERE relid = 'millrace.file'::regclass";
    let mut before = case.session.value(scans);
    wait_until("looks come and go without a scan of the ledger", SOON, || {
        std::thread::sleep(Duration::from_secs(2));
        let now = case.session.value(scans);
        std::mem::replace(&mut before, now.clone()) == now
    });
    let source = url(&dir);
    assert_eq!(case.session.number(&format!("SELECT count(*) FROM millrace.list('{source}')")), 5_001);
    drop(case.server);
}
