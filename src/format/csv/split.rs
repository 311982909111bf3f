//! Cuts a buffer into records and fields, by position only: copies nothing, decodes nothing.
//!
//! What comes out depends on the bytes alone, never on how they were cut into blocks: where the answer could still change with
//! more bytes it says [`Step::More`]. A broken quote costs one line: splitting goes on at the line after the record's first.

use super::Dialect;
use super::explain::Malformed;
use super::scan::{Scanner, Special};

/// How far behind its record's start a quote that spans lines may close. Past that it is taken for a stray quote.
pub const MAX_QUOTED: usize = 1 << 20;

/// Where a field lies, as an offset from a base that the caller chose, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub len: u32,
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Quoted,
    /// Quoted, and with escapes to be taken out.
    Escaped,
    /// A field of a corrupt record.
    Missing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Record(Record),
    /// Can't be told before more bytes are there.
    More,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Just behind the last byte of the record, before its line end.
    pub end: usize,
    /// Where the next record starts.
    pub next: usize,
    /// Writing the fields again gives these bytes.
    pub canonical: bool,
    pub malformed: Option<Malformed>,
}

enum Quoted {
    /// The field is complete and a delimiter followed.
    Field(Span),
    /// The field is complete and the record too.
    Last(Span, Record),
    Broken(Malformed, usize),
    More,
}

pub(super) struct Splitter<'a> {
    scanner: Scanner<'a>,
    dialect: &'a Dialect,
    /// The buffer's end is the file's end.
    complete: bool,
    base: usize,
    first_line_end: Option<usize>,
    canonical: bool,
}

impl<'a> Splitter<'a> {
    /// Spans will be counted from `base`, where splitting starts.
    pub fn new(buffer: &'a [u8], dialect: &'a Dialect, base: usize, complete: bool) -> Self {
        let special = Special { delimiter: dialect.delimiter, quote: dialect.quote, escape: dialect.escape };
        let scanner = Scanner::new(buffer, special, base);
        Splitter { scanner, dialect, complete, base, first_line_end: None, canonical: true }
    }

    /// Splits the record that starts at `start`, which must be where the last one's `next` pointed. Its fields are appended to
    /// `spans`; for a malformed record they mean nothing.
    #[inline]
    pub fn record(&mut self, start: usize, spans: &mut Vec<Span>) -> Step {
        let buffer = self.scanner.buffer;
        let (delimiter, quote) = (self.dialect.delimiter, self.dialect.quote);
        let first_span = spans.len();
        self.first_line_end = None;
        self.canonical = true;
        let mut field = start;
        loop {
            let Some(at) = self.scanner.next() else {
                if !self.complete {
                    return Step::More;
                }
                spans.push(self.span(field, buffer.len(), Form::Plain));
                return self.whole(buffer.len(), buffer.len());
            };
            let byte = buffer[at];
            if byte == delimiter {
                spans.push(self.span(field, at, Form::Plain));
                field = at + 1;
            } else if byte == b'\n' {
                let end = if at > field && buffer[at - 1] == b'\r' { at - 1 } else { at };
                spans.push(self.span(field, end, Form::Plain));
                return self.whole(end, at + 1);
            } else if byte == quote && at == field {
                match self.quoted(start, at, spans.len() - first_span + 1) {
                    Quoted::Field(span) => {
                        spans.push(span);
                        field = self.base + (span.start + span.len) as usize + 2;
                    }
                    Quoted::Last(span, record) => {
                        spans.push(span);
                        return Step::Record(record);
                    }
                    Quoted::Broken(malformed, seen) => return self.first_line(start, seen, malformed),
                    Quoted::More => return Step::More,
                }
            } else if byte == quote || (byte == b'\r' && buffer.get(at + 1) != Some(&b'\n')) {
                // Taken as it is, but written again it would stand in quotes.
                self.canonical = false;
            }
        }
    }

    fn quoted(&mut self, start: usize, open: usize, field_no: usize) -> Quoted {
        let buffer = self.scanner.buffer;
        let Dialect { delimiter, quote, escape, multiline, .. } = *self.dialect;
        let limit = start + MAX_QUOTED;
        let unclosed = Malformed::UnclosedQuote { field: field_no };
        let mut form = Form::Quoted;
        let mut quotes_needed = false;
        loop {
            let Some(at) = self.scanner.next() else {
                let hopeless = self.first_line_end.is_some() && buffer.len() > limit;
                return if self.complete || hopeless { Quoted::Broken(unclosed, buffer.len()) } else { Quoted::More };
            };
            if at > limit && self.first_line_end.is_some() {
                return Quoted::Broken(unclosed, at);
            }
            let byte = buffer[at];
            let following = buffer.get(at + 1).copied();
            if (byte == quote || byte == escape) && following.is_none() && !self.complete {
                return Quoted::More;
            }
            if byte == escape && following.is_some_and(|b| b == quote || (b == escape && escape != quote)) {
                self.scanner.next();
                form = Form::Escaped;
                quotes_needed |= following == Some(quote);
            } else if byte == quote {
                let span = self.span(open + 1, at, form);
                let reads_null = form == Form::Quoted && &buffer[open + 1..at] == self.dialect.null.as_bytes();
                self.canonical &= quotes_needed || reads_null;
                return match (following, buffer.get(at + 2)) {
                    (Some(b), _) if b == delimiter => {
                        self.scanner.next();
                        Quoted::Field(span)
                    }
                    (None, _) => Quoted::Last(span, self.good(at + 1, at + 1)),
                    (Some(b'\n'), _) => {
                        self.scanner.next();
                        Quoted::Last(span, self.good(at + 1, at + 2))
                    }
                    (Some(b'\r'), Some(b'\n')) => {
                        self.scanner.next();
                        self.scanner.next();
                        Quoted::Last(span, self.good(at + 1, at + 3))
                    }
                    (Some(b'\r'), None) if !self.complete => Quoted::More,
                    _ => Quoted::Broken(Malformed::TextAfterQuote { field: field_no }, at),
                };
            } else if byte == escape {
                // Stands for itself here, but written again it would be escaped.
                self.canonical = false;
            } else {
                quotes_needed = true;
                if byte == b'\n' {
                    self.first_line_end.get_or_insert(at);
                    if !multiline {
                        return Quoted::Broken(unclosed, at);
                    }
                }
            }
        }
    }

    /// The first line of the record is all that a broken quote costs.
    fn first_line(&mut self, start: usize, seen: usize, malformed: Malformed) -> Step {
        let buffer = self.scanner.buffer;
        let line_end = self.first_line_end.or_else(|| memchr::memchr(b'\n', &buffer[seen..]).map(|i| seen + i));
        let (mut end, next) = match line_end {
            Some(at) => (at, at + 1),
            None if self.complete => (buffer.len(), buffer.len()),
            None => return Step::More,
        };
        if line_end.is_some() && end > start && buffer[end - 1] == b'\r' {
            end -= 1;
        }
        self.scanner.seek(next);
        Step::Record(Record { end, next, canonical: false, malformed: Some(malformed) })
    }

    #[inline]
    fn whole(&self, end: usize, next: usize) -> Step {
        Step::Record(self.good(end, next))
    }

    #[inline]
    fn good(&self, end: usize, next: usize) -> Record {
        Record { end, next, canonical: self.canonical, malformed: None }
    }

    #[inline]
    fn span(&self, start: usize, end: usize, form: Form) -> Span {
        // The reader bounds a batch far below 4 GiB.
        Span { start: (start - self.base) as u32, len: (end - start) as u32, form }
    }
}
