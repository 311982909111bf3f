//! What a pipeline expects of each row, and what happens to a row that is otherwise.

use serde::{Deserialize, Serialize};

use crate::model::{Code, Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnViolation {
    /// The row goes to the rejects.
    Quarantine,
    /// The row is loaded, and counted.
    Warn,
    /// The row is left out, and counted.
    Drop,
    /// The chunk is not loaded; the pipeline stops.
    Fail,
}

impl OnViolation {
    pub fn parse(text: &str) -> Result<OnViolation> {
        Ok(match text {
            "quarantine" => OnViolation::Quarantine,
            "warn" => OnViolation::Warn,
            "drop" => OnViolation::Drop,
            "fail" => OnViolation::Fail,
            other => {
                return Err(Error::new(
                    Code::InvalidParameter,
                    format!("\"{}\" is no action on a violation", other.escape_debug()),
                )
                .detail("on_violation says what happens to a row that does not meet the expectation.")
                .hint("Use quarantine, warn, drop or fail."));
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            OnViolation::Quarantine => "quarantine",
            OnViolation::Warn => "warn",
            OnViolation::Drop => "drop",
            OnViolation::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Expectation {
    pub name: String,
    /// As the user wrote it.
    pub condition: String,
    /// The same with its names qualified: SQL that means the same in every session.
    pub plan: String,
    /// The columns that it looks at.
    pub columns: Vec<String>,
    pub on_violation: OnViolation,
    /// True: a condition that is NULL is met.
    pub null_passes: bool,
}

/// Rules are bits of a 64-bit number while a chunk is loaded.
pub const MOST: usize = 60;

/// The expectations in force for one chunk.
pub struct Rules(pub Vec<Expectation>);

impl Rules {
    /// What is asked of each row: conditions that are true where a rule is met, and false or NULL where it is not.
    pub fn conditions(&self) -> Vec<String> {
        self.0.iter().map(Expectation::is_met).collect()
    }

    pub fn mask(&self, action: OnViolation) -> u64 {
        self.0.iter().enumerate().filter(|(_, e)| e.on_violation == action).fold(0, |mask, (i, _)| mask | 1 << i)
    }
}

impl Expectation {
    pub fn is_met(&self) -> String {
        if self.null_passes { format!("(({}) IS NOT FALSE)", self.plan) } else { format!("({})", self.plan) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(plan: &str, on_violation: OnViolation, null_passes: bool) -> Expectation {
        Expectation {
            name: plan.into(),
            condition: plan.into(),
            plan: plan.into(),
            columns: vec![],
            on_violation,
            null_passes,
        }
    }

    #[test]
    fn a_rule_that_null_passes_says_so() {
        let rules = Rules(vec![rule("a > 0", OnViolation::Quarantine, false), rule("b > 0", OnViolation::Warn, true)]);
        assert_eq!(rules.conditions(), ["(a > 0)", "((b > 0) IS NOT FALSE)"]);
        assert_eq!(rules.mask(OnViolation::Warn), 2);
    }

    #[test]
    fn an_unknown_action_is_refused_with_the_known_ones() {
        let e = OnViolation::parse("ignore").unwrap_err();
        assert!(e.hint.unwrap().contains("quarantine, warn, drop or fail"));
        for name in ["quarantine", "warn", "drop", "fail"] {
            assert_eq!(OnViolation::parse(name).unwrap().name(), name);
        }
    }
}
