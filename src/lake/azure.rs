//! Azure storage: from a location and credentials to an object store of one container.
//!
//! Promises: as in [`super::network`]; whose identity is used is what the credentials say, and never what the machine happens to offer.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use url::Url;

use super::Credentials;
use super::network::{client, is_loopback, may_speak_http, no_credentials, refuse, retries, unusable};
use super::server_options::{identity, is_true};
use crate::model::location::Scheme;
use crate::model::{Code, Location, Result};

/// Azurite's account, and its key, which is the same in every copy of it.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// Account, container and path of a location.
#[derive(Debug, PartialEq)]
struct Parts {
    account: Option<String>,
    /// Where the location says it; without a container.
    endpoint: Option<String>,
    container: String,
    /// Segments of the location that are no path in the container.
    skip: usize,
}

/// The container of a location as a store, and the path in it.
pub(super) fn open(location: &Location, credentials: &Credentials) -> Result<(Arc<dyn ObjectStore>, String)> {
    let parts = parts(location)?;
    let path = location.segments()[parts.skip..].join("/");
    Ok((Arc::new(build(location, parts, credentials)?), path))
}

/// What makes two locations one place, however they are written: account and container, and the path in it.
pub(super) fn identity_of(location: &Location, credentials: &Credentials) -> Result<(String, usize)> {
    let parts = parts(location)?;
    let emulator = is_true(credentials, "use_emulator").then(|| EMULATOR_ACCOUNT.to_owned());
    let account = parts.account.or_else(|| credentials.get("account_name").cloned()).or(emulator).unwrap_or_default();
    Ok((format!("azure:{}/{}", account.to_ascii_lowercase(), parts.container), parts.skip))
}

/// The container of a location under each name by which an administrator may know it: as it is written, and account with its domain;
/// and how many segments of the location belong to the name.
pub(super) fn names_of(location: &Location, credentials: &Credentials) -> Result<(Vec<String>, usize)> {
    let parts = parts(location)?;
    let written =
        std::iter::once(location.authority()).chain(location.segments()[..parts.skip].iter().map(String::as_str));
    let written = format!("{}://{}", location.scheme().name(), written.collect::<Vec<_>>().join("/"));
    let emulator = is_true(credentials, "use_emulator").then(|| EMULATOR_ACCOUNT.to_owned());
    let account = parts.account.or_else(|| credentials.get("account_name").cloned()).or(emulator.clone());
    // A location that names no host is wherever its server says.
    let endpoint = parts.endpoint.or_else(|| credentials.get("endpoint").cloned());
    let host = match (&account, endpoint) {
        (Some(_), Some(endpoint)) => Url::parse(&endpoint).ok().and_then(|url| {
            Some(format!("{}{}", url.host_str()?, url.port().map(|port| format!(":{port}")).unwrap_or_default()))
        }),
        (Some(account), None) if emulator.is_none() => Some(format!("{account}.blob.core.windows.net")),
        _ => None,
    };
    let known = account.zip(host).map(|(account, host)| {
        format!("azure:{}/{}/{}", host.to_ascii_lowercase(), account.to_ascii_lowercase(), parts.container)
    });
    Ok((std::iter::once(written).chain(known).collect(), parts.skip))
}

fn parts(location: &Location) -> Result<Parts> {
    let authority = location.authority();
    if let Some((container, host)) = authority.split_once('@') {
        let (account, endpoint) = of_host(location, host)?;
        return Ok(Parts { account: Some(account), endpoint: Some(endpoint), container: container.into(), skip: 0 });
    }
    if !matches!(location.scheme(), Scheme::Https | Scheme::Http) {
        return Ok(Parts { account: None, endpoint: None, container: authority.into(), skip: 0 });
    }
    let segment = |i: usize| {
        location.segments().get(i).cloned().ok_or_else(|| {
            refuse(
                location,
                Code::InvalidParameter,
                "location names no container",
                "Write https://account.blob.core.windows.net/container/path.",
            )
        })
    };
    let base = format!("{}://{authority}", location.scheme().name());
    if Url::parse(&base).is_ok_and(|url| is_loopback(&url)) {
        // An emulator: the account is the first segment.
        let account = segment(0)?;
        let endpoint = format!("{base}/{account}");
        return Ok(Parts { account: Some(account), endpoint: Some(endpoint), container: segment(1)?, skip: 2 });
    }
    let (account, endpoint) = of_host(location, authority)?;
    Ok(Parts { account: Some(account), endpoint: Some(endpoint), container: segment(0)?, skip: 1 })
}

/// `account.dfs.core.windows.net` → the account, and where its blobs are.
fn of_host(location: &Location, host: &str) -> Result<(String, String)> {
    let mut labels = host.splitn(3, '.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(account), Some("blob" | "dfs"), Some(domain)) if !account.is_empty() && domain.contains('.') => {
            Ok((account.to_owned(), format!("https://{account}.blob.{domain}")))
        }
        _ => Err(refuse(
            location,
            Code::Unsupported,
            "the host of the location is no Azure storage account",
            "Write account.blob.core.windows.net or account.dfs.core.windows.net, or az://container with a server whose options name account_name or endpoint.",
        )),
    }
}

fn build(location: &Location, parts: Parts, credentials: &Credentials) -> Result<MicrosoftAzure> {
    let emulator = is_true(credentials, "use_emulator");
    let default_account = emulator.then(|| EMULATOR_ACCOUNT.to_owned());
    let account = parts.account.or_else(|| credentials.get("account_name").cloned()).or(default_account);
    let account = account.ok_or_else(|| {
        refuse(
            location,
            Code::InvalidParameter,
            "nothing names the storage account of the location",
            "Write abfss://container@account.dfs.core.windows.net/path, or give the server the option account_name.",
        )
    })?;
    let default_endpoint = match emulator {
        true => EMULATOR_ENDPOINT.to_owned(),
        false => parts.endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net")),
    };
    let endpoint = credentials.get("endpoint").cloned().unwrap_or(default_endpoint);
    let allow_http = may_speak_http(location, &endpoint, credentials)?;
    let (options, connector) = client(location, credentials, allow_http)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(parts.container)
        .with_endpoint(endpoint.trim_end_matches('/').to_owned())
        .with_disable_tagging(true)
        .with_retry(retries(credentials))
        .with_client_options(options)
        .with_http_connector(connector);
    let text = |name: &str| credentials.get(name).cloned().unwrap_or_default();
    builder = match identity(credentials) {
        Some("account_key") => builder.with_access_key(text("account_key")),
        Some("sas_token") => builder.with_config(AzureConfigKey::SasKey, text("sas_token")),
        Some("client_secret") => builder
            .with_client_id(text("client_id"))
            .with_client_secret(text("client_secret"))
            .with_tenant_id(text("tenant_id")),
        Some("federated_token_file") => builder
            .with_client_id(text("client_id"))
            .with_tenant_id(text("tenant_id"))
            .with_federated_token_file(text("federated_token_file")),
        Some("use_managed_identity") => {
            let builder = match credentials.get("identity_endpoint") {
                Some(endpoint) => builder.with_msi_endpoint(endpoint),
                None => builder,
            };
            match credentials.get("client_id") {
                Some(id) => builder.with_client_id(id),
                None => builder,
            }
        }
        Some("anonymous") => builder.with_skip_signature(true),
        _ if emulator => builder.with_access_key(EMULATOR_KEY),
        _ => {
            return Err(no_credentials(location, "account_key '…'"));
        }
    };
    if let Some(host) = credentials.get("authority_host") {
        builder = builder.with_authority_host(host.clone());
    }
    builder.build().map_err(|_| unusable(location))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    fn credentials(pairs: &[(&str, &str)]) -> Credentials {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_way_to_write_a_location_leads_to_account_container_and_path() {
        let blob = Some("https://acme.blob.core.windows.net");
        for (text, account, endpoint, container, path) in [
            ("abfss://lake@acme.dfs.core.windows.net/in/a", Some("acme"), blob, "lake", "in/a"),
            ("abfs://lake@acme.dfs.core.windows.net", Some("acme"), blob, "lake", ""),
            ("wasbs://lake@acme.blob.core.windows.net/in", Some("acme"), blob, "lake", "in"),
            ("https://acme.blob.core.windows.net/lake/in", Some("acme"), blob, "lake", "in"),
            ("https://acme.dfs.core.windows.net/lake", Some("acme"), blob, "lake", ""),
            (
                "abfss://l@a.dfs.core.chinacloudapi.cn/x",
                Some("a"),
                Some("https://a.blob.core.chinacloudapi.cn"),
                "l",
                "x",
            ),
            ("http://127.0.0.1:1/dev/lake/in", Some("dev"), Some("http://127.0.0.1:1/dev"), "lake", "in"),
            ("az://lake/in", None, None, "lake", "in"),
            ("azure://lake/in", None, None, "lake", "in"),
            ("abfss://lake/in", None, None, "lake", "in"),
        ] {
            let location = location(text);
            let found = parts(&location).unwrap();
            assert_eq!(location.segments()[found.skip..].join("/"), path, "{text}");
            assert_eq!((found.account.as_deref(), found.endpoint.as_deref()), (account, endpoint), "{text}");
            assert_eq!(found.container, container, "{text}");
        }
        for text in ["https://example.com/lake/in", "https://acme.blob.core.windows.net", "abfss://lake@acme/x"] {
            assert!(parts(&location(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_store_is_built_for_each_kind_of_credentials_and_for_no_other() {
        let place = location("abfss://lake@acme.dfs.core.windows.net/in");
        for given in [
            vec![("account_key", "c2VjcmV0")],
            vec![("sas_token", "?sv=1&sig=abc%2B")],
            vec![("client_id", "a"), ("client_secret", "b"), ("tenant_id", "c")],
            vec![("client_id", "a"), ("federated_token_file", "/x"), ("tenant_id", "c")],
            vec![("use_managed_identity", "true")],
            vec![("anonymous", "true")],
            vec![("use_emulator", "true")],
            vec![("account_key", "c2VjcmV0"), ("endpoint", "http://10.0.0.1"), ("allow_http", "yes")],
        ] {
            let built = open(&place, &credentials(&given));
            assert_eq!(built.map(|(_, path)| path), Ok("in".to_owned()), "{given:?}");
        }
        for (given, code, part) in [
            (vec![], Code::Forbidden, "no credentials"),
            (vec![("use_managed_identity", "false")], Code::Forbidden, "no credentials"),
            (vec![("account_key", "c2VjcmV0"), ("endpoint", "http://10.0.0.1")], Code::InvalidParameter, "allow_http"),
            (vec![("account_key", "not base 64")], Code::InvalidParameter, "can't be used"),
            (vec![("secret_access_key", "x")], Code::Forbidden, "no credentials"),
        ] {
            let error = open(&place, &credentials(&given)).err().unwrap();
            assert_eq!(error.code, code, "{error:?}");
            assert!(format!("{error:?}").contains(part) && !format!("{error:?}").contains("not base"), "{error:?}");
        }
        let unnamed = open(&location("az://lake"), &credentials(&[("account_key", "c2VjcmV0")]));
        assert_eq!(unnamed.err().map(|e| e.code), Some(Code::InvalidParameter));
    }
}
