//! Rights on places outside the database.
//!
//! Other places are opened with the credentials that Postgres keeps for the role. Local files are read and written by the server's OS user, so that they need the same roles as COPY does.

use pgrx::pg_sys::Oid;

use crate::catalog::servers;
use crate::lake::{Credentials, allowed, network};
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pg::{gucs, user};
use crate::pipeline::scope;

/// What a role has to show at a location. Runs inside a transaction.
pub fn credentials(role: u32, location: &Location) -> Result<Credentials> {
    if location.is_local() {
        return Ok(Credentials::new());
    }
    let mut found = scope::catalog(|| servers::credentials(role, location))?;
    allowed::check(location, &found)?;
    found.insert(network::TIMEOUT.into(), gucs::network_timeout().as_millis().to_string());
    Ok(found)
}

/// What a pipeline's owner has to show at a location, looked up in a transaction of its own.
pub fn credentials_of(mode: Mode, pipeline: &Pipeline, location: &str) -> Result<Credentials> {
    let location = Location::parse(location)?;
    if location.is_local() {
        return Ok(Credentials::new());
    }
    transaction::run(mode, || credentials(pipeline.owner, &location))
}

pub fn require_readable(role: u32, location: &str) -> Result<()> {
    require(role, location, c"pg_read_server_files", "read")
}

pub fn require_writable(role: u32, location: &str) -> Result<()> {
    require(role, location, c"pg_write_server_files", "write")
}

fn require(role: u32, location: &str, needed: &std::ffi::CStr, verb: &str) -> Result<()> {
    let location = Location::parse(location)?;
    let role = Oid::from(role);
    if !location.is_local() {
        return Ok(());
    }
    if user::has_role(role, needed) {
        return allowed::check(&location, &Credentials::new());
    }
    let needed = needed.to_string_lossy();
    Err(Error::new(Code::Forbidden, format!("permission denied to {verb} files of the server"))
        .detail(format!("Location {}; role \"{}\" is not a member of {needed}.", location.display(), user::name(role)))
        .hint(format!("An administrator can GRANT {needed} TO \"{}\".", user::name(role))))
}
