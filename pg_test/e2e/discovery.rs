//! Finding files and keeping count of them: what settles, what fails, what people decide, and what an idle look costs.

use crate::lake::{Case, Storage, on_each_storage};
use crate::retail::assert_verified;
use crate::server::{Preload, land, note, url, wait_until};
use crate::sql::quote;
use std::time::Duration;

/// Far more than any of it takes: a busy machine is no failure.
const SOON: Duration = Duration::from_secs(240);

fn pipeline(case: &mut Case, pattern: &str, every: &str, options: &str) {
    let source = quote(&format!("{}/{pattern}", case.lake.url("in")));
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => {source}, columns => 'id int', staging => 'staging.p', every => {every}, options => '{options}')"
    ));
}

/// With a raw layer, moved by run() alone.
fn with_raw(case: &mut Case, options: &str) {
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int', staging => 'staging.p', raw => '{}', every => NULL, options => '{options}')",
        case.lake.landing(),
        case.lake.url("raw")
    ));
}

/// From now on a row with the number five is an error that is not known to be about a row.
fn refuse_five(case: &mut Case) {
    case.session.execute(
        "CREATE FUNCTION staging.check() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.id = 5 THEN RAISE 'not this one' USING ERRCODE = 'MY001'; END IF; RETURN NULL; END $$;
         CREATE TRIGGER t AFTER INSERT ON staging.p FOR EACH ROW EXECUTE FUNCTION staging.check()",
    );
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
        refuse_five(&mut case);
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

    fn a_file_that_cannot_be_loaded_from_the_raw_layer_is_found_by_halving_and_waits_there(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        with_raw(&mut case, r#"{"settle": 0, "max_attempts": 2, "backoff": "1 hour"}"#);
        refuse_five(&mut case);
        for n in 0..9 {
            case.lake.land(&format!("{n}.csv"), format!("id\n{n}\n").as_bytes());
        }
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 6 7 8");
        let file = "SELECT state, attempts, error FROM millrace.files WHERE path = '5.csv'";
        assert_eq!(case.session.line(file), "failed|1|not this one");
        assert_verified(&mut case.session, "p");
        // Others that come go on while it waits.
        case.lake.land("9.csv", b"id\n9\n");
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 6 7 8 9");
        case.session.execute("CALL millrace.retry_file('p', '5.csv')");
        case.run();
        assert_eq!(state(&mut case, "5.csv"), "failed");
        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"max_attempts": 1}')"#);
        case.session.execute("CALL millrace.retry_file('p', '5.csv')");
        case.run();
        assert_eq!(state(&mut case, "5.csv"), "dead");
        assert_verified(&mut case.session, "p");
        case.session.execute("DROP TRIGGER t ON staging.p; CALL millrace.retry_file('p', '5.csv')");
        case.run();
        case.run();
        assert_eq!(case.ids(), "0 1 2 3 4 5 6 7 8 9");
        assert_eq!(state(&mut case, "5.csv"), "loaded");
        let raw = format!("SELECT string_agg(r ->> 'id', ' ' ORDER BY r ->> 'id') FROM millrace.peek({}) r", quote(&case.lake.url("raw")));
        assert_eq!(case.session.value(&raw), "0 1 2 3 4 5 6 7 8 9", "it was not landed again");
        assert_verified(&mut case.session, "p");
    }

    fn a_landed_file_that_cannot_be_loaded_makes_room_for_a_better_one_or_is_left_out(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        with_raw(&mut case, r#"{"settle": 0, "max_attempts": 1}"#);
        refuse_five(&mut case);
        for (name, id) in [("a.csv", 1), ("b.csv", 5), ("c.csv", 5), ("d.csv", 2)] {
            case.lake.land(name, format!("id\n{id}\n").as_bytes());
        }
        case.run();
        assert_eq!((case.ids(), state(&mut case, "b.csv"), state(&mut case, "c.csv")), ("1 2".into(), "dead".into(), "dead".into()));
        case.lake.land("b.csv", b"id\n3\n4\n");
        case.session.execute("CALL millrace.skip_file('p', 'c.csv', 'nobody needs it'); DROP TRIGGER t ON staging.p");
        case.run();
        case.run();
        assert_eq!((case.ids(), state(&mut case, "b.csv"), state(&mut case, "c.csv")), ("1 2 3 4".into(), "loaded".into(), "skipped".into()));
        assert_verified(&mut case.session, "p");
    }

    fn a_worker_goes_on_past_a_landed_file_that_cannot_be_loaded_and_takes_it_when_it_can(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::Yes);
        with_raw(&mut case, r#"{"settle": 0, "backoff": "200 ms", "max_attempts": 1000}"#);
        refuse_five(&mut case);
        for n in 0..7 {
            case.lake.land(&format!("{n}.csv"), format!("id\n{n}\n").as_bytes());
        }
        case.session.execute("SELECT millrace.alter_pipeline('p', every => '50 ms')");
        wait_until("the others are loaded", SOON, || case.ids() == "0 1 2 3 4 6");
        wait_until("it is tried again", SOON, || {
            case.session.number("SELECT attempts FROM millrace.files WHERE path = '5.csv'") > 2
        });
        case.session.execute("DROP TRIGGER t ON staging.p");
        wait_until("it is loaded as well", SOON, || case.ids() == "0 1 2 3 4 5 6");
        assert_verified(&mut case.session, "p");
    }

    fn a_replaced_file_is_left_alone_or_loaded_again_or_a_reason_to_stop(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0}"#);
        case.lake.land("1.csv", b"id\n1\n2\n");
        case.run();
        case.lake.land("1.csv", b"id\n2\n33\n");
        case.run();
        assert_eq!((case.ids(), state(&mut case, "1.csv")), ("1 2".into(), "changed".into()));
        // Somebody wants it after all.
        case.session.execute("CALL millrace.retry_file('p', '1.csv')");
        case.run();
        assert_eq!((case.ids(), state(&mut case, "1.csv")), ("1 2 2 33".into(), "loaded".into()));

        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"on_replaced": "reload"}')"#);
        case.lake.land("1.csv", b"id\n444\n");
        case.run();
        case.run();
        assert_eq!((case.ids(), state(&mut case, "1.csv")), ("1 2 2 33 444".into(), "loaded".into()));
        assert_eq!(
            case.session.lines("SELECT chunk_no, count(*) FROM (SELECT _chunk_no AS chunk_no FROM staging.p) c GROUP BY 1 ORDER BY 1"),
            ["1|2", "2|2", "3|1"]
        );
        let versions = "SELECT count(DISTINCT f ->> 'etag') FROM millrace.chunks, jsonb_array_elements(source -> 'files') f";
        assert_eq!(case.session.number(versions), 3, "each row leads to the version that it came from");
        assert_eq!(case.session.number("SELECT count(*) FROM millrace.events WHERE kind = 'file_replaced'"), 2);
        assert_verified(&mut case.session, "p");

        case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"on_replaced": "fail"}')"#);
        case.lake.land("1.csv", b"id\n5\n55\n");
        case.lake.land("2.csv", b"id\n6\n");
        let error = case.session.refused("CALL millrace.run('p')", "23514");
        assert!(error.message().contains("1.csv"), "{error:?}");
        assert_eq!(case.session.line("SELECT state, state_reason LIKE '%1.csv%' FROM millrace.pipelines"), "stopped|t");
        case.session.execute("SELECT millrace.resume('p')");
        case.run();
        assert_eq!(case.ids(), "1 2 2 6 33 444");
        assert_verified(&mut case.session, "p");
    }

    fn a_file_that_is_loaded_again_updates_the_rows_of_its_keys(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        case.session.execute(&format!(
            r#"SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, v text', staging => 'staging.p', raw => '{}', every => NULL,
                   options => '{{"settle": 0, "on_replaced": "reload", "primary_key": "id"}}')"#,
            case.lake.landing(),
            case.lake.url("raw")
        ));
        case.lake.land("1.csv", b"id,v\n1,a\n2,b\n3,c\n");
        case.run();
        case.lake.land("1.csv", b"id,v\n1,a\n2,new\n4,d\n");
        case.run();
        assert_eq!(case.session.lines("SELECT id, v FROM staging.p ORDER BY id"), ["1|a", "2|new", "3|c", "4|d"]);
        assert_eq!(case.session.lines("SELECT _op, id FROM staging.p_changes WHERE _chunk_no = 2 ORDER BY id"), ["update|1", "update|2", "insert|4"]);
        assert_verified(&mut case.session, "p");
    }

    fn a_half_written_parquet_file_is_dead_with_its_error_and_the_others_are_loaded(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        let whole = crate::formats::parquet(1, 3);
        case.lake.land("1.parquet", &whole);
        case.session.execute(&format!(
            r#"SELECT millrace.create_pipeline('p', source => '{}/*.parquet', columns => 'id bigint', staging => 'staging.p', raw => '{}', every => NULL,
                   options => '{{"settle": 0}}')"#,
            case.lake.landing(),
            case.lake.url("raw")
        ));
        case.lake.land("2.parquet", &whole[..whole.len() / 2]);
        case.lake.land("3.parquet", &crate::formats::parquet(3, 5));
        case.run();
        assert_eq!(case.ids(), "1 2 3 4");
        assert_eq!(case.session.lines("SELECT path, state, error IS NOT NULL FROM millrace.files ORDER BY 1"), ["1.parquet|loaded|f", "2.parquet|dead|t", "3.parquet|loaded|f"]);
        // Once its producer has got it right, it is loaded.
        case.lake.land("2.parquet", &crate::formats::parquet(5, 6));
        case.run();
        assert_eq!(case.ids(), "1 2 3 4 5");
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

on_each_storage! {
    fn new_files_among_many_that_are_loaded_fill_a_chunk(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0, "max_files_per_chunk": 20}"#);
        let file = |n: usize| (format!("{n:03}.csv"), format!("id\n{n}\n"));
        let put = |case: &mut Case, n: usize| case.lake.put("in", &file(n).0, file(n).1.as_bytes());
        (0..120).filter(|n| n % 6 > 0).for_each(|n| put(&mut case, n));
        case.run();
        let chunks = case.session.number("SELECT count(*) FROM millrace.chunks");
        (0..120).step_by(6).for_each(|n| put(&mut case, n));
        // Nothing is remembered of what was listed before.
        case.run();
        assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), chunks + 1);
        assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 120);
        assert_verified(&mut case.session, "p");
    }

    fn ten_thousand_empty_files_make_no_chunk_and_no_trouble(storage, cell) {
        let mut case = Case::new(storage, cell, Preload::No);
        case.lake.put_all("in", (0..10_000).map(|n| format!("{n:05}.csv")), b"");
        pipeline(&mut case, "*.csv", "NULL", r#"{"settle": 0}"#);
        case.lake.land("last.csv", b"id\n1\n");
        case.run();
        assert_eq!(case.session.lines("SELECT state, count(*) FROM millrace.files GROUP BY 1"), ["loaded|10001"]);
        assert_eq!(case.ids(), "1");
        assert_eq!(case.session.number("SELECT count(*) FROM millrace.chunks"), 1);
        let listed = format!("SELECT count(*) FROM millrace.list('{}')", case.lake.landing());
        assert_eq!(case.session.number(&listed), 10_001);
        assert_verified(&mut case.session, "p");
    }
}

#[test]
fn an_idle_look_at_a_hundred_thousand_known_files_on_disk_asks_the_ledger_nothing() {
    let mut case = Case::new(Storage::Disk, "idle_look", Preload::Yes);
    let dir = case.lake.disk("in").unwrap();
    for n in 0..100_000 {
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
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.files"), 100_001);
    let (source, begun) = (url(&dir), std::time::Instant::now());
    assert_eq!(case.session.number(&format!("SELECT count(*) FROM millrace.list('{source}')")), 100_001);
    note(&format!("discovery: a listing of 100,001 files took {:?}", begun.elapsed()));
    drop(case.server);
}
