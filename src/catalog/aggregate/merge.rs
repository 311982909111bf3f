//! The one statement that merges a chunk into an aggregate.
//!
//! It groups the chunk's rows, finds each touched group in the state table, and writes what it has become. Where rows can be
//! taken away, what can't be taken back from a partial result (an extreme, a digit, an infinity) is computed again from the
//! staging table, for those groups alone. `$1` is the chunk.

use super::keys::{KeyColumn, hash, key_columns, list, same_group, same_value};
use super::{Names, counted, distinct, grouped, placed, quoted};
use crate::model::aggregate::{Digits, Partial, PartialKind, Plan};

/// Bytes of keys that fit into an entry of an index (a third of a page), with room for those of fixed size.
const LONGEST_KEYS: usize = 2_000;

const CHUNK: &str = "_chunk_no = $1::bigint";

/// Where the rows are that are merged; names are qualified and quoted.
pub enum Source<'a> {
    /// A chunk of rows that are added, in the staging table or a partition of it.
    Appended { table: &'a str, staging: &'a str },
    /// A chunk of a table whose rows change: what they are now (`_op` says delete where they went), and what they were.
    Changed { changes: &'a str, replaced: &'a str, staging: &'a str },
    /// A chunk of rows that are added, counted while they were loaded: the arrays that `counted` tells of.
    Counted { placed: bool },
    /// Chunks after `$2` and up to `$3`, for an aggregate that is filled step by step.
    Range { staging: &'a str },
    /// Some rows of a table whose rows change, for an aggregate that is filled step by step; `staging`: these and those before.
    Part { rows: &'a str, staging: &'a str },
    /// All rows that there are, for an aggregate that is new.
    All { staging: &'a str },
}

/// Merges rows into the aggregate, and writes the changed groups where there is a table for them and `tells` says so.
/// Gives one number: that of the groups touched.
pub fn merge_statement(plan: &Plan, names: &Names, source: &Source, tells: bool) -> String {
    if let Source::Counted { placed: true } = source {
        return placed::statement(plan, names, tells);
    }
    let keys = key_columns(plan);
    let is_counted = matches!(source, Source::Counted { .. });
    let mut with: Vec<String> = input(plan, &keys, source).into_iter().collect();
    if !is_counted {
        with.extend(plan.distinct_sets.iter().flat_map(|set| distinct::parts(plan, names, &keys, set)));
    }
    with.push(if is_counted { counted::delta(plan, &keys, false) } else { delta(plan, &keys) });
    with.push(merged(plan, names, &keys, is_counted));
    let (staging, takes_away) = match source {
        Source::Appended { staging, .. }
        | Source::Range { staging }
        | Source::Part { staging, .. }
        | Source::All { staging } => (*staging, false),
        Source::Changed { staging, .. } => (*staging, !keys.is_empty()),
        Source::Counted { .. } => ("", false),
    };
    let recomputes = plan.always_recomputes() || plan.may_recompute() && matches!(source, Source::Changed { .. });
    let last = if recomputes {
        with.push(again(plan, &keys, staging));
        "again"
    } else {
        "merged"
    };
    let state = names.state();
    let returned = list(state_columns(plan).iter().map(|c| format!("t.{c}")));
    let assigned = list(written(plan).iter().map(|c| format!("{c} = m.{c}")));
    let same_row = if plan.may_be_long() { "t.ctid = m.tid AND t.tableoid = m.tab" } else { "t.ctid = m.tid" };
    let stays = if takes_away { " AND m.rows > 0" } else { "" };
    with.push(format!(
        "changed AS (UPDATE {state} AS t SET {assigned}, _chunk_no = $1::bigint FROM {last} AS m \
         WHERE {same_row}{stays} RETURNING {returned})"
    ));
    let mut images = vec![("upsert", "changed")];
    if takes_away {
        with.push(format!(
            "emptied AS (DELETE FROM {state} AS t USING {last} AS m WHERE {same_row} AND m.rows <= 0 RETURNING {returned})"
        ));
        images.push(("delete", "emptied"));
    }
    for (name, insert) in additions(plan, names, last, stays) {
        with.push(insert);
        images.push(("upsert", name));
    }
    if tells && !matches!(source, Source::Range { .. } | Source::Part { .. } | Source::All { .. }) {
        with.extend(told(plan, names, &images));
    }
    format!("WITH {} SELECT count(*) FROM merged", with.join(", "))
}

/// New groups go into their tables: those of `last` that have no `tid`. Each statement with its name.
pub(super) fn additions(plan: &Plan, names: &Names, last: &str, stays: &str) -> Vec<(&'static str, String)> {
    let keys = key_columns(plan);
    let columns = list(state_columns(plan).into_iter());
    // Groups that chunks touch together have keys that are near each other more often than not: in their order they share pages.
    let order = match keys.as_slice() {
        [] => String::new(),
        keys => format!(" ORDER BY {}", list(keys.iter().map(|k| format!("m.{}", k.name)))),
    };
    let insert = |name: &'static str, table: String, which: &str| {
        let statement = format!(
            "{name} AS (INSERT INTO {table} ({columns}, _chunk_no) SELECT {columns}, $1::bigint FROM {last} AS m \
             WHERE m.tid IS NULL{stays}{which}{order} RETURNING {columns})"
        );
        (name, statement)
    };
    if !plan.may_be_long() {
        return vec![insert("added", names.state(), "")];
    }
    let fits = fits(&keys);
    vec![
        insert("added", names.state(), &format!(" AND {fits}")),
        insert("added_long", names.long(), &format!(" AND NOT {fits}")),
    ]
}

/// Writes the changed groups to their table, where there is one: what the query gives for the rows of each of these, and what became of them.
pub(super) fn told(plan: &Plan, names: &Names, images: &[(&str, &str)]) -> Option<String> {
    let changes = names.changes()?;
    let outputs = list(plan.outputs.iter().map(|o| quoted(&o.name)));
    let images: Vec<String> = images
        .iter()
        .map(|(op, of)| format!("SELECT $1::bigint, '{op}', o.* FROM (WITH {} {}) AS o", grouped(plan, of), plan.body))
        .collect();
    Some(format!("told AS (INSERT INTO {changes} (_chunk_no, _op, {outputs}) {})", images.join(" UNION ALL ")))
}

/// True for a group whose keys fit into an entry of the index that readers use.
fn fits(keys: &[KeyColumn]) -> String {
    let sizes = keys.iter().filter(|k| k.unbounded).map(|k| format!("coalesce(pg_column_size(m.{}), 0)", k.name));
    format!("{} <= {LONGEST_KEYS}", sizes.collect::<Vec<_>>().join(" + "))
}

/// The rows' keys and inputs; where rows can be taken away, with a sign.
fn input(plan: &Plan, keys: &[KeyColumn], source: &Source) -> Option<String> {
    let rows = |table: &str, sign: &str, chunks: &str| {
        let mut columns: Vec<String> = keys.iter().map(|k| format!("{} AS {}", k.sql, k.name)).collect();
        columns.extend(plan.inputs.iter().map(|i| format!("{} AS {}", i.sql, i.column)));
        if plan.signed {
            columns.push(format!("{sign} AS sign"));
        }
        let mut conditions: Vec<String> = plan.condition.iter().map(|c| format!("({c})")).collect();
        if !chunks.is_empty() {
            conditions.insert(0, chunks.to_owned());
        }
        let conditions =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("SELECT {} FROM {table}{conditions}", columns.join(", "))
    };
    let rows = match source {
        Source::Appended { table, .. } => rows(table, "1", CHUNK),
        Source::Changed { changes, replaced, .. } => {
            let now = rows(changes, "CASE _op WHEN 'delete' THEN -1 ELSE 1 END", CHUNK);
            format!("{now} UNION ALL {}", rows(replaced, "-1", CHUNK))
        }
        Source::Range { staging } => rows(staging, "1", "_chunk_no > $2::bigint AND _chunk_no <= $3::bigint"),
        Source::Part { rows: part, .. } => rows(part, "1", ""),
        Source::All { staging } => rows(staging, "1", ""),
        Source::Counted { .. } => return None,
    };
    Some(format!("input AS ({rows})"))
}

/// What the rows come to, group by group.
fn delta(plan: &Plan, keys: &[KeyColumn]) -> String {
    let mut found: Vec<String> = keys.iter().map(|k| k.name.to_owned()).collect();
    found.push(format!("{} AS rows", counted(plan, "*", None)));
    found.extend(plan.partials.iter().flat_map(|p| partial_delta(plan, p)));
    let (hash, group_by) = match keys {
        // No row, no change.
        [] => ("0::bigint".to_owned(), "HAVING count(*) > 0".to_owned()),
        _ => (hash(keys, |k| k.name), format!("GROUP BY {}", list(keys.iter().map(|k| k.name.to_owned())))),
    };
    format!("delta AS (SELECT {hash} AS h, g.* FROM (SELECT {} FROM input {group_by}) AS g)", found.join(", "))
}

fn partial_delta(plan: &Plan, partial: &Partial) -> Vec<String> {
    let (p, x) = (&partial.column, partial.argument.as_deref().unwrap_or("*"));
    let filter = partial.filter.as_deref();
    if partial.kind == PartialKind::Count {
        return vec![format!("{} AS {p}", counted(plan, x, filter))];
    }
    if let (PartialKind::Sketch, Some(hll)) = (partial.kind, &plan.hll) {
        return vec![format!("{} AS {p}", filtered(&hll.of_values(x), [filter, None]))];
    }
    let Some(function) = partial.kind.function() else { return vec![] };
    if !plan.signed {
        return vec![format!("{} AS {p}", filtered(&format!("{function}({x})"), [filter, None]))];
    }
    let signs = |call: &str, name: &str| {
        [(">", "in"), ("<", "out")].map(|(sign, side)| {
            let sign = format!("sign {sign} 0");
            format!("{} AS {p}_{side}{name}", filtered(call, [Some(&sign), filter]))
        })
    };
    let mut all = signs(&format!("{function}({x})"), "").to_vec();
    if let PartialKind::Sum(digits @ (Digits::Fixed | Digits::Varying)) = partial.kind {
        let special = format!("bool_or({x} IN ('NaN', 'Infinity', '-Infinity'))");
        all.push(format!("{} AS {p}_special", filtered(&special, [Some("sign < 0"), filter])));
        if digits == Digits::Varying {
            all.extend(signs(&format!("max(scale({x}))"), "_scale"));
        }
    }
    all
}

/// Rows of one group: those that came less those that went.
fn counted(plan: &Plan, argument: &str, filter: Option<&str>) -> String {
    let call = format!("count({argument})");
    if !plan.signed {
        return filtered(&call, [filter, None]);
    }
    format!("({} - {})", filtered(&call, [Some("sign > 0"), filter]), filtered(&call, [Some("sign < 0"), filter]))
}

fn filtered(call: &str, filters: [Option<&str>; 2]) -> String {
    let filters: Vec<&str> = filters.into_iter().flatten().collect();
    if filters.is_empty() { call.to_owned() } else { format!("{call} FILTER (WHERE {})", filters.join(" AND ")) }
}

/// What is kept, together with what was found; `tid` is the group's row, NULL for a new group.
fn merged(plan: &Plan, names: &Names, keys: &[KeyColumn], is_counted: bool) -> String {
    let mut columns: Vec<String> = vec!["d.h".to_owned()];
    columns.extend(keys.iter().map(|k| format!("d.{}", k.name)));
    columns.push("coalesce(s.rows, 0) + d.rows AS rows".to_owned());
    columns.extend(plan.partials.iter().map(|p| format!("{} AS {}", merged_partial(plan, p, is_counted), p.column)));
    columns.push("s.tid".to_owned());
    let spoilt: Vec<String> = plan.partials.iter().flat_map(|p| spoilt_by(plan, p)).collect();
    if plan.always_recomputes() {
        columns.push("true AS spoilt".to_owned());
    } else if !spoilt.is_empty() {
        columns.push(format!("coalesce({}, false) AS spoilt", spoilt.join(", false) OR coalesce(")));
    }
    let mut place = "t.ctid AS tid".to_owned();
    if plan.may_be_long() {
        columns.push("s.tab".to_owned());
        place.push_str(", t.tableoid AS tab");
    }
    let kept = list(std::iter::once(place).chain(written(plan).iter().map(|c| format!("t.{c}"))));
    // One row at a time, so that the cost is that of the groups touched whatever the planner believes of the table.
    let mut from = format!(
        "delta AS d LEFT JOIN LATERAL (SELECT {kept} FROM {} AS t WHERE {} LIMIT 1) AS s ON true",
        names.state(),
        same_group(keys, "t", "d")
    );
    for set in plan.distinct_sets.iter().filter(|_| !is_counted) {
        let count = format!("count_{}", set.number);
        from.push_str(&format!(" LEFT JOIN {count} ON {}", same_group(keys, &count, "d")));
    }
    format!("merged AS MATERIALIZED (SELECT {} FROM {from})", columns.join(", "))
}

pub(super) fn merged_partial(plan: &Plan, partial: &Partial, is_counted: bool) -> String {
    let p = &partial.column;
    match partial.kind {
        PartialKind::Count => format!("coalesce(s.{p}, 0) + d.{p}"),
        PartialKind::Distinct(_) if is_counted => format!("coalesce(s.{p}, 0) + d.{p}"),
        PartialKind::Distinct(number) => format!("coalesce(s.{p}, 0) + coalesce(count_{number}.n, 0)"),
        PartialKind::Sum(_) if !plan.signed => format!("coalesce(s.{p} + d.{p}, s.{p}, d.{p})"),
        PartialKind::Sum(_) => {
            let sum = format!("coalesce(s.{p}, 0) + coalesce(d.{p}_in, 0) - coalesce(d.{p}_out, 0)");
            match plan.count_beside(partial) {
                Some(n) => format!("CASE WHEN coalesce(s.{n}, 0) + d.{n} <> 0 THEN {sum} END"),
                None => sum,
            }
        }
        PartialKind::Sketch => plan.hll.iter().map(|hll| hll.union(&format!("s.{p}"), &format!("d.{p}"))).collect(),
        PartialKind::Again => format!("s.{p}"),
        PartialKind::Min => format!("least(s.{p}, d.{p}{})", side(plan)),
        PartialKind::Max => format!("greatest(s.{p}, d.{p}{})", side(plan)),
    }
}

fn side(plan: &Plan) -> &'static str {
    if plan.signed { "_in" } else { "" }
}

/// When a partial result can't be had from what is kept. A sum of numerics shows as many digits as the summand that has most,
/// so taking that one out spoils it, unless another comes in.
fn spoilt_by(plan: &Plan, partial: &Partial) -> Vec<String> {
    if !plan.signed {
        return vec![];
    }
    let p = &partial.column;
    let equal = partial.equal.as_deref().unwrap_or("=");
    let extreme = |pick: &str| {
        format!(
            "{pick}(s.{p}, d.{p}_out) {equal} d.{p}_out AND \
             (d.{p}_in IS NOT DISTINCT FROM NULL OR NOT {pick}(d.{p}_in, d.{p}_out) {equal} d.{p}_in)"
        )
    };
    let special = format!("d.{p}_special");
    match partial.kind {
        PartialKind::Min => vec![extreme("least")],
        PartialKind::Max => vec![extreme("greatest")],
        PartialKind::Sum(Digits::Fixed) => vec![special],
        PartialKind::Sum(Digits::Varying) => {
            let none_comes = format!("(d.{p}_in_scale IS NULL OR d.{p}_in_scale < d.{p}_out_scale)");
            vec![special, format!("d.{p}_out_scale >= scale(s.{p}) AND {none_comes}")]
        }
        PartialKind::Sum(Digits::Whole)
        | PartialKind::Count
        | PartialKind::Distinct(_)
        | PartialKind::Sketch
        | PartialKind::Again => vec![],
    }
}

/// The groups again, those that are spoilt computed from their rows.
fn again(plan: &Plan, keys: &[KeyColumn], staging: &str) -> String {
    let mut columns: Vec<String> = vec!["m.h".to_owned()];
    columns.extend(keys.iter().map(|k| format!("m.{}", k.name)));
    columns.push("m.rows".to_owned());
    let mut computed = Vec::new();
    for partial in &plan.partials {
        let name = &partial.column;
        match from_rows(plan, partial) {
            Some(call) => {
                computed.push(format!("{call} AS {name}"));
                columns.push(format!("CASE WHEN m.spoilt THEN r.{name} ELSE m.{name} END AS {name}"));
            }
            None => columns.push(format!("m.{name}")),
        }
    }
    columns.push("m.tid".to_owned());
    if plan.may_be_long() {
        columns.push("m.tab".to_owned());
    }
    let mut conditions = vec!["m.spoilt AND m.rows > 0".to_owned()];
    if !keys.is_empty() {
        conditions.push(format!("({}) = m.h", hash(keys, |k| k.sql)));
    }
    conditions.extend(keys.iter().map(|k| same_value(&format!("({})", k.sql), &format!("m.{}", k.name), k.equal)));
    conditions.extend(plan.condition.iter().map(|c| format!("({c})")));
    format!(
        "again AS MATERIALIZED (SELECT {} FROM merged AS m LEFT JOIN LATERAL \
         (SELECT {} FROM {staging} AS staging WHERE {}) AS r ON true)",
        columns.join(", "),
        computed.join(", "),
        conditions.join(" AND ")
    )
}

/// A partial result over rows of the staging table; `None` for what is counted up and never spoilt.
fn from_rows(plan: &Plan, partial: &Partial) -> Option<String> {
    if partial.kind == PartialKind::Again {
        return partial.argument.clone();
    }
    let sql = |column: &Option<String>| column.as_deref().and_then(|c| plan.input_sql(c));
    let call = format!("{}({})", partial.kind.function()?, sql(&partial.argument)?);
    Some(filtered(&call, [sql(&partial.filter), None]))
}

/// The columns of the state table that a merge writes.
pub(super) fn written(plan: &Plan) -> Vec<String> {
    std::iter::once("rows".to_owned()).chain(plan.partials.iter().map(|p| p.column.clone())).collect()
}

pub(super) fn state_columns(plan: &Plan) -> Vec<String> {
    let keys = key_columns(plan).into_iter().map(|k| k.name.to_owned());
    std::iter::once("h".to_owned()).chain(keys).chain(written(plan)).collect()
}
