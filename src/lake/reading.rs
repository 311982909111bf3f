//! Reads a landing file in blocks.
//!
//! Promises: the bytes are those of the file that the listing saw, or the stream ends with an error: `Changed` where the file was
//! replaced or grew, `NotFound` where it is gone. A stream that ends without an error gave every byte. No more than two blocks are in memory.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{GetRange, ObjectStore};

use super::error::{place_error, store_error};
use super::listing::LandingFile;
use super::local;
use super::store::{Dir, conditional, etag_of};
use crate::model::{Code, Result};

/// Big enough to make storage calls rare, small enough to hold several.
const BLOCK: usize = 2 * 1024 * 1024;

/// What one request to a store asks for.
const STRETCH: u64 = 4 * 1024 * 1024;

/// The file from a byte on.
pub async fn blocks(dir: &Dir, file: &LandingFile, from_byte: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    if from_byte > file.size {
        return Err(place_error(Code::Changed, "file is shorter than before", &dir.place_of(&file.path)));
    }
    match dir.local_path(&file.path)? {
        Some(path) => {
            let source = local::open(path, file.etag.clone(), dir.place_of(&file.path)).await?;
            Ok(local_blocks(source, from_byte, file.size))
        }
        None => store_blocks(dir, file, from_byte).await,
    }
}

/// The first bytes of a file, fewer than `length` where it has no more.
pub async fn head(dir: &Dir, file: &LandingFile, length: usize) -> Result<Bytes> {
    let range = 0..file.size.min(length as u64);
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    Ok(dir.read_ranges(&file.path, vec![range], Some(&file.etag)).await?.pop().unwrap_or_default())
}

fn local_blocks(source: local::Source, from: u64, size: u64) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((source, from), move |(source, at)| async move {
        if at >= size {
            return Ok(None);
        }
        let length = (size - at).min(BLOCK as u64);
        let (source, block) = source.block(at, length as usize, at + length == size).await?;
        Ok(Some((block, (source, at + length))))
    })
    .boxed()
}

/// Conditional requests for one stretch after the other: each is for the version that was listed, ends within the limit of a request,
/// and costs no more than itself when it fails. One is under way while another is worked on.
async fn store_blocks(dir: &Dir, file: &LandingFile, from: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    let (root, path, place) = (dir.root().clone(), dir.path(&file.path)?, dir.place_of(&file.path));
    let (size, etag) = (file.size, file.etag.clone());
    let starts = (from..size).step_by(STRETCH as usize);
    let fetched = stream::iter(starts).map(move |start| {
        let (root, path, place, etag) = (root.clone(), path.clone(), place.clone(), etag.clone());
        let end = size.min(start + STRETCH);
        async move {
            let failed = |e| store_error(&e, "read file", &place);
            let range = (start > 0 || end < size).then_some(GetRange::Bounded(start..end));
            let answer = root.get_opts(&path, conditional(range, Some(&etag))).await.map_err(failed)?;
            if answer.meta.size != size || etag_of(&answer.meta) != etag {
                return Err(place_error(Code::Changed, "file changed after it was listed", &place));
            }
            let bytes = answer.bytes().await.map_err(failed)?;
            match bytes.len() as u64 == end - start {
                true => Ok(bytes),
                false => Err(place_error(
                    Code::Unavailable,
                    "storage gave another number of bytes than the file has",
                    &place,
                )),
            }
        }
    });
    Ok(fetched.buffered(2).boxed())
}
