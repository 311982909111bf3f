//! Which column of a file fills which column of a table.

use super::identifier::folded;

/// Indices into the header and into the targets that were compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// For each target the header column that fills it.
    pub mapping: Vec<Option<usize>>,
    /// Targets that the file does not have.
    pub missing: Vec<usize>,
    /// Header columns that no target takes.
    pub extra: Vec<usize>,
}

/// Names that are equal match first, then names that are equal as unquoted identifiers are: without regard to case, and as far as
/// Postgres keeps them. A header column fills one target only.
pub fn match_columns(header: &[impl AsRef<str>], targets: &[impl AsRef<str>]) -> Match {
    let mut taken = vec![false; header.len()];
    let mut mapping = vec![None; targets.len()];
    let exact = |name: &str, target: &str| name == target;
    let like_identifiers = |name: &str, target: &str| folded(name) == folded(target);
    for same in [&exact as &dyn Fn(&str, &str) -> bool, &like_identifiers] {
        for (filled, target) in mapping.iter_mut().zip(targets).filter(|(filled, _)| filled.is_none()) {
            let found =
                header.iter().enumerate().position(|(i, name)| !taken[i] && same(name.as_ref(), target.as_ref()));
            if let Some(i) = found {
                taken[i] = true;
                *filled = Some(i);
            }
        }
    }
    let missing = (0..targets.len()).filter(|&i| mapping[i].is_none()).collect();
    let extra = (0..header.len()).filter(|&i| !taken[i]).collect();
    Match { mapping, missing, extra }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_case_only_where_it_must() {
        let found = match_columns(&["Id", "UnitPrice", "id"], &["unitprice", "id", "ID", "other"]);
        assert_eq!(found.mapping, [Some(1), Some(2), Some(0), None]);
        assert_eq!((found.missing, found.extra), (vec![3], vec![]));
    }

    #[test]
    fn columns_that_nobody_asked_for_are_told() {
        let found = match_columns(&["a", "b", "c"], &["b"]);
        assert_eq!((found.mapping, found.extra), (vec![Some(1)], vec![0, 2]));
    }

    #[test]
    fn a_name_that_postgres_cuts_still_matches() {
        let long = "x".repeat(70);
        assert_eq!(match_columns(&[&long], &[&long[..63]]).mapping, [Some(0)]);
    }
}
