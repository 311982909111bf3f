//! Which format landing files have, where nobody says it: by their names, and by their content where the names say nothing.

use serde_json::Value;

use crate::format::encoding::Encoding;
use crate::lake::decompress;
use crate::lake::listing::LandingFile;
use crate::model::options::{Compression, Options};
use crate::model::{Code, Error, Result};
use crate::pg::runtime;
use crate::pipeline::open::Files;
use crate::pipeline::read;
use crate::pipeline::source::Source;

/// What a Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";

/// The name of the files' format. `wanted` is what a user says.
pub fn format(wanted: Option<&str>, source: &Source, files: &[LandingFile], options: &Options) -> Result<&'static str> {
    match wanted {
        Some("csv") => return Ok("csv"),
        Some("json") => return Ok("json"),
        Some("parquet") => return Ok("parquet"),
        Some(other) => {
            return Err(Error::new(Code::Unsupported, format!("format \"{}\" is not supported", other.escape_debug()))
                .detail("Landing files may be csv, json (one object a line) or parquet; a source may also be a delta table.")
                .hint("Leave format out to have it found out."));
        }
        None => {}
    }
    let first = files.iter().find(|f| f.size > 0);
    let by_name = first.and_then(|f| by_name(&f.path)).or_else(|| by_name(source.pattern.as_deref().unwrap_or("")));
    match (by_name, first) {
        (Some(name), _) => Ok(name),
        (None, Some(file)) => by_content(source, file, options),
        (None, None) => Ok("csv"),
    }
}

fn by_name(path: &str) -> Option<&'static str> {
    let path = match (decompress::by_name(path), path.rsplit_once('.')) {
        (Compression::None, _) | (_, None) => path,
        (_, Some((name, _))) => name,
    };
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "txt" => Some("csv"),
        "json" | "jsonl" | "ndjson" => Some("json"),
        "parquet" | "parq" | "pq" => Some("parquet"),
        _ => None,
    }
}

fn by_content(source: &Source, file: &LandingFile, options: &Options) -> Result<&'static str> {
    let files = files(source, "csv", options);
    let (file, encoding) = (file.clone(), Encoding::named(&options.encoding));
    let beginning = runtime::wait(async move { files.beginning(&file, encoding).await })?;
    if beginning.starts_with(PARQUET) {
        return Ok("parquet");
    }
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&beginning);
    let first = text.iter().find(|b| !b.is_ascii_whitespace());
    Ok(if first == Some(&b'{') { "json" } else { "csv" })
}

/// Options that say how text is written, and how CSV is.
const OF_TEXT: [&str; 2] = ["compression", "encoding"];
const OF_CSV: [&str; 6] = ["header", "delimiter", "quote", "escape", "null", "multiline"];

/// Refuses options that mean nothing for files of this format.
pub fn check_options(given: &Value, format: &str) -> Result<()> {
    let idle = |key: &&String| match format {
        "json" => OF_CSV.contains(&key.as_str()),
        "parquet" => OF_CSV.contains(&key.as_str()) || OF_TEXT.contains(&key.as_str()),
        _ => false,
    };
    match given.as_object().and_then(|given| given.keys().find(idle)) {
        Some(key) => {
            Err(Error::new(Code::InvalidParameter, format!("option \"{key}\" means nothing for {format} files"))
                .detail(format!("options is {given}."))
                .hint("Leave it out."))
        }
        None => Ok(()),
    }
}

/// The files of a source that no pipeline reads yet: JSON stays as it is written.
pub fn files(source: &Source, format: &str, options: &Options) -> Files {
    Files {
        directory: source.directory.clone(),
        format: read::format_named(format, options, crate::format::json::Verbatim::All),
        compression: options.compression,
        columns: vec![],
        memory: crate::pg::gucs::work_mem_bytes() / 8,
        bookmark: Default::default(),
    }
}
