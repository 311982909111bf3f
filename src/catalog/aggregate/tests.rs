//! What the SQL of an aggregate promises, read off its text.

use super::*;
use crate::model::aggregate::{Call, Digits, Expression, Findings, Function, Hash, Output};

fn expression(sql: &str, type_name: &str, collation: Option<&str>) -> Expression {
    Expression {
        sql: sql.into(),
        type_name: type_name.into(),
        collation: collation.map(str::to_owned),
        equal: Some("OPERATOR(pg_catalog.=)".into()),
        hash: Hash::Function(format!("pg_catalog.hash_{type_name}")),
        unbounded: type_name == "text",
    }
}

fn text(sql: &str) -> Expression {
    expression(sql, "text", Some("\"default\""))
}

fn amount() -> Expression {
    expression("amount", "numeric", None)
}

fn call(function: Function, filter: Option<&str>, kept_type: &str) -> Call {
    Call { function, filter: filter.map(str::to_owned), kept_type: kept_type.into(), kept_collation: None }
}

fn plan(keys: Vec<Expression>, calls: Vec<Call>) -> Plan {
    assemble(false, keys, calls)
}

fn signed(calls: Vec<Call>) -> Plan {
    assemble(true, vec![text("merchant")], calls)
}

fn assemble(signed: bool, keys: Vec<Expression>, calls: Vec<Call>) -> Plan {
    let output = |name: &str, compare| Output { name: name.into(), type_name: "text".into(), compare };
    Plan::assemble(Findings {
        signed,
        keys,
        condition: Some("amount > 0".into()),
        calls,
        outputs: vec![output("merchant", Compare::Value), output("mean", Compare::ValueAndText)],
        body: "SELECT k1 AS merchant, a1 AS mean FROM grouped".into(),
        having: false,
        query: "SELECT merchant, avg(amount) AS mean FROM staging.t GROUP BY merchant".into(),
        keys_shown: true,
        hll: None,
    })
}

fn averages() -> Plan {
    plan(vec![text("merchant")], vec![call(Function::Avg(amount(), Digits::Fixed), None, "numeric")])
}

fn names(plan: &Plan, changes: bool) -> Names {
    Names::new("staging", "stats", plan, changes).unwrap()
}

fn appended(plan: &Plan, changes: bool) -> String {
    merge_statement(
        plan,
        &names(plan, changes),
        &Source::Appended { table: "staging.t_p1", staging: "staging.t" },
        true,
    )
}

fn changed(plan: &Plan, changes: bool) -> String {
    let source = Source::Changed { changes: "staging.t_changes", replaced: "staging.t_replaced", staging: "staging.t" };
    merge_statement(plan, &names(plan, changes), &source, true)
}

#[test]
fn a_chunk_is_merged_by_one_statement_that_reads_only_that_chunk() {
    let plan = averages();
    assert_eq!(
        appended(&plan, false),
        "WITH input AS (SELECT merchant AS k1, amount AS x1 FROM staging.t_p1 \
         WHERE _chunk_no = $1::bigint AND (amount > 0)), \
         delta AS (SELECT coalesce(pg_catalog.hash_text(k1, 1), 1) AS h, g.* FROM \
         (SELECT k1, count(*) AS rows, sum(x1) AS p1, count(x1) AS p2 FROM input GROUP BY k1) AS g), \
         merged AS MATERIALIZED (SELECT d.h, d.k1, coalesce(s.rows, 0) + d.rows AS rows, \
         coalesce(s.p1 + d.p1, s.p1, d.p1) AS p1, coalesce(s.p2, 0) + d.p2 AS p2, s.tid, s.tab FROM delta AS d \
         LEFT JOIN LATERAL (SELECT t.ctid AS tid, t.tableoid AS tab, t.rows, t.p1, t.p2 FROM \"staging\".\"stats_state\" AS t \
         WHERE t.h = d.h AND (t.k1 OPERATOR(pg_catalog.=) d.k1 OR t.k1 IS NOT DISTINCT FROM NULL AND \
         d.k1 IS NOT DISTINCT FROM NULL) IS TRUE LIMIT 1) AS s ON true), \
         changed AS (UPDATE \"staging\".\"stats_state\" AS t SET rows = m.rows, p1 = m.p1, p2 = m.p2, \
         _chunk_no = $1::bigint FROM merged AS m WHERE t.ctid = m.tid AND t.tableoid = m.tab \
         RETURNING t.h, t.k1, t.rows, t.p1, t.p2), \
         added AS (INSERT INTO \"staging\".\"stats_state\" (h, k1, rows, p1, p2, _chunk_no) \
         SELECT h, k1, rows, p1, p2, $1::bigint FROM merged AS m WHERE m.tid IS NULL AND coalesce(pg_column_size(m.k1), 0) <= 2000 \
         ORDER BY m.k1 RETURNING h, k1, rows, p1, p2), \
         added_long AS (INSERT INTO \"staging\".\"stats_long\" (h, k1, rows, p1, p2, _chunk_no) \
         SELECT h, k1, rows, p1, p2, $1::bigint FROM merged AS m \
         WHERE m.tid IS NULL AND NOT coalesce(pg_column_size(m.k1), 0) <= 2000 ORDER BY m.k1 RETURNING h, k1, rows, p1, p2) \
         SELECT count(*) FROM merged"
    );
}

#[test]
fn new_groups_are_stored_in_the_order_of_their_keys_and_one_group_of_all_rows_needs_none() {
    let plan = averages();
    assert_eq!(appended(&plan, false).matches(" ORDER BY m.k1 RETURNING").count(), 2);
    let whole = Plan { keys: vec![], ..averages() };
    assert!(!appended(&whole, false).contains("ORDER BY"));
}

#[test]
fn the_first_fill_reads_all_rows_and_announces_none_of_them() {
    let plan = averages();
    let fill = merge_statement(&plan, &names(&plan, true), &Source::All { staging: "staging.t" }, true);
    assert!(fill.contains("FROM staging.t WHERE (amount > 0))"));
    assert!(!fill.contains("stats_changes"));
}

#[test]
fn rows_that_went_are_subtracted_and_emptied_groups_go() {
    let plan = signed(vec![call(Function::CountRows, None, "bigint")]);
    let merge = changed(&plan, true);
    assert!(merge.contains("CASE _op WHEN 'delete' THEN -1 ELSE 1 END AS sign FROM staging.t_changes"));
    assert!(merge.contains("-1 AS sign FROM staging.t_replaced"));
    assert!(merge.contains("count(*) FILTER (WHERE sign > 0) - count(*) FILTER (WHERE sign < 0)"));
    assert!(merge.contains("DELETE FROM \"staging\".\"stats_state\" AS t USING merged AS m"));
    assert!(merge.contains("SELECT $1::bigint, 'delete', o.* FROM"));
}

#[test]
fn what_can_not_be_taken_back_is_computed_again_for_the_groups_that_need_it() {
    let plan = signed(vec![call(Function::Max(amount()), Some("fraud"), "numeric")]);
    let merge = changed(&plan, false);
    assert!(merge.contains("CASE WHEN m.spoilt THEN r.p1 ELSE m.p1 END AS p1"));
    assert!(merge.contains("FROM staging.t AS staging WHERE m.spoilt AND m.rows > 0 AND (coalesce("));
    let create = create_statements(&plan, &names(&plan, false), ("staging", "staging.t"), Filled::Now);
    assert!(create.contains(
        &"CREATE INDEX \"stats_touched\" ON staging.t ((coalesce(pg_catalog.hash_text(merchant, 1), 1)))".to_owned()
    ));
}

#[test]
fn rows_that_are_only_added_need_no_index_on_their_table() {
    let plan = plan(vec![text("merchant")], vec![call(Function::Max(amount()), None, "numeric")]);
    let create = create_statements(&plan, &names(&plan, false), ("staging", "staging.t"), Filled::Now).join(";");
    assert!(!create.contains("staging.t "));
}

#[test]
fn an_average_is_the_division_that_avg_itself_ends_with() {
    let plan = averages();
    let view = view_statement(&plan, &names(&plan, false));
    assert!(view.contains("p1::numeric / p2::numeric AS a1"));
    assert!(view.ends_with("SELECT k1 AS merchant, a1 AS mean FROM grouped"));
}

#[test]
fn changed_groups_are_written_in_the_same_statement() {
    let plan = averages();
    let merge = appended(&plan, true);
    assert!(merge.contains("RETURNING t.h, t.k1, t.rows, t.p1, t.p2)"));
    assert!(merge.contains("INSERT INTO \"staging\".\"stats_changes\" (_chunk_no, _op, \"merchant\", \"mean\")"));
    assert!(snapshot_statement(&plan, &names(&plan, false)).is_none());
}

#[test]
fn values_seen_before_are_counted_once_and_nulls_never() {
    let customers = call(Function::CountDistinct(text("customer")), Some("gender = 'F'"), "bigint");
    let merge = appended(&plan(vec![text("merchant")], vec![customers.clone()]), false);
    assert!(merge.contains("FROM input WHERE x2 IS DISTINCT FROM NULL AND x1 GROUP BY x2, k1) AS g)"));
    assert!(merge.contains("WHERE NOT EXISTS (SELECT FROM \"staging\".\"stats_distinct_1\" AS t WHERE t.h = p.h AND"));
    let merge = changed(&signed(vec![customers]), false);
    assert!(
        merge.contains("count(*) FILTER (WHERE had = 0 AND n > 0) - count(*) FILTER (WHERE had > 0 AND had + n <= 0)")
    );
}

#[test]
fn without_group_by_there_is_one_row_from_the_start() {
    let plan = plan(vec![], vec![call(Function::CountRows, None, "bigint")]);
    let create = create_statements(&plan, &names(&plan, false), ("staging", "staging.t"), Filled::Now);
    assert!(create.contains(&"INSERT INTO \"staging\".\"stats_state\" (h) VALUES (0)".to_owned()));
    assert!(appended(&plan, false).contains("FROM input HAVING count(*) > 0"));
}

#[test]
fn what_is_created_can_be_dropped() {
    let calls = [Function::CountDistinct(text("customer")), Function::Max(amount())];
    let plan = signed(calls.into_iter().map(|f| call(f, None, "bigint")).collect());
    let names = names(&plan, true);
    let dropped = drop_statements(&plan, &names, "staging").join(";");
    for relation in names.relations(&plan).into_iter().chain([names.touched("staging")]) {
        assert!(dropped.contains(&format!("\"{relation}\"")), "{relation} stays");
    }
}

#[test]
fn sums_are_checked_to_the_last_digit_and_keys_by_equality() {
    let plan = averages();
    let check = check_statement(&plan, &names(&plan, false));
    assert!(check.contains("SELECT c1, c2, c2::text FROM (SELECT merchant, avg(amount)"));
}

#[test]
fn names_are_quoted_and_must_leave_room_for_the_endings() {
    let plan = averages();
    assert_eq!(Names::new("a\"b", "C d", &plan, false).unwrap().view(), "\"a\"\"b\".\"C d\"");
    assert!(Names::new("s", &"x".repeat(57), &plan, false).is_ok());
    let error = Names::new("s", &"x".repeat(58), &plan, false).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("Use at most 57 bytes."));
}

#[test]
fn aggregates_of_two_schemas_over_one_may_have_the_same_name() {
    let plan = averages();
    let touched = |schema| Names::new(schema, "stats", &plan, false).unwrap().touched("staging");
    assert_eq!((touched("staging").as_str(), touched("other").as_str()), ("stats_touched", "other_stats_touched"));
}

#[test]
fn a_chunk_that_was_counted_is_merged_from_arrays_and_no_row_is_read() {
    let customers = call(Function::CountDistinct(text("customer")), Some("gender = 'F'"), "bigint");
    let plan =
        plan(vec![text("merchant")], vec![call(Function::Avg(amount(), Digits::Fixed), None, "numeric"), customers]);
    assert!(is_countable(&plan));
    let merge = merge_statement(&plan, &names(&plan, false), &Source::Counted { placed: false }, true);
    assert!(merge.contains(
        "SELECT k1, sum(rows)::bigint AS rows, sum(p1)::numeric AS p1, sum(p2)::bigint AS p2, sum(p3)::bigint AS p3 FROM \
         (SELECT k1 COLLATE \"default\" AS k1, rows, p1, p2, p3 FROM unnest($2, $3, $4, $5, $6) AS u (k1, rows, p1, p2, p3)) AS input GROUP BY k1"
    ));
    assert!(merge.contains("coalesce(s.p3, 0) + d.p3 AS p3"));
    assert!(!merge.contains("stats_distinct_1"));
    assert!(!merge.contains("staging.t"));
}

#[test]
fn groups_that_were_looked_up_are_changed_where_they_lie_and_looked_up_no_more() {
    let plan = plan(vec![text("merchant")], vec![call(Function::Avg(amount(), Digits::Fixed), None, "numeric")]);
    let merge = merge_statement(&plan, &names(&plan, false), &Source::Counted { placed: true }, true);
    assert!(merge.contains("min(tid) AS tid, sum(rows)::bigint AS rows"));
    assert!(merge.contains("unnest($2, $3, $4, $5, $6) AS u (k1, tid, rows, p1, p2)"));
    assert!(merge.contains("UPDATE ONLY \"staging\".\"stats_state\" AS s SET rows = s.rows + d.rows"));
    assert!(merge.contains("FROM delta AS d WHERE s.ctid = d.tid"));
    assert!(merge.contains("INSERT INTO \"staging\".\"stats_long\""));
    assert!(!merge.contains("LATERAL") && !merge.contains(".h = "));
}

#[test]
fn what_needs_the_rows_of_a_group_or_their_signs_is_not_counted() {
    let again = call(Function::Again("string_agg(customer, ',')".into()), None, "text");
    assert!(!is_countable(&plan(vec![text("merchant")], vec![again])));
    let longest = call(Function::Max(text("customer")), None, "text");
    assert!(!is_countable(&plan(vec![text("merchant")], vec![longest])));
    assert!(!is_countable(&signed(vec![call(Function::CountRows, None, "bigint")])));
}
