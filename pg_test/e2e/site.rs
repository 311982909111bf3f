//! Where the tests of a subject run: a server, and the storage of their lake.
//!
//! A subject that stands in `main.rs` and in `on_azurite.rs` begins with `Site::of(module_path!(), …)`; from there on its databases and
//! directories are those of its cell of the storage matrix, and it need not know which that is. On Azurite a database has the server
//! and the mapping that its user needs, and a directory is a prefix of the container.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::azurite::Azurite;
use crate::lake::{self, Lake, Storage};
use crate::server::{self, Preload, Server};
use crate::sql::Session;
use pg_millrace::lake::store::Credentials;

/// A server, and where its databases' files come from.
pub struct Site {
    server: Arc<Server>,
    storage: Storage,
    azurite: Option<Arc<Azurite>>,
    /// Subjects that run beside each other share an Azurite, and may call their directories the same.
    number: u32,
}

impl Deref for Site {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Site {
    /// That of the tests of a module (`module_path!()`), on the server that tests share.
    pub fn of(module: &str, preload: Preload) -> Site {
        Site::on(Storage::of(module), Server::shared(preload))
    }

    /// The same on a server of the test's own.
    pub fn alone(module: &str, preload: Preload) -> Site {
        Site::on(Storage::of(module), Arc::new(Server::start_new(preload)))
    }

    pub fn on(storage: Storage, server: Arc<Server>) -> Site {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let azurite = (storage == Storage::Azurite).then(lake::shared_azurite);
        Site { server, storage, azurite, number: MADE.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn is_disk(&self) -> bool {
        self.storage == Storage::Disk
    }

    /// A name that the same test has not on the other storage.
    pub fn name(&self, name: &str) -> String {
        self.storage.name(name)
    }

    pub fn create_database(&self, name: &str) -> Session {
        let mut session = self.server.create_database(&self.name(name));
        if let Some(azurite) = &self.azurite {
            session.execute(&lake::create_server(azurite));
            session.execute(&lake::create_mapping(azurite));
        }
        session
    }

    /// Lets another role of a session's database into the lake.
    pub fn admit(&self, session: &mut Session, role: &str) {
        if let Some(azurite) = &self.azurite {
            lake::admit(azurite, session, role);
        }
    }

    pub fn session(&self, database: &str) -> Session {
        self.server.session(&self.name(database))
    }

    pub fn session_as(&self, database: &str, user: &str) -> Session {
        self.server.session_as(&self.name(database), user)
    }

    pub fn try_session(&self, database: &str) -> Result<Session, postgres::Error> {
        self.server.try_session(&self.name(database))
    }

    /// A new directory for landing files or a lake.
    pub fn create_dir(&self, name: &str) -> Place {
        match &self.azurite {
            Some(azurite) => Place::Azurite(azurite.clone(), format!("dirs/{}/{name}", self.number)),
            None => Place::Disk(self.server.create_dir(name)),
        }
    }
}

/// A directory of a test's lake.
#[derive(Clone)]
pub enum Place {
    Disk(PathBuf),
    /// A prefix in the container.
    Azurite(Arc<Azurite>, String),
}

impl Place {
    pub fn join(&self, name: &str) -> Place {
        match self {
            Place::Disk(dir) => Place::Disk(dir.join(name)),
            Place::Azurite(azurite, prefix) => Place::Azurite(azurite.clone(), format!("{prefix}/{name}")),
        }
    }

    /// Makes it where a directory must be there before it is used.
    pub fn create(&self) {
        if let Place::Disk(dir) = self {
            std::fs::create_dir_all(dir).unwrap();
        }
    }

    /// The directory of this machine that it is; there is none on Azurite.
    pub fn disk(&self) -> Option<&Path> {
        match self {
            Place::Disk(dir) => Some(dir),
            Place::Azurite(..) => None,
        }
    }

    /// Puts all files of a directory of this machine here.
    pub fn take_over(&self, from: &Path) {
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                let below = self.join(&name);
                below.create();
                below.take_over(&entry.path());
            } else if let Place::Disk(dir) = self {
                // Some are large.
                let hidden = dir.join(format!(".{name}.tmp"));
                std::fs::copy(entry.path(), &hidden).unwrap();
                std::fs::rename(&hidden, dir.join(&name)).unwrap();
            } else {
                land(self, &name, &std::fs::read(entry.path()).unwrap());
            }
        }
    }

    /// Its files, those below it included, sorted.
    pub fn list(&self) -> Vec<String> {
        self.as_lake().list("")
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        self.as_lake().get("", name)
    }

    pub fn delete(&self, name: &str) {
        match self {
            Place::Disk(dir) => std::fs::remove_file(dir.join(name)).unwrap(),
            Place::Azurite(azurite, prefix) => lake::delete(azurite, &format!("{prefix}/{name}")),
        }
    }

    /// What the Python package calls it, and what its environment needs to get there.
    pub fn for_python(&self) -> (String, Vec<(&'static str, String)>) {
        match self {
            Place::Disk(_) => (url(self), vec![]),
            Place::Azurite(azurite, prefix) => lake::for_python(azurite, prefix),
        }
    }

    /// What our own code needs to get there.
    pub fn credentials(&self) -> Credentials {
        match self {
            Place::Disk(_) => Credentials::default(),
            Place::Azurite(azurite, _) => [("account_key", azurite.key()), ("endpoint", azurite.endpoint())]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    fn as_lake(&self) -> Lake {
        match self {
            Place::Disk(dir) => Lake::at(dir.clone(), None),
            Place::Azurite(azurite, prefix) => Lake::at(PathBuf::new(), Some((azurite.clone(), prefix.clone()))),
        }
    }
}

/// A place, as users write it.
pub fn url(place: &Place) -> String {
    match place {
        Place::Disk(dir) => server::url(dir),
        Place::Azurite(azurite, prefix) => format!("{}/{prefix}", lake::location(azurite)),
    }
}

/// Puts a file into a place, as a careful producer does.
pub fn land(place: &Place, name: &str, content: &[u8]) {
    match place {
        Place::Disk(dir) => server::land(dir, name, content),
        Place::Azurite(azurite, prefix) => lake::put(azurite, &format!("{prefix}/{name}"), content),
    }
}

/// A pipeline's options, and that files are read as soon as they are there: on Azure they would have to settle first.
pub fn at_once(options: &str) -> String {
    let rest = options.trim_start().strip_prefix('{').unwrap_or(options);
    if rest.trim_start().starts_with('}') { "{\"settle\": 0}".into() } else { format!("{{\"settle\": 0, {rest}") }
}
