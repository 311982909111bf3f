//! What a rule means: for rows on their way into a table that are judged before Postgres sees them, the same as in a query.

use crate::server::Preload;
use crate::site::{Site, land, url};
use crate::sql::quote;

/// Values of each column, some of which are in no order with others, or equal to what looks otherwise.
const JUDGED: &[(&str, &str, &[&str])] = &[
    ("i2", "int2", &["-32768", "0", "3", "4", ""]),
    ("i4", "int", &["1", "2", "3", "-1", "", "2147483647"]),
    ("i8", "bigint", &["10000000000", "-10000000000", "0", ""]),
    ("f4", "real", &["1.5", "-0", "NaN", "Infinity", "", "0.1"]),
    ("f8", "double precision", &["0", "-0", "nan", "-Infinity", "", "0.1", "1e300"]),
    (
        "n",
        "numeric",
        &["0", "0.000", "-0.1", "0.10", "12345678901234567890.5", "1e-20", "NaN", "Infinity", "-Infinity", "", "10000"],
    ),
    ("m", "numeric(12,2)", &["0", "-0.01", "10000", "9999.99", ""]),
    ("t", "text", &["\"\"", "a", "A", "Zürich", "b", "", "ab  "]),
    ("v", "varchar(5)", &["x", "y", "", "xy"]),
    ("c", "char(4)", &["ab", "x", ""]),
    ("d", "date", &["2026-01-01", "2026-01-02", "infinity", "-infinity", ""]),
    ("ts", "timestamp", &["2026-01-01 00:00:00", "2025-12-31 23:59:59.999999", "infinity", ""]),
    ("tz", "timestamptz", &["2026-01-01 00:00:00+02", "-infinity", "", "2026-06-01 00:00+00"]),
    ("b", "bool", &["t", "f", ""]),
];

const RULES: &[&str] = &[
    "i2 > 3",
    "3 <= i2",
    "i2 > 70000",
    "i4 <> 1",
    "i8 >= 10000000000",
    "i8 < 5",
    "i4 BETWEEN -1 AND 2",
    "i4 IN (1, 2)",
    "i4 IN (1, NULL)",
    "i4 NOT IN (1, 2)",
    "i4 NOT IN (1, NULL)",
    "i4 = ANY ('{}')",
    "i4 <> ALL ('{}')",
    "i4 > i2",
    "f4 < '1.5'",
    "f4 >= '0.1'::float8",
    "f4 = 'NaN'",
    "f8 >= 0",
    "f8 <> 'NaN'",
    "f8 > '-Infinity'",
    "f8 IN (0, 'NaN')",
    "n >= 0",
    "n > -0.1",
    "n < 12345678901234567890.5",
    "n <> 'NaN'",
    "n = 0.1",
    "n <= 'Infinity'",
    "n IN (0.1, 10000)",
    "m > 0",
    "10000 > m",
    "t <> ''",
    "t = 'Zürich'",
    "t IN ('a', 'b', '')",
    "t NOT IN ('a', 'b')",
    "t < 'b'",
    "t COLLATE \"C\" = 'a'",
    "t COLLATE public.no_case = 'a'",
    "t COLLATE public.no_case IN ('a', 'zürich')",
    "v <> 'x'",
    "v IN ('x', 'xy')",
    "c = 'ab'",
    "d > '2026-01-01'",
    "d >= ts",
    "ts >= '2026-01-01 00:00'",
    "tz < '2026-06-01 00:00+00'",
    "tz > d",
    "b",
    "NOT b",
    "t IS NULL",
    "t IS NOT NULL",
    "i4 > 0 OR f8 > 0",
    "(i4 > 0) IS NOT FALSE",
    "i4 > 0 AND n > 0 AND t > ''",
];

#[test]
fn a_rule_means_what_it_means_in_a_query_for_rows_that_go_straight_in() {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database("direct_judged");
    let landing = server.create_dir("direct_judged_landing");
    let names: Vec<&str> = JUDGED.iter().map(|c| c.0).collect();
    let record = |row: usize| -> String {
        let value =
            |(i, (_, _, values)): (usize, &(&str, &str, &[&'static str]))| values[(row + row / (i + 2)) % values.len()];
        JUDGED.iter().enumerate().map(value).collect::<Vec<_>>().join(",")
    };
    let records: Vec<String> = (0..150).map(record).collect();
    let file = format!("{}\n{}\n", names.join(","), records.join("\n"));
    session.execute(
        "CREATE SCHEMA staging; CREATE COLLATION public.no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    let columns: Vec<String> = JUDGED.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*.csv', columns => '{}', staging => 'staging.p', every => NULL, options => '{{\"settle\": 0}}');
         SELECT millrace.add_expectation('p', 'rule', 'true', on_violation => 'warn')",
        url(&landing),
        columns.join(", ")
    ));
    // Each by itself: only then a row goes in that nothing but the comparison has looked at.
    for (i, (rule, null_passes)) in RULES.iter().flat_map(|rule| [(rule, false), (rule, true)]).enumerate() {
        session.execute(&format!(
            "SELECT millrace.alter_expectation('p', 'rule', condition => {}, null_passes => {null_passes})",
            quote(rule)
        ));
        land(&landing, &format!("{i:03}.csv"), file.as_bytes());
        session.execute("CALL millrace.run('p')");
        let found = "SELECT checked, violated FROM millrace.expectation_results ORDER BY chunk_no DESC LIMIT 1";
        let violated = format!(
            "SELECT count(*), count(*) FILTER (WHERE NOT coalesce(({rule}), {null_passes})) FROM staging.p WHERE _chunk_no = {}",
            i + 1
        );
        assert_eq!(session.line(found), session.line(&violated), "{rule}, null_passes {null_passes}");
    }
}
