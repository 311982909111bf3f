//! Reads a landing file in blocks.
//!
//! Promises: the bytes are those of the file that the listing saw, or the stream ends with an error: `Changed` where the file was
//! replaced or grew, `NotFound` where it is gone. A stream that ends without an error gave every byte. One block is in memory.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream, TryStreamExt};
use object_store::{GetRange, ObjectStore};

use super::error::{place_error, store_error};
use super::listing::LandingFile;
use super::local;
use super::store::{Dir, conditional, etag_of};
use crate::model::{Code, Result};

/// Big enough to make storage calls rare, small enough to hold several.
const BLOCK: usize = 2 * 1024 * 1024;

/// The file from a byte on.
pub async fn blocks(dir: &Dir, file: &LandingFile, from_byte: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    if from_byte > file.size {
        return Err(place_error(Code::Changed, "file is shorter than before", &dir.place_of(&file.path)));
    }
    match dir.local_path(&file.path) {
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

/// One conditional request for all that is wanted: the answer belongs to one version of the object as a whole.
async fn store_blocks(dir: &Dir, file: &LandingFile, from: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    let place = dir.place_of(&file.path);
    if from == file.size {
        return Ok(stream::empty().boxed());
    }
    let options = conditional((from > 0).then_some(GetRange::Offset(from)), Some(&file.etag));
    let answer =
        dir.root().get_opts(&dir.path(&file.path)?, options).await.map_err(|e| store_error(&e, "read file", &place))?;
    if answer.meta.size != file.size || etag_of(&answer.meta) != file.etag {
        return Err(place_error(Code::Changed, "file changed after it was listed", &place));
    }
    let failed = place.clone();
    let pieces = answer.into_stream().map_err(move |e| store_error(&e, "read file", &failed)).boxed();
    let left = file.size - from;
    let blocks = stream::try_unfold((pieces, BytesMut::new(), left), move |(mut pieces, mut block, mut left)| {
        let place = place.clone();
        async move {
            while block.len() < BLOCK {
                let Some(piece) = pieces.try_next().await? else { break };
                left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| place_error(Code::Changed, "file became longer while it was read", &place))?;
                if block.is_empty() && piece.len() >= BLOCK {
                    return Ok(Some((piece, (pieces, block, left))));
                }
                block.extend_from_slice(&piece);
            }
            if block.is_empty() {
                return match left {
                    0 => Ok(None),
                    _ => Err(place_error(Code::Unavailable, "storage gave fewer bytes than the file has", &place)),
                };
            }
            let full = block.split().freeze();
            Ok(Some((full, (pieces, block, left))))
        }
    });
    Ok(blocks.boxed())
}
