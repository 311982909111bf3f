//! A table's columns as users name them and as the table stores them.
//!
//! Delta allows none of ` ,;{}()`, newline, tab and `=` in a column name, and no two names that differ only in case. A name that may
//! not be stored as it is has each such character replaced by `_` and, where that name is taken, a number appended; the column's
//! metadata in the Delta schema then holds the user's name under [`NAME_KEY`], so that reading gives it back.
//!
//! Promises: values are never changed by a cast that loses anything; a column that does not fit is an error that names it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::{DataType, MetadataValue, StructField, StructType};

use super::mapping::Mode;
use super::partitions::can_partition;
use crate::model::{Code, Error, Result};

/// The key of a field's metadata that holds the name which could not be stored.
pub const NAME_KEY: &str = "millrace.name";

const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// One schema of a table.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    fields: Vec<StructField>,
    /// With the users' names.
    pub schema: SchemaRef,
    /// With the names in the Parquet files.
    pub stored: SchemaRef,
    /// Stored names.
    pub partition_by: Vec<String>,
    pub mode: Mode,
}

impl Columns {
    pub fn from_delta(schema_string: &str, partition_by: &[String], mode: Mode) -> Result<Columns> {
        let schema: StructType = serde_json::from_str(schema_string).map_err(|e| {
            Error::new(Code::Corrupt, "cannot read the schema of the Delta table").detail(e.to_string())
        })?;
        Ok(Columns { mode, ..Columns::new(schema.fields().cloned().collect(), partition_by.to_vec())? })
    }

    pub fn fields(&self) -> &[StructField] {
        &self.fields
    }

    /// For each column its place among those of a file.
    pub fn stored_places(&self, file: &Fields) -> Vec<Option<usize>> {
        self.fields.iter().map(|field| self.mode.find(field, file)).collect()
    }

    pub fn create(schema: &Schema, partition_by: &[String]) -> Result<Columns> {
        if schema.fields().is_empty() {
            return Err(Error::new(Code::InvalidParameter, "a table needs at least one column"));
        }
        let mut fields = Vec::new();
        for field in schema.fields() {
            let field = new_field(field, field.is_nullable(), &fields)?;
            fields.push(field);
        }
        let mut stored = Vec::new();
        for name in partition_by {
            let found = fields.iter().find(|field| user_name(field) == name).ok_or_else(|| {
                let known: Vec<&str> = fields.iter().map(user_name).collect();
                Error::new(Code::InvalidParameter, format!("partition column \"{name}\" is not a column of the table"))
                    .hint(format!("It has the columns {}.", known.join(", ")))
            })?;
            let given = schema.field_with_name(name).map(|field| field.data_type());
            if let Ok(given) = given
                && !storable(given).is_some_and(|stored| can_partition(&stored))
            {
                return Err(Error::new(
                    Code::Unsupported,
                    format!("a table can't be partitioned by column \"{name}\", whose type is {given}"),
                )
                .hint("Partition by text, whole numbers, decimals, booleans, dates or timestamps."));
            }
            if stored.contains(found.name()) {
                return Err(Error::new(Code::InvalidParameter, format!("partition column \"{name}\" is named twice"))
                    .hint("Name it once."));
            }
            stored.push(found.name().clone());
        }
        if stored.len() == fields.len() {
            return Err(Error::new(Code::InvalidParameter, "a table cannot be partitioned by all of its columns")
                .hint("Leave one out."));
        }
        Columns::new(fields, stored)
    }

    fn new(fields: Vec<StructField>, partition_by: Vec<String>) -> Result<Columns> {
        let mut logical = Vec::with_capacity(fields.len());
        let mut stored = Vec::with_capacity(fields.len());
        for field in &fields {
            if holds_variant(field.data_type()) {
                let message = format!("column \"{}\" has the type variant (feature \"variantType\")", user_name(field));
                return Err(Error::new(Code::Unsupported, message)
                    .hint("Read a copy of the table that has the column as text or as a struct."));
            }
            let arrow: ArrowType = field.data_type().try_into_arrow().map_err(|e| {
                Error::new(
                    Code::Unsupported,
                    format!("column \"{}\" has a type that is not supported", user_name(field)),
                )
                .detail(e.to_string())
            })?;
            logical.push(Field::new(user_name(field), arrow.clone(), field.is_nullable()));
            stored.push(Field::new(field.name(), arrow, field.is_nullable()));
        }
        Ok(Columns {
            fields,
            schema: Arc::new(Schema::new(logical)),
            stored: Arc::new(Schema::new(stored)),
            partition_by,
            mode: Mode::None,
        })
    }

    /// The columns and those of `schema` that are missing, all of them nullable; None where none is missing.
    /// `zoneless`: the table may have timestamps without time zone.
    pub fn with_added(&self, schema: &Schema, zoneless: bool) -> Result<Option<Columns>> {
        let mut fields = self.fields.clone();
        let mut seen = HashSet::new();
        for field in schema.fields() {
            if !seen.insert(field.name()) {
                return Err(Error::new(Code::Mismatch, format!("two columns are named \"{}\"", field.name())));
            }
            match self.schema.column_with_name(field.name()) {
                Some((_, own)) => check_fits(field, own)?,
                None => {
                    let added = new_field(field, true, &fields)?;
                    if is_zoneless(added.data_type())
                        && !zoneless
                        && !self.fields.iter().any(|f| is_zoneless(f.data_type()))
                    {
                        return Err(Error::new(
                            Code::Unsupported,
                            format!(
                                "column \"{}\" would be the table's first timestamp without time zone",
                                field.name()
                            ),
                        )
                        .hint("Create the table with such a column, or cast it to timestamp with time zone."));
                    }
                    fields.push(added);
                }
            }
        }
        if fields.len() == self.fields.len() {
            return Ok(None);
        }
        Ok(Some(Columns { mode: self.mode, ..Columns::new(fields, self.partition_by.clone())? }))
    }

    /// The schema as the Delta log holds it.
    pub fn to_delta(&self) -> Result<String> {
        let schema = StructType::try_new(self.fields.iter().cloned())
            .map_err(|e| Error::new(Code::Unsupported, "the columns make no Delta table").detail(e.to_string()))?;
        serde_json::to_string(&schema)
            .map_err(|e| Error::new(Code::Internal, "cannot write the schema of the Delta table").detail(e.to_string()))
    }

    /// True where the table needs the feature "timestampNtz".
    pub fn has_zoneless(&self) -> bool {
        self.fields.iter().any(|field| is_zoneless(field.data_type()))
    }

    /// A batch with the table's columns in their order and stored names; columns that it lacks are NULL.
    pub fn to_stored(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.fields.len());
        for (own, stored) in self.schema.fields().iter().zip(self.stored.fields()) {
            arrays.push(match batch.column_by_name(own.name()) {
                Some(array) => cast(array, stored.data_type(), own.name())?,
                None => new_null_array(stored.data_type(), batch.num_rows()),
            });
        }
        if let Some(field) =
            batch.schema_ref().fields().iter().find(|f| self.schema.column_with_name(f.name()).is_none())
        {
            let message = format!("rows have the column \"{}\", which was not announced", field.name());
            return Err(Error::new(Code::Mismatch, message));
        }
        new_batch(self.stored.clone(), arrays, batch.num_rows())
    }
}

/// A batch of which the number of rows is known even where it has no column.
pub(super) fn new_batch(schema: SchemaRef, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|e| Error::new(Code::Mismatch, "rows do not fit the columns of the table").detail(e.to_string()))
}

/// A cast that is exact or an error.
pub(super) fn cast(array: &ArrayRef, to: &ArrowType, column: &str) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..Default::default() };
    cast_with_options(array, to, &options).map_err(|e| {
        Error::new(Code::Mismatch, format!("a value of column \"{column}\" does not fit its type {to}"))
            .detail(e.to_string())
    })
}

fn user_name(field: &StructField) -> &str {
    match field.metadata().get(NAME_KEY) {
        Some(MetadataValue::String(name)) => name,
        _ => field.name(),
    }
}

fn new_field(field: &Field, nullable: bool, taken: &[StructField]) -> Result<StructField> {
    let name = field.name();
    if taken.iter().any(|other| user_name(other) == name) {
        return Err(Error::new(Code::Mismatch, format!("two columns are named \"{name}\"")));
    }
    let unsupported = || {
        Error::new(
            Code::Unsupported,
            format!("column \"{name}\" has the type {}, which a Delta table cannot hold", field.data_type()),
        )
        .hint("Cast the column to another type.")
    };
    let arrow = storable(field.data_type()).ok_or_else(unsupported)?;
    let data_type: DataType = (&arrow).try_into_kernel().map_err(|e| unsupported().detail(e.to_string()))?;
    let stored = stored_name(name, taken);
    let mapped = stored != *name;
    let made = StructField::new(stored, data_type, nullable);
    Ok(if mapped { made.with_metadata([(NAME_KEY, MetadataValue::String(name.clone()))]) } else { made })
}

fn stored_name(name: &str, taken: &[StructField]) -> String {
    let mut base: String =
        name.chars().map(|c| if FORBIDDEN.contains(&c) || c.is_control() { '_' } else { c }).collect();
    if base.is_empty() {
        base.push('_');
    }
    let is_taken = |name: &str| taken.iter().any(|field| field.name().to_lowercase() == name.to_lowercase());
    if !is_taken(&base) {
        return base;
    }
    (2u64..).map(|n| format!("{base}_{n}")).find(|name| !is_taken(name)).unwrap_or(base)
}

/// The Arrow type in which a column's values are stored without loss.
fn storable(data_type: &ArrowType) -> Option<ArrowType> {
    Some(match data_type {
        ArrowType::UInt8 => ArrowType::Int16,
        ArrowType::UInt16 => ArrowType::Int32,
        ArrowType::UInt32 => ArrowType::Int64,
        ArrowType::UInt64 => ArrowType::Decimal128(20, 0),
        ArrowType::Float16 => ArrowType::Float32,
        ArrowType::Decimal32(p, s) | ArrowType::Decimal64(p, s) => ArrowType::Decimal128(*p, *s),
        ArrowType::Dictionary(_, values) => return storable(values),
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) | ArrowType::Null => return None,
        ArrowType::Timestamp(_, None) => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        ArrowType::Timestamp(_, Some(_)) => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => other.clone(),
    })
}

fn holds_variant(data_type: &DataType) -> bool {
    match data_type {
        DataType::Variant(_) => true,
        DataType::Array(array) => holds_variant(array.element_type()),
        DataType::Map(map) => holds_variant(map.key_type()) || holds_variant(map.value_type()),
        DataType::Struct(fields) => fields.fields().any(|field| holds_variant(field.data_type())),
        DataType::Primitive(_) => false,
    }
}

fn is_zoneless(data_type: &DataType) -> bool {
    match data_type {
        DataType::Array(array) => is_zoneless(array.element_type()),
        DataType::Map(map) => is_zoneless(map.key_type()) || is_zoneless(map.value_type()),
        DataType::Struct(fields) => fields.fields().any(|field| is_zoneless(field.data_type())),
        other => *other == DataType::TIMESTAMP_NTZ,
    }
}

/// An existing column takes its own type, and types whose every value its own can hold.
fn check_fits(given: &Field, own: &Field) -> Result<()> {
    use ArrowType::*;
    let misfit = || {
        Error::new(
            Code::Mismatch,
            format!(
                "column \"{}\" is {} in the table and {} in the rows",
                own.name(),
                own.data_type(),
                given.data_type()
            ),
        )
        .hint("Cast the rows to the type of the table, or write to a new table.")
    };
    let arrow = storable(given.data_type()).ok_or_else(misfit)?;
    let fits = match (&arrow, own.data_type()) {
        (a, b) if a == b => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => true,
        (Decimal128(p, s), Decimal128(own_p, own_s)) => s == own_s && p <= own_p,
        (a, b) => {
            let kernel = |t: &ArrowType| -> Option<DataType> { t.try_into_kernel().ok() };
            kernel(a).is_some_and(|a| Some(a) == kernel(b))
        }
    };
    if fits { Ok(()) } else { Err(misfit()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Columns {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, ArrowType::Utf8, true)).collect();
        Columns::create(&Schema::new(fields), &[]).unwrap()
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn names_that_delta_cannot_store_are_mapped_and_come_back() {
        let users = ["id", "ID", "Total Amount", "total_amount", "a=b;c", ""];
        let made = columns(&users);
        assert_eq!(names(&made.stored), ["id", "ID_2", "Total_Amount", "total_amount_2", "a_b_c", "_"]);
        let read = Columns::from_delta(&made.to_delta().unwrap(), &[], Mode::None).unwrap();
        assert_eq!(names(&read.schema), users);
        assert_eq!(names(&read.stored), names(&made.stored));
    }

    #[test]
    fn new_columns_are_added_nullable_and_misfits_are_named() {
        let table = columns(&["a"]);
        let more =
            Schema::new(vec![Field::new("a", ArrowType::LargeUtf8, false), Field::new("b c", ArrowType::Int64, false)]);
        let wider = table.with_added(&more, false).unwrap().unwrap();
        assert_eq!(names(&wider.stored), ["a", "b_c"]);
        assert!(wider.schema.field(1).is_nullable());
        assert!(
            table.with_added(&Schema::new(vec![Field::new("a", ArrowType::Utf8View, true)]), false).unwrap().is_none()
        );
        let error = table.with_added(&Schema::new(vec![Field::new("a", ArrowType::Int64, true)]), false).unwrap_err();
        assert_eq!(error.code, Code::Mismatch);
        assert!(error.message.contains("\"a\""), "{error}");
        let nanos = Field::new("t", ArrowType::Timestamp(TimeUnit::Nanosecond, None), true);
        assert_eq!(table.with_added(&Schema::new(vec![nanos]), false).unwrap_err().code, Code::Unsupported);
    }

    #[test]
    fn an_unsigned_number_is_stored_where_every_value_fits() {
        let schema = Schema::new(vec![Field::new("u", ArrowType::UInt64, true)]);
        let made = Columns::create(&schema, &[]).unwrap();
        let array: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
        let stored = made.to_stored(&batch).unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(stored.column(0), 0).unwrap(), "18446744073709551615");
    }
}
