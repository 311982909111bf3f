//! The SQL of an incremental aggregate, built from its plan: tables, view, merge of a chunk, check.
//!
//! Every statement is meant to run under `search_path = pg_catalog, pg_temp`, which is also what the texts
//! inside a plan were written for. The text of a statement depends on the plan, the names and the source
//! alone, so a session can prepare it once. Merging a chunk is one statement: it either happens or does not.
//! Only append-only pipelines are served: rows are added to a group and never taken away.

use crate::model::aggregate::{Compare, GROUPED, Partial, PartialKind, Plan, Reading};
use crate::model::{Code, Error, Result};

const LONGEST_NAME: usize = 63;

/// What the tables and the view of an aggregate are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    schema: String,
    name: String,
    /// True where each merge also writes the changed groups to a table.
    changes: bool,
}

/// A key column as the state table has it; a query without GROUP BY gets a constant one.
struct KeyColumn<'a> {
    name: &'a str,
    sql: &'a str,
    type_name: &'a str,
    collation: Option<&'a str>,
    bytewise: bool,
}

impl<'a> KeyColumn<'a> {
    fn lookup_collation(&self) -> Option<&'a str> {
        lookup_collation(self.bytewise, self.collation)
    }

    /// The column as read from a table of distinct values, under its own collation again.
    fn under_own_collation(&self) -> String {
        collated(self.name, self.collation)
    }
}

impl Names {
    pub fn new(schema: &str, name: &str, plan: &Plan, changes: bool) -> Result<Names> {
        let names = Names { schema: schema.to_owned(), name: name.to_owned(), changes };
        let longest = names.relations(plan).iter().map(String::len).max().unwrap_or(0);
        if longest > LONGEST_NAME {
            let room = LONGEST_NAME + name.len() - longest;
            return Err(Error::new(Code::InvalidParameter, format!("the aggregate's name \"{name}\" is too long"))
                .detail(format!("Its tables add an ending to it, and a name has at most {LONGEST_NAME} bytes."))
                .hint(format!("Use at most {room} bytes.")));
        }
        Ok(names)
    }

    /// The bare names of all relations of the aggregate, the view first.
    pub fn relations(&self, plan: &Plan) -> Vec<String> {
        let mut all = vec![self.name.clone(), format!("{}_state", self.name)];
        all.extend(plan.distinct_sets.iter().map(|s| format!("{}_distinct_{}", self.name, s.number)));
        if self.changes {
            all.push(format!("{}_changes", self.name));
        }
        all
    }

    pub fn view(&self) -> String {
        self.qualified("")
    }

    pub fn state(&self) -> String {
        self.qualified("_state")
    }

    pub fn distinct(&self, number: usize) -> String {
        self.qualified(&format!("_distinct_{number}"))
    }

    pub fn changes(&self) -> Option<String> {
        self.changes.then(|| self.qualified("_changes"))
    }

    fn qualified(&self, ending: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&format!("{}{ending}", self.name)))
    }
}

/// `$1` the schema's name, `$2` the array of [`Names::relations`]: those that exist already.
pub fn taken_statement() -> &'static str {
    "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) ORDER BY 1"
}

/// What to say of a name that [`taken_statement`] gives.
pub fn taken_error(names: &Names, relation: &str) -> Error {
    Error::new(Code::DuplicateObject, format!("relation \"{}.{relation}\" already exists", names.schema))
        .detail(format!("The aggregate \"{}\" needs a table or view of this name.", names.name))
        .hint("Choose another name for the aggregate.")
}

/// Everything the aggregate consists of, in order, with no rows merged yet.
pub fn create_statements(plan: &Plan, names: &Names) -> Vec<String> {
    let keys = key_columns(plan);
    let key_names = list(keys.iter().map(|k| k.name.to_owned()));
    let mut all = vec![state_table(plan, names, &keys), unique_index(&names.state(), &key_names)];
    for set in &plan.distinct_sets {
        let table = names.distinct(set.number);
        let key_definitions = list(keys.iter().map(|k| column_definition(k.name, k.type_name, k.lookup_collation())));
        let value_collation = lookup_collation(set.bytewise, set.collation.as_deref());
        let value = column_definition("v", &set.type_name, value_collation);
        all.push(format!("CREATE TABLE {table} ({value} NOT NULL, {key_definitions})"));
        // The value tells more pairs apart than the keys do, so it is compared first.
        all.push(unique_index(&table, &format!("v, {key_names}")));
    }
    if plan.keys.is_empty() {
        // Without GROUP BY there is one row even over no rows at all.
        all.push(format!("INSERT INTO {} (k0) VALUES (0)", names.state()));
    }
    all.push(view_statement(plan, names));
    if let Some(changes) = names.changes() {
        all.push(format!(
            "CREATE TABLE {changes} AS SELECT NULL::bigint AS _chunk_no, v.* FROM {} v LIMIT 0",
            names.view()
        ));
        all.push(format!("ALTER TABLE {changes} ALTER COLUMN _chunk_no SET NOT NULL"));
        all.push(format!("CREATE INDEX ON {changes} (_chunk_no)"));
    }
    all
}

/// The view: the query's own columns, read from the state table.
pub fn view_statement(plan: &Plan, names: &Names) -> String {
    format!("CREATE VIEW {} AS WITH {} {}", names.view(), grouped(plan, &names.state()), plan.body)
}

/// Removes everything that [`create_statements`] made.
pub fn drop_statements(plan: &Plan, names: &Names) -> Vec<String> {
    let mut all = vec![format!("DROP VIEW IF EXISTS {}", names.view())];
    all.extend(names.changes().map(|table| format!("DROP TABLE IF EXISTS {table}")));
    all.extend(plan.distinct_sets.iter().map(|s| format!("DROP TABLE IF EXISTS {}", names.distinct(s.number))));
    all.push(format!("DROP TABLE IF EXISTS {}", names.state()));
    all
}

/// Merges the chunk `$1` into the aggregate, and writes the changed groups where the names ask for it.
/// `source` is the staging table or the partition that holds the chunk, qualified and quoted.
/// The statement's row count is that of the changed groups.
pub fn merge_statement(plan: &Plan, names: &Names, source: &str) -> String {
    let condition = match &plan.condition {
        Some(condition) => format!("_chunk_no = $1::bigint AND ({condition})"),
        None => "_chunk_no = $1::bigint".to_owned(),
    };
    let (with, merge) = merge(plan, names, source, Some(&condition));
    let Some(changes) = names.changes() else {
        return format!("WITH {with} {merge}");
    };
    let returned = list(state_columns(plan).iter().map(|c| format!("s.{c}")));
    let outputs = list(plan.outputs.iter().map(|o| quoted(&o.name)));
    format!(
        "WITH {with}, merged AS ({merge} RETURNING {returned}), {} \
         INSERT INTO {changes} (_chunk_no, {outputs}) SELECT $1::bigint, o.* FROM ({}) AS o",
        grouped(plan, "merged"),
        plan.body
    )
}

/// Merges all rows of `source`, for an aggregate that has just been created.
pub fn fill_statement(plan: &Plan, names: &Names, source: &str) -> String {
    let (with, merge) = merge(plan, names, source, plan.condition.as_deref());
    format!("WITH {with} {merge}")
}

/// Writes every group to the table of changes as of chunk `$1`; `None` where there is no such table.
pub fn snapshot_statement(plan: &Plan, names: &Names) -> Option<String> {
    let changes = names.changes()?;
    let outputs = list(plan.outputs.iter().map(|o| quoted(&o.name)));
    Some(format!("INSERT INTO {changes} (_chunk_no, {outputs}) SELECT $1::bigint, o.* FROM {} AS o", names.view()))
}

/// One row of three counts: rows that the query gives, rows that the view shows, and rows that only one of both
/// has. The last is 0 where the view is right.
pub fn check_statement(plan: &Plan, names: &Names) -> String {
    let columns = list((1..=plan.outputs.len()).map(|i| format!("c{i}")));
    let compared = list(plan.outputs.iter().enumerate().map(|(i, output)| {
        let column = format!("c{}", i + 1);
        match output.compare {
            Compare::Value => column,
            Compare::ValueAndText => format!("{column}, {column}::text"),
            Compare::Text => format!("{column}::text"),
        }
    }));
    format!(
        "WITH expected AS MATERIALIZED (SELECT {compared} FROM ({}) AS q ({columns})), \
         found AS MATERIALIZED (SELECT {compared} FROM {} AS v ({columns})) \
         SELECT (SELECT count(*) FROM expected) AS expected, (SELECT count(*) FROM found) AS found, \
         (SELECT count(*) FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM found) AS m) \
         + (SELECT count(*) FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM expected) AS s) AS differing",
        plan.query,
        names.view()
    )
}

fn state_table(plan: &Plan, names: &Names, keys: &[KeyColumn]) -> String {
    let mut columns: Vec<String> = keys.iter().map(|k| column_definition(k.name, k.type_name, k.collation)).collect();
    columns.push("rows bigint NOT NULL DEFAULT 0".to_owned());
    columns.extend(plan.partials.iter().map(|p| match p.kind {
        PartialKind::Count | PartialKind::Distinct(_) => format!("{} bigint NOT NULL DEFAULT 0", p.column),
        _ => column_definition(&p.column, &p.type_name, p.collation.as_deref()),
    }));
    columns.push("_chunk_no bigint".to_owned());
    // Each chunk updates most groups: room on the page keeps those updates out of the index.
    format!("CREATE TABLE {} ({}) WITH (fillfactor = 50)", names.state(), columns.join(", "))
}

fn unique_index(table: &str, columns: &str) -> String {
    format!("CREATE UNIQUE INDEX ON {table} ({columns}) NULLS NOT DISTINCT")
}

/// The CTE that turns rows of the state table into keys and aggregates.
fn grouped(plan: &Plan, from: &str) -> String {
    let mut columns: Vec<String> = plan.keys.iter().map(|k| k.column.clone()).collect();
    columns.extend(plan.values.iter().map(|v| match &v.reading {
        Reading::Column(column) => format!("{column} AS {}", v.column),
        // The very division that avg() ends with, so that it gives the very digits.
        Reading::Average { sum, count } => format!("{sum}::numeric / {count}::numeric AS {}", v.column),
    }));
    format!("{GROUPED} AS (SELECT {} FROM {from})", columns.join(", "))
}

/// The CTEs that read and group the rows, and the statement that merges the groups.
fn merge(plan: &Plan, names: &Names, source: &str, condition: Option<&str>) -> (String, String) {
    let keys = key_columns(plan);
    let key_names = list(keys.iter().map(|k| k.name.to_owned()));
    let mut with = vec![input(plan, &keys, source, condition)];
    let from = if plan.distinct_sets.is_empty() {
        "input"
    } else {
        with.extend(distinct_parts(plan, names, &keys));
        "parts"
    };
    let rows = if plan.distinct_sets.is_empty() { "count(*)" } else { "count(*) FILTER (WHERE part = 0)" };
    let mut found = vec![rows.to_owned()];
    found.extend(plan.partials.iter().map(found_partial));
    found.push("max(_chunk_no)".to_owned());
    let mut updates = vec!["rows = s.rows + excluded.rows".to_owned()];
    updates.extend(plan.partials.iter().map(merged_partial));
    updates.push("_chunk_no = excluded._chunk_no".to_owned());
    let statement = format!(
        "INSERT INTO {} AS s ({}) SELECT {key_names}, {} FROM {from} GROUP BY {key_names} ORDER BY {key_names} \
         ON CONFLICT ({key_names}) DO UPDATE SET {}",
        names.state(),
        state_columns(plan).join(", "),
        found.join(", "),
        updates.join(", ")
    );
    (with.join(", "), statement)
}

fn input(plan: &Plan, keys: &[KeyColumn], source: &str, condition: Option<&str>) -> String {
    let mut columns: Vec<String> = keys.iter().map(|k| format!("{} AS {}", k.sql, k.name)).collect();
    columns.extend(plan.inputs.iter().map(|i| format!("{} AS {}", i.sql, i.column)));
    columns.push("_chunk_no".to_owned());
    let condition = condition.map(|c| format!(" WHERE {c}")).unwrap_or_default();
    format!("input AS (SELECT {} FROM {source}{condition})", columns.join(", "))
}

/// Adds to the rows one for each value that a distinct table had not seen, marked with the number of that table.
fn distinct_parts(plan: &Plan, names: &Names, keys: &[KeyColumn]) -> Vec<String> {
    let key_names = list(keys.iter().map(|k| k.name.to_owned()));
    let key_values = list(keys.iter().map(KeyColumn::under_own_collation));
    let used = |column: &String| {
        plan.partials.iter().any(|p| p.argument.as_ref() == Some(column) || p.filter.as_ref() == Some(column))
    };
    let inputs: Vec<String> = plan.inputs.iter().map(|i| i.column.clone()).filter(used).collect();
    let values: String = inputs.iter().map(|column| format!(", {column}")).collect();
    let nothing = ", NULL".repeat(inputs.len());
    let mut parts = vec![format!("SELECT 0 AS part, {key_names}{values}, _chunk_no FROM input")];
    let mut all = Vec::new();
    for set in &plan.distinct_sets {
        let (number, value) = (set.number, &set.argument);
        let filter = set.filter.as_ref().map(|f| format!(" AND {f}")).unwrap_or_default();
        let mut looked_up = vec![collated(value, lookup_collation(set.bytewise, set.collation.as_deref()))];
        looked_up.extend(keys.iter().map(|k| collated(k.name, k.lookup_collation())));
        let order = list((1..=looked_up.len()).map(|i| i.to_string()));
        // IS NOT NULL would look into a composite value; count() counts it whatever its fields are.
        // Looking up in the index's own order finds most pages where the last look-up left them.
        all.push(format!(
            "new_{number} AS (INSERT INTO {} (v, {key_names}) \
             SELECT DISTINCT {} FROM input WHERE {value} IS DISTINCT FROM NULL{filter} ORDER BY {order} \
             ON CONFLICT DO NOTHING RETURNING {key_names})",
            names.distinct(number),
            looked_up.join(", ")
        ));
        parts.push(format!("SELECT {number}, {key_values}{nothing}, NULL FROM new_{number}"));
    }
    all.push(format!("parts AS ({})", parts.join(" UNION ALL ")));
    all
}

/// A partial result over the rows of one group.
fn found_partial(partial: &Partial) -> String {
    let argument = partial.argument.as_deref().unwrap_or("*");
    let call = match partial.kind {
        PartialKind::Count => format!("count({argument})"),
        PartialKind::Sum => format!("sum({argument})"),
        PartialKind::Min => format!("min({argument})"),
        PartialKind::Max => format!("max({argument})"),
        PartialKind::Distinct(number) => return format!("count(*) FILTER (WHERE part = {number})"),
    };
    match &partial.filter {
        Some(filter) => format!("{call} FILTER (WHERE {filter})"),
        None => call,
    }
}

/// What is kept, together with what was found.
fn merged_partial(partial: &Partial) -> String {
    let p = &partial.column;
    match partial.kind {
        PartialKind::Count | PartialKind::Distinct(_) => format!("{p} = s.{p} + excluded.{p}"),
        PartialKind::Sum => format!("{p} = coalesce(s.{p} + excluded.{p}, s.{p}, excluded.{p})"),
        PartialKind::Min => format!("{p} = least(s.{p}, excluded.{p})"),
        PartialKind::Max => format!("{p} = greatest(s.{p}, excluded.{p})"),
    }
}

fn key_columns(plan: &Plan) -> Vec<KeyColumn<'_>> {
    if plan.keys.is_empty() {
        return vec![KeyColumn { name: "k0", sql: "0", type_name: "integer", collation: None, bytewise: false }];
    }
    plan.keys
        .iter()
        .map(|k| KeyColumn {
            name: &k.column,
            sql: &k.expression.sql,
            type_name: &k.expression.type_name,
            collation: k.expression.collation.as_deref(),
            bytewise: k.expression.bytewise,
        })
        .collect()
}

/// The collation of a column that is only ever compared for equality: plain bytes are the fastest to compare.
fn lookup_collation(bytewise: bool, collation: Option<&str>) -> Option<&str> {
    match collation {
        Some(_) if bytewise => Some("\"C\""),
        other => other,
    }
}

fn state_columns(plan: &Plan) -> Vec<String> {
    let mut columns: Vec<String> = key_columns(plan).iter().map(|k| k.name.to_owned()).collect();
    columns.push("rows".to_owned());
    columns.extend(plan.partials.iter().map(|p| p.column.clone()));
    columns.push("_chunk_no".to_owned());
    columns
}

fn column_definition(name: &str, type_name: &str, collation: Option<&str>) -> String {
    collated(&format!("{name} {type_name}"), collation)
}

fn collated(what: &str, collation: Option<&str>) -> String {
    match collation {
        Some(collation) => format!("{what} COLLATE {collation}"),
        None => what.to_owned(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
