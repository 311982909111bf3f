//! The files of a version, as the kernel's replay of the log finds them and in the log's own words.
//!
//! Promises: nothing that the log says of a file is interpreted here, so that a file that was followed and one of a snapshot are read
//! alike: values of partitions are the log's text, and statistics are whatever stands there.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use buoyant_kernel::engine_data::{FilteredRowVisitor, GetData, RowIndexIterator, TypedGetData};
use buoyant_kernel::expressions::ColumnName;
use buoyant_kernel::scan::{PartitionValuesOptions, StatsOptions};
use buoyant_kernel::schema::{DataType, MapType};
use buoyant_kernel::{DeltaResult, Engine, Error as KernelError, Snapshot};
use deltalake::kernel::{Add, DeletionVectorDescriptor, StorageType};

use crate::model::location::decode;

/// By path.
pub(super) type Live = BTreeMap<String, Add>;

/// Blocks while it waits for storage.
pub(super) fn replay(snapshot: Arc<Snapshot>, engine: &dyn Engine) -> DeltaResult<Live> {
    let scan = snapshot
        .scan_builder()
        .with_stats(StatsOptions::json_only())
        .with_partition_values(PartitionValuesOptions::string_map_only())
        .without_row_transforms()
        .build()?;
    let mut files = Files::default();
    for found in scan.scan_metadata(engine)? {
        files.visit_rows_of(&found?.scan_files)?;
    }
    Ok(files.0)
}

#[derive(Default)]
struct Files(Live);

impl FilteredRowVisitor for Files {
    fn selected_column_names_and_types(&self) -> (&'static [ColumnName], &'static [DataType]) {
        static COLUMNS: LazyLock<(Vec<ColumnName>, Vec<DataType>)> = LazyLock::new(|| {
            let texts = || DataType::from(MapType::new(DataType::STRING, DataType::STRING, true));
            [
                (&["path"][..], DataType::STRING),
                (&["size"], DataType::LONG),
                (&["modificationTime"], DataType::LONG),
                (&["stats"], DataType::STRING),
                (&["deletionVector", "storageType"], DataType::STRING),
                (&["deletionVector", "pathOrInlineDv"], DataType::STRING),
                (&["deletionVector", "offset"], DataType::INTEGER),
                (&["deletionVector", "sizeInBytes"], DataType::INTEGER),
                (&["deletionVector", "cardinality"], DataType::LONG),
                (&["fileConstantValues", "partitionValues"], texts()),
            ]
            .map(|(name, data_type)| (ColumnName::new(name.iter().copied()), data_type))
            .into_iter()
            .unzip()
        });
        (&COLUMNS.0, &COLUMNS.1)
    }

    fn visit_filtered<'a>(&mut self, columns: &[&'a dyn GetData<'a>], rows: RowIndexIterator<'_>) -> DeltaResult<()> {
        let [path, size, modified, stats, kind, vector, offset, bytes, cardinality, partition] = columns else {
            return Err(KernelError::generic("the kernel gives other columns than were asked for"));
        };
        for row in rows {
            let Some(path): Option<String> = path.get_opt(row, "path")? else { continue };
            let kind: Option<String> = kind.get_opt(row, "storageType")?;
            let deletion_vector = match kind {
                None => None,
                Some(kind) => Some(DeletionVectorDescriptor {
                    storage_type: match kind.as_str() {
                        "u" => StorageType::UuidRelativePath,
                        "i" => StorageType::Inline,
                        "p" => StorageType::AbsolutePath,
                        _ => return Err(KernelError::generic(format!("deletion vector of unknown kind \"{kind}\""))),
                    },
                    path_or_inline_dv: vector.get(row, "pathOrInlineDv")?,
                    offset: offset.get_opt(row, "offset")?,
                    size_in_bytes: bytes.get(row, "sizeInBytes")?,
                    cardinality: cardinality.get(row, "cardinality")?,
                }),
            };
            let values = partition.get_map(row, "partitionValues")?.map(|values| values.materialize());
            let add = Add {
                path: decode(&path).unwrap_or(path),
                // What is not there is NULL.
                partition_values: values.into_iter().flatten().map(|(name, value)| (name, Some(value))).collect(),
                size: size.get(row, "size")?,
                modification_time: TypedGetData::<i64>::get_opt(*modified, row, "modificationTime")?.unwrap_or(0),
                data_change: true,
                stats: stats.get_opt(row, "stats")?,
                deletion_vector,
                ..Default::default()
            };
            self.0.insert(add.path.clone(), add);
        }
        Ok(())
    }
}
