//! What the consumers' SQL needs of the server itself.

use pgrx::prelude::*;

use crate::pg::session;

/// The calling session, told from all others that this server has had.
#[pg_extern(sql = false)]
fn this_session() -> String {
    session::id()
}
