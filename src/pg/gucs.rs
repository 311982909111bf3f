//! The settings named `millrace.*`.

use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{pg_guard, pg_sys};

use crate::lake::allowed::Allowed;

static WORK_MEM: GucSetting<i32> = GucSetting::<i32>::new(256);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(16);
static DIRECT_LOAD: GucSetting<bool> = GucSetting::<bool>::new(true);
static BACKFILL_ROWS: GucSetting<i32> = GucSetting::<i32>::new(200_000);
static ALLOWED_LOCATIONS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static NETWORK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);

/// Megabytes that one pipeline may use for rows on their way.
pub fn work_mem_bytes() -> u64 {
    WORK_MEM.get() as u64 * 1024 * 1024
}

/// Whether rows may go into plain tables without COPY.
pub fn direct_load() -> bool {
    DIRECT_LOAD.get()
}

pub fn max_workers() -> usize {
    MAX_WORKERS.get() as usize
}

/// Rows that an aggregate which comes late is filled with in one transaction, about.
pub fn backfill_rows() -> i64 {
    BACKFILL_ROWS.get().into()
}

pub fn network_timeout() -> std::time::Duration {
    std::time::Duration::from_millis(NETWORK_TIMEOUT.get() as u64)
}

fn int(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    range: (i32, i32),
    context: GucContext,
    flags: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, range.0, range.1, context, flags);
}

/// SAFETY: to be called by Postgres alone, with a NUL-terminated string or NULL.
unsafe fn allowed(text: *const c_char) -> crate::model::Result<Allowed> {
    if text.is_null() {
        return Ok(Allowed::default());
    }
    // SAFETY: as above; the text lives across the call.
    Allowed::parse(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

#[pg_guard]
unsafe extern "C-unwind" fn check_allowed(
    new: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres gives a pointer to the new text.
    let Err(error) = (unsafe { allowed(*new) }) else { return true };
    let why = CString::new(format!("{}: {}", error.message, error.detail.unwrap_or_default())).unwrap_or_default();
    // SAFETY: the words are copied into the context in which Postgres looks for them while it reports.
    unsafe { pg_sys::GUC_check_errdetail_string = pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, why.as_ptr()) };
    false
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_allowed(new: *const c_char, _extra: *mut c_void) {
    // SAFETY: Postgres gives the text that the check has accepted. Were it not readable after all, nothing would be allowed.
    let allowed = unsafe { allowed(new) };
    Allowed::enforce(match allowed {
        Ok(allowed) if allowed.is_empty() => None,
        other => Some(other.unwrap_or_default()),
    });
}

/// Defines the settings.
pub fn define() {
    int(
        c"millrace.work_mem",
        c"Memory that one pipeline may use for rows on their way.",
        c"Bounds the size of a chunk; the worker's own footprint comes on top.",
        &WORK_MEM,
        (16, 65_536),
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    int(
        c"millrace.backfill_rows",
        c"Rows that an aggregate made over loaded rows is filled with at once.",
        c"Where there are more, it is filled in steps of as many, between chunks, and its view computes the query itself until then.",
        &BACKFILL_ROWS,
        (1, i32::MAX),
        GucContext::Sighup,
        GucFlags::default(),
    );
    int(
        c"millrace.network_timeout",
        c"Time after which a request to the lake is given up.",
        c"The request is then retried with backoff.",
        &NETWORK_TIMEOUT,
        (100, 3_600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    int(
        c"millrace.max_workers",
        c"Workers that pg_millrace may run at once in the whole server.",
        c"One a database with active pipelines and one a pipeline, each also within max_worker_processes.",
        &MAX_WORKERS,
        (1, 128),
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"millrace.direct_load",
        c"Insert rows straight into plain staging tables, without the machinery of COPY.",
        c"Both ways give the same rows; this one is faster. Tables with triggers, generated columns and the like are COPY's anyway.",
        &DIRECT_LOAD,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: both hooks are guarded, and take the text as Postgres hands it to them.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"millrace.allowed_locations",
            c"Locations that pg_millrace may reach; empty for all that the rights of a role allow.",
            c"Locations with commas between them: all below one of them is allowed. Symbolic links of local paths count as what they lead to.",
            &ALLOWED_LOCATIONS,
            GucContext::Suset,
            GucFlags::SUPERUSER_ONLY,
            Some(check_allowed),
            Some(assign_allowed),
            None,
        );
    }
    // SAFETY: the prefix is a static string; the call only records it.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"millrace".as_ptr()) };
}
