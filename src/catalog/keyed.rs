//! The tables of a keyed pipeline, and the SQL that merges a chunk into them.
//!
//! Staging holds the present state of each key. Beside it `<staging>_changes` keeps what each chunk changed, `<staging>_replaced`
//! the old image of each row that was updated, and `<staging>_incoming` holds the good rows of one chunk until they are merged: one
//! statement that sorts them by key and decides, and either happens whole or not at all. A chunk changes a key at most once.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::catalog::staging::{self, CHUNK_NO, ROW_NO};
use crate::model::keyed::OnConflict;
use crate::model::names::with_suffix;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::spi;

/// What a change did, and in the incoming table what a row is to do.
pub const OP: &str = "_op";

/// The tables beside staging.
pub struct Beside {
    pub changes: Oid,
    pub replaced: Oid,
    pub incoming: Oid,
    pub deleted: Option<Oid>,
}

/// Makes the three tables beside a staging table; `width`: chunks a partition.
pub fn create_beside(staging: &Relation, width: i64) -> Result<Beside> {
    let parent = staging.qualified();
    let mut made = Vec::new();
    for suffix in ["_changes", "_replaced", "_incoming"] {
        let name = with_suffix(&staging.name, suffix);
        if relation::by_name(&staging.schema, &name)?.is_some() {
            return Err(Error::new(Code::DuplicateObject, format!("relation \"{name}\" already exists"))
                .detail(format!("A pipeline with a primary_key keeps a table of that name beside {parent}."))
                .hint("Rename or drop it, or choose another staging table."));
        }
        made.push((name.clone(), format!("{}.{}", spi::ident(&staging.schema), spi::ident(&name))));
    }
    let [changes, replaced, incoming] = [&made[0].1, &made[1].1, &made[2].1];
    spi::execute_once(&format!(
        "CREATE TABLE {changes} (LIKE {parent} INCLUDING STORAGE, {OP} text NOT NULL) PARTITION BY RANGE ({CHUNK_NO});
         CREATE TABLE {replaced} (LIKE {parent} INCLUDING STORAGE) PARTITION BY RANGE ({CHUNK_NO});
         CREATE UNLOGGED TABLE {incoming} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE,
             {OP} text);
         COMMENT ON TABLE {changes} IS 'What each chunk changed (_op insert, update, delete): the new image of the row, of a deleted one its last.';
         COMMENT ON TABLE {replaced} IS 'The old image of each row that a chunk updated; _chunk_no and _row_no are those of the change.';
         COMMENT ON TABLE {incoming} IS 'Rows of the chunk that is being loaded; empty between chunks.'"
    ))?;
    for table in [changes, replaced] {
        // What is NOT NULL today may be let go of one day; history must hold both.
        for column in relation::columns(Oid::from(staging.oid))?.iter().filter(|c| c.not_null && !is_ours(&c.name)) {
            spi::execute_once(&format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL", spi::ident(&column.name)))?;
        }
        spi::execute_once(&format!("CREATE INDEX ON {table} USING brin ({CHUNK_NO}) WITH (autosummarize = on)"))?;
    }
    copy_foreign_keys(staging, incoming)?;
    let find = |name: &str| -> Result<Relation> {
        relation::by_name(&staging.schema, name)?.ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
    };
    let (changes, replaced, incoming) = (find(&made[0].0)?, find(&made[1].0)?, find(&made[2].0)?);
    staging::target(&changes, 1, width)?;
    staging::target(&replaced, 1, width)?;
    Ok(Beside {
        changes: Oid::from(changes.oid),
        replaced: Oid::from(replaced.oid),
        incoming: Oid::from(incoming.oid),
        deleted: None,
    })
}

/// So that a row which breaks one is found while it is loaded, where it stands alone.
fn copy_foreign_keys(staging: &Relation, incoming: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Constraint {
        definition: String,
    }
    let found: Vec<Constraint> = spi::query(
        "SELECT pg_catalog.pg_get_constraintdef(oid) AS definition FROM pg_catalog.pg_constraint
          WHERE conrelid = $1 AND contype = 'f' AND NOT condeferrable ORDER BY oid",
        vec![Oid::from(staging.oid).into()],
    )?;
    found.iter().try_for_each(|c| spi::execute_once(&format!("ALTER TABLE {incoming} ADD {}", c.definition)))
}

fn is_ours(column: &str) -> bool {
    matches!(column, CHUNK_NO | ROW_NO | OP)
}

/// The columns of a grave: the key, and what says which of two rows is the newer.
fn grave_columns(columns: &[Shape], key: &[String], order_by: &[String]) -> Vec<Shape> {
    named(columns, key).chain(named(columns, order_by).filter(|c| !key.contains(&c.name))).cloned().collect()
}

/// Makes the table of keys that were taken away.
pub fn create_deleted(staging: &Relation, key: &[String], order_by: &[String]) -> Result<Oid> {
    let name = with_suffix(&staging.name, "_deleted");
    if relation::by_name(&staging.schema, &name)?.is_some() {
        return Err(Error::new(Code::DuplicateObject, format!("relation \"{name}\" already exists"))
            .detail(format!(
                "A pipeline with delete_when and order_by keeps a table of that name beside {}.",
                staging.qualified()
            ))
            .hint("Rename or drop it, or choose another staging table."));
    }
    let columns = grave_columns(&shape(Oid::from(staging.oid))?, key, order_by);
    let table = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&name));
    let keys: Vec<String> = key.iter().map(|k| spi::ident(k)).collect();
    spi::execute_once(&format!(
        "CREATE TABLE {table} AS SELECT {}, {CHUNK_NO} FROM {} WITH NO DATA;
         ALTER TABLE {table} ADD PRIMARY KEY ({});
         COMMENT ON TABLE {table} IS 'Keys that were taken away, with the order_by of the row that did: an older row that comes later does not bring one back.'",
        list(columns.iter(), |c| c.into()),
        staging.qualified(),
        keys.join(", ")
    ))?;
    let made = relation::by_name(&staging.schema, &name)?;
    made.map(|r| Oid::from(r.oid)).ok_or_else(|| Error::new(Code::Internal, "the new table is gone"))
}

/// Forgets keys that were taken away up to a chunk.
pub fn forget_deleted(deleted: &Relation, through: i64) -> Result<()> {
    spi::execute(&format!("DELETE FROM {} WHERE {CHUNK_NO} <= $1", deleted.qualified()), vec![through.into()])?;
    Ok(())
}

/// Checks that a staging table can hold the state of keys: plain, unique by just these columns, and nothing that fills itself.
pub fn check_staging(staging: &Relation, key: &[String]) -> Result<()> {
    let misfit = |detail: String, hint: &str| {
        Error::new(
            Code::Mismatch,
            format!("table {} can't be the staging table of a keyed pipeline", staging.qualified()),
        )
        .detail(detail)
        .hint(hint)
    };
    if staging.kind != "r" {
        return Err(misfit("It is partitioned.".into(), "Name a plain table, or one that does not exist yet."));
    }
    if relation::columns(Oid::from(staging.oid))?.iter().any(|c| c.name == OP) {
        return Err(misfit(
            format!("It has a column {OP}."),
            "Rename the column: the table of changes has one of that name.",
        ));
    }
    let identity: Option<bool> = spi::value(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attidentity <> '' AND NOT attisdropped)",
        vec![Oid::from(staging.oid).into()],
    )?;
    if identity == Some(true) {
        return Err(misfit("It has an identity column.".into(), "Use a column that the source fills."));
    }
    let unique: Option<bool> = spi::value(
        "SELECT EXISTS (
            SELECT FROM pg_catalog.pg_index i
             WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
               AND ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = i.indrelid AND a.attnotnull
                            AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) ORDER BY 1)
                 = ARRAY(SELECT k FROM pg_catalog.unnest($2::text[]) AS k ORDER BY 1))",
        vec![Oid::from(staging.oid).into(), key.to_vec().into()],
    )?;
    if unique != Some(true) {
        return Err(misfit(
            format!("It has no unique index on just {}, each of them NOT NULL.", key.join(", ")),
            "ALTER TABLE … ADD PRIMARY KEY with the columns of option \"primary_key\".",
        ));
    }
    Ok(())
}

/// How rows of a pipeline are told apart and which stays, in SQL.
pub struct Rule<'a> {
    pub key: &'a [String],
    pub order_by: &'a [String],
    pub on_conflict: OnConflict,
    /// Besides those whose `_op` says so, rows that take their key away.
    pub delete_when: Option<&'a str>,
    /// A row that is there as it is is no change.
    pub only_changed: bool,
}

/// The relations that a chunk is merged into.
pub struct Places {
    pub staging: Relation,
    pub incoming: Relation,
    /// The partitions that hold the chunk.
    pub changes: Relation,
    pub replaced: Relation,
    /// The keys that were taken away, where an older row that comes later must not bring one back.
    pub deleted: Option<Relation>,
}

/// A column of the staging table that is not ours.
#[derive(Debug, Clone, Deserialize)]
pub struct Shape {
    pub name: String,
    pub generated: bool,
    /// Where the operators of its type are.
    pub operators: String,
}

pub fn shape(staging: Oid) -> Result<Vec<Shape>> {
    let mut columns: Vec<Shape> = spi::query(
        "SELECT a.attname AS name, a.attgenerated <> '' AS generated,
                COALESCE((SELECT n.nspname FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                           WHERE o.oprname = '=' AND o.oprleft = b.base AND o.oprright = b.base LIMIT 1), 'pg_catalog') AS operators
           FROM pg_catalog.pg_attribute a
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
          CROSS JOIN LATERAL (SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END AS base) AS b
          WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        vec![staging.into()],
    )?;
    columns.retain(|c| !is_ours(&c.name));
    Ok(columns)
}

pub(super) fn list<'a>(columns: impl Iterator<Item = &'a Shape>, each: impl Fn(&str) -> String) -> String {
    columns.map(|c| each(&spi::ident(&c.name))).collect::<Vec<_>>().join(", ")
}

pub(super) fn named<'a>(columns: &'a [Shape], names: &'a [String]) -> impl Iterator<Item = &'a Shape> {
    names.iter().filter_map(|name| columns.iter().find(|c| &c.name == name))
}

/// True where an incoming row comes after the row `there` of its key: later in `order_by`, NULL being less than everything, or
/// equal to it.
fn not_older(rule: &Rule<'_>, columns: &[Shape], there: &str) -> String {
    named(columns, rule.order_by).collect::<Vec<_>>().iter().rev().fold("true".into(), |rest, c| {
        let (name, space) = (spi::ident(&c.name), spi::ident(&c.operators));
        let old = format!("{there}.{name}");
        let alike = format!("(i.{name} OPERATOR({space}.=) {old} OR i.{name} IS NULL AND {old} IS NULL)");
        format!("({old} IS NULL AND i.{name} IS NOT NULL OR i.{name} OPERATOR({space}.>) {old} OR {alike} AND {rest})")
    })
}

/// Merges the incoming rows as chunk `$1`; `$2` is the number of the first row of each part of the chunk, ascending. Gives a text: see
/// [`Merged`]. `deletes`: some of the rows may take their key away. `ranged`: only winners whose number is from `$3` to `$4`.
pub fn merge_statement(at: &Places, rule: &Rule<'_>, columns: &[Shape], deletes: bool, ranged: bool) -> String {
    let (staging, incoming) = (at.staging.qualified(), at.incoming.qualified());
    let source = match deletes {
        true => format!(
            "(SELECT *, COALESCE({OP} = 'delete', false) OR COALESCE({}, false) AS _millrace_delete FROM {incoming})",
            rule.delete_when.unwrap_or("false")
        ),
        false => format!("(SELECT *, false AS _millrace_delete FROM {incoming})"),
    };
    let (changes, replaced) = (at.changes.qualified(), at.replaced.qualified());
    let key = list(named(columns, rule.key), |c| format!("i.{c}"));
    let same_key: Vec<String> = named(columns, rule.key)
        .map(|c| format!("s.{0} OPERATOR({1}.=) i.{0}", spi::ident(&c.name), spi::ident(&c.operators)))
        .collect();
    let mut order: Vec<String> =
        named(columns, rule.order_by).map(|c| format!("i.{} DESC NULLS LAST", spi::ident(&c.name))).collect();
    let (beats, last) = match rule.on_conflict {
        OnConflict::Newest => (not_older(rule, columns, "s"), "DESC"),
        OnConflict::Ignore => (if deletes { "i._millrace_delete".into() } else { "false".to_string() }, "ASC"),
    };
    order.push(format!("i._row_no {last}"));
    let all = list(columns.iter(), |c| c.into());
    let stored = || columns.iter().filter(|c| !c.generated);
    let verb = match deletes {
        true => {
            "CASE WHEN m._millrace_delete THEN 'delete' WHEN m._millrace_old IS NULL THEN 'insert' ELSE 'update' END"
        }
        false => "CASE WHEN m._millrace_old IS NULL THEN 'insert' ELSE 'update' END",
    };
    let mut kept: Vec<&str> = Vec::new();
    if deletes {
        // Nothing is there to be taken away.
        kept.push("(NOT m._millrace_delete OR m._millrace_old IS NOT NULL)");
    }
    if ranged {
        kept.push("m._row_no BETWEEN $3 AND $4");
    }
    let same = if rule.only_changed {
        kept.push("(m._millrace_delete OR m._millrace_same IS NOT TRUE)");
        let (old, new) = (list(columns.iter(), |c| format!("s.{c}")), list(columns.iter(), |c| format!("i.{c}")));
        format!(
            ", s.ctid IS NOT NULL AND (ROW({old})::record OPERATOR(pg_catalog.*=) ROW({new})::record) AS _millrace_same"
        )
    } else {
        String::new()
    };
    let kept = if kept.is_empty() { String::new() } else { format!(" WHERE {}", kept.join(" AND ")) };
    let (deleted, deleted_count, last_images) = if deletes {
        (
            format!(
                "deleted AS (DELETE FROM {staging} AS s USING decided AS d
                   WHERE d._millrace_verb = 'delete' AND s.ctid = d._millrace_old RETURNING 1),"
            ),
            " + (SELECT count(*) FROM deleted)",
            format!(
                " UNION ALL SELECT {}, $1::bigint, d._row_no, 'delete' FROM decided AS d JOIN {staging} AS s ON s.ctid = d._millrace_old
                   WHERE d._millrace_verb = 'delete'",
                list(columns.iter(), |c| format!("s.{c}"))
            ),
        )
    } else {
        (String::new(), "", String::new())
    };
    let updated = if rule.on_conflict == OnConflict::Newest {
        format!(
            "replaced AS (INSERT INTO {replaced} ({all}, {CHUNK_NO}, {ROW_NO})
               SELECT {}, $1::bigint, d._row_no FROM decided AS d JOIN {staging} AS s ON s.ctid = d._millrace_old
                WHERE d._millrace_verb = 'update'),
             updated AS (UPDATE {staging} AS s SET {}, {CHUNK_NO} = $1::bigint, {ROW_NO} = d._row_no FROM decided AS d
                WHERE d._millrace_verb = 'update' AND s.ctid = d._millrace_old RETURNING 1),",
            list(columns.iter(), |c| format!("s.{c}")),
            list(stored(), |c| format!("{c} = d.{c}")),
        )
    } else {
        "updated AS (SELECT WHERE false),".into()
    };
    let (mut no_row, mut graves, mut buried) = (String::from("s.ctid IS NULL"), String::new(), String::new());
    if let Some(deleted) = at.deleted.as_ref().filter(|_| deletes) {
        let deleted = deleted.qualified();
        let same: Vec<String> = named(columns, rule.key)
            .map(|c| format!("g.{0} OPERATOR({1}.=) i.{0}", spi::ident(&c.name), spi::ident(&c.operators)))
            .collect();
        no_row = format!("(s.ctid IS NULL AND (g.ctid IS NULL OR {}))", not_older(rule, columns, "g"));
        graves = format!(" LEFT JOIN {deleted} AS g ON {}", same.join(" AND "));
        let kept: Vec<Shape> = grave_columns(columns, rule.key, rule.order_by);
        let (names, keys) = (list(kept.iter(), |c| c.into()), list(named(columns, rule.key), |c| c.into()));
        let within = if ranged { " AND m._row_no BETWEEN $3 AND $4" } else { "" };
        buried = format!(
            "buried AS (INSERT INTO {deleted} ({names}, {CHUNK_NO})
               SELECT {}, $1::bigint FROM matched AS m WHERE m._millrace_delete{within}
               ON CONFLICT ({keys}) DO UPDATE SET {}, {CHUNK_NO} = EXCLUDED.{CHUNK_NO}),",
            list(kept.iter(), |c| format!("m.{c}")),
            list(kept.iter(), |c| format!("{c} = EXCLUDED.{c}")),
        );
    }
    let changing = if deletes { " WHERE d._millrace_verb <> 'delete'" } else { "" };
    format!(
        "WITH matched AS (
            SELECT DISTINCT ON ({key}) {}, i._row_no, i._millrace_delete, s.ctid AS _millrace_old{same}
              FROM {source} AS i LEFT JOIN {staging} AS s ON {}{graves}
             WHERE {no_row} OR s.ctid IS NOT NULL AND {beats}
             ORDER BY {key}, {}),
         decided AS MATERIALIZED (SELECT m.*, {verb} AS _millrace_verb FROM matched AS m{kept}),
         {updated}
         {deleted}
         {buried}
         inserted AS (INSERT INTO {staging} ({stored_list}, {CHUNK_NO}, {ROW_NO})
            SELECT {}, $1::bigint, d._row_no FROM decided AS d WHERE d._millrace_verb = 'insert' ORDER BY {} RETURNING 1),
         changed AS (INSERT INTO {changes} ({all}, {CHUNK_NO}, {ROW_NO}, {OP})
            SELECT {}, $1::bigint, d._row_no, d._millrace_verb FROM decided AS d{changing}{last_images} RETURNING 1)
         SELECT json_build_object(
            'changes', (SELECT count(*) FROM changed),
            'done', (SELECT count(*) FROM updated) + (SELECT count(*) FROM inserted){deleted_count},
            'parts', (SELECT COALESCE(json_agg(json_build_array(p.part, p.n)), '[]')
                        FROM (SELECT width_bucket(_row_no, $2::bigint[]) AS part, count(*) AS n FROM decided GROUP BY 1) AS p))::text",
        list(columns.iter(), |c| format!("i.{c}")),
        same_key.join(" AND "),
        order.join(", "),
        list(stored(), |c| format!("d.{c}")),
        list(named(columns, rule.key), |c| format!("d.{c}")),
        list(columns.iter(), |c| format!("d.{c}")),
        stored_list = list(stored(), |c| c.into()),
    )
}

/// What a merge did.
#[derive(Debug, Deserialize)]
pub struct Merged {
    pub changes: i64,
    /// Rows of the staging table that were written; as many as there are changes, unless somebody else was at work.
    pub done: i64,
    /// Changes by part of the chunk, parts numbered from 1.
    pub parts: Vec<(i64, i64)>,
}

pub fn merge(statement: &str, chunk_no: i64, bounds: &[i64], range: Option<(i64, i64)>) -> Result<Merged> {
    let mut args: Vec<spi::Arg> = vec![chunk_no.into(), bounds.to_vec().into()];
    if let Some((from, to)) = range {
        args.extend([from.into(), to.into()]);
    }
    let text: Option<String> = spi::value(statement, args)?;
    let text = text.ok_or_else(|| Error::new(Code::Internal, "a merge gave no answer"))?;
    serde_json::from_str(&text).map_err(|e| Error::new(Code::Internal, e.to_string()))
}

pub fn empty(incoming: &Relation) -> Result<()> {
    spi::execute_once(&format!("TRUNCATE {}", incoming.qualified()))
}

/// What a recount compares.
#[derive(Debug, Deserialize)]
pub struct Recount {
    pub keys: i64,
    pub keys_by_changes: i64,
    pub updates: i64,
    pub replaced: i64,
    /// Rows of the staging table that no change has left there.
    pub unexplained: i64,
}

/// Of the chunks from `kept_from` on, where what was before is gone.
pub fn recount(staging: &Relation, changes: &Relation, replaced: &Relation, kept_from: i64) -> Result<Option<Recount>> {
    let (staging, changes, replaced) = (staging.qualified(), changes.qualified(), replaced.qualified());
    Ok(spi::read(
        &format!(
            "SELECT (SELECT count(*) FROM {staging}) AS keys,
                    (SELECT COALESCE(sum(CASE {OP} WHEN 'insert' THEN 1 WHEN 'delete' THEN -1 ELSE 0 END), 0)::bigint FROM {changes}) AS keys_by_changes,
                    (SELECT count(*) FROM {changes} WHERE {OP} = 'update' AND {CHUNK_NO} >= $1) AS updates,
                    (SELECT count(*) FROM {replaced} WHERE {CHUNK_NO} >= $1) AS replaced,
                    (SELECT count(*) FROM {staging} AS s
                      WHERE s.{CHUNK_NO} >= $1 AND NOT EXISTS (SELECT FROM {changes} AS c
                                         WHERE c.{CHUNK_NO} = s.{CHUNK_NO} AND c.{ROW_NO} = s.{ROW_NO} AND c.{OP} <> 'delete')) AS unexplained"
        ),
        vec![kept_from.into()],
    )?
    .pop())
}
