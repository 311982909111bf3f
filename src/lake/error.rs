//! From what storage, parquet and Delta libraries say to the project's errors.
//!
//! Promises: the code follows from the cause (missing, forbidden, busy, broken), the detail names the location, and every text
//! that came from outside is masked.

use std::error::Error as StdError;
use std::io;

use deltalake::DeltaTableError;

use crate::model::mask::mask;
use crate::model::{Code, Error};

type Source<'a> = &'a (dyn StdError + 'static);

/// An error of an object store while doing `what` to `place`.
pub fn store_error(error: &object_store::Error, what: &str, place: &str) -> Error {
    build(store_code(error), error, what, place)
}

/// An error of the local file system.
pub fn io_error(error: &io::Error, what: &str, place: &str) -> Error {
    build(io_code(error.kind()).unwrap_or(Code::Io), error, what, place)
}

/// An error of the Delta library.
pub fn delta_error(error: &DeltaTableError, what: &str, place: &str) -> Error {
    let code = match error {
        DeltaTableError::InvalidJsonLog { .. } | DeltaTableError::InvalidData { .. } => Code::Corrupt,
        other => chain_code(other).unwrap_or(Code::Corrupt),
    };
    build(code, error, what, place)
}

/// An error of the Parquet or Arrow library, or of anything else that wraps its cause. One of ours comes out as it went in.
pub fn format_error(error: Source<'_>, what: &str, place: &str) -> Error {
    if let Some(ours) = chain(error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return ours.clone();
    }
    build(chain_code(error).unwrap_or(Code::Corrupt), error, what, place)
}

/// The same words for an error that we found ourselves.
pub fn place_error(code: Code, message: impl Into<String>, place: &str) -> Error {
    with_hint(Error::new(code, message).detail(format!("location: {}", mask(place))))
}

fn build(code: Code, error: Source<'_>, what: &str, place: &str) -> Error {
    // What our own code said from inside a library's call needs no other words.
    if let Some(own) = chain(error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return Error { detail: Some(format!("location: {}", mask(place))), ..own.clone() };
    }
    let reason = mask(&full_text(error));
    let remote = !place.starts_with("file:");
    let hint = hint_of(&reason).or((remote && code == Code::Forbidden).then_some(
        "The key is wrong, the token has expired, or it does not allow this: ALTER USER MAPPING … OPTIONS (SET …).",
    ));
    let error =
        with_hint(Error::new(code, format!("cannot {what}")).detail(format!("location: {}: {reason}", mask(place))));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What to do about an answer that says more than its status does.
fn hint_of(reason: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["performing token request", "reading federated token file"]) && !says(&["invalid peer certificate"]) {
        return Some(
            "No token was to be had: check client_id, client_secret, tenant_id and federated_token_file of the user mapping, and authority_host and identity_endpoint of the server.",
        );
    }
    if says(&["invalid peer certificate", "UnknownIssuer", "certificate verify failed"]) {
        return Some(
            "The certificate of the other side is not trusted. If an authority of your own signed it: ALTER SERVER … OPTIONS (ADD ca_certificate '-----BEGIN CERTIFICATE-----…').",
        );
    }
    if says(&[
        "AuthenticationFailed",
        "failed to authenticate",
        "InvalidAuthenticationInfo",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "ExpiredToken",
    ]) {
        return Some(
            "The key is wrong, or the token has expired or is not for this place: ALTER USER MAPPING … OPTIONS (SET …).",
        );
    }
    if says(&["AuthorizationPermissionMismatch", "AuthorizationFailure", "AccessDenied", "AuthorizationPermission"]) {
        return Some("The credentials are known there but may not do this: grant the right in the storage account.");
    }
    if says(&["ContainerNotFound", "NoSuchBucket", "specified container does not exist"]) {
        return Some("There is no such container or bucket. Check its name, or create it.");
    }
    if says(&["dns error", "failed to lookup address", "Name or service not known", "No address associated"]) {
        return Some("The name of the host is not known. Check the account and the option endpoint of the server.");
    }
    None
}

fn with_hint(error: Error) -> Error {
    let hint = match error.code {
        Code::NotFound => "Check the location for a typing error, and that whoever writes there has created it.",
        Code::Forbidden => {
            "Give the operating system user of the server, or the identity of the user mapping, the right to read and write there."
        }
        Code::Unavailable => "Storage may be busy or out of reach; it is tried again later.",
        Code::Changed => "A file was replaced while it was read; it is read again after the next listing.",
        Code::Corrupt => "The file is damaged or not of the expected format.",
        _ => return error,
    };
    error.hint(hint)
}

/// The error's own words and those of its causes, each once.
fn full_text(error: Source<'_>) -> String {
    let mut text = String::new();
    for words in chain(error).map(|cause| cause.to_string()) {
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    text
}

fn store_code(error: &object_store::Error) -> Code {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Code::NotFound,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Code::Forbidden,
        E::Precondition { .. } | E::NotModified { .. } => Code::Changed,
        E::AlreadyExists { .. } => Code::Conflict,
        E::NotSupported { .. } | E::NotImplemented { .. } => Code::Unsupported,
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => Code::InvalidParameter,
        E::JoinError { .. } => Code::Internal,
        E::Generic { store, source } => match chain_io(source.as_ref()).and_then(|e| io_code(e.kind())) {
            Some(code) => code,
            None if *store == "LocalFileSystem" => Code::Io,
            None => status_code(&full_text(source.as_ref())).unwrap_or(Code::Unavailable),
        },
        _ => Code::Io,
    }
}

/// What an HTTP status says. Listings report it in words alone.
fn status_code(text: &str) -> Option<Code> {
    let (_, after) = text.split_once("status code: ")?;
    Some(match after.get(..3)? {
        "401" | "403" => Code::Forbidden,
        // What identity providers say of a wrong secret.
        "400" if text.contains("token request") => Code::Forbidden,
        "404" => Code::NotFound,
        "409" => Code::Conflict,
        "412" => Code::Changed,
        "400" => Code::InvalidParameter,
        _ => return None,
    })
}

fn io_code(kind: io::ErrorKind) -> Option<Code> {
    use io::ErrorKind as K;
    Some(match kind {
        K::NotFound | K::NotADirectory => Code::NotFound,
        K::PermissionDenied | K::ReadOnlyFilesystem => Code::Forbidden,
        K::TimedOut
        | K::ConnectionRefused
        | K::ConnectionReset
        | K::ConnectionAborted
        | K::NotConnected
        | K::BrokenPipe
        | K::HostUnreachable
        | K::NetworkUnreachable
        | K::StaleNetworkFileHandle
        | K::ResourceBusy => Code::Unavailable,
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Code::Io,
        _ => return None,
    })
}

/// The error and its causes.
fn chain<'a>(error: Source<'a>) -> impl Iterator<Item = Source<'a>> {
    fn cause<'a>(error: &Source<'a>) -> Option<Source<'a>> {
        let error: Source<'a> = *error;
        // An error that was put into one of I/O is its cause; its own source would be the one behind that.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    }
    std::iter::successors(Some(error), cause)
}

fn chain_io(error: Source<'_>) -> Option<&io::Error> {
    chain(error).find_map(|cause| cause.downcast_ref::<io::Error>())
}

/// What the causes of a wrapping error say, if any of them is storage's.
fn chain_code(error: Source<'_>) -> Option<Code> {
    for cause in chain(error) {
        if let Some(store) = cause.downcast_ref::<object_store::Error>() {
            return Some(store_code(store));
        }
        if let Some(code) = cause.downcast_ref::<io::Error>().and_then(|io| io_code(io.kind())) {
            return Some(code);
        }
    }
    // The Delta kernel keeps the words of an error and drops the cause.
    let text = full_text(error);
    if text.contains("Error performing ") && text.contains(" request") {
        return Some(status_code(&text).unwrap_or(Code::Unavailable));
    }
    text.contains("File not found").then_some(Code::Gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_decides_the_code_and_secrets_stay_out() {
        let denied = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
        };
        assert_eq!(store_error(&denied, "read file", "file:///x").code, Code::Forbidden);

        let reset = object_store::Error::Generic {
            store: "MicrosoftAzure",
            source: "error sending request for url (https://a.blob.core.windows.net/c?sig=TOPSECRET)".into(),
        };
        let error = store_error(&reset, "read file", "az://c/x");
        assert_eq!(error.code, Code::Unavailable);
        assert!(!format!("{error:?}").contains("TOPSECRET"), "{error:?}");
        assert!(error.hint.is_some());

        let listing = object_store::Error::Generic {
            store: "MicrosoftAzure",
            source: "Error performing list request: Server returned non-2xx status code: 403 Forbidden: ".into(),
        };
        assert_eq!(store_error(&listing, "read directory", "az://c/x").code, Code::Forbidden);

        // As an upload reports what befell it, which is no damage to any file.
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        for (cause, code) in [(full, Code::Io), (reset, Code::Unavailable)] {
            let upload = parquet::errors::ParquetError::External(Box::new(io::Error::other(cause)));
            let error = delta_error(&DeltaTableError::Parquet { source: upload }, "write data files", "file:///x");
            assert_eq!(error.code, code, "{error:?}");
        }

        let wrapped = DeltaTableError::ObjectStore { source: denied };
        assert_eq!(delta_error(&wrapped, "open table", "file:///x").code, Code::Forbidden);
    }
}
