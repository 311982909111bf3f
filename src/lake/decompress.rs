//! Compressed files as the bytes that they hold.
//!
//! Promises: a stream that ends without an error gave every byte; a file that is cut off or damaged is `Corrupt`. However small the
//! file and however much it holds, some blocks and the decoder's own window are in memory. Several streams in one file (as parallel
//! compressors and `cat` make them) are read one after the other.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use super::error::place_error;
use crate::model::options::Compression;
use crate::model::{Code, Error, Result};

const BLOCK: usize = 1024 * 1024;
/// Bytes that tell what a file is compressed with.
pub const HEAD: usize = 16;
/// A zstd file may ask for a window as large as this (2^27 bytes, as the zstd tools allow), and no larger one.
const ZSTD_WINDOW: u32 = 27;

const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const SNAPPY: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// Behind `BZh` and a digit: a block, or the end of a file without any.
const BZIP2: [&[u8]; 2] = [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// What a file is compressed with, by its beginning and its name. A name that says more than the content holds is refused: what
/// follows would be taken for text.
pub fn found(head: &[u8], path: &str, place: &str) -> Result<Compression> {
    let by_content = by_content(head);
    let by_name = by_name(path);
    if by_content == Compression::None && by_name != Compression::None && !head.is_empty() {
        return Err(place_error(
            Code::Corrupt,
            format!("the file's name says {}, its content does not", name(by_name)),
            place,
        )
        .hint("Have it written anew, or set option \"compression\" to what it is (none, if it is not compressed)."));
    }
    Ok(by_content)
}

fn by_content(head: &[u8]) -> Compression {
    match head {
        _ if head.starts_with(GZIP) => Compression::Gzip,
        _ if head.starts_with(ZSTD) => Compression::Zstd,
        _ if head.starts_with(SNAPPY) => Compression::Snappy,
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if BZIP2.iter().any(|magic| rest.starts_with(magic)) => {
            Compression::Bz2
        }
        _ => Compression::None,
    }
}

/// By the last ending of a name.
pub fn by_name(path: &str) -> Compression {
    match path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("gz" | "gzip") => Compression::Gzip,
        Some("zst" | "zstd") => Compression::Zstd,
        Some("sz" | "snappy") => Compression::Snappy,
        Some("bz2" | "bzip2") => Compression::Bz2,
        _ => Compression::None,
    }
}

fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::Auto | Compression::None => "plain",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Snappy => "snappy",
        Compression::Bz2 => "bzip2",
    }
}

/// What `blocks` hold, from byte `skip` on. `compression` says what it is.
pub fn blocks(
    blocks: BoxStream<'static, Result<Bytes>>,
    compression: Compression,
    skip: u64,
    place: String,
) -> BoxStream<'static, Result<Bytes>> {
    if matches!(compression, Compression::None | Compression::Auto) {
        return blocks;
    }
    // One block waits on each side of the decoder, which has a thread of its own, for it can't be told to come back later.
    let (give, mut taken) = mpsc::channel::<Result<Bytes>>(1);
    let (decoded, results) = mpsc::channel::<Result<Bytes>>(1);
    tokio::spawn(async move {
        let mut blocks = blocks;
        while let Some(block) = blocks.next().await {
            // Nobody reads any more: the chunk is full.
            if give.send(block).await.is_err() {
                return;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        let source = Source { next: move || taken.blocking_recv(), block: Bytes::new() };
        if let Err(e) = decode(source, compression, skip, |block| decoded.blocking_send(Ok(block)).is_ok()) {
            let _ = decoded.blocking_send(Err(as_error(e, compression, &place)));
        }
    });
    stream::unfold(results, |mut results| async move { results.recv().await.map(|block| (block, results)) }).boxed()
}

fn decode<N: FnMut() -> Option<Result<Bytes>>>(
    source: Source<N>,
    compression: Compression,
    skip: u64,
    mut send: impl FnMut(Bytes) -> bool,
) -> io::Result<()> {
    let mut decoder: Box<dyn Read + '_> = match compression {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Compression::Snappy => Box::new(snap::read::FrameDecoder::new(source)),
        Compression::Bz2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Auto | Compression::None => Box::new(source),
    };
    let skipped = io::copy(&mut (&mut decoder).take(skip), &mut io::sink())?;
    if skipped < skip {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        (&mut decoder).take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() || !send(block.into()) {
            return Ok(());
        }
    }
}

fn as_error(error: io::Error, compression: Compression, place: &str) -> Error {
    // An error of storage comes out as it went in.
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => {
            let what = match error.kind() {
                io::ErrorKind::UnexpectedEof => format!("the {} file is cut off", name(compression)),
                _ => format!("the {} file is damaged: {error}", name(compression)),
            };
            place_error(Code::Corrupt, what, place).hint("Have its producer write it anew, whole.")
        }
    }
}

/// Blocks as a reader.
struct Source<N> {
    next: N,
    block: Bytes,
}

impl<N: FnMut() -> Option<Result<Bytes>>> BufRead for Source<N> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.block.is_empty() {
            match (self.next)() {
                Some(Ok(block)) => self.block = block,
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => break,
            }
        }
        Ok(&self.block)
    }

    fn consume(&mut self, count: usize) {
        self.block.advance(count);
    }
}

impl<N: FnMut() -> Option<Result<Bytes>>> Read for Source<N> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::TryStreamExt;

    use super::*;

    const ALL: [Compression; 4] = [Compression::Gzip, Compression::Zstd, Compression::Snappy, Compression::Bz2];

    fn compress(content: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => {
                // Only its checksum tells that a file is damaged.
                let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Snappy => {
                let mut encoder = snap::write::FrameEncoder::new(vec![]);
                encoder.write_all(content).unwrap();
                encoder.into_inner().unwrap()
            }
            _ => {
                let mut encoder = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn read(file: &[u8], compression: Compression, skip: u64, cut: usize) -> Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let pieces: Vec<Result<Bytes>> = file.chunks(cut).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
            let found = blocks(stream::iter(pieces).boxed(), compression, skip, "file:///x".into());
            Ok(found.try_collect::<Vec<Bytes>>().await?.concat())
        })
    }

    fn content() -> Vec<u8> {
        (0..60_000u32).flat_map(|i| format!("{i},{}\n", i.wrapping_mul(2_654_435_761)).into_bytes()).collect()
    }

    #[test]
    fn the_content_decides_and_a_name_that_says_otherwise_is_refused() {
        for compression in ALL {
            let file = compress(b"a,b\n", compression);
            assert_eq!(found(&file[..HEAD.min(file.len())], "x.csv", "p").unwrap(), compression);
            let empty = compress(b"", compression);
            if !empty.is_empty() {
                assert_eq!(
                    found(&empty, "x", "p").unwrap(),
                    compression,
                    "a file that holds nothing is compressed too"
                );
            }
        }
        for plain in [&b"a,b\n1,2\n"[..], b"BZh9 is text", b"\x1f", b""] {
            assert_eq!(found(plain, "x.csv", "p").unwrap(), Compression::None);
        }
        assert_eq!(found(b"a,b\n", "x.csv.GZ", "p").unwrap_err().code, Code::Corrupt);
        assert_eq!(found(b"", "x.csv.gz", "p").unwrap(), Compression::None);
    }

    #[test]
    fn every_byte_comes_out_however_the_file_is_cut_and_wherever_reading_starts() {
        let content = content();
        for compression in ALL {
            let mut file = compress(&content[..300_000], compression);
            file.extend(compress(&content[300_000..], compression));
            for (skip, cut) in [(0, 1 << 20), (0, 777), (456_789, 64 * 1024), (content.len() as u64, 1 << 20)] {
                assert!(
                    read(&file, compression, skip, cut).unwrap() == content[skip as usize..],
                    "{compression:?} {skip}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_damaged_says_so() {
        let content = content();
        for compression in ALL {
            let file = compress(&content, compression);
            for end in [file.len() - 1, file.len() / 2, 20] {
                let found = read(&file[..end], compression, 0, 4096).map(|found| found.len());
                assert!(found.as_ref().is_err_and(|e| e.code == Code::Corrupt), "{compression:?} {end}: {found:?}");
            }
            let mut damaged = file.clone();
            damaged[file.len() / 2..][..64].fill(0x55);
            let found = read(&damaged, compression, 0, 4096).map(|found| found.len());
            assert!(found.as_ref().is_err_and(|e| e.code == Code::Corrupt), "{compression:?}: {found:?}");
        }
    }

    #[test]
    fn wherever_a_file_is_cut_off_it_says_so_unless_a_whole_stream_ends_there() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let first = compress(b"id\n1\n2\n3\n", compression);
            let file = [&first[..], &compress(b"4\n5\n", compression)].concat();
            for end in 1..file.len() {
                let found = read(&file[..end], compression, 0, 5);
                if end == first.len() {
                    assert_eq!(found.unwrap(), b"id\n1\n2\n3\n");
                } else {
                    assert!(found.as_ref().is_err_and(|e| e.code == Code::Corrupt), "{compression:?} {end}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_zstd_file_holds_as_many_bytes_as_its_header_says_or_says_that_it_is_damaged() {
        // Without a checksum, the header's size alone tells. It takes two bytes and counts from 256.
        let content = content()[..1_000].to_vec();
        let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
        encoder.include_checksum(false).unwrap();
        encoder.set_pledged_src_size(Some(content.len() as u64)).unwrap();
        encoder.write_all(&content).unwrap();
        let file = encoder.finish().unwrap();
        assert_eq!(file[5..7], 744u16.to_le_bytes());
        assert_eq!(read(&file, Compression::Zstd, 0, 4096).unwrap(), content);
        for size in [743u16, 745, 0, 5_000] {
            let mut damaged = file.clone();
            damaged[5..7].copy_from_slice(&size.to_le_bytes());
            let found = read(&damaged, Compression::Zstd, 0, 4096);
            assert!(found.as_ref().is_err_and(|e| e.code == Code::Corrupt), "{size}: {found:?}");
        }
    }

    #[test]
    fn an_error_of_storage_comes_out_as_it_went_in() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let error = runtime.block_on(async {
            let file = compress(b"a", Compression::Gzip);
            let gone: Vec<Result<Bytes>> =
                vec![Ok(Bytes::from(file[..5].to_vec())), Err(Error::new(Code::Changed, "gone"))];
            let found = blocks(stream::iter(gone).boxed(), Compression::Gzip, 0, "p".into());
            found.try_collect::<Vec<Bytes>>().await.unwrap_err()
        });
        assert_eq!(error.code, Code::Changed);
    }

    #[test]
    fn a_bomb_is_never_in_memory_and_reading_may_stop_at_any_time() {
        let zeros = vec![0u8; 8 << 20];
        for compression in [Compression::Gzip, Compression::Zstd, Compression::Bz2] {
            let bomb = compress(&zeros, compression);
            assert!(bomb.len() < 1 << 20);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            runtime.block_on(async {
                let file: Vec<Result<Bytes>> = vec![Ok(bomb.into())];
                let mut found = blocks(stream::iter(file).boxed(), compression, 0, "p".into());
                let block = found.next().await.unwrap().unwrap();
                assert!(block.len() <= BLOCK);
            });
        }
    }
}
