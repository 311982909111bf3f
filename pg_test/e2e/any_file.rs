//! Random files against random columns: whatever comes, every record is loaded, rejected or dropped, and nothing is lost.
//!
//! `MILLRACE_SEED` repeats a run (it is printed), `MILLRACE_FILES` makes it longer.

use crate::retail;
use crate::server::{Preload, note};
use crate::site::{Site, land, url};
use crate::sql::Session;

/// A small generator of numbers: the same seed gives the same files.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        let place = self.below(some.len());
        &some[place]
    }
}

const TYPES: [&str; 18] = [
    "smallint",
    "int",
    "bigint",
    "numeric",
    "numeric(6,2)",
    "real",
    "float8",
    "boolean",
    "text",
    "varchar(3)",
    "char(2)",
    "date",
    "timestamp",
    "timestamptz",
    "uuid",
    "jsonb",
    "int[]",
    "bytea",
];

const VALUES: [&str; 46] = [
    "",
    "0",
    "1",
    "-1",
    "+7",
    " 8 ",
    "32768",
    "2147483648",
    "9223372036854775808",
    "1e3",
    "1e400",
    "-0",
    "1.005",
    "12345.678",
    "NaN",
    "Infinity",
    "-inf",
    "0x1F",
    "1_000",
    "1,5",
    "abc",
    "NULL",
    "null",
    "t",
    "yes",
    "off",
    "2024-02-30",
    "2024-02-29",
    "0001-01-01 BC",
    "294277-01-01",
    "2024-01-01 25:00",
    "12:34:56",
    "2024-03-31 02:30:00+02",
    "{}",
    "[1,2]",
    "{1,2}",
    "{\"a\":",
    "\\x00",
    "\\xzz",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "\u{e9}t\u{e9}",
    "\u{1f600}",
    "\u{feff}x",
    "a\tb",
    "'; DROP TABLE p; --",
    "\u{a0}9",
];

fn field(dice: &mut Dice) -> Vec<u8> {
    let text = *dice.of(&VALUES);
    match dice.below(40) {
        0 => b"\xff\xfe".to_vec(),
        1 => b"a\0b".to_vec(),
        2 => b"\"unclosed".to_vec(),
        3 => b"mid\"dle".to_vec(),
        4..=9 => format!("\"{}\"", text.replace('"', "\"\"")).into_bytes(),
        10 => format!("\"{text}\r\n{text}\"").into_bytes(),
        _ if text.contains([',', '"']) => format!("\"{}\"", text.replace('"', "\"\"")).into_bytes(),
        _ => text.as_bytes().to_vec(),
    }
}

fn file(dice: &mut Dice, names: &[String]) -> Vec<u8> {
    let mut order: Vec<&String> = names.iter().collect();
    for i in (1..order.len()).rev() {
        order.swap(i, dice.below(i + 1));
    }
    order.truncate(1 + dice.below(order.len()));
    let mut header: Vec<String> = order.into_iter().cloned().collect();
    if dice.below(3) == 0 {
        header.push("unknown".into());
    }
    let mut out = header.join(",").into_bytes();
    let end: &[u8] = if dice.below(2) == 0 { b"\n" } else { b"\r\n" };
    out.extend_from_slice(end);
    for _ in 0..dice.below(60) {
        let fields = match dice.below(15) {
            0 => header.len() + 1,
            1 => header.len().saturating_sub(1).max(1),
            _ => header.len(),
        };
        for i in 0..fields {
            if i > 0 {
                out.push(b',');
            }
            out.extend(field(dice));
        }
        out.extend_from_slice(end);
    }
    out
}

fn accounted(session: &mut Session, pipeline: &str, seed: u64) {
    let landed = "(SELECT coalesce(sum((f ->> 'records')::bigint), 0) FROM millrace.chunks c, jsonb_array_elements(c.source -> 'files') f";
    let counts = session.line(&format!(
        "SELECT {landed} WHERE c.pipeline = '{pipeline}'),
                (SELECT coalesce(sum(row_count - requeued_count + reject_count + dropped_count + duplicate_count), 0)
                   FROM millrace.chunks WHERE pipeline = '{pipeline}'),
                (SELECT count(*) FROM staging.{pipeline}), (SELECT coalesce(sum(row_count), 0) FROM millrace.chunks WHERE pipeline = '{pipeline}')"
    ));
    let counts: Vec<&str> = counts.split('|').collect();
    assert_eq!(counts[0], counts[1], "seed {seed}, {pipeline}: landed = loaded + rejected + dropped");
    assert_eq!(counts[2], counts[3], "seed {seed}, {pipeline}: rows are there");
    retail::assert_verified(session, pipeline);
}

#[test]
fn every_record_of_any_file_is_loaded_rejected_or_dropped_and_loads_once_its_column_is_text() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("MILLRACE_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 16 | 7);
    let rounds = number("MILLRACE_FILES").unwrap_or(24) / 8;
    note(&format!("any_file: MILLRACE_SEED={seed}"));
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("any_file");
    session.execute("CREATE SCHEMA staging");
    let mut dice = Dice(seed);
    for round in 0..rounds.max(1) {
        let pipeline = format!("p{round}");
        let landing = server.create_dir(&format!("any_file_{round}"));
        let names: Vec<String> = (0..1 + dice.below(6)).map(|i| format!("c{i}")).collect();
        let columns: Vec<String> = names
            .iter()
            .map(|name| format!("{name} {}{}", dice.of(&TYPES), if dice.below(6) == 0 { " NOT NULL" } else { "" }))
            .collect();
        let rescue = dice.below(3) == 0;
        let options = if rescue {
            r#"{"settle": 0, "on_new_column": "rescue", "max_files_per_chunk": 3}"#
        } else {
            r#"{"settle": 0}"#
        };
        session.execute(&format!(
            "SELECT millrace.create_pipeline('{pipeline}', source => '{}/*.csv', columns => '{}', staging => 'staging.{pipeline}',
                every => NULL, options => '{options}');
             SELECT millrace.add_expectation('{pipeline}', 'dropped', 'length(c0::text) <> 1', on_violation => 'drop', null_passes => true)",
            url(&landing),
            columns.join(", ")
        ));
        for i in 0..8 {
            land(&landing, &format!("{i}.csv"), &file(&mut dice, &names));
        }
        session.execute(&format!("CALL millrace.run('{pipeline}')"));
        accounted(&mut session, &pipeline, seed);

        // Once every column takes any text, what was rejected for its values loads as it landed.
        session.execute(&format!("SELECT millrace.drop_expectation('{pipeline}', 'dropped')"));
        let alter: Vec<String> =
            names.iter().map(|n| format!("ALTER {n} TYPE text USING {n}::text, ALTER {n} DROP NOT NULL")).collect();
        session.execute(&format!("ALTER TABLE staging.{pipeline} {}", alter.join(", ")));
        session.execute(&format!("SELECT millrace.requeue_rejects('{pipeline}')"));
        let left = session.lines(&format!(
            "SELECT raw, reasons FROM staging.{pipeline}_rejects
              WHERE status = 'rejected' AND raw IS NOT NULL AND reasons -> 0 ->> 'sqlstate' <> '22P04'"
        ));
        assert!(left.is_empty(), "seed {seed}: columns {columns:?}: {left:?}");
        accounted(&mut session, &pipeline, seed);
        // And what never was a record of its fields loads whole, as text or bytes.
        session.execute(&format!(
            "SELECT millrace.requeue_rejects('{pipeline}', fix => $$c0 = coalesce(_record, encode(_bytes, 'escape'))$$)"
        ));
        let left = session.lines(&format!(
            "SELECT raw, raw_bytes, reasons FROM staging.{pipeline}_rejects WHERE status = 'rejected'"
        ));
        assert!(left.is_empty(), "seed {seed}: {left:?}");
        accounted(&mut session, &pipeline, seed);
    }
}

#[test]
fn reasons_are_those_that_postgres_itself_gives() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("any_reasons");
    session.execute(
        "CREATE SCHEMA staging;
         CREATE FUNCTION said(text, text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE result text;
         BEGIN
             EXECUTE format('SELECT %L::%s::text', $1, $2) INTO result;
             RETURN NULL;
         EXCEPTION WHEN OTHERS THEN
             RETURN SQLSTATE || ' ' || SQLERRM;
         END $$",
    );
    let words = [
        "abc",
        "maybe",
        "xyz1",
        "someday",
        "march",
        "12x",
        "99999999999x",
        "-x",
        "zulu",
        "allballs",
        "est",
        "true1",
        "g0",
    ];
    for (i, type_name) in TYPES.iter().filter(|t| !t.contains('(') && **t != "text").enumerate() {
        let landing = server.create_dir(&format!("any_reasons_{i}"));
        let values = VALUES.iter().chain(&words).filter(|v| !v.is_empty());
        let lines: String = values.map(|v| format!("\"{}\"\n", v.replace('"', "\"\""))).collect();
        land(&landing, "1.csv", format!("c\n{lines}").as_bytes());
        session.execute(&format!(
            "SELECT millrace.create_pipeline('r{i}', source => '{}/*.csv', columns => 'c {type_name}', staging => 'staging.r{i}', every => NULL, options => '{{\"settle\": 0}}')",
            url(&landing)
        ));
        session.execute(&format!("CALL millrace.run('r{i}')"));
        let differing = session.lines(&format!(
            "SELECT raw, reasons -> 0 ->> 'sqlstate', reasons -> 0 ->> 'message', said(reasons -> 0 ->> 'value', '{type_name}')
               FROM staging.r{i}_rejects
              WHERE (reasons -> 0 ->> 'sqlstate') || ' ' || (reasons -> 0 ->> 'message') IS DISTINCT FROM said(reasons -> 0 ->> 'value', '{type_name}')"
        ));
        assert!(differing.is_empty(), "{type_name}: {differing:#?}");
    }
}
