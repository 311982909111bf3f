//! How far a Delta table has been read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A place in a table's history, exact to the row. Kept with the pipeline's position and committed with the rows before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// The table's identity: another one may be put in its place.
    pub table: String,
    /// The version that is read, or that comes next.
    pub version: u64,
    /// True while the whole table is read as it was at that version, false for what the version did.
    pub snapshot: bool,
    /// How many of the files are done.
    #[serde(default)]
    pub files: u64,
    /// How far the next one is read: rows of the file, and how many of those were records.
    #[serde(default)]
    pub row: u64,
    #[serde(default)]
    pub records: u64,
    /// How often the table has been read anew as a whole.
    #[serde(default)]
    pub generation: u32,
    /// While a keyed table is read anew as a whole: rows of chunks up to this one that do not come again are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<i64>,
    /// Columns that were renamed since, by their names in the files: what staging calls them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
}

impl Offset {
    pub fn new(table: &str, version: u64, snapshot: bool) -> Offset {
        Offset {
            table: table.to_owned(),
            version,
            snapshot,
            files: 0,
            row: 0,
            records: 0,
            generation: 0,
            sweep: None,
            renamed: BTreeMap::new(),
        }
    }

    /// Behind everything of this version.
    pub fn next_version(&self, table: &str) -> Offset {
        Offset {
            version: self.version + 1,
            generation: self.generation,
            renamed: self.renamed.clone(),
            ..Offset::new(table, 0, false)
        }
    }

    /// The last version that rows between `from` and here are of.
    pub fn last_version(&self, from: &Offset) -> u64 {
        let begun = self.snapshot || self.files > 0 || self.row > 0;
        if begun { self.version } else { self.version.saturating_sub(1).max(from.version) }
    }

    /// A column that has another name now goes on filling the column of staging that it filled. Both lists hold the columns' names in
    /// files with their names.
    pub fn note_renamed(&mut self, before: &[(String, String)], now: &[(String, String)]) {
        for (stored, name) in now {
            if let Some((_, old)) = before.iter().find(|(s, old)| s == stored && old != name) {
                self.renamed.entry(stored.clone()).or_insert_with(|| old.clone());
            }
        }
        // What has its first name again needs no note; what is gone is forgotten.
        self.renamed.retain(|stored, first| now.iter().any(|(s, name)| s == stored && name != first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_version_comes_the_next_whichever_way_it_was_read() {
        let at = Offset { files: 3, row: 7, records: 5, generation: 2, ..Offset::new("t", 4, true) };
        let next = at.next_version("u");
        assert_eq!((next.version, next.snapshot, next.files, next.row, next.records), (5, false, 0, 0, 0));
        assert_eq!((next.generation, next.table.as_str()), (2, "u"));
    }

    #[test]
    fn what_lies_between_two_offsets_ends_with_the_version_that_was_begun_or_the_one_before() {
        let from = Offset::new("t", 4, false);
        let to = |version, files| Offset { files, ..Offset::new("t", version, false) };
        assert_eq!(to(5, 0).last_version(&from), 4);
        assert_eq!(to(9, 0).last_version(&from), 8);
        assert_eq!(to(9, 1).last_version(&from), 9);
        assert_eq!(to(4, 2).last_version(&from), 4);
    }

    fn names(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(stored, name)| (stored.to_string(), name.to_string())).collect()
    }

    #[test]
    fn a_renamed_column_keeps_its_first_name_until_it_has_it_again() {
        let mut at = Offset::new("t", 1, false);
        at.note_renamed(&names(&[("1", "a"), ("2", "b")]), &names(&[("1", "x"), ("2", "b")]));
        at.note_renamed(&names(&[("1", "x"), ("2", "b")]), &names(&[("1", "y"), ("2", "b")]));
        assert_eq!(at.renamed.get("1").map(String::as_str), Some("a"));
        at.note_renamed(&names(&[("1", "y"), ("2", "b")]), &names(&[("1", "a"), ("2", "b")]));
        assert!(at.renamed.is_empty());
    }

    #[test]
    fn an_offset_survives_being_stored() {
        let mut at = Offset::new("t", u64::from(u32::MAX) + 1, false);
        at.renamed.insert("col-1".into(), "a".into());
        assert_eq!(serde_json::from_value::<Offset>(serde_json::to_value(&at).unwrap()).unwrap(), at);
    }
}
