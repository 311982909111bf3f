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
    /// The operator that GROUP BY takes for equality, as it is written between two values; `None` where the type has none.
    pub equal: Option<String>,
    pub hash: Hash,
}

/// How equal values get the same number, so that they are found by a number whatever their size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// A function of the value and a seed.
    Function(String),
    /// The type's function can't be called by its name; as the field of a row the value is hashed all the same.
    Row,
    /// The type has none: such values are told apart one by one.
    None,
}

/// An aggregate function and its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    CountRows,
    Count(Expression),
    CountDistinct(Expression),
    Sum(Expression, Digits),
    Avg(Expression, Digits),
    Min(Expression),
    Max(Expression),
}

/// What a sum shows behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// Integers.
    Whole,
    /// Numerics of a declared scale.
    Fixed,
    /// As many as the summand that has most: a sum may lose digits when summands are taken away.
    Varying,
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
    Sum(Digits),
    Min,
    Max,
    /// Counts the pairs that are in the distinct table of this number.
    Distinct(usize),
}

impl PartialKind {
    /// The aggregate function that gives it from rows; `None` where it is counted up.
    pub fn function(&self) -> Option<&'static str> {
        match self {
            PartialKind::Count | PartialKind::Distinct(_) => None,
            PartialKind::Sum(_) => Some("sum"),
            PartialKind::Min => Some("min"),
            PartialKind::Max => Some("max"),
        }
    }
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
    /// Between two values of the column; only where they are compared.
    pub equal: Option<String>,
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
    pub equal: Option<String>,
    pub hash: Hash,
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
    pub signed: bool,
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
    /// True where rows may be changed and deleted, so that what was added can be taken away again.
    pub signed: bool,
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
            signed: findings.signed,
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

    /// True where rows that go can spoil a partial result, so that it must be computed again from a group's rows.
    pub fn may_recompute(&self) -> bool {
        self.signed
            && self.partials.iter().any(|p| p.kind.function().is_some() && p.kind != PartialKind::Sum(Digits::Whole))
    }

    /// True where that happens in everyday use, so that the rows of a group must be found by an index. A sum of fixed digits
    /// is spoilt by not-a-number alone.
    pub fn recomputes(&self) -> bool {
        let is_rare = |kind: PartialKind| matches!(kind, PartialKind::Sum(Digits::Whole | Digits::Fixed));
        self.signed && self.partials.iter().any(|p| p.kind.function().is_some() && !is_rare(p.kind))
    }

    /// The column that counts what a sum adds up.
    pub fn count_beside(&self, sum: &Partial) -> Option<&str> {
        let beside =
            |p: &&Partial| p.kind == PartialKind::Count && p.argument == sum.argument && p.filter == sum.filter;
        self.partials.iter().find(beside).map(|p| p.column.as_str())
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
        let (kind, expression) = match &call.function {
            Function::CountRows if filter.is_none() => return Reading::Column("rows".into()),
            Function::CountRows => return Reading::Column(self.count(None, filter)),
            Function::Count(a) => {
                let argument = Some(self.input(&a.sql));
                return Reading::Column(self.count(argument, filter));
            }
            Function::CountDistinct(a) => {
                // The filter is applied on the way into the table of distinct values.
                let kind = PartialKind::Distinct(self.distinct_set(a, &filter));
                return Reading::Column(self.partial(kind, None, None, &call.kept_type, None, None));
            }
            Function::Sum(a, digits) => return Reading::Column(self.sum(a, *digits, filter, &call.kept_type).0),
            Function::Avg(a, digits) => {
                let (sum, argument) = self.sum(a, *digits, filter.clone(), &call.kept_type);
                return Reading::Average { sum, count: self.count(argument, filter) };
            }
            Function::Min(a) => (PartialKind::Min, a),
            Function::Max(a) => (PartialKind::Max, a),
        };
        let argument = Some(self.input(&expression.sql));
        let (collation, equal) = (call.kept_collation.clone(), expression.equal.clone());
        Reading::Column(self.partial(kind, argument, filter, &call.kept_type, collation, equal))
    }

    fn count(&mut self, argument: Option<String>, filter: Option<String>) -> String {
        self.partial(PartialKind::Count, argument, filter, "bigint", None, None)
    }

    /// The columns of the sum and of its argument.
    fn sum(&mut self, of: &Expression, digits: Digits, filter: Option<String>, kept: &str) -> (String, Option<String>) {
        let argument = Some(self.input(&of.sql));
        let sum = self.partial(PartialKind::Sum(digits), argument.clone(), filter.clone(), kept, None, None);
        if self.signed {
            // A sum of nothing is no number, which only the count of its summands tells from a sum that is 0.
            self.count(argument.clone(), filter);
        }
        (sum, argument)
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
        argument: Option<String>,
        filter: Option<String>,
        type_name: &str,
        collation: Option<String>,
        equal: Option<String>,
    ) -> String {
        let same =
            |p: &&Partial| p.kind == kind && p.argument == argument && p.filter == filter && p.collation == collation;
        if let Some(known) = self.partials.iter().find(same) {
            return known.column.clone();
        }
        let column = format!("p{}", self.partials.len() + 1);
        self.partials.push(Partial {
            column: column.clone(),
            kind,
            argument,
            filter,
            type_name: type_name.to_owned(),
            collation,
            equal,
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
            equal: argument.equal.clone(),
            hash: argument.hash.clone(),
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> Expression {
        Expression {
            sql: sql.into(),
            type_name: "text".into(),
            collation: Some("\"default\"".into()),
            equal: Some("OPERATOR(pg_catalog.=)".into()),
            hash: Hash::Function("pg_catalog.hashtextextended".into()),
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
}
