//! The settings named `millrace.*`.

use std::ffi::CStr;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static WORK_MEM: GucSetting<i32> = GucSetting::<i32>::new(256);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(16);
static DIRECT_LOAD: GucSetting<bool> = GucSetting::<bool>::new(true);
static BACKFILL_ROWS: GucSetting<i32> = GucSetting::<i32>::new(200_000);
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
    // SAFETY: the prefix is a static string; the call only records it.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"millrace".as_ptr()) };
}
