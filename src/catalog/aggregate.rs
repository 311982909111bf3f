//! The SQL of an incremental aggregate, built from its plan: tables, view, merge of a chunk, check.
//!
//! Every statement is meant to run under `search_path = pg_catalog, pg_temp`, which is also what the texts
//! inside a plan were written for. The text of a statement depends on the plan, the names and the source
//! alone, so a session can prepare it once. Groups and distinct values are found by a hash of theirs, so that
//! a key may be NULL and as long as a value can be.

mod counted;
mod distinct;
mod keys;
mod merge;
mod part;
mod placed;

use crate::model::aggregate::{Compare, GROUPED, PartialKind, Plan, Reading};
use crate::model::names::with_suffix;
use crate::model::{Code, Error, Result};

pub use counted::is_countable;
use keys::{column_definition, hash, key_columns, list};
pub use merge::{Source, merge_statement};
pub use part::{Part, key_statement};

const LONGEST_NAME: usize = 63;

/// What the tables and the view of an aggregate are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    schema: String,
    name: String,
    /// True where there is a table for the changed groups.
    changes: bool,
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
        let mut all = vec![self.name.clone(), state_name(&self.name)];
        if plan.may_be_long() {
            all.push(long_name(&self.name));
        }
        all.extend(plan.distinct_sets.iter().map(|s| distinct_name(&self.name, s.number)));
        if self.changes {
            all.push(format!("{}_changes", self.name));
        }
        all
    }

    pub fn view(&self) -> String {
        self.qualified("")
    }

    pub fn state(&self) -> String {
        self.qualified(&state_name(""))
    }

    /// The part of the state table for groups whose keys are longer than an entry of an index.
    pub fn long(&self) -> String {
        self.qualified(&long_name(""))
    }

    pub fn distinct(&self, number: usize) -> String {
        self.qualified(&distinct_name("", number))
    }

    pub fn changes(&self) -> Option<String> {
        self.changes.then(|| self.qualified("_changes"))
    }

    /// The index by which the rows of a touched group are found. It lies in the schema of the table that it is on, where aggregates
    /// of several schemas meet.
    pub fn touched(&self, staging_schema: &str) -> String {
        let name = format!("{}_touched", self.name);
        if self.schema == staging_schema { name } else { format!("{}_{name}", self.schema) }
    }

    fn qualified(&self, ending: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&format!("{}{ending}", self.name)))
    }
}

/// The table of the groups.
pub fn state_name(aggregate: &str) -> String {
    format!("{aggregate}_state")
}

/// The one beside it, of groups whose keys are long.
pub fn long_name(aggregate: &str) -> String {
    format!("{aggregate}_long")
}

/// The table of a set of distinct values.
pub fn distinct_name(aggregate: &str, number: usize) -> String {
    format!("{aggregate}_distinct_{number}")
}

/// `$1` the schema's name, `$2` the array of [`Names::relations`], `$3` and `$4` schema and name of [`Names::touched`]: those that
/// exist already.
pub fn taken_statement() -> &'static str {
    "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) OR n.nspname = $3 AND c.relname = $4 ORDER BY 1"
}

/// What to say of a name that [`taken_statement`] gives.
pub fn taken_error(names: &Names, relation: &str) -> Error {
    Error::new(Code::DuplicateObject, format!("relation \"{relation}\" already exists"))
        .detail(format!("The aggregate \"{}.{}\" needs a relation of this name.", names.schema, names.name))
        .hint("Choose another name for the aggregate.")
}

/// When an aggregate is filled with the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    Now,
    /// In steps beside loading; until [`switch_statement`] the view is the query itself.
    ByChunk,
    /// The same, and the index on the staging table is the first step: [`touched_index`].
    ByKey,
}

/// Everything the aggregate consists of, in order, with no rows merged yet. `staging` is the table that it reads, with its schema.
pub fn create_statements(
    plan: &Plan,
    names: &Names,
    (staging_schema, staging): (&str, &str),
    filled: Filled,
) -> Vec<String> {
    let keys = key_columns(plan);
    let state = names.state();
    let mut all = vec![state_table(plan, &state), format!("CREATE INDEX ON {state} (h)")];
    if !keys.is_empty() {
        // For readers of the view. Groups whose keys are too long for it are kept apart.
        all.push(format!("CREATE INDEX ON {state} ({})", list(keys.iter().map(|k| k.name.to_owned()))));
    }
    if plan.may_be_long() {
        all.push(format!("CREATE TABLE {} () INHERITS ({state}){}", names.long(), room(true)));
        all.push(format!("CREATE INDEX ON {} (h)", names.long()));
    }
    for set in &plan.distinct_sets {
        let table = names.distinct(set.number);
        let mut columns = vec!["h bigint NOT NULL".to_owned()];
        columns.push(format!("{} NOT NULL", column_definition("v", &set.type_name, set.collation.as_deref())));
        columns.extend(keys.iter().map(|k| column_definition(k.name, k.type_name, k.collation)));
        if plan.signed {
            columns.push("n bigint NOT NULL".to_owned());
        }
        all.push(format!("CREATE TABLE {table} ({}){}", columns.join(", "), room(plan.signed)));
        all.push(format!("CREATE INDEX ON {table} (h)"));
    }
    if plan.keys.is_empty() {
        // Without GROUP BY there is one row even over no rows at all.
        all.push(format!("INSERT INTO {state} (h) VALUES (0)"));
    }
    // Much history gets its index partition by partition.
    let indexed = match filled {
        Filled::Now => Some(staging.to_owned()),
        Filled::ByChunk => Some(format!("ONLY {staging}")),
        Filled::ByKey => None,
    };
    all.extend(indexed.and_then(|indexed| touched_index(plan, names, staging_schema, &indexed)));
    all.push(if filled == Filled::Now {
        view_statement(plan, names)
    } else {
        format!("CREATE VIEW {} AS {}", names.view(), plan.query)
    });
    if let Some(changes) = names.changes() {
        all.push(format!(
            "CREATE TABLE {changes} AS SELECT NULL::bigint AS _chunk_no, NULL::text AS _op, v.* FROM {} v LIMIT 0",
            names.view()
        ));
        all.push(format!("ALTER TABLE {changes} ALTER COLUMN _chunk_no SET NOT NULL, ALTER COLUMN _op SET NOT NULL"));
        all.push(format!("CREATE INDEX ON {changes} (_chunk_no)"));
        all.push(format!(
            "COMMENT ON TABLE {changes} IS 'The groups that each chunk changed, as they were after it: _op is upsert, or delete for a group whose last row was taken away (then as it was before).'"
        ));
    }
    all
}

/// The index by which the rows of a touched group are found: by the same number as the group itself. `None` where none are.
pub fn touched_index(plan: &Plan, names: &Names, staging_schema: &str, staging: &str) -> Option<String> {
    let keys = key_columns(plan);
    let touched = quoted(&names.touched(staging_schema));
    (plan.recomputes() && !keys.is_empty())
        .then(|| format!("CREATE INDEX {touched} ON {staging} (({}))", hash(&keys, |k| k.sql)))
}

/// Forgets every row that was merged.
pub fn empty_statements(plan: &Plan, names: &Names) -> Vec<String> {
    // With the table of long keys, which inherits from it.
    let mut all = vec![format!("DELETE FROM {}", names.state())];
    all.extend(plan.distinct_sets.iter().map(|s| format!("DELETE FROM {}", names.distinct(s.number))));
    if plan.keys.is_empty() {
        all.push(format!("INSERT INTO {} (h) VALUES (0)", names.state()));
    }
    all
}

/// Gives one partition of the staging table its part of that index; `suffix` is the partition's own.
pub fn index_statements(
    plan: &Plan,
    names: &Names,
    staging_schema: &str,
    partition: &str,
    suffix: &str,
) -> Vec<String> {
    let touched = names.touched(staging_schema);
    let (part, schema) = (quoted(&with_suffix(&touched, suffix)), quoted(staging_schema));
    vec![
        format!("CREATE INDEX {part} ON {partition} (({}))", hash(&key_columns(plan), |k| k.sql)),
        format!("ALTER INDEX {schema}.{} ATTACH PARTITION {schema}.{part}", quoted(&touched)),
    ]
}

/// `$1` the staging table, `$2` its index: a partition that has none of its own yet.
pub fn unindexed_statement() -> &'static str {
    "SELECT p.inhrelid FROM pg_catalog.pg_inherits p
      WHERE p.inhparent = $1
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_inherits i ON i.inhrelid = x.indexrelid
                         WHERE x.indrelid = p.inhrelid AND i.inhparent = $2::pg_catalog.regclass)
      ORDER BY p.inhrelid LIMIT 1"
}

/// The view: the query's own columns, read from the state table.
pub fn view_statement(plan: &Plan, names: &Names) -> String {
    format!("CREATE VIEW {} AS WITH {} {}", names.view(), grouped(plan, &names.state()), plan.body)
}

/// Makes the view show what is kept.
pub fn switch_statement(plan: &Plan, names: &Names) -> String {
    view_statement(plan, names).replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)
}

/// Removes everything that [`create_statements`] made. `staging_schema` is that of the table that the aggregate reads.
pub fn drop_statements(plan: &Plan, names: &Names, staging_schema: &str) -> Vec<String> {
    let mut all = vec![format!("DROP VIEW IF EXISTS {}", names.view())];
    all.extend(names.changes().map(|table| format!("DROP TABLE IF EXISTS {table}")));
    all.extend(plan.distinct_sets.iter().map(|s| format!("DROP TABLE IF EXISTS {}", names.distinct(s.number))));
    if plan.recomputes() {
        let touched = quoted(&names.touched(staging_schema));
        all.push(format!("DROP INDEX IF EXISTS {}.{touched}", quoted(staging_schema)));
    }
    if plan.may_be_long() {
        all.push(format!("DROP TABLE IF EXISTS {}", names.long()));
    }
    all.push(format!("DROP TABLE IF EXISTS {}", names.state()));
    all
}

/// Writes every group to the table of changes as of chunk `$1`; `None` where there is no such table.
pub fn snapshot_statement(plan: &Plan, names: &Names) -> Option<String> {
    let changes = names.changes()?;
    let outputs = list(plan.outputs.iter().map(|o| quoted(&o.name)));
    Some(format!(
        "INSERT INTO {changes} (_chunk_no, _op, {outputs}) SELECT $1::bigint, 'upsert', o.* FROM {} AS o",
        names.view()
    ))
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

fn state_table(plan: &Plan, state: &str) -> String {
    let mut columns = vec!["h bigint NOT NULL".to_owned()];
    columns.extend(key_columns(plan).iter().map(|k| column_definition(k.name, k.type_name, k.collation)));
    columns.push("rows bigint NOT NULL DEFAULT 0".to_owned());
    columns.extend(plan.partials.iter().map(|p| match p.kind {
        PartialKind::Count | PartialKind::Distinct(_) => format!("{} bigint NOT NULL DEFAULT 0", p.column),
        _ => column_definition(&p.column, &p.type_name, p.collation.as_deref()),
    }));
    columns.push("_chunk_no bigint".to_owned());
    format!("CREATE TABLE {state} ({}){}", columns.join(", "), room(true))
}

/// Each chunk updates many rows: room on the page keeps those updates out of the indexes.
fn room(is_updated: bool) -> &'static str {
    if is_updated { " WITH (fillfactor = 50)" } else { "" }
}

/// The CTE that turns rows of the state table into keys and aggregates.
fn grouped(plan: &Plan, from: &str) -> String {
    let mut columns: Vec<String> = plan.keys.iter().map(|k| k.column.clone()).collect();
    columns.extend(plan.values.iter().map(|v| match &v.reading {
        Reading::Column(column) => format!("{column} AS {}", v.column),
        // The very division that avg() ends with, so that it gives the very digits.
        Reading::Formula(sql) => format!("{sql} AS {}", v.column),
        Reading::Average { sum, count } => format!("{sum}::numeric / {count}::numeric AS {}", v.column),
    }));
    format!("{GROUPED} AS (SELECT {} FROM {from})", columns.join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
