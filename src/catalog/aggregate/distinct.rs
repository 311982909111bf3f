//! What a chunk does to the tables of distinct values, and how many values each group gains or loses by it.
//!
//! Where rows are only ever added, a pair of value and group is there or not. Where rows change, each pair has the number of
//! rows that hold it, and goes with the last of them.

use super::Names;
use super::keys::{KeyColumn, hash, hash_of, list, same_value};
use crate::model::aggregate::{DistinctSet, Plan};

/// CTEs over `input`; the last is `count_<n>`: the hash and keys of groups, and `n`, the values gained.
pub fn parts(plan: &Plan, names: &Names, keys: &[KeyColumn], set: &DistinctSet) -> Vec<String> {
    let n = set.number;
    let table = names.distinct(n);
    let key_names: String = keys.iter().map(|k| format!(", {}", k.name)).collect();
    let hashed =
        hash_of(std::iter::once(("v".to_owned(), &set.hash)).chain(keys.iter().map(|k| (k.name.to_owned(), k.hash))));
    let filter = set.filter.as_ref().map(|f| format!(" AND {f}")).unwrap_or_default();
    let balance =
        if plan.signed { ", count(*) FILTER (WHERE sign > 0) - count(*) FILTER (WHERE sign < 0) AS n" } else { "" };
    let value = &set.argument;
    // IS NOT NULL would look into a composite value; count() counts it whatever its fields are.
    let pairs = format!(
        "pairs_{n} AS (SELECT {hashed} AS h, g.* FROM (SELECT {value} AS v{key_names}{balance} FROM input \
         WHERE {value} IS DISTINCT FROM NULL{filter} GROUP BY {value}{key_names}) AS g)"
    );
    let mut same = vec!["t.h = p.h".to_owned(), format!("t.v {} p.v", set.equal.as_deref().unwrap_or("="))];
    same.extend(keys.iter().map(|k| same_value(&format!("t.{}", k.name), &format!("p.{}", k.name), k.equal)));
    let same = same.join(" AND ");
    let group = if keys.is_empty() { "0::bigint".to_owned() } else { hash(keys, |k| k.name) };
    let group_by = match keys {
        [] => " HAVING count(*) > 0".to_owned(),
        _ => format!(" GROUP BY {}", list(keys.iter().map(|k| k.name.to_owned()))),
    };
    let counted = |gained: &str, from: &str| {
        format!(
            "count_{n} AS (SELECT {group} AS h, g.* FROM (SELECT {gained} AS n{key_names} FROM {from}{group_by}) AS g)"
        )
    };
    if !plan.signed {
        let new = format!(
            "new_{n} AS (INSERT INTO {table} (h, v{key_names}) SELECT p.* FROM pairs_{n} AS p \
             WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {same}) RETURNING *)"
        );
        return vec![pairs, new, counted("count(*)", &format!("new_{n}"))];
    }
    vec![
        pairs,
        format!(
            "known_{n} AS MATERIALIZED (SELECT p.*, t.tid, coalesce(t.n, 0) AS had FROM pairs_{n} AS p \
             LEFT JOIN LATERAL (SELECT t.ctid AS tid, t.n FROM {table} AS t WHERE {same} LIMIT 1) AS t ON true \
             WHERE p.n <> 0)"
        ),
        format!(
            "more_{n} AS (UPDATE {table} AS t SET n = k.had + k.n FROM known_{n} AS k \
             WHERE t.ctid = k.tid AND k.had + k.n > 0)"
        ),
        format!(
            "gone_{n} AS (DELETE FROM {table} AS t USING known_{n} AS k WHERE t.ctid = k.tid AND k.had + k.n <= 0)"
        ),
        format!(
            "new_{n} AS (INSERT INTO {table} (h, v{key_names}, n) SELECT h, v{key_names}, n FROM known_{n} \
             WHERE tid IS NULL AND n > 0)"
        ),
        counted(
            "(count(*) FILTER (WHERE had = 0 AND n > 0) - count(*) FILTER (WHERE had > 0 AND had + n <= 0))",
            &format!("known_{n}"),
        ),
    ]
}
