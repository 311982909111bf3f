//! The machine that the server runs on: its memory, and the disk below the data directory.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use pgrx::pg_sys;

/// Bytes; `None` where the system does not say.
#[derive(Default)]
pub struct Machine {
    pub memory: Option<i64>,
    pub disk: Option<i64>,
    pub disk_free: Option<i64>,
}

pub fn look() -> Machine {
    // SAFETY: asks for two constants of the system.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let memory = (pages > 0 && size > 0).then(|| pages.saturating_mul(size));
    let (disk, disk_free) = data_directory().and_then(|path| space(&path)).unzip();
    Machine { memory, disk, disk_free }
}

fn data_directory() -> Option<CString> {
    // SAFETY: DataDir is set once, before any session begins, to a NUL-terminated string that stays.
    unsafe { (!pg_sys::DataDir.is_null()).then(|| CStr::from_ptr(pg_sys::DataDir).to_owned()) }
}

fn space(path: &CStr) -> Option<(i64, i64)> {
    let mut found = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: both pointers are valid for the call; the buffer is read only when the call has filled it.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).ok();
    Some((bytes(found.f_blocks)?, bytes(found.f_bavail)?))
}
