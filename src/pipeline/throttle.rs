//! Backpressure: whether a pipeline may load now, or consumers, the outbox, the disk or its rate hold it back.
//!
//! Promises: what holds it back is shown in millrace.pipelines, with since when; it goes on by itself once that is over.

use crate::catalog::{events, limits};
use crate::model::Result;
use crate::model::pipeline::Pipeline;
use crate::pg::disk;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::scope;

/// The reason that is over after a moment.
pub const BY_RATE: &str = "max_rows_per_second";

/// What reasons begin with that are over once the outbox is emptied.
pub const BY_OUTBOX: &str = "max_outbox_chunks";

/// Why the pipeline is not to load now; `None`: nothing holds it back. What is shown follows.
pub fn throttled_by(mode: Mode, pipeline: &Pipeline) -> Result<Option<String>> {
    let options = &pipeline.options;
    transaction::run(mode, || {
        scope::catalog(|| {
            let by_disk = match options.min_free_disk {
                Some(least) => Some(disk::free()?).filter(|free| *free < least),
                None => None,
            };
            let limited =
                [options.max_lag_chunks, options.max_lag_bytes, options.max_outbox_chunks, options.max_rows_per_second]
                    .iter()
                    .any(Option::is_some);
            let reason = match by_disk {
                Some(_) => Some("min_free_disk: the disk of the database has less room".to_string()),
                None if limited => limits::throttled_by(pipeline.id, options)?,
                None => None,
            };
            let shown = limits::shown(pipeline.id)?;
            // The rate holds back a little behind every chunk: that is no news each time.
            let rate = |r: &Option<String>| r.as_deref() == Some(BY_RATE);
            if reason != shown {
                limits::show(pipeline.id, reason.as_deref())?;
                if reason.is_some() != shown.is_some() && !rate(&reason) && !rate(&shown) {
                    let kind = if reason.is_some() { "pipeline_throttled" } else { "pipeline_released" };
                    events::record(&pipeline.name, kind, None, reason.as_deref(), None)?;
                }
            }
            Ok(reason)
        })
    })
}
