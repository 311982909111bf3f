//! How much of a pipeline's past is kept: by age, number of chunks or bytes.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::model::options::duration;

/// An amount of the past, counted back from the newest chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Age(Duration),
    Chunks(u64),
    Bytes(u64),
}

impl Keep {
    /// Its name in SQL, and its amount: milliseconds, chunks or bytes.
    pub fn parts(&self) -> (&'static str, i64) {
        let (kind, amount) = match self {
            Keep::Age(age) => ("age", u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            Keep::Chunks(n) => ("chunks", *n),
            Keep::Bytes(n) => ("bytes", *n),
        };
        (kind, i64::try_from(amount).unwrap_or(i64::MAX))
    }

    /// So many times as much.
    pub fn times(&self, n: u32) -> Keep {
        match self {
            Keep::Age(age) => Keep::Age(age.saturating_mul(n)),
            Keep::Chunks(chunks) => Keep::Chunks(chunks.saturating_mul(u64::from(n))),
            Keep::Bytes(bytes) => Keep::Bytes(bytes.saturating_mul(u64::from(n))),
        }
    }

    pub fn parse(text: &str) -> Option<Keep> {
        if let Some(n) = text.trim().strip_suffix("chunks").or_else(|| text.trim().strip_suffix("chunk")) {
            return n.trim().parse().ok().filter(|n| *n > 0).map(Keep::Chunks);
        }
        if let Some(bytes) = bytes(text) {
            return (bytes > 0).then_some(Keep::Bytes(bytes));
        }
        duration::parse(text).filter(|d| !d.is_zero()).map(Keep::Age)
    }
}

/// A size with a unit, as Postgres writes it: kB is 1024 bytes.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim() {
        "B" | "bytes" => 0,
        "kB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&match self {
            Keep::Age(age) => format!("{} ms", age.as_millis()),
            Keep::Chunks(n) => format!("{n} chunks"),
            Keep::Bytes(n) => format!("{n} B"),
        })
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Keep, D::Error> {
        let value = Value::deserialize(d)?;
        value.as_str().and_then(Keep::parse).ok_or_else(|| {
            serde::de::Error::custom(format!("{value} is no retention; write \"7 days\", \"1000 chunks\" or \"10 GB\""))
        })
    }
}

/// A number of bytes in JSON: a number, or text with a unit.
pub mod size {
    use super::*;

    pub fn serialize<S: Serializer>(n: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        n.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
        let value = Value::deserialize(d)?;
        let parsed = match &value {
            Value::Null => return Ok(None),
            Value::Number(n) => n.as_u64(),
            Value::String(s) => bytes(s),
            _ => None,
        };
        parsed.map(Some).ok_or_else(|| serde::de::Error::custom(format!("{value} is no size; write e.g. \"10 GB\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_reads_as_people_write_it() {
        assert_eq!(Keep::parse("7 days"), Some(Keep::Age(Duration::from_secs(604_800))));
        assert_eq!(Keep::parse("1000 chunks"), Some(Keep::Chunks(1_000)));
        assert_eq!(Keep::parse("10 GB"), Some(Keep::Bytes(10 << 30)));
        assert_eq!(Keep::parse("10MB"), Some(Keep::Bytes(10 << 20)));
        for text in ["", "0 chunks", "0 days", "0 MB", "-1 chunks", "ten GB", "99999999999 TB"] {
            assert_eq!(Keep::parse(text), None, "{text}");
        }
    }

    #[test]
    fn retention_survives_being_stored() {
        for keep in [Keep::Age(Duration::from_millis(1_500)), Keep::Chunks(3), Keep::Bytes(12_345)] {
            let json = serde_json::to_value(keep).unwrap();
            assert_eq!(serde_json::from_value::<Keep>(json).unwrap(), keep);
        }
    }
}
