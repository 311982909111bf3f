//! The figures of the page: each query of queries/ as a JSON array, over one connection.
//!
//! Promises: an answer is at most a second old and computed once for all who ask; a query that fails (no rights, no such view) is told
//! beside the others' answers; a connection that is lost is made anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

const QUERIES: [(&str, &str); 5] = [
    ("pipelines", include_str!("queries/pipelines.sql")),
    ("throughput", include_str!("queries/throughput.sql")),
    ("rejects", include_str!("queries/rejects.sql")),
    ("merchants", include_str!("queries/merchants.sql")),
    ("consumers", include_str!("queries/consumers.sql")),
];
const FRESH: Duration = Duration::from_millis(900);

/// What part of the past the page shows. Others can't be asked for.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq, Hash)]
pub struct Span {
    #[serde(default)]
    span: Minutes,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq, Hash)]
enum Minutes {
    #[default]
    #[serde(rename = "2")]
    Two,
    #[serde(rename = "15")]
    Fifteen,
    #[serde(rename = "60")]
    Sixty,
}

impl Span {
    /// Seconds back, and seconds a point.
    fn seconds(self) -> (f64, f64) {
        match self.span {
            Minutes::Two => (120.0, 1.0),
            Minutes::Fifteen => (900.0, 5.0),
            Minutes::Sixty => (3600.0, 20.0),
        }
    }
}

pub struct Figures {
    conninfo: String,
    state: Mutex<Known>,
}

struct Known {
    client: Client,
    answers: HashMap<Span, (Instant, String)>,
}

impl Figures {
    pub async fn connect(conninfo: String) -> Result<Figures, tokio_postgres::Error> {
        let client = connect(&conninfo).await?;
        Ok(Figures { conninfo, state: Mutex::new(Known { client, answers: HashMap::new() }) })
    }

    pub async fn now(&self, span: Span) -> Result<String, String> {
        let mut known = self.state.lock().await;
        if let Some((at, answer)) = known.answers.get(&span)
            && at.elapsed() < FRESH
        {
            return Ok(answer.clone());
        }
        if known.client.is_closed() {
            known.client = connect(&self.conninfo).await.map_err(|error| message(&error))?;
        }
        let answer = ask(&known.client, span).await.map_err(|error| message(&error))?;
        known.answers.insert(span, (Instant::now(), answer.clone()));
        Ok(answer)
    }
}

async fn connect(conninfo: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("connection: {error}");
        }
    });
    client.batch_execute("SET application_name = 'millrace_dashboard'").await?;
    Ok(client)
}

async fn ask(client: &Client, span: Span) -> Result<String, tokio_postgres::Error> {
    let (back, point) = span.seconds();
    let about = "SELECT json_build_object('now', EXTRACT(epoch FROM clock_timestamp()), 'database', current_database(),
                        'role', current_user, 'back', $1::float8, 'point', $2::float8)::text";
    let mut parts = vec![format!("\"about\":{}", text(client, about, &[&back, &point]).await?)];
    for (name, query) in QUERIES {
        let query = query.replace("$1", &format!("{back}::float8")).replace("$2", &format!("{point}::float8"));
        let answer = match text(client, &format!("SELECT coalesce(json_agg(q), '[]')::text FROM ({query}) q"), &[])
            .await
        {
            Ok(rows) => rows.get().to_owned(),
            Err(error) if error.as_db_error().is_some() => serde_json::json!({ "error": message(&error) }).to_string(),
            Err(error) => return Err(error),
        };
        parts.push(format!("\"{name}\":{answer}"));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

async fn text(
    client: &Client,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Box<RawValue>, tokio_postgres::Error> {
    let row = client.query_one(query, parameters).await?;
    Ok(RawValue::from_string(row.get(0)).expect("Postgres writes JSON"))
}

fn message(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned())
}
