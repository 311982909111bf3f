//! Half a year of a shop's real invoices, a file a day, and the figures they must give.
//!
//! The files lie outside the project (`<shared>/data/online_retail`); the figures were computed with decimal arithmetic
//! by another program, so they check the whole flow and not the flow against itself.

use crate::azurite::Azurite;
use crate::lake::{self, Storage};
use crate::server::{Server, land, url};
use crate::sql::{Session, quote};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const ROWS: i64 = 209_029;
pub const FILES: usize = 141;
/// Rows, sum(Quantity), sum(Quantity×UnitPrice), rows without customer, distinct customers, countries.
pub const TOTALS: &str = "209029|1950544|3706827.641|59976|2767|36";
/// Rows whose quantity and price are above zero, and their amount.
pub const SOLD: &str = "203954|4064726.591";
/// Rows, amount and distinct customers of three countries.
pub const COUNTRIES: [&str; 3] =
    ["EIRE|2520|84635.69|3", "Germany|3594|91688.25|57", "United Kingdom|192586|3117720.121|2508"];
pub const WITH_CUSTOMER: i64 = ROWS - 59_976;

pub const COLUMNS: &str = "InvoiceNo text, StockCode text, Description text, Quantity int, InvoiceDate timestamp, \
     UnitPrice numeric, CustomerID text, Country text";

pub const AGGREGATE: &str = "SELECT country, count(*) AS invoice_lines, count(*) FILTER (WHERE quantity > 0 AND unitprice > 0) AS sold_lines, \
     avg(unitprice) AS avg_price, avg(unitprice) FILTER (WHERE quantity > 0) AS avg_price_sold, \
     sum(quantity * unitprice) AS amount, sum(quantity * unitprice) FILTER (WHERE quantity > 0 AND unitprice > 0) AS sold_amount, \
     count(DISTINCT customerid) AS customers, count(DISTINCT customerid) FILTER (WHERE quantity < 0) AS returning_customers \
     FROM staging.invoices GROUP BY country";

/// The folder with `data/`, or None where this machine doesn't have it.
pub fn shared() -> Option<PathBuf> {
    let shared = match std::env::var_os("MILLRACE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared"),
    };
    shared.join("data/online_retail").is_dir().then_some(shared)
}

/// The invoices in order of their days.
pub fn files() -> Option<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(shared()?.join("data/online_retail"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    assert_eq!(files.len(), FILES);
    Some(files)
}

/// Where a test's pipeline keeps its things.
pub struct Places {
    pub landing: PathBuf,
    pub raw: PathBuf,
    pub semi_processed: PathBuf,
    pub processed: PathBuf,
    /// With the name of the test's own directory there.
    azurite: Option<(Arc<Azurite>, String)>,
}

impl Places {
    pub fn new(server: &Server, name: &str) -> Places {
        let lake = server.create_dir(&format!("{name}_lake"));
        Places {
            landing: server.create_dir(&format!("{name}_landing")),
            raw: lake.join("raw"),
            semi_processed: lake.join("semi_processed"),
            processed: lake.join("processed"),
            azurite: None,
        }
    }

    /// The same on any storage, with what the session's user needs to get there.
    pub fn on(storage: Storage, server: &Server, session: &mut Session, name: &str) -> Places {
        let mut places = Places::new(server, name);
        if storage == Storage::Azurite {
            let azurite = lake::shared_azurite();
            session.execute(&lake::create_server(&azurite));
            session.execute(&lake::create_mapping(&azurite));
            places.azurite = Some((azurite, name.to_owned()));
        }
        places
    }

    pub fn url(&self, place: &Path) -> String {
        match &self.azurite {
            Some((azurite, name)) => {
                format!("{}/{name}/{}", lake::location(azurite), place.file_name().unwrap().display())
            }
            None => url(place),
        }
    }

    /// What another reader of Delta tables needs to get there, as an object of JSON.
    pub fn outsider_options(&self) -> Option<String> {
        let (azurite, _) = self.azurite.as_ref()?;
        let options = serde_json::json!({
            "account_name": azurite.account(), "account_key": azurite.key(), "endpoint": azurite.endpoint(), "allow_http": "true"
        });
        Some(options.to_string())
    }

    /// Puts an invoice file into the landing directory.
    pub fn land(&self, file: &Path) {
        self.put(file.file_name().unwrap().to_str().unwrap(), &std::fs::read(file).unwrap());
    }

    /// Puts a file into the landing directory.
    pub fn put(&self, name: &str, content: &[u8]) {
        let Some((azurite, test)) = &self.azurite else { return land(&self.landing, name, content) };
        lake::put(azurite, &format!("{test}/{}/{name}", self.landing.file_name().unwrap().display()), content);
    }
}

/// The pipeline of the issue: raw and semi-processed layers, an aggregate per country that is published.
/// `every` is SQL: NULL, or a quoted interval.
pub fn create_pipeline(session: &mut Session, places: &Places, columns: &str, every: &str) {
    session.execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS staging;
         SELECT millrace.create_pipeline('invoices', source => {}, columns => {}, staging => 'staging.invoices',
                raw => {}, semi_processed => {}, every => {every}, options => '{{\"settle\": 0}}')",
        quote(&format!("{}/*.csv", places.url(&places.landing))),
        quote(columns),
        quote(&places.url(&places.raw)),
        quote(&places.url(&places.semi_processed)),
    ));
}

pub fn create_aggregate(session: &mut Session, places: &Places) {
    session.execute(&format!(
        "SELECT millrace.create_aggregate('invoices', 'by_country', {}, publish => {})",
        quote(AGGREGATE),
        quote(&places.url(&places.processed))
    ));
}

/// What was landed and loaded so far.
pub fn records_loaded(session: &mut Session) -> i64 {
    session.number("SELECT coalesce(sum(row_count + reject_count), 0) FROM millrace.chunks WHERE pipeline = 'invoices'")
}

pub fn all_published(session: &mut Session) -> bool {
    session.number("SELECT count(*) FROM millrace.publications WHERE pipeline = 'invoices' AND state <> 'done'") == 0
}

/// The figures of a table with the invoices' columns, in the order of [`TOTALS`].
pub fn totals(session: &mut Session, table: &str) -> String {
    session.line(&format!(
        "SELECT count(*), sum(quantity), sum(quantity * unitprice), count(*) FILTER (WHERE customerid IS NULL),
                count(DISTINCT customerid), count(DISTINCT country) FROM {table}"
    ))
}

/// Staging, rejects and the aggregate hold what the invoices say, to the last digit.
pub fn assert_exact(session: &mut Session) {
    assert_eq!(totals(session, "staging.invoices"), TOTALS);
    assert_eq!(session.number("SELECT count(*) FROM staging.invoices_rejects"), 0);
    assert_eq!(
        session.lines(
            "SELECT country, invoice_lines, amount, customers FROM staging.by_country
             WHERE country IN ('EIRE', 'Germany', 'United Kingdom') ORDER BY country COLLATE \"C\""
        ),
        COUNTRIES
    );
    assert_eq!(
        session.line("SELECT sum(invoice_lines), count(*), sum(amount) FROM staging.by_country"),
        "209029|36|3706827.641"
    );
    assert_eq!(session.line("SELECT sum(sold_lines), sum(sold_amount) FROM staging.by_country"), SOLD);
    assert_view_is_recompute(session, "staging.by_country", AGGREGATE);
}

/// The view shows what its query over the whole table shows: no row more, none less, no digit different.
pub fn assert_view_is_recompute(session: &mut Session, view: &str, query: &str) {
    let differing = session.lines(&format!(
        "(SELECT 'kept', t::text FROM {view} t EXCEPT ALL SELECT 'kept', t::text FROM ({query}) t)
         UNION ALL (SELECT 'recomputed', t::text FROM ({query}) t EXCEPT ALL SELECT 'recomputed', t::text FROM {view} t)"
    ));
    assert!(differing.is_empty(), "{view} differs from its query:\n{}", differing.join("\n"));
}

/// `verify()` finds nothing wrong, and has looked.
pub fn assert_verified(session: &mut Session, pipeline: &str) {
    let verify = format!("SELECT * FROM millrace.verify({})", quote(pipeline));
    assert!(session.number(&format!("SELECT count(*) FROM ({verify}) v")) > 0, "verify checked nothing");
    let wrong = session
        .lines(&format!("SELECT layer, check_name, expected, found, detail FROM ({verify}) v WHERE ok IS NOT TRUE"));
    assert!(wrong.is_empty(), "verify finds:\n{}", wrong.join("\n"));
}

/// Chunk numbers run from 1 to the head without a gap, and no file was loaded twice.
pub fn assert_dense(session: &mut Session) {
    let (count, last) = (
        session.number("SELECT count(*) FROM millrace.chunks WHERE pipeline = 'invoices'"),
        session.number("SELECT max(chunk_no) FROM millrace.chunks WHERE pipeline = 'invoices'"),
    );
    assert_eq!(count, last, "chunk_no has a gap");
    assert_eq!(session.number("SELECT min(chunk_no) FROM millrace.chunks WHERE pipeline = 'invoices'"), 1);
    assert_eq!(
        session.line("SELECT count(*), count(DISTINCT path), sum(rows + rejects) FROM millrace.files WHERE pipeline = 'invoices' AND state = 'loaded'"),
        format!("{FILES}|{FILES}|{ROWS}")
    );
}
