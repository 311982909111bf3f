//! Where the storm rages: a server on a small disk, Azurite behind a relay, three pipelines with all that hangs on them.

use super::clock::Clock;
use super::truth::{File, Truth};
use crate::azurite::Azurite;
use crate::lake::{self, CONTAINER};
use crate::relay::{Mood, Relay};
use crate::server::{self, Preload, Server, Setup, land, note, url};
use crate::sql::Session;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, RwLock};

pub const DATABASE: &str = "storm";
pub const PIPELINES: [&str; 3] = ["sales", "accounts", "shop"];
/// Megabytes of the disk of the server, and of that of its local lake.
const DISK: u32 = 512;
const LAKE: u32 = 64;

pub struct World {
    pub server: Server,
    pub azurite: Mutex<Azurite>,
    pub relay: Relay,
    pub clock: Option<Clock>,
    pub truth: Mutex<Truth>,
    /// Held to write while Azurite is not to be asked by the producer.
    pub storage: RwLock<()>,
    /// The local lake, a disk of its own where that can be.
    pub lake: PathBuf,
    pub mounted: bool,
    /// Files land.
    pub landing: AtomicBool,
    pub over: AtomicBool,
    /// The consumer of the shop is to be dropped and made again.
    pub remake: AtomicBool,
    pub remade: AtomicI64,
    /// What clients saw and must not see.
    pub differences: Mutex<Vec<String>>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mounted = server::may_mount();
        let clock = Clock::make();
        let mut setup = Setup {
            megabytes: mounted.then_some(DISK),
            // A worker that was killed is back at once, and a disk of this size is enough for long.
            settings: "max_wal_size = 96MB\nmin_wal_size = 32MB\nmax_connections = 40\nshared_buffers = 32MB\n\
                       millrace.network_timeout = '2s'\nautovacuum_naptime = 5s\nrestart_after_crash = on\n"
                .into(),
            ..Setup::default()
        };
        if let Some(clock) = &clock {
            clock.tell(&mut setup);
        }
        let server = Server::start_as(Preload::Yes, setup);
        let lake = server.create_dir("lake");
        if mounted {
            server::mount(&lake, LAKE);
        }
        server.create_dir("lake/in");
        let azurite = Azurite::start(&[CONTAINER]);
        let relay = Relay::to(&azurite);
        let world = World {
            server,
            azurite: Mutex::new(azurite),
            relay,
            clock,
            truth: Mutex::new(Truth::new(ChaCha8Rng::seed_from_u64(seed))),
            storage: RwLock::new(()),
            lake,
            mounted,
            landing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            remake: AtomicBool::new(false),
            remade: AtomicI64::new(0),
            differences: Mutex::new(vec![]),
        };
        world.define();
        world
    }

    fn define(&self) {
        let mut session = self.server.create_database(DATABASE);
        let azurite = self.azurite.lock().unwrap();
        session.execute("CREATE SCHEMA staging");
        session.execute(&lake::create_server_at(&azurite, &self.relay.endpoint(&azurite)));
        session.execute(&lake::create_mapping(&azurite));
        let (place, disk) = (lake::location(&azurite), url(&self.lake));
        session.execute(&format!(
            r#"SELECT millrace.create_pipeline('sales', source => '{place}/sales/in/*.csv', staging => 'staging.sales',
                   columns => 'id bigint NOT NULL, account int NOT NULL, amount numeric(12,2) NOT NULL, note text',
                   raw => '{place}/sales/raw', semi_processed => '{place}/sales/semi', every => '50 ms',
                   options => '{{"settle": 0, "max_files_per_chunk": 4, "backoff": "200 ms", "max_attempts": 1000000, "checkpoint_every": 10,
                                 "cleanup": "archive", "archive": "{place}/sales/archive"}}');
               SELECT millrace.add_expectation('sales', 'positive', 'amount > 0');
               SELECT millrace.add_expectation('sales', 'wanted', 'note <> ''drop me''', on_violation => 'drop');
               SELECT millrace.add_expectation('sales', 'small', 'amount < 900', on_violation => 'warn');
               SELECT millrace.create_aggregate('sales', 'by_account',
                   'SELECT account, count(*) AS n, sum(amount) AS amount, max(id) AS last FROM staging.sales GROUP BY account',
                   publish => '{place}/sales/by_account');

               SELECT millrace.create_pipeline('accounts', source => '{place}/accounts/in/*.csv', staging => 'staging.accounts',
                   columns => 'account int NOT NULL, version bigint NOT NULL, balance numeric(12,2), tier text, op text',
                   raw => '{place}/accounts/raw', semi_processed => '{place}/accounts/semi', every => '50 ms',
                   options => '{{"settle": 0, "max_files_per_chunk": 4, "backoff": "200 ms", "max_attempts": 1000000, "checkpoint_every": 10,
                                 "primary_key": "account", "order_by": "version", "delete_when": "op = ''D''"}}');
               SELECT millrace.create_aggregate('accounts', 'by_tier',
                   'SELECT tier, count(*) AS n, sum(balance) AS balance FROM staging.accounts GROUP BY tier',
                   publish => '{place}/accounts/by_tier', options => '{{"publish_mode": "overwrite"}}');

               SELECT millrace.create_pipeline('shop', source => '{disk}/in/*.json', staging => 'staging.shop', columns => 'n bigint, quantity int',
                   raw => '{disk}/raw', semi_processed => '{disk}/semi', every => NULL,
                   options => '{{"max_files_per_chunk": 4, "backoff": "200 ms", "max_attempts": 1000000, "checkpoint_every": 10, "cleanup": "delete",
                                 "retention": "1 second", "max_retention": "1 day", "chunks_per_partition": 2}}');"#
        ));
        session.execute(super::clients::CREATE);
    }

    pub fn try_session(&self) -> Result<Session, postgres::Error> {
        let mut session = self.server.try_session(DATABASE)?;
        session.try_execute("SET statement_timeout = '60s'")?;
        Ok(session)
    }

    /// A session that is there as soon as the server is.
    pub fn session(&self) -> Session {
        let mut session = None;
        server::wait_until("a session", std::time::Duration::from_secs(60), || {
            self.revive();
            session = self.try_session().ok();
            session.is_some()
        });
        session.unwrap()
    }

    /// Starts the server where it has ended.
    pub fn revive(&self) {
        if !self.server.is_running() {
            self.server.start();
        }
    }

    /// No harm is done from here on, and what was down is up.
    pub fn calm(&self) {
        self.relay.is(Mood::Fine);
        if let Some(clock) = &self.clock {
            clock.is_off_by(0);
        }
        self.revive();
    }

    /// Lands files until the storm is over.
    pub fn produce(&self) {
        while !self.over.load(Ordering::Relaxed) {
            if self.landing.load(Ordering::Relaxed) {
                let quiet = self.storage.read().unwrap();
                // Asked again behind the lock: whoever has stopped the landing and taken the lock knows all that has landed.
                if self.landing.load(Ordering::Relaxed) {
                    self.land_one();
                }
                drop(quiet);
            }
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
    }

    fn land_one(&self) {
        let mut truth = self.truth.lock().unwrap();
        let azurite = self.azurite.lock().unwrap();
        let File { name, content } = truth.sales_file();
        lake::put(&azurite, &format!("sales/in/{name}"), &content);
        let File { name, content } = truth.accounts_file();
        lake::put(&azurite, &format!("accounts/in/{name}"), &content);
        // A full disk of the lake is where this file would lie, too: the producer waits for room.
        let File { name, content } = truth.shop_file();
        while !land_where_there_is_room(&self.lake.join("in"), &name, &content) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    pub fn differs(&self, what: String) {
        note(&format!("storm: DIFFERENCE: {what}"));
        self.differences.lock().unwrap().push(what);
    }
}

fn land_where_there_is_room(dir: &std::path::Path, name: &str, content: &[u8]) -> bool {
    let hidden = dir.join(format!(".{name}.tmp"));
    if std::fs::write(&hidden, content).is_err() {
        return false;
    }
    land(dir, name, content);
    true
}

impl Drop for World {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.server.is_running().then(|| self.server.stop_immediate());
            server::unmount(&self.lake);
        }
    }
}
