//! Whether the places of a pipeline answer, with its owner's rights. Reads only; a place that does not answer is a row, not an error.

use crate::catalog::layers;
use crate::lake::delta::Table;
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::{gucs, runtime, subtransaction};
use crate::pipeline::source::Source;
use crate::pipeline::{access, runner, scope};

/// What was found at a place.
pub struct Place {
    pub layer: String,
    pub location: String,
    /// What is there, or why it is out of reach.
    pub found: Result<String>,
    /// Last change of the newest file, in microseconds since 1970.
    pub newest: Option<i64>,
}

/// Looks at the source and at each layer of a pipeline.
pub fn look(pipeline: &Pipeline) -> Result<Vec<Place>> {
    let mut places = vec![look_at("source", &pipeline.source, || source(pipeline))];
    if let Some(raw) = &pipeline.raw {
        places.push(look_at("raw", raw, || table(pipeline, raw)));
    }
    for layer in scope::catalog(|| layers::of_pipeline(pipeline.id))? {
        places.push(look_at(&layer.layer, &layer.location, || table(pipeline, &layer.location)));
    }
    Ok(places)
}

fn look_at(layer: &str, location: &str, look: impl FnOnce() -> Result<(String, Option<i64>)>) -> Place {
    let shown = Location::parse(location).map_or_else(|_| String::new(), |l| l.display().to_string());
    let (found, newest) = match subtransaction::run(look) {
        Ok((found, newest)) => (Ok(found), newest),
        Err(e) => (Err(e), None),
    };
    Place { layer: layer.to_string(), location: shown, found, newest }
}

fn source(pipeline: &Pipeline) -> Result<(String, Option<i64>)> {
    if pipeline.format == "delta" {
        return table(pipeline, &pipeline.source);
    }
    access::require_readable(pipeline.owner, &pipeline.source)?;
    let credentials = access::credentials(pipeline.owner, &Location::parse(&pipeline.source)?)?;
    let files = Source::open(&pipeline.source, credentials)?.list(pipeline.options.recursive)?;
    let newest = files.iter().map(|f| f.modified.timestamp_micros()).max();
    Ok((format!("{} files", files.len()), newest))
}

fn table(pipeline: &Pipeline, location: &str) -> Result<(String, Option<i64>)> {
    access::require_readable(pipeline.owner, location)?;
    let place = Location::parse(location)?;
    let credentials = access::credentials(pipeline.owner, &place)?;
    let limit = gucs::network_timeout();
    let table = runtime::wait(async move {
        tokio::time::timeout(limit, Table::open(&place, &credentials))
            .await
            .unwrap_or_else(|_| Err(runner::slow("reading the table's log")))
    })?;
    let table = table.ok_or_else(|| {
        Error::new(Code::Gap, "the Delta table is gone").hint("Restore it, or drop what writes to it.")
    })?;
    Ok((format!("Delta table, version {}", table.version()), None))
}
