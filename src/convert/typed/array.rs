//! Lists as array literals, for columns that are arrays.

use arrow::array::{Array, ListArray};
use serde_json::value::RawValue;

use crate::format::json;
use crate::format::typed::Values;

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
