//! Settings that our SQL runs under: a pinned search_path, and the pipeline's own TimeZone and DateStyle,
//! so that neither name look-up nor casts depend on who runs it.

use std::collections::BTreeMap;
use std::ffi::CString;

use pgrx::pg_sys;

use crate::model::{Code, Error, Result};

/// The settings that casts and deparsing depend on; stored with a pipeline at its creation.
pub const RECORDED: [&str; 3] = ["TimeZone", "DateStyle", "IntervalStyle"];

/// Puts settings back when dropped. Use within one transaction.
pub struct Scope {
    level: i32,
}

impl Scope {
    /// Keeps everything as it is; what [`set_local`] sets from here on is put back with it.
    pub fn nested() -> Scope {
        // SAFETY: as in `pin`.
        Scope { level: unsafe { pg_sys::NewGUCNestLevel() } }
    }

    /// Pins search_path to pg_catalog, pg_temp and sets `extra`, until the scope is dropped.
    pub fn pin(extra: &BTreeMap<String, String>) -> Result<Scope> {
        // SAFETY: on the server's thread, in a transaction; the level is closed by Drop, or by the abort of the transaction.
        let scope = Scope { level: unsafe { pg_sys::NewGUCNestLevel() } };
        set_local("search_path", "pg_catalog, pg_temp")?;
        set_local("extra_float_digits", "1")?;
        for (name, value) in extra {
            set_local(name, value)?;
        }
        Ok(scope)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the level is ours and still open. After an error the abort of the (sub)transaction closes it.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}

/// `SET LOCAL name = value`.
pub fn set_local(name: &str, value: &str) -> Result<()> {
    let nul = |_| Error::new(Code::InvalidParameter, format!("setting {name} holds a NUL character"));
    let (c_name, c_value) = (CString::new(name).map_err(nul)?, CString::new(value).map_err(nul)?);
    // SAFETY: both strings live across the call, which copies them.
    unsafe {
        pg_sys::set_config_option(
            c_name.as_ptr(),
            c_value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    Ok(())
}

/// The value of a setting in this session, as SHOW prints it.
pub fn current(name: &str) -> Option<String> {
    let c_name = CString::new(name).ok()?;
    // SAFETY: the name lives across the call; the answer is a NUL-terminated string or NULL, copied at once.
    unsafe {
        let value = pg_sys::GetConfigOptionByName(c_name.as_ptr(), std::ptr::null_mut(), true);
        if value.is_null() { None } else { Some(std::ffi::CStr::from_ptr(value).to_string_lossy().into_owned()) }
    }
}
