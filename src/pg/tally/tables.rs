//! The tables that an aggregate keeps its groups and values in, for those that go to them without a statement: their columns, how these are
//! hashed and compared, and the index of the hashes.
//!
//! Promises: what is found by the hash, and told apart, is what the SQL of aggregates finds and tells apart. Never opens a table whose rows
//! are not everybody's who may read it.

use std::ffi::CString;

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{PgList, pg_sys};

use crate::model::aggregate::Hash;
use crate::pg::versions;

/// The built-in operators of integers in a B-tree.
const INTEGERS: u32 = 1976;

/// Types of which values are equal only if they are the same bytes; text, where its collation says so, too.
const BYTES: [Oid; 8] = [
    pg_sys::BOOLOID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::DATEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::UUIDOID,
];

/// A column of the table: its number from 0, and how its values are hashed and compared.
pub(super) struct Column {
    pub(super) number: usize,
    hash: Hash,
    seed: i64,
    collation: Oid,
    kind: *mut pg_sys::TypeCacheEntry,
}

impl Column {
    /// As `hash_of` in the SQL of aggregates has it.
    ///
    /// SAFETY: the value is of the column's type.
    pub(super) unsafe fn hash(&self, value: Option<Datum>) -> i64 {
        // SAFETY: entries of the type cache last as long as the process, and this one was asked for that function.
        let hashed = |value| unsafe {
            let function = &raw mut (*self.kind).hash_extended_proc_finfo;
            pg_sys::FunctionCall2Coll(function, self.collation, value, Datum::from(self.seed)).value() as i64
        };
        match (&self.hash, value) {
            (Hash::None, _) | (Hash::Row, None) => 0,
            (Hash::Function(_), None) => self.seed,
            (_, Some(value)) => hashed(value),
        }
    }

    /// Whether GROUP BY takes no two for one that differ in a byte.
    pub(super) fn is_bytes(&self) -> bool {
        // SAFETY: entries of the type cache last as long as the process; the collation is that of a column.
        unsafe {
            let type_oid = (*self.kind).type_id;
            let is_text = type_oid == pg_sys::TEXTOID || type_oid == pg_sys::VARCHAROID;
            BYTES.contains(&type_oid) || is_text && pg_sys::get_collation_isdeterministic(self.collation)
        }
    }

    /// Whether GROUP BY takes both for one.
    ///
    /// SAFETY: the values are of the column's type.
    pub(super) unsafe fn same(&self, one: Option<Datum>, other: Option<Datum>) -> bool {
        match (one, other) {
            // SAFETY: as for `hash`.
            (Some(one), Some(other)) => unsafe {
                let function = &raw mut (*self.kind).eq_opr_finfo;
                pg_sys::FunctionCall2Coll(function, self.collation, one, other).value() & 1 != 0
            },
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// A table of heap tuples, without row security, that the current role may read; its lock is kept until the transaction ends.
pub(super) fn open(schema: &str, name: &str) -> Option<pg_sys::Relation> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    let lock = pg_sys::RowExclusiveLock as i32;
    // SAFETY: in a transaction; an open relation's entry is there as long as it is open.
    unsafe {
        let oid = pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(schema.as_ptr(), true));
        if oid == Oid::INVALID {
            return None;
        }
        let relation = pg_sys::try_relation_open(oid, lock);
        if relation.is_null() {
            return None;
        }
        let form = &*(*relation).rd_rel;
        let is_plain = form.relkind as u8 == pg_sys::RELKIND_RELATION
            && form.relam == pg_sys::HEAP_TABLE_AM_OID
            && !form.relrowsecurity
            && may(relation, pg_sys::ACL_SELECT);
        if !is_plain {
            close(relation);
        }
        is_plain.then_some(relation)
    }
}

/// SAFETY: opened by [`open`], and not closed yet.
pub(super) unsafe fn close(relation: pg_sys::Relation) {
    // SAFETY: as promised by the caller.
    unsafe { pg_sys::relation_close(relation, pg_sys::NoLock as i32) }
}

/// Whether the current role has that right, of which there is one: of several, Postgres is content with any.
///
/// SAFETY: the relation is open.
pub(super) unsafe fn may(relation: pg_sys::Relation, right: u32) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let found = pg_sys::pg_class_aclcheck((*relation).rd_id, pg_sys::GetUserId(), right as pg_sys::AclMode);
        found == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// The number of the column of hashes, and the columns of these names and types, hashed so, each under a seed of its own; `None` where the
/// table has others.
///
/// SAFETY: the relation is open.
pub(super) unsafe fn columns<'a>(
    relation: pg_sys::Relation,
    named: impl Iterator<Item = (String, Oid, &'a Hash)>,
) -> Option<(usize, Vec<Column>)> {
    // SAFETY: an open relation's entry and descriptor are there as long as it is open.
    unsafe {
        let attributes = versions::attributes((*relation).rd_att);
        let place = |name: &str, type_oid: Oid| {
            attributes.iter().position(|a| {
                let bytes = a.attname.data.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0);
                !a.attisdropped && a.attgenerated == 0 && a.atttypid == type_oid && bytes.eq(name.bytes())
            })
        };
        let mut columns = Vec::new();
        for (i, (name, type_oid, hash)) in named.enumerate() {
            let number = place(&name, type_oid)?;
            let flags = pg_sys::TYPECACHE_EQ_OPR_FINFO | pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO;
            let kind = pg_sys::lookup_type_cache(type_oid, flags as i32);
            let is_hashed = (*kind).hash_extended_proc_finfo.fn_oid != Oid::INVALID;
            // Values without a hash are all found by the same.
            if (*kind).eq_opr_finfo.fn_oid == Oid::INVALID || is_hashed == (*hash == Hash::None) {
                return None;
            }
            let collation = attributes[number].attcollation;
            columns.push(Column { number, hash: hash.clone(), seed: i as i64 + 1, collation, kind });
        }
        Some((place("h", pg_sys::INT8OID)?, columns))
    }
}

/// An index of this column alone.
///
/// SAFETY: the relation is open.
pub(super) unsafe fn index_of(relation: pg_sys::Relation, column: usize) -> Option<pg_sys::Relation> {
    // SAFETY: an index of an open relation; what its entry says is there as long as it is open.
    unsafe {
        let all = PgList::<Oid>::from_pg(pg_sys::RelationGetIndexList(relation));
        for oid in all.iter_oid() {
            let index = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32);
            let form = &*(*index).rd_index;
            let suits = form.indisvalid
                && !form.indcheckxmin
                && form.indnkeyatts == 1
                && form.indkey.values.as_slice(1).first() == Some(&(column as i16 + 1))
                && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                && *(*index).rd_opfamily == Oid::from(INTEGERS)
                && pg_sys::RelationGetIndexPredicate(index).is_null();
            if suits {
                return Some(index);
            }
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
        None
    }
}

/// An index scan for rows of one hash, and then of another.
///
/// SAFETY: the scan is of an index as [`index_of`] gives it.
pub(super) unsafe fn seek(scan: pg_sys::IndexScanDesc, hash: i64) {
    // SAFETY: as promised by the caller: the only column is compared with a bigint; the key is copied.
    unsafe {
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        pg_sys::ScanKeyInit(
            &mut key,
            1,
            pg_sys::BTEqualStrategyNumber as u16,
            Oid::from(pg_sys::F_INT8EQ),
            Datum::from(hash),
        );
        pg_sys::index_rescan(scan, &mut key, 1, std::ptr::null_mut(), 0);
    }
}
