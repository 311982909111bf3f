//! A chunk that was counted while it was loaded: groups come as arrays, and what is left is to merge them.
//!
//! `$2 …` are the arrays: a column for each key, the rows, a column for each partial result that is measured; then for each set of
//! distinct values a column for each key and one for the value. Their types are those of the expressions.

use super::keys::{KeyColumn, collated, hash, list};
use crate::model::aggregate::{Digits, PartialKind, Plan};

/// Types whose order is that of whole numbers, which is all that is compared while a chunk is loaded.
const ORDERED: [&str; 6] =
    ["smallint", "integer", "bigint", "date", "timestamp without time zone", "timestamp with time zone"];

/// Whether all that the plan keeps can be counted while rows are loaded.
pub fn is_countable(plan: &Plan) -> bool {
    !plan.signed
        && plan.partials.iter().all(|partial| match partial.kind {
            PartialKind::Count | PartialKind::Distinct(_) => true,
            PartialKind::Sum(Digits::Whole | Digits::Fixed | Digits::Varying) => true,
            PartialKind::Min | PartialKind::Max => ORDERED.contains(&partial.type_name.as_str()),
            PartialKind::Sketch | PartialKind::Again => false,
        })
}

/// The columns of a set of arrays, beginning with parameter `first`.
fn unnest(first: usize, names: &[String]) -> String {
    let parameters = list((0..names.len()).map(|i| format!("${}", first + i)));
    format!("unnest({parameters}) AS u ({})", names.join(", "))
}

fn key_names(keys: &[KeyColumn]) -> Vec<String> {
    keys.iter().map(|k| k.name.to_owned()).collect()
}

/// Keys under the collation that they are grouped by.
fn collated_keys(keys: &[KeyColumn]) -> Vec<String> {
    keys.iter().map(|k| format!("{} AS {}", collated(k.name, k.collation), k.name)).collect()
}

/// As `delta` of a chunk whose rows are read.
pub fn delta(plan: &Plan, keys: &[KeyColumn]) -> String {
    let measured: Vec<_> = plan.partials.iter().filter(|p| !matches!(p.kind, PartialKind::Distinct(_))).collect();
    let mut names = key_names(keys);
    names.push("rows".to_owned());
    names.extend(measured.iter().map(|p| p.column.clone()));
    let mut read = collated_keys(keys);
    read.push("rows".to_owned());
    read.extend(measured.iter().map(|p| p.column.clone()));
    let mut found = key_names(keys);
    found.push("sum(rows)::bigint AS rows".to_owned());
    found.extend(measured.iter().map(|p| {
        let column = &p.column;
        match p.kind {
            PartialKind::Min => format!("min({column}) AS {column}"),
            PartialKind::Max => format!("max({column}) AS {column}"),
            PartialKind::Count => format!("sum({column})::bigint AS {column}"),
            _ => format!("sum({column})::{} AS {column}", p.type_name),
        }
    }));
    let (hash, group_by) = match keys {
        [] => ("0::bigint".to_owned(), "HAVING count(*) > 0".to_owned()),
        _ => (hash(keys, |k| k.name), format!("GROUP BY {}", list(key_names(keys).into_iter()))),
    };
    format!(
        "delta AS (SELECT {hash} AS h, g.* FROM (SELECT {} FROM (SELECT {} FROM {}) AS input {group_by}) AS g)",
        found.join(", "),
        read.join(", "),
        unnest(2, &names)
    )
}

/// The new values of a set and their groups, in place of the rows that hold them.
pub fn values(plan: &Plan, keys: &[KeyColumn], number: usize) -> String {
    let measured = plan.partials.iter().filter(|p| !matches!(p.kind, PartialKind::Distinct(_))).count();
    let first = 2 + keys.len() + 1 + measured + (number - 1) * (keys.len() + 1);
    let mut names = key_names(keys);
    names.push("v".to_owned());
    let collation = plan.distinct_sets[number - 1].collation.as_deref();
    let mut read = collated_keys(keys);
    read.push(format!("{} AS v", collated("v", collation)));
    format!("(SELECT {} FROM {}) AS input", read.join(", "), unnest(first, &names))
}
