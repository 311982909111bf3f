//! Grouping keys as columns: how they are hashed, compared and declared.

use crate::model::aggregate::{Hash, Plan};

/// A key column as the state table has it.
pub struct KeyColumn<'a> {
    pub name: &'a str,
    pub sql: &'a str,
    pub type_name: &'a str,
    pub collation: Option<&'a str>,
    pub equal: Option<&'a str>,
    pub hash: &'a Hash,
    pub unbounded: bool,
}

pub fn key_columns(plan: &Plan) -> Vec<KeyColumn<'_>> {
    plan.keys
        .iter()
        .map(|k| KeyColumn {
            name: &k.column,
            sql: &k.expression.sql,
            type_name: &k.expression.type_name,
            collation: k.expression.collation.as_deref(),
            equal: k.expression.equal.as_deref(),
            hash: &k.expression.hash,
            unbounded: k.expression.unbounded,
        })
        .collect()
}

/// A number that equal groups share: a part for each key, each under a seed of its own so that equal keys don't cancel out.
pub fn hash<'a>(keys: &'a [KeyColumn<'a>], value: impl Fn(&'a KeyColumn<'a>) -> &'a str) -> String {
    hash_of(keys.iter().map(|k| (value(k).to_owned(), k.hash)))
}

pub fn hash_of<'a>(values: impl Iterator<Item = (String, &'a Hash)>) -> String {
    let parts: Vec<String> = values
        .enumerate()
        .filter_map(|(i, (value, hash))| {
            let seed = i + 1;
            match hash {
                Hash::Function(function) => Some(format!("coalesce({function}({value}, {seed}), {seed})")),
                Hash::Row => Some(format!("hash_record_extended(ROW({value}), {seed})")),
                Hash::None => None,
            }
        })
        .collect();
    if parts.is_empty() { "0::bigint".to_owned() } else { parts.join(" # ") }
}

/// True for rows of two tables that belong to the same group, as GROUP BY sees it: NULLs are equal.
/// The hash is compared first, because an index finds it.
pub fn same_group(keys: &[KeyColumn], left: &str, right: &str) -> String {
    let mut all = vec![format!("{left}.h = {right}.h")];
    all.extend(keys.iter().map(|k| {
        let name = k.name;
        same_value(&format!("{left}.{name}"), &format!("{right}.{name}"), k.equal)
    }));
    all.join(" AND ")
}

/// IS NULL would look into a composite value; this does not. Behind IS TRUE no index is looked into for it: the hash has found the row.
pub fn same_value(left: &str, right: &str, equal: Option<&str>) -> String {
    let equal = equal.unwrap_or("=");
    format!(
        "({left} {equal} {right} OR {left} IS NOT DISTINCT FROM NULL AND {right} IS NOT DISTINCT FROM NULL) IS TRUE"
    )
}

pub fn column_definition(name: &str, type_name: &str, collation: Option<&str>) -> String {
    collated(&format!("{name} {type_name}"), collation)
}

pub fn collated(what: &str, collation: Option<&str>) -> String {
    match collation {
        Some(collation) => format!("{what} COLLATE {collation}"),
        None => what.to_owned(),
    }
}

pub fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
