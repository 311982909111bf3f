//! Values of any type as they are counted: their bytes, their copies, the numbers that some of them are, and arrays of them.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::convert::exact::Exact;
use crate::model::{Code, Error, Result};
use crate::pg::spi::Arg;

use super::{Measured, What, array_type};

/// How values of a type are laid out.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    type_oid: Oid,
    array: Oid,
    length: i16,
    by_value: bool,
    align: std::ffi::c_char,
}

impl Kind {
    /// `None` for types without arrays, for rows (whose arrays come apart when they are read), and for those that are none of SQL's.
    pub(super) fn of(type_oid: Oid) -> Option<Kind> {
        // SAFETY: a look-up in the catalog.
        if unsafe { pg_sys::type_is_rowtype(type_oid) } {
            return None;
        }
        let mut kind = Kind { type_oid, array: array_type(type_oid)?, length: 0, by_value: false, align: 0 };
        // SAFETY: a look-up in the catalog; the outputs outlive it.
        unsafe { pg_sys::get_typlenbyvalalign(type_oid, &mut kind.length, &mut kind.by_value, &mut kind.align) };
        (kind.length != -2).then_some(kind)
    }

    pub(super) fn type_oid(&self) -> Oid {
        self.type_oid
    }

    /// The value's own bytes, header and all; `None` for what is compressed or kept elsewhere.
    ///
    /// SAFETY: the value is of this kind, and lives as long as the bytes are used.
    unsafe fn bytes<'a>(&self, value: Datum) -> Option<&'a [u8]> {
        // SAFETY: as promised by the caller; a varlena begins with its length.
        unsafe {
            let start = value.cast_mut_ptr::<u8>().cast_const();
            if self.length >= 0 {
                return Some(std::slice::from_raw_parts(start, self.length as usize));
            }
            let length = match *start {
                1 => return None,
                head if head & 1 == 1 => usize::from(head >> 1),
                head if head & 3 == 0 => (start.cast::<u32>().read_unaligned() >> 2) as usize,
                _ => return None,
            };
            Some(std::slice::from_raw_parts(start, length))
        }
    }

    /// The same behind the header of a varlena.
    ///
    /// SAFETY: as for `bytes`.
    unsafe fn payload<'a>(&self, value: Datum) -> Option<&'a [u8]> {
        // SAFETY: as promised by the caller.
        let bytes: &'a [u8] = unsafe { self.bytes(value)? };
        if self.length >= 0 {
            return Some(bytes);
        }
        let header = if *bytes.first()? & 1 == 1 { 1 } else { 4 };
        bytes.get(header..)
    }

    /// Appends what tells the value from every other.
    ///
    /// SAFETY: the value is of this kind, and lives.
    pub(super) unsafe fn append_image(&self, value: Option<Datum>, out: &mut Vec<u8>) -> Option<()> {
        let Some(value) = value else {
            out.push(0);
            return Some(());
        };
        out.push(1);
        if self.by_value {
            out.extend_from_slice(&(value.value() as u64).to_ne_bytes());
            return Some(());
        }
        // SAFETY: as promised by the caller.
        let bytes = unsafe { self.payload(value)? };
        out.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        out.extend_from_slice(bytes);
        Some(())
    }

    /// A copy that lives as long as `memory`.
    ///
    /// SAFETY: the value is of this kind, and [`Kind::append_image`] has found its bytes.
    pub(super) unsafe fn copy(&self, value: Datum, memory: pg_sys::MemoryContext) -> Datum {
        if self.by_value {
            return value;
        }
        // SAFETY: as promised by the caller; the new memory has room for as many bytes.
        unsafe {
            let Some(bytes) = self.bytes(value) else { return value };
            let copy = pg_sys::MemoryContextAlloc(memory, bytes.len()).cast::<u8>();
            copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Datum::from(copy)
        }
    }

    /// An integer or numeric as it is summed up.
    ///
    /// SAFETY: the value is of this kind, and lives.
    pub(super) unsafe fn exact(&self, value: Datum) -> Option<Exact> {
        match self.type_oid {
            pg_sys::INT2OID => Some(Exact::whole((value.value() as i16).into())),
            pg_sys::INT4OID => Some(Exact::whole((value.value() as i32).into())),
            pg_sys::INT8OID => Some(Exact::whole(value.value() as i64)),
            // SAFETY: as promised by the caller.
            pg_sys::NUMERICOID => Exact::from_stored(unsafe { self.payload(value)? }),
            _ => None,
        }
    }

    /// A value of a type whose order is that of whole numbers.
    pub(super) fn ordered(&self, value: Datum) -> Option<i64> {
        match self.type_oid {
            pg_sys::INT2OID => Some((value.value() as i16).into()),
            pg_sys::INT4OID | pg_sys::DATEOID => Some((value.value() as i32).into()),
            pg_sys::INT8OID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Some(value.value() as i64),
            _ => None,
        }
    }
}

/// An array of values.
pub(super) fn array(kind: &Kind, values: impl ExactSizeIterator<Item = Option<Datum>>) -> Result<Arg> {
    let count = values.len();
    let (mut elements, mut nulls) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for value in values {
        nulls.push(value.is_none());
        elements.push(value.unwrap_or(Datum::null()));
    }
    // SAFETY: elements and nulls are as many as is said, and of this kind; the array is palloc'ed.
    let array = unsafe {
        if count == 0 {
            pg_sys::construct_empty_array(kind.type_oid)
        } else {
            let (mut size, mut lower) = (count as i32, 1);
            pg_sys::construct_md_array(
                elements.as_mut_ptr(),
                nulls.as_mut_ptr(),
                1,
                &mut size,
                &mut lower,
                kind.type_oid,
                kind.length.into(),
                kind.by_value,
                kind.align,
            )
        }
    };
    Ok(Arg::Array { datum: Datum::from(array), type_oid: kind.array })
}

/// What was measured, as an array of the type that the aggregate is kept as.
pub(super) fn measures<'a>(
    what: What,
    kind: Option<&Kind>,
    measured: impl ExactSizeIterator<Item = &'a Measured>,
) -> Result<Arg> {
    if what == What::Count {
        let counts = measured.map(|m| if let Measured::Count(n) = m { Some(*n) } else { None });
        return Ok(Arg::Int8s(counts.collect()));
    }
    let kind = kind.ok_or_else(|| Error::new(Code::Internal, "a sum has no argument"))?;
    if what == What::Sum {
        let sums = measured.map(|m| if let Measured::Sum(sum) = m { *sum } else { None });
        return match kind.type_oid {
            pg_sys::INT2OID | pg_sys::INT4OID => Ok(Arg::Int8s(sums.map(|sum| sum.map(|s| s.units as i64)).collect())),
            _ => {
                let numeric =
                    Kind::of(pg_sys::NUMERICOID).ok_or_else(|| Error::new(Code::Internal, "numeric has no arrays"))?;
                array(&numeric, sums.map(|sum| sum.and_then(numeric_of)))
            }
        };
    }
    let extremes = measured.map(|m| if let Measured::Extreme(value) = m { value.map(Datum::from) } else { None });
    array(kind, extremes)
}

fn numeric_of(sum: Exact) -> Option<Datum> {
    if let Ok(units) = i64::try_from(sum.units) {
        // SAFETY: gives a numeric of this value and of as many digits behind the point as the scale says.
        return Some(Datum::from(unsafe { pg_sys::int64_div_fast_to_numeric(units, sum.scale as i32) }.cast::<u8>()));
    }
    // A text that numeric's own input function reads.
    let text = std::ffi::CString::new(sum.text()).ok()?;
    // SAFETY: numeric_in takes a C string, the type's modifier argument and the modifier.
    unsafe {
        Some(pg_sys::OidInputFunctionCall(
            pg_sys::Oid::from(pg_sys::F_NUMERIC_IN),
            text.as_ptr().cast_mut(),
            Oid::INVALID,
            -1,
        ))
    }
}
