//! Which Delta tables may be read and written.
//!
//! Promises: a table that needs anything we do not do is refused with the name of what it needs; nothing is read or written as if
//! that were not there.

use super::log::{MetaData, Protocol};
use super::mapping::Mode;
use crate::lake::error::place_error;
use crate::model::{Code, Error, Result};

/// Features that reading takes into account.
const READER_FEATURES: &[&str] = &[
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "deletionVectors",
    "columnMapping",
    "typeWidening",
    "typeWidening-preview",
    // Some writers name these of every table; a column of that type is refused where the schema is read.
    "variantType",
    "variantType-preview",
    "variantShredding-preview",
];

/// Features that ask nothing of somebody who adds and removes whole files, once [`check_write`] has found them unused.
const WRITER_FEATURES: &[&str] = &[
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "generatedColumns",
    "identityColumns",
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "domainMetadata",
    "inCommitTimestamp",
];

/// Refuses a table that cannot be read rightly; gives the mode of column mapping in which to read it.
pub(super) fn check_read(protocol: &Protocol, metadata: &MetaData, place: &str) -> Result<Mode> {
    let managed = |name: &&String| name.starts_with("catalogManaged") || name.starts_with("catalogOwned");
    if let Some(name) = protocol.all_features().find(managed) {
        return Err(catalog_managed(name, place));
    }
    if protocol.min_reader_version > 3 {
        return Err(refused(format!("table needs reader version {}", protocol.min_reader_version), place)
            .hint("Versions up to 3 are read. Read a copy of the table that was written for an earlier one."));
    }
    if let Some(name) = protocol.reader_features.iter().flatten().find(|name| !READER_FEATURES.contains(&name.as_str()))
    {
        return Err(refused(format!("table needs the reader feature \"{name}\""), place)
            .hint("Drop the feature with ALTER TABLE ... DROP FEATURE, or read a copy of the table without it."));
    }
    match Mode::of(metadata) {
        Some(mode) => Ok(mode),
        None => Err(refused("table uses a mode of column mapping that is not known".into(), place)
            .hint("Read a copy of the table that was written without column mapping.")),
    }
}

/// Refuses a table that cannot be written rightly.
pub(super) fn check_write(protocol: &Protocol, metadata: &MetaData, place: &str) -> Result<()> {
    let mode = check_read(protocol, metadata, place)?;
    if mode != Mode::None {
        return Err(refused("table uses the feature \"columnMapping\"".into(), place)
            .hint("Write to a table without column mapping."));
    }
    if protocol.min_writer_version > 7 {
        return Err(refused(format!("table needs writer version {}", protocol.min_writer_version), place)
            .hint("Versions up to 7 are written. Write to a new table."));
    }
    if let Some(name) = protocol.writer_features.iter().flatten().find(|name| !WRITER_FEATURES.contains(&name.as_str()))
    {
        return Err(refused(format!("table needs the writer feature \"{name}\""), place));
    }
    if let Some(name) = metadata.configuration.keys().find(|name| name.starts_with("delta.constraints.")) {
        return Err(refused(format!("table has a check constraint (\"{name}\")"), place));
    }
    for name in [
        "delta.enableInCommitTimestamps",
        "delta.enableRowTracking",
        "delta.enableIcebergCompatV1",
        "delta.enableIcebergCompatV2",
    ] {
        if metadata.property(name) == Some("true") {
            return Err(refused(format!("table has the property \"{name}\""), place));
        }
    }
    for mark in ["delta.invariants", "delta.generationExpression", "delta.identity."] {
        if metadata.schema_string.contains(&format!("\"{mark}")) {
            return Err(refused(format!("a column of the table has the property \"{mark}\""), place));
        }
    }
    Ok(())
}

/// Refuses to remove rows where the table forbids that.
pub(super) fn check_overwrite(metadata: &MetaData, place: &str) -> Result<()> {
    if metadata.property("delta.appendOnly") == Some("true") {
        return Err(place_error(
            Code::Mismatch,
            "table only allows rows to be added (property \"delta.appendOnly\")",
            place,
        ));
    }
    Ok(())
}

/// The error for something that the log names and that is in another store than the table.
pub(super) fn outside(what: &str, place: &str) -> Error {
    refused(format!("{what} lies in another store"), place)
        .hint("Shallow clones are read within one container or bucket; read a deep copy of the table.")
}

/// The error for a file that cannot be rewritten because a part of it is deleted.
pub(super) fn deletion_vector(file: &str, place: &str) -> Error {
    refused(format!("a file of the table has a deletion vector (feature \"deletionVectors\"), file {file}"), place)
        .hint("Run REORG TABLE ... APPLY (PURGE) on the table and switch deletion vectors off.")
}

/// The error for a table that must not be reached by its path.
pub(super) fn catalog_managed(feature: &str, place: &str) -> Error {
    refused(format!("table is managed by a catalog (feature \"{feature}\")"), place)
        .hint("Access by path is not allowed for such a table; read a copy or an external table instead.")
}

fn refused(message: String, place: &str) -> Error {
    place_error(Code::Unsupported, message, place)
}
