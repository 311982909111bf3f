//! The groups that a chunk touches are looked up without a statement: they are found and told apart as GROUP BY does it, they stay on their
//! pages, and where a statement has to find them it does.

use crate::retail::assert_verified;
use crate::server::Preload;
use crate::site::{Place, Site, land, url};
use crate::sql::Session;

/// Rows `k` and `n`, and how they are grouped.
fn grouped(name: &str, key_type: &str, before: &str) -> (Site, Session, Place) {
    grouped_at(Site::of(module_path!(), Preload::No), name, key_type, before)
}

fn grouped_at(server: Site, name: &str, key_type: &str, before: &str) -> (Site, Session, Place) {
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    session.execute(&format!(
        "CREATE SCHEMA staging; {before};
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'k {key_type}, n int', staging => 'staging.p', every => NULL,
                options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}');
         SELECT millrace.create_aggregate('p', 'stats', 'SELECT k, count(*) AS rows, sum(n) AS n FROM staging.p GROUP BY k')",
        url(&landing)
    ));
    (server, session, landing)
}

fn put(landing: &Place, file: &str, lines: &str) {
    land(landing, file, format!("k,n\n{lines}").as_bytes());
}

fn load(session: &mut Session, landing: &Place, file: &str, lines: &str) {
    put(landing, file, lines);
    session.execute("CALL millrace.run('p')");
    assert_verified(session, "p");
}

fn stats(session: &mut Session) -> Vec<String> {
    session.lines("SELECT k, rows, n FROM staging.stats ORDER BY k")
}

/// How often rows of the groups' table were found by its indexes.
fn found_by_index(session: &mut Session) -> i64 {
    session.execute("SELECT pg_stat_force_next_flush()");
    session.number("SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relid = 'staging.stats_state'::regclass")
}

#[test]
fn no_statement_looks_a_group_up() {
    let (_server, mut session, landing) = grouped("places_found", "text", "SELECT 1");
    load(&mut session, &landing, "1.csv", "a,1\nb,2\n,3\n");
    load(&mut session, &landing, "2.csv", "a,1\n,3\nc,4\n");
    assert_eq!(stats(&mut session), ["a|2|2", "b|1|2", "c|1|4", "|2|6"]);
    assert_eq!(found_by_index(&mut session), 0);
}

#[test]
fn keys_that_group_by_takes_for_one_are_found_at_one_place() {
    let collation = "CREATE COLLATION staging.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    for (name, key_type, before, lines) in [
        ("places_digits", "numeric", "SELECT 1", ["1,1\n1.0,2\nNaN,3\n", "1.00,4\n1,5\nNaN,6\n"]),
        ("places_case", "text COLLATE staging.ci", collation, ["a,1\nA,2\nc,3\n", "A,4\na,5\nC,6\n"]),
        ("places_zero", "float8", "SELECT 1", ["0,1\n-0,2\nNaN,3\n", "-0,4\n0,5\nNaN,6\n"]),
    ] {
        let (_server, mut session, landing) = grouped(name, key_type, before);
        load(&mut session, &landing, "1.csv", lines[0]);
        load(&mut session, &landing, "2.csv", lines[1]);
        let counts = session.lines("SELECT rows, n FROM staging.stats ORDER BY n");
        assert_eq!(counts, ["2|9", "4|12"], "{name}");
    }
}

#[test]
fn groups_that_share_a_hash_with_others_are_told_apart() {
    // Types without a hash share one.
    let (_server, mut session, landing) = grouped("places_hash", "tsquery", "SELECT 1");
    load(&mut session, &landing, "1.csv", "a,1\nb,2\n,3\n");
    load(&mut session, &landing, "2.csv", "b,1\n,2\nc,3\na,4\n");
    let found = session.lines("SELECT k, rows, n FROM staging.stats ORDER BY k::text");
    assert_eq!(found, ["'a'|2|5", "'b'|2|3", "'c'|1|3", "|2|5"]);
}

#[test]
fn a_long_key_is_found_by_the_statement_and_the_others_with_it() {
    let (_server, mut session, landing) = grouped("places_long", "text", "SELECT 1");
    // Longer than an index entry, and not to be made shorter by compression.
    let long = session.value("SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) i");
    load(&mut session, &landing, "1.csv", "a,1\nb,2\n");
    load(&mut session, &landing, "2.csv", &format!("a,1\n{long},5\n"));
    load(&mut session, &landing, "3.csv", &format!("a,1\n{long},6\nc,7\n"));
    let found = session.lines("SELECT left(k, 3), rows, n FROM staging.stats ORDER BY n");
    assert_eq!(found, ["b|1|2", "a|3|3", "c|1|7", &format!("{}|2|11", &long[..3])]);
    assert_eq!(session.number("SELECT count(*) FROM staging.stats_long"), 1);
}

#[test]
fn groups_that_change_again_and_again_stay_on_their_pages() {
    // With nobody else there whose transactions may see the old versions.
    let alone = Site::alone(module_path!(), Preload::No);
    let (_server, mut session, landing) = grouped_at(alone, "places_room", "bigint", "SELECT 1");
    session.execute("ALTER TABLE staging.stats_state SET (autovacuum_enabled = off)");
    let lines: String = (0..600).map(|k| format!("{k},1\n")).collect();
    let pages = |session: &mut Session| session.number("SELECT pg_relation_size('staging.stats_state') / 8192");
    // Nobody reads them meanwhile, which would make room as well.
    put(&landing, "00.csv", &lines);
    session.execute("CALL millrace.run('p')");
    let before = pages(&mut session);
    (1..30).for_each(|n| put(&landing, &format!("{n:02}.csv"), &lines));
    session.execute("CALL millrace.run('p')");
    assert!(pages(&mut session) <= before + 1, "{before} pages became {}", pages(&mut session));
    assert_verified(&mut session, "p");
    assert_eq!(session.line("SELECT min(n), max(n), count(*) FROM staging.stats"), "30|30|600");
}

#[test]
fn groups_are_found_in_transactions_of_every_isolation() {
    let (_server, mut session, landing) = grouped("places_isolation", "text", "SELECT 1");
    load(&mut session, &landing, "0.csv", "a,1\n");
    for isolation in ["read committed", "repeatable read", "serializable"] {
        session.execute(&format!("SET default_transaction_isolation = '{isolation}'"));
        (1..4).for_each(|n| put(&landing, &format!("{isolation}_{n}.csv"), "a,1\nb,1\n"));
        session.execute("CALL millrace.run('p')");
        assert_verified(&mut session, "p");
    }
    assert_eq!(stats(&mut session), ["a|10|10", "b|9|9"]);
}

#[test]
fn rows_that_only_some_may_see_are_found_by_statements() {
    let (_server, mut session, landing) = grouped("places_policy", "text", "SELECT 1");
    load(&mut session, &landing, "1.csv", "a,1\nb,2\n");
    session.execute("ALTER TABLE staging.stats_state ENABLE ROW LEVEL SECURITY");
    load(&mut session, &landing, "2.csv", "a,1\nc,2\n");
    assert!(found_by_index(&mut session) > 0);
    assert_eq!(stats(&mut session), ["a|2|2", "b|1|2", "c|1|2"]);
}
