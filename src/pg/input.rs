//! Asking Postgres itself to read a value: the type's own input function, with its error caught.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use crate::convert::Reason;
use crate::model::{Code, Error, Result};
use crate::pg::{interrupts, subtransaction};

/// The input and send functions of one column's type.
pub struct Reader {
    column: String,
    type_name: String,
    input: pg_sys::FmgrInfo,
    send: pg_sys::FmgrInfo,
    io_param: Oid,
    typmod: i32,
}

/// Longest value that a reason repeats; the whole text is in the reject's `raw`.
pub const SHOWN: usize = 200;

impl Reader {
    /// Use within one transaction: what is looked up here lives in its memory.
    pub fn new(column: &str, type_name: &str, type_oid: Oid, typmod: i32) -> Reader {
        // SAFETY: look-ups of a type that exists; fmgr_info fills the structs before they are used.
        unsafe {
            let (mut input, mut send, mut io_param, mut varlena) = (Oid::INVALID, Oid::INVALID, Oid::INVALID, false);
            pg_sys::getTypeInputInfo(type_oid, &mut input, &mut io_param);
            pg_sys::getTypeBinaryOutputInfo(type_oid, &mut send, &mut varlena);
            let mut reader = Reader {
                column: column.to_string(),
                type_name: type_name.to_string(),
                input: std::mem::zeroed(),
                send: std::mem::zeroed(),
                io_param,
                typmod,
            };
            pg_sys::fmgr_info(input, &mut reader.input);
            pg_sys::fmgr_info(send, &mut reader.send);
            reader
        }
    }

    /// Appends the value's COPY BINARY field (length and bytes) to `out`, or says why Postgres refuses it.
    /// `Err` is an error that has nothing to do with the value, such as a cancel.
    pub fn read(&mut self, text: &str, out: &mut Vec<u8>) -> Result<std::result::Result<(), Reason>> {
        let Ok(c_text) = CString::new(text) else {
            return Ok(Err(self.refusal(text, "22021", "invalid byte sequence for encoding \"UTF8\": 0x00".into())));
        };
        let start = out.len();
        let result = subtransaction::run(|| {
            // SAFETY: the functions belong to the type; the text lives across the call; the bytea is copied at once.
            unsafe {
                let datum =
                    pg_sys::InputFunctionCall(&mut self.input, c_text.as_ptr().cast_mut(), self.io_param, self.typmod);
                let bytes = pg_sys::SendFunctionCall(&mut self.send, datum);
                let data = pgrx::varlena_to_byte_slice(bytes.cast());
                out.extend_from_slice(&(data.len() as i32).to_be_bytes());
                out.extend_from_slice(data);
                pg_sys::pfree(bytes.cast());
                Ok(())
            }
        });
        match result {
            Ok(()) => Ok(Ok(())),
            Err(e) if is_about_the_value(&e) => {
                out.truncate(start);
                interrupts::check();
                let sqlstate = String::from_utf8_lossy(&e.code.sqlstate()).into_owned();
                Ok(Err(self.refusal(text, &sqlstate, e.message)))
            }
            Err(e) => Err(e),
        }
    }

    fn refusal(&self, text: &str, sqlstate: &str, message: String) -> Reason {
        Reason {
            column: Some(self.column.clone()),
            rule: Some(self.type_name.clone()),
            sqlstate: sqlstate.to_string(),
            message,
            value: Some(text.chars().take(SHOWN).collect()),
        }
    }
}

/// Anything but resources, cancels and our own bugs is the value's fault: 22 data exception, 23 (domain checks), P0 (raised by a
/// domain's function), 42 and 0A (an enum label or a name that does not exist).
pub fn is_about_the_value(e: &Error) -> bool {
    match e.code {
        Code::Postgres(s) => matches!(&s[..2], b"22" | b"23" | b"P0" | b"42" | b"0A" | b"21" | b"44"),
        _ => false,
    }
}

/// The name of the server's encoding, which must be UTF8 for what we write.
pub fn server_encoding() -> String {
    // SAFETY: answers a static string.
    unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()).to_string_lossy().into_owned() }
}
