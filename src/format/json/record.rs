//! One record: an object's members as text.
//!
//! Strings lose their quotes and escapes; numbers, lists and objects stay exactly as they are written; null and what is missing
//! both are NULL.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::format::OWN_COLUMNS;

/// So many names are compared one with another.
const FEW: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    NotUtf8 { byte: usize },
    NotJson { message: String },
    NotAnObject,
    Twice { name: String },
    Reserved { name: String },
    NulInName,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotUtf8 { byte } => write!(f, "the record is not valid UTF-8 from byte {byte} on"),
            Malformed::NotJson { message } => write!(f, "the record is not valid JSON: {message}"),
            Malformed::NotAnObject => f.write_str("the record is no JSON object"),
            Malformed::Reserved { name } => {
                write!(f, "the record has a member \"{name}\", which is a name of the raw layer's own")
            }
            Malformed::NulInName => f.write_str("the name of a member holds a NUL character"),
            Malformed::Twice { name } => write!(f, "the record has two members \"{}\"", name.escape_debug()),
        }
    }
}

/// A name with its text, or with `None` for null.
pub type Member<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

/// Which members stay JSON as it is written, strings with their quotes: those that fill columns which hold JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verbatim {
    #[default]
    None,
    /// By name, upper and lower case being the same.
    Named(Vec<String>),
    All,
}

impl Verbatim {
    fn holds(&self, name: &str) -> bool {
        match self {
            Verbatim::None => false,
            Verbatim::Named(names) => names.iter().any(|own| own == name || own.to_lowercase() == name.to_lowercase()),
            Verbatim::All => true,
        }
    }
}

/// The members of the object that `line` is, in its order. `known`: names that records had before, which are good in this order.
pub fn members<'a>(line: &'a [u8], verbatim: &Verbatim, known: &[String]) -> Result<Vec<Member<'a>>, Malformed> {
    let text = std::str::from_utf8(line).map_err(|e| Malformed::NotUtf8 { byte: e.valid_up_to() + 1 })?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Malformed::NotAnObject,
            Err(e) => not_json(&e),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = Members(verbatim).deserialize(&mut deserializer).map_err(|e| not_json(&e))?;
    deserializer.end().map_err(|e| not_json(&e))?;
    if members.len() > known.len() || members.iter().zip(known).any(|((name, _), known)| name != known) {
        check_names(&members)?;
    }
    Ok(members)
}

fn check_names(members: &[Member<'_>]) -> Result<(), Malformed> {
    let mut seen = HashSet::new();
    for (i, (name, _)) in members.iter().enumerate() {
        // Most records are small, and comparing few names is faster than hashing them.
        let twice = match members.len() {
            ..=FEW => members[..i].iter().any(|(other, _)| other == name),
            _ => !seen.insert(name),
        };
        if twice {
            return Err(Malformed::Twice { name: name.to_string() });
        }
        if name.starts_with('_') && OWN_COLUMNS.contains(&name.to_lowercase().as_str()) {
            return Err(Malformed::Reserved { name: name.to_string() });
        }
        if name.contains('\0') {
            return Err(Malformed::NulInName);
        }
    }
    Ok(())
}

/// A record is one line, so its number says nothing.
fn not_json(e: &serde_json::Error) -> Malformed {
    let message = match e.column() {
        0 => what(e),
        column => format!("{} at character {column}", what(e)),
    };
    Malformed::NotJson { message }
}

fn what(e: &serde_json::Error) -> String {
    let message = e.to_string();
    message.split(" at line ").next().unwrap_or_default().to_string()
}

struct Members<'v>(&'v Verbatim);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Vec<Member<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(FEW);
        while let Some(Name(name)) = map.next_key()? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            let text = match self.0.holds(&name) && raw != "null" {
                true => Some(Cow::Borrowed(raw)),
                // Where in the value it is wrong is not where in the record.
                false => text(raw).map_err(|e| A::Error::custom(what(&e)))?,
            };
            members.push((name, text));
        }
        Ok(members)
    }
}

/// Borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The text of a value, which is known to be JSON; `None` for null.
pub fn text(raw: &str) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    if raw == "null" {
        return Ok(None);
    }
    if !raw.starts_with('"') {
        return Ok(Some(Cow::Borrowed(raw)));
    }
    // Without escapes it says itself.
    if let Some(plain) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'))
        && memchr::memchr(b'\\', plain.as_bytes()).is_none()
    {
        return Ok(Some(Cow::Borrowed(plain)));
    }
    let Name(text) = serde_json::from_str(raw)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<(String, Option<String>)> {
        let members = members(line.as_bytes(), &Verbatim::None, &[]).unwrap();
        members.into_iter().map(|(name, text)| (name.into_owned(), text.map(Cow::into_owned))).collect()
    }

    #[test]
    fn strings_lose_their_quotes_and_everything_else_stays_as_it_is_written() {
        let line = r#" {"s":"a\"\u00e9\n","i":12345678901234567890123,"d":1.10,"e":1E5,"t":true,"n":null,"o":{"a": [1, 2.0]},"\u0061":""} "#;
        let expected = [
            ("s", Some("a\"é\n")),
            ("i", Some("12345678901234567890123")),
            ("d", Some("1.10")),
            ("e", Some("1E5")),
            ("t", Some("true")),
            ("n", None),
            ("o", Some(r#"{"a": [1, 2.0]}"#)),
            ("a", Some("")),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, t)| (n.to_string(), t.map(str::to_string))).collect();
        assert_eq!(of(line), expected);
        assert_eq!(of("{}"), []);
    }

    #[test]
    fn what_fills_a_column_of_json_stays_as_it_is_written() {
        let line = br#"{"Doc":"a\"b","n":"1","d2":null,"doc3":[1, 2]}"#;
        let verbatim = Verbatim::Named(vec!["doc".into(), "d2".into(), "doc3".into()]);
        let found: Vec<_> = members(line, &verbatim, &[]).unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, [Some(r#""a\"b""#.into()), Some("1".into()), None, Some("[1, 2]".into())]);
    }

    #[test]
    fn what_is_no_object_with_names_of_their_own_is_malformed_and_says_why() {
        for (line, said) in [
            (&b"[1]"[..], "no JSON object"),
            (b"12", "no JSON object"),
            (b"{\"a\":1,\"\\u0061\":2}", "two members \"a\""),
            (b"{\"a\":1", "not valid JSON: EOF"),
            (b"{\"a\":01}", "not valid JSON"),
            (b"{\"a\":1} {\"a\":2}", "not valid JSON: trailing characters at character 9"),
            (b"{\"a\":\"\xff\"}", "not valid UTF-8 from byte 7"),
            (b"{a:1}", "not valid JSON"),
            (b"{\"_File\":1}", "name of the raw layer's own"),
            (b"{\"a\\u0000\":1}", "NUL"),
            (b"{\"a\":NaN}", "not valid JSON"),
            (b"{\"a\":\"\\ud800\"}", "not valid JSON: unexpected end of hex escape at character 14"),
        ] {
            let message = members(line, &Verbatim::None, &[]).unwrap_err().to_string();
            assert!(message.contains(said), "{}: {message}", String::from_utf8_lossy(line));
        }
    }
}
