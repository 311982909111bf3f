//! The table that holds the records of a chunk until they are transformed, and the SQL that makes rows of them.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::catalog::keyed::OP;
use crate::catalog::staging::{CHUNK_NO, ROW_NO};
use crate::model::names::with_suffix;
use crate::model::transform::{Made, Transform};
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::spi;

/// Makes the table of records beside a staging table; `columns` as in CREATE TABLE.
pub fn create_input(schema: &str, staging: &str, columns: &str) -> Result<Relation> {
    super::staging::ensure_schema(schema)?;
    let name = with_suffix(staging, "_input");
    if relation::by_name(schema, &name)?.is_some() {
        return Err(Error::new(Code::DuplicateObject, format!("relation \"{name}\" already exists"))
            .detail("A pipeline with a transform keeps a table of that name beside its staging table.")
            .hint("Rename or drop it, or choose another staging table."));
    }
    let table = format!("{}.{}", spi::ident(schema), spi::ident(&name));
    spi::execute_once(&format!(
        "CREATE UNLOGGED TABLE {table} ({columns}, {CHUNK_NO} bigint NOT NULL, {ROW_NO} bigint NOT NULL UNIQUE, {OP} text);
         COMMENT ON TABLE {table} IS 'Records of the chunk that is being transformed; empty between chunks.'"
    ))?;
    relation::by_name(schema, &name)?.ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
}

/// Makes it with the columns that rows of the staging table are loaded into.
pub fn create_input_like(staging: &Relation) -> Result<Relation> {
    let columns: Vec<String> = super::staging::source_columns(Oid::from(staging.oid))?
        .iter()
        .filter(|c| c.name != OP)
        .map(|c| format!("{} {}", spi::ident(&c.name), c.type_name))
        .collect();
    create_input(&staging.schema, &staging.name, &columns.join(", "))
}

/// The column list of a staging table that takes what a transform makes.
pub fn column_list(columns: &[Made]) -> String {
    let one = |c: &Made| {
        let collation = c.collation.as_ref().map(|c| format!(" COLLATE {c}")).unwrap_or_default();
        format!("{} {}{collation}", spi::ident(&c.name), c.type_name)
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A column of the table that the rows go into, with what goes into it.
#[derive(Deserialize)]
struct Taken {
    name: String,
    type_name: String,
    type_oid: u32,
    /// The type without its length, where a cast to that would cut values off instead of refusing them.
    cut_off: Option<String>,
    default: Option<String>,
    assignable: bool,
}

fn taken(staging: Oid, made: &[Made]) -> Result<Vec<Taken>> {
    spi::query(
        "SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name, a.atttypid::bigint AS type_oid,
                CASE WHEN a.atttypmod >= 0 AND t.typcategory IN ('S', 'V') THEN pg_catalog.format_type(a.atttypid, -1) END AS cut_off,
                pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS \"default\",
                m.type_oid IS NULL OR m.type_oid = a.atttypid
                OR EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE c.castsource = m.type_oid AND c.casttarget IN (a.atttypid, t.typbasetype)
                              AND c.castcontext IN ('a', 'i'))
                OR m.type_oid = t.typbasetype
                OR t.typcategory = 'S' AND t.typtype = 'b' AS assignable
           FROM pg_catalog.pg_attribute a
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           LEFT JOIN ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::bigint[])) AS m (name, type_oid) ON m.name = a.attname
          WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a'
            AND a.attname NOT IN ('_chunk_no', '_row_no', '_op') AND (a.attidentity = '' OR m.name IS NOT NULL)
          ORDER BY a.attnum",
        vec![
            staging.into(),
            made.iter().map(|c| c.name.clone()).collect::<Vec<_>>().into(),
            made.iter().map(|c| i64::from(c.type_oid)).collect::<Vec<_>>().into(),
        ],
    )
}

/// Refuses what the staging table has no place for.
pub fn check_fits(staging: &Relation, transform: &Transform) -> Result<()> {
    let found = taken(Oid::from(staging.oid), &transform.columns)?;
    let misfit = |detail: String| {
        Error::new(
            Code::Mismatch,
            format!("what the transform makes does not fit the staging table {}", staging.qualified()),
        )
        .detail(detail)
        .hint("Name and cast the columns as the staging table has them, or alter the table first.")
    };
    for column in &transform.columns {
        match found.iter().find(|t| t.name == column.name) {
            None => {
                let known: Vec<String> = found.iter().map(|t| format!("{} {}", t.name, t.type_name)).collect();
                return Err(misfit(format!("It has no column \"{}\"; it has {}.", column.name, known.join(", "))));
            }
            Some(t) if !t.assignable => {
                return Err(misfit(format!(
                    "Its column \"{}\" is {}, and the transform makes {}.",
                    column.name, t.type_name, column.type_name
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What goes into the columns of the staging table, as the records from `$1` to `$2` make it: rows with all columns that rules may look
/// at. The OFFSET keeps rules away from rows that the transform leaves out.
fn rows(columns: &[Taken], transform: &Transform, chunk_no: &str) -> String {
    let one = |t: &Taken| {
        let name = spi::ident(&t.name);
        let made = transform.columns.iter().find(|m| m.name == t.name);
        let value = match (made, &t.default) {
            (Some(made), _) if made.type_name == t.type_name => format!("t.{name}"),
            (Some(made), _) if t.cut_off.is_some() && made.type_oid == t.type_oid => format!("t.{name}"),
            (Some(_), _) => format!("t.{name}::{}", t.cut_off.as_ref().unwrap_or(&t.type_name)),
            (None, Some(default)) => format!("({default})::{}", t.type_name),
            (None, None) => format!("NULL::{}", t.type_name),
        };
        format!("{value} AS {name}")
    };
    let list: Vec<String> = columns.iter().map(one).collect();
    format!(
        "(SELECT {}, {chunk_no} AS {CHUNK_NO}, t.{ROW_NO}, t.{OP} FROM ({}) AS t OFFSET 0) AS made",
        list.join(", "),
        transform.sql
    )
}

/// The statements of one chunk.
pub struct Statements {
    /// Makes the rows of the records from `$1` to `$2` and puts those that pass into the table, as chunk `$3`. Gives the number of the
    /// record of each row that went in.
    pub insert: String,
    /// Makes the rows and leaves it at that.
    pub make: String,
    /// The same, up to where rules look at them.
    rows: String,
}

impl Statements {
    /// `target`: where rows go, a table with the columns of `staging`; `with_op`: and `_op`.
    pub fn new(
        target: &Relation,
        staging: Oid,
        transform: &Transform,
        filter: Option<&str>,
        with_op: bool,
    ) -> Result<Statements> {
        let columns = taken(staging, &transform.columns)?;
        let mut names: Vec<String> = columns.iter().map(|t| spi::ident(&t.name)).collect();
        names.extend([CHUNK_NO.to_string(), ROW_NO.to_string()]);
        if with_op {
            names.push(OP.to_string());
        }
        let (names, rows) = (names.join(", "), rows(&columns, transform, "$3::bigint"));
        let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        Ok(Statements {
            insert: format!(
                "WITH gone_in AS (INSERT INTO {} ({names}) SELECT {names} FROM {rows}{filter} RETURNING {ROW_NO})
                 SELECT pg_catalog.array_agg({ROW_NO}) FROM gone_in",
                target.qualified()
            ),
            make: format!("SELECT made.* FROM {rows}"),
            rows,
        })
    }

    /// Looks whether a rule raises an error for one of the rows.
    pub fn probe(&self, rule: &str) -> String {
        format!("SELECT ({rule}) FROM {}", self.rows)
    }
}

/// Takes records out again before they are transformed.
pub fn leave_out(input: &Relation, row_nos: &[i64]) -> Result<()> {
    spi::execute(
        &format!("DELETE FROM {} WHERE {ROW_NO} = ANY ($1::bigint[])", input.qualified()),
        vec![row_nos.to_vec().into()],
    )?;
    Ok(())
}
