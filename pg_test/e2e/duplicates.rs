//! Rows and files that come again: left out, counted and shown, and never in an aggregate.

use crate::retail;
use crate::server::Preload;
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::Session;

struct Case {
    server: Site,
    session: Session,
    landing: Place,
}

fn case(name: &str, options: &str) -> Case {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, kind text, n int', staging => 'staging.p',
            every => NULL, options => '{}');
         SELECT millrace.create_aggregate('p', 'sums', 'SELECT kind, count(*) AS rows, sum(n) AS n FROM staging.p GROUP BY kind')",
        url(&landing),
        at_once(options)
    ));
    Case { server, session, landing }
}

impl Case {
    fn land_and_run(&mut self, file: &str, lines: &str) {
        land(&self.landing, file, format!("id,kind,n\n{lines}").as_bytes());
        self.session.execute("CALL millrace.run('p')");
    }

    fn counts(&mut self) -> Vec<String> {
        self.session.lines("SELECT row_count, duplicate_count, reject_count FROM millrace.chunks ORDER BY chunk_no")
    }

    fn sums(&mut self) -> Vec<String> {
        self.session.lines("SELECT kind, rows, n FROM staging.sums ORDER BY kind")
    }
}

#[test]
fn of_rows_with_one_key_within_the_window_the_first_stays_and_aggregates_see_no_other() {
    let mut case = case("duplicates_key", r#"{"dedup_key": ["id", "kind"], "dedup_window": "1 hour"}"#);
    case.session.execute("SELECT millrace.add_expectation('p', 'positive', 'n > 0')");
    case.land_and_run("1.csv", "1,a,1\n2,a,2\n1,a,10\n1,b,3\n,a,5\n,a,5\n3,a,-1\n");
    case.land_and_run("2.csv", "1,a,100\n4,b,4\n4,b,40\n3,a,6\nx,a,1\n");
    assert_eq!(
        case.session.lines("SELECT id, kind, n FROM staging.p ORDER BY _chunk_no, _row_no"),
        ["1|a|1", "2|a|2", "1|b|3", "|a|5", "|a|5", "4|b|4", "3|a|6"],
        "a key that is NULL in part is nobody's; a rejected row is no earlier one"
    );
    assert_eq!(case.counts(), ["5|1|1", "2|2|1"]);
    assert_eq!(case.session.lines("SELECT rows, duplicates FROM millrace.files ORDER BY path"), ["5|1", "2|2"]);
    assert_eq!(case.sums(), ["a|5|19", "b|2|7"]);
    retail::assert_verified(&mut case.session, "p");
    // What comes back is compared as well.
    assert_eq!(case.session.number("SELECT millrace.requeue_rejects('p', fix => 'n = 7, id = 3')"), 2);
    assert_eq!(case.counts()[2], "0|2|0");
    retail::assert_verified(&mut case.session, "p");
    // Outside the window nothing is known.
    case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"dedup_window": "1 ms"}')"#);
    case.land_and_run("3.csv", "1,a,1\n1,a,1\n");
    assert_eq!(case.counts()[3], "1|1|0");
    assert_eq!(case.sums()[0], "a|6|20");
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn a_key_may_be_given_later_and_taken_away() {
    let mut case = case("duplicates_alter", "{}");
    case.land_and_run("1.csv", "1,a,1\n1,a,1\n");
    case.session.refused(r#"SELECT millrace.alter_pipeline('p', options => '{"dedup_key": "id"}')"#, "22023");
    case.session
        .execute(r#"SELECT millrace.alter_pipeline('p', options => '{"dedup_key": "id", "dedup_window": "1 day"}')"#);
    case.land_and_run("2.csv", "1,a,1\n2,a,1\n");
    case.session
        .execute(r#"SELECT millrace.alter_pipeline('p', options => '{"dedup_key": null, "dedup_window": null}')"#);
    case.land_and_run("3.csv", "1,a,1\n");
    assert_eq!(case.counts(), ["2|0|0", "1|1|0", "1|0|0"]);
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn a_file_that_is_delivered_again_under_another_name_is_known_by_what_is_in_it() {
    let mut case = case("duplicates_files", r#"{"identity": "content", "max_files_per_chunk": 2}"#);
    for (name, n) in [("1.csv", 1), ("2.csv", 1), ("3.csv", 3), ("4.csv", 1), ("5.csv", 5)] {
        land(&case.landing, name, format!("id,kind,n\n1,a,{n}\n").as_bytes());
    }
    case.session.execute("CALL millrace.run('p')");
    land(&case.landing, "6.csv", b"id,kind,n\n1,a,5\n");
    // Under its own name once more, byte for byte: nothing has changed.
    land(&case.landing, "3.csv", b"id,kind,n\n1,a,3\n");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(
        case.session.lines("SELECT path, state, error FROM millrace.files ORDER BY path"),
        [
            "1.csv|loaded|",
            "2.csv|skipped|duplicate of 1.csv",
            "3.csv|loaded|",
            "4.csv|skipped|duplicate of 1.csv",
            "5.csv|loaded|",
            "6.csv|skipped|duplicate of 5.csv",
        ]
    );
    assert_eq!(case.sums(), ["a|3|9"]);
    // Other bytes under a name that was loaded are a replaced file, as ever.
    land(&case.landing, "3.csv", b"id,kind,n\n1,a,4\n");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.value("SELECT state FROM millrace.files WHERE path = '3.csv'"), "changed");
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn older_files_that_a_backfill_brings_are_known_by_what_is_in_them_too() {
    let mut case = case("duplicates_older", r#"{"identity": "content"}"#);
    let older = case.server.create_dir("duplicates_older_place");
    land(&case.landing, "1.csv", b"id,kind,n\n1,a,1\n");
    case.session.execute("CALL millrace.run('p')");
    for (name, n) in [("again.csv", 1), ("new.csv", 2), ("twice.csv", 2)] {
        land(&older, name, format!("id,kind,n\n1,a,{n}\n").as_bytes());
    }
    let call = format!("CALL millrace.backfill('p', location => '{}/*.csv')", url(&older));
    case.session.execute(&call);
    case.session.execute(&call);
    land(&case.landing, "2.csv", b"id,kind,n\n1,a,2\n");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(
        case.session.lines(
            "SELECT regexp_replace(path, '.*/', ''), state, regexp_replace(error, '(of ).*/', '\\1') FROM millrace.files ORDER BY 1"
        ),
        [
            "1.csv|loaded|",
            "2.csv|skipped|duplicate of new.csv",
            "again.csv|skipped|duplicate of 1.csv",
            "new.csv|loaded|",
            "twice.csv|skipped|duplicate of new.csv",
        ]
    );
    assert_eq!(case.sums(), ["a|2|3"]);
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn rejects_have_a_retention_of_their_own_that_waits_for_who_consumes_them() {
    let mut case = case("duplicates_rejects_kept", r#"{"rejects_retention": "2 chunks", "chunks_per_partition": 1}"#);
    case.session.execute("SELECT millrace.create_consumer('p.rejects', 'mender', start_at => 'earliest')");
    for i in 1..=6 {
        case.land_and_run(&format!("{i}.csv"), &format!("{i},a,1\nx,a,1\n"));
    }
    let kept = "SELECT string_agg(chunk_no::text, ' ' ORDER BY chunk_no) FROM staging.p_rejects";
    assert_eq!(case.session.value(kept), "1 2 3 4 5 6", "the consumer has not had them");
    for _ in 0..6 {
        case.session.execute(
            "SELECT millrace.ack('p.rejects', 'mender', chunk_no) FROM millrace.next_chunk('p.rejects', 'mender')",
        );
    }
    case.land_and_run("7.csv", "7,a,1\nx,a,1\n");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.session.value(kept), "6 7");
    // Whoever comes now begins with what is there, and is told so.
    case.session.execute("SELECT millrace.create_consumer('p.rejects', 'late', start_at => 'earliest')");
    let first = "SELECT chunk_no FROM millrace.next_chunk('p.rejects', 'late')";
    assert_eq!(case.session.number(first), 6);
    let error = case
        .session
        .refused_with_hint("SELECT millrace.create_consumer('p.rejects', 'too_early', start_at => '5')", "22023");
    assert!(error.hint().is_some_and(|hint| hint.contains("kept is 6")), "{error:?}");
    assert_eq!(case.session.number("SELECT millrace.create_consumer('p', 'rows', start_at => '1')"), 0);
    assert_eq!(case.session.number("SELECT count(*) FROM staging.p"), 7, "rows are kept as before");
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn a_fix_may_look_at_the_record_as_it_landed_when_it_never_was_a_row() {
    let mut case = case("duplicates_raw_fix", "{}");
    land(&case.landing, "1.csv", b"id,kind,n\n1,a,\"1,5\"\ntoo,few\n3,b\xfc,7\n4,c\0,8\n\"5,open\n");
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.counts(), ["0|0|5"]);
    let requeue = |fix: &str| format!("SELECT millrace.requeue_rejects('p', fix => $f${fix}$f$)");
    // A fix that asks for fields leaves records alone that have none.
    assert_eq!(case.session.number(&requeue("n = replace(_raw ->> 'n', ',', '')::int")), 1);
    assert_eq!(case.session.lines("SELECT id, kind, n FROM staging.p"), ["1|a|15"]);
    assert_eq!(
        case.session.number(&requeue("kind = translate(coalesce(_record, convert_from(decode(replace(encode(_bytes, 'hex'), '00', '20'), 'hex'), 'LATIN1')), E'\\n', ' ')")),
        4
    );
    assert_eq!(
        case.session.lines("SELECT kind FROM staging.p WHERE _chunk_no = 3 ORDER BY _row_no"),
        ["too,few", "3,b\u{fc},7", "4,c ,8", "\"5,open"].map(str::to_string).to_vec()
    );
    retail::assert_verified(&mut case.session, "p");
}

#[test]
fn an_older_row_that_comes_after_the_deletion_of_its_key_does_not_bring_it_back() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("keyed_graves");
    let landing = server.create_dir("keyed_graves_landing");
    session.execute(&format!(
        r#"CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, changed int, n int, op text', staging => 'staging.p',
            every => NULL, options => '{{"settle": 0, "primary_key": "id", "order_by": "changed", "delete_when": "op = ''D''"}}');
         SELECT millrace.create_aggregate('p', 'sums', 'SELECT op, count(*) AS rows, sum(n) AS n FROM staging.p GROUP BY op')"#,
        url(&landing)
    ));
    let mut chunk = |file: &str, lines: &str| -> String {
        land(&landing, file, format!("id,changed,n,op\n{lines}").as_bytes());
        session.execute("CALL millrace.run('p')");
        retail::assert_verified(&mut session, "p");
        session.lines("SELECT id, changed FROM staging.p ORDER BY id").join(" ")
    };
    assert_eq!(chunk("1.csv", "1,5,1,U\n2,5,1,U\n"), "1|5 2|5");
    // 3 is taken away before it ever came.
    assert_eq!(chunk("2.csv", "1,7,0,D\n3,9,0,D\n"), "2|5");
    assert_eq!(chunk("3.csv", "1,6,2,U\n3,8,2,U\n2,4,0,D\n"), "2|5", "all are older than what is known");
    assert_eq!(chunk("4.csv", "1,7,3,U\n3,10,3,U\n"), "1|7 2|5 3|10", "of equals the later is the newer");
    assert_eq!(chunk("5.csv", "3,12,0,D\n3,11,4,U\n3,13,0,D\n"), "1|7 2|5");
    assert_eq!(chunk("6.csv", "3,12,5,U\n"), "1|7 2|5");
    assert_eq!(session.line("SELECT rows, n FROM staging.sums"), "2|4");
    assert_eq!(
        session.lines("SELECT row_count, duplicate_count FROM millrace.chunks ORDER BY chunk_no"),
        ["2|0", "1|1", "0|3", "2|0", "1|2", "0|1"]
    );
    assert_eq!(session.line("SELECT changed FROM staging.p_deleted WHERE id = 3"), "13");
}
