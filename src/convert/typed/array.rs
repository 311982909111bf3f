//! Lists for columns that are arrays: in binary where each element is known, else as literals.

use arrow::array::{Array, ListArray};
use serde_json::value::RawValue;

use super::encode;
use crate::convert::kind::{Element, Field};
use crate::format::json;
use crate::format::typed::Values;

/// A list that is not NULL, as array_recv reads it. False where an element is not known; what was appended has no meaning then.
pub(super) fn binary(list: &ListArray, row: usize, element: Element, oid: u32, out: &mut Vec<u8>) -> bool {
    let items = list.value(row);
    let Some(values) = Values::of(items.as_ref()) else { return items.is_empty() && header(0, false, oid, out) };
    // Bytes as anything else are told by their text, all of a list alike.
    let told = values.is_nested() || (matches!(values, Values::Bytes(_)) && element != Element::Bytea);
    let Ok(count) = u32::try_from(items.len()) else { return false };
    if told || !header(count, items.null_count() > 0, oid, out) {
        return false;
    }
    let kind = element.kind();
    (0..items.len()).all(|i| {
        let length_at = out.len();
        out.extend_from_slice(&(-1i32).to_be_bytes());
        if items.is_null(i) {
            return true;
        }
        if matches!(values, Values::Text(text) if text.value(i).contains('\0')) {
            return false;
        }
        let known = encode(&kind, &values, i, out) == Field::Value;
        let Ok(length) = i32::try_from(out.len() - length_at - 4) else { return false };
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        known
    })
}

fn header(count: u32, has_nulls: bool, oid: u32, out: &mut Vec<u8>) -> bool {
    let dimensions = u32::from(count > 0);
    for word in [dimensions, u32::from(has_nulls), oid] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    if count > 0 {
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&1u32.to_be_bytes());
    }
    true
}

/// A list that is not NULL.
pub(super) fn literal(list: &ListArray, row: usize) -> String {
    let mut out = String::new();
    write(list, row, &mut out);
    out
}

fn write(list: &ListArray, row: usize, out: &mut String) {
    let items = list.value(row);
    let values = Values::of(items.as_ref());
    out.push('{');
    for i in 0..items.len() {
        if i > 0 {
            out.push(',');
        }
        match values.filter(|_| items.is_valid(i)) {
            None => out.push_str("NULL"),
            Some(Values::List(inner)) => write(inner, i, out),
            Some(values) => quoted(&values.text(i), out),
        }
    }
    out.push('}');
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// A JSON list as an array literal; `None` where the text is no such list.
pub(super) fn of_json(text: &str) -> Option<String> {
    let mut out = String::new();
    from_json(text, &mut out)?;
    Some(out)
}

fn from_json(text: &str, out: &mut String) -> Option<()> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    out.push('{');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match item.get() {
            list if list.starts_with('[') => from_json(list, out)?,
            value => match json::text(value).ok()? {
                Some(text) => quoted(&text, out),
                None => out.push_str("NULL"),
            },
        }
    }
    out.push('}');
    Some(())
}
