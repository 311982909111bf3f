//! A chunk that was counted while it was loaded: groups come as arrays, and what is left is to merge them.
//!
//! `$2 …` are the arrays: a column for each key, of the type of its expression, the place of the group's row where that was looked up, the
//! rows, a column for each partial result that is measured, and one for what each set of distinct values has gained: these are in their
//! tables already.

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

/// As `delta` of a chunk whose rows are read; where the groups are `placed`, with the `tid` of each that is there.
pub fn delta(plan: &Plan, keys: &[KeyColumn], placed: bool) -> String {
    let (gained, mut measured): (Vec<_>, Vec<_>) =
        plan.partials.iter().partition(|p| matches!(p.kind, PartialKind::Distinct(_)));
    // In the order of the sets.
    measured.extend(
        plan.distinct_sets.iter().filter_map(|set| gained.iter().find(|p| p.kind == PartialKind::Distinct(set.number))),
    );
    let tid = placed.then(|| "tid".to_owned());
    let mut names = key_names(keys);
    names.extend(tid.clone());
    names.push("rows".to_owned());
    names.extend(measured.iter().map(|p| p.column.clone()));
    let mut read = collated_keys(keys);
    read.extend(tid);
    read.push("rows".to_owned());
    read.extend(measured.iter().map(|p| p.column.clone()));
    let mut found = key_names(keys);
    // Keys that GROUP BY takes for one were found at the same place.
    found.extend(placed.then(|| "min(tid) AS tid".to_owned()));
    found.push("sum(rows)::bigint AS rows".to_owned());
    found.extend(measured.iter().map(|p| {
        let column = &p.column;
        match p.kind {
            PartialKind::Min => format!("min({column}) AS {column}"),
            PartialKind::Max => format!("max({column}) AS {column}"),
            PartialKind::Count | PartialKind::Distinct(_) => format!("sum({column})::bigint AS {column}"),
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
