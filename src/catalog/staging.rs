//! The tables that rows are loaded into: staging, its partitions, and its rejects.

use std::cell::RefCell;

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::model::names::with_suffix;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Column, Relation};
use crate::pg::spi;
use crate::pg::unchanged::{self, Kept};

/// The columns that we add to every row.
pub const CHUNK_NO: &str = "_chunk_no";
pub const ROW_NO: &str = "_row_no";

/// Columns that rows of the source are loaded into: all but ours and those that Postgres computes.
pub fn source_columns(staging: Oid) -> Result<Vec<Column>> {
    let mut columns = relation::columns(staging)?;
    columns.retain(|c| !c.generated && c.name != CHUNK_NO && c.name != ROW_NO);
    Ok(columns)
}

pub fn ensure_schema(schema: &str) -> Result<()> {
    let exists: Option<bool> =
        spi::value("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", vec![schema.into()])?;
    if exists != Some(true) {
        spi::execute_once(&format!("CREATE SCHEMA {}", spi::ident(schema)))?;
    }
    Ok(())
}

/// Creates the staging table of a keyed pipeline: plain, as it holds the present state of each key and not its history.
pub fn create_keyed(schema: &str, name: &str, columns: &str, key: &[String]) -> Result<Relation> {
    ensure_schema(schema)?;
    let table = format!("{}.{}", spi::ident(schema), spi::ident(name));
    let key: Vec<String> = key.iter().map(|k| spi::ident(k)).collect();
    // Room on each page keeps updates out of the index; no index on _chunk_no, which would put each of them into it.
    spi::execute_once(&format!(
        "CREATE TABLE {table} ({columns}, _chunk_no bigint NOT NULL, _row_no bigint NOT NULL, PRIMARY KEY ({})) WITH (fillfactor = 80)",
        key.join(", ")
    ))?;
    relation::by_name(schema, name)?.ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
}

/// Creates the staging table from a column list as in CREATE TABLE.
pub fn create(schema: &str, name: &str, columns: &str) -> Result<Relation> {
    ensure_schema(schema)?;
    let table = format!("{}.{}", spi::ident(schema), spi::ident(name));
    spi::execute_once(&format!(
        "CREATE TABLE {table} ({columns}, _chunk_no bigint NOT NULL, _row_no bigint NOT NULL) PARTITION BY RANGE (_chunk_no)"
    ))?;
    spi::execute_once(&format!("CREATE INDEX ON {table} USING brin (_chunk_no) WITH (autosummarize = on)"))?;
    let created =
        relation::by_name(schema, name)?.ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))?;
    Ok(created)
}

/// Creates the table of rejected rows beside the staging table. Like staging it has no key: an index entry a row was a third of what a
/// reject takes. Replicas know rows, whose status changes, by all that they hold.
pub fn create_rejects(staging: &Relation) -> Result<Oid> {
    let name = with_suffix(&staging.name, "_rejects");
    if relation::by_name(&staging.schema, &name)?.is_some() {
        return Err(Error::new(Code::DuplicateObject, format!("relation \"{name}\" already exists"))
            .detail(format!("Rejected rows of {} are kept in a table of that name.", staging.qualified()))
            .hint("Rename or drop it, or choose another staging table."));
    }
    let table = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&name));
    spi::execute_once(&format!(
        "CREATE TABLE {table} (
            chunk_no bigint NOT NULL,
            _row_no bigint NOT NULL,
            file text NOT NULL,
            row_no bigint NOT NULL,
            raw text,
            raw_bytes bytea,
            reasons jsonb NOT NULL,
            status text NOT NULL DEFAULT 'rejected',
            rejected_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()) PARTITION BY RANGE (chunk_no);
         ALTER TABLE {table} REPLICA IDENTITY FULL;
         CREATE INDEX ON {table} USING brin (chunk_no) WITH (autosummarize = on);
         COMMENT ON TABLE {table} IS 'Records that could not be loaded: as landed (raw; raw_bytes where that is no valid text), from where, and why.';
         COMMENT ON COLUMN {table}.row_no IS 'Number of the record in its file, from 1, the header not counted.';
         COMMENT ON COLUMN {table}._row_no IS 'Number of the record in its chunk, counted through all its files.'"
    ))?;
    let created = relation::by_name(&staging.schema, &name)?;
    created.map(|r| Oid::from(r.oid)).ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
}

/// Rows of chunks up to one, with their columns as text.
pub fn rows_up_to(
    staging: &Relation,
    columns: &[String],
    chunk_no: i64,
    limit: u64,
) -> Result<Vec<Vec<Option<String>>>> {
    #[derive(Deserialize)]
    struct Found {
        texts: Vec<Option<String>>,
    }
    let texts: Vec<String> = columns.iter().map(|c| format!("{}::text", spi::ident(c))).collect();
    let found: Vec<Found> = spi::query(
        &format!(
            "SELECT ARRAY[{}] AS texts FROM {} WHERE {CHUNK_NO} <= $1 LIMIT $2",
            texts.join(", "),
            staging.qualified()
        ),
        vec![chunk_no.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
    )?;
    Ok(found.into_iter().map(|row| row.texts).collect())
}

/// Checks that a table that is there already can take the rows.
pub fn check_existing(table: &Relation, wanted: Option<&[(String, String)]>) -> Result<()> {
    let misfit = |detail: String| {
        Error::new(Code::Mismatch, format!("table {} can't be the staging table", table.qualified()))
            .detail(detail)
            .hint("Name another staging table (it is created when missing), or alter this one to fit.")
    };
    if !matches!(table.kind.as_str(), "r" | "p") {
        return Err(misfit("It is not a table.".into()));
    }
    let columns = relation::columns(Oid::from(table.oid))?;
    for ours in [CHUNK_NO, ROW_NO] {
        match columns.iter().find(|c| c.name == ours) {
            Some(c) if c.type_name == "bigint" => {}
            Some(c) => return Err(misfit(format!("Its column {ours} is {} and should be bigint.", c.type_name))),
            None => return Err(misfit(format!("It has no column {ours} bigint, which every staging table carries."))),
        }
    }
    if table.kind == "p" && table.partition_key.as_deref() != Some("RANGE (_chunk_no)") {
        return Err(misfit("It is partitioned, but not by RANGE (_chunk_no).".into()));
    }
    if spi::value::<bool>(&format!("SELECT EXISTS (SELECT FROM {})", table.qualified()), vec![])? == Some(true) {
        return Err(misfit("It holds rows already.".into()));
    }
    for (name, type_name) in wanted.unwrap_or_default() {
        match columns.iter().find(|c| &c.name == name) {
            Some(c) if &c.type_name == type_name => {}
            Some(c) => {
                return Err(misfit(format!("Its column {name} is {}, and columns says {type_name}.", c.type_name)));
            }
            None => return Err(misfit(format!("It has no column {name} {type_name}, which columns names."))),
        }
    }
    Ok(())
}

/// Brings the BRIN index on `_chunk_no` up to the rows just loaded, so that a chunk is read without the pages that autovacuum has
/// not summarized yet. Left undone where somebody else is at work on the table or its owner is another: that costs time, never rows.
pub fn summarize(table: &Relation) -> Result<()> {
    spi::execute(
        "SELECT pg_catalog.brin_summarize_new_values(x.indexrelid)
           FROM pg_catalog.pg_index x
           JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
           JOIN pg_catalog.pg_am m ON m.oid = i.relam AND m.amname = 'brin'
           JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
          WHERE x.indrelid = $1 AND x.indisvalid AND pg_catalog.pg_has_role(i.relowner, 'USAGE')
            AND pg_catalog.pg_get_indexdef(x.indexrelid, 1, false) = '_chunk_no'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l
                             WHERE l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                               AND l.relation = x.indrelid AND l.pid <> pg_catalog.pg_backend_pid()
                               AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'))",
        vec![Oid::from(table.oid).into()],
    )?;
    Ok(())
}

/// The relation that a chunk's rows go into: a partition of the table (made when missing, for `width` chunks), or the table itself when
/// it is plain.
pub fn target(table: &Relation, chunk_no: i64, width: i64) -> Result<Relation> {
    if table.kind != "p" {
        return Ok(table.clone());
    }
    let target = ensure_partition(table, chunk_no, width)?;
    // Ahead of need: the load that first meets a new partition should not wait for a lock that somebody's long query stands in the way of.
    if width > 1 && chunk_no % width >= width * 9 / 10 {
        ensure_partition(table, chunk_no + width, width)?;
    }
    Ok(target)
}

/// A partition, with the first chunk that it holds and the one behind its last.
#[derive(Debug, Clone, Deserialize)]
pub struct Partition {
    pub oid: u32,
    pub first: i64,
    pub next: i64,
}

/// The partitions of a table that is partitioned by ranges of chunks, in order; those with an open end are left out.
pub fn partitions(table: &Relation) -> Result<Vec<Partition>> {
    partitions_named(table, None)
}

/// The partition of that name, while there is one.
fn partition_named(table: &Relation, name: String) -> Result<Option<Partition>> {
    thread_local! {
        static NAMED: RefCell<Kept<(u32, String), Partition>> = RefCell::default();
    }
    unchanged::or_ask(&NAMED, (table.oid, name), |(_, name)| Ok(partitions_named(table, Some(name))?.pop()))
}

fn partitions_named(table: &Relation, name: Option<&str>) -> Result<Vec<Partition>> {
    spi::query(
        "SELECT oid::bigint AS oid, bounds[1]::bigint AS first, bounds[2]::bigint AS next
           FROM (SELECT c.oid, pg_catalog.regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''?(\\d+)''?\\) TO \\(''?(\\d+)''?\\)') AS bounds
                   FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                  WHERE i.inhparent = $1 AND ($2::text IS NULL OR c.relname = $2)) AS parts
          WHERE bounds IS NOT NULL ORDER BY 2",
        vec![Oid::from(table.oid).into(), name.into()],
    )
}

/// The column that a table is partitioned by.
pub fn chunk_column(table: &Relation) -> &'static str {
    if table.partition_key.as_deref() == Some("RANGE (chunk_no)") { "chunk_no" } else { CHUNK_NO }
}

fn ensure_partition(table: &Relation, chunk_no: i64, width: i64) -> Result<Relation> {
    let missing = || Error::new(Code::Internal, "the partition is gone");
    let aligned = chunk_no - chunk_no % width;
    // The likely one first: a look at all of them costs more the more there are.
    let likely = partition_named(table, with_suffix(&table.name, &format!("_p{aligned}")))?;
    let holds = |p: &&Partition| p.first <= chunk_no && chunk_no < p.next;
    if let Some(found) = likely.as_ref().filter(holds) {
        return relation::by_oid(Oid::from(found.oid))?.ok_or_else(missing);
    }
    let existing = partitions(table)?;
    if let Some(found) = existing.iter().find(holds) {
        return relation::by_oid(Oid::from(found.oid))?.ok_or_else(missing);
    }
    // The width may have been another one before.
    let from = existing.iter().map(|p| p.next).filter(|next| *next <= chunk_no).max().unwrap_or(0).max(aligned);
    let to = existing
        .iter()
        .map(|p| p.first)
        .filter(|first| *first > chunk_no)
        .min()
        .unwrap_or(i64::MAX)
        .min(aligned + width);
    make_partition(table, &format!("_p{from}"), from, to, None)
}

/// Makes a partition for chunks `from..to`, apart, and attaches it: that takes SHARE UPDATE EXCLUSIVE on the parent, which readers don't
/// notice. The CHECK spares the scan. `filled_from`: a relation with the same columns whose rows of these chunks go into it.
pub fn make_partition(
    table: &Relation,
    suffix: &str,
    from: i64,
    to: i64,
    filled_from: Option<&Relation>,
) -> Result<Relation> {
    let name = with_suffix(&table.name, suffix);
    let column = chunk_column(table);
    let (parent, partition) = (table.qualified(), format!("{}.{}", spi::ident(&table.schema), spi::ident(&name)));
    spi::execute_once(&format!(
        "CREATE TABLE {partition} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE,
                CONSTRAINT _chunk_no_range CHECK ({column} >= {from} AND {column} < {to}))"
    ))?;
    if column != CHUNK_NO {
        spi::execute_once(&format!("ALTER TABLE {partition} REPLICA IDENTITY FULL"))?;
    }
    if let Some(source) = filled_from {
        let columns = relation::columns(Oid::from(source.oid))?;
        let columns: Vec<String> = columns.iter().filter(|c| !c.generated).map(|c| spi::ident(&c.name)).collect();
        let columns = columns.join(", ");
        spi::execute_once(&format!(
            "INSERT INTO {partition} ({columns}) SELECT {columns} FROM {} WHERE {column} >= {from} AND {column} < {to}",
            source.qualified()
        ))?;
    }
    spi::execute_once(&format!(
        "ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ({from}) TO ({to});
         ALTER TABLE {partition} DROP CONSTRAINT _chunk_no_range"
    ))?;
    relation::by_name(&table.schema, &name)?.ok_or_else(|| Error::new(Code::Internal, "the new partition is gone"))
}
