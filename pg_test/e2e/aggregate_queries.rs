//! Every query of pg_test/aggregates: the supported ones show what a recompute shows after each chunk of awkward rows, the others
//! are refused by name.

use crate::lake::{Case, Storage};
use crate::retail::assert_verified;
use crate::server::Preload;
use crate::sql::quote;

const STAGING: &str = include_str!("../aggregates/staging.sql");
const SUPPORTED: &str = include_str!("../aggregates/supported.sql");
const REFUSED: &str = include_str!("../aggregates/refused.sql");

/// Name and text of each query of a file.
fn queries(file: &str) -> Vec<(&str, &str)> {
    let parts = file.split("-- name: ").skip(1);
    parts.map(|part| part.split_once('\n').map(|(name, text)| (name, text.trim())).unwrap()).collect()
}

fn sales(name: &str) -> Case {
    let mut case = empty(name);
    case.session.execute(STAGING);
    case.session.execute(&format!(
        "SELECT setseed(0.25);
         SELECT millrace.create_pipeline('sales', source => '{}/*.csv', columns => 'city text COLLATE \"C\"',
                staging => 'staging.sales', every => NULL, options => '{{\"settle\": 0}}')",
        case.lake.landing()
    ));
    case
}

/// Without the schema that the queries' own script makes.
fn empty(name: &str) -> Case {
    let mut case = Case::new(Storage::of(module_path!()), name, Preload::No);
    case.session.execute("DROP SCHEMA staging");
    case
}

/// The same with a key that later rows replace.
fn keyed_sales(name: &str) -> Case {
    let mut case = empty(name);
    let plain: Vec<&str> = STAGING.lines().filter(|line| !line.contains("PARTITION OF")).collect();
    case.session.execute(&plain.join("\n").replace(") PARTITION BY RANGE (_chunk_no);", ");"));
    case.session.execute(&format!(
        "SELECT setseed(0.75);
         ALTER TABLE staging.sales ADD COLUMN key bigint PRIMARY KEY;
         SELECT millrace.create_pipeline('sales', source => '{}/*.csv', columns => 'key bigint', staging => 'staging.sales', every => NULL,
                options => '{{\"primary_key\": [\"key\"], \"delete_when\": \"level = 2\", \"settle\": 0}}')",
        case.lake.landing()
    ));
    case
}

/// Lands a file of random rows and loads it.
fn load(case: &mut Case, file: &str, rows: u32) {
    let session = &mut case.session;
    let columns = session.value(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'staging.sales'::regclass AND attnum > 0 AND attname NOT IN ('_chunk_no', '_row_no')",
    );
    let path = case.server.create_dir(&format!("{}_made", case.database)).join(file);
    session.execute(&format!(
        "SELECT staging.make({rows});
         COPY (SELECT {columns} FROM (SELECT *, 1 + floor(random() * 200) AS key FROM staging.fresh) AS fresh) TO {} (FORMAT csv, HEADER)",
        quote(path.to_str().unwrap())
    ));
    case.lake.land(file, &std::fs::read(path).unwrap());
    session.execute("CALL millrace.run('sales')");
}

#[test]
fn each_supported_query_shows_what_a_recompute_shows_after_each_chunk() {
    let mut case = sales("supported_queries");
    let queries = queries(SUPPORTED);
    for (i, (_, query)) in queries.iter().enumerate() {
        case.session.execute(&format!("SELECT millrace.create_aggregate('sales', 'q{i}', {})", quote(query)));
    }
    assert_verified(&mut case.session, "sales");
    for chunk in 0..4 {
        load(&mut case, &format!("{chunk}.csv"), 150);
        assert_verified(&mut case.session, "sales");
    }
    assert_eq!(case.session.number("SELECT count(*) FROM staging.sales_rejects"), 0);
    // The same made over rows that are there already.
    for (i, (_, query)) in queries.iter().enumerate() {
        case.session.execute(&format!("SELECT millrace.create_aggregate('sales', 'late_{i}', {})", quote(query)));
    }
    load(&mut case, "last.csv", 150);
    assert_verified(&mut case.session, "sales");
}

#[test]
fn each_supported_query_shows_what_a_recompute_shows_where_rows_are_replaced() {
    let mut case = keyed_sales("supported_keyed_queries");
    for (i, (_, query)) in queries(SUPPORTED).iter().enumerate() {
        case.session.execute(&format!("SELECT millrace.create_aggregate('sales', 'q{i}', {})", quote(query)));
    }
    for chunk in 0..8 {
        load(&mut case, &format!("{chunk}.csv"), 60);
        assert_verified(&mut case.session, "sales");
    }
    assert!(case.session.number("SELECT count(*) FROM staging.sales") < 8 * 60, "no row was replaced");
}

#[test]
fn each_query_that_can_not_be_kept_is_refused_by_name() {
    let mut case = sales("refused_queries");
    for (name, text) in queries(REFUSED) {
        let (expected, query) = text.strip_prefix("-- error: ").unwrap().split_once('\n').unwrap();
        let (state, message) = expected.split_once(' ').unwrap();
        let error =
            case.session.raises(&format!("SELECT millrace.create_aggregate('sales', 'a', {})", quote(query)), state);
        assert!(error.message().contains(message), "{name}: {}", error.message());
    }
    assert_eq!(case.session.value("SELECT to_regclass('staging.a')"), "");
}
