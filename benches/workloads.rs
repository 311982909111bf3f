//! What is measured, and against what. Each way drops what an earlier run left, sets up, and gives the SQL that is timed (statements
//! that need a transaction of their own are divided by `;;`).

use crate::data::COLUMNS;
use crate::place::{Place, ROWS_PER_FILE};

pub struct Workload {
    pub name: &'static str,
    pub against: &'static str,
    pub want: f64,
    /// The ratio is of times, and is to be at most `want`; else of rows a second, and at least.
    pub is_cost: bool,
    pub ours: fn(&mut Place) -> String,
    pub baseline: fn(&mut Place) -> String,
}

pub fn all() -> Vec<Workload> {
    let rate = |name, want, ours, against, baseline| Workload { name, against, want, is_cost: false, ours, baseline };
    let cost = |name, want, ours, against, baseline| Workload { name, against, want, is_cost: true, ours, baseline };
    vec![
        rate("Delta, 3 commits → staging", 2.0, |p| follow(p, "delta_few"), "COPY CSV", copy_whole),
        rate("Delta, 3 commits → staging (heap and WAL)", 0.85, |p| follow(p, "delta_few"), "INSERT … SELECT", select),
        rate(
            "Delta, a commit a file → staging, a chunk each",
            1.7,
            |p| follow(p, "delta_many"),
            "COPY CSV",
            copy_whole,
        ),
        rate("CSV files → staging, a chunk each", 1.8, |p| load(p, "csv", 1), "COPY, a commit a file", copy_each),
        rate(
            "seed pipeline: CSV → raw → staging, rules, aggregate → processed",
            1.0,
            seed,
            "COPY, a commit a file",
            copy_each,
        ),
        rate("JSON lines → staging", 1.2, |p| load(p, "json", 1000), "COPY CSV", copy_whole),
        rate("gzip CSV → staging", 1.5, |p| load(p, "gzip", 1000), "COPY CSV", copy_whole),
        rate("Parquet files → staging", 2.0, |p| load(p, "parquet", 1000), "COPY CSV", copy_whole),
        rate("keyed: upserts of the rows by customer and step", 1.0, keyed, "INSERT … ON CONFLICT", upsert),
        cost("five expectations, all rows good", 1.1, with_rules, "none", |p| load(p, "csv", 1)),
        cost(
            "half of the rows rejected",
            2.0,
            |p| hashed(p, "= 0"),
            "none of them, by the same rule",
            |p| hashed(p, "< 2"),
        ),
        cost("average, count, distinct women per merchant", 1.35, with_aggregate, "none", |p| load(p, "csv", 1)),
        cost(
            "chunks into 1,000,000 groups",
            1.5,
            |p| into_groups(p, 1_000_000),
            "into 1,000",
            |p| into_groups(p, 1_000),
        ),
    ]
}

fn create(place: &mut Place, source: &str, more: &str, options: &str) {
    place.execute(
        "DO $$ BEGIN PERFORM millrace.drop_pipeline('p', drop_tables => true); EXCEPTION WHEN undefined_object THEN END $$",
    );
    place.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{source}', staging => 'staging.p', every => NULL, {more} options => '{{{options}}}')"
    ));
}

const RUN: &str = "CALL millrace.run('p')";

fn load(place: &mut Place, format: &str, files_a_chunk: usize) -> String {
    let source = place.url(format);
    create(place, &source, &format!("columns => '{COLUMNS}',"), &format!("\"max_files_per_chunk\": {files_a_chunk}"));
    RUN.into()
}

fn follow(place: &mut Place, table: &str) -> String {
    let source = format!("{}/table", place.url(table));
    create(place, &source, &format!("format => 'delta', columns => '{COLUMNS}',"), "");
    RUN.into()
}

const STATS: &str = "SELECT merchant, avg(amount) AS avg_amount, count(*) AS transactions, count(DISTINCT customer) FILTER (WHERE gender = ''F'') \
    AS female_customers FROM staging.p GROUP BY merchant";

fn seed(place: &mut Place) -> String {
    let (csv, lake) = (place.url("csv"), place.fresh_dir("seed"));
    create(place, &csv, &format!("columns => '{COLUMNS}', raw => '{lake}/raw',"), "\"max_files_per_chunk\": 1");
    place.execute("SELECT millrace.add_expectation('p', 'amount', 'amount > 0'), millrace.add_expectation('p', 'merchant', 'merchant <> ''''')");
    place.execute(&format!("SELECT millrace.create_aggregate('p', 'stats', '{STATS}', publish => '{lake}/processed')"));
    RUN.into()
}

fn with_aggregate(place: &mut Place) -> String {
    let run = load(place, "csv", 1);
    place.execute(&format!("SELECT millrace.create_aggregate('p', 'stats', '{STATS}')"));
    run
}

/// Chunks that each touch a thousand groups, evenly spread over those that are there.
fn into_groups(place: &mut Place, groups: usize) -> String {
    let url = place.fresh_dir("groups");
    let file = |place: &Place, name: &str| place.dir.join("groups").join(name).display().to_string();
    create(place, &url, "columns => 'k bigint, x numeric(12,2)',", "\"max_files_per_chunk\": 1, \"settle\": 0");
    let query = "SELECT k, count(*) AS n, avg(x) AS mean FROM staging.p GROUP BY k";
    place.execute(&format!("SELECT millrace.create_aggregate('p', 'stats', '{query}')"));
    let first = file(place, "0000.csv");
    place.execute(&format!(
        "COPY (SELECT k, 1 AS x FROM generate_series(1, {groups}) AS k) TO '{first}' (FORMAT csv, HEADER)"
    ));
    place.execute(RUN);
    for number in 1..=place.files {
        let (next, width) = (file(place, &format!("{number:04}.csv")), groups / 1000);
        place.execute(&format!(
            "COPY (SELECT (i % 1000) * {width} + {number} % {width} + 1 AS k, i AS x FROM generate_series(1, {ROWS_PER_FILE}) AS i)
               TO '{next}' (FORMAT csv, HEADER)"
        ));
    }
    RUN.into()
}

fn with_rules(place: &mut Place) -> String {
    let run = load(place, "csv", 1);
    for (i, rule) in [
        "amount >= 0",
        "step >= 0",
        "gender IN (''F'', ''M'', ''E'', ''U'')",
        "merchant <> ''''",
        "fraud BETWEEN 0 AND 1",
    ]
    .iter()
    .enumerate()
    {
        place.execute(&format!("SELECT millrace.add_expectation('p', 'rule {i}', '{rule}')"));
    }
    run
}

/// A rule by what is left of a hash's division by two: any of -1, 0 and 1.
fn hashed(place: &mut Place, remainder: &str) -> String {
    let run = load(place, "csv", 1);
    place.execute(&format!("SELECT millrace.add_expectation('p', 'half', 'hashtext(transaction_id) % 2 {remainder}')"));
    run
}

fn keyed(place: &mut Place) -> String {
    let csv = place.url("csv");
    create(
        place,
        &csv,
        &format!("columns => '{COLUMNS}',"),
        "\"max_files_per_chunk\": 1, \"primary_key\": [\"customer\", \"step\"], \"on_conflict\": \"newest\", \"order_by\": [\"event_time\"]",
    );
    RUN.into()
}

fn upsert(place: &mut Place) -> String {
    place.execute(&format!("DROP TABLE IF EXISTS plain; CREATE TABLE plain ({COLUMNS}, PRIMARY KEY (customer, step))"));
    "INSERT INTO plain AS t SELECT DISTINCT ON (customer, step) * FROM source ORDER BY customer, step, event_time DESC
     ON CONFLICT (customer, step) DO UPDATE SET transaction_id = EXCLUDED.transaction_id, event_time = EXCLUDED.event_time,
         amount = EXCLUDED.amount, merchant = EXCLUDED.merchant WHERE t.event_time <= EXCLUDED.event_time"
        .into()
}

fn plain(place: &mut Place) {
    place.execute(&format!("DROP TABLE IF EXISTS plain; CREATE TABLE plain ({COLUMNS})"));
}

fn copies(place: &mut Place, separator: &str) -> String {
    plain(place);
    let copies: Vec<String> = place
        .paths("csv")
        .iter()
        .map(|path| format!("COPY plain FROM '{}' (FORMAT csv, HEADER)", path.display()))
        .collect();
    copies.join(separator)
}

fn copy_each(place: &mut Place) -> String {
    copies(place, ";;")
}

/// In one transaction.
fn copy_whole(place: &mut Place) -> String {
    copies(place, ";")
}

fn select(place: &mut Place) -> String {
    plain(place);
    "INSERT INTO plain SELECT * FROM source".into()
}
