//! Distinct counts by sketch: what is asked of the extension `hll`.
//!
//! Promises: values that GROUP BY takes for one are counted as one; a count depends on the values alone, not on the order or the chunks in
//! which they came, nor on a session's settings.

use serde::{Deserialize, Serialize};

use super::Expression;
use super::Hash;

/// Registers of a sketch (2 to this power), bits of each, when small sets are kept as they are, and whether empty registers are left out. With these
/// the error of a count is some 2 % and a sketch has at most 1.3 kB, so that it lies in its row.
const PARAMETERS: &str = "11, 5, -1, 1";

/// The extension `hll` as it is installed: the name of its schema, quoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hll(pub String);

impl Hll {
    /// The type of a sketch.
    pub fn type_name(&self) -> String {
        format!("{}.hll", self.0)
    }

    /// A value as sketches take it; `None` for a type that has no hash.
    pub fn hashed(&self, value: &Expression) -> Option<String> {
        let hash = match &value.hash {
            Hash::Function(function) => format!("{function}({}, 0)", value.sql),
            // A row has a hash also where its field is NULL.
            Hash::Row => {
                format!("CASE WHEN {0} IS DISTINCT FROM NULL THEN hash_record_extended(ROW({0}), 0) END", value.sql)
            }
            Hash::None => return None,
        };
        Some(format!("{}.hll_hash_bigint({hash})", self.0))
    }

    /// The aggregate that makes a sketch of hashed values.
    pub fn of_values(&self, hashed: &str) -> String {
        format!("{}.hll_add_agg({hashed}, {PARAMETERS})", self.0)
    }

    /// The sketch of what two have seen; one that is not there has seen nothing.
    pub fn union(&self, one: &str, other: &str) -> String {
        format!("coalesce({}.hll_union({one}, {other}), {one}, {other})", self.0)
    }

    /// How many values a sketch has seen.
    pub fn count(&self, sketch: &str) -> String {
        format!("coalesce(round({}.hll_cardinality({sketch}))::bigint, 0)", self.0)
    }
}
