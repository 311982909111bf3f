//! What becomes of rows that do not meet an expectation, and of a chunk with too many of them.
//!
//! Promises: every row that is not loaded is either a reject with the names of all rules that it violates, or counted as dropped;
//! a chunk that must not go in is an error before anything of it is there.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::catalog::expectations::Outcome;
use crate::catalog::keyed::OP;
use crate::convert::Reason;
use crate::model::expectation::{Expectation, OnViolation, Rules};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::copy::Filter;
use crate::pipeline::read::Piece;
use crate::pipeline::rejects::{Reject, Said, Why};

/// A row breaks its rule; the SQLSTATE is that of a check constraint.
const VIOLATION: &str = "23514";
/// Longest value that a reason repeats; the whole text is in the reject's `raw`.
const SHOWN: usize = 200;
const HINT: &str = "Mend the source or the rule and call millrace.resume, or let this chunk through, its bad rows rejected, \
                    with millrace.accept_chunk.";

/// What the load shall keep. A row that takes a key away is not judged: what it takes away was.
pub fn filter(rules: &Rules, with_op: bool, delete_when: Option<&str>) -> Option<Filter> {
    if rules.0.is_empty() {
        return None;
    }
    let taken_away = with_op.then(|| format!("{OP} = 'delete'"));
    let exempt: Vec<String> = taken_away.into_iter().chain(delete_when.map(|sql| format!("({sql})"))).collect();
    Some(Filter {
        exempt: (!exempt.is_empty()).then(|| exempt.join(" OR ")),
        rules: rules.conditions(),
        kept: rules.mask(OnViolation::Warn),
    })
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

    /// Counts what the rows of a record violate, bits of rules for each; gives all of them if it is rejected.
    pub fn add(&mut self, rules: &Rules, violated: &[u64], row_no: i64, part: usize) -> Option<u64> {
        for (i, count) in self.violated.iter_mut().enumerate() {
            *count += violated.iter().filter(|rows| breaks(**rows, i)).count() as i64;
        }
        let any = violated.iter().fold(0, |any, rows| any | rows);
        if any & (rules.mask(OnViolation::Quarantine) | rules.mask(OnViolation::Fail)) != 0 {
            return Some(any);
        }
        let dropping = rules.mask(OnViolation::Drop);
        self.dropped.extend(violated.iter().filter(|rows| **rows & dropping != 0).map(|_| (part, row_no)));
        None
    }

    /// Counts a row for which a condition raises an error: nobody knows what it is worth, so it is kept as a reject.
    pub fn add_error(&mut self, rules: &Rules, rule: usize, piece: &Piece, row: usize, e: Error) -> Reason {
        self.violated[rule] += 1;
        let sqlstate = String::from_utf8_lossy(&e.code.sqlstate()).into_owned();
        Reason { sqlstate, message: e.message, ..said(&rules.0[rule], "", piece, row).to_reason() }
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

fn breaks(rules: u64, rule: usize) -> bool {
    rules & (1 << rule) != 0
}

/// What the reasons of rows that break rules say.
pub struct Words<'a> {
    rules: &'a Rules,
    messages: Vec<String>,
}

impl<'a> Words<'a> {
    pub fn new(rules: &'a Rules) -> Words<'a> {
        let message = |rule: &Expectation| format!("the row does not meet the expectation: {}", rule.condition);
        Words { rules, messages: rules.0.iter().map(message).collect() }
    }

    /// A reason for each of the rules, which are bits of `broken`.
    pub fn of(&self, broken: u64, piece: &'a Piece, row: usize) -> impl Iterator<Item = Said<'_>> {
        let rules = self.rules.0.iter().zip(&self.messages).enumerate();
        let broken = rules.filter(move |(i, _)| breaks(broken, *i));
        broken.map(move |(_, (rule, message))| said(rule, message, piece, row))
    }
}

fn said<'a>(rule: &'a Expectation, message: &'a str, piece: &'a Piece, row: usize) -> Said<'a> {
    let shown = |column: &String| -> Option<Cow<'a, str>> {
        let target = piece.matched.targets.iter().position(|t| &t.name == column)?;
        let text = piece.matched.mapping[target].and_then(|source| piece.batch.text(source, row))?;
        if text.len() <= SHOWN { Some(text) } else { Some(text.chars().take(SHOWN).collect()) }
    };
    let (column, value) = match rule.columns.as_slice() {
        [] => (None, None),
        [one] => (Some(one.as_str()), shown(one)),
        several => {
            let named = |c: &String| format!("{c}={}", shown(c).unwrap_or_else(|| "NULL".into()));
            (None, Some(several.iter().map(named).collect::<Vec<_>>().join(", ").into()))
        }
    };
    Said { column, rule: Some(&rule.name), sqlstate: VIOLATION, message: message.into(), value }
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
        .detail(format!("max_reject_ratio is {most}. Most frequent: {}.", top_reasons(rules, rejects)))
        .hint(HINT))
}

fn top_reasons(rules: &Rules, rejects: &[Reject]) -> String {
    let mut counts: HashMap<Cow<str>, usize> = HashMap::new();
    for reject in rejects {
        match &reject.why {
            Why::Rules(broken) => {
                for (_, rule) in rules.0.iter().enumerate().filter(|(i, _)| breaks(*broken, *i)) {
                    *counts.entry(rule.name.as_str().into()).or_default() += 1;
                }
            }
            Why::Reasons(reasons) => {
                for reason in reasons {
                    let label = match &reason.column {
                        Some(column) => format!("column {column}, SQLSTATE {}", reason.sqlstate).into(),
                        None => reason.message.as_str().into(),
                    };
                    *counts.entry(label).or_default() += 1;
                }
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.iter().take(3).map(|(label, n)| format!("{label} ({n})")).collect::<Vec<_>>().join(", ")
}
