//! A function of SQL whose usual call is answered in Rust; all others go on to the function of SQL beside it: of the same arguments, its name with
//! a `_` before it.
//!
//! Promises: that function is called as if it had been called at once, so its errors, its settings and its rows are its own. Nothing of Rust is left
//! to be dropped on the way there. Never asks whether the caller may call it: it belongs to whoever made this one.

use std::ffi::CString;

use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable, pgrx_extern_c_guard};
use pgrx::{FromDatum, IntoDatum, pg_guard, pg_sys};

use crate::model::{Code, Error, Result};
use crate::pg::direct::Value;

/// Arguments, and where the answer goes.
pub struct Call(pg_sys::FunctionCallInfo);

/// What the function returns: never NULL.
pub struct Returned(pg_sys::Datum);

impl Call {
    /// From 0. T: the argument's type.
    pub fn argument<T: FromDatum>(&self, number: usize) -> Option<T> {
        // SAFETY: Postgres calls with as many arguments as are declared; what is by reference is copied or outlives the call.
        unsafe {
            let arguments = (*self.0).args.as_slice((*self.0).nargs as usize);
            arguments.get(number).and_then(|argument| T::from_datum(argument.value, argument.isnull))
        }
    }

    pub fn value<T: IntoDatum>(&self, value: T) -> Result<Returned> {
        value.into_datum().map(Returned).ok_or_else(|| Error::new(Code::Internal, "a function would return NULL"))
    }

    /// Whether a function that returns a table may give a row by itself where it was called.
    pub fn takes_a_row(&self) -> bool {
        // SAFETY: resultinfo is NULL or a node.
        unsafe {
            let wanted = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            !wanted.is_null()
                && (*wanted).type_ == pg_sys::NodeTag::T_ReturnSetInfo
                && (*wanted).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_ValuePerCall as i32 != 0
                && !(*wanted).expectedDesc.is_null()
        }
    }

    /// The only row of a function that returns a table, where it `takes_a_row`.
    pub fn row<const N: usize>(&self, columns: [Value; N]) -> Result<Returned> {
        if !self.takes_a_row() {
            return Err(Error::new(Code::Internal, "a row has nowhere to go"));
        }
        // SAFETY: resultinfo says where the row goes and what its columns are: as many as are given.
        unsafe {
            let wanted = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let described = pg_sys::BlessTupleDesc((*wanted).expectedDesc);
            if (*described).natts as usize != N {
                return Err(Error::new(Code::Internal, "a function is declared with other columns"));
            }
            let values = columns.map(|Value(value)| value);
            let mut nulls = values.map(|value| value.is_none());
            let mut datums = values.map(|value| value.unwrap_or(pg_sys::Datum::null()));
            let row = pg_sys::heap_form_tuple(described, datums.as_mut_ptr(), nulls.as_mut_ptr());
            (*wanted).isDone = pg_sys::ExprDoneCond::ExprSingleResult;
            Ok(Returned(pg_sys::HeapTupleHeaderGetDatum((*row).t_data)))
        }
    }
}

/// Answers a call as `usual` does, or as the function beside it.
///
/// # Safety
/// `fcinfo` is what Postgres called with.
pub unsafe fn call(fcinfo: pg_sys::FunctionCallInfo, usual: fn(&Call) -> Result<Option<Returned>>) -> pg_sys::Datum {
    // SAFETY: as the caller promises. An error of the function beside it jumps over this frame, which has nothing to drop: what has is behind the
    // guards of the two functions.
    unsafe {
        let answer = pgrx_extern_c_guard(|| answer(&Call(fcinfo), usual));
        if !answer.is_null() {
            return answer;
        }
        let outer = (*fcinfo).flinfo;
        let inner = beside(fcinfo);
        let Some(function) = (*inner).fn_addr else { return pg_sys::Datum::null() };
        (*fcinfo).flinfo = inner;
        let answer = function(fcinfo);
        (*fcinfo).flinfo = outer;
        answer
    }
}

/// A null pointer where the call is not the usual one. It sees what the calling statement has done before, as a statement of a function would.
fn answer(call: &Call, usual: fn(&Call) -> Result<Option<Returned>>) -> pg_sys::Datum {
    // SAFETY: in a transaction; the snapshot is popped below, or by the abort that an error brings.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let answer = usual(call).map_err(ErrorReport::from).unwrap_or_report();
    // SAFETY: the one that was pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    answer.map_or(pg_sys::Datum::null(), |Returned(datum)| datum)
}

/// How to call the function beside the one that was called; looked up once for each place of a statement that calls it.
#[pg_guard]
unsafe extern "C-unwind" fn beside(fcinfo: pg_sys::FunctionCallInfo) -> *mut pg_sys::FmgrInfo {
    // SAFETY: flinfo is set by whoever calls a function, and what lies in its memory lives as long; fn_extra is ours.
    unsafe {
        let outer = (*fcinfo).flinfo;
        if (*outer).fn_extra.is_null() {
            let tuple = pg_sys::SearchSysCache1(
                pg_sys::SysCacheIdentifier::PROCOID as i32,
                pg_sys::Datum::from((*outer).fn_oid),
            );
            if tuple.is_null() {
                let gone = Error::new(Code::Conflict, "the function was dropped while it was called");
                Err(ErrorReport::from(gone.hint("Call it again, where the extension still is."))).unwrap_or_report()
            }
            let found = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
            let name = CString::new(format!("_{}", pgrx::name_data_to_str(&(*found).proname))).unwrap_or_default();
            let inner = pg_sys::GetSysCacheOid(
                pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
                pg_sys::Anum_pg_proc_oid as pg_sys::AttrNumber,
                pg_sys::Datum::from(name.as_ptr()),
                pg_sys::Datum::from(&raw const (*found).proargtypes),
                pg_sys::Datum::from((*found).pronamespace),
                pg_sys::Datum::null(),
            );
            pg_sys::ReleaseSysCache(tuple);
            if inner == pg_sys::InvalidOid {
                let e = Error::new(Code::Internal, format!("function \"millrace.{}\" is gone", name.to_string_lossy()));
                Err(ErrorReport::from(e.hint("Drop the extension and create it anew."))).unwrap_or_report()
            }
            let info = pg_sys::MemoryContextAllocZero((*outer).fn_mcxt, size_of::<pg_sys::FmgrInfo>())
                .cast::<pg_sys::FmgrInfo>();
            pg_sys::fmgr_info_cxt(inner, info, (*outer).fn_mcxt);
            (*info).fn_expr = (*outer).fn_expr;
            (*outer).fn_extra = info.cast();
        }
        (*outer).fn_extra.cast()
    }
}

/// Makes `$name`, for SQL to be declared with: `$usual` says what a usual call gives, `None` for one that is not.
macro_rules! function {
    ($name:ident, $finfo:ident, $usual:path) => {
        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        #[doc(hidden)]
        pub extern "C" fn $finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const VERSION_1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }

        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        #[doc(hidden)]
        pub unsafe extern "C-unwind" fn $name(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: Postgres calls it so.
            unsafe { $crate::pg::usual::call(fcinfo, $usual) }
        }
    };
}
pub(crate) use function;
