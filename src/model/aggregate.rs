//! What an incremental aggregate keeps, as plain data.
//!
//! A [`Plan`] is what the analysis of a user's query leaves behind: the grouping keys, what is kept for each
//! group, how each aggregate is read from that, and the two texts that make the view and its check. It is
//! stored beside the aggregate and outlives the version that made it: the names of columns in it are those
//! of real tables, so assembling a plan again may never rename them.
//! Nothing here talks to Postgres, and nothing here writes a whole statement.

use serde::{Deserialize, Serialize};

use super::{Code, Error, Result};

/// Stored in each plan; a plan of a later version is refused, never guessed at.
pub const PLAN_VERSION: u32 = 1;

/// The name under which [`Plan::body`] reads the groups.
pub const GROUPED: &str = "grouped";

/// An expression over the columns of the staging table, every name in it qualified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expression {
    pub sql: String,
    pub type_name: String,
    /// Qualified and quoted; `None` where the type has none.
    pub collation: Option<String>,
    /// True where each collation calls the same values equal, so that the fastest one will find them.
    pub bytewise: bool,
}

/// An aggregate function and its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    CountRows,
    Count(Expression),
    CountDistinct(Expression),
    Sum(Expression),
    Avg(Expression),
    Min(Expression),
    Max(Expression),
}

/// An aggregate as it stands in the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub function: Function,
    pub filter: Option<String>,
    /// The type of what is kept: for `avg` that of the argument's sum, else the aggregate's own.
    pub kept_type: String,
    pub kept_collation: Option<String>,
}

/// A grouping key: a column of the state table and the expression that gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub column: String,
    #[serde(flatten)]
    pub expression: Expression,
}

/// An argument or filter, computed once per row however many aggregates use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub column: String,
    pub sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialKind {
    Count,
    Sum,
    Min,
    Max,
    /// Counts the pairs that are new in the distinct table of this number.
    Distinct(usize),
}

/// A column of the state table that a chunk's rows are merged into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    pub column: String,
    pub kind: PartialKind,
    /// Names of inputs; a count of rows and one of distinct values have no argument here.
    pub argument: Option<String>,
    pub filter: Option<String>,
    pub type_name: String,
    pub collation: Option<String>,
}

/// The values that a `count(DISTINCT …)` has seen, in a table of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistinctSet {
    pub number: usize,
    /// Names of inputs.
    pub argument: String,
    pub filter: Option<String>,
    pub type_name: String,
    pub collation: Option<String>,
    pub bytewise: bool,
}

/// How an aggregate's value is read from the state table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    Column(String),
    Average { sum: String, count: String },
}

/// An aggregate under the name that [`Plan::body`] gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    pub column: String,
    pub reading: Reading,
}

/// How the check compares an output column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Equal values may be shown differently (1.0 and 1.00 as a key): only the type's own equality counts.
    Value,
    /// Sums and averages must agree to the last digit shown.
    ValueAndText,
    /// The type knows no equality.
    Text,
}

/// A column of the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
    pub type_name: String,
    pub compare: Compare,
}

/// What the analysis found, before columns are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub keys: Vec<Expression>,
    pub condition: Option<String>,
    pub calls: Vec<Call>,
    pub outputs: Vec<Output>,
    pub body: String,
    pub having: bool,
    pub query: String,
    pub keys_shown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    /// Empty for a query without GROUP BY: one group, there from the start.
    pub keys: Vec<Key>,
    /// The WHERE clause.
    pub condition: Option<String>,
    pub inputs: Vec<Input>,
    pub partials: Vec<Partial>,
    pub distinct_sets: Vec<DistinctSet>,
    pub values: Vec<Value>,
    pub outputs: Vec<Output>,
    /// The query's outputs and HAVING over [`GROUPED`], whose columns are those of `keys` and `values`.
    pub body: String,
    pub having: bool,
    /// True where each grouping key is an output column by itself, so that a reader can tell groups apart.
    pub keys_shown: bool,
    /// The user's own query, every name in it qualified.
    pub query: String,
}

/// The name of the grouping key with this index, counted from 0.
pub fn key_column(index: usize) -> String {
    format!("k{}", index + 1)
}

/// The name of the aggregate with this index, counted from 0.
pub fn value_column(index: usize) -> String {
    format!("a{}", index + 1)
}

impl Plan {
    /// Lays out columns for what the analysis found. Equal arguments, filters and partial results are kept once.
    pub fn assemble(findings: Findings) -> Plan {
        let keys = findings
            .keys
            .into_iter()
            .enumerate()
            .map(|(i, expression)| Key { column: key_column(i), expression })
            .collect();
        let mut plan = Plan {
            version: PLAN_VERSION,
            keys,
            condition: findings.condition,
            inputs: Vec::new(),
            partials: Vec::new(),
            distinct_sets: Vec::new(),
            values: Vec::new(),
            outputs: findings.outputs,
            body: findings.body,
            having: findings.having,
            keys_shown: findings.keys_shown,
            query: findings.query,
        };
        for (i, call) in findings.calls.iter().enumerate() {
            let reading = plan.keep(call);
            plan.values.push(Value { column: value_column(i), reading });
        }
        plan
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::new(Code::Internal, format!("can't store the plan: {e}")))
    }

    pub fn from_json(text: &str) -> Result<Plan> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let broken = |e: serde_json::Error| {
            Error::new(Code::Internal, format!("the stored plan of an aggregate can't be read: {e}"))
                .hint("Drop the aggregate and create it again.")
        };
        let Versioned { version } = serde_json::from_str(text).map_err(broken)?;
        if version > PLAN_VERSION {
            return Err(Error::new(
                Code::WrongState,
                format!("the stored plan of an aggregate has version {version}, known are those up to {PLAN_VERSION}"),
            )
            .hint("Use the version of pg_millrace that created it, or a later one."));
        }
        serde_json::from_str(text).map_err(broken)
    }

    /// Refuses what readers of changed groups could not follow.
    pub fn check_publishable(&self) -> Result<()> {
        if self.having {
            return Err(Error::new(Code::Unsupported, "HAVING is not supported in an aggregate that is published")
                .detail("A group that no longer meets the condition could not be taken back.")
                .hint("Leave the condition out, output what it tests, and filter when reading."));
        }
        if !self.keys_shown {
            return Err(Error::new(Code::Unsupported, "an aggregate that is published must output its grouping keys")
                .detail("A reader of the changed groups could not tell which group changed.")
                .hint("Add each expression of GROUP BY to the output columns."));
        }
        Ok(())
    }

    fn keep(&mut self, call: &Call) -> Reading {
        let filter = call.filter.as_ref().map(|sql| self.input(sql));
        let (kind, argument) = match &call.function {
            Function::CountRows if filter.is_none() => return Reading::Column("rows".into()),
            Function::CountRows => (PartialKind::Count, None),
            Function::Count(a) => (PartialKind::Count, Some(self.input(&a.sql))),
            Function::Sum(a) => (PartialKind::Sum, Some(self.input(&a.sql))),
            Function::Min(a) => (PartialKind::Min, Some(self.input(&a.sql))),
            Function::Max(a) => (PartialKind::Max, Some(self.input(&a.sql))),
            Function::CountDistinct(a) => {
                // The filter is applied on the way into the table of distinct values.
                let kind = PartialKind::Distinct(self.distinct_set(a, &filter));
                return Reading::Column(self.partial(kind, &None, &None, &call.kept_type, None));
            }
            Function::Avg(a) => {
                let argument = Some(self.input(&a.sql));
                let sum = self.partial(PartialKind::Sum, &argument, &filter, &call.kept_type, None);
                let count = self.partial(PartialKind::Count, &argument, &filter, "bigint", None);
                return Reading::Average { sum, count };
            }
        };
        Reading::Column(self.partial(kind, &argument, &filter, &call.kept_type, call.kept_collation.clone()))
    }

    fn input(&mut self, sql: &str) -> String {
        if let Some(known) = self.inputs.iter().find(|i| i.sql == sql) {
            return known.column.clone();
        }
        let column = format!("x{}", self.inputs.len() + 1);
        self.inputs.push(Input { column: column.clone(), sql: sql.to_owned() });
        column
    }

    fn partial(
        &mut self,
        kind: PartialKind,
        argument: &Option<String>,
        filter: &Option<String>,
        type_name: &str,
        collation: Option<String>,
    ) -> String {
        let same =
            |p: &&Partial| p.kind == kind && p.argument == *argument && p.filter == *filter && p.collation == collation;
        if let Some(known) = self.partials.iter().find(same) {
            return known.column.clone();
        }
        let column = format!("p{}", self.partials.len() + 1);
        self.partials.push(Partial {
            column: column.clone(),
            kind,
            argument: argument.clone(),
            filter: filter.clone(),
            type_name: type_name.to_owned(),
            collation,
        });
        column
    }

    fn distinct_set(&mut self, argument: &Expression, filter: &Option<String>) -> usize {
        let column = self.input(&argument.sql);
        let same = |s: &&DistinctSet| s.argument == column && s.filter == *filter;
        if let Some(known) = self.distinct_sets.iter().find(same) {
            return known.number;
        }
        let number = self.distinct_sets.len() + 1;
        self.distinct_sets.push(DistinctSet {
            number,
            argument: column,
            filter: filter.clone(),
            type_name: argument.type_name.clone(),
            collation: argument.collation.clone(),
            bytewise: argument.bytewise,
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> Expression {
        Expression { sql: sql.into(), type_name: "text".into(), collation: Some("\"default\"".into()), bytewise: true }
    }

    fn call(function: Function, filter: Option<&str>, kept_type: &str) -> Call {
        Call { function, filter: filter.map(str::to_owned), kept_type: kept_type.into(), kept_collation: None }
    }

    fn plan(calls: Vec<Call>) -> Plan {
        Plan::assemble(Findings {
            keys: vec![text("merchant")],
            condition: None,
            calls,
            outputs: vec![],
            body: "SELECT k1 AS merchant FROM grouped".into(),
            having: false,
            query: "SELECT merchant FROM staging.transactions GROUP BY merchant".into(),
            keys_shown: true,
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
            call(Function::Avg(text("amount")), None, "numeric"),
            call(Function::Sum(text("amount")), None, "numeric"),
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
            call(Function::Sum(text("amount")), None, "numeric"),
            call(Function::Sum(text("amount")), Some("fraud"), "numeric"),
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
            call(Function::Avg(text("amount")), None, "numeric"),
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
}
