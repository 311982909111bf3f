//! What of a chunk's records did not become a row, or became several: the difference between what landed and what is loaded.
//!
//! Promise: loaded, rejected, dropped, duplicate and filtered are all records, once each.

use std::collections::HashSet;

use crate::model::landing::Origin;
use crate::pipeline::rejects::Reject;

/// Of each part of a chunk, what did not become a row, or several.
pub struct LeftOut {
    pub rejected: Vec<i64>,
    pub dropped: Vec<i64>,
    pub duplicates: Vec<i64>,
    /// Records of which a transform made no row, and rows that it made of a record beside the first.
    pub filtered: Vec<i64>,
    pub derived: Vec<i64>,
}

impl LeftOut {
    pub fn none(parts: usize) -> LeftOut {
        let none = vec![0; parts];
        LeftOut {
            rejected: none.clone(),
            dropped: none.clone(),
            duplicates: none.clone(),
            filtered: none.clone(),
            derived: none,
        }
    }

    /// Rows that a part of so many records has given.
    pub fn rows(&self, part: usize, records: u64) -> i64 {
        records as i64 - self.rejected[part] - self.dropped[part] - self.duplicates[part] - self.filtered[part]
            + self.derived[part]
    }

    /// `made`: of a pipeline with a transform, the records of which it made rows that went in, with how many. `stayed`: by part, rows
    /// that were no duplicates, where that is asked.
    pub fn count(
        origins: &[Origin],
        rejects: &[Reject],
        dropped: &[(usize, i64)],
        made: Option<&[(i64, i64)]>,
        stayed: Option<&[i64]>,
    ) -> LeftOut {
        let mut out = LeftOut::none(origins.len());
        for reject in rejects {
            out.rejected[reject.part] += 1;
        }
        for (part, _) in dropped {
            out.dropped[*part] += 1;
        }
        // Good rows of each part.
        let mut good: Vec<i64> =
            origins.iter().enumerate().map(|(i, o)| o.records as i64 - out.rejected[i] - out.dropped[i]).collect();
        if let Some(made) = made {
            let rejected: HashSet<i64> = rejects.iter().map(|r| r.row_no).collect();
            let mut of: Vec<(HashSet<i64>, i64)> = vec![Default::default(); origins.len()];
            for (row_no, rows) in made.iter().filter(|(row_no, _)| !rejected.contains(row_no)) {
                let part = origins.partition_point(|o| o.first_row_no <= *row_no).saturating_sub(1);
                of[part].0.insert(*row_no);
                of[part].1 += rows;
            }
            for (part, row_no) in dropped {
                of[*part].0.insert(*row_no);
            }
            for (i, (records, rows)) in of.into_iter().enumerate() {
                let with_rows = records.len() as i64;
                out.filtered[i] = origins[i].records as i64 - out.rejected[i] - with_rows;
                out.derived[i] = rows + out.dropped[i] - with_rows;
                good[i] = rows;
            }
        }
        if let Some(stayed) = stayed {
            out.duplicates = good.iter().zip(stayed).map(|(good, stayed)| good - stayed).collect();
        }
        out
    }
}
