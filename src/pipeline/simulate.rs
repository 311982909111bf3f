//! Synthetic landing files, written whole: a reader sees a file with all its rows or no file.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::lake::parquet_writing;
use crate::lake::store::Dir;
use crate::lake::writing::put_atomic;
use crate::model::location::Location;
use crate::model::simulate::{self, Kind, Plan};
use crate::model::{Code, Error, Result};
use crate::pg::{runtime, user};
use crate::pipeline::{access, simulate_typed};

/// Event time of a series' first event unless told otherwise, fixed so that the same seed gives the same bytes: 2026-01-01 UTC, in microseconds.
const START: i64 = 1_767_225_600_000_000;
/// A file holds the events of one second.
const FILE_SPAN: i64 = 1_000_000;
/// Most rows a file may have: what is made is held in memory.
const MOST_ROWS: i64 = 10_000_000;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Share of malformed records, 0 to 1.
    bad_ratio: f64,
    /// Number of the first file, for files that follow earlier ones.
    first_file: u64,
    /// Event time of the first file; by default fixed, so that the same seed gives the same bytes.
    start: Option<DateTime<Utc>>,
}

pub struct Wanted<'a> {
    pub kind: &'a str,
    pub location: &'a str,
    pub rows_per_file: i64,
    pub files: i64,
    pub seed: i64,
    pub format: &'a str,
    pub options: &'a Value,
}

/// Writes the files; gives their names with rows and bytes.
pub fn simulate(wanted: Wanted<'_>) -> Result<Vec<(String, i64, i64)>> {
    let kind = Kind::from_name(wanted.kind).ok_or_else(|| {
        Error::new(Code::InvalidParameter, format!("there is no simulation \"{}\"", wanted.kind.escape_debug()))
            .detail("The kinds are transactions and shop_events.")
            .hint("SELECT millrace.simulate('transactions', 'file:///…/landing');")
    })?;
    if !["csv", "json", "parquet"].contains(&wanted.format) {
        return Err(Error::new(
            Code::Unsupported,
            format!("format \"{}\" is not supported", wanted.format.escape_debug()),
        )
        .detail("Files can be written as csv, json (an object a line) and parquet.")
        .hint("Use format => 'csv'."));
    }
    for (name, value, most) in [("rows_per_file", wanted.rows_per_file, MOST_ROWS), ("files", wanted.files, 1_000_000)]
    {
        if !(0..=most).contains(&value) {
            return Err(Error::new(Code::InvalidParameter, format!("{name} must be from 0 to {most}"))
                .detail(format!("It is {value}."))
                .hint("Write several files, or call simulate again with another seed."));
        }
    }
    let options: Options = serde_json::from_value(wanted.options.clone()).map_err(|e| {
        Error::new(Code::InvalidParameter, "an option of simulate can't be used")
            .detail(format!("{e}."))
            .hint("Known options: bad_ratio, first_file, start.")
    })?;
    if !(0.0..=1.0).contains(&options.bad_ratio) {
        return Err(Error::new(Code::InvalidParameter, "bad_ratio must be from 0 to 1")
            .detail(format!("It is {}.", options.bad_ratio))
            .hint("0.01 makes one record in a hundred malformed."));
    }
    access::require_writable(user::current().to_u32(), wanted.location)?;
    let location = Location::parse(wanted.location)?;
    if location.split_glob().1.is_some() {
        return Err(Error::new(Code::InvalidParameter, "simulate writes into a directory, not a pattern")
            .detail(format!("Location {}.", location.display()))
            .hint("Leave the pattern out."));
    }
    let directory = Dir::at(&location, &access::credentials(user::current().to_u32(), &location)?)?;
    let mut written = Vec::new();
    for i in 0..wanted.files as u64 {
        let index = options.first_file + i;
        let name = format!("{}_{}_{index:08}.{}", wanted.kind, wanted.seed, wanted.format);
        let mut content = Vec::new();
        let start = options.start.map_or(START + index as i64 * FILE_SPAN, |s| s.timestamp_micros());
        let mut plan = Plan::new(kind, wanted.rows_per_file as u64, wanted.seed as u64, index, start);
        plan.bad_ratio = options.bad_ratio;
        match wanted.format {
            "json" => simulate::json(&plan, &mut content),
            _ => simulate::csv(&plan, &mut content),
        }
        let content = match wanted.format {
            "parquet" => parquet_writing::file(&simulate_typed::rows(&content)?)?,
            _ => Bytes::from(content),
        };
        let bytes = content.len() as i64;
        let (directory, target) = (directory.clone(), name.clone());
        runtime::wait(async move { put_atomic(&directory, &target, content).await })?;
        written.push((name, wanted.rows_per_file, bytes));
    }
    Ok(written)
}
