//! From a column as a data file holds it to the column of the table.
//!
//! With column mapping, columns and the fields within them are found by the id or the physical name that the table's schema gives
//! them, so that renamed and dropped columns need no new files; a file that was written before a column was added or widened is read
//! as the table is now.
//!
//! Promises: what the file lacks is NULL; a value is never changed by a cast that loses anything.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::datatypes::{DataType as ArrowType, Field, Fields};
use deltalake::kernel::{DataType, MetadataValue, StructField};

use super::log::MetaData;
use super::schema::cast;
use crate::model::{Code, Error, Result};

const ID: &str = "delta.columnMapping.id";
const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
/// Where the Parquet library puts a column's id.
const FILE_ID: &str = "PARQUET:field_id";

/// How columns of the table are found in its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    None,
    Name,
    Id,
}

impl Mode {
    /// None for a mode that is not known.
    pub fn of(metadata: &MetaData) -> Option<Mode> {
        match metadata.property("delta.columnMapping.mode") {
            None | Some("none") => Some(Mode::None),
            Some("name") => Some(Mode::Name),
            Some("id") => Some(Mode::Id),
            Some(_) => None,
        }
    }

    /// The name that stands in files and partition values.
    pub fn physical_name<'a>(&self, field: &'a StructField) -> &'a str {
        match field.metadata().get(PHYSICAL_NAME) {
            Some(MetadataValue::String(name)) if *self != Mode::None => name,
            _ => field.name(),
        }
    }

    /// Which of a file's columns this one is.
    pub fn find(&self, field: &StructField, file: &Fields) -> Option<usize> {
        if *self == Mode::Id
            && let Some(MetadataValue::Number(id)) = field.metadata().get(ID)
            && file.iter().any(|f| f.metadata().contains_key(FILE_ID))
        {
            let id = id.to_string();
            return file.iter().position(|f| f.metadata().get(FILE_ID) == Some(&id));
        }
        let name = self.physical_name(field);
        file.iter().position(|f| f.name() == name)
    }

    /// A file's column as the table's.
    pub fn read_as(&self, array: &ArrayRef, wanted: &DataType, arrow: &ArrowType, column: &str) -> Result<ArrayRef> {
        let misfit = |e: arrow::error::ArrowError| {
            Error::new(Code::Mismatch, format!("a value of column \"{column}\" does not fit its type {arrow}"))
                .detail(e.to_string())
        };
        match (wanted, arrow) {
            (DataType::Struct(fields), ArrowType::Struct(arrow_fields)) => {
                let Some(held) = array.as_struct_opt() else { return cast(array, arrow, column) };
                let kernel: Vec<&StructField> = fields.fields().collect();
                let children = self.children(held, &kernel, arrow_fields, column)?;
                let made =
                    StructArray::try_new_with_length(arrow_fields.clone(), children, held.nulls().cloned(), held.len());
                Ok(Arc::new(made.map_err(misfit)?))
            }
            (DataType::Array(list), ArrowType::List(item)) => {
                let narrow = match array.data_type() {
                    ArrowType::LargeList(item) => cast(array, &ArrowType::List(item.clone()), column)?,
                    _ => array.clone(),
                };
                let Some(held) = narrow.as_list_opt::<i32>() else { return cast(array, arrow, column) };
                let values = self.read_as(held.values(), list.element_type(), item.data_type(), column)?;
                let made = ListArray::try_new(item.clone(), held.offsets().clone(), values, held.nulls().cloned());
                Ok(Arc::new(made.map_err(misfit)?))
            }
            (DataType::Map(map), ArrowType::Map(entries, ordered)) => {
                let (Some(held), ArrowType::Struct(pair)) = (array.as_map_opt(), entries.data_type()) else {
                    return cast(array, arrow, column);
                };
                let [key, value] = pair.as_ref() else { return cast(array, arrow, column) };
                let keys = self.read_as(held.keys(), map.key_type(), key.data_type(), column)?;
                let values = self.read_as(held.values(), map.value_type(), value.data_type(), column)?;
                let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None).map_err(misfit)?;
                let nulls = held.nulls().cloned();
                let made = MapArray::try_new(entries.clone(), held.offsets().clone(), pairs, nulls, *ordered);
                Ok(Arc::new(made.map_err(misfit)?))
            }
            _ => cast(array, arrow, column),
        }
    }

    fn children(
        &self,
        held: &StructArray,
        wanted: &[&StructField],
        arrow: &[Arc<Field>],
        column: &str,
    ) -> Result<Vec<ArrayRef>> {
        wanted
            .iter()
            .zip(arrow)
            .map(|(field, arrow)| match self.find(field, held.fields()) {
                Some(i) => self.read_as(held.column(i), field.data_type(), arrow.data_type(), column),
                None => Ok(new_null_array(arrow.data_type(), held.len())),
            })
            .collect()
    }
}
