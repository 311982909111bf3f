//! The tables that rows are loaded into: staging, its partitions, and its rejects.

use pgrx::pg_sys::Oid;

use crate::model::names::with_suffix;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Column, Relation};
use crate::pg::spi;

/// Chunks a partition holds. Wide enough that years of a chunk a second stay within some thousand partitions, narrow enough that
/// retention can drop old ones.
const PARTITION_CHUNKS: i64 = 10_000;

/// The columns that we add to every row.
pub const CHUNK_NO: &str = "_chunk_no";
pub const ROW_NO: &str = "_row_no";

/// Columns that rows of the source are loaded into: all but ours and those that Postgres computes.
pub fn source_columns(staging: Oid) -> Result<Vec<Column>> {
    let mut columns = relation::columns(staging)?;
    columns.retain(|c| !c.generated && c.name != CHUNK_NO && c.name != ROW_NO);
    Ok(columns)
}

/// Creates the staging table from a column list as in CREATE TABLE.
pub fn create(schema: &str, name: &str, columns: &str) -> Result<Relation> {
    let schema_exists: Option<bool> =
        spi::value("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", vec![schema.into()])?;
    if schema_exists != Some(true) {
        spi::execute_once(&format!("CREATE SCHEMA {}", spi::ident(schema)))?;
    }
    let table = format!("{}.{}", spi::ident(schema), spi::ident(name));
    spi::execute_once(&format!(
        "CREATE TABLE {table} ({columns}, _chunk_no bigint NOT NULL, _row_no bigint NOT NULL) PARTITION BY RANGE (_chunk_no)"
    ))?;
    spi::execute_once(&format!(
        "CREATE INDEX ON {table} USING brin (_chunk_no) WITH (pages_per_range = 16, autosummarize = on)"
    ))?;
    let created =
        relation::by_name(schema, name)?.ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))?;
    ensure_partition(&created, 1)?;
    Ok(created)
}

/// Creates the table of rejected rows beside the staging table.
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
            rejected_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
            PRIMARY KEY (chunk_no, _row_no));
         COMMENT ON TABLE {table} IS 'Records that could not be loaded: as landed (raw; raw_bytes where that is no valid text), from where, and why.';
         COMMENT ON COLUMN {table}.row_no IS 'Number of the record in its file, from 1, the header not counted.';
         COMMENT ON COLUMN {table}._row_no IS 'Number of the record in its chunk, counted through all its files.'"
    ))?;
    let created = relation::by_name(&staging.schema, &name)?;
    created.map(|r| Oid::from(r.oid)).ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
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

/// The relation that a chunk's rows go into: a partition of the staging table (made when missing), or the table itself when it is plain.
pub fn target(staging: &Relation, chunk_no: i64) -> Result<Relation> {
    if staging.kind != "p" {
        return Ok(staging.clone());
    }
    let target = ensure_partition(staging, chunk_no)?;
    // Ahead of need: the load that first meets a new partition should not wait for a lock that somebody's long query stands in the way of.
    if chunk_no % PARTITION_CHUNKS >= PARTITION_CHUNKS * 9 / 10 {
        ensure_partition(staging, chunk_no + PARTITION_CHUNKS)?;
    }
    Ok(target)
}

fn ensure_partition(staging: &Relation, chunk_no: i64) -> Result<Relation> {
    let from = chunk_no - chunk_no % PARTITION_CHUNKS;
    let name = with_suffix(&staging.name, &format!("_p{from}"));
    if let Some(found) = relation::by_name(&staging.schema, &name)? {
        return Ok(found);
    }
    let (parent, to) = (staging.qualified(), from + PARTITION_CHUNKS);
    let table = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&name));
    // Created apart and attached: that takes SHARE UPDATE EXCLUSIVE on the parent, which readers don't notice. The CHECK spares the scan.
    spi::execute_once(&format!(
        "CREATE TABLE {table} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE,
                CONSTRAINT _chunk_no_range CHECK (_chunk_no >= {from} AND _chunk_no < {to}));
         ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to});
         ALTER TABLE {table} DROP CONSTRAINT _chunk_no_range"
    ))?;
    relation::by_name(&staging.schema, &name)?.ok_or_else(|| Error::new(Code::Internal, "the new partition is gone"))
}
