//! Room on the disk of the database.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use pgrx::pg_sys;

use crate::model::{Code, Error, Result};

/// Bytes that are free for the server where its data directory lies.
pub fn free() -> Result<u64> {
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: DataDir is set before anything of ours runs and is NUL-terminated; statvfs fills the struct when it answers 0.
    let found = unsafe {
        let directory = CStr::from_ptr(pg_sys::DataDir);
        if libc::statvfs(directory.as_ptr(), found.as_mut_ptr()) != 0 {
            let why = std::io::Error::last_os_error();
            return Err(Error::new(Code::Io, format!("could not ask for free disk space: {why}")));
        }
        found.assume_init()
    };
    Ok(found.f_bavail as u64 * found.f_frsize as u64)
}
