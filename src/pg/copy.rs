//! Loading rows that are decoded already, in COPY's binary format, with the rights of the current role: straight into tables that
//! suit (`insert`), by the server's own COPY into all others, with their defaults, triggers and what else they have.
//!
//! Promises: the same rows and the same errors either way. Never fetches anything: COPY's callback only copies bytes.

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use crate::model::{Code, Error, Result};
use crate::pg::judging::Judge;
use crate::pg::tally::Tallies;
use crate::pg::{condition, datum, gucs, insert, spi, versions};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &[0xff, 0xff];

/// Rows to load: each the COPY BINARY fields of `columns`, without the field count.
pub trait Rows {
    /// Appends the next rows' tuples (field count and fields) to `out`, some kilobytes at a time; false when there are none left.
    fn fill(&mut self, out: &mut Vec<u8>) -> bool;

    /// How many bytes all of them come to, about.
    fn size(&self) -> usize;

    /// Called before the first of them if a jsonb may be [`STORED_JSONB`](crate::pg::datum::STORED_JSONB).
    fn store_jsonb(&mut self) {}
}

/// Which rows of a load go into the table.
pub struct Filter {
    /// A condition for rows of which nothing is asked.
    pub exempt: Option<String>,
    /// What is asked of all others: conditions, met where they are true.
    pub rules: Vec<String>,
    /// Rules, a bit each, whose violation keeps the row.
    pub kept: u64,
}

impl Filter {
    /// The same as one condition, as in COPY … WHERE. For rows that do not meet all rules, and for no others, it calls `millrace.violated`,
    /// which notes them here.
    pub fn condition(&self) -> String {
        let (all, each) = (self.rules.join(" AND "), self.rules.join(", "));
        let judged = format!("({all}) OR millrace.violated(_row_no, ARRAY[{each}])");
        match &self.exempt {
            Some(exempt) => format!("({exempt}) OR {judged}"),
            None => judged,
        }
    }
}

/// A row that a filter found fault with: the rules that it does not meet, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub row_no: i64,
    pub rules: u64,
}

/// One load that is under way.
struct Feed {
    kept: u64,
    violations: Vec<Violation>,
    rows: Option<Box<dyn Rows>>,
    buffer: Vec<u8>,
    sent: usize,
}

impl Feed {
    fn take(&mut self, out: &mut [u8]) -> usize {
        let mut written = 0;
        while written < out.len() {
            if self.sent == self.buffer.len() {
                self.buffer.clear();
                self.sent = 0;
                let Some(rows) = &mut self.rows else { break };
                if !rows.fill(&mut self.buffer) {
                    self.rows = None;
                    self.buffer.extend_from_slice(TRAILER);
                }
            }
            let n = (out.len() - written).min(self.buffer.len() - self.sent);
            out[written..written + n].copy_from_slice(&self.buffer[self.sent..self.sent + n]);
            written += n;
            self.sent += n;
        }
        written
    }
}

thread_local! {
    /// COPY's callback and a condition's function have no argument of their own; loads may nest (a trigger that loads), so it is a stack.
    static FEEDS: RefCell<Vec<Feed>> = const { RefCell::new(Vec::new()) };
}

/// Takes the feed off the stack, however the load ends.
struct Feeding;
impl Drop for Feeding {
    fn drop(&mut self) {
        FEEDS.with_borrow_mut(|feeds| feeds.pop());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn next_bytes(buffer: *mut c_void, _least: c_int, most: c_int) -> c_int {
    // SAFETY: Postgres gives a buffer of at least `most` bytes.
    let out = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), most.max(0) as usize) };
    FEEDS.with_borrow_mut(|feeds| feeds.last_mut().map_or(0, |feed| feed.take(out))) as c_int
}

/// Notes a row for the filter of the load that is under way; true if the row is to be kept. Without a load it is nobody's.
pub fn note_violation(violation: Violation) -> bool {
    FEEDS.with_borrow_mut(|feeds| {
        let Some(feed) = feeds.last_mut() else { return true };
        feed.violations.push(violation);
        violation.rules & !feed.kept == 0
    })
}

/// Runs a statement that calls `millrace.violated` itself; gives what it noted. `kept`: as in [`Filter`].
pub fn noting<R>(kept: u64, f: impl FnOnce() -> Result<R>) -> Result<(R, Vec<Violation>)> {
    FEEDS.with_borrow_mut(|feeds| {
        feeds.push(Feed { kept, violations: vec![], rows: None, buffer: vec![], sent: 0 });
    });
    let _feeding = Feeding;
    let result = f()?;
    Ok((
        result,
        FEEDS.with_borrow_mut(|feeds| feeds.last_mut().map(|f| std::mem::take(&mut f.violations)).unwrap_or_default()),
    ))
}

/// Loads `rows` into `columns` of `table`, and counts them in `tallies`. Gives what the filter found fault with.
pub fn load(
    table: Oid,
    columns: &[String],
    mut rows: Box<dyn Rows + '_>,
    filter: Option<&Filter>,
    tallies: &mut Tallies,
) -> Result<Vec<Violation>> {
    refuse_row_security(table)?;
    let names: Vec<CString> = columns.iter().map(|column| cstring(column)).collect::<Result<_>>()?;
    let kept = filter.map_or(0, |f| f.kept);
    FEEDS.with_borrow_mut(|feeds| {
        feeds.push(Feed { kept, violations: vec![], rows: None, buffer: SIGNATURE.to_vec(), sent: 0 });
    });
    let _feeding = Feeding;
    let mut violations = Vec::new();
    // SAFETY: the relation is opened with the lock that inserting needs and closed without releasing it, as COPY does. Lists and
    // nodes are palloc'ed in the current context and live to its reset. An error raised inside unwinds through us and is cleaned up by the abort.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        let item = pg_sys::addRangeTableEntryForRelation(
            state,
            relation,
            pg_sys::RowExclusiveLock as i32,
            std::ptr::null_mut(),
            false,
            false,
        );
        let attributes: Vec<i16> = names.iter().map(|name| pg_sys::get_attnum(table, name.as_ptr())).collect();
        versions::want_insert(item, attributes.iter().copied().filter(|number| *number > 0));
        if gucs::direct_load() && insert::suits(relation, &attributes) {
            let judge = filter.map(|filter| Judge::new(state, item, filter)).transpose()?;
            versions::check_rights(state);
            if datum::DIRECT {
                rows.store_jsonb();
            }
            violations = insert::load((state, item), relation, &attributes, judge, rows.as_mut(), tallies)?;
        } else {
            let condition = match filter {
                Some(filter) => condition::prepare(state, item, &filter.condition())?,
                None => std::ptr::null_mut(),
            };
            versions::check_rights(state);
            tallies.spoil();
            // SAFETY: `_feeding` takes the feed, and the rows with it, off the stack before this call is over, however it ends.
            let rows = std::mem::transmute::<Box<dyn Rows + '_>, Box<dyn Rows>>(rows);
            FEEDS.with_borrow_mut(|feeds| {
                if let Some(feed) = feeds.last_mut() {
                    feed.rows = Some(rows);
                }
            });
            copy(state, relation, &names, condition);
        }
        pg_sys::free_parsestate(state);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        // Later statements of this transaction must see the rows.
        pg_sys::CommandCounterIncrement();
    }
    let noted = FEEDS.with_borrow_mut(|feeds| feeds.last_mut().map(|f| std::mem::take(&mut f.violations)));
    violations.extend(noted.unwrap_or_default());
    Ok(violations)
}

/// COPY table (names) FROM the feed WHERE condition.
///
/// SAFETY: the state holds the open relation's range table entry, and the condition was prepared with it.
unsafe fn copy(
    state: *mut pg_sys::ParseState,
    relation: pg_sys::Relation,
    names: &[CString],
    condition: *mut pg_sys::Node,
) {
    // SAFETY: as promised by the caller; strings and lists are palloc'ed copies.
    unsafe {
        let word = |text: &std::ffi::CStr| pg_sys::makeString(pg_sys::pstrdup(text.as_ptr()));
        let columns =
            names.iter().fold(std::ptr::null_mut(), |list, name| pg_sys::lappend(list, word(name.as_c_str()).cast()));
        let format = pg_sys::makeDefElem(pg_sys::pstrdup(c"format".as_ptr()), word(c"binary").cast(), -1);
        let options = pg_sys::lappend(std::ptr::null_mut(), format.cast());
        let copy = pg_sys::BeginCopyFrom(
            state,
            relation,
            condition,
            std::ptr::null(),
            false,
            Some(next_bytes),
            columns,
            options,
        );
        pg_sys::CopyFrom(copy);
        pg_sys::EndCopyFrom(copy);
    }
}

fn cstring(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Code::InvalidParameter, "a column name holds a NUL character"))
}

/// COPY itself does not look at row security: refuse, as COPY FROM does in SQL.
fn refuse_row_security(table: Oid) -> Result<()> {
    // SAFETY: a look-up under the current role.
    let state = unsafe { pg_sys::check_enable_rls(table, Oid::INVALID, false) };
    if state == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
        let name: Option<String> = spi::read_value("SELECT $1::pg_catalog.regclass::text", vec![table.into()])?;
        return Err(Error::new(Code::Unsupported, "row-level security is in force for the pipeline's owner")
            .detail(format!("Table {}.", name.unwrap_or_default()))
            .hint("Let the pipeline's owner own the table (without FORCE ROW LEVEL SECURITY), or give it BYPASSRLS."));
    }
    Ok(())
}
