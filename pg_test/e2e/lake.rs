//! A lake that is no disk: Azurite, behind a foreign server and a user mapping.

use crate::azurite::Azurite;
use crate::sql::quote;
use object_store::ObjectStoreExt;
use object_store::azure::MicrosoftAzureBuilder;

/// Where a test's lake lies: a cell of the storage matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    Disk,
    Azurite,
}

pub const CONTAINER: &str = "lake";

/// The container as users write it.
pub fn location(azurite: &Azurite) -> String {
    format!("abfss://{CONTAINER}@{}.dfs.core.windows.net", azurite.account())
}

pub fn create_server(azurite: &Azurite) -> String {
    format!(
        "CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location {}, endpoint {})",
        quote(&location(azurite)),
        quote(&azurite.endpoint())
    )
}

pub fn create_mapping(azurite: &Azurite) -> String {
    format!("CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (account_key {})", quote(&azurite.key()))
}

/// Writes a blob past the extension, as a producer would.
pub fn put(azurite: &Azurite, path: &str, content: &[u8]) {
    let store = MicrosoftAzureBuilder::new()
        .with_account(azurite.account())
        .with_access_key(azurite.key())
        .with_endpoint(azurite.endpoint())
        .with_container_name(CONTAINER)
        .with_allow_http(true)
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.put(&path.into(), content.to_vec().into())).unwrap();
}
