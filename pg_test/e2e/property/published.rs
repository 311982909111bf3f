//! The published Delta tables, read from their files: the last image of each group is the view.

use super::queries::QUERIES;
use super::{SOON, Stream};
use crate::server::wait_until;
use crate::site::{Place, Site, url};
use crate::sql::{Session, quote};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Field;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use pg_millrace::lake::delta::Table;
use pg_millrace::model::location::Location;
use std::sync::Arc;

pub fn assert_published(server: &Site, session: &mut Session, stream: &Stream, created: usize) {
    wait_until("all is published", SOON, || {
        let Ok(mut session) = server.try_session(super::DATABASE) else { return false };
        let waiting = format!(
            "SELECT count(*) FROM millrace.publications WHERE pipeline = '{}' AND state <> 'done'",
            stream.name
        );
        session.try_value(&waiting).is_ok_and(|n| n == "0")
    });
    for (i, query) in QUERIES.iter().enumerate().take(created) {
        let Some(keys) = query.published_by else { continue };
        let view = format!("views_{}.q{i}", stream.name);
        let found = rows(&stream.lake.join(query.name));
        let (ours, count) = if query.whole { ("", 0) } else { ("NULL::bigint AS _chunk_no, NULL::text AS _op, ", 2) };
        session.execute(&format!(
            "DROP TABLE IF EXISTS pg_temp.published;
             CREATE TEMP TABLE published AS SELECT {ours}v.* FROM {view} v LIMIT 0"
        ));
        for some in found.chunks(200) {
            session.execute(&some.iter().map(Row::insert).collect::<Vec<_>>().join(";"));
        }
        let columns = session.value(&format!(
            "SELECT string_agg(CASE WHEN atttypid = 'numeric'::regtype AND atttypmod < 0 THEN format('round(%1$I, 18) AS %1$I', attname) ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
               FROM pg_attribute WHERE attrelid = 'pg_temp.published'::regclass AND attnum > {count}",
        ));
        let keys = keys.iter().map(|key| format!("\"{key}\"")).chain(["_chunk_no DESC".into()]).collect::<Vec<_>>();
        let on =
            if keys.len() > 1 { format!("DISTINCT ON ({})", keys[..keys.len() - 1].join(", ")) } else { String::new() };
        let limit = if keys.len() > 1 { "" } else { "LIMIT 1" };
        let last = if query.whole {
            format!("SELECT {columns} FROM pg_temp.published")
        } else {
            format!(
                "SELECT {columns} FROM (SELECT {on} * FROM pg_temp.published ORDER BY {} {limit}) AS last WHERE _op IS DISTINCT FROM 'delete'",
                keys.join(", ")
            )
        };
        let view = format!("SELECT {columns} FROM {view}");
        let differing = session.lines(&format!(
            "(SELECT 'published', t::text FROM ({last} EXCEPT ALL {view}) t) UNION ALL (SELECT 'view', t::text FROM ({view} EXCEPT ALL {last}) t)"
        ));
        assert!(
            differing.is_empty(),
            "what is published of {} of {} is not the view:\n{}",
            query.name,
            stream.name,
            differing.join("\n")
        );
    }
}

struct Row(Vec<(String, Option<String>)>);

impl Row {
    fn insert(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let values: Vec<String> =
            self.0.iter().map(|(_, value)| value.as_ref().map_or("NULL".into(), |value| quote(value))).collect();
        format!("INSERT INTO pg_temp.published ({}) VALUES ({})", names.join(", "), values.join(", "))
    }
}

fn rows(table: &Place) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let location = Location::parse(&url(table)).unwrap();
        let table = Table::open(&location, &table.credentials()).await.unwrap().expect("the table is there");
        let mut batches = table.scan(1000).await.unwrap();
        let mut rows = Vec::new();
        while let Some(batch) = batches.next().await {
            let batch = batch.unwrap();
            let schema = batch.schema();
            for i in 0..batch.num_rows() {
                let value = |(column, field): (&ArrayRef, &Arc<Field>)| (field.name().clone(), text(column, i));
                rows.push(Row(batch.columns().iter().zip(schema.fields()).map(value).collect()));
            }
        }
        rows
    })
}

/// As Postgres reads it; `None` for NULL.
fn text(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let Some(lists) = column.as_list_opt::<i32>() else {
        return Some(ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string());
    };
    let items = lists.value(row);
    let quoted = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let items: Vec<String> = (0..items.len()).map(|i| text(&items, i).map_or("NULL".into(), quoted)).collect();
    Some(format!("{{{}}}", items.join(",")))
}
