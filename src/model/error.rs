//! The one error type of the project.
//!
//! Every error has a [`Code`], which fixes its SQLSTATE and whether trying again later can help.
//! `message` says what is wrong, `detail` where, `hint` what to do. None of them ever holds a secret:
//! whoever builds an error from a storage answer masks it first.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong. The SQLSTATE is part of the contract with clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// An argument or option has a value that can't be used.
    InvalidParameter,
    /// A required argument is NULL.
    NullArgument,
    /// A name is not known.
    UndefinedObject,
    /// A name is taken already.
    DuplicateObject,
    /// The thing is there, but not in a state that allows this.
    WrongState,
    /// The thing exists and does not fit what is asked of it.
    Mismatch,
    /// The caller or owner lacks a right.
    Forbidden,
    /// A construct that is not supported, named in the message.
    Unsupported,
    /// A directory, file or table in the lake is not there.
    NotFound,
    /// A file or table in the lake was read but is broken.
    Corrupt,
    /// A file changed while or after it was read.
    Changed,
    /// A needed version or data file of a Delta table is gone.
    Gap,
    /// Another writer won; planning again will help.
    Conflict,
    /// Storage or network did not answer, or answered that it is busy.
    Unavailable,
    /// Reading or writing failed for another reason.
    Io,
    /// A configured limit would be passed.
    Limit,
    /// Must run outside a transaction block.
    ActiveTransaction,
    /// A pipeline must not go on until somebody has looked.
    Stopped,
    /// The caller cancelled.
    Cancelled,
    /// A promise of our own code was broken.
    Internal,
    /// An error that Postgres itself raised; it carries its own SQLSTATE.
    Postgres([u8; 5]),
}

impl Code {
    /// The five characters that a client sees.
    pub fn sqlstate(&self) -> [u8; 5] {
        *match self {
            Code::InvalidParameter => b"22023",
            Code::NullArgument => b"22004",
            Code::UndefinedObject => b"42704",
            Code::DuplicateObject => b"42710",
            Code::WrongState => b"55000",
            Code::Mismatch => b"42809",
            Code::Forbidden => b"42501",
            Code::Unsupported => b"0A000",
            Code::NotFound => b"58P01",
            Code::Corrupt => b"XX001",
            Code::Changed => b"40001",
            Code::Gap => b"58P01",
            Code::Conflict => b"40001",
            Code::Unavailable => b"08006",
            Code::Io => b"58030",
            Code::Limit => b"54000",
            Code::ActiveTransaction => b"25001",
            Code::Stopped => b"23514",
            Code::Cancelled => b"57014",
            Code::Internal => b"XX000",
            Code::Postgres(state) => state,
        }
    }

    /// True where somebody wants the statement or the process to end: never to be taken for a failure of what was tried.
    pub fn is_cancel(&self) -> bool {
        matches!(&self.sqlstate(), b"57014" | b"57P01")
    }

    /// True where trying the same thing again later may succeed without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Code::Conflict | Code::Unavailable | Code::Changed | Code::Io => true,
            // 40 transaction rollback, 53 insufficient resources, 55P03 lock not available, 57 operator intervention, 08 connection
            Code::Postgres(s) => matches!(&s[..2], b"40" | b"53" | b"57" | b"08") || s == b"55P03",
            _ => false,
        }
    }
}

/// An error with everything a user needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn is_temporary(&self) -> bool {
        self.code.is_temporary()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
