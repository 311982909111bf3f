//! SQL from Rust: prepared once a session, values always bound, rows as serde structs.
//!
//! Errors that Postgres raises unwind, as everywhere in this folder; the enclosing transaction or subtransaction catches
//! them. Polls that only read use [`read`], which assigns no transaction id and sees the caller's snapshot.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;

use pgrx::{FromDatum, IntoDatum, pg_sys};
use serde::de::DeserializeOwned;

use crate::model::{Code, Error, Result};

/// A value bound to a statement. Types without a variant here are bound as text and cast in the SQL.
#[derive(Debug, Clone)]
pub enum Arg {
    Text(Option<String>),
    Int8(Option<i64>),
    Int4(Option<i32>),
    Bool(Option<bool>),
    Oid(pg_sys::Oid),
    Texts(Vec<Option<String>>),
    Int8s(Vec<Option<i64>>),
    Json(Option<serde_json::Value>),
    Bytes(Option<Vec<u8>>),
    /// An array of any type, as Postgres has it.
    Array {
        datum: pg_sys::Datum,
        type_oid: pg_sys::Oid,
    },
}

macro_rules! arg_from {
    ($($from:ty => $variant:ident, |$v:ident| $value:expr;)*) => {
        $(impl From<$from> for Arg { fn from($v: $from) -> Arg { Arg::$variant($value) } })*
    };
}
arg_from! {
    &str => Text, |v| Some(v.to_string());
    &String => Text, |v| Some(v.clone());
    String => Text, |v| Some(v);
    Option<&str> => Text, |v| v.map(str::to_string);
    Option<String> => Text, |v| v;
    i64 => Int8, |v| Some(v);
    Option<i64> => Int8, |v| v;
    i32 => Int4, |v| Some(v);
    bool => Bool, |v| Some(v);
    pg_sys::Oid => Oid, |v| v;
    Vec<Option<String>> => Texts, |v| v;
    Vec<Option<i64>> => Int8s, |v| v;
    Vec<i64> => Int8s, |v| v.into_iter().map(Some).collect();
    Vec<String> => Texts, |v| v.into_iter().map(Some).collect();
}

impl Arg {
    fn type_oid(&self) -> pg_sys::Oid {
        match self {
            Arg::Text(_) => pg_sys::TEXTOID,
            Arg::Int8(_) => pg_sys::INT8OID,
            Arg::Int4(_) => pg_sys::INT4OID,
            Arg::Bool(_) => pg_sys::BOOLOID,
            Arg::Oid(_) => pg_sys::OIDOID,
            Arg::Texts(_) => pg_sys::TEXTARRAYOID,
            Arg::Int8s(_) => pg_sys::INT8ARRAYOID,
            Arg::Json(_) => pg_sys::JSONBOID,
            Arg::Bytes(_) => pg_sys::BYTEAOID,
            Arg::Array { type_oid, .. } => *type_oid,
        }
    }

    fn into_datum(self) -> Option<pg_sys::Datum> {
        match self {
            Arg::Text(v) => v.into_datum(),
            Arg::Int8(v) => v.into_datum(),
            Arg::Int4(v) => v.into_datum(),
            Arg::Bool(v) => v.into_datum(),
            Arg::Oid(v) => v.into_datum(),
            Arg::Texts(v) => v.into_datum(),
            Arg::Int8s(v) => v.into_datum(),
            Arg::Json(v) => v.map(pgrx::JsonB).into_datum(),
            Arg::Bytes(v) => v.into_datum(),
            Arg::Array { datum, .. } => Some(datum),
        }
    }
}

/// A SPI connection that ends when dropped.
struct Connection;

impl Connection {
    fn open() -> Result<Connection> {
        // SAFETY: on the server's thread in a transaction.
        match unsafe { pg_sys::SPI_connect() } {
            code if code == pg_sys::SPI_OK_CONNECT as i32 => {
                OPEN.set(OPEN.get() + 1);
                Ok(Connection)
            }
            code => Err(Error::new(Code::Internal, format!("could not connect to SPI: {code}"))),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
        if !std::thread::panicking() {
            // SAFETY: ours is the current connection. While unwinding the abort of the (sub)transaction ends it.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// Enough for every statement of many pipelines; beyond it all are dropped, so that text that changes with partitions can't pile up.
const MOST_PLANS: usize = 512;

/// Plans of one text, by the types of what is bound: a text that says nothing of them may come with several.
type Plans = Vec<(Vec<pg_sys::Oid>, pg_sys::SPIPlanPtr)>;

thread_local! {
    /// Saved plans by their text. The server has one thread that ever comes here.
    static PLANS: RefCell<HashMap<String, Plans>> = RefCell::new(HashMap::new());
    /// Connections that are open: a statement may call a function that runs statements.
    static OPEN: Cell<u32> = const { Cell::new(0) };
}

fn plan(sql: &str, types: &mut [pg_sys::Oid]) -> Result<pg_sys::SPIPlanPtr> {
    let kept = |plans: &Plans| plans.iter().find(|(of, _)| of == types).map(|(_, plan)| *plan);
    if let Some(plan) = PLANS.with_borrow(|plans| plans.get(sql).and_then(kept)) {
        return Ok(plan);
    }
    let text =
        CString::new(sql).map_err(|_| Error::new(Code::InvalidParameter, "a statement holds a NUL character"))?;
    // SAFETY: text and types live across the call; SPI_keepplan moves the plan out of the connection's memory.
    let plan = unsafe {
        let plan = pg_sys::SPI_prepare(text.as_ptr(), types.len() as i32, types.as_mut_ptr());
        if plan.is_null() {
            let code = pg_sys::SPI_result;
            return Err(Error::new(Code::Internal, format!("could not prepare a statement: {code}")));
        }
        pg_sys::SPI_keepplan(plan);
        plan
    };
    PLANS.with_borrow_mut(|plans| {
        // Plans of statements that this one is called by are in use.
        if plans.len() >= MOST_PLANS && OPEN.get() == 1 {
            for (_, old) in plans.drain().flat_map(|(_, plans)| plans) {
                // SAFETY: a kept plan, of which nothing is left but what is in this map: the only connection runs none yet.
                unsafe { pg_sys::SPI_freeplan(old) };
            }
        }
        plans.entry(sql.to_string()).or_default().push((types.to_vec(), plan));
    });
    Ok(plan)
}

/// Runs a statement and gives the number of rows it touched; `each` sees every row that it returns.
fn run(sql: &str, args: Vec<Arg>, read_only: bool, mut each: impl FnMut(&Row) -> Result<()>) -> Result<u64> {
    let _connection = Connection::open()?;
    let mut types: Vec<_> = args.iter().map(Arg::type_oid).collect();
    let plan = plan(sql, &mut types)?;
    let mut nulls = Vec::with_capacity(args.len());
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        let datum = arg.into_datum();
        nulls.push(if datum.is_some() { b' ' } else { b'n' } as std::ffi::c_char);
        values.push(datum.unwrap_or(pg_sys::Datum::null()));
    }
    // SAFETY: the plan was made for these types; values and nulls live across the call. SPI_tuptable belongs to our connection
    // and is read before it ends.
    unsafe {
        let code = pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), read_only, 0);
        if code < 0 {
            return Err(Error::new(Code::Internal, format!("a statement failed with SPI code {code}")));
        }
        let processed = pg_sys::SPI_processed;
        if !pg_sys::SPI_tuptable.is_null() {
            let table = pg_sys::SPI_tuptable;
            for i in 0..(*table).numvals as usize {
                each(&Row { tuple: *(*table).vals.add(i), descriptor: (*table).tupdesc })?;
            }
        }
        Ok(processed)
    }
}

struct Row {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
}

impl Row {
    fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        let mut is_null = false;
        // SAFETY: the tuple belongs to the descriptor; from_datum copies what it keeps.
        unsafe {
            let datum = pg_sys::SPI_getbinval(self.tuple, self.descriptor, column, &mut is_null);
            T::from_datum(datum, is_null)
        }
    }
}

/// Runs a statement for its effect; gives the number of rows it touched.
pub fn execute(sql: &str, args: Vec<Arg>) -> Result<u64> {
    run(sql, args, false, |_| Ok(()))
}

/// Runs one or more statements that are used once, without arguments: DDL.
pub fn execute_once(sql: &str) -> Result<()> {
    let _connection = Connection::open()?;
    let text =
        CString::new(sql).map_err(|_| Error::new(Code::InvalidParameter, "a statement holds a NUL character"))?;
    // SAFETY: the text lives across the call.
    let code = unsafe { pg_sys::SPI_execute(text.as_ptr(), false, 0) };
    if code < 0 {
        return Err(Error::new(Code::Internal, format!("a statement failed with SPI code {code}")));
    }
    Ok(())
}

fn as_json(sql: &str) -> String {
    format!("SELECT pg_catalog.to_jsonb(q)::text FROM ({sql}) AS q")
}

fn collect<T: DeserializeOwned>(sql: &str, args: Vec<Arg>, read_only: bool) -> Result<Vec<T>> {
    let mut rows = Vec::new();
    run(sql, args, read_only, |row| {
        let text: String = row.get(1).unwrap_or_default();
        let value = serde_json::from_str(&text)
            .map_err(|e| Error::new(Code::Internal, format!("a row of the catalog can't be understood: {e}")))?;
        rows.push(value);
        Ok(())
    })?;
    Ok(rows)
}

/// The rows of a query, each as a struct whose fields are the columns. Reads under the caller's snapshot; assigns no transaction id.
pub fn read<T: DeserializeOwned>(sql: &str, args: Vec<Arg>) -> Result<Vec<T>> {
    collect(&as_json(sql), args, true)
}

/// The same with a new snapshot, for a query that locks rows or must see what this transaction has just written.
pub fn query<T: DeserializeOwned>(sql: &str, args: Vec<Arg>) -> Result<Vec<T>> {
    collect(&as_json(sql), args, false)
}

/// The first column of the first row.
pub fn value<T: FromDatum>(sql: &str, args: Vec<Arg>) -> Result<Option<T>> {
    first(sql, args, false)
}

/// The same, reading under the caller's snapshot.
pub fn read_value<T: FromDatum>(sql: &str, args: Vec<Arg>) -> Result<Option<T>> {
    first(sql, args, true)
}

fn first<T: FromDatum>(sql: &str, args: Vec<Arg>, read_only: bool) -> Result<Option<T>> {
    let mut answer = None;
    let mut seen = false;
    run(sql, args, read_only, |row| {
        if !seen {
            answer = row.get(1);
            seen = true;
        }
        Ok(())
    })?;
    Ok(answer)
}

/// An identifier, quoted where needed.
pub fn ident(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}
