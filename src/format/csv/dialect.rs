//! How a CSV file is written, as a user states it in a pipeline's options.
//!
//! `check` refuses what would make a file ambiguous; nothing else in this folder looks at a dialect that was not checked.

use serde::{Deserialize, Serialize};

use crate::format::encoding::Encoding;
use crate::model::{Code, Error, Result};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// The first record holds the columns' names.
    pub header: bool,
    #[serde(with = "one_character")]
    pub delimiter: u8,
    #[serde(with = "one_character")]
    pub quote: u8,
    /// Inside quotes, takes away the meaning of a quote or of itself. The quote itself means: quotes are doubled.
    #[serde(with = "one_character")]
    pub escape: u8,
    /// An unquoted field that reads like this is NULL.
    pub null: String,
    /// A quoted field may hold line ends.
    pub multiline: bool,
    /// What the file was written in; readers get it in UTF-8.
    #[serde(skip)]
    pub encoding: Encoding,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect {
            header: true,
            delimiter: b',',
            quote: b'"',
            escape: b'"',
            null: String::new(),
            multiline: true,
            encoding: Encoding::default(),
        }
    }
}

impl Dialect {
    /// Refuses a dialect in which some file could be read in two ways.
    pub fn check(&self) -> Result<()> {
        for (name, byte) in [("delimiter", self.delimiter), ("quote", self.quote), ("escape", self.escape)] {
            if !byte.is_ascii() || matches!(byte, 0 | b'\n' | b'\r') {
                return Err(Error::new(Code::InvalidParameter, format!("the CSV {name} can't be used"))
                    .detail(format!("It is the byte 0x{byte:02x}."))
                    .hint("Use one ASCII character that is not a line end."));
            }
        }
        if self.delimiter == self.quote || self.delimiter == self.escape {
            return Err(Error::new(
                Code::InvalidParameter,
                "the CSV delimiter is also the quote or the escape character",
            )
            .hint("Use different characters."));
        }
        let special = |b: u8| b == self.delimiter || b == self.quote || matches!(b, b'\n' | b'\r' | 0);
        if self.null.bytes().any(special) {
            return Err(Error::new(Code::InvalidParameter, "the CSV null string can't be used")
                .detail("It holds the delimiter, the quote, a line end or a NUL byte.")
                .hint(r"Use a word such as NULL or \N, or the empty string."));
        }
        Ok(())
    }
}

/// In options a byte is written as a string of one character.
mod one_character {
    use serde::de::{Error, Unexpected};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(byte: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(char::from(*byte))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(D::Error::invalid_value(Unexpected::Str(&text), &"one ASCII character")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_state_characters_as_strings_and_default_to_the_common_form() {
        let dialect: Dialect = serde_json::from_str(r#"{"delimiter": ";", "quote": "'", "escape": "\\"}"#).unwrap();
        assert_eq!(dialect, Dialect { delimiter: b';', quote: b'\'', escape: b'\\', ..Dialect::default() });
        let again: Dialect = serde_json::from_value(serde_json::to_value(&dialect).unwrap()).unwrap();
        assert_eq!(again, dialect);
    }

    #[test]
    fn unknown_options_and_longer_delimiters_are_refused() {
        assert!(serde_json::from_str::<Dialect>(r#"{"delimeter": ";"}"#).is_err());
        assert!(serde_json::from_str::<Dialect>(r#"{"delimiter": "||"}"#).is_err());
        assert!(serde_json::from_str::<Dialect>(r#"{"delimiter": "é"}"#).is_err());
    }

    #[test]
    fn ambiguous_dialects_are_refused() {
        let base = Dialect::default;
        assert!(base().check().is_ok());
        assert!(Dialect { delimiter: b'"', ..base() }.check().is_err());
        assert!(Dialect { delimiter: b'\n', ..base() }.check().is_err());
        assert!(Dialect { delimiter: 0, ..base() }.check().is_err());
        assert!(Dialect { delimiter: b'\\', escape: b'\\', ..base() }.check().is_err());
        assert!(Dialect { null: "a,b".into(), ..base() }.check().is_err());
    }
}
