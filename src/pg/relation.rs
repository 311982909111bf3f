//! What Postgres knows of a relation and its columns.

use std::cell::RefCell;

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::model::Result;
use crate::pg::spi;
use crate::pg::unchanged::{self, Kept};

thread_local! {
    static COLUMNS: RefCell<Kept<Oid, Vec<Column>>> = RefCell::default();
    static RELATIONS: RefCell<Kept<Oid, Relation>> = RefCell::default();
}

/// One column that rows can be loaded into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    /// The type under a domain's own, or the type itself.
    pub base_oid: u32,
    pub typmod: i32,
    pub type_name: String,
    pub not_null: bool,
    pub has_default: bool,
    pub generated: bool,
    pub can_send: bool,
    /// Of an array the type of its elements, else 0.
    pub element_oid: u32,
}

/// Live columns in order, without system columns; also of a table that this very statement made.
pub fn columns(relation: Oid) -> Result<Vec<Column>> {
    Ok(unchanged::or_ask(&COLUMNS, relation, |relation| Ok(Some(ask_columns(*relation)?)))?.unwrap_or_default())
}

fn ask_columns(relation: Oid) -> Result<Vec<Column>> {
    spi::query(
        "SELECT a.attname AS name, a.atttypid::bigint AS type_oid,
                CASE t.typtype WHEN 'd' THEN 0 ELSE a.atttypid::bigint END AS base_oid, a.atttypmod AS typmod,
                pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name, a.attnotnull AS not_null,
                a.atthasdef OR a.attidentity <> '' AS has_default, a.attgenerated <> '' OR a.attidentity = 'a' AS generated,
                t.typsend <> 0 AND t.typreceive <> 0 AS can_send,
                CASE t.typcategory WHEN 'A' THEN t.typelem::bigint ELSE 0 END AS element_oid
           FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
          WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attnum",
        vec![relation.into()],
    )
}

/// The relation's kind as in pg_class, and its quoted, qualified name; `None` when it is gone.
#[derive(Debug, Clone, Deserialize)]
pub struct Relation {
    pub oid: u32,
    pub kind: String,
    pub schema: String,
    pub name: String,
    pub partition_key: Option<String>,
}

impl Relation {
    pub fn qualified(&self) -> String {
        format!("{}.{}", spi::ident(&self.schema), spi::ident(&self.name))
    }
}

const RELATION: &str = "SELECT c.oid::bigint AS oid, c.relkind::text AS kind, n.nspname AS schema, c.relname AS name,
        pg_catalog.pg_get_partkeydef(c.oid) AS partition_key
   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

pub fn by_oid(relation: Oid) -> Result<Option<Relation>> {
    unchanged::or_ask(&RELATIONS, relation, |relation| {
        Ok(spi::query(&format!("{RELATION} WHERE c.oid = $1"), vec![(*relation).into()])?.pop())
    })
}

pub fn by_name(schema: &str, name: &str) -> Result<Option<Relation>> {
    Ok(spi::query(&format!("{RELATION} WHERE n.nspname = $1 AND c.relname = $2"), vec![schema.into(), name.into()])?
        .pop())
}
