//! Answers of the catalog that hold as long as nothing in it changes: each chunk asks the same of the same tables.
//!
//! Promises: an answer is given again only while no change of a table, a type or a schema, by anybody or by this very transaction, has
//! reached the session since it was asked for. Never keeps what is a row of somebody's table, nor more answers than a few hundred.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Once;
use std::thread::LocalKey;

use pgrx::pg_sys::SysCacheIdentifier::{NAMESPACEOID, TYPEOID};
use pgrx::{pg_guard, pg_sys};

use crate::model::Result;

/// Beyond so many all are let go: a session may see many partitions.
const MOST: usize = 256;

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Answers by what was asked.
pub struct Kept<K, V> {
    at: u64,
    answers: HashMap<K, V>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Kept { at: 0, answers: HashMap::new() }
    }
}

/// The answer that is kept, or that `ask` gives; `None` is asked for each time.
pub fn or_ask<K: Hash + Eq, V: Clone>(
    kept: &'static LocalKey<RefCell<Kept<K, V>>>,
    key: K,
    ask: impl FnOnce(&K) -> Result<Option<V>>,
) -> Result<Option<V>> {
    let now = changes();
    let found = kept.with_borrow_mut(|kept| {
        if kept.at != now || kept.answers.len() >= MOST {
            *kept = Kept { at: now, answers: HashMap::new() };
        }
        kept.answers.get(&key).cloned()
    });
    if found.is_some() {
        return Ok(found);
    }
    let answer = ask(&key)?;
    // What changed while we asked may have been seen or not.
    if let Some(answer) = &answer
        && changes() == now
    {
        kept.with_borrow_mut(|kept| kept.answers.insert(key, answer.clone()));
    }
    Ok(answer)
}

/// How many changes have reached this session, those that wait to be taken note of included.
fn changes() -> u64 {
    static REGISTERED: Once = Once::new();
    // SAFETY: on the server's thread in a transaction; the callbacks are functions, which stay, and are registered once a process.
    unsafe {
        REGISTERED.call_once(|| {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
            for cache in [NAMESPACEOID, TYPEOID] {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(entry_changed), pg_sys::Datum::from(0));
            }
        });
        pg_sys::AcceptInvalidationMessages();
    }
    CHANGES.get()
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, _relation: pg_sys::Oid) {
    CHANGES.set(CHANGES.get() + 1);
}

#[pg_guard]
unsafe extern "C-unwind" fn entry_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
}
