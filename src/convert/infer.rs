//! Guesses column types from samples: the narrowest type that takes every value without changing what it says.
//!
//! Careful on purpose: codes such as `00123` stay text, for a wrong guess costs rejects or, worse, digits.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::SchemaRef;

use super::identifier::{folded, quoted};
use super::typed::column_type;
use super::{datetime, int, uuid};
use crate::format::RawBatch;

/// From narrow to wide: the first that every value of a column fits is taken.
const TYPES: [&str; 9] = ["boolean", "bigint", "numeric", "date", "timestamp", "timestamptz", "uuid", "text", "jsonb"];
const BOOLEAN: u16 = 1;
const BIGINT: u16 = 1 << 1;
const NUMERIC: u16 = 1 << 2;
const DATE: u16 = 1 << 3;
const TIMESTAMP: u16 = 1 << 4;
const TIMESTAMPTZ: u16 = 1 << 5;
const UUID: u16 = 1 << 6;
const TEXT: u16 = 1 << 7;
const JSONB: u16 = 1 << 8;
const ANY: u16 = (1 << 9) - 1;

/// Names and types for the columns of all samples together, in the order in which they first appear. Names are lower case:
/// those of one file differ by more than case, and those of different files that do not are one column.
pub fn columns(samples: &[RawBatch]) -> Vec<(String, String)> {
    columns_by(samples, types_of)
}

/// The same for fields that are JSON as it was written.
pub fn json_columns(samples: &[RawBatch]) -> Vec<(String, String)> {
    columns_by(samples, json_types_of)
}

fn columns_by(samples: &[RawBatch], types_of: impl Fn(&str) -> u16) -> Vec<(String, String)> {
    let mut found: Vec<(String, Option<u16>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for batch in samples {
        for (field, column) in batch.fields.schema().fields().iter().zip(batch.fields.columns()) {
            let name = folded(field.name());
            let place = *places.entry(name.clone()).or_insert_with(|| {
                found.push((name, None));
                found.len() - 1
            });
            let fits = &mut found[place].1;
            for text in column.as_string_opt::<i32>().into_iter().flat_map(|values| values.iter().flatten()) {
                let so_far = fits.unwrap_or(ANY);
                if so_far == TEXT {
                    break;
                }
                *fits = Some(so_far & types_of(text));
            }
        }
    }
    let name_of = |fits: Option<u16>| TYPES[fits.unwrap_or(TEXT).trailing_zeros().min(8) as usize];
    found.into_iter().map(|(name, fits)| (name, name_of(fits).to_string())).collect()
}

/// The list as `CREATE TABLE` takes it.
pub fn column_list(columns: &[(String, String)]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|(name, data_type)| format!("{} {data_type}", quoted(name))).collect();
    columns.join(", ")
}

/// Every type that this value may have.
fn types_of(text: &str) -> u16 {
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) && !matches!(bytes.first(), Some(b'-' | b'.')) {
        return TEXT;
    }
    if bytes.last().is_some_and(u8::is_ascii_whitespace) {
        return TEXT;
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return TEXT | BOOLEAN;
    }
    if is_number(bytes) {
        return TEXT | NUMERIC | if int::parse(bytes).is_some() { BIGINT } else { 0 };
    }
    if let Some(moment) = datetime::moment(bytes) {
        return TEXT
            | match (moment.time, moment.offset) {
                (None, _) => DATE | TIMESTAMP,
                (Some(_), None) => TIMESTAMP,
                (Some(_), Some(_)) => TIMESTAMPTZ,
            };
    }
    TEXT | if bytes.len() == 36 && uuid::parse(bytes).is_some() { UUID } else { 0 }
}

/// A string is never a number, and whatever there is can be jsonb; a column is only where some of it is nested.
fn json_types_of(text: &str) -> u16 {
    match text.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => types_of(&text) & !(BOOLEAN | BIGINT | NUMERIC) | JSONB,
            Err(_) => TEXT | JSONB,
        },
        Some(b'{' | b'[') => JSONB,
        _ => types_of(text) | JSONB,
    }
}

/// Names and types for the columns of files that tell them; of types that differ the one that holds both.
pub fn typed_columns(schemas: &[SchemaRef]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for field in schemas.iter().flat_map(|schema| schema.fields()) {
        let (name, data_type) = (folded(field.name()), column_type(field));
        match found.iter_mut().find(|(own, _)| *own == name) {
            Some((_, known)) => *known = wider(known, &data_type),
            None => found.push((name, data_type)),
        }
    }
    found
}

fn wider(a: &str, b: &str) -> String {
    const WHOLE: [&str; 3] = ["smallint", "integer", "bigint"];
    const FLOATING: [&str; 2] = ["real", "double precision"];
    if a == b {
        return a.to_string();
    }
    for family in [&WHOLE[..], &FLOATING] {
        let place = |t: &str| family.iter().position(|own| *own == t);
        if let (Some(a), Some(b)) = (place(a), place(b)) {
            return family[a.max(b)].to_string();
        }
    }
    let exact = |t: &str| WHOLE.contains(&t) || t.starts_with("numeric");
    if exact(a) && exact(b) { "numeric" } else { "text" }.to_string()
}

/// A number as programs write it: no plus, no zeros in front, perhaps a fraction, perhaps a small exponent.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &mut &[u8]| {
        let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let (taken, rest) = text.split_at(count);
        *text = rest;
        taken.len()
    };
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let zero_in_front = rest.starts_with(b"0");
    let whole = digits(&mut rest);
    if whole > 1 && zero_in_front {
        return false;
    }
    let mut fraction = 0;
    if let Some(behind) = rest.strip_prefix(b".") {
        rest = behind;
        fraction = digits(&mut rest);
        if fraction == 0 {
            return false;
        }
    }
    if let [b'e' | b'E', behind @ ..] = rest {
        rest = behind.strip_prefix(b"-").or_else(|| behind.strip_prefix(b"+")).unwrap_or(behind);
        if !(1..=2).contains(&digits(&mut rest)) {
            return false;
        }
    }
    rest.is_empty() && whole + fraction > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::csv::{Dialect, Reader};

    fn sample(file: &str) -> RawBatch {
        let mut reader = Reader::new(Dialect::default(), None).unwrap();
        reader.push(file.as_bytes());
        reader.finish();
        reader.next_batch(1000).unwrap().unwrap()
    }

    fn type_of(values: &[&str]) -> String {
        let file = format!("a,b\n{}\n", values.iter().map(|v| format!("{v},")).collect::<Vec<_>>().join("\n"));
        columns(&[sample(&file)]).remove(0).1
    }

    #[test]
    fn the_narrowest_type_that_fits_all_values_is_taken() {
        for (values, expected) in [
            (vec!["true", "FALSE"], "boolean"),
            (vec!["1", "-20", "0", ""], "bigint"),
            (vec!["1", "2.5", "1e-05"], "numeric"),
            (vec!["9223372036854775808"], "numeric"),
            (vec!["2020-01-31"], "date"),
            (vec!["2020-01-31", "2020-01-31T10:00"], "timestamp"),
            (vec!["2020-01-31 10:00:00 UTC", "2020-01-31 10:00:00+01:00"], "timestamptz"),
            (vec!["72d76fde-8bb3-4e00-8c23-a032dfed738c"], "uuid"),
            (vec!["", ""], "text"),
        ] {
            assert_eq!(type_of(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn what_would_lose_something_stays_text() {
        for values in [
            vec!["00123"],
            vec!["1", "x"],
            vec!["+1"],
            vec!["true", "1"],
            vec![" 1"],
            vec!["1 "],
            vec!["2020-01-31", "1"],
            vec!["2020-01-31 10:00", "2020-01-31 10:00Z"],
            vec!["2021-02-29"],
            vec!["NaN"],
            vec!["1."],
            vec!["-"],
            vec!["t"],
            vec!["\"\""],
        ] {
            assert_eq!(type_of(&values), "text", "{values:?}");
        }
    }

    #[test]
    fn samples_of_several_files_are_taken_together() {
        let found = columns(&[sample("Id,Unit Price\n1,2\n"), sample("unit price,Extra,ID\n2.5,x,7\n")]);
        assert_eq!(column_list(&found), "id bigint, \"unit price\" numeric, extra text");
    }

    #[test]
    fn json_says_itself_what_is_a_number_and_what_is_text() {
        let type_of = |values: &[&str]| {
            let batches: Vec<_> = values
                .iter()
                .map(|v| RawBatch::of_texts(&["a".to_string()], vec![Some(v.to_string())]).unwrap())
                .collect();
            json_columns(&batches).remove(0).1
        };
        for (values, expected) in [
            (vec!["1", "-20"], "bigint"),
            (vec!["1", "2.5"], "numeric"),
            (vec!["\"1\""], "text"),
            (vec!["true"], "boolean"),
            (vec!["\"true\""], "text"),
            (vec!["\"2020-01-31\""], "date"),
            (vec!["{}", "[1]"], "jsonb"),
            (vec!["1", "[1]"], "jsonb"),
            (vec!["1", "\"x\""], "text"),
        ] {
            assert_eq!(type_of(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn files_that_tell_types_agree_on_the_one_that_holds_all() {
        assert_eq!(wider("smallint", "bigint"), "bigint");
        assert_eq!(wider("bigint", "numeric(5,2)"), "numeric");
        assert_eq!(wider("double precision", "real"), "double precision");
        assert_eq!(wider("date", "bigint"), "text");
    }

    #[test]
    fn corrupt_records_say_nothing_about_types() {
        assert_eq!(columns(&[sample("a,b\n1,2\nbroken\n")]).remove(0).1, "bigint");
    }
}
