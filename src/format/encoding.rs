//! Files in other encodings as UTF-8, and the way back to the bytes of what could not be read.
//!
//! What is no character in a file's encoding becomes a mark that UTF-8 does not allow, so that the readers set its record aside as
//! corrupt; [`Encoding::original`] then gives the bytes that were there.

use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE};

/// Stands before the two halves of a byte that is part of no character. None of the three means anything to a reader.
const MARK: u8 = 0xff;
const HALF: u8 = 0x80;

/// The encoding of a file. UTF-8 unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Self {
        Encoding(UTF_8)
    }
}

impl Encoding {
    /// By a name as the web knows it; UTF-8 where there is none such, which options do not let through.
    pub fn named(name: &str) -> Encoding {
        Encoding(encoding_rs::Encoding::for_label_no_replacement(name.as_bytes()).unwrap_or(UTF_8))
    }

    pub fn is_utf8(&self) -> bool {
        self.0 == UTF_8
    }

    /// The bytes of a record that holds marks.
    pub fn original(&self, text: &[u8]) -> Vec<u8> {
        if self.is_utf8() {
            return text.to_vec();
        }
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr::memchr(MARK, rest) {
            self.encode(&rest[..at], &mut out);
            let (high, low) = (rest.get(at + 1).copied().unwrap_or(0), rest.get(at + 2).copied().unwrap_or(0));
            out.push((high & 15) << 4 | (low & 15));
            rest = rest.get(at + 3..).unwrap_or_default();
        }
        self.encode(rest, &mut out);
        out
    }

    /// These bytes as text, if all of them are.
    pub fn text(&self, bytes: &[u8]) -> Option<String> {
        self.0.decode_without_bom_handling_and_without_replacement(bytes).map(|text| text.into_owned())
    }

    fn encode(&self, text: &[u8], out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(text);
        if self.0 == UTF_16LE {
            out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        } else if self.0 == UTF_16BE {
            out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        } else {
            out.extend_from_slice(&self.0.encode(&text).0);
        }
    }
}

/// Takes a file's bytes as they come and gives them in UTF-8.
pub struct Transcoder {
    decoder: Decoder,
    /// The bytes that may be part of a character not yet complete.
    recent: Vec<u8>,
}

impl Transcoder {
    pub fn new(encoding: Encoding) -> Transcoder {
        // A byte order mark may say which of the two UTF-16 it is.
        Transcoder { decoder: encoding.0.new_decoder(), recent: vec![] }
    }

    /// `last`: no more bytes will come.
    pub fn push(&mut self, block: &[u8], last: bool) -> Vec<u8> {
        let mut out = String::with_capacity(block.len() + block.len() / 2 + 16);
        let mut bytes: Vec<u8> = Vec::new();
        let mut at = 0;
        loop {
            if out.capacity() - out.len() < 64 {
                out.reserve(block.len() - at + 1024);
            }
            let (result, read) = self.decoder.decode_to_string_without_replacement(&block[at..], &mut out, last);
            at += read;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => out.reserve(block.len() - at + 1024),
                DecoderResult::Malformed(length, behind) => {
                    // `behind` bytes were looked at after the malformed ones. All may lie in blocks before this one.
                    let end = (self.recent.len() + at).saturating_sub(usize::from(behind));
                    let start = end.saturating_sub(usize::from(length));
                    bytes.extend_from_slice(out.as_bytes());
                    out.clear();
                    for byte in self.recent.iter().chain(block).take(end).skip(start) {
                        bytes.extend_from_slice(&[MARK, HALF | byte >> 4, HALF | byte & 15]);
                    }
                }
            }
        }
        // No character of any encoding has more bytes.
        self.recent.extend_from_slice(&block[block.len().saturating_sub(8)..]);
        let from = self.recent.len().saturating_sub(8);
        self.recent.drain(..from);
        if bytes.is_empty() {
            return out.into_bytes();
        }
        bytes.extend_from_slice(out.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(encoding: &str, file: &[u8], cut: usize) -> Vec<u8> {
        let mut transcoder = Transcoder::new(Encoding::named(encoding));
        let mut out: Vec<u8> = file.chunks(cut).flat_map(|block| transcoder.push(block, false)).collect();
        out.extend(transcoder.push(&[], true));
        out
    }

    #[test]
    fn text_comes_out_in_utf8_however_it_is_cut() {
        for cut in [1, 2, 3, 100] {
            assert_eq!(of("latin1", b"caf\xe9,\x80", cut), "café,€".as_bytes());
            assert_eq!(of("utf-16le", b"\xff\xfea\0\x3d\xd8\x00\xde", cut), "a😀".as_bytes());
            assert_eq!(of("utf-16", b"\xfe\xff\0a\xd8\x3d\xde\x00", cut), "a😀".as_bytes());
            assert_eq!(of("shift_jis", b"\x93\xfa\x96\x7b", cut), "日本".as_bytes());
            assert_eq!(of("gb18030", b"\x81\x30\x81\x30", cut), "\u{80}".as_bytes());
        }
    }

    #[test]
    fn what_is_no_character_is_marked_and_its_bytes_come_back() {
        for (encoding, file) in [
            ("shift_jis", &b"\x93\xfa\x81\x20\xff\x96\x7b"[..]),
            ("windows-1253", b"a\xaa\xd2b"),
            ("euc-kr", b"\xb0\xa1\xff\xb0"),
            ("utf-16le", b"a\0\x00\xd8b\0"),
        ] {
            for cut in [1, 2, 3, 100] {
                let text = of(encoding, file, cut);
                assert!(std::str::from_utf8(&text).is_err(), "{encoding}");
                assert_eq!(Encoding::named(encoding).original(&text), file, "{encoding} {cut}");
            }
        }
    }
}
