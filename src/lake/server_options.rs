//! The options of foreign servers and user mappings: which there are, what they may hold, and which server serves a location.
//!
//! Promises: an option that is not known is refused with the known ones; no message holds the value of a secret. Nothing is asked
//! of storage, and nothing is taken from the process environment.

use super::Credentials;
use crate::model::{Code, Error, Location, Result};

/// Where an option may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Wrapper,
    Server,
    UserMapping,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Bool,
    Location,
    Endpoint,
    Identity,
    Key,
    Sas,
    Json,
    Pem,
}

const SERVER: &[(&str, Kind)] = &[
    ("location", Kind::Location),
    ("account_name", Kind::Text),
    ("endpoint", Kind::Endpoint),
    ("authority_host", Kind::Endpoint),
    ("identity_endpoint", Kind::Identity),
    ("region", Kind::Text),
    ("virtual_hosted_style", Kind::Bool),
    ("proxy_url", Kind::Endpoint),
    ("ca_certificate", Kind::Pem),
    ("use_emulator", Kind::Bool),
    ("allow_http", Kind::Bool),
    ("anonymous", Kind::Bool),
];

const USER_MAPPING: &[(&str, Kind)] = &[
    ("account_key", Kind::Key),
    ("sas_token", Kind::Sas),
    ("client_id", Kind::Text),
    ("client_secret", Kind::Text),
    ("tenant_id", Kind::Text),
    ("federated_token_file", Kind::Text),
    ("use_managed_identity", Kind::Bool),
    ("access_key_id", Kind::Text),
    ("secret_access_key", Kind::Text),
    ("session_token", Kind::Text),
    ("service_account_key", Kind::Json),
    ("anonymous", Kind::Bool),
];

/// Options that say who somebody is; a user mapping has one of them.
const IDENTITIES: &[&str] = &[
    "account_key",
    "sas_token",
    "client_secret",
    "federated_token_file",
    "use_managed_identity",
    "secret_access_key",
    "service_account_key",
    "anonymous",
];

/// Checks the options of an object, all of them together as they would stand after a change.
pub fn check(place: Place, options: &[(String, String)]) -> Result<()> {
    let (known, what) = match place {
        Place::Wrapper => (&[][..], "a foreign data wrapper"),
        Place::Server => (SERVER, "a server"),
        Place::UserMapping => (USER_MAPPING, "a user mapping"),
    };
    for (name, value) in options {
        let Some((_, kind)) = known.iter().find(|(option, _)| option == name) else {
            return Err(unknown(name, place, what, known));
        };
        check_value(*kind, value).map_err(|reason| {
            Error::new(Code::InvalidParameter, format!("option \"{name}\" {reason}"))
                .detail(format!("It was given for {what} of wrapper millrace."))
                .hint("The documentation of each option says what it holds.")
        })?;
    }
    let given: Credentials = options.iter().cloned().collect();
    match place {
        Place::Server if !given.contains_key("location") => {
            Err(Error::new(Code::InvalidParameter, "a server needs the option \"location\"")
                .detail("It says which locations the server serves: all that begin with it.")
                .hint("OPTIONS (location 'abfss://container@account.dfs.core.windows.net/')"))
        }
        Place::UserMapping => check_identity(&given),
        _ => Ok(()),
    }
}

fn unknown(name: &str, place: Place, what: &str, known: &[(&str, Kind)]) -> Error {
    let elsewhere = match place {
        Place::Server => USER_MAPPING,
        _ => SERVER,
    };
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let hint = match (elsewhere.iter().any(|(option, _)| *option == name), place) {
        (true, Place::Server) => "This option belongs to a user mapping: CREATE USER MAPPING … OPTIONS (…).",
        (true, Place::UserMapping) => "This option belongs to the server: ALTER SERVER … OPTIONS (…).",
        _ => "Check the name for a typing error.",
    };
    let error = Error::new(Code::InvalidParameter, format!("{what} has no option \"{}\"", name.escape_debug()));
    match names.as_slice() {
        [] => error.detail("It has no options.").hint(hint),
        names => error.detail(format!("The options are {}.", names.join(", "))).hint(hint),
    }
}

fn check_identity(given: &Credentials) -> Result<()> {
    let bad = |message: String, hint: &str| {
        Err(Error::new(Code::InvalidParameter, message)
            .detail(format!(
                "Options given: {}.",
                if given.is_empty() { "none".into() } else { given.keys().cloned().collect::<Vec<_>>().join(", ") }
            ))
            .hint(hint))
    };
    match identities(given).as_slice() {
        // As in a dump by somebody who may not see the options: whoever may is to add them again.
        [] if given.is_empty() => {}
        [] => {
            return bad(
                "a user mapping needs credentials".into(),
                "Give one of account_key; sas_token; client_id, client_secret and tenant_id; client_id, federated_token_file and tenant_id; use_managed_identity; access_key_id and secret_access_key; service_account_key; anonymous.",
            );
        }
        [_] => {}
        [first, second, ..] => {
            return bad(format!("options \"{first}\" and \"{second}\" exclude each other"), "Leave one of them out.");
        }
    }
    for option in ["client_secret", "federated_token_file"] {
        let missing = ["client_id", "tenant_id"].into_iter().find(|need| !given.contains_key(*need));
        if let (true, Some(need)) = (given.contains_key(option), missing) {
            return bad(
                format!("option \"{option}\" needs \"{need}\""),
                "Give client_id and tenant_id of the application that is registered in Entra ID.",
            );
        }
    }
    if given.contains_key("secret_access_key") && !given.contains_key("access_key_id") {
        return bad("option \"secret_access_key\" needs \"access_key_id\"".into(), "The two belong together.");
    }
    Ok(())
}

/// The kinds of credentials that are given.
fn identities(given: &Credentials) -> Vec<&'static str> {
    IDENTITIES
        .iter()
        .copied()
        .filter(|name| match *name {
            "use_managed_identity" | "anonymous" => is_true(given, name),
            _ => given.contains_key(*name),
        })
        .collect()
}

/// The kind of credentials to use: those of the user mapping before what the server says of everybody.
pub(super) fn identity(given: &Credentials) -> Option<&'static str> {
    identities(given).first().copied()
}

/// True where a server alone says enough.
pub fn needs_no_mapping(server: &Credentials) -> bool {
    is_true(server, "anonymous") || is_true(server, "use_emulator")
}

/// True where an identity is that of the machine and not of a secret that the user knows.
pub fn is_ambient(given: &Credentials) -> bool {
    matches!(identity(given), Some("federated_token_file" | "use_managed_identity"))
}

pub(super) fn is_true(given: &Credentials, name: &str) -> bool {
    given.get(name).and_then(|value| parse_bool(value)) == Some(true)
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn check_value(kind: Kind, value: &str) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err("is empty".into());
    }
    match kind {
        Kind::Text if value.contains(char::is_control) => Err("holds a control character".into()),
        Kind::Bool if parse_bool(value).is_none() => Err("must be true or false".into()),
        Kind::Location => match Location::parse(value) {
            Ok(location) if location.is_local() => Err("names local files, which need no server".into()),
            Ok(location) if location.split_glob().1.is_some() => Err("holds a pattern; name a directory".into()),
            Ok(_) => Ok(()),
            Err(e) => Err(format!("can't be used: {}", e.message)),
        },
        Kind::Endpoint if url::Url::parse(value).is_ok_and(|url| super::metadata::names_metadata(&url)) => {
            Err("names a link-local address, where machines keep their credentials".into())
        }
        Kind::Endpoint | Kind::Identity => match url::Url::parse(value) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none() =>
            {
                Ok(())
            }
            _ => Err("must be a URL such as https://account.blob.core.windows.net, without user name and query".into()),
        },
        Kind::Key if !is_base64(value) => Err("is no account key: those are Base64".into()),
        Kind::Sas if !value.split('&').any(|pair| pair.trim_start_matches('?').starts_with("sig=")) => {
            Err("is no SAS token: those hold sv=… and sig=…".into())
        }
        Kind::Json if !serde_json::from_str::<serde_json::Value>(value).is_ok_and(|key| key.is_object()) => {
            Err("is no key of a service account: those are JSON files".into())
        }
        Kind::Pem if super::network::certificates(value).is_none() => {
            Err("is no certificate: those begin with -----BEGIN CERTIFICATE-----".into())
        }
        _ => Ok(()),
    }
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Which of several servers serves a location: the one whose own location is the longest beginning of it.
pub fn serving<'a, T>(servers: &'a [T], own: impl Fn(&T) -> Option<&str>, location: &Location) -> Option<&'a T> {
    servers
        .iter()
        .filter_map(|server| Some((server, Location::parse(own(server)?).ok()?)))
        .filter(|(_, place)| location.is_within(place))
        .max_by_key(|(_, place)| place.segments().len())
        .map(|(server, _)| server)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of nobody: its key was never kept.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBdTCCARugAwIBAgIUAdYRT8I2A+rwzXdZuwHKWiwK6VIwCgYIKoZIzj0EAwIw\n\
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMwMjU3MzlaGA8yMTI2MTAzMDAyNTcz\n\
OVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOb1\n\
bVJN2+plAWRj3V4Z5EyEVa8ipLIPqcYQkVpu1m16NKxEBVCiy+PhqGKr1+je6F3Q\n\
80VVg7xmnsT6IDJm/cCjUzBRMB0GA1UdDgQWBBRYJ604wO05wdGGeHxZkjWD/kjC\n\
4TAfBgNVHSMEGDAWgBRYJ604wO05wdGGeHxZkjWD/kjC4TAPBgNVHRMBAf8EBTAD\n\
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDhd3EIgaK6WfVzrK9cxgn6+vIYqUCWIUt8\n\
K+q4QsscYwIgW8nLepYF+DHQoT0MfzGr8hk9Y2wv8CGPPgOUM9+AXTU=\n\
-----END CERTIFICATE-----\n\
";

    fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn what_can_be_used_is_accepted() {
        for (place, given) in [
            (Place::Server, vec![("location", "az://lake/in"), ("account_name", "acme")]),
            (Place::Server, vec![("location", "az://lake"), ("endpoint", "http://127.0.0.1:10000/devstoreaccount1")]),
            (Place::UserMapping, vec![("account_key", "c2VjcmV0")]),
            (Place::UserMapping, vec![("sas_token", "?sv=2022-11-02&sig=abc")]),
            (Place::UserMapping, vec![("client_id", "a"), ("client_secret", "b"), ("tenant_id", "c")]),
            (Place::UserMapping, vec![("use_managed_identity", "on")]),
            (Place::UserMapping, vec![("anonymous", "true"), ("use_managed_identity", "false")]),
            (Place::Server, vec![("location", "s3://b"), ("region", "eu-west-1"), ("proxy_url", "http://proxy:3128")]),
            (Place::Server, vec![("location", "az://lake"), ("ca_certificate", CERTIFICATE)]),
            (Place::UserMapping, vec![("access_key_id", "a"), ("secret_access_key", "b"), ("session_token", "c")]),
            (Place::UserMapping, vec![("service_account_key", "{}")]),
            (Place::Server, vec![("location", "az://lake"), ("identity_endpoint", "http://169.254.169.254/msi/token")]),
            (Place::Wrapper, vec![]),
        ] {
            assert_eq!(check(place, &options(&given)), Ok(()), "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_a_secret() {
        for (place, given, part) in [
            (Place::Server, vec![("locaton", "az://lake")], "location, account_name"),
            (Place::Server, vec![("location", "az://lake"), ("account_key", "TOPSECRET")], "user mapping"),
            (Place::Server, vec![], "needs the option"),
            (Place::Server, vec![("location", "file:///x")], "local files"),
            (Place::Server, vec![("location", "az://lake/*.csv")], "pattern"),
            (Place::Server, vec![("location", "az://lake"), ("endpoint", "https://u:TOPSECRET@x")], "must be a URL"),
            (Place::Server, vec![("location", "az://lake"), ("endpoint", "http://169.254.169.254/x")], "link-local"),
            (
                Place::Server,
                vec![("location", "az://lake"), ("authority_host", "http://[fd00:ec2::254]")],
                "link-local",
            ),
            (Place::Server, vec![("location", "az://lake"), ("proxy_url", "http://2852039166:80")], "link-local"),
            (Place::Server, vec![("location", "az://lake"), ("use_emulator", "perhaps")], "true or false"),
            (Place::UserMapping, vec![("account_key", "TOPSECRET!")], "Base64"),
            (Place::UserMapping, vec![("sas_token", "TOPSECRET")], "SAS token"),
            (Place::UserMapping, vec![("endpoint", "https://x")], "ALTER SERVER"),
            (Place::UserMapping, vec![("client_secret", "TOPSECRET"), ("client_id", "x")], "tenant_id"),
            (Place::UserMapping, vec![("account_key", "c2VjcmV0"), ("sas_token", "sig=TOPSECRET")], "exclude"),
            (Place::UserMapping, vec![("secret_access_key", "TOPSECRET")], "access_key_id"),
            (Place::UserMapping, vec![("service_account_key", "TOPSECRET")], "JSON"),
            (Place::Server, vec![("location", "s3://b"), ("proxy_url", "http://u:TOPSECRET@p")], "must be a URL"),
            (Place::Server, vec![("location", "az://lake"), ("ca_certificate", "TOPSECRET")], "no certificate"),
            (
                Place::Server,
                vec![
                    ("location", "az://lake"),
                    ("ca_certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
                ],
                "no certificate",
            ),
            (Place::UserMapping, vec![("ca_certificate", CERTIFICATE)], "ALTER SERVER"),
            (Place::UserMapping, vec![("network_timeout", "1")], "no option"),
            (Place::UserMapping, vec![("client_id", "x")], "needs credentials"),
            (Place::Wrapper, vec![("x", "TOPSECRET")], "no options"),
        ] {
            let error = check(place, &options(&given)).unwrap_err();
            assert_eq!(error.code, Code::InvalidParameter, "{given:?}");
            let text = format!("{error:?}");
            assert!(text.contains(part) && !text.contains("TOPSECRET"), "{given:?}: {text}");
        }
    }

    #[test]
    fn the_server_with_the_longest_location_serves() {
        let servers = ["az://lake", "az://lake/in", "az://lake/in/deep", "az://other", "broken"];
        for (location, wanted) in [
            ("az://lake/in/a.csv", Some("az://lake/in")),
            ("az://lake/in", Some("az://lake/in")),
            ("az://lake/inside", Some("az://lake")),
            ("az://lake/in/deep/er", Some("az://lake/in/deep")),
            ("az://lakes/in", None),
            ("https://lake/in", None),
        ] {
            let found = serving(&servers, |server| Some(server), &Location::parse(location).unwrap());
            assert_eq!(found.copied(), wanted, "{location}");
        }
    }
}
