//! Which columns of a data file do without a dictionary.
//!
//! A dictionary of values that do not repeat is the column once more, and looking each value up in it is a sixth of what writing a file of
//! landed records takes. Promises: a guess from some rows, which changes how large a file is and never what it says.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// Rows that are looked at, spread over the batch.
const SAMPLE: usize = 1024;
/// Fewer say nothing.
const LEAST: usize = 256;
/// Of a hundred values in the sample, as many may have come before: then some 50,000 rows hold a value once.
const REPEATED: usize = 1;

/// Names of columns of text or bytes in which hardly a value comes twice.
pub(super) fn without(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.filter(|(_, column)| hardly_repeats(column.as_ref())).map(|(field, _)| field.name().clone()).collect()
}

fn hardly_repeats(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            differ(column.len(), |row| texts.is_valid(row).then(|| texts.value(row).as_bytes()))
        }
        DataType::Binary => {
            let bytes = column.as_binary::<i32>();
            differ(column.len(), |row| bytes.is_valid(row).then(|| bytes.value(row)))
        }
        _ => false,
    }
}

fn differ<'a>(rows: usize, value: impl Fn(usize) -> Option<&'a [u8]>) -> bool {
    let mut seen: HashSet<&[u8], foldhash::fast::RandomState> = HashSet::default();
    let (mut values, mut repeated) = (0, 0);
    for value in (0..rows).step_by(rows.div_ceil(SAMPLE).max(1)).filter_map(value) {
        values += 1;
        repeated += usize::from(!seen.insert(value));
        if repeated * 100 > SAMPLE * REPEATED {
            return false;
        }
    }
    values >= LEAST && repeated * 100 <= values * REPEATED
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};

    use super::*;

    fn without_of(rows: usize) -> Vec<String> {
        let text = |of: fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..rows).map(of))) as ArrayRef;
        let bytes = BinaryArray::from_iter_values((0..rows).map(|n| n.to_le_bytes()));
        let nulls: StringArray = (0..rows).map(|n| (n == 1).then(|| n.to_string())).collect();
        let batch = RecordBatch::try_from_iter([
            ("id", text(|n| format!("id {n}"))),
            ("kind", text(|n| format!("kind {}", n % 300))),
            ("bytes", Arc::new(bytes)),
            ("nulls", Arc::new(nulls)),
            ("number", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ]);
        without(&batch.unwrap())
    }

    #[test]
    fn columns_whose_values_do_not_repeat_have_no_dictionary() {
        assert_eq!(without_of(10_000), ["id", "bytes"]);
    }

    #[test]
    fn a_few_rows_or_none_say_nothing() {
        assert!(without_of(100).is_empty());
        assert!(without_of(0).is_empty());
    }
}
