//! What the SQL of an aggregate promises, read off its text.

use super::*;
use crate::model::aggregate::{Call, Expression, Findings, Function, Output};

fn text(sql: &str) -> Expression {
    Expression { sql: sql.into(), type_name: "text".into(), collation: Some("\"default\"".into()), bytewise: true }
}

fn amount() -> Expression {
    Expression { sql: "amount".into(), type_name: "numeric".into(), collation: None, bytewise: false }
}

fn call(function: Function, filter: Option<&str>, kept_type: &str) -> Call {
    Call { function, filter: filter.map(str::to_owned), kept_type: kept_type.into(), kept_collation: None }
}

fn plan(keys: Vec<Expression>, calls: Vec<Call>) -> Plan {
    let output = |name: &str, compare| Output { name: name.into(), type_name: "text".into(), compare };
    Plan::assemble(Findings {
        keys,
        condition: Some("amount > 0".into()),
        calls,
        outputs: vec![output("merchant", Compare::Value), output("mean", Compare::ValueAndText)],
        body: "SELECT k1 AS merchant, a1 AS mean FROM grouped".into(),
        having: false,
        query: "SELECT merchant, avg(amount) AS mean FROM staging.t GROUP BY merchant".into(),
        keys_shown: true,
    })
}

fn averages() -> Plan {
    plan(vec![text("merchant")], vec![call(Function::Avg(amount()), None, "numeric")])
}

fn names(plan: &Plan, changes: bool) -> Names {
    Names::new("staging", "stats", plan, changes).unwrap()
}

#[test]
fn a_chunk_is_merged_by_one_statement_that_reads_only_that_chunk() {
    let plan = averages();
    assert_eq!(
        merge_statement(&plan, &names(&plan, false), "staging.t_p1"),
        "WITH input AS (SELECT merchant AS k1, amount AS x1, _chunk_no FROM staging.t_p1 \
         WHERE _chunk_no = $1::bigint AND (amount > 0)) \
         INSERT INTO \"staging\".\"stats_state\" AS s (k1, rows, p1, p2, _chunk_no) \
         SELECT k1, count(*), sum(x1), count(x1), max(_chunk_no) FROM input GROUP BY k1 ORDER BY k1 \
         ON CONFLICT (k1) DO UPDATE SET rows = s.rows + excluded.rows, \
         p1 = coalesce(s.p1 + excluded.p1, s.p1, excluded.p1), p2 = s.p2 + excluded.p2, \
         _chunk_no = excluded._chunk_no"
    );
}

#[test]
fn the_first_fill_reads_all_rows_and_takes_no_parameter() {
    let plan = averages();
    let fill = fill_statement(&plan, &names(&plan, true), "staging.t");
    assert!(fill.contains("FROM staging.t WHERE amount > 0)"));
    assert!(!fill.contains('$'));
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
    let merge = merge_statement(&plan, &names(&plan, true), "staging.t");
    assert!(merge.contains("RETURNING s.k1, s.rows, s.p1, s.p2, s._chunk_no)"));
    assert!(merge.contains("INSERT INTO \"staging\".\"stats_changes\" (_chunk_no, \"merchant\", \"mean\")"));
    assert!(snapshot_statement(&plan, &names(&plan, false)).is_none());
}

#[test]
fn values_seen_before_are_counted_once_and_nulls_never() {
    let plan = plan(
        vec![text("merchant")],
        vec![call(Function::CountDistinct(text("customer")), Some("gender = 'F'"), "bigint")],
    );
    let merge = merge_statement(&plan, &names(&plan, false), "staging.t");
    assert!(merge.contains(
        "SELECT DISTINCT x2 COLLATE \"C\", k1 COLLATE \"C\" FROM input WHERE x2 IS DISTINCT FROM NULL AND x1 \
         ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING k1"
    ));
    assert!(merge.contains("SELECT 0 AS part, k1, _chunk_no FROM input"));
    assert!(merge.contains("count(*) FILTER (WHERE part = 0), count(*) FILTER (WHERE part = 1)"));
}

#[test]
fn tables_of_distinct_values_are_searched_by_bytes_where_that_is_the_same() {
    let folded = Expression { collation: Some("staging.folded".into()), bytewise: false, ..text("word") };
    let plan = plan(vec![text("merchant")], vec![call(Function::CountDistinct(folded), None, "bigint")]);
    let create = create_statements(&plan, &names(&plan, false));
    assert!(
        create.contains(
            &"CREATE TABLE \"staging\".\"stats_distinct_1\" \
          (v text COLLATE staging.folded NOT NULL, k1 text COLLATE \"C\")"
                .to_owned()
        )
    );
}

#[test]
fn without_group_by_there_is_one_row_from_the_start() {
    let plan = plan(vec![], vec![call(Function::CountRows, None, "bigint")]);
    let create = create_statements(&plan, &names(&plan, false));
    assert!(create.contains(&"INSERT INTO \"staging\".\"stats_state\" (k0) VALUES (0)".to_owned()));
    assert!(merge_statement(&plan, &names(&plan, false), "t").contains("SELECT 0 AS k0, _chunk_no FROM t"));
}

#[test]
fn what_is_created_can_be_dropped() {
    let plan = plan(vec![text("merchant")], vec![call(Function::CountDistinct(text("customer")), None, "bigint")]);
    let names = names(&plan, true);
    let dropped = drop_statements(&plan, &names).join(";");
    for relation in names.relations(&plan) {
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
