//! Fields in COPY's binary form made into Datums, mostly where they lie.
//!
//! Promises: a field that is taken here gives the very Datum that the type's receive function would give; every other field is given
//! to that function, which also raises the errors. What it makes lives as long as the buffer and the current memory context.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::convert::jsonb::Encoder;

/// In place of the version of jsonb's binary form, which is 1: the value follows as it is stored. For rows of our own, on their way
/// straight into a table.
pub const STORED_JSONB: u8 = 0;

/// How one column's fields are read.
pub(super) struct Reader {
    form: Form,
    jsonb: Encoder,
    receive: pg_sys::FmgrInfo,
    parameter: Oid,
    typmod: i32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Bool,
    Two,
    Four,
    Eight,
    Date,
    Timestamp,
    Time,
    /// A varlena of these bytes, as text and bytea are; a text is valid in the database's encoding.
    Bytes,
    Uuid,
    Numeric,
    Jsonb,
    Received,
}

fn form_of(type_oid: Oid, typmod: i32) -> Form {
    let unlimited = typmod < 0;
    match type_oid {
        pg_sys::BOOLOID => Form::Bool,
        pg_sys::INT2OID => Form::Two,
        pg_sys::INT4OID | pg_sys::FLOAT4OID => Form::Four,
        pg_sys::INT8OID | pg_sys::FLOAT8OID => Form::Eight,
        pg_sys::DATEOID => Form::Date,
        // With a precision their receive functions round.
        pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID if unlimited => Form::Timestamp,
        pg_sys::TIMEOID if unlimited => Form::Time,
        pg_sys::TEXTOID | pg_sys::BYTEAOID | pg_sys::VARCHAROID => Form::Bytes,
        pg_sys::UUIDOID => Form::Uuid,
        pg_sys::NUMERICOID => Form::Numeric,
        pg_sys::JSONBOID => Form::Jsonb,
        _ => Form::Received,
    }
}

/// Longest varlena with a header of one byte, header included.
const SHORT: usize = 0x7f;
pub(super) const DIRECT: bool = cfg!(target_endian = "little") && cfg!(target_pointer_width = "64");

impl Reader {
    /// SAFETY: to be called in a transaction, in a memory context that outlives the reader.
    pub(super) unsafe fn new(type_oid: Oid, typmod: i32) -> Reader {
        let mut receive = pg_sys::FmgrInfo::default();
        let (mut function, mut parameter) = (Oid::INVALID, Oid::INVALID);
        // SAFETY: look-ups in the catalog; the outputs outlive the calls.
        unsafe {
            pg_sys::getTypeBinaryInputInfo(type_oid, &mut function, &mut parameter);
            pg_sys::fmgr_info(function, &mut receive);
        }
        let form = if DIRECT { form_of(type_oid, typmod) } else { Form::Received };
        Reader { form, jsonb: Encoder::default(), receive, parameter, typmod }
    }

    /// The Datum of the field `start..end` of `buffer`, which its length of four bytes goes before. The field's bytes may be changed.
    ///
    /// SAFETY: `buffer` must neither move nor change while the Datum is in use.
    #[inline]
    pub(super) unsafe fn read(&mut self, buffer: &mut [u8], start: usize, end: usize) -> Datum {
        let known = match (self.form, buffer.get(start..end)) {
            (Form::Bool, Some(&[value])) => Some(Datum::from(value != 0)),
            (Form::Two, Some(&[a, b])) => Some(Datum::from(i16::from_be_bytes([a, b]))),
            (Form::Four, Some(&[a, b, c, d])) => Some(Datum::from(i32::from_be_bytes([a, b, c, d]))),
            (Form::Eight, Some(bytes)) => <[u8; 8]>::try_from(bytes).ok().map(|b| Datum::from(i64::from_be_bytes(b))),
            (Form::Date, Some(&[a, b, c, d])) => date(i32::from_be_bytes([a, b, c, d])),
            (Form::Timestamp, Some(bytes)) => {
                <[u8; 8]>::try_from(bytes).ok().and_then(|b| timestamp(i64::from_be_bytes(b)))
            }
            (Form::Time, Some(bytes)) => <[u8; 8]>::try_from(bytes).ok().and_then(|b| time(i64::from_be_bytes(b))),
            (Form::Uuid, Some(bytes)) if bytes.len() == 16 => Some(Datum::from(bytes.as_ptr())),
            (Form::Bytes, Some(bytes)) => {
                let limit = if self.typmod < 0 { usize::MAX } else { (self.typmod - 4).max(0) as usize };
                match bytes.len() {
                    length if length > limit => None,
                    length if length < SHORT => short(buffer, start, end),
                    _ => long(buffer, start, end),
                }
            }
            (Form::Numeric, Some(_)) => numeric(buffer, start, end, self.typmod),
            // The version of the binary form, and JSON.
            (Form::Jsonb, Some([1, text @ ..])) => {
                std::str::from_utf8(text).ok().and_then(|text| self.jsonb.encode(text)).map(copied)
            }
            (Form::Jsonb, Some([STORED_JSONB, stored @ ..])) => Some(copied(stored)),
            _ => None,
        };
        match known {
            Some(datum) => datum,
            // SAFETY: as promised by the caller.
            None => unsafe { self.receive(buffer.get(start..end)) },
        }
    }

    /// The Datum of a NULL: a domain may refuse it.
    ///
    /// SAFETY: as for `new`.
    #[inline]
    pub(super) unsafe fn null(&mut self) {
        if self.form == Form::Received {
            // SAFETY: a NULL has no buffer.
            unsafe { self.receive(None) };
        }
    }

    #[cold]
    unsafe fn receive(&mut self, bytes: Option<&[u8]>) -> Datum {
        // SAFETY: the buffer is a copy in the current memory context with a NUL behind it, as COPY gives it.
        unsafe {
            let Some(bytes) = bytes else {
                return pg_sys::ReceiveFunctionCall(
                    &mut self.receive,
                    std::ptr::null_mut(),
                    self.parameter,
                    self.typmod,
                );
            };
            let data = pg_sys::palloc(bytes.len() + 1).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            *data.add(bytes.len()) = 0;
            let len = bytes.len() as i32;
            let mut info = pg_sys::StringInfoData { data: data.cast(), len, maxlen: len + 1, cursor: 0 };
            pg_sys::ReceiveFunctionCall(&mut self.receive, &mut info, self.parameter, self.typmod)
        }
    }
}

/// The bytes of a varlena behind its header; `None` for what is compressed or kept elsewhere.
///
/// SAFETY: the value is a varlena, and lives as long as the bytes are used.
#[inline]
pub(super) unsafe fn payload<'a>(value: Datum) -> Option<&'a [u8]> {
    // SAFETY: as promised by the caller; it begins with its length.
    unsafe {
        let start = value.cast_mut_ptr::<u8>().cast_const();
        let (header, length) = match *start {
            1 => return None,
            head if DIRECT && head & 1 == 1 => (1, usize::from(head >> 1)),
            head if DIRECT && head & 3 == 0 => (4, (start.cast::<u32>().read_unaligned() >> 2) as usize),
            _ => return None,
        };
        Some(std::slice::from_raw_parts(start.add(header), length - header))
    }
}

/// A copy in the current memory context, aligned for what is stored in it.
fn copied(bytes: &[u8]) -> Datum {
    // SAFETY: the new memory has room for as many bytes.
    unsafe {
        let copy = pg_sys::palloc(bytes.len()).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        Datum::from(copy)
    }
}

/// Days from 2000-01-01 for 4714-11-24 BC to 5874897-12-31 (datatype/timestamp.h), and both infinities.
#[inline]
fn date(days: i32) -> Option<Datum> {
    let valid = (-2_451_545..2_145_031_949).contains(&days) || days == i32::MIN || days == i32::MAX;
    valid.then(|| Datum::from(days))
}

/// The same in microseconds, to 294276-12-31.
#[inline]
fn timestamp(micros: i64) -> Option<Datum> {
    let valid = (-211_813_488_000_000_000..9_223_371_331_200_000_000).contains(&micros);
    (valid || micros == i64::MIN || micros == i64::MAX).then(|| Datum::from(micros))
}

#[inline]
fn time(micros: i64) -> Option<Datum> {
    (0..=86_400_000_000).contains(&micros).then(|| Datum::from(micros))
}

/// Puts the header of a short varlena into the last byte of the field's length.
#[inline]
fn short(buffer: &mut [u8], start: usize, end: usize) -> Option<Datum> {
    let at = start.checked_sub(1)?;
    *buffer.get_mut(at)? = ((end - at) << 1 | 1) as u8;
    Some(Datum::from(buffer.get(at..)?.as_ptr()))
}

/// Puts the header of a varlena in the place of the field's length. It may stand at any address: who reads a text asks for no other.
#[inline]
fn long(buffer: &mut [u8], start: usize, end: usize) -> Option<Datum> {
    let at = start.checked_sub(4)?;
    let header = u32::try_from(end - at).ok()?.checked_mul(4)?;
    buffer.get_mut(at..start)?.copy_from_slice(&header.to_ne_bytes());
    Some(Datum::from(buffer.get(at..)?.as_ptr()))
}

const NEGATIVE: u16 = 0x4000;
const STORED: u16 = 0x8000;
const STORED_NEGATIVE: u16 = 0x2000;
const SCALE_SHIFT: u32 = 7;
const WEIGHT_BITS: u16 = 0x7f;

/// A numeric in its short stored form (numeric.c: a header of sign, display scale and weight, then digits to base 10,000), written
/// over the form in which it was sent. `None`: it has no such form, is not normalised, or does not fit the column as it is.
#[inline]
fn numeric(buffer: &mut [u8], start: usize, end: usize, typmod: i32) -> Option<Datum> {
    let sent = buffer.get(start..end)?;
    let (head, digits) = sent.split_first_chunk::<8>()?;
    let word = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
    let (count, weight, sign, scale) = (usize::from(word(0)), word(2) as i16, word(4), word(6));
    let digit = |i: usize| digits.get(2 * i..2 * i + 2).map(|d| u16::from_be_bytes([d[0], d[1]]));
    let size = 3 + 2 * count;
    if digits.len() != 2 * count || size > SHORT || scale > 63 || !(-64..=63).contains(&weight) {
        return None;
    }
    let header = STORED | scale << SCALE_SHIFT | weight as u16 & WEIGHT_BITS;
    let header = match (count, sign) {
        (0, 0) if weight == 0 => header,
        (1.., 0) => header,
        (1.., NEGATIVE) => header | STORED_NEGATIVE,
        _ => return None,
    };
    if count > 0 {
        let (first, last) = (digit(0)?, digit(count - 1)?);
        if first == 0 || last == 0 || first > 9999 || last > 9999 || !fits(count, weight, scale, first, last, typmod) {
            return None;
        }
    } else if typmod >= 4 && i32::from(scale) != scale_of(typmod) {
        return None;
    }
    let at = start.checked_sub(1)?;
    let stored = buffer.get_mut(at..end)?;
    stored[0] = (size << 1 | 1) as u8;
    stored[1..3].copy_from_slice(&header.to_ne_bytes());
    for i in 0..count {
        let from = 9 + 2 * i;
        let value = u16::from_be_bytes([stored[from], stored[from + 1]]);
        stored[3 + 2 * i..5 + 2 * i].copy_from_slice(&value.to_ne_bytes());
    }
    Some(Datum::from(stored.as_ptr()))
}

fn scale_of(typmod: i32) -> i32 {
    (((typmod - 4) & 0x7ff) ^ 1024) - 1024
}

/// Whether a value has no more digits than its display scale and the column's precision let through, so that nothing would be rounded.
#[inline]
fn fits(count: usize, weight: i16, scale: u16, first: u16, last: u16, typmod: i32) -> bool {
    let behind = 4 * (count as i32 - 1 - i32::from(weight));
    let over = behind - i32::from(scale);
    let rounds = over > 0 && (over > 3 || !last.is_multiple_of([1, 10, 100, 1000][over as usize]));
    if rounds || typmod < 4 {
        return !rounds;
    }
    let precision = ((typmod - 4) >> 16) & 0xffff;
    let before = 4 * i32::from(weight) + 1 + first.checked_ilog10().unwrap_or(0) as i32;
    i32::from(scale) == scale_of(typmod) && before <= precision - scale_of(typmod)
}
