//! S3 and what speaks like it: from a location and credentials to an object store of one bucket.
//!
//! Promises: as in [`super::network`]; whose identity is used is what the credentials say, never what the machine happens to offer.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};

use super::Credentials;
use super::network::{client, may_speak_http, no_credentials, retries, unusable};
use super::server_options::{identity, is_true};
use crate::model::location::Scheme;
use crate::model::{Location, Result};

pub(super) fn serves(location: &Location) -> bool {
    matches!(location.scheme(), Scheme::S3 | Scheme::S3a)
}

/// The bucket of a location as a store, and the path in it.
pub(super) fn open(location: &Location, credentials: &Credentials) -> Result<(Arc<dyn ObjectStore>, String)> {
    Ok((Arc::new(build(location, credentials)?), location.segments().join("/")))
}

fn build(location: &Location, credentials: &Credentials) -> Result<AmazonS3> {
    let text = |name: &str| credentials.get(name).cloned().unwrap_or_default();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(location.authority())
        .with_disable_tagging(true)
        .with_virtual_hosted_style_request(is_true(credentials, "virtual_hosted_style"))
        .with_retry(retries(credentials));
    let mut plain = false;
    if let Some(endpoint) = credentials.get("endpoint") {
        plain = may_speak_http(location, endpoint, credentials)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let Some(region) = credentials.get("region") {
        builder = builder.with_region(region);
    }
    builder = match identity(credentials) {
        Some("secret_access_key") => {
            let keyed =
                builder.with_access_key_id(text("access_key_id")).with_secret_access_key(text("secret_access_key"));
            match credentials.get("session_token") {
                Some(token) => keyed.with_token(token),
                None => keyed,
            }
        }
        // Without a key the identity is that of the machine.
        Some("use_managed_identity") => builder,
        Some("anonymous") => builder.with_skip_signature(true),
        _ => return Err(no_credentials(location, "access_key_id '…', secret_access_key '…'")),
    };
    let (options, connector) = client(location, credentials, plain)?;
    builder.with_client_options(options).with_http_connector(connector).build().map_err(|_| unusable(location))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn a_store_is_built_for_each_kind_of_credentials_and_for_no_other() {
        let place = Location::parse("s3://bucket/in/a").unwrap();
        let key = [("access_key_id", "AKIA"), ("secret_access_key", "TOPSECRET")];
        let with = |more: &[(&str, &str)]| {
            key.iter().chain(more).map(|(n, v)| (n.to_string(), v.to_string())).collect::<Credentials>()
        };
        for given in [
            with(&[]),
            with(&[("session_token", "x"), ("region", "eu-central-1")]),
            with(&[("endpoint", "http://127.0.0.1:9000")]),
            with(&[("endpoint", "http://10.0.0.1"), ("allow_http", "true")]),
            with(&[("proxy_url", "http://proxy:3128"), ("virtual_hosted_style", "on")]),
            Credentials::from([("anonymous".into(), "true".into())]),
            Credentials::from([("use_managed_identity".into(), "true".into())]),
        ] {
            assert_eq!(open(&place, &given).map(|(_, path)| path), Ok("in/a".to_owned()), "{given:?}");
        }
        for (given, code) in [
            (Credentials::new(), Code::Forbidden),
            (Credentials::from([("account_key".into(), "c2VjcmV0".into())]), Code::Forbidden),
            (with(&[("endpoint", "http://10.0.0.1")]), Code::InvalidParameter),
        ] {
            let error = open(&place, &given).err().unwrap();
            assert_eq!(error.code, code, "{error:?}");
            assert!(!format!("{error:?}").contains("TOPSECRET"), "{error:?}");
        }
    }
}
