//! Azurite, which speaks the Blob protocol of Azure storage, for tests that want a lake that is not a disk.
//!
//! Each has a port and data of its own. It ends with the value that stands for it, and also when the tests die: serve.mjs watches
//! its standard input. `make test` installs it (`MILLRACE_AZURITE` names another place); where it is missing, tests fail.

// Each of the test programs that share this file uses a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Azurite {
    data: tempfile::TempDir,
    secured: bool,
    child: Option<Child>,
    answer: serde_json::Value,
}

impl Azurite {
    /// Started, with these containers.
    pub fn start(containers: &[&str]) -> Azurite {
        Azurite::begin(containers, false)
    }

    /// The same over HTTPS, with a certificate that nobody knows yet, and a token endpoint beside it.
    pub fn start_secured(containers: &[&str]) -> Azurite {
        Azurite::begin(containers, true)
    }

    fn begin(containers: &[&str], secured: bool) -> Azurite {
        let data = tempfile::tempdir().unwrap();
        let mut azurite = Azurite { data, secured, child: None, answer: serde_json::Value::Null };
        if secured {
            azurite.make_certificate();
        }
        azurite.run(containers);
        azurite
    }

    fn make_certificate(&self) {
        // A default configuration would make a certificate of an authority, which no server may show.
        let of_a_server = "[req]\ndistinguished_name = name\nx509_extensions = server\nprompt = no\n[name]\nCN = 127.0.0.1\n\
             [server]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";
        std::fs::write(self.file("cert.conf"), of_a_server).unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config"])
            .arg(self.file("cert.conf"));
        command.arg("-keyout").arg(self.file("key.pem")).arg("-out").arg(self.file("cert.pem"));
        let output = command.output().expect("openssl is there");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// What its certificate reads like.
    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.file("cert.pem")).unwrap()
    }

    /// Ends it; what it holds stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    /// Ends it as a machine does that fails.
    pub fn kill(&mut self) {
        let pid = self.answer["pid"].as_u64().expect("serve.mjs says it");
        let status = Command::new("kill").arg("-9").arg(pid.to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "Azurite is not there to be killed");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Whether what it had answered by then is on its disk.
    pub fn is_saved_since(&self, since: std::time::SystemTime) -> bool {
        ["__azurite_db_blob__.json", "__azurite_db_blob_extent__.json"].iter().all(|name| {
            let modified = std::fs::metadata(self.file(name)).and_then(|meta| meta.modified());
            modified.is_ok_and(|modified| modified > since)
        })
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.stop();
        self.run(&[]);
    }

    fn run(&mut self, containers: &[&str]) {
        let place = installed();
        assert!(place.join("node_modules").is_dir(), "no Azurite in {}; scripts/setup.sh installs it", place.display());
        let mut command = Command::new("node");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("pg_test/azurite/serve.mjs"));
        command.arg(place).arg(self.data.path()).args(containers);
        if let Some(port) = self.answer["port"].as_u64() {
            command.env("PORT", port.to_string());
        }
        if self.secured {
            let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
            command.env("NODE_EXTRA_CA_CERTS", &cert).env("CERT", &cert).env("KEY", &key);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("node does not start ({e}); scripts/setup.sh says what the tests need"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        self.answer = serde_json::from_str(&line).unwrap_or_else(|e| panic!("Azurite does not start: {e}: {line}"));
    }

    /// Something that serve.mjs says of itself.
    pub fn text(&self, name: &str) -> String {
        self.answer[name].as_str().unwrap_or_default().to_owned()
    }

    /// The URL of its account.
    pub fn endpoint(&self) -> String {
        self.text("endpoint")
    }

    pub fn account(&self) -> String {
        self.text("account")
    }

    pub fn key(&self) -> String {
        self.text("key")
    }

    /// A shared access signature for everything.
    pub fn sas(&self) -> String {
        self.text("sas")
    }

    /// One whose time is over.
    pub fn expired_sas(&self) -> String {
        self.text("expired")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        self.stop();
    }
}

fn installed() -> PathBuf {
    if let Some(place) = std::env::var_os("MILLRACE_AZURITE") {
        return place.into();
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| "/tmp".into());
    let caches = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    std::env::var_os("MILLRACE_CACHE").map_or_else(|| caches.join("pg_millrace"), PathBuf::from).join("azurite")
}
