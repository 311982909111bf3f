//! Transforms: plain SQL between the records and the staging table. A record is one whole, whatever is made of it; none is lost.

use crate::retail;
use crate::server::Preload;
use crate::site::{Place, Site, at_once, land, url};
use crate::sql::{Session, quote};

struct Case {
    server: Site,
    session: Session,
    landing: Place,
}

const COLUMNS: &str = "id int NOT NULL, name text, amount text, cur text, items jsonb";
const TRANSFORM: &str = "SELECT id, upper(btrim(name)) AS name, (amount::numeric * r.rate)::numeric(12,2) AS eur, item
    FROM input LEFT JOIN rates r USING (cur) CROSS JOIN LATERAL jsonb_array_elements_text(items) AS item
   WHERE name <> 'skip'";

fn case(name: &str) -> Case {
    let server = Site::of(module_path!(), Preload::No);
    let mut session = server.create_database(name);
    let landing = server.create_dir(&format!("{name}_landing"));
    session.execute(
        "CREATE SCHEMA staging;
         CREATE TABLE rates (cur text PRIMARY KEY, rate numeric);
         INSERT INTO rates VALUES ('EUR', 1), ('USD', 0.9)",
    );
    Case { server, session, landing }
}

impl Case {
    fn create(&mut self, columns: &str, transform: &str, rest: &str) {
        let statement = self.statement(columns, transform, rest);
        self.session.execute(&statement);
    }

    fn statement(&self, columns: &str, transform: &str, rest: &str) -> String {
        format!(
            "SELECT millrace.create_pipeline('p', source => '{}/*', columns => {}, staging => 'staging.p', every => NULL, transform => {}{})",
            url(&self.landing),
            quote(columns),
            quote(transform),
            with_settle(rest)
        )
    }

    fn land_and_run(&mut self, file: &str, text: &str) {
        land(&self.landing, file, text.as_bytes());
        self.session.execute("CALL millrace.run('p')");
    }

    fn lines(&mut self, sql: &str) -> Vec<String> {
        self.session.lines(sql)
    }

    fn counts(&mut self) -> String {
        self.session.line(
            "SELECT row_count, derived_count, filtered_count, reject_count, dropped_count, duplicate_count
               FROM millrace.chunks ORDER BY chunk_no DESC LIMIT 1",
        )
    }

    fn rejected(&mut self) -> Vec<String> {
        self.lines("SELECT row_no, status, reasons -> 0 ->> 'rule', reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects ORDER BY chunk_no, _row_no")
    }

    fn verified(&mut self) {
        retail::assert_verified(&mut self.session, "p");
    }
}

/// What else the pipeline is given; files are read at once whatever its options are.
fn with_settle(rest: &str) -> String {
    match rest.split_once("options => '") {
        Some((before, options)) => format!("{before}options => '{}", at_once(options)),
        None => format!("{rest}, options => '{}'", at_once("{}")),
    }
}

const RECORDS: &str = r#"id,name,amount,cur,items
1, bob ,10,EUR,"[""a"",""b""]"
2,skip,20,USD,"[""a""]"
3,al,30,USD,"[""a"",""z"",""c""]"
4,bad,x,USD,"[""a""]"
5,neg,-3,USD,"[""a"",""b""]"
6,none,4,EUR,[]
,noid,4,EUR,[]
8,odd,4,EUR,"[""a"",""quarantined""]"
9,onlyz,4,EUR,"[""z""]"
"#;

#[test]
fn rows_are_trimmed_looked_up_exploded_and_filtered_and_every_record_is_accounted_for() {
    let mut case = case("transform_all");
    case.create(COLUMNS, TRANSFORM, "");
    case.session.execute(
        "SELECT millrace.add_expectation('p', 'positive', 'eur > 0');
         SELECT millrace.add_expectation('p', 'usual', $$item <> 'quarantined'$$);
         SELECT millrace.add_expectation('p', 'no z', $$item <> 'z'$$, on_violation => 'drop');
         SELECT millrace.add_expectation('p', 'no c', $$item <> 'c'$$, on_violation => 'warn')",
    );
    case.land_and_run("a.csv", RECORDS);
    assert_eq!(
        case.lines("SELECT id, name, eur, item, _row_no FROM staging.p ORDER BY _row_no, item"),
        ["1|BOB|10.00|a|1", "1|BOB|10.00|b|1", "3|AL|27.00|a|3", "3|AL|27.00|c|3"]
    );
    assert_eq!(
        case.rejected(),
        [
            "4|rejected|transform|22P02",
            "5|rejected|positive|23514",
            "7|rejected||23502",
            // One of its rows was good; a record is rejected whole.
            "8|rejected|usual|23514",
        ]
    );
    assert_eq!(case.counts(), "4|3|2|4|2|0");
    assert_eq!(
        case.lines("SELECT rows, derived, filtered, rejects, dropped FROM millrace.files"),
        ["4|3|2|4|2"],
        "the ledger says the same"
    );
    assert_eq!(
        case.lines("SELECT expectation, violated FROM millrace.expectation_results ORDER BY 1"),
        ["no c|1", "no z|2", "positive|2", "usual|1"]
    );
    assert_eq!(case.lines("SELECT path, record_no FROM millrace.lineage('p', 1, 3)"), ["a.csv|3"]);
    assert_eq!(
        case.session.number("SELECT count(*) FROM staging.p_input"),
        0,
        "records are kept no longer than needed"
    );
    case.verified();

    // The fix is over the record's fields; what comes back goes through the transform again.
    assert_eq!(
        case.session.number("SELECT millrace.requeue_rejects('p', fix => $$id = coalesce(id, 7), amount = '7', items = '[\"a\", \"b\"]'$$)"),
        4
    );
    assert_eq!(
        case.lines("SELECT id, eur, item FROM staging.p WHERE _chunk_no = 2 ORDER BY id, item"),
        ["4|6.30|a", "4|6.30|b", "5|6.30|a", "5|6.30|b", "7|7.00|a", "7|7.00|b", "8|7.00|a", "8|7.00|b"]
    );
    assert_eq!(case.counts(), "8|4|0|0|0|0");
    let from = "SELECT s.id, l.path, l.record_no FROM staging.p s, millrace.lineage('p', s._chunk_no, s._row_no) l
                 WHERE s._chunk_no = 2 AND s.item = 'a' ORDER BY s.id";
    assert_eq!(case.lines(from), ["4|a.csv|4", "5|a.csv|5", "7|a.csv|7", "8|a.csv|8"]);
    case.verified();
}

#[test]
fn a_raw_layer_keeps_the_records_as_they_landed_and_aggregates_see_the_rows() {
    let mut case = case("transform_raw");
    let raw = case.server.create_dir("transform_raw_lake");
    case.create(COLUMNS, TRANSFORM, &format!(", raw => '{}/raw'", url(&raw)));
    case.session.execute(
        "SELECT millrace.create_aggregate('p', 'by_item', 'SELECT item, count(*) AS n, sum(eur) AS eur FROM staging.p GROUP BY item')",
    );
    case.land_and_run("a.csv", RECORDS);
    case.land_and_run("b.csv", RECORDS);
    assert_eq!(
        case.lines("SELECT item, n, eur FROM staging.by_item WHERE item <> 'quarantined' ORDER BY item"),
        ["a|8|76.60", "b|4|14.60", "c|2|54.00", "z|4|62.00"]
    );
    case.verified();
}

#[test]
fn half_of_the_records_raising_errors_leaves_the_other_half() {
    let mut case = case("transform_half");
    case.create("id int, amount text", "SELECT id, 100 / (amount::int - 1) AS share FROM input", "");
    let lines: String = (0..400)
        .map(|i| {
            format!(
                "{i},{}\n",
                if i % 2 == 0 {
                    "11"
                } else if i % 3 == 0 {
                    "1"
                } else {
                    "x"
                }
            )
        })
        .collect();
    case.land_and_run("a.csv", &format!("id,amount\n{lines}"));
    assert_eq!(
        case.lines("SELECT count(*), min(share), max(share), count(*) FILTER (WHERE id % 2 = 1) FROM staging.p"),
        ["200|10|10|0"]
    );
    assert_eq!(
        case.lines("SELECT reasons -> 0 ->> 'sqlstate', count(*) FROM staging.p_rejects GROUP BY 1 ORDER BY 1"),
        ["22012|67", "22P02|133"]
    );
    case.verified();
}

#[test]
fn a_keyed_pipeline_merges_what_the_transform_makes() {
    let mut case = case("transform_keyed");
    case.create(
        "order_id int, changed int, op text, lines jsonb",
        "SELECT order_id, (l ->> 'sku') AS sku, (l ->> 'n')::int AS n, changed, op FROM input, jsonb_array_elements(lines) AS l",
        r#", format => 'json', options => '{"primary_key": ["order_id", "sku"], "order_by": "changed", "delete_when": "op = ''D''"}'"#,
    );
    let order = |id: i32, changed: i32, op: &str, lines: &str| {
        format!("{{\"order_id\": {id}, \"changed\": {changed}, \"op\": \"{op}\", \"lines\": {lines}}}\n")
    };
    let two = r#"[{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]"#;
    case.land_and_run("1.json", &(order(1, 1, "U", two) + &order(2, 1, "U", two)));
    case.land_and_run(
        "2.json",
        &(order(1, 2, "U", r#"[{"sku": "a", "n": 5}, {"sku": "c", "n": "x"}]"#)
            + &order(2, 2, "D", r#"[{"sku": "b", "n": 0}]"#)
            + &order(2, 0, "U", r#"[{"sku": "a", "n": 9}]"#)
            + &order(3, 3, "U", r#"[{"sku": "a", "n": 7}]"#)),
    );
    assert_eq!(
        case.lines("SELECT order_id, sku, n FROM staging.p ORDER BY 1, 2"),
        ["1|a|1", "1|b|2", "2|a|1", "3|a|7"],
        "the record with a row that can't be made is rejected whole, an older row changes nothing"
    );
    assert_eq!(case.counts(), "2|0|0|1|0|1");
    case.verified();
}

#[test]
fn a_transform_may_be_given_changed_and_taken_away_and_must_fit_the_table() {
    let mut case = case("transform_alter");
    case.session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{}/*', columns => 'id int, name varchar(4)', staging => 'staging.p', every => NULL, options => '{{\"settle\": 0}}')",
        url(&case.landing)
    ));
    case.land_and_run("1.csv", "id,name\n1, a\n");
    case.session.execute("SELECT millrace.alter_pipeline('p', transform => 'SELECT id + 10 AS id, btrim(name) || ''!'' AS name FROM input AS i')");
    case.land_and_run("2.csv", "id,name\n2, b \n3,abcd\n");
    case.session
        .refused("SELECT millrace.alter_pipeline('p', transform => 'SELECT id, name, 1 AS other FROM input')", "42809");
    case.session.refused("SELECT millrace.alter_pipeline('p', transform => 'SELECT now() AS id FROM input')", "42809");
    case.session.execute(r#"SELECT millrace.alter_pipeline('p', options => '{"transform": null}')"#);
    case.land_and_run("3.csv", "id,name\n4, d\n");
    assert_eq!(case.lines("SELECT id, name FROM staging.p ORDER BY id"), ["1| a", "4| d", "12|b!"]);
    // As everywhere, a value that is too long is refused and not cut off.
    assert_eq!(case.lines("SELECT raw, reasons -> 0 ->> 'sqlstate' FROM staging.p_rejects"), ["3,abcd|22001"]);
    assert_eq!(case.session.value("SELECT to_regclass('staging.p_input')"), "", "its table goes with it");
    case.verified();
}

#[test]
fn what_a_transform_may_not_do_is_refused_by_name() {
    let mut case = case("transform_refused");
    case.session.execute(
        "CREATE TEMP TABLE mine (id int);
         CREATE VIEW chance AS SELECT random() AS r;
         CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql VOLATILE AS 'DELETE FROM rates; SELECT 1'",
    );
    for (transform, state, said) in [
        ("SELECT 1", "22023", "does not read FROM input"),
        ("", "22023", "empty"),
        ("DELETE FROM rates", "0A000", "DELETE"),
        ("SELECT id FROM input; SELECT id FROM input", "0A000", "more than one statement"),
        ("SELECT id INTO other FROM input", "0A000", "INTO"),
        ("SELECT id FROM input FOR UPDATE", "0A000", "FOR UPDATE"),
        ("SELECT id FROM input UNION ALL SELECT id FROM input", "0A000", "UNION"),
        ("SELECT count(*) AS n FROM input", "0A000", "aggregate"),
        ("SELECT id FROM input GROUP BY id", "0A000", "GROUP BY"),
        ("SELECT DISTINCT id FROM input", "0A000", "DISTINCT"),
        ("SELECT id, row_number() OVER () AS n FROM input", "0A000", "window"),
        ("SELECT id FROM input LIMIT 1", "0A000", "LIMIT"),
        ("SELECT id FROM input ORDER BY id", "0A000", "ORDER BY"),
        ("SELECT a.id FROM input a, input b", "0A000", "more than once"),
        ("SELECT r.rate FROM rates r LEFT JOIN input i USING (cur)", "0A000", "without a record"),
        ("SELECT random() AS r FROM input", "0A000", "random()"),
        ("SELECT r FROM input, chance", "0A000", "random()"),
        ("SELECT (SELECT writes(id)) AS x FROM input", "0A000", "writes(integer)"),
        ("SELECT nextval('s') AS x FROM input", "42P01", "\"s\""),
        ("WITH gone AS (DELETE FROM rates RETURNING 1) SELECT id FROM input", "0A000", "changes data"),
        ("SELECT (SELECT rate FROM rates LIMIT 1 FOR UPDATE) AS r FROM input", "0A000", "locks rows"),
        ("SELECT i.id FROM input i JOIN mine USING (id)", "0A000", "temporary table mine"),
        ("SELECT id, id FROM input", "42710", "two columns named"),
        ("SELECT id AS _row_no FROM input", "22023", "_row_no"),
        ("SELECT input FROM input", "0A000", "no type of its own"),
        ("SELECT 1 / 0 AS x FROM input", "22012", "division"),
        ("SELECT nothing FROM input", "42703", "nothing"),
    ] {
        let statement = case.statement(COLUMNS, transform, "");
        let error = case.session.raises(&statement, state);
        assert!(error.message().contains(said), "{transform}: {}", error.message());
        assert!(
            state.starts_with('4') && state != "42710" || state == "22012" || error.hint().is_some(),
            "{transform}"
        );
    }
    let add = case.statement(COLUMNS, TRANSFORM, r#", options => '{"on_new_column": "add"}'"#);
    case.session.refused(&add, "0A000");
    let twice = case.statement(COLUMNS, TRANSFORM, r#", options => '{"transform": "SELECT"}'"#);
    case.session.refused(&twice, "22023");
    assert_eq!(case.session.number("SELECT count(*) FROM rates"), 2);
    assert_eq!(case.session.number("SELECT count(*) FROM millrace.pipelines"), 0);
}

#[test]
fn a_transform_reads_what_its_owner_may_read_and_nothing_else() {
    let mut case = case("transform_rights");
    let owner = case.server.name("transform_owner");
    case.session.execute(&format!(
        "CREATE ROLE {owner} IN ROLE millrace_admin, pg_read_server_files;
         GRANT ALL ON SCHEMA staging TO {owner};
         CREATE TABLE secrets (id int, secret text);
         INSERT INTO secrets VALUES (1, 'theirs');
         CREATE TABLE shared (id int, what text, owner name);
         INSERT INTO shared VALUES (1, 'yours', '{owner}'), (1, 'not yours', 'postgres');
         ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON shared USING (owner = current_user);
         GRANT SELECT ON shared TO {owner}",
    ));
    case.server.admit(&mut case.session, &owner);
    case.session.execute(&format!("SET ROLE {owner}"));
    let statement = case.statement("id int", "SELECT id, secret FROM input JOIN secrets USING (id)", "");
    case.session.raises(&statement, "42501");
    case.create("id int", "SELECT id, what, current_user::text AS who FROM input JOIN shared USING (id)", "");
    case.session.execute("RESET ROLE");
    land(&case.landing, "1.csv", b"id\n1\n");
    // Whoever runs it, it is the owner who reads.
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.lines("SELECT id, what, who FROM staging.p"), [format!("1|yours|{owner}")]);
    // A right that is taken away stops it, and nothing half done is left.
    case.session.execute(&format!("REVOKE SELECT ON shared FROM {owner}"));
    land(&case.landing, "2.csv", b"id\n1\n");
    case.session.raises("CALL millrace.run('p')", "42501");
    assert_eq!(case.lines("SELECT count(*) FROM staging.p"), ["1"]);
    case.session.execute(&format!("GRANT SELECT ON shared TO {owner}"));
    case.session.execute("CALL millrace.run('p')");
    assert_eq!(case.lines("SELECT count(*) FROM staging.p"), ["2"]);
    case.verified();
    case.session.execute(&format!(
        "SELECT millrace.drop_pipeline('p', drop_tables => true); DROP OWNED BY {owner}; DROP ROLE {owner}"
    ));
}
