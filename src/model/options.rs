//! A pipeline's options: the typed form of the `options` argument.
//!
//! Unknown keys are refused with the list of the known ones. Every option has its default here and nowhere else.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::model::dedup::{self, Identity};
use crate::model::keyed::{self, OnConflict};
use crate::model::publishing::{self, PublishMode};
use crate::model::retention::{Keep, size};
use crate::model::{Code, Error, Location, Result};

/// In which order new files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    #[default]
    Path,
    Modified,
}

/// What happens when a file that was loaded is there again with other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnReplaced {
    /// Noted in `millrace.files` as `changed`; the rows stay as they are.
    #[default]
    Ignore,
    /// Its records are loaded as those of a new file; the rows of the earlier version stay.
    Reload,
    /// The pipeline stops.
    Fail,
}

/// What a version of a Delta source means that changed or deleted rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// The pipeline stops before it.
    #[default]
    Fail,
    /// The version is passed over whole, and noted.
    Skip,
    /// The keyed staging table follows.
    Apply,
}

/// Where `on_change` `apply` learns what a version did to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangeFeed {
    /// From the change data feed of each version that wrote one, else from the files that it removed and added.
    #[default]
    Auto,
    /// From a feed alone: a version that changed rows while the table wrote none stops the pipeline.
    Always,
    /// From the files, whether there is a feed or not.
    Never,
}

impl Serialize for ChangeFeed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            ChangeFeed::Auto => s.serialize_str("auto"),
            ChangeFeed::Always => s.serialize_bool(true),
            ChangeFeed::Never => s.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for ChangeFeed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Bool(true) => Ok(ChangeFeed::Always),
            Value::Bool(false) => Ok(ChangeFeed::Never),
            Value::String(text) if text == "auto" => Ok(ChangeFeed::Auto),
            other => Err(serde::de::Error::custom(format!("change_feed is true, false or \"auto\", not {other}"))),
        }
    }
}

/// What CSV and JSON files are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// What each file's content says.
    #[default]
    Auto,
    None,
    Gzip,
    Zstd,
    Snappy,
    Bz2,
}

/// What becomes of a landing file once it is loaded, and published wherever the pipeline publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// It stays.
    #[default]
    None,
    Delete,
    /// It is moved to the location that `archive` names.
    Archive,
}

/// What happens to a column of a file that the staging table has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnNewColumn {
    /// Its values are in the raw layer alone, if there is one.
    #[default]
    Ignore,
    /// The staging table gets the column.
    Add,
    /// Its values go to the column `_rescued`, and so do values that do not fit their own.
    Rescue,
    /// The pipeline stops in front of the chunk.
    Fail,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Also look into directories below.
    pub recursive: bool,
    /// How long a file must have been unchanged before it is read. `None`: what [`Options::settle_at`] says of the storage.
    #[serde(with = "duration::optional")]
    pub settle: Option<Duration>,
    pub max_files_per_chunk: u32,
    pub max_bytes_per_chunk: u64,
    pub max_rows_per_chunk: u64,
    /// False: files, or rows of a Delta table, that are there when the pipeline is created are not loaded.
    pub include_existing: bool,
    /// Delta: the first version whose changes are read; what was there before is not.
    pub start_version: Option<u64>,
    /// Delta: the same by the time of the commit.
    pub start_timestamp: Option<String>,
    /// Delta: what a version means that changed or deleted rows.
    pub on_change: OnChange,
    /// Delta: whether `apply` reads the table's change data feed: `true`, `false`, or `auto`, where there is one.
    pub change_feed: ChangeFeed,
    pub on_replaced: OnReplaced,
    /// What makes two files the same: their names, or also what is in them.
    pub identity: Identity,
    pub cleanup: Cleanup,
    /// Where `cleanup` moves files to.
    pub archive: Option<String>,
    pub order: Order,
    /// CSV and JSON.
    pub compression: Compression,
    /// CSV and JSON: the name of the files' encoding.
    pub encoding: String,
    /// CSV: the first record names the columns.
    pub header: bool,
    pub delimiter: char,
    pub quote: char,
    /// CSV: what stands before a quote inside quotes; by default the quote itself.
    pub escape: Option<char>,
    /// CSV: the unquoted text that means NULL.
    pub null: String,
    /// CSV: quoted fields may hold line ends.
    pub multiline: bool,
    /// What becomes of a column that files have and staging has not: `ignore` it, `add` it, `rescue` its values into `_rescued`, or `fail`.
    pub on_new_column: OnNewColumn,
    /// A chunk of which a larger share would be rejected is not loaded, and the pipeline stops. `None`: no limit.
    pub max_reject_ratio: Option<f64>,
    /// Columns that tell rows apart: staging then holds the present state of each key. Empty: every row is appended.
    #[serde(deserialize_with = "keyed::names")]
    pub primary_key: Vec<String>,
    /// Which of two rows with one key is the newer; empty: the one that came later.
    #[serde(deserialize_with = "keyed::names")]
    pub order_by: Vec<String>,
    /// `None`: newest.
    pub on_conflict: Option<OnConflict>,
    /// A condition in SQL; a row that meets it takes its key away.
    pub delete_when: Option<String>,
    /// Columns that tell the rows of an append pipeline apart: of rows with one key that come within `dedup_window` the first is loaded.
    #[serde(deserialize_with = "keyed::names")]
    pub dedup_key: Vec<String>,
    /// How far back is looked for a row with the same `dedup_key`.
    #[serde(with = "duration::optional")]
    pub dedup_window: Option<Duration>,
    /// A SELECT over the records of a chunk, which it calls `input`: what it makes is what is loaded.
    pub transform: Option<String>,
    /// How often a file that can't be read is tried before it is `dead`.
    pub max_attempts: u32,
    /// Wait after a first failure; doubled after each further one, up to 5 minutes.
    #[serde(with = "duration")]
    pub backoff: Duration,
    /// What is kept in Postgres at least; older partitions are dropped once nobody needs them. `None`: everything.
    pub retention: Option<Keep>,
    /// What is kept for consumers that fall behind, at most. `None`: four times `retention`.
    pub max_retention: Option<Keep>,
    /// What is kept of the rejects; older ones are dropped once no consumer of theirs needs them. `None`: as `retention` says.
    pub rejects_retention: Option<Keep>,
    /// Chunks a partition holds: what retention drops at once. `None`: by `retention`.
    pub chunks_per_partition: Option<u32>,
    /// Loading is held back while the slowest consumer that counts is further behind.
    pub max_lag_chunks: Option<u64>,
    #[serde(with = "size")]
    pub max_lag_bytes: Option<u64>,
    /// Loading is held back while more chunks wait to be published.
    pub max_outbox_chunks: Option<u64>,
    /// Loading is held back while less is free on the disk of the database.
    #[serde(with = "size")]
    pub min_free_disk: Option<u64>,
    /// Loading is slowed down to this many rows a second.
    pub max_rows_per_second: Option<u64>,
    /// What a version of the semi-processed layer holds: the rows or changes of its chunks (`append`), or the state of a keyed
    /// pipeline (`overwrite`).
    pub publish_mode: PublishMode,
    /// How long chunks wait to be published together. `None`: not at all; while there is more to load, a second.
    #[serde(with = "duration::optional")]
    pub publish_every: Option<Duration>,
    /// Versions from one checkpoint of a layer to the next.
    pub checkpoint_every: u32,
    /// Columns that the semi-processed layer is partitioned by.
    #[serde(deserialize_with = "keyed::names")]
    pub partition_by: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            recursive: false,
            settle: None,
            max_files_per_chunk: 1_000,
            max_bytes_per_chunk: 32 * 1024 * 1024,
            max_rows_per_chunk: 1_000_000,
            include_existing: true,
            start_version: None,
            start_timestamp: None,
            on_change: OnChange::Fail,
            change_feed: ChangeFeed::Auto,
            on_replaced: OnReplaced::Ignore,
            identity: Identity::Path,
            cleanup: Cleanup::None,
            archive: None,
            order: Order::Path,
            compression: Compression::Auto,
            encoding: "utf-8".into(),
            header: true,
            delimiter: ',',
            quote: '"',
            escape: None,
            null: String::new(),
            multiline: true,
            on_new_column: OnNewColumn::Ignore,
            max_reject_ratio: None,
            primary_key: vec![],
            order_by: vec![],
            on_conflict: None,
            delete_when: None,
            dedup_key: vec![],
            dedup_window: None,
            transform: None,
            max_attempts: 5,
            backoff: Duration::from_secs(1),
            retention: None,
            max_retention: None,
            rejects_retention: None,
            chunks_per_partition: None,
            max_lag_chunks: None,
            max_lag_bytes: None,
            max_outbox_chunks: None,
            min_free_disk: None,
            max_rows_per_second: None,
            publish_mode: PublishMode::Append,
            publish_every: None,
            checkpoint_every: publishing::CHECKPOINT_EVERY,
            partition_by: vec![],
        }
    }
}

/// Long enough for a writer that appends and flushes block after block.
const SETTLE_WHERE_FILES_GROW: Duration = Duration::from_secs(2);

impl Options {
    /// How long a file at this location must have been unchanged before it is read.
    pub fn settle_at(&self, location: &Location) -> Duration {
        let usual = if location.may_show_growing_files() { SETTLE_WHERE_FILES_GROW } else { Duration::ZERO };
        self.settle.unwrap_or(usual)
    }

    pub fn parse(value: &Value) -> Result<Options> {
        if !value.is_object() {
            return Err(Error::new(Code::InvalidParameter, "options must be a JSON object")
                .detail(format!("It is {value}."))
                .hint("Write options => '{\"settle\": \"2 seconds\"}'."));
        }
        let options: Options = read(value)?;
        options.check()?;
        Ok(options)
    }

    /// Chunks a partition of the staging table holds: wide enough that years of a chunk a second stay within some thousand partitions,
    /// narrow enough that retention keeps little more than it is asked to.
    pub fn partition_chunks(&self) -> i64 {
        let by = |keep: Option<Keep>| match keep {
            None => 10_000,
            Some(Keep::Age(_)) => 1_000,
            Some(Keep::Chunks(n)) => n / 4,
            Some(Keep::Bytes(n)) => n / self.max_bytes_per_chunk / 4,
        };
        self.chunks_per_partition.map_or(by(self.retention).min(by(self.rejects_retention)), u64::from).clamp(1, 10_000)
            as i64
    }

    /// How long consumers that fall behind are waited for.
    pub fn longest_retention(&self) -> Option<Keep> {
        self.retention.map(|keep| self.max_retention.unwrap_or(keep.times(4)))
    }

    fn check(&self) -> Result<()> {
        if self.max_retention.is_some() && self.retention.is_none() {
            return Err(Error::new(Code::InvalidParameter, "option \"max_retention\" needs \"retention\"")
                .detail("Without retention everything is kept.")
                .hint("Set retention to what is to be kept at least, such as \"7 days\"."));
        }
        for (name, value) in [
            ("max_files_per_chunk", u64::from(self.max_files_per_chunk)),
            ("max_bytes_per_chunk", self.max_bytes_per_chunk),
            ("max_rows_per_chunk", self.max_rows_per_chunk),
            ("max_attempts", u64::from(self.max_attempts)),
            ("chunks_per_partition", self.chunks_per_partition.map_or(1, u64::from)),
            ("max_lag_chunks", self.max_lag_chunks.unwrap_or(1)),
            ("max_lag_bytes", self.max_lag_bytes.unwrap_or(1)),
            ("max_outbox_chunks", self.max_outbox_chunks.unwrap_or(1)),
            ("max_rows_per_second", self.max_rows_per_second.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(Error::new(Code::InvalidParameter, format!("option \"{name}\" must be at least 1"))
                    .detail("It is 0.")
                    .hint(format!("Leave \"{name}\" out for its default.")));
            }
        }
        if (self.cleanup == Cleanup::Archive) != self.archive.is_some() {
            return Err(Error::new(
                Code::InvalidParameter,
                "options \"cleanup\" and \"archive\" do not fit each other",
            )
            .detail("cleanup => archive needs the location of the archive, and only then there is one.")
            .hint(
                r#"Write {"cleanup": "archive", "archive": "abfss://container@account.dfs.core.windows.net/archive"}."#,
            ));
        }
        if let Some(archive) = &self.archive
            && Location::parse(archive)?.split_glob().1.is_some()
        {
            return Err(Error::new(Code::InvalidParameter, "option \"archive\" holds a pattern")
                .detail(format!("It is {}.", Location::parse(archive)?))
                .hint("Name a directory."));
        }
        if let Some(ratio) = self.max_reject_ratio.filter(|r| !(0.0..=1.0).contains(r)) {
            return Err(Error::new(Code::InvalidParameter, "option \"max_reject_ratio\" must be from 0 to 1")
                .detail(format!("It is {ratio}."))
                .hint("0.1 stops the pipeline before a chunk of which more than a tenth would be rejected."));
        }
        if self.start_version.is_some() && self.start_timestamp.is_some() {
            return Err(Error::new(
                Code::InvalidParameter,
                "options \"start_version\" and \"start_timestamp\" exclude each other",
            )
            .detail("Both say where reading begins.")
            .hint("Give one of them."));
        }
        if encoding_rs::Encoding::for_label_no_replacement(self.encoding.as_bytes()).is_none() {
            return Err(Error::new(Code::InvalidParameter, "option \"encoding\" names no encoding that is known")
                .detail(format!("It is {:?}.", self.encoding))
                .hint("Use a name such as utf-8, latin1, windows-1252, utf-16le, shift_jis, gb18030 or euc-kr."));
        }
        self.check_key()?;
        publishing::check_checkpoint_every(self.checkpoint_every)?;
        dedup::check(self)?;
        let escape = self.escape.unwrap_or(self.quote);
        for (name, c) in [("delimiter", self.delimiter), ("quote", self.quote), ("escape", escape)] {
            if !c.is_ascii() || c == '\n' || c == '\r' || c == '\0' {
                return Err(Error::new(
                    Code::InvalidParameter,
                    format!("option \"{name}\" must be one ASCII character"),
                )
                .detail(format!("It is {c:?}."))
                .hint("Line ends and NUL can't be used either."));
            }
        }
        if self.delimiter == self.quote || self.delimiter == escape {
            return Err(Error::new(Code::InvalidParameter, "option \"delimiter\" must differ from quote and escape")
                .detail(format!("It is {:?}.", self.delimiter))
                .hint("Choose another delimiter or quote."));
        }
        if self.null.contains([self.delimiter, self.quote, '\n', '\r', '\0']) {
            return Err(Error::new(Code::InvalidParameter, "option \"null\" can't be used")
                .detail("It holds the delimiter, the quote, a line end or a NUL: no field reads like that.")
                .hint(r"Use a word such as NULL or \N, or the empty string."));
        }
        Ok(())
    }
}

impl Options {
    /// Which of two rows with one key stays.
    pub fn conflict(&self) -> OnConflict {
        self.on_conflict.unwrap_or(OnConflict::Newest)
    }

    fn check_key(&self) -> Result<()> {
        let given = [
            ("order_by", !self.order_by.is_empty()),
            ("on_conflict", self.on_conflict.is_some()),
            ("delete_when", self.delete_when.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, given)| *given && self.primary_key.is_empty()) {
            return Err(Error::new(Code::InvalidParameter, format!("option \"{name}\" needs \"primary_key\""))
                .detail("It says what becomes of rows with the same key, and there is no key.")
                .hint("Add \"primary_key\": [\"column\", …], or leave it out."));
        }
        let ignored = given.iter().find(|(name, given)| *given && *name != "on_conflict");
        if let Some((name, _)) = ignored.filter(|_| self.conflict() == OnConflict::Ignore) {
            return Err(Error::new(
                Code::InvalidParameter,
                format!("option \"{name}\" has no meaning with \"on_conflict\": \"ignore\""),
            )
            .detail("The first row of a key stays, whatever comes later.")
            .hint(format!("Use \"on_conflict\": \"newest\", or leave \"{name}\" out.")));
        }
        Ok(())
    }
}

/// An object with options, each of which may be left out; serde's messages in our words.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T> {
    let wrong = match serde_json::from_value(value.clone()) {
        Ok(options) => return Ok(options),
        Err(e) => e.to_string(),
    };
    if let Some(rest) = wrong.strip_prefix("unknown field `")
        && let Some((key, known)) = rest.split_once("`, expected ")
    {
        return Err(Error::new(Code::InvalidParameter, format!("unknown option \"{key}\""))
            .detail(format!("options is {value}."))
            .hint(format!("Known options: {}.", known.trim_start_matches("one of ").replace('`', ""))));
    }
    // The message says what is wrong with a value, but not with whose: that option is as wrong when it stands alone.
    let alone = |(name, value): (&String, &Value)| serde_json::json!({ name: value });
    let each = value.as_object().into_iter().flatten();
    let culprit = each.into_iter().find(|option| serde_json::from_value::<T>(alone(*option)).is_err());
    let message = culprit.map_or("an option has a value that can't be used".to_string(), |(name, value)| {
        format!("option \"{name}\" can't be {value}")
    });
    Err(Error::new(Code::InvalidParameter, message)
        .detail(format!("{wrong}."))
        .hint("See millrace.pipelines for the options in force."))
}

/// Durations as JSON: a number of seconds, or text such as '500 ms', '2 seconds', '1 minute'.
pub mod duration {
    use super::*;

    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{} ms", d.as_millis()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let value = Value::deserialize(d)?;
        let parsed = match &value {
            Value::Number(n) => n.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
            Value::String(s) => parse(s),
            _ => None,
        };
        parsed.ok_or_else(|| serde::de::Error::custom(format!("{value} is no duration; write e.g. \"2 seconds\"")))
    }

    /// The same where there may be none.
    pub mod optional {
        use super::*;

        pub fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
            match d {
                Some(d) => super::serialize(d, s),
                None => s.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
            match Value::deserialize(d)? {
                Value::Null => Ok(None),
                given => super::deserialize(given).map(Some).map_err(serde::de::Error::custom),
            }
        }
    }

    /// Sum of `number unit` pairs.
    pub fn parse(text: &str) -> Option<Duration> {
        let spaced: String = text
            .chars()
            .scan(false, |digit, c| {
                let now = c.is_ascii_digit() || c == '.';
                let gap = *digit && c.is_ascii_alphabetic();
                *digit = now;
                Some(if gap { format!(" {c}") } else { c.to_string() })
            })
            .collect();
        let words: Vec<&str> = spaced.split_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(2) {
            return None;
        }
        let mut seconds = 0.0;
        for pair in words.chunks(2) {
            let unit = match pair[1] {
                "ms" | "millisecond" | "milliseconds" => 0.001,
                "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
                "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
                "h" | "hour" | "hours" => 3_600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 7.0 * 86_400.0,
                _ => return None,
            };
            seconds += pair[0].parse::<f64>().ok()? * unit;
        }
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_option_is_named_and_the_known_ones_are_listed() {
        let e = Options::parse(&json!({"setle": 1})).unwrap_err();
        assert_eq!(e.code, Code::InvalidParameter);
        assert!(e.message.contains("setle"));
        assert!(e.hint.unwrap().contains("settle, max_files_per_chunk"));
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("500 ms", 500), ("2 seconds", 2_000), ("1 minute", 60_000), ("1h 30min", 5_400_000), ("100ms", 100)]
        {
            assert_eq!(duration::parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "2", "two seconds", "-1 s", "1 fortnight"] {
            assert_eq!(duration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn files_must_settle_where_they_can_be_seen_growing_unless_somebody_says_otherwise() {
        let at = |options: &Value, location: &str| {
            Options::parse(options).unwrap().settle_at(&Location::parse(location).unwrap()).as_millis()
        };
        for (location, millis) in [("file:///in", 0), ("abfss://c@a.dfs.core.windows.net/in", 2_000), ("s3://b/in", 0)]
        {
            assert_eq!(at(&json!({}), location), millis, "{location}");
            assert_eq!(at(&json!({"settle": "3 s"}), location), 3_000, "{location}");
            assert_eq!(at(&json!({"settle": 0}), location), 0, "{location}");
        }
    }

    #[test]
    fn options_survive_being_stored() {
        let options = Options::parse(&json!({"settle": "2 seconds", "delimiter": ";", "escape": "\\"})).unwrap();
        assert_eq!(Options::parse(&serde_json::to_value(&options).unwrap()).unwrap(), options);
        for feed in [json!(true), json!(false), json!("auto")] {
            let options = Options::parse(&json!({"change_feed": feed})).unwrap();
            assert_eq!(serde_json::to_value(&options).unwrap()["change_feed"], feed);
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for bad in [
            json!({"max_rows_per_chunk": 0}),
            json!({"delimiter": "\n"}),
            json!({"delimiter": "\""}),
            json!({"null": "a,b"}),
            json!([1]),
            json!({"settle": "soon"}),
            json!({"change_feed": "perhaps"}),
            json!({"cleanup": "archive"}),
            json!({"cleanup": "delete", "archive": "file:///x"}),
            json!({"cleanup": "archive", "archive": "file:///x/*.csv"}),
        ] {
            let e = Options::parse(&bad).unwrap_err();
            assert!(e.detail.is_some() && e.hint.is_some(), "{bad}");
        }
    }
}
