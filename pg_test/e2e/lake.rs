//! The storage matrix: a test's lake on local disk, or on Azurite behind a foreign server and a user mapping.
//!
//! Subjects of which every test is about flow stand in `main.rs` and once more in `on_azurite.rs`, and begin with a [`Case`], which
//! knows by the module where it lies. In other files [`on_each_storage`] makes a test of each of its bodies for each storage. None is
//! left out, and where Azurite is missing its tests fail. A test that is about local disks or servers alone says so by its name.

use crate::azurite::Azurite;
use crate::server::{Preload, Server, land, url};
use crate::sql::{Session, quote};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

/// Where a test's lake lies: a cell of the storage matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    Disk,
    Azurite,
}

impl Storage {
    /// That of the tests of a module, by its `module_path!()`.
    pub fn of(module: &str) -> Storage {
        if module.contains("::on_azurite::") { Storage::Azurite } else { Storage::Disk }
    }

    /// A name that the same test has not on the other storage.
    pub fn name(self, name: &str) -> String {
        match self {
            Storage::Disk => name.to_owned(),
            Storage::Azurite => format!("{name}_azurite"),
        }
    }
}

/// Makes `name::on_disk` and `name::on_azurite` of each function; `cell` names what the test creates.
macro_rules! on_each_storage {
    ($($(#[$meta:meta])* fn $name:ident($storage:ident, $cell:ident) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                fn test_on($storage: crate::lake::Storage, $cell: &str) $body

                #[test]
                fn on_disk() {
                    test_on(crate::lake::Storage::Disk, &crate::lake::cell(stringify!($name), "d"));
                }

                #[test]
                fn on_azurite() {
                    test_on(crate::lake::Storage::Azurite, &crate::lake::cell(stringify!($name), "a"));
                }
            }
        )*
    };
}
pub(crate) use on_each_storage;

/// A short name for a database that no other test has: whole words of the test's, and a number.
pub fn cell(test: &str, storage: &str) -> String {
    static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}_{storage}{number}", &test[..test.len().min(40)])
}

pub const CONTAINER: &str = "lake";

/// The Azurite that tests share which do not stop it. It ends when the last of them lets go.
pub fn shared_azurite() -> Arc<Azurite> {
    static SHARED: Mutex<Weak<Azurite>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let azurite = Arc::new(Azurite::start(&[CONTAINER]));
        *shared = Arc::downgrade(&azurite);
        azurite
    })
}

/// What a test of flow begins with: a database with the extension and a schema `staging`, and a lake with a landing directory.
pub struct Case {
    pub server: Arc<Server>,
    pub session: Session,
    pub lake: Lake,
    pub database: String,
}

impl Case {
    pub fn new(storage: Storage, name: &str, preload: Preload) -> Case {
        let server = Server::shared(preload);
        let database = storage.name(name);
        let mut session = server.create_database(&database);
        session.execute("CREATE SCHEMA staging");
        let lake = Lake::new(storage, &server, &mut session, &database);
        lake.create(&server, LANDING);
        Case { server, session, lake, database }
    }

    /// Loads what there is for pipeline 'p'.
    pub fn run(&mut self) {
        self.session.execute("CALL millrace.run('p')");
    }

    /// Column `id` of every row in 'staging.p'.
    pub fn ids(&mut self) -> String {
        self.session.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM staging.p")
    }
}

/// The place of every lake in which landing files come.
const LANDING: &str = "in";

/// One test's part of a storage: places by name, each a directory.
pub struct Lake {
    dir: PathBuf,
    azurite: Option<(Arc<Azurite>, String)>,
}

impl Lake {
    /// With what the session's user needs to get there.
    pub fn new(storage: Storage, server: &Server, session: &mut Session, name: &str) -> Lake {
        let dir = server.create_dir(&format!("{name}_lake"));
        let azurite = (storage == Storage::Azurite).then(|| {
            let azurite = shared_azurite();
            session.execute(&create_server(&azurite));
            session.execute(&create_mapping(&azurite));
            (azurite, name.to_owned())
        });
        Lake { dir, azurite }
    }

    /// A directory of the disk, or a prefix of the container.
    pub fn at(dir: PathBuf, azurite: Option<(Arc<Azurite>, String)>) -> Lake {
        Lake { dir, azurite }
    }

    /// Lets another role in.
    pub fn admit(&self, session: &mut Session, role: &str) {
        if let Some((azurite, _)) = &self.azurite {
            admit(azurite, session, role);
        }
    }

    /// A place, as users write it.
    pub fn url(&self, place: &str) -> String {
        match &self.azurite {
            Some((azurite, name)) => format!("{}/{name}/{place}", location(azurite)),
            None => url(&self.dir.join(place)),
        }
    }

    /// A place as the Python package names it, and what its environment needs to get there.
    pub fn for_python(&self, place: &str) -> (String, Vec<(&'static str, String)>) {
        let Some((azurite, name)) = &self.azurite else { return (self.url(place), vec![]) };
        for_python(azurite, &format!("{name}/{place}"))
    }

    /// The directory that is a place on disk; there is none on Azurite.
    pub fn disk(&self, place: &str) -> Option<PathBuf> {
        self.azurite.is_none().then(|| self.dir.join(place))
    }

    /// Makes a place where places must exist before they are used.
    pub fn create(&self, server: &Server, place: &str) {
        if self.azurite.is_none() {
            let name = self.dir.file_name().unwrap().to_str().unwrap();
            server.create_dir(&format!("{name}/{place}"));
        }
    }

    /// The landing directory, as users write it.
    pub fn landing(&self) -> String {
        self.url(LANDING)
    }

    /// Puts a file into the landing directory.
    pub fn land(&self, name: &str, content: &[u8]) {
        self.put(LANDING, name, content);
    }

    /// Puts a file into a place, as a careful producer does.
    pub fn put(&self, place: &str, name: &str, content: &[u8]) {
        match &self.azurite {
            Some((azurite, cell)) => put(azurite, &format!("{cell}/{place}/{name}"), content),
            None => {
                let path = self.dir.join(place).join(name);
                let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
                std::fs::create_dir_all(dir).unwrap();
                land(dir, name, content);
            }
        }
    }

    /// Puts many files of one content.
    pub fn put_all(&self, place: &str, names: impl Iterator<Item = String>, content: &[u8]) {
        match &self.azurite {
            Some((azurite, cell)) => {
                use futures::{StreamExt, TryStreamExt};
                let store = store(azurite);
                let put = |name: String| {
                    let path = format!("{cell}/{place}/{name}").into();
                    let (store, content) = (&store, content.to_vec());
                    async move { store.put(&path, content.into()).await.map(drop) }
                };
                wait(futures::stream::iter(names.map(put)).buffer_unordered(32).try_collect::<()>()).unwrap();
            }
            None => names.for_each(|name| std::fs::write(self.dir.join(place).join(name), content).unwrap()),
        }
    }

    /// The files of a place, those below it included, sorted.
    pub fn list(&self, place: &str) -> Vec<String> {
        use futures::TryStreamExt;
        let (store, prefix): (Arc<dyn ObjectStore>, _) = match &self.azurite {
            Some((azurite, cell)) => (Arc::new(store(azurite)), format!("{cell}/{place}")),
            None => {
                let root = self.dir.join(place);
                if !root.exists() {
                    return vec![];
                }
                (Arc::new(object_store::local::LocalFileSystem::new_with_prefix(root).unwrap()), String::new())
            }
        };
        let found: Vec<_> = wait(store.list(Some(&prefix.as_str().into())).try_collect()).unwrap();
        let mut names: Vec<String> = found
            .iter()
            .map(|meta: &object_store::ObjectMeta| {
                meta.location.as_ref().strip_prefix(&prefix).unwrap().trim_start_matches('/').to_owned()
            })
            .collect();
        names.sort();
        names
    }

    pub fn get(&self, place: &str, name: &str) -> Vec<u8> {
        match &self.azurite {
            Some((azurite, cell)) => {
                let path = format!("{cell}/{place}/{name}").into();
                let store = store(azurite);
                wait(async { store.get(&path).await.unwrap().bytes().await.unwrap() }).to_vec()
            }
            None => std::fs::read(self.dir.join(place).join(name)).unwrap(),
        }
    }
}

/// The container as users write it.
pub fn location(azurite: &Azurite) -> String {
    format!("abfss://{CONTAINER}@{}.dfs.core.windows.net", azurite.account())
}

pub fn create_server(azurite: &Azurite) -> String {
    create_server_at(azurite, &azurite.endpoint())
}

pub fn create_server_at(azurite: &Azurite, endpoint: &str) -> String {
    format!(
        "CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location {}, endpoint {})",
        quote(&location(azurite)),
        quote(endpoint)
    )
}

pub fn create_mapping(azurite: &Azurite) -> String {
    format!("CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (account_key {})", quote(&azurite.key()))
}

/// Lets another role of a session's database in.
pub fn admit(azurite: &Azurite, session: &mut Session, role: &str) {
    session.execute(&format!(
        "GRANT USAGE ON FOREIGN SERVER lake TO {role}; {}",
        create_mapping(azurite).replace("CURRENT_USER", role)
    ));
}

/// A path in the container as the Python package names it, and what its environment needs to get there.
pub fn for_python(azurite: &Azurite, path: &str) -> (String, Vec<(&'static str, String)>) {
    let options = serde_json::json!({
        "azure_storage_account_name": azurite.account(),
        "azure_storage_account_key": azurite.key(),
        "azure_storage_use_emulator": "true",
    });
    let endpoint = azurite.endpoint();
    let host = endpoint.trim_end_matches(&azurite.account()).trim_end_matches('/').to_owned();
    let environment = vec![("STORAGE_OPTIONS", options.to_string()), ("AZURITE_BLOB_STORAGE_URL", host)];
    (format!("az://{CONTAINER}/{path}"), environment)
}

fn store(azurite: &Azurite) -> MicrosoftAzure {
    MicrosoftAzureBuilder::new()
        .with_account(azurite.account())
        .with_access_key(azurite.key())
        .with_endpoint(azurite.endpoint())
        .with_container_name(CONTAINER)
        .with_allow_http(true)
        .build()
        .unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Writes a blob past the extension, as a producer would.
pub fn put(azurite: &Azurite, path: &str, content: &[u8]) {
    let path = object_store::path::Path::parse(path).unwrap();
    wait(store(azurite).put(&path, content.to_vec().into())).unwrap();
}

pub fn delete(azurite: &Azurite, path: &str) {
    let path = object_store::path::Path::parse(path).unwrap();
    wait(store(azurite).delete(&path)).unwrap();
}

/// The same where nobody else was first; says whether.
pub fn put_new(azurite: &Azurite, path: &str, content: &[u8]) -> bool {
    let path = object_store::path::Path::parse(path).unwrap();
    let how = object_store::PutMode::Create.into();
    match wait(store(azurite).put_opts(&path, content.to_vec().into(), how)) {
        Ok(_) => true,
        Err(object_store::Error::AlreadyExists { .. }) => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// The names of what lies in a directory.
pub fn list(azurite: &Azurite, directory: &str) -> Vec<String> {
    let found = wait(store(azurite).list_with_delimiter(Some(&directory.into()))).unwrap();
    found.objects.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect()
}
