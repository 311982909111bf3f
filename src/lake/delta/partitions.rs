//! Rows divided by the partition that they belong to.
//!
//! Promises: rows of a partition keep their order. An empty text is NULL, as the protocol has it for values of partitions.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, nullif, partition, take_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use crate::model::{Code, Error, Result};

/// Rows of one partition.
pub(super) struct Part {
    /// The same for two parts of the same partition.
    pub key: Vec<Option<String>>,
    pub rows: RecordBatch,
}

/// True for a type whose values a path and the log can hold.
pub(super) fn can_partition(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(_, _)
            | DataType::Decimal128(_, _)
    )
}

/// Divides a batch by columns of it.
pub(super) fn split(batch: &RecordBatch, by: &[String]) -> Result<Vec<Part>> {
    if by.is_empty() || batch.num_rows() == 0 {
        return Ok(vec![Part { key: vec![], rows: batch.clone() }]);
    }
    split_sorted(batch, by)
        .map_err(|e| Error::new(Code::Internal, "rows can't be divided by partition").detail(e.to_string()))
}

fn split_sorted(batch: &RecordBatch, by: &[String]) -> Result<Vec<Part>, ArrowError> {
    let batch = without_empty_texts(batch, by)?;
    let keys = |batch: &RecordBatch| -> Vec<ArrayRef> {
        by.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect()
    };
    let mut order: Vec<SortColumn> =
        keys(&batch).into_iter().map(|values| SortColumn { values, options: None }).collect();
    // The sort is not stable by itself.
    let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32));
    order.push(SortColumn { values: places, options: None });
    let sorted = take_record_batch(&batch, &lexsort_to_indices(&order, None)?)?;
    let keys = keys(&sorted);
    let part = |rows: Range<usize>| -> Result<Part, ArrowError> {
        let value = |values: &ArrayRef| -> Result<Option<String>, ArrowError> {
            values.is_valid(rows.start).then(|| array_value_to_string(values, rows.start)).transpose()
        };
        let key = keys.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Part { key, rows: sorted.slice(rows.start, rows.len()) })
    };
    partition(&keys)?.ranges().into_iter().map(part).collect()
}

fn without_empty_texts(batch: &RecordBatch, by: &[String]) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    for (i, field) in batch.schema_ref().fields().iter().enumerate() {
        if !by.contains(field.name()) || field.data_type() != &DataType::Utf8 {
            continue;
        }
        let texts: &StringArray = columns[i].as_string();
        let empty = BooleanArray::from_iter(texts.iter().map(|text| Some(text == Some(""))));
        if empty.has_true() {
            columns[i] = nullif(&columns[i], &empty)?;
        }
    }
    RecordBatch::try_new(batch.schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::Int32Type;

    #[test]
    fn each_partition_has_its_rows_in_their_order() {
        let names: StringArray = [Some("b"), None, Some("a/ü"), Some(""), Some("b"), Some("a/ü")].into_iter().collect();
        let numbers = Int32Array::from_iter_values(0..6);
        let batch =
            RecordBatch::try_from_iter([("name", Arc::new(names) as ArrayRef), ("n", Arc::new(numbers) as ArrayRef)])
                .unwrap();
        let parts = split(&batch, &["name".into()]).unwrap();
        let found: Vec<(Option<&str>, Vec<i32>)> = parts
            .iter()
            .map(|p| (p.key[0].as_deref(), p.rows.column(1).as_primitive::<Int32Type>().values().to_vec()))
            .collect();
        assert_eq!(found, [(None, vec![1, 3]), (Some("a/ü"), vec![2, 5]), (Some("b"), vec![0, 4])]);
        assert_eq!(split(&batch, &[]).unwrap().len(), 1);
    }
}
