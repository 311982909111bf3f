//! What the layout of an aggregate promises.

use super::*;

fn text(sql: &str) -> Expression {
    Expression {
        sql: sql.into(),
        type_name: "text".into(),
        collation: Some("\"default\"".into()),
        equal: Some("OPERATOR(pg_catalog.=)".into()),
        hash: Hash::Function("pg_catalog.hashtextextended".into()),
        unbounded: true,
    }
}

fn call(function: Function, filter: Option<&str>, kept_type: &str) -> Call {
    Call { function, filter: filter.map(str::to_owned), kept_type: kept_type.into(), kept_collation: None }
}

fn plan(calls: Vec<Call>) -> Plan {
    Plan::assemble(Findings {
        signed: false,
        keys: vec![text("merchant")],
        condition: None,
        calls,
        outputs: vec![],
        body: "SELECT k1 AS merchant FROM grouped".into(),
        having: false,
        query: "SELECT merchant FROM staging.transactions GROUP BY merchant".into(),
        keys_shown: true,
        hll: None,
    })
}

#[test]
fn a_plain_count_of_rows_needs_no_column_of_its_own() {
    let plan = plan(vec![call(Function::CountRows, None, "bigint")]);
    assert!(plan.partials.is_empty());
    assert_eq!(plan.values[0].reading, Reading::Column("rows".into()));
}

#[test]
fn sum_average_and_count_of_the_same_argument_share_what_is_kept() {
    let plan = plan(vec![
        call(Function::Avg(text("amount"), Digits::Fixed), None, "numeric"),
        call(Function::Sum(text("amount"), Digits::Fixed), None, "numeric"),
        call(Function::Count(text("amount")), None, "bigint"),
    ]);
    assert_eq!(plan.partials.len(), 2);
    assert_eq!(plan.inputs.len(), 1);
    assert_eq!(plan.values[0].reading, Reading::Average { sum: "p1".into(), count: "p2".into() });
    assert_eq!(plan.values[1].reading, Reading::Column("p1".into()));
    assert_eq!(plan.values[2].reading, Reading::Column("p2".into()));
}

#[test]
fn a_filter_makes_it_another_aggregate() {
    let plan = plan(vec![
        call(Function::Sum(text("amount"), Digits::Fixed), None, "numeric"),
        call(Function::Sum(text("amount"), Digits::Fixed), Some("fraud"), "numeric"),
    ]);
    assert_eq!(plan.partials.len(), 2);
    assert_eq!(plan.partials[1].filter.as_deref(), Some("x2"));
}

#[test]
fn each_distinct_count_over_other_values_or_rows_has_a_table_of_its_own() {
    let plan = plan(vec![
        call(Function::CountDistinct(text("customer")), None, "bigint"),
        call(Function::CountDistinct(text("customer")), Some("gender = 'F'"), "bigint"),
        call(Function::CountDistinct(text("customer")), None, "bigint"),
    ]);
    let numbers: Vec<_> = plan.distinct_sets.iter().map(|s| s.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(plan.values[0].reading, plan.values[2].reading);
}

#[test]
fn a_plan_reads_back_as_it_was_stored() {
    let plan = plan(vec![
        call(Function::CountDistinct(text("customer")), Some("true"), "bigint"),
        call(Function::Avg(text("amount"), Digits::Fixed), None, "numeric"),
    ]);
    assert_eq!(Plan::from_json(&plan.to_json().unwrap()).unwrap(), plan);
}

#[test]
fn a_plan_of_a_later_version_is_refused_before_its_fields_are_read() {
    let error = Plan::from_json(r#"{"version": 99, "other": 1}"#).unwrap_err();
    assert_eq!(error.code, Code::WrongState);
    assert!(error.message.contains("version 99"));
}

#[test]
fn what_readers_of_changes_could_not_follow_is_not_published() {
    let mut plan = plan(vec![]);
    assert!(plan.check_publishable().is_ok());
    plan.keys_shown = false;
    assert!(plan.check_publishable().unwrap_err().message.contains("grouping keys"));
    plan.having = true;
    assert!(plan.check_publishable().unwrap_err().message.contains("HAVING"));
}

#[test]
fn whether_all_or_any_hold_is_read_from_two_counts() {
    let fraud = Expression { type_name: "boolean".into(), collation: None, ..text("fraud") };
    let plan = plan(vec![
        call(Function::All(fraud.clone()), None, "boolean"),
        call(Function::Any(fraud.clone()), None, "boolean"),
        call(Function::Count(fraud), None, "bigint"),
    ]);
    assert_eq!(plan.partials.len(), 2);
    assert_eq!(plan.values[0].reading, Reading::Formula("CASE WHEN p1 > 0 THEN p2 = p1 END".into()));
    assert_eq!(plan.values[1].reading, Reading::Formula("CASE WHEN p1 > 0 THEN p2 > 0 END".into()));
}

#[test]
fn variance_and_standard_deviation_share_a_count_and_two_sums() {
    let spread = |sample, root| Function::Spread(text("x"), text("x * x"), Digits::Fixed, Spread { sample, root });
    let plan = plan(vec![
        call(spread(true, false), None, "numeric"),
        call(spread(false, true), None, "numeric"),
        call(Function::Avg(text("x"), Digits::Fixed), None, "numeric"),
    ]);
    assert_eq!(plan.partials.len(), 3);
}

#[test]
fn what_only_rows_can_tell_is_computed_again_from_all_rows_of_a_touched_group() {
    let plan = plan(vec![call(Function::Again("string_agg(customer, ',')".into()), None, "text")]);
    assert!(plan.may_recompute() && plan.recomputes() && plan.inputs.is_empty());
    assert_eq!(plan.partials[0].argument.as_deref(), Some("string_agg(customer, ',')"));
}
