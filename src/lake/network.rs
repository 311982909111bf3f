//! How storage is spoken to: how long, how often, through which proxy, and where without encryption.
//!
//! Promises: every request ends within the limit and is tried again within it after 429, 5xx and broken connections, with growing,
//! random waits. Certificates are checked against the usual authorities and those in the server's options. No proxy but the one in
//! the server's options is used: the process environment is not looked at. Metadata services are out of reach ([`super::metadata`]). Plain HTTP is spoken to this machine alone, or where the
//! server's options allow it.

use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use reqwest::Certificate;
use url::{Host, Url};

use super::Credentials;
use super::metadata::{self, names_metadata};
use super::server_options::is_true;
use crate::model::{Code, Error, Location, Result};

/// Milliseconds that a request may take; beside the options of server and user mapping, where no user can put it.
pub const TIMEOUT: &str = "network_timeout";

const USUAL_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn limit(credentials: &Credentials) -> Duration {
    let given = credentials.get(TIMEOUT).and_then(|millis| millis.parse().ok());
    given.map_or(USUAL_LIMIT, Duration::from_millis)
}

/// An outage is reported within the limit: who called waits and tries again.
pub(super) fn retries(credentials: &Credentials) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: limit(credentials),
    }
}

/// What makes the connections of a store, with the limits that its builder wants to know.
pub(super) fn client(
    location: &Location,
    credentials: &Credentials,
    allow_http: bool,
) -> Result<(ClientOptions, Connector)> {
    for option in ["endpoint", "authority_host", "proxy_url"] {
        if credentials.get(option).and_then(|url| Url::parse(url).ok()).is_some_and(|url| names_metadata(&url)) {
            return Err(refuse(
                location,
                Code::Forbidden,
                format!("option \"{option}\" names a link-local address, where machines keep their credentials"),
                "Name the host of the storage. A managed identity finds its service by itself.",
            ));
        }
    }
    let limit = limit(credentials);
    let options = ClientOptions::new()
        .with_connect_timeout(limit.min(CONNECT_LIMIT))
        .with_timeout(limit)
        .with_allow_http(allow_http);
    let trusted = credentials.get("ca_certificate").and_then(|pem| certificates(pem)).unwrap_or_default();
    Ok((options, Connector { limit, trusted, proxy: credentials.get("proxy_url").cloned() }))
}

/// Makes connections as this file promises.
#[derive(Debug)]
pub(super) struct Connector {
    limit: Duration,
    trusted: Vec<Certificate>,
    proxy: Option<String>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The service of a managed identity is spoken to without encryption whatever the storage speaks.
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let failed = |e: reqwest::Error| object_store::Error::Generic { store: "HTTP client", source: e.into() };
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("pg_millrace/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.limit.min(CONNECT_LIMIT))
            .timeout(self.limit)
            .pool_idle_timeout(Duration::from_secs(30))
            .https_only(!allow_http)
            .redirect(metadata::redirects())
            .dns_resolver(metadata::Resolver::new());
        for certificate in &self.trusted {
            client = client.add_root_certificate(certificate.clone());
        }
        client = match &self.proxy {
            Some(proxy) => client.proxy(reqwest::Proxy::all(proxy).map_err(failed)?),
            None => client.no_proxy(),
        };
        Ok(HttpClient::new(client.build().map_err(failed)?))
    }
}

/// The certificates of a text in PEM form, one behind the other; `None` where there are none, or something else is among them.
pub(super) fn certificates(pem: &str) -> Option<Vec<Certificate>> {
    let blocks: Vec<&str> = pem.split_inclusive("-----END CERTIFICATE-----").filter(|b| !b.trim().is_empty()).collect();
    let whole = |block: &&str| {
        let block = block.trim();
        block.starts_with("-----BEGIN CERTIFICATE-----") && block.matches("-----BEGIN").count() == 1
    };
    if blocks.is_empty() || !blocks.iter().all(whole) {
        return None;
    }
    blocks.iter().map(|block| Certificate::from_pem(block.trim().as_bytes()).ok()).collect()
}

/// True where the endpoint speaks plain HTTP and may.
pub(super) fn may_speak_http(location: &Location, endpoint: &str, credentials: &Credentials) -> Result<bool> {
    let url = Url::parse(endpoint).ok();
    let plain = url.as_ref().is_some_and(|url| url.scheme() == "http");
    if !plain || is_true(credentials, "allow_http") || url.as_ref().is_some_and(is_loopback) {
        return Ok(plain);
    }
    Err(refuse(
        location,
        Code::InvalidParameter,
        "the endpoint speaks HTTP without encryption",
        "Use https://, or give the server the option allow_http 'true'.",
    ))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

pub(super) fn refuse(location: &Location, code: Code, message: impl Into<String>, hint: &str) -> Error {
    Error::new(code, message).detail(format!("location: {location}")).hint(hint)
}

/// For a location whose server and user mapping hold no credentials of its kind of storage.
pub(super) fn no_credentials(location: &Location, example: &str) -> Error {
    refuse(
        location,
        Code::Forbidden,
        "there are no credentials for the location",
        &format!(
            "CREATE SERVER … FOREIGN DATA WRAPPER millrace OPTIONS (location '…'), then CREATE USER MAPPING … OPTIONS ({example});"
        ),
    )
}

/// For credentials of which the library can make no store. Its words are left out: they may quote a secret.
pub(super) fn unusable(location: &Location) -> Error {
    refuse(
        location,
        Code::InvalidParameter,
        "the credentials for the location can't be used",
        "Check the options of the server and the user mapping.",
    )
}
