//! The validator of foreign data wrapper millrace.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::answer;
use crate::lake::server_options::{Place, check};
use crate::model::{Code, Error};

/// Gets all options as they would stand, each as `name=value`, and the catalog of the object that they belong to.
#[pg_extern(sql = false)]
fn fdw_validator(options: Option<Vec<Option<String>>>, catalog: Option<pg_sys::Oid>) -> Result<(), ErrorReport> {
    let given: Vec<(String, String)> = options
        .unwrap_or_default()
        .into_iter()
        .flatten()
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (option, String::new()),
        })
        .collect();
    answer(match catalog {
        Some(pg_sys::ForeignDataWrapperRelationId) => check(Place::Wrapper, &given),
        Some(pg_sys::ForeignServerRelationId) => check(Place::Server, &given),
        Some(pg_sys::UserMappingRelationId) => check(Place::UserMapping, &given),
        _ if given.is_empty() => Ok(()),
        _ => Err(Error::new(Code::Unsupported, "foreign data wrapper millrace has servers and user mappings alone")
            .detail("It makes no foreign tables.")
            .hint("SELECT millrace.create_pipeline(…) loads from a location into a table.")),
    })
}
