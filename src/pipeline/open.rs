//! A landing file as batches of records, whatever its format, compression and encoding.
//!
//! Never touches Postgres. One block of the file and what is not yet a whole record are in memory; of a Parquet file some pages of
//! each column.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::format::encoding::{Encoding, Transcoder};
use crate::format::{Format, OWN_COLUMNS, RawBatch, Reader, csv, json};
use crate::lake::listing::LandingFile;
use crate::lake::parquet_file::ParquetFile;
use crate::lake::parquet_rows::{Limits, ParquetRows};
use crate::lake::store::Dir;
use crate::lake::unread::Text;
use crate::lake::{decompress, reading};
use crate::model::options::Compression;
use crate::model::{Code, Error, Result};
use crate::pipeline::bookmark::Bookmark;

/// How files are written.
#[derive(Clone)]
pub struct Files {
    pub directory: Dir,
    pub format: Format,
    pub compression: Compression,
    /// The columns' names where the files do not tell them.
    pub columns: Vec<String>,
    /// What one file may take of it.
    pub memory: u64,
    pub bookmark: Bookmark,
}

/// Where reading begins: at the beginning, or where a chunk left off.
#[derive(Debug, Clone, Copy, Default)]
pub struct From {
    pub byte: u64,
    pub records: u64,
}

/// The batches of one file.
pub struct Batches(Kind);

enum Kind {
    /// `costly`: a reader can begin only at the file's beginning.
    Text {
        reader: Reader,
        text: Text,
        ended: bool,
        costly: bool,
    },
    Typed(Typed),
}

impl Files {
    /// Opens a file whose content may be there already.
    pub async fn open(&self, file: &LandingFile, content: Option<Vec<Bytes>>, from: From) -> Result<Batches> {
        if content.is_none()
            && from.byte > 0
            && let Some(kept) = self.bookmark.take(self.directory.place_of(&file.path), file, from.byte)
            && let Some(reader) = self.going_on(kept.header, from)?
        {
            let text = Text::new(kept.blocks, from.byte);
            return Ok(Batches(Kind::Text { reader, text, ended: false, costly: true }));
        }
        match &self.format {
            Format::Typed => Typed::open(self, file, from).await.map(|typed| Batches(Kind::Typed(typed))),
            Format::Csv(dialect) => {
                let named = (!dialect.header).then(|| self.columns.clone());
                let reader = csv::Reader::new(dialect.clone(), named.clone())?;
                if from.byte == 0 {
                    return self.text(file, content, from, dialect.encoding, Reader::Csv(reader)).await;
                }
                let header = match named {
                    Some(names) => names,
                    None => self.header_of(file, dialect.encoding, reader).await?,
                };
                let reader = csv::Reader::resume(dialect.clone(), header, from.byte, from.records + 1)?;
                self.text(file, content, from, dialect.encoding, Reader::Csv(reader)).await
            }
            Format::Json { verbatim, encoding } => {
                let reader = self.json(verbatim, *encoding, from);
                self.text(file, content, from, *encoding, reader).await
            }
        }
    }

    /// What reads text on from the middle of a file.
    fn going_on(&self, header: Vec<String>, from: From) -> Result<Option<Reader>> {
        Ok(match &self.format {
            Format::Typed => None,
            Format::Csv(dialect) => {
                let reader = csv::Reader::resume(dialect.clone(), header, from.byte, from.records + 1)?;
                Some(Reader::Csv(reader))
            }
            Format::Json { verbatim, encoding } => Some(self.json(verbatim, *encoding, from)),
        })
    }

    fn json(&self, verbatim: &json::Verbatim, encoding: Encoding, from: From) -> Reader {
        Reader::Json(json::Reader::resume(verbatim.clone(), encoding, vec![], from.byte, from.records + 1))
    }

    async fn text(
        &self,
        file: &LandingFile,
        content: Option<Vec<Bytes>>,
        from: From,
        encoding: Encoding,
        reader: Reader,
    ) -> Result<Batches> {
        let is_whole = content.is_some();
        let (blocks, plain) = self.blocks(file, content, encoding, from.byte).await?;
        let text = Text::new(blocks, from.byte);
        Ok(Batches(Kind::Text { reader, text, ended: false, costly: !plain && !is_whole }))
    }

    /// The file's text in UTF-8, from one of its bytes on, and whether the file is that text.
    async fn blocks(
        &self,
        file: &LandingFile,
        content: Option<Vec<Bytes>>,
        encoding: Encoding,
        from: u64,
    ) -> Result<(BoxStream<'static, Result<Bytes>>, bool)> {
        let compression = self.compression_of(file, content.as_deref()).await?;
        let plain = compression == Compression::None && encoding.is_utf8();
        let bytes = match content {
            Some(content) => stream::iter(content.into_iter().map(Ok)).boxed(),
            None => reading::blocks(&self.directory, file, if plain { from } else { 0 }).await?,
        };
        if plain {
            return Ok((bytes, true));
        }
        let place = self.directory.place_of(&file.path);
        if encoding.is_utf8() {
            return Ok((decompress::blocks(bytes, compression, from, place), false));
        }
        Ok((skip(transcode(decompress::blocks(bytes, compression, 0, place), encoding), from), false))
    }

    async fn compression_of(&self, file: &LandingFile, content: Option<&[Bytes]>) -> Result<Compression> {
        if self.compression != Compression::Auto {
            return Ok(self.compression);
        }
        let head = match content {
            Some(content) => content.first().cloned().unwrap_or_default(),
            None => reading::head(&self.directory, file, decompress::HEAD).await?,
        };
        decompress::found(&head, &file.path, &self.directory.place_of(&file.path))
    }

    /// The header of a file that is gone on with in the middle.
    async fn header_of(&self, file: &LandingFile, encoding: Encoding, mut reader: csv::Reader) -> Result<Vec<String>> {
        let (mut blocks, _) = self.blocks(file, None, encoding, 0).await?;
        while let Some(block) = blocks.try_next().await? {
            reader.push(&block);
            reader.next_batch(1)?;
            if let Some(header) = reader.header() {
                return Ok(header.to_vec());
            }
        }
        Err(Error::new(Code::Changed, "the file's header is gone").detail(format!("File {}.", file.path)))
    }

    /// The columns of a file that tells their types.
    pub async fn schema(&self, file: &LandingFile) -> Result<SchemaRef> {
        Ok(ParquetRows::open(ParquetFile::landing(&self.directory, file)).await?.schema().clone())
    }

    /// The first bytes of what a file holds.
    pub async fn beginning(&self, file: &LandingFile, encoding: Encoding) -> Result<Bytes> {
        let (mut blocks, _) = self.blocks(file, None, encoding, 0).await?;
        Ok(blocks.try_next().await?.unwrap_or_default())
    }
}

fn transcode(blocks: BoxStream<'static, Result<Bytes>>, encoding: Encoding) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold(Some((blocks, Transcoder::new(encoding))), |state| async move {
        let Some((mut blocks, mut transcoder)) = state else { return Ok(None) };
        match blocks.try_next().await? {
            Some(block) => {
                let text = transcoder.push(&block, false);
                Ok(Some((Bytes::from(text), Some((blocks, transcoder)))))
            }
            None => Ok(Some((Bytes::from(transcoder.push(&[], true)), None))),
        }
    })
    .boxed()
}

fn skip(blocks: BoxStream<'static, Result<Bytes>>, bytes: u64) -> BoxStream<'static, Result<Bytes>> {
    blocks
        .scan(bytes, |left, block| {
            let rest = block.map(|mut block| {
                let skipped = (*left).min(block.len() as u64);
                *left -= skipped;
                block.split_off(skipped as usize)
            });
            std::future::ready(Some(rest))
        })
        .boxed()
}

impl Batches {
    /// At most `max_rows` of the next records; `None`: that was all.
    pub async fn next(&mut self, max_rows: usize) -> Result<Option<RawBatch>> {
        match &mut self.0 {
            Kind::Typed(typed) => typed.next(max_rows).await,
            Kind::Text { reader, text, ended, .. } => loop {
                if let Some(batch) = reader.next_batch(max_rows)? {
                    text.done(batch.end_byte);
                    return Ok(Some(batch));
                }
                if *ended {
                    return Ok(None);
                }
                match text.next().await? {
                    Some(block) => reader.push(&block),
                    None => {
                        *ended = true;
                        reader.finish();
                    }
                }
            },
        }
    }

    /// A chunk ends before this byte of the text: what is behind it is kept for the next one, where that saves work.
    pub fn leave(self, files: &Files, file: &LandingFile, byte: u64) {
        if let Kind::Text { reader, text, ended: false, costly: true } = self.0 {
            let header = reader.header().unwrap_or_default().to_vec();
            files.bookmark.keep(files.directory.place_of(&file.path), file, byte, header, text);
        }
    }

    /// The file's columns, as far as they are known.
    pub fn header(&self) -> &[String] {
        match &self.0 {
            Kind::Typed(typed) => &typed.names,
            Kind::Text { reader, .. } => reader.header().unwrap_or_default(),
        }
    }
}

/// A Parquet file, by rows.
struct Typed {
    names: Vec<String>,
    rows: BoxStream<'static, Result<RecordBatch>>,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
    done: u64,
    total: u64,
    size: u64,
}

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 16_384;

impl Typed {
    async fn open(files: &Files, file: &LandingFile, from: From) -> Result<Typed> {
        let found = ParquetRows::open(ParquetFile::landing(&files.directory, file)).await?;
        let names: Vec<String> = found.schema().fields().iter().map(|f| f.name().clone()).collect();
        check_names(&names, &files.directory.place_of(&file.path))?;
        let total = found.row_count();
        let limits = Limits { batch_rows: BATCH_ROWS, memory: files.memory };
        let rows = found.batches((0..names.len()).collect(), from.records, limits)?;
        Ok(Typed { names, rows, rest: None, done: from.records, total, size: file.size })
    }

    async fn next(&mut self, max_rows: usize) -> Result<Option<RawBatch>> {
        let batch = loop {
            match self.rest.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                _ => match self.rows.try_next().await? {
                    Some(batch) => self.rest = Some(batch),
                    None => return Ok(None),
                },
            }
        };
        let rows = batch.num_rows().min(max_rows.max(1));
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let first = self.done + 1;
        self.done += rows as u64;
        let share = u128::from(self.size) * u128::from(self.done) / u128::from(self.total.max(1));
        RawBatch::typed(&batch.slice(0, rows), first, share as u64).map(Some)
    }
}

fn check_names(names: &[String], place: &str) -> Result<()> {
    let problem = names.iter().enumerate().find_map(|(i, name)| {
        let own = OWN_COLUMNS.contains(&name.to_lowercase().as_str());
        if own || name.contains('\0') {
            return Some(format!("the column name \"{}\" can't be used", name.escape_debug()));
        }
        names[..i].contains(name).then(|| format!("two columns are named \"{}\"", name.escape_debug()))
    });
    match problem {
        Some(problem) => Err(Error::new(Code::Corrupt, problem)
            .detail(format!("File {place}."))
            .hint("Have the producer rename it.")),
        None => Ok(()),
    }
}
