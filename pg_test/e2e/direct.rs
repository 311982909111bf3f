//! The two ways into a staging table, straight and by COPY: the same rows, byte for byte, and the same rejects.

use crate::retail;
use crate::server::{Preload, wait_until};
use crate::site::{Site, land, url};
use crate::sql::{Session, quote};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A column's name and type, and values for it: some that are stored in other ways than the rest, some that fit nowhere.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("bo", "bool", &["t", "false", "", "maybe"]),
    ("i2", "int2", &["-32768", "32767", "", "32768"]),
    ("i4", "int", &["-2147483648", "0", "", "1.5"]),
    ("i8", "bigint", &["9223372036854775807", "-1", ""]),
    ("f4", "real", &["1.5", "-0", "NaN", "Infinity", "", "1e300"]),
    ("f8", "double precision", &["0.1", "-1e308", "nan", "-Infinity", ""]),
    (
        "n",
        "numeric",
        &[
            "0",
            "0.000",
            "-0.5",
            "10000",
            "100000000",
            "1e-20",
            "NaN",
            "Infinity",
            "",
            "12345678901234567890123456789012345678.123456789",
            "1e400",
            "0.00000000000000000000000000000000000000000000000000000000000000000000001",
        ],
    ),
    ("np", "numeric(12,2)", &["0", "0.00", "1", "-1.005", "9999999999.99", "9999999999.999", "123.4", ""]),
    ("nw", "numeric(5,3)", &["99.999", "99.9995", "0.001", "-0.0004", ""]),
    ("ns", "numeric(4,-2)", &["123456", "49", "50", "999949", ""]),
    ("t", "text", &["", "x", "Zürich", "LONG", "EXACT126", "EXACT127"]),
    ("v", "varchar(5)", &["", "abcde", "äöüäö", "abcdef", "abcde   "]),
    ("c", "char(4)", &["", "ab", "äöüß", "abcde"]),
    ("d", "date", &["2026-02-28", "0001-01-01", "infinity", "5874897-12-31", "", "2026-02-30"]),
    (
        "ts",
        "timestamp",
        &["2026-01-01 00:00:00.123456", "-infinity", "294276-12-31 23:59:59", "4714-11-24 00:00:00 BC", ""],
    ),
    ("tz", "timestamptz", &["2026-01-01 00:00:00+02", "infinity", ""]),
    ("tp", "timestamptz(3)", &["2026-01-01 00:00:00.1235+00", "2026-06-30 23:59:59.9999", ""]),
    ("ti", "time", &["23:59:59.999999", "24:00:00", "", "25:00"]),
    ("u", "uuid", &["00000000-0000-0000-0000-000000000000", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "", "no"]),
    ("j", "json", &["{\"\"a\"\": [1, 2]}", "null", "", "{"]),
    (
        "jb",
        "jsonb",
        &[
            "{\"\"a\"\": [1, 2.50]}",
            "\"\"x\"\"",
            "",
            "{\"\"a\"\"",
            " {\"\"bb\"\" : -0.0, \"\"a\"\":[true,null, {}, []] ,\"\"\"\":false}\t",
            "{\"\"a\"\": 1, \"\"b\"\": 2, \"\"a\"\": 3}",
            "\"\"\\u00e4 \\n \\/ \\\"\" \\\\ ä\"\"",
            "\"\"\\n \\/ \\\"\" \\\\ ä\"\"",
            "1e3",
            "-12345678901234567890.0123456789",
            "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40]",
            "[1,]",
            "01",
            "\"\"\\u0000\"\"",
        ],
    ),
    ("b", "bytea", &["\\x00ff", "abc", "", "\\x0"]),
    ("a", "int[]", &["{1,NULL,3}", "{}", "", "{1"]),
    ("ip", "inet", &["10.0.0.1/8", "::1", "", "10.0.0.256"]),
    ("iv", "interval", &["1 year 2 days 00:00:03", "-1 day", ""]),
    ("dom", "public.positive", &["1", "7", "", "-1"]),
    ("en", "public.mood", &["ok", "sad", "", "angry"]),
];

/// Each value once in an otherwise good record, and all first values, all second values … together.
fn lines() -> String {
    let long = "x".repeat(5_000);
    let field = |value: &str| match value {
        "" => String::new(),
        "LONG" => long.clone(),
        "EXACT126" => "y".repeat(126),
        "EXACT127" => "y".repeat(127),
        value => format!("\"{value}\""),
    };
    let header: Vec<&str> = COLUMNS.iter().map(|c| c.0).collect();
    let mut out = format!("{}\n", header.join(","));
    for round in 0..2 {
        for (i, (_, _, values)) in COLUMNS.iter().enumerate() {
            for value in *values {
                let record: Vec<String> = COLUMNS
                    .iter()
                    .enumerate()
                    .map(|(k, (_, _, others))| if k == i { field(value) } else { field(others[round]) })
                    .collect();
                out.push_str(&record.join(","));
                out.push('\n');
            }
        }
    }
    out
}

fn load(session: &mut Session, pipeline: &str, landing: &str, direct: &str) {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    session.execute(&format!(
        "SELECT millrace.create_pipeline('{pipeline}', source => '{landing}', columns => {}, staging => 'staging.{pipeline}', every => NULL, options => '{{\"settle\": 0}}');
         SET millrace.direct_load = {direct}",
        quote(&columns.join(", "))
    ));
    session.execute(&format!("CALL millrace.run('{pipeline}')"));
    retail::assert_verified(session, pipeline);
}

#[test]
fn rows_that_go_straight_into_the_table_are_those_that_copy_would_store() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("direct_types");
    let landing = server.create_dir("direct_types_landing");
    session.execute(
        "CREATE SCHEMA staging; CREATE DOMAIN public.positive AS int CHECK (VALUE > 0); CREATE TYPE public.mood AS ENUM ('ok', 'sad')",
    );
    land(&landing, "all.csv", lines().as_bytes());
    load(&mut session, "straight", &format!("{}/*.csv", url(&landing)), "on");
    load(&mut session, "by_copy", &format!("{}/*.csv", url(&landing)), "off");

    let stored: Vec<String> =
        COLUMNS.iter().map(|(name, ..)| format!("{name}::text, pg_column_size({name})")).collect();
    let rows = |table: &str| format!("SELECT _row_no, {} FROM staging.{table} ORDER BY _row_no", stored.join(", "));
    let straight = session.rows(&rows("straight"));
    assert!(straight.len() > 100, "most records are good: {}", straight.len());
    assert_eq!(straight, session.rows(&rows("by_copy")));
    let looked_up = "SELECT jb -> 'bb', jb -> 'a', jb -> -1, jb -> 35, jb FROM staging.TABLE";
    let by_postgres = looked_up.replace("jb", "(jb::text::jsonb)").replace("TABLE", "straight");
    assert_eq!(session.lines(&looked_up.replace("TABLE", "straight")), session.lines(&by_postgres));
    let rejects = |table: &str| format!("SELECT _row_no, reasons FROM staging.{table}_rejects ORDER BY _row_no");
    let rejected = session.rows(&rejects("straight"));
    assert!(rejected.len() > 20, "values that fit nowhere are rejects: {}", rejected.len());
    assert_eq!(rejected, session.rows(&rejects("by_copy")));
}

#[test]
fn constraints_indexes_and_expectations_hold_for_rows_that_go_straight_in() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("direct_rules");
    let landing = server.create_dir("direct_rules_landing");
    session.execute("CREATE SCHEMA staging");
    let records: String = (0..3_000).map(|i| format!("{i},{},{}\n", i % 7 - 1, i % 11)).collect();
    land(&landing, "a.csv", format!("id,amount,kind\n{records}1,5,5\n").as_bytes());
    let mut results = vec![];
    for (pipeline, direct) in [("straight", "on"), ("by_copy", "off")] {
        session.execute(&format!(
            "CREATE TABLE staging.{pipeline} (_chunk_no bigint NOT NULL, _row_no bigint NOT NULL, id int PRIMARY KEY, amount int,
                 kind int NOT NULL CHECK (kind <> 3));
             SELECT millrace.create_pipeline('{pipeline}', source => '{}/*.csv', staging => 'staging.{pipeline}', every => NULL, options => '{{\"settle\": 0}}');
             SELECT millrace.add_expectation('{pipeline}', 'not negative', 'amount >= 0');
             SELECT millrace.add_expectation('{pipeline}', 'not zero', 'amount <> 0', on_violation => 'warn');
             SET millrace.direct_load = {direct}",
            url(&landing)
        ));
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
        session.execute("SET enable_seqscan = off");
        retail::assert_verified(&mut session, pipeline);
        results.push([
            session.lines(&format!("SELECT id, amount, kind FROM staging.{pipeline} WHERE id >= 0 ORDER BY id")),
            session.lines(&format!(
                "SELECT _row_no, raw, replace(reasons::text, '{pipeline}', ''), r ->> 'rule', r ->> 'sqlstate', reasons::text::jsonb = reasons, pg_column_size(reasons::text::jsonb) - pg_column_size(reasons) BETWEEN 0 AND 3
                   FROM staging.{pipeline}_rejects, jsonb_array_elements(reasons) r ORDER BY 1, 4"
            )),
            session.lines(&format!(
                "SELECT expectation, checked, violated FROM millrace.expectation_results WHERE pipeline = '{pipeline}' ORDER BY 1"
            )),
        ]);
    }
    let copied = results.pop().unwrap();
    let straight = results.pop().unwrap();
    assert!(straight[0].len() > 2_000 && straight[1].len() > 400, "{} and {}", straight[0].len(), straight[1].len());
    assert_eq!(straight, copied);
}

/// What autovacuum and monitors go by.
const COUNTERS: &str =
    "n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, n_dead_tup, n_mod_since_analyze, n_ins_since_vacuum";

#[test]
fn the_servers_counters_of_a_staging_table_are_those_after_copy() {
    let server = Site::of(module_path!(), Preload::Yes);
    let mut session = server.create_database("direct_counters");
    let landing = server.create_dir("direct_counters_landing");
    let records: String = (0..3_000).map(|i| format!("{i},{}\n", i % 7)).collect();
    land(&landing, "a.csv", format!("id,amount\n{records}x,1\n").as_bytes());
    land(&landing, "b.csv", b"id,amount\n1,2\n3,4\n");
    // Nobody vacuums or analyzes them meanwhile.
    let plain = "(_chunk_no bigint, _row_no bigint, id int, amount int) WITH (autovacuum_enabled = off)";
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE TABLE staging.copied {plain};
         COPY staging.copied (id) FROM PROGRAM 'seq 3002'"
    ));
    let counters = |session: &mut Session, table: &str| {
        session.execute("SELECT pg_stat_force_next_flush()");
        session.line(&format!("SELECT {COUNTERS} FROM pg_stat_user_tables WHERE relid = 'staging.{table}'::regclass"))
    };
    let copied = counters(&mut session, "copied");
    assert_eq!(copied, "3002|0|0|3002|0|3002|3002");
    for (pipeline, direct, every) in
        [("straight", "on", "NULL"), ("by_copy", "off", "NULL"), ("by_worker", "on", "'50 ms'")]
    {
        session.execute(&format!(
            "CREATE TABLE staging.{pipeline} {plain};
             SET millrace.direct_load = {direct};
             SELECT millrace.create_pipeline('{pipeline}', source => '{}/*.csv', staging => 'staging.{pipeline}', every => {every},
                 options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}')",
            url(&landing)
        ));
        if every == "NULL" {
            session.execute(&format!("CALL millrace.run('{pipeline}')"));
        }
        wait_until(&format!("the counters of {pipeline} are those after COPY"), SOON, || {
            counters(&mut session, pipeline) == copied
        });
    }
    // Of a staging table in partitions, which is what it is by default, they are those of the partitions.
    session.execute(&format!(
        "SELECT millrace.create_pipeline('parts', source => '{}/*.csv', columns => 'id int, amount int', staging => 'staging.parts', every => NULL,
             options => '{{\"settle\": 0}}')",
        url(&landing)
    ));
    session.execute("CALL millrace.run('parts')");
    session.execute("SELECT pg_stat_force_next_flush()");
    let of = |table: &str| {
        format!(
            "SELECT sum(n_tup_ins) FROM pg_partition_tree('staging.{table}') t JOIN pg_stat_user_tables s ON s.relid = t.relid"
        )
    };
    assert_eq!(session.number(&of("parts")), 3_002);
    assert_eq!(session.number(&of("parts_rejects")), 1);
}

#[test]
fn the_index_on_chunks_finds_every_row_of_a_chunk() {
    let server = Site::of(module_path!(), Preload::No);
    let landing = server.create_dir("direct_chunks");
    let mut session = server.create_database("direct_chunks");
    session.execute(&format!(
        "CREATE SCHEMA staging;
         SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => 'id int, filler text', staging => 'staging.p', every => NULL,
             options => '{{\"settle\": 0, \"max_files_per_chunk\": 1}}')",
        url(&landing)
    ));
    // Chunks that share a block with the one before, chunks of many blocks, and rows that came by another way in between.
    for (i, rows) in [10, 20_000, 1, 1, 300, 9_000, 5].iter().enumerate() {
        let lines: String = (0..*rows).map(|row| format!("{row},{}\n", "x".repeat(row % 90))).collect();
        land(&landing, &format!("{i}.csv"), format!("id,filler\n{lines}").as_bytes());
        session.execute("CALL millrace.run('p')");
        if i == 3 {
            session.execute(
                "SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                             WHERE c.relname LIKE 'p\\_p%'",
            );
        }
    }
    session.execute("SET enable_seqscan = off");
    assert!(
        session.lines("EXPLAIN SELECT * FROM staging.p WHERE _chunk_no = 6").join("\n").contains("Bitmap Index Scan")
    );
    for (chunk, rows) in [(1, 10), (2, 20_000), (3, 1), (4, 1), (5, 300), (6, 9_000), (7, 5)] {
        assert_eq!(
            session.number(&format!("SELECT count(*) FROM staging.p WHERE _chunk_no = {chunk}")),
            rows,
            "chunk {chunk}"
        );
    }
}
