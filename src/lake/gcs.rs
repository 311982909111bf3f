//! Google Cloud Storage: from a location and credentials to an object store of one bucket.
//!
//! Promises: as in [`super::network`]. Only a key of a service account, or none: credentials that a machine or a home directory
//! may hold are never looked for.

use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::{ObjectStore, StaticCredentialProvider};

use super::Credentials;
use super::network::{client, may_speak_http, no_credentials, retries, unusable};
use super::server_options::identity;
use crate::model::location::Scheme;
use crate::model::{Location, Result};

pub(super) fn serves(location: &Location) -> bool {
    location.scheme() == Scheme::Gs
}

/// The bucket of a location as a store, and the path in it.
pub(super) fn open(location: &Location, credentials: &Credentials) -> Result<(Arc<dyn ObjectStore>, String)> {
    Ok((Arc::new(build(location, credentials)?), location.segments().join("/")))
}

fn build(location: &Location, credentials: &Credentials) -> Result<GoogleCloudStorage> {
    let mut builder =
        GoogleCloudStorageBuilder::new().with_bucket_name(location.authority()).with_retry(retries(credentials));
    let mut plain = false;
    if let Some(endpoint) = credentials.get("endpoint") {
        plain = may_speak_http(location, endpoint, credentials)?;
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    builder = match identity(credentials) {
        Some("service_account_key") => {
            builder.with_service_account_key(credentials.get("service_account_key").cloned().unwrap_or_default())
        }
        Some("anonymous") => {
            // Given so that none is looked for; it is not sent.
            let nobody = GcpCredential { bearer: String::new() };
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody))).with_skip_signature(true)
        }
        _ => return Err(no_credentials(location, "service_account_key '{…}'")),
    };
    let (options, connector) = client(location, credentials, plain)?;
    builder.with_client_options(options).with_http_connector(connector).build().map_err(|_| unusable(location))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn a_store_is_built_with_a_service_account_or_for_nobody_and_for_no_other() {
        let place = Location::parse("gs://bucket/in").unwrap();
        let given = |name: &str, value: &str| Credentials::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(open(&place, &given("anonymous", "true")).map(|(_, path)| path), Ok("in".to_owned()));
        for (given, code) in [
            (Credentials::new(), Code::Forbidden),
            (given("use_managed_identity", "true"), Code::Forbidden),
            (given("service_account_key", r#"{"private_key": "TOPSECRET"}"#), Code::InvalidParameter),
        ] {
            let error = open(&place, &given).err().unwrap();
            assert_eq!(error.code, code, "{error:?}");
            assert!(!format!("{error:?}").contains("TOPSECRET"), "{error:?}");
        }
    }
}
