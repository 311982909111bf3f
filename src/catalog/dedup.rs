//! Rows that came before: what an append pipeline with `dedup_key` asks its own staging table.

use pgrx::pg_sys::Oid;

use crate::catalog::keyed::{Shape, list, named};
use crate::catalog::staging::{CHUNK_NO, ROW_NO};
use crate::model::names::with_suffix;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::spi;

/// Makes the table where a chunk's rows wait to be compared, and the index that finds those of earlier chunks.
pub fn create(staging: &Relation, key: &[String]) -> Result<Oid> {
    let (parent, name) = (staging.qualified(), with_suffix(&staging.name, "_incoming"));
    if relation::by_name(&staging.schema, &name)?.is_some() {
        return Err(Error::new(Code::DuplicateObject, format!("relation \"{name}\" already exists"))
            .detail(format!("A pipeline with a dedup_key keeps a table of that name beside {parent}."))
            .hint("Rename or drop it, or choose another staging table."));
    }
    let identity: Option<bool> = spi::value(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attidentity <> '' AND NOT attisdropped)",
        vec![Oid::from(staging.oid).into()],
    )?;
    if identity == Some(true) {
        return Err(Error::new(Code::Unsupported, "an identity column is not supported with \"dedup_key\"")
            .detail(format!("Table {parent} has one."))
            .hint("Use a column that the source fills."));
    }
    let incoming = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&name));
    let columns: Vec<String> = key.iter().map(|k| spi::ident(k)).collect();
    spi::execute_once(&format!(
        "CREATE UNLOGGED TABLE {incoming} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE);
         COMMENT ON TABLE {incoming} IS 'Rows of the chunk that is being loaded; empty between chunks.';
         CREATE INDEX ON {parent} ({})",
        columns.join(", ")
    ))?;
    let made = relation::by_name(&staging.schema, &name)?;
    made.map(|r| Oid::from(r.oid)).ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
}

/// Puts the incoming rows whose number is from `$2` to `$3` into the table, but for those whose key an earlier row of them has, or one
/// of a chunk from `$1` on. A key that is NULL in part is nobody's. Gives the numbers of the rows that went in.
pub fn statement(
    target: &Relation,
    staging: &Relation,
    incoming: &Relation,
    key: &[String],
    columns: &[Shape],
) -> String {
    let (staging, incoming) = (staging.qualified(), incoming.qualified());
    let keys = list(named(columns, key), |c| format!("i.{c}"));
    let known: Vec<String> = named(columns, key).map(|c| format!("i.{} IS NOT NULL", spi::ident(&c.name))).collect();
    let known = known.join(" AND ");
    let same: Vec<String> = named(columns, key)
        .map(|c| format!("s.{0} OPERATOR({1}.=) i.{0}", spi::ident(&c.name), spi::ident(&c.operators)))
        .collect();
    let stored = list(columns.iter().filter(|c| !c.generated), |c| c.into());
    let meant = format!("i.{ROW_NO} BETWEEN $2 AND $3");
    format!(
        "WITH first AS (
            SELECT DISTINCT ON ({keys}) i.* FROM {incoming} AS i
             WHERE {meant} AND {known}
               AND NOT EXISTS (SELECT FROM {staging} AS s WHERE s.{CHUNK_NO} >= $1 AND {})
             ORDER BY {keys}, i.{ROW_NO}),
         fresh AS (SELECT * FROM first UNION ALL SELECT i.* FROM {incoming} AS i WHERE {meant} AND NOT ({known})),
         gone_in AS (INSERT INTO {} ({stored}, {CHUNK_NO}, {ROW_NO})
            SELECT {stored}, {CHUNK_NO}, {ROW_NO} FROM fresh RETURNING {ROW_NO})
         SELECT pg_catalog.array_agg({ROW_NO}) FROM gone_in",
        same.join(" AND "),
        target.qualified()
    )
}

/// The first chunk that was sealed within so many milliseconds, or the one that is being loaded.
pub fn first_within(pipeline_id: i32, window_ms: i64, chunk_no: i64) -> Result<i64> {
    let found: Option<i64> = spi::value(
        "SELECT pg_catalog.min(chunk_no) FROM millrace.chunk
          WHERE pipeline_id = $1 AND sealed_at >= pg_catalog.clock_timestamp() - $2 * interval '1 millisecond'",
        vec![pipeline_id.into(), window_ms.into()],
    )?;
    Ok(found.unwrap_or(chunk_no))
}
