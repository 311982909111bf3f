//! Where the measurements happen: a database of their own on the server, and a directory for what they read and write.

use std::path::PathBuf;
use std::process::Command;

use postgres::{Client, NoTls};

pub struct Place {
    pub client: Client,
    pub uri: String,
    pub dir: PathBuf,
    pub files: usize,
    pub runs: usize,
}

pub const ROWS_PER_FILE: usize = 10_000;
const DATABASE: &str = "millrace_bench";

impl Place {
    pub fn open() -> Place {
        let uri = std::env::var("BENCH_URI").expect("BENCH_URI is set by scripts/bench.sh");
        let dir = PathBuf::from(std::env::var("BENCH_DIR").expect("BENCH_DIR is set by scripts/bench.sh"));
        let number = |name: &str, default| std::env::var(name).ok().map_or(default, |v| v.parse().expect(name));
        let mut admin = Client::connect(&uri, NoTls).expect("the server answers");
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
            .and_then(|()| admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")))
            .expect("a database of our own");
        let own = uri.rsplit_once('/').map_or(uri.clone(), |(server, _)| format!("{server}/{DATABASE}"));
        let mut client = Client::connect(&own, NoTls).expect("the new database answers");
        client.batch_execute("CREATE EXTENSION pg_millrace; CREATE SCHEMA staging").expect("the extension");
        Place { client, uri: own, dir, files: number("BENCH_FILES", 60), runs: number("BENCH_RUNS", 5) }
    }

    pub fn rows(&self) -> usize {
        self.files * ROWS_PER_FILE
    }

    pub fn execute(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
    }

    /// The first field of the only row, as text.
    pub fn value(&mut self, sql: &str) -> String {
        let rows = self.client.simple_query(sql).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
        let first = rows.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        first.unwrap_or_default()
    }

    /// An empty directory that the server's user owns.
    pub fn fresh_dir(&self, name: &str) -> String {
        let dir = self.dir.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        if let Ok(owner) = std::env::var("BENCH_OWNER") {
            let done = Command::new("chown").arg(owner).arg(&dir).status().expect("chown runs");
            assert!(done.success(), "{} can't be given to the server's user", dir.display());
        }
        self.url(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file://{}", self.dir.join(name).display())
    }

    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.dir.join(name))
            .expect("the directory was made")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .collect();
        paths.sort();
        paths
    }
}
