//! Making a pipeline over a Delta table: what is there, its columns, and where reading begins; and beginning anew.

use serde_json::Value;

use crate::catalog::{backfills, events, pipelines};
use crate::convert::identifier::folded;
use crate::convert::infer::column_list;
use crate::convert::typed::column_type;
use crate::lake::delta::{Follower, Table, is_delta_table, open_newest};
use crate::model::location::Location;
use crate::model::offset::Offset;
use crate::model::options::{ChangeFeed, OnChange, Options};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::{runtime, spi, user};
use crate::pipeline::define::{Wanted, lock_own, require_owner};
use crate::pipeline::{access, scope};

/// Options that say how landing files are found and written, and mean nothing here.
const OF_FILES: &[&str] = &[
    "recursive",
    "settle",
    "on_replaced",
    "identity",
    "cleanup",
    "archive",
    "order",
    "compression",
    "encoding",
    "header",
    "delimiter",
    "quote",
    "escape",
    "null",
    "multiline",
    "max_attempts",
];

/// Columns that every staging table has for itself.
const OURS: &[&str] = &["_chunk_no", "_row_no", "_op"];

/// The table that the caller names as a source: because of `format`, or because that is what lies there.
pub fn find(source: &str, format: Option<&str>) -> Result<Option<Table>> {
    if !matches!(format, None | Some("delta")) {
        return Ok(None);
    }
    let location = Location::parse(source)?;
    if location.split_glob().1.is_some() && format.is_none() {
        return Ok(None);
    }
    let credentials = access::credentials(user::current().to_u32(), &location)?;
    let sure = format.is_some();
    runtime::wait(async move {
        if !sure && !is_delta_table(&location, &credentials).await? {
            return Ok(None);
        }
        open_newest(&location, &credentials).await.map(Some)
    })
}

/// Refuses what has no meaning for this kind of source.
pub fn check(wanted: &Wanted<'_>, options: &Options, is_delta: bool) -> Result<()> {
    check_options(wanted.options, is_delta)?;
    if is_delta && wanted.raw.is_some() {
        return Err(Error::new(Code::InvalidParameter, "a pipeline over a Delta table has no raw layer")
            .detail("The table itself keeps what was there.")
            .hint("Leave raw out."));
    }
    check_apply(options)
}

/// Refuses a change of options that could not count.
pub fn check_change(pipeline: &Pipeline, given: &Value, options: &Options) -> Result<()> {
    check_options(given, pipeline.format == "delta")?;
    if let Some(key) = ["start_version", "start_timestamp"].into_iter().find(|key| given.get(key).is_some()) {
        return Err(Error::new(Code::InvalidParameter, format!("option \"{key}\" counts when a pipeline is created"))
            .detail(format!("Pipeline \"{}\" has begun to read.", pipeline.name))
            .hint("Create another pipeline, or begin anew with CALL millrace.resnapshot(…)."));
    }
    check_apply(options)
}

fn check_apply(options: &Options) -> Result<()> {
    if options.on_change != OnChange::Apply {
        if options.change_feed == ChangeFeed::Auto {
            return Ok(());
        }
        return Err(Error::new(Code::InvalidParameter, "option \"change_feed\" needs \"on_change\": \"apply\"")
            .detail("It says how changes are learnt of, and none are taken.")
            .hint("Add \"on_change\": \"apply\" and \"primary_key\", or leave it out."));
    }
    let deciding = [
        ("order_by", !options.order_by.is_empty()),
        ("on_conflict", options.on_conflict.is_some()),
        ("delete_when", options.delete_when.is_some()),
    ];
    if let Some((name, _)) = deciding.into_iter().find(|(_, given)| *given) {
        return Err(Error::new(
            Code::InvalidParameter,
            format!("option \"{name}\" has no meaning with \"on_change\": \"apply\""),
        )
        .detail("Staging is what the Delta table is: its versions alone decide.")
        .hint("Leave it out, or choose another \"on_change\"."));
    }
    if !options.primary_key.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidParameter, "option \"on_change\": \"apply\" needs \"primary_key\"")
        .detail("Only rows that have a key can be changed and deleted in staging.")
        .hint("Add \"primary_key\": [\"column\", …], or choose \"skip\"."))
}

/// Refuses options that have no meaning for this kind of source.
fn check_options(given: &Value, is_delta: bool) -> Result<()> {
    let of_delta: &[&str] = &["start_version", "start_timestamp", "on_change", "change_feed"];
    let (refused, kind) = if is_delta { (OF_FILES, "a Delta table") } else { (of_delta, "landing files") };
    let keys = given.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
    match keys.into_iter().find(|key| refused.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::new(Code::InvalidParameter, format!("option \"{key}\" has no meaning for {kind}"))
            .detail("The pipeline's source decides which options there are.")
            .hint("Leave it out.")),
    }
}

/// The table's columns as in CREATE TABLE, without those that each staging table has for itself.
pub fn columns(table: &Table) -> String {
    let schema = table.schema();
    let fields = schema.fields().iter().filter(|f| !OURS.contains(&f.name().as_str()));
    let columns: Vec<(String, String)> = fields.map(|f| (folded(f.name()), column_type(f))).collect();
    column_list(&columns)
}

/// Where a new pipeline begins to read.
pub fn start(table: Table, options: &Options) -> Result<Offset> {
    if options.change_feed == ChangeFeed::Always && !table.has_feed() {
        return Err(Error::new(Code::InvalidParameter, "the Delta table writes no change data feed")
            .detail(format!("location: {}: option \"change_feed\" is true", table.location()))
            .hint("ALTER TABLE ... SET TBLPROPERTIES (delta.enableChangeDataFeed = true), or leave the option out."));
    }
    let moment: Option<i64> = match &options.start_timestamp {
        None => None,
        Some(text) => {
            spi::value("SELECT (EXTRACT(epoch FROM $1::timestamptz) * 1000)::bigint", vec![text.as_str().into()])?
        }
    };
    let (version, existing) = (options.start_version, options.include_existing);
    let credentials = access::credentials(user::current().to_u32(), table.location())?;
    runtime::wait(async move {
        let next = match (version, moment) {
            (Some(version), _) => version,
            (None, Some(millis)) => table.version_from(millis).await?,
            (None, None) if existing => return Ok(Offset::new(table.id(), table.version(), true)),
            (None, None) => table.version() + 1,
        };
        if next > table.version() + 1 {
            return Err(Error::new(Code::InvalidParameter, format!("the Delta table has no version {next} yet"))
                .detail(format!("location: {}: its newest version is {}", table.location(), table.version()))
                .hint("Name a version that is there, or the one that comes next."));
        }
        // That it is still there is found out now.
        let follower = Follower::open(table.location(), &credentials, next).await?;
        Ok(Offset::new(follower.table().id(), next, false))
    })
}

/// Begins anew with the table as it is now, or with what comes next.
pub fn resnapshot(name: &str, load_existing: bool) -> Result<()> {
    let seen = scope::catalog(|| pipelines::by_name(name))?;
    require_owner(&seen, "resnapshot")?;
    if seen.format != "delta" {
        return Err(Error::new(Code::WrongState, format!("the source of pipeline \"{name}\" is no Delta table"))
            .detail("Landing files are known one by one.")
            .hint("SELECT * FROM millrace.files shows them."));
    }
    let location = Location::parse(&seen.source)?;
    let credentials = access::credentials(seen.owner, &location)?;
    let table = runtime::wait(async move { open_newest(&location, &credentials).await })?;
    let pipeline = lock_own(name, "resnapshot")?;
    scope::catalog(|| {
        let position = pipelines::position(pipeline.id)?;
        let generation = backfills::new_generation(pipeline.id)? as u32;
        let version = if load_existing { table.version() } else { table.version() + 1 };
        let mut offset = Offset { generation, ..Offset::new(table.id(), version, load_existing) };
        if load_existing && pipeline.options.on_change == OnChange::Apply {
            offset.sweep = position.map(|p| p.head);
        }
        pipelines::set_source(pipeline.id, &offset)?;
        pipelines::set_state(pipeline.id, "active", None)?;
        pipelines::clear_failures(pipeline.id)?;
        let what = match load_existing {
            true => format!("the whole table is read as it is at version {version}"),
            false => format!("reading goes on with version {version}; what was before and not read stays out"),
        };
        events::record(name, "resnapshot", None, Some(&what), None)
    })
}
