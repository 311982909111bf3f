//! How a layer is published: what a version holds, how often there is one, and how its table is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::options::{Options, duration, read};
use crate::model::{Code, Error, Result, keyed};

/// What one version of a published table does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PublishMode {
    /// It adds what the chunks brought or changed, with their numbers.
    #[default]
    Append,
    /// It puts the present state in place of the one before.
    Overwrite,
}

/// Versions from one checkpoint to the next, where nothing else is said.
pub const CHECKPOINT_EVERY: u32 = 100;

/// While there is more to load, chunks are published together this often where nothing else is said: a commit for each would cost as
/// much as loading them.
pub const WHILE_BUSY: Duration = Duration::from_secs(1);

/// The options of an aggregate: how it is published, and how exact it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct LayerOptions {
    /// What a version of the table holds: the groups that `append` says have changed, with `_chunk_no`, or the whole state (`overwrite`).
    pub publish_mode: PublishMode,
    /// How long chunks wait to be published together. `None`: as the pipeline says.
    #[serde(with = "duration::optional")]
    pub publish_every: Option<Duration>,
    /// Versions from one checkpoint of the table to the next. `None`: as the pipeline says.
    pub checkpoint_every: Option<u32>,
    /// Columns that the table is partitioned by.
    #[serde(deserialize_with = "keyed::names")]
    pub partition_by: Vec<String>,
    /// Distinct values are counted by sketch.
    pub approx: bool,
}

/// How one layer is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Publishing {
    pub mode: PublishMode,
    pub every: Option<Duration>,
    pub checkpoint_every: u64,
    pub partition_by: Vec<String>,
}

impl LayerOptions {
    pub fn parse(value: &Value) -> Result<LayerOptions> {
        if !value.is_object() {
            return Err(Error::new(Code::InvalidParameter, "options must be a JSON object")
                .detail(format!("It is {value}."))
                .hint("Write options => '{\"publish_mode\": \"overwrite\"}'."));
        }
        let options: LayerOptions = read(value)?;
        check_checkpoint_every(options.checkpoint_every.unwrap_or(CHECKPOINT_EVERY))?;
        Ok(options)
    }

    /// Where the pipeline is asked for what these leave open.
    pub fn beside(&self, pipeline: &Options) -> Publishing {
        Publishing {
            mode: self.publish_mode,
            every: self.publish_every.or(pipeline.publish_every),
            checkpoint_every: u64::from(self.checkpoint_every.unwrap_or(pipeline.checkpoint_every)),
            partition_by: self.partition_by.clone(),
        }
    }
}

impl Options {
    /// How the semi-processed layer is published.
    pub fn publishing(&self) -> Publishing {
        Publishing {
            mode: self.publish_mode,
            every: self.publish_every,
            checkpoint_every: u64::from(self.checkpoint_every),
            partition_by: self.partition_by.clone(),
        }
    }

    /// Refuses options of a layer that there is not, or that has no state of its own.
    pub fn check_publishing(&self, has_layer: bool) -> Result<()> {
        if self.publish_mode == PublishMode::Overwrite && self.primary_key.is_empty() {
            return Err(Error::new(
                Code::InvalidParameter,
                "option \"publish_mode\": \"overwrite\" needs \"primary_key\"",
            )
            .detail("Rows without a key never change, so that there is no state but all of them.")
            .hint("Leave it out: each row is then published once."));
        }
        let given = [
            ("publish_mode", self.publish_mode != PublishMode::default()),
            ("partition_by", !self.partition_by.is_empty()),
        ];
        match given.iter().find(|(_, given)| *given && !has_layer) {
            Some((name, _)) => {
                Err(Error::new(Code::InvalidParameter, format!("option \"{name}\" needs a semi-processed layer"))
                    .detail("It says how the clean rows are published, and semi_processed names no place for them.")
                    .hint("Give semi_processed, or leave the option out."))
            }
            None => Ok(()),
        }
    }
}

/// A checkpoint must come some time, and some versions behind the one before.
pub fn check_checkpoint_every(versions: u32) -> Result<()> {
    if (2..=100_000).contains(&versions) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidParameter, "option \"checkpoint_every\" must be from 2 to 100000 versions")
        .detail(format!("It is {versions}."))
        .hint(format!("Leave it out for its default of {CHECKPOINT_EVERY}.")))
}

impl Publishing {
    /// True where chunks of which the oldest was sealed so long ago are to be published now.
    pub fn is_due(&self, age: Duration, busy: bool) -> bool {
        match self.every {
            Some(every) => age >= every,
            None => !busy || age >= WHILE_BUSY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chunks_wait_for_others_while_there_are_others_or_as_long_as_was_asked_for() {
        let second = Duration::from_secs(1);
        let mut publishing = LayerOptions::default().beside(&Options::default());
        assert!(publishing.is_due(Duration::ZERO, false));
        assert!(!publishing.is_due(second / 2, true) && publishing.is_due(second, true));
        publishing.every = Some(second * 60);
        assert!(!publishing.is_due(second * 59, false) && publishing.is_due(second * 60, true));
    }

    #[test]
    fn what_an_aggregate_leaves_open_is_as_its_pipeline_says() {
        let pipeline = Options::parse(&json!({"publish_every": "1 minute", "checkpoint_every": 10})).unwrap();
        let own = LayerOptions::parse(&json!({"publish_mode": "overwrite", "publish_every": 0})).unwrap();
        let both = own.beside(&pipeline);
        assert_eq!((both.mode, both.every, both.checkpoint_every), (PublishMode::Overwrite, Some(Duration::ZERO), 10));
        assert_eq!(LayerOptions::default().beside(&pipeline).every, Some(Duration::from_secs(60)));
    }

    #[test]
    fn options_that_make_no_sense_are_refused_with_a_way_round() {
        for bad in [json!({"publish_mode": "merge"}), json!({"checkpoint_every": 1}), json!({"publish": 1}), json!([])]
        {
            let e = LayerOptions::parse(&bad).unwrap_err();
            assert!(e.detail.is_some() && e.hint.is_some(), "{bad}");
        }
        let keyless = Options { publish_mode: PublishMode::Overwrite, ..Options::default() };
        assert!(keyless.check_publishing(true).unwrap_err().message.contains("primary_key"));
        let nowhere = Options { partition_by: vec!["day".into()], ..Options::default() };
        assert!(nowhere.check_publishing(false).is_err() && nowhere.check_publishing(true).is_ok());
    }
}
