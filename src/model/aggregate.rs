//! What an incremental aggregate keeps, as plain data.
//!
//! A [`Plan`] is what the analysis of a user's query leaves behind: the grouping keys, what is kept for each
//! group, how each aggregate is read from that, and the two texts that make the view and its check. It is
//! stored beside the aggregate and outlives the version that made it: the names of columns in it are those
//! of real tables, so assembling a plan again may never rename them.
//! Nothing here talks to Postgres, and nothing here writes a whole statement.

use serde::{Deserialize, Serialize};

use super::{Code, Error, Result};

pub use sketch::Hll;

/// Stored in each plan; a plan of a later version is refused, never guessed at.
pub const PLAN_VERSION: u32 = 2;

/// The version of plans without sketches, which those before read, too.
const WITHOUT_SKETCHES: u32 = 1;

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
    /// True where a value may be longer than an entry of an index.
    pub unbounded: bool,
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
    /// The same by a sketch; the value comes hashed, and is of the type of hashes that sketches take.
    Sketch(Expression),
    Sum(Expression, Digits),
    Avg(Expression, Digits),
    Min(Expression),
    Max(Expression),
    /// bool_and and every.
    All(Expression),
    /// bool_or.
    Any(Expression),
    /// The argument and its square, both numeric.
    Spread(Expression, Expression, Digits, Spread),
    /// Whatever only a group's rows give: the call itself, with its filter and order.
    Again(String),
}

/// The family of variance and standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Of a sample, not of the whole population.
    pub sample: bool,
    /// The standard deviation, not the variance.
    pub root: bool,
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
    /// What a sketch has seen of a set of values.
    Sketch,
    /// The aggregate's own value, computed from a touched group's rows; the argument is the whole call.
    Again,
}

impl PartialKind {
    /// The aggregate function that gives it from rows; `None` where it is counted up.
    pub fn function(&self) -> Option<&'static str> {
        match self {
            PartialKind::Count | PartialKind::Distinct(_) | PartialKind::Sketch | PartialKind::Again => None,
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
    /// Names of inputs; a count of rows and one of distinct values have no argument here, what is computed anew its call.
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
    Average {
        sum: String,
        count: String,
    },
    /// SQL over the columns.
    Formula(String),
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
    pub hll: Option<Hll>,
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
    /// The user's own query, every name in it qualified; with sketches, what it means by them.
    pub query: String,
    /// Whose sketches are kept, where some are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hll: Option<Hll>,
}

/// The name of the grouping key with this index, counted from 0.
pub fn key_column(index: usize) -> String {
    format!("k{}", index + 1)
}

/// The name of the aggregate with this index, counted from 0.
pub fn value_column(index: usize) -> String {
    format!("a{}", index + 1)
}

impl Spread {
    /// The very steps that Postgres' own aggregates end with, over the number of values, their sum and that of their squares:
    /// so that it gives the very digits. sqrt() would give more of them for great numbers; its digits are cut at as many,
    /// from so many more that rounding twice is rounding once.
    fn formula(self, n: &str, sum: &str, squares: &str) -> String {
        let (least, below) =
            if self.sample { (1, format!("({n}::numeric - 1)")) } else { (0, format!("{n}::numeric")) };
        let above = format!("({n}::numeric * {squares} - {sum} * {sum})");
        let variance = format!("{above} / ({n}::numeric * {below})");
        let value = if self.root {
            format!(
                "(SELECT CASE WHEN v = 'NaN' THEN v ELSE round(sqrt(v * 1.000000000000000000000000000000), scale(v)) END \
                 FROM (SELECT {variance}) AS variance (v))"
            )
        } else {
            variance
        };
        format!("CASE WHEN {n} <= {least} THEN NULL WHEN {above} <= 0 THEN 0::numeric ELSE {value} END")
    }
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
            version: if findings.hll.is_some() { PLAN_VERSION } else { WITHOUT_SKETCHES },
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
            hll: findings.hll,
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

    /// True where a chunk always makes a touched group be computed again from its rows.
    pub fn always_recomputes(&self) -> bool {
        self.partials.iter().any(|p| p.kind == PartialKind::Again)
    }

    /// The same, or where rows that go can spoil a partial result.
    pub fn may_recompute(&self) -> bool {
        self.always_recomputes()
            || self.signed
                && self
                    .partials
                    .iter()
                    .any(|p| p.kind.function().is_some() && p.kind != PartialKind::Sum(Digits::Whole))
    }

    /// True where that happens in everyday use, so that the rows of a group must be found by an index. A sum of fixed digits
    /// is spoilt by not-a-number alone.
    pub fn recomputes(&self) -> bool {
        let is_rare = |kind: PartialKind| matches!(kind, PartialKind::Sum(Digits::Whole | Digits::Fixed));
        self.always_recomputes()
            || self.signed && self.partials.iter().any(|p| p.kind.function().is_some() && !is_rare(p.kind))
    }

    /// True where a group's key may be longer than an entry of an index.
    pub fn may_be_long(&self) -> bool {
        self.keys.iter().any(|k| k.expression.unbounded)
    }

    /// The SQL of an input.
    pub fn input_sql(&self, column: &str) -> Option<&str> {
        self.inputs.iter().find(|i| i.column == column).map(|i| i.sql.as_str())
    }

    /// The column that counts what a sum adds up.
    pub fn count_beside(&self, sum: &Partial) -> Option<&str> {
        let beside =
            |p: &&Partial| p.kind == PartialKind::Count && p.argument == sum.argument && p.filter == sum.filter;
        self.partials.iter().find(beside).map(|p| p.column.as_str())
    }

    /// True where readers of changed groups can follow.
    pub fn has_changes(&self) -> bool {
        !self.having && self.keys_shown
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
            Function::Sketch(a) => {
                let argument = Some(self.input(&a.sql));
                let sketch = self.partial(PartialKind::Sketch, argument, filter, &call.kept_type, None, None);
                return Reading::Formula(self.hll.iter().map(|hll| hll.count(&sketch)).collect());
            }
            Function::Sum(a, digits) => return Reading::Column(self.sum(a, *digits, filter, &call.kept_type).0),
            Function::Avg(a, digits) => {
                let (sum, argument) = self.sum(a, *digits, filter.clone(), &call.kept_type);
                return Reading::Average { sum, count: self.count(argument, filter) };
            }
            Function::All(a) | Function::Any(a) => {
                let (argument, truth) = (self.input(&a.sql), self.input(&format!("nullif({}, false)", a.sql)));
                let (all, holds) = (self.count(Some(argument), filter.clone()), self.count(Some(truth), filter));
                let is_it =
                    if matches!(call.function, Function::All(_)) { format!("= {all}") } else { "> 0".to_owned() };
                return Reading::Formula(format!("CASE WHEN {all} > 0 THEN {holds} {is_it} END"));
            }
            Function::Spread(a, square, digits, spread) => {
                let (sum, argument) = self.sum(a, *digits, filter.clone(), "numeric");
                let (squares, _) = self.sum(square, *digits, filter.clone(), "numeric");
                return Reading::Formula(spread.formula(&self.count(argument, filter), &sum, &squares));
            }
            Function::Again(sql) => {
                let (kept, collation) = (&call.kept_type, call.kept_collation.clone());
                return Reading::Column(self.partial(
                    PartialKind::Again,
                    Some(sql.clone()),
                    None,
                    kept,
                    collation,
                    None,
                ));
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

mod sketch;
#[cfg(test)]
mod tests;
