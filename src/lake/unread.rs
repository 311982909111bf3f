//! A file's text as it is read, of which what nothing was made of can be had once more.
//!
//! Promises: no byte is given twice but those that are asked for again; memory holds what nothing was made of yet.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::model::Result;

/// Blocks of a file's text, and those of them of which no whole record was made yet.
pub struct Text {
    blocks: BoxStream<'static, Result<Bytes>>,
    recent: VecDeque<Bytes>,
    /// Where the first of `recent` begins.
    begin: u64,
}

impl Text {
    pub fn new(blocks: BoxStream<'static, Result<Bytes>>, begin: u64) -> Text {
        Text { blocks, recent: VecDeque::new(), begin }
    }

    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let block = self.blocks.try_next().await?;
        self.recent.extend(block.clone());
        Ok(block)
    }

    /// Records were made of everything before this byte.
    pub fn done(&mut self, byte: u64) {
        while let Some(first) = self.recent.front()
            && self.begin + first.len() as u64 <= byte
        {
            self.begin += first.len() as u64;
            self.recent.pop_front();
        }
    }

    /// The text from this byte on, which was not given, or of which nothing was made.
    pub fn behind(mut self, byte: u64) -> BoxStream<'static, Result<Bytes>> {
        self.done(byte);
        if let Some(first) = self.recent.front_mut() {
            let done = usize::try_from(byte.saturating_sub(self.begin)).unwrap_or(usize::MAX).min(first.len());
            *first = first.slice(done..);
        }
        stream::iter(self.recent.into_iter().map(Ok)).chain(self.blocks).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::tests::run;

    #[test]
    fn text_goes_on_behind_the_last_whole_record() {
        let parts = ["abc", "defg", "h", "", "ijkl"];
        for seen in 0..=parts.len() {
            for byte in 0..=parts[..seen].iter().map(|part| part.len()).sum::<usize>() {
                let rest = run(async {
                    let blocks = stream::iter(parts.map(|part| Ok(Bytes::from_static(part.as_bytes())))).boxed();
                    let mut text = Text::new(blocks, 100);
                    for _ in 0..seen {
                        text.next().await.unwrap();
                        text.done(100 + byte as u64 / 2);
                    }
                    text.behind(100 + byte as u64).try_collect::<Vec<_>>().await.unwrap().concat()
                });
                assert_eq!(rest, b"abcdefghijkl"[byte..], "{seen} {byte}");
            }
        }
    }
}
