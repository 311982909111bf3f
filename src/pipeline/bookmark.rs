//! Where the decoder of a file stands that holds more than one chunk, for the chunk that goes on there.
//!
//! Promises: only saves time: what it gives is what decoding the file from its beginning would give. It is for one file at a time and
//! a few seconds, for a decoder holds a thread, some blocks and perhaps an answer of storage.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::lake::listing::LandingFile;
use crate::lake::unread::Text;
use crate::model::Result;

/// Storage does not wait for ever for somebody who reads no further.
const FRESH: Duration = Duration::from_secs(10);

/// Shared by those who read a pipeline's chunks one after the other.
#[derive(Clone, Default)]
pub struct Bookmark(Arc<Mutex<Option<Kept>>>);

/// A file's text behind a byte of it.
pub struct Kept {
    file: (String, String, u64),
    byte: u64,
    since: Instant,
    /// The columns' names, as the file's beginning told them.
    pub header: Vec<String>,
    pub blocks: BoxStream<'static, Result<Bytes>>,
}

fn key(place: String, file: &LandingFile) -> (String, String, u64) {
    (place, file.etag.clone(), file.size)
}

impl Bookmark {
    /// What was kept for this file and this byte of its text; whatever else was kept goes.
    pub fn take(&self, place: String, file: &LandingFile, byte: u64) -> Option<Kept> {
        let kept = self.lock().take()?;
        (kept.file == key(place, file) && kept.byte == byte && kept.since.elapsed() < FRESH).then_some(kept)
    }

    pub fn keep(&self, place: String, file: &LandingFile, byte: u64, header: Vec<String>, text: Text) {
        let blocks = text.behind(byte);
        *self.lock() = Some(Kept { file: key(place, file), byte, since: Instant::now(), header, blocks });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
