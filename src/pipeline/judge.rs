//! What becomes of rows that do not meet an expectation, and of a chunk with too many of them.
//!
//! Promises: every row that is not loaded is either a reject with the names of all rules that it violates, or counted as dropped;
//! a chunk that must not go in is an error before anything of it is there.

use std::collections::HashMap;

use crate::catalog::expectations::Outcome;
use crate::catalog::keyed::OP;
use crate::convert::Reason;
use crate::model::expectation::{Expectation, OnViolation, Rules};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::copy::Filter;
use crate::pipeline::read::Piece;
use crate::pipeline::rejects::Reject;

/// A row breaks its rule; the SQLSTATE is that of a check constraint.
const VIOLATION: &str = "23514";
/// Longest value that a reason repeats; the whole text is in the reject's `raw`.
const SHOWN: usize = 200;
const HINT: &str = "Mend the source or the rule and call millrace.resume, or let this chunk through, its bad rows rejected, \
                    with millrace.accept_chunk.";

/// What COPY shall keep. A row that takes a key away is not judged: what it takes away was.
pub fn filter(rules: &Rules, with_op: bool, delete_when: Option<&str>) -> Option<Filter> {
    let kept = rules.mask(OnViolation::Warn);
    let mut condition = rules.condition()?;
    if let Some(delete_when) = delete_when {
        condition = format!("({delete_when}) OR ({condition})");
    }
    if with_op {
        condition = format!("{OP} = 'delete' OR ({condition})");
    }
    Some(Filter { condition, kept })
}

/// What the rules found in one chunk.
pub struct Verdict {
    pub checked: i64,
    /// Violations of each rule.
    violated: Vec<i64>,
    /// Of each row that is left out, the part that it came from and the number of its record.
    pub dropped: Vec<(usize, i64)>,
}

impl Verdict {
    pub fn new(rules: &Rules) -> Verdict {
        Verdict { checked: 0, violated: vec![0; rules.0.len()], dropped: vec![] }
    }

    /// Counts what the rows of a record violate, bits of rules for each; gives its reasons if it is rejected.
    pub fn add(
        &mut self,
        rules: &Rules,
        violated: &[u64],
        row_no: i64,
        (piece, row): (&Piece, usize),
    ) -> Option<Vec<Reason>> {
        let breaks = |rows: u64, i: usize| rows & (1 << i) != 0;
        for (i, count) in self.violated.iter_mut().enumerate() {
            *count += violated.iter().filter(|rows| breaks(**rows, i)).count() as i64;
        }
        let any = violated.iter().fold(0, |any, rows| any | rows);
        let broken: Vec<usize> = (0..rules.0.len()).filter(|i| breaks(any, *i)).collect();
        let does = |action| broken.iter().any(|i| rules.0[*i].on_violation == action);
        if does(OnViolation::Quarantine) || does(OnViolation::Fail) {
            return Some(broken.iter().map(|i| reason(&rules.0[*i], piece, row)).collect());
        }
        let dropping = rules.mask(OnViolation::Drop);
        self.dropped.extend(violated.iter().filter(|rows| **rows & dropping != 0).map(|_| (piece.part, row_no)));
        None
    }

    /// Counts a row for which a condition raises an error: nobody knows what it is worth, so it is kept as a reject.
    pub fn add_error(&mut self, rules: &Rules, rule: usize, piece: &Piece, row: usize, e: Error) -> Reason {
        self.violated[rule] += 1;
        let sqlstate = String::from_utf8_lossy(&e.code.sqlstate()).into_owned();
        Reason { sqlstate, message: e.message, ..reason(&rules.0[rule], piece, row) }
    }

    pub fn outcomes(&self, rules: &Rules) -> Vec<Outcome> {
        let outcome = |(e, violated): (&Expectation, &i64)| Outcome {
            name: e.name.clone(),
            on_violation: e.on_violation,
            checked: self.checked,
            violated: *violated,
        };
        rules.0.iter().zip(&self.violated).map(outcome).collect()
    }
}

fn reason(rule: &Expectation, piece: &Piece, row: usize) -> Reason {
    let shown = |column: &String| -> Option<String> {
        let target = piece.matched.targets.iter().position(|t| &t.name == column)?;
        let text = piece.matched.mapping[target].and_then(|source| piece.batch.text(source, row))?;
        Some(text.chars().take(SHOWN).collect())
    };
    let (column, value) = match rule.columns.as_slice() {
        [] => (None, None),
        [one] => (Some(one.clone()), shown(one)),
        several => {
            let named = |c: &String| format!("{c}={}", shown(c).unwrap_or_else(|| "NULL".into()));
            (None, Some(several.iter().map(named).collect::<Vec<_>>().join(", ")))
        }
    };
    Reason {
        column,
        rule: Some(rule.name.clone()),
        sqlstate: VIOLATION.into(),
        message: format!("the row does not meet the expectation: {}", rule.condition),
        value,
    }
}

/// A condition that raises an error for row after row is wrong, and no file is to blame.
pub fn mostly_raises(rule: &Expectation, e: &Error, most: usize) -> Error {
    let sqlstate = String::from_utf8_lossy(&e.code.sqlstate()).into_owned();
    Error::new(
        Code::Stopped,
        format!("expectation \"{}\" raises an error for more than {most} rows: {}", rule.name, e.message),
    )
    .detail(format!("Its condition is: {}; the error's SQLSTATE is {sqlstate}. Nothing of the chunk is loaded.", rule.condition))
    .hint("Change it with millrace.alter_expectation so that it gives true, false or NULL for every row; then millrace.resume.")
}

/// Raises if the chunk must not go in.
pub fn gate(
    pipeline: &Pipeline,
    rules: &Rules,
    verdict: &Verdict,
    rejects: &[Reject],
    records: u64,
    chunk_no: i64,
) -> Result<()> {
    let stopped = |why: String| {
        Error::new(Code::Stopped, format!("chunk {chunk_no} of pipeline \"{}\" is not loaded: {why}", pipeline.name))
    };
    let failed = rules.0.iter().zip(&verdict.violated).find(|(e, n)| e.on_violation == OnViolation::Fail && **n > 0);
    if let Some((e, n)) = failed {
        return Err(stopped(format!("{n} of {records} records do not meet expectation \"{}\"", e.name))
            .detail(format!("The expectation is: {}; on_violation is fail.", e.condition))
            .hint(HINT));
    }
    let Some(most) = pipeline.options.max_reject_ratio else { return Ok(()) };
    if rejects.len() as f64 <= most * records as f64 {
        return Ok(());
    }
    Err(stopped(format!("{} of {records} records would be rejected", rejects.len()))
        .detail(format!("max_reject_ratio is {most}. Most frequent: {}.", top_reasons(rejects)))
        .hint(HINT))
}

fn top_reasons(rejects: &[Reject]) -> String {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for reason in rejects.iter().flat_map(|r| &r.reasons) {
        let label = match (&reason.rule, &reason.column) {
            (Some(rule), _) if reason.sqlstate == VIOLATION => rule.clone(),
            (_, Some(column)) => format!("column {column}, SQLSTATE {}", reason.sqlstate),
            _ => reason.message.clone(),
        };
        *counts.entry(label).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.iter().take(3).map(|(label, n)| format!("{label} ({n})")).collect::<Vec<_>>().join(", ")
}
