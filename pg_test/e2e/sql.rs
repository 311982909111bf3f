//! A session as the tests want it: statements that must work, statements that must be refused, answers as text.
//!
//! Values come back as text (`numeric` and `interval` have no Rust type without further crates), so comparisons are to
//! the last digit.

use postgres::error::{DbError, SqlState};
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, SimpleQueryMessage};
use std::time::Duration;

pub struct Session {
    client: Client,
}

impl Session {
    pub fn new(client: Client) -> Session {
        Session { client }
    }

    /// Statements that must succeed.
    pub fn execute(&mut self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|e| panic!("{sql}\n{}", explain(&e)));
    }

    pub fn try_execute(&mut self, sql: &str) -> Result<(), postgres::Error> {
        self.client.batch_execute(sql)
    }

    /// All rows, each field as text.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_rows(sql).unwrap_or_else(|e| panic!("{sql}\n{}", explain(&e)))
    }

    pub fn try_rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, postgres::Error> {
        Ok(self
            .client
            .simple_query(sql)?
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(String::from)).collect()),
                _ => None,
            })
            .collect())
    }

    /// The first field of the first row; an empty text for NULL.
    pub fn value(&mut self, sql: &str) -> String {
        self.try_value(sql).unwrap_or_else(|e| panic!("{sql}\n{}", explain(&e)))
    }

    pub fn try_value(&mut self, sql: &str) -> Result<String, postgres::Error> {
        let rows = self.try_rows(sql)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).unwrap_or_default())
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        let value = self.value(sql);
        value.parse().unwrap_or_else(|_| panic!("{sql}\nis {value:?}, not a number"))
    }

    /// The one row, joined with `|`, as psql -A prints it.
    pub fn line(&mut self, sql: &str) -> String {
        self.lines(sql).join("\n")
    }

    /// Each row joined with `|`.
    pub fn lines(&mut self, sql: &str) -> Vec<String> {
        let text =
            |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|");
        self.rows(sql).into_iter().map(text).collect()
    }

    /// A statement that must raise this SQLSTATE, with a detail and a hint for whoever reads it.
    pub fn refused(&mut self, sql: &str, state: &str) -> DbError {
        let error = self.refused_with_hint(sql, state);
        assert!(error.detail().is_some_and(|d| !d.is_empty()), "no detail: {sql}\n{error:?}");
        error
    }

    /// A statement that must raise this SQLSTATE, with a hint.
    pub fn refused_with_hint(&mut self, sql: &str, state: &str) -> DbError {
        let error = self.raises(sql, state);
        assert!(error.hint().is_some_and(|h| !h.is_empty()), "no hint: {sql}\n{error:?}");
        error
    }

    /// A statement that must raise this SQLSTATE.
    pub fn raises(&mut self, sql: &str, state: &str) -> DbError {
        let Err(error) = self.client.simple_query(sql) else { panic!("this should have been refused: {sql}") };
        let Some(db_error) = error.as_db_error() else { panic!("{sql}\n{error}") };
        assert_eq!(db_error.code(), &SqlState::from_code(state), "{sql}\n{}", explain(&error));
        assert!(!crate::server::shows_secret(&explain(&error)), "an error shows a secret");
        db_error.clone()
    }

    /// The channels of all notifications that come until there is silence for as long.
    pub fn notifications(&mut self, silence: Duration) -> Vec<String> {
        let mut notifications = self.client.notifications();
        let mut heard = Vec::new();
        let mut iterator = notifications.timeout_iter(silence);
        while let Ok(Some(notification)) = iterator.next() {
            heard.push(notification.channel().to_string());
        }
        heard
    }
}

/// Everything the server said about an error.
pub fn explain(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => format!(
            "{}: {}\ndetail: {}\nhint: {}\ncontext: {}",
            e.code().code(),
            e.message(),
            e.detail().unwrap_or("-"),
            e.hint().unwrap_or("-"),
            e.where_().unwrap_or("-")
        ),
        None => error.to_string(),
    }
}

/// A text as a SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
