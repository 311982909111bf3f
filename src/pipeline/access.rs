//! Rights on places outside the database.
//!
//! Local files are read and written by the server's OS user, so that they need the same roles as COPY does.

use pgrx::pg_sys::Oid;

use crate::model::location::Location;
use crate::model::{Code, Error, Result};
use crate::pg::user;

pub fn require_readable(role: u32, location: &str) -> Result<()> {
    require(role, location, c"pg_read_server_files", "read")
}

pub fn require_writable(role: u32, location: &str) -> Result<()> {
    require(role, location, c"pg_write_server_files", "write")
}

fn require(role: u32, location: &str, needed: &std::ffi::CStr, verb: &str) -> Result<()> {
    let location = Location::parse(location)?;
    let role = Oid::from(role);
    if !location.is_local() || user::has_role(role, needed) {
        return Ok(());
    }
    let needed = needed.to_string_lossy();
    Err(Error::new(Code::Forbidden, format!("permission denied to {verb} files of the server"))
        .detail(format!("Location {}; role \"{}\" is not a member of {needed}.", location.display(), user::name(role)))
        .hint(format!("An administrator can GRANT {needed} TO \"{}\".", user::name(role))))
}
