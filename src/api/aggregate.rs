//! Functions on aggregates.

use pgrx::JsonB;
use pgrx::prelude::*;

use crate::api::{Answer, answer, json};
use crate::model::{Code, Error};
use crate::pg::error::required;
use crate::pipeline::{aggregates, define};

#[pg_extern(sql = false)]
fn create_aggregate(
    pipeline: Option<&str>,
    name: Option<&str>,
    query: Option<&str>,
    publish: Option<&str>,
    options: Option<JsonB>,
) -> Answer<String> {
    answer((|| {
        let name = required(name, "name")?;
        let query = required(query, "query")?;
        let options = json(options);
        if options.as_object().is_none_or(|o| !o.is_empty()) {
            return Err(Error::new(Code::InvalidParameter, "an aggregate has no options yet")
                .detail(format!("options is {options}."))
                .hint("Leave options out."));
        }
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        aggregates::create(&pipeline, name, query, publish)?;
        Ok(name.to_string())
    })())
}

#[pg_extern(sql = false)]
fn drop_aggregate(pipeline: Option<&str>, name: Option<&str>) -> Answer<()> {
    answer((|| {
        let name = required(name, "name")?;
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        aggregates::drop(&pipeline, name)
    })())
}
