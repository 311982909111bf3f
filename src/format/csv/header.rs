//! From the fields of a header record to column names.
//!
//! Names stay as the file has them. Refused is what could not be told apart afterwards: names that are equal but for case, and
//! names that the raw layer uses itself.

use std::collections::HashMap;

use crate::format::OWN_COLUMNS;
use crate::model::{Code, Error, Result};

pub(super) fn names(fields: Vec<String>) -> Result<Vec<String>> {
    let names: Vec<String> = fields
        .into_iter()
        .enumerate()
        .map(|(i, name)| if name.is_empty() { format!("_c{}", i + 1) } else { name })
        .collect();
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(names.len());
    let mut twice = Vec::new();
    for name in &names {
        if name.contains(['\0', '\r']) {
            return Err(Error::new(Code::Corrupt, "the CSV header holds a name with a NUL byte or a carriage return")
                .detail(format!("Name: {name:?}."))
                .hint("Lines must end in LF or CR LF, and the file must be text in UTF-8."));
        }
        let key = name.to_lowercase();
        if OWN_COLUMNS.contains(&key.as_str()) {
            return Err(Error::new(Code::Corrupt, format!("the CSV header holds the reserved name \"{name}\""))
                .detail(format!("Reserved are {}.", OWN_COLUMNS.join(", ")))
                .hint("Have the producer rename the column."));
        }
        if let Some(first) = seen.insert(key, name) {
            twice.push(if first == name { format!("\"{name}\"") } else { format!("\"{first}\" and \"{name}\"") });
        }
    }
    if twice.is_empty() {
        return Ok(names);
    }
    Err(Error::new(Code::Corrupt, "the CSV header holds a name twice")
        .detail(format!("Twice, upper and lower case being the same: {}.", twice.join(", ")))
        .hint("Have the producer give each column a name of its own, or read the file with header => false."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Result<Vec<String>> {
        names(fields.iter().map(|s| s.to_string()).collect())
    }

    #[test]
    fn names_stay_as_they_are_and_empty_ones_are_numbered_by_position() {
        assert_eq!(of(&["Unit Price", "", "b", ""]).unwrap(), ["Unit Price", "_c2", "b", "_c4"]);
    }

    #[test]
    fn names_equal_but_for_case_are_refused_by_name() {
        let error = of(&["a", "Id", "ID", "a"]).unwrap_err();
        assert_eq!(error.code, Code::Corrupt);
        assert!(error.detail.unwrap().contains("\"Id\" and \"ID\", \"a\""));
        assert!(of(&["_c2", ""]).is_err());
    }

    #[test]
    fn names_of_our_own_columns_are_refused() {
        assert!(of(&["a", "_Row"]).is_err());
        assert!(of(&["a", "_corrupt_record"]).is_err());
        assert!(of(&["a", "_rows", "_file_name"]).is_ok());
    }
}
