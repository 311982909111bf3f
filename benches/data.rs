//! The rows that all workloads load: simulated transactions, in each format.

use std::process::Command;

use crate::place::{Place, ROWS_PER_FILE};

pub const COLUMNS: &str = "transaction_id text, event_time timestamptz, step int, customer text, age text, gender text, zipcode text, \
    merchant text, category text, amount numeric(12,2), fraud int";

pub fn make(place: &mut Place) {
    let files = place.files;
    eprintln!("simulating {files} files of {ROWS_PER_FILE} rows");
    for format in ["csv", "json", "parquet"] {
        let url = place.fresh_dir(format);
        place.execute(&format!(
            "SELECT millrace.simulate('transactions', '{url}', rows_per_file => {ROWS_PER_FILE}, files => {files}, seed => 1, format => '{format}')"
        ));
    }
    place.fresh_dir("gzip");
    for path in place.paths("csv") {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let packed = std::fs::File::create(place.dir.join("gzip").join(format!("{name}.gz"))).expect("a file");
        let done = Command::new("gzip").args(["-1", "-c"]).arg(&path).stdout(packed).status().expect("gzip runs");
        assert!(done.success(), "gzip of {name}");
    }
    place.execute(&format!("CREATE UNLOGGED TABLE source ({COLUMNS})"));
    for path in place.paths("csv") {
        place.execute(&format!("COPY source FROM '{}' (FORMAT csv, HEADER)", path.display()));
    }
    place.execute("VACUUM ANALYZE source");
    delta(place, "delta_many", 1);
    delta(place, "delta_few", files.div_ceil(3));
}

/// A Delta table of the rows with a commit for so many files: the clean layer of a pipeline.
fn delta(place: &mut Place, name: &str, files_a_commit: usize) {
    let (csv, lake) = (place.url("csv"), place.fresh_dir(name));
    place.execute(&format!(
        "SELECT millrace.create_pipeline('{name}', source => '{csv}/*.csv', columns => '{COLUMNS}', staging => 'staging.{name}',
             semi_processed => '{lake}/table', every => NULL, options => '{{\"max_files_per_chunk\": {files_a_commit}}}')"
    ));
    place.execute(&format!("CALL millrace.run('{name}')"));
    place.execute(&format!("SELECT millrace.drop_pipeline('{name}', drop_tables => true)"));
}
