//! Private Postgres servers for the tests.
//!
//! A server lives in a directory of its own below /tmp, listens on a socket there and nowhere else, and ends with the
//! value that stands for it; its log is printed if the test failed. Processes are ended by their ids alone. The
//! postmaster is a child of this process, so that an interrupt from the terminal reaches it too.

use crate::sql::Session;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

const PORT: u16 = 5432;

pub struct Server {
    dir: PathBuf,
    postmaster: Mutex<Option<Child>>,
    setup: Setup,
}

/// What a server has that others have not.
#[derive(Default)]
pub struct Setup {
    /// Its directory is a disk of its own, of so many megabytes; root alone may make one.
    pub megabytes: Option<u32>,
    pub environment: Vec<(&'static str, PathBuf)>,
    /// Lines of its configuration.
    pub settings: String,
}

/// Whether the extension is in shared_preload_libraries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Preload {
    Yes,
    No,
}

impl Server {
    /// A server of the test's own, running. For tests that kill it, or count its processes.
    pub fn start_new(preload: Preload) -> Server {
        Server::start_as(preload, Setup::default())
    }

    pub fn start_as(preload: Preload, setup: Setup) -> Server {
        let server = Server::around(new_dir(setup.megabytes), preload, setup);
        server.start();
        server
    }

    /// A server that shares nothing with others, not even what a copied cluster has in common with its template.
    pub fn start_apart(preload: Preload) -> Server {
        let dir = new_dir(Setup::default().megabytes);
        std::fs::remove_dir_all(dir.join("data")).unwrap();
        init_cluster(&dir.join("data"));
        let server = Server::around(dir, preload, Setup::default());
        server.start();
        server
    }

    /// A base backup of this server as a server of its own, not running yet; `more`: lines for its postgresql.conf.
    pub fn base_backup(&self, preload: Preload, more: &str) -> Server {
        let dir = new_dir(Setup::default().megabytes);
        std::fs::remove_dir_all(dir.join("data")).unwrap();
        run(as_server_user(&mut Command::new(bindir().join("pg_basebackup")))
            .args(["-c", "fast", "-U", "postgres", "-p", &PORT.to_string(), "-h"])
            .arg(self.dir.join("socket"))
            .arg("-D")
            .arg(dir.join("data")));
        let server = Server::around(dir, preload, Setup::default());
        server.configure(more);
        server
    }

    fn around(dir: PathBuf, preload: Preload, setup: Setup) -> Server {
        make_server_dir(&dir.join("socket"), 0o755);
        let server = Server { dir, postmaster: Mutex::new(None), setup };
        server.configure(&(settings(&server.dir, preload) + &server.setup.settings));
        server
    }

    /// Adds lines to postgresql.conf: what is said last counts.
    pub fn configure(&self, lines: &str) {
        let path = self.data().join("postgresql.conf");
        let conf = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, conf + lines).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// An empty file in the data directory, such as those that ask for recovery.
    pub fn touch(&self, name: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, "").unwrap();
        if let Some((uid, gid)) = server_user() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Runs a script of pg_dump.
    pub fn restore(&self, database: &str, script: &str) {
        let mut psql = Command::new(bindir().join("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.conninfo(database)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = psql.wait_with_output().unwrap();
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The server that tests share which only need a database. It stops when the last of them lets go.
    pub fn shared(preload: Preload) -> Arc<Server> {
        static SHARED: Mutex<[Weak<Server>; 2]> = Mutex::new([Weak::new(), Weak::new()]);
        let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
        let slot = &mut shared[preload as usize];
        slot.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start_new(preload));
            *slot = Arc::downgrade(&server);
            server
        })
    }

    pub fn start(&self) {
        let mut postmaster = self.lock();
        assert!(postmaster.is_none(), "the server is running already");
        // After a kill the orphans of the old postmaster hold its shared memory for a moment, a startup process for a minute; a new one
        // then refuses to start.
        let deadline = Instant::now() + Duration::from_secs(100);
        loop {
            let mut child = self.spawn();
            while child.try_wait().unwrap().is_none() {
                if self.try_session("postgres").is_ok() {
                    *postmaster = Some(child);
                    return;
                }
                if Instant::now() > deadline {
                    signal("KILL", child.id());
                    let _ = child.wait();
                    panic!("the server does not answer:\n{}", self.log_tail());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(Instant::now() < deadline, "the server does not start:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn spawn(&self) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log")).unwrap();
        as_server_user(&mut Command::new(bindir().join("postgres")))
            .arg("-D")
            .arg(self.dir.join("data"))
            // The worst case: nothing of it may reach a client.
            .env("RUST_BACKTRACE", "1")
            // Nothing of the environment may lead anywhere: neither this proxy nor this account is there.
            .envs(
                ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
                    .map(|n| (n, "http://127.0.0.1:9")),
            )
            .envs(
                ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AWS_ACCESS_KEY_ID"]
                    .map(|n| (n, "bm9uZQ==")),
            )
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Fast shutdown, as `pg_ctl stop -m fast` asks for it. Returns how long it took.
    pub fn stop_fast(&self) -> Duration {
        self.end("INT")
    }

    /// As `pg_ctl stop -m immediate`: no checkpoint, recovery at the next start.
    pub fn stop_immediate(&self) -> Duration {
        self.end("QUIT")
    }

    /// The postmaster dies without a word; its children notice that they are alone.
    pub fn kill(&self) -> Duration {
        self.end("KILL")
    }

    fn end(&self, how: &str) -> Duration {
        let mut child = self.lock().take().expect("the server is running");
        let begun = Instant::now();
        signal(how, child.id());
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(30) {
                signal("KILL", child.id());
                let _ = child.wait();
                panic!("the server ignored SIG{how} for 30 seconds:\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn try_session(&self, database: &str) -> Result<Session, postgres::Error> {
        self.try_session_as(database, "postgres")
    }

    pub fn try_session_as(&self, database: &str, user: &str) -> Result<Session, postgres::Error> {
        let client = postgres::Config::new()
            .host_path(self.dir.join("socket"))
            .port(PORT)
            .user(user)
            .dbname(database)
            .connect_timeout(Duration::from_secs(5))
            .application_name("e2e")
            .connect(postgres::NoTls)?;
        Ok(Session::new(client))
    }

    /// For clients of other kinds.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} port={PORT} user=postgres dbname={database}", self.dir.join("socket").display())
    }

    pub fn session(&self, database: &str) -> Session {
        self.try_session(database).unwrap_or_else(|e| panic!("can't connect to {database}: {e}\n{}", self.log_tail()))
    }

    pub fn session_as(&self, database: &str, user: &str) -> Session {
        self.try_session_as(database, user).unwrap_or_else(|e| panic!("can't connect to {database} as {user}: {e}"))
    }

    /// A new database with the extension in it. Names are quoted, so that hostile ones can be tried.
    pub fn create_database(&self, name: &str) -> Session {
        self.session("postgres").execute(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        let mut session = self.session(name);
        session.execute("CREATE EXTENSION pg_millrace");
        session
    }

    /// A new directory that the server may read and write, for landing files or a lake.
    pub fn create_dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        make_server_dir(&dir, 0o755);
        dir
    }

    /// Where all of it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether its postmaster is there; one that has ended by itself is let go of, and can be started again.
    pub fn is_running(&self) -> bool {
        let mut postmaster = self.lock();
        let running = postmaster.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !running {
            *postmaster = None;
        }
        running
    }

    /// What pg_dump writes of a database.
    pub fn dump(&self, database: &str) -> String {
        self.dump_as(database, "postgres").unwrap_or_else(|e| panic!("pg_dump: {e}"))
    }

    /// The same by another role, or what it says instead.
    pub fn dump_as(&self, database: &str, user: &str) -> Result<String, String> {
        let output = Command::new(bindir().join("pg_dump"))
            .arg("-h")
            .arg(self.dir.join("socket"))
            .args(["-p", &PORT.to_string(), "-U", user, database])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().take() {
            signal("QUIT", child.id());
            let deadline = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    signal("KILL", child.id());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let failed = std::thread::panicking();
        let shown = secrets_in(&self.log());
        if failed {
            note(&format!("server log ({}):\n{}", self.dir.join("log").display(), self.log_tail()));
        }
        if self.setup.megabytes.is_some() {
            unmount(&self.dir);
        }
        release_dir(&self.dir, failed);
        assert!(failed || shown.is_empty(), "a secret is in the log, in a line of this kind: {shown:?}");
    }
}

/// Whether a text shows a key of Azurite's, a wrong one that tests make of it, or the signature of a token.
pub fn shows_secret(text: &str) -> bool {
    let signed = text
        .split("sig=")
        .skip(1)
        .any(|s| s.chars().take_while(|c| c.is_ascii_alphanumeric() || "%+/=-_".contains(*c)).count() > 20);
    signed || text.contains("8vdM02xNOcqFlqUwJPLlm")
}

/// The beginnings of lines with secrets in them; those aside that repeat what a statement said.
fn secrets_in(log: &str) -> Vec<String> {
    let mut repeated = false;
    let mut found = Vec::new();
    for line in log.lines() {
        if line.starts_with("20") {
            repeated = ["STATEMENT:  ", "CONTEXT:  SQL statement "].iter().any(|kind| line.contains(kind));
        }
        if !repeated && shows_secret(line) {
            found.push(line.chars().take(100).collect());
        }
    }
    found
}

/// Makes a directory a disk of its own.
pub fn mount(dir: &Path, megabytes: u32) {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(dir));
}

/// What is on it is gone.
pub fn unmount(dir: &Path) {
    let _ = Command::new("umount").arg("-l").arg(dir).stderr(Stdio::null()).status();
}

/// Whether this process may make disks.
pub fn may_mount() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("mr-e2e-mount-{}", std::process::id()));
        let _ = std::fs::create_dir(&dir);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&dir).stderr(Stdio::null()).status();
        let may = mounted.is_ok_and(|status| status.success());
        unmount(&dir);
        let _ = std::fs::remove_dir(&dir);
        may
    })
}

/// Says something to whoever runs the tests, past the harness's capture.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Sends a signal to one process. A process that is gone already is no error.
pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// Waits until `done` says so; fails the test, naming what it waited for, when it takes too long.
pub fn wait_until(what: &str, timeout: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !done() {
        assert!(Instant::now() < deadline, "waited {timeout:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file URL for a path of this machine.
pub fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Puts a file into a landing directory the way a careful producer does: complete, or not there.
pub fn land(dir: &Path, name: &str, content: &[u8]) {
    let hidden = dir.join(format!(".{name}.tmp"));
    std::fs::write(&hidden, content).unwrap();
    std::fs::set_permissions(&hidden, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::rename(&hidden, dir.join(name)).unwrap();
}

fn settings(dir: &Path, preload: Preload) -> String {
    let preload = if preload == Preload::Yes { "pg_millrace" } else { "" };
    // The machine does not crash in these tests, only processes do: what was written is there without fsync.
    format!(
        "listen_addresses = ''\nunix_socket_directories = '{}'\nport = {PORT}\nshared_preload_libraries = '{preload}'\n\
         max_worker_processes = 80\nmillrace.max_workers = 64\nmax_connections = 60\nshared_buffers = 128MB\nfsync = off\nfull_page_writes = off\n\
         log_line_prefix = '%m [%p] %b %d '\nmax_wal_size = 2GB\n",
        dir.join("socket").display()
    )
}

struct Dirs {
    in_use: u32,
    made: u32,
    kept: bool,
}

static DIRS: Mutex<Dirs> = Mutex::new(Dirs { in_use: 0, made: 0, kept: false });

/// A new directory with a fresh cluster in it, copied from one that initdb made for all.
fn new_dir(megabytes: Option<u32>) -> PathBuf {
    let mut dirs = DIRS.lock().unwrap_or_else(|e| e.into_inner());
    let template = base_dir().join("template");
    if !template.exists() {
        std::fs::create_dir_all(base_dir()).unwrap();
        std::fs::set_permissions(base_dir(), PermissionsExt::from_mode(0o755)).unwrap();
        init_cluster(&template);
    }
    dirs.in_use += 1;
    dirs.made += 1;
    let dir = base_dir().join(format!("s{}", dirs.made));
    std::fs::create_dir_all(&dir).unwrap();
    if let Some(megabytes) = megabytes {
        mount(&dir, megabytes);
    }
    make_server_dir(&dir, 0o755);
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(dir.join("data")));
    dir
}

fn init_cluster(data: &Path) {
    make_server_dir(data, 0o700);
    run(as_server_user(Command::new(bindir().join("initdb")).arg("-D").arg(data)).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]));
}

/// The last one out takes the template along.
fn release_dir(dir: &Path, keep: bool) {
    let mut dirs = DIRS.lock().unwrap_or_else(|e| e.into_inner());
    dirs.in_use -= 1;
    dirs.kept |= keep;
    if !keep {
        let _ = std::fs::remove_dir_all(dir);
    }
    if dirs.in_use == 0 {
        let _ = std::fs::remove_dir_all(if dirs.kept { base_dir().join("template") } else { base_dir() });
    }
}

fn bindir() -> PathBuf {
    let pg_config = std::env::var("PG_CONFIG").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin/pg_config".into());
    let output = Command::new(&pg_config).arg("--bindir").output().unwrap_or_else(|e| panic!("{pg_config}: {e}"));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn base_dir() -> PathBuf {
    PathBuf::from(format!("/tmp/mr-e2e-{}", std::process::id()))
}

fn make_server_dir(dir: &Path, mode: u32) {
    std::fs::create_dir_all(dir).unwrap();
    if let Some((uid, gid)) = server_user() {
        chown(dir, Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
}

/// Postgres refuses to run as root: then it runs as OS user postgres.
fn server_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        let id = |args: &[&str]| -> u32 {
            let output = Command::new("id").args(args).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("id {args:?} failed"))
        };
        (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
    })
}

fn as_server_user(command: &mut Command) -> &mut Command {
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
