//! Places of pipelines must not overlap: a layer's files are no landing files, and no two writers share a table.
//!
//! Promise: two spellings of one place (`abfss://`, `https://`, `az://` with an account in the server's options) count as one.

use crate::catalog::pipelines::{self, Place};
use crate::lake::Credentials;
use crate::lake::store::segments_of;
use crate::model::location::Location;
use crate::model::{Code, Error, Result};
use crate::pipeline::{access, scope};

/// Raises where one of the new places overlaps another of them, or one that a pipeline has. `own`: the pipeline that the new places
/// are for, where it is there already.
pub fn require_apart(owner: u32, own: Option<i32>, new: &[(&str, Option<&str>)]) -> Result<()> {
    let mut known = Vec::new();
    // What a new place takes the place of is no hindrance.
    let replaced = |place: &Place| own == Some(place.pipeline_id) && new.iter().any(|(what, _)| *what == place.what);
    for place in scope::catalog(pipelines::places)?.into_iter().filter(|place| !replaced(place)) {
        if let Ok(segments) = segments(place.owner, &place.location) {
            known.push((place, segments));
        }
    }
    for (what, location) in new {
        let Some(location) = location else { continue };
        let found = segments(owner, location)?;
        let place =
            Place { pipeline_id: own.unwrap_or(0), owner, what: what.to_string(), location: location.to_string() };
        if let Some((other, _)) = known.iter().find(|(other, segments)| clash(&place, &found, other, segments)) {
            return Err(overlap(&place, other));
        }
        known.push((place, found));
    }
    Ok(())
}

fn segments(owner: u32, location: &str) -> Result<Vec<String>> {
    let (directory, _) = Location::parse(location)?.split_glob();
    // Where the credentials are missing the location still says which place it is, mostly.
    let credentials = access::credentials(owner, &directory).unwrap_or_else(|_| Credentials::new());
    segments_of(&directory, &credentials)
}

fn clash(one: &Place, one_at: &[String], other: &Place, other_at: &[String]) -> bool {
    if !(one_at.starts_with(other_at) || other_at.starts_with(one_at)) {
        return false;
    }
    if one.pipeline_id == other.pipeline_id {
        return true;
    }
    // Several pipelines may read one place, and a layer may be another pipeline's source.
    match (one.what.as_str(), other.what.as_str()) {
        ("source", _) => false,
        (_, "source") => one_at != other_at,
        _ => true,
    }
}

fn overlap(one: &Place, other: &Place) -> Error {
    let whose = if one.pipeline_id == other.pipeline_id { "" } else { " of another pipeline" };
    let show = |place: &Place| Location::parse(&place.location).map(|l| l.display()).unwrap_or_default();
    Error::new(Code::InvalidParameter, format!("{} and {}{whose} must be places apart", one.what, other.what))
        .detail(format!("{} and {} overlap.", show(one), show(other)))
        .hint("Give each a directory of its own, none inside another.")
}
