//! Functions on aggregates.

use pgrx::JsonB;
use pgrx::prelude::*;

use crate::api::{Answer, answer, json};
use crate::model::publishing::LayerOptions;
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
        let given = json(options);
        let options = LayerOptions::parse(&given)?;
        let of_publishing = |name: &String| name != "approx";
        if publish.is_none() && given.as_object().is_some_and(|given| given.keys().any(of_publishing)) {
            return Err(Error::new(
                Code::InvalidParameter,
                "all options but \"approx\" say how an aggregate is published, and this one is not",
            )
            .detail(format!("options is {given}, and publish is NULL."))
            .hint("Give publish, or leave them out."));
        }
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        aggregates::create(&pipeline, name, query, publish, &options)?;
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
