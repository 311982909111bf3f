//! A lake on S3: what a foreign server and a user mapping open there, against a server that speaks its protocol (moto).
//!
//! It looks at no signature, so nothing is said here of wrong keys.

use crate::retail::assert_verified;
use crate::server::{Preload, Server};
use crate::sql::quote;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, ObjectStore, PutMode};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const BUCKET: &str = "lake";

struct Moto {
    child: Child,
    endpoint: String,
}

impl Moto {
    fn start() -> Moto {
        let python = std::env::var("MILLRACE_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut child = Command::new(&python)
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/pg_test/e2e/s3_server.py"), BUCKET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{python} does not start: {e}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap_or_else(|_| {
            panic!("moto does not start in {python}; scripts/setup.sh installs it, MILLRACE_PYTHON says where")
        });
        Moto { child, endpoint: format!("http://127.0.0.1:{port}") }
    }

    fn store(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&self.endpoint)
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .with_allow_http(true)
            .build()
            .unwrap()
    }

    fn put(&self, name: &str, content: &'static [u8], mode: PutMode) -> Result<(), Error> {
        let put = async { self.store().put_opts(&Path::from(name), content.into(), mode.into()).await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put).map(|_| ())
    }

    fn land(&self, name: &str, content: &'static [u8]) {
        self.put(name, content, PutMode::Overwrite).unwrap();
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn files_of_a_bucket_are_listed_landed_in_a_raw_layer_and_loaded_each_once() {
    let moto = Moto::start();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("s3_bucket");
    let place = format!("s3://{BUCKET}/shop");
    session.execute(&format!(
        "CREATE SCHEMA staging;
         CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location '{place}', endpoint {}, region 'us-east-1', allow_http 'true');
         CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (access_key_id 'test', secret_access_key 'SECRET-OF-S3')",
        quote(&moto.endpoint)
    ));
    moto.land("shop/in/1.csv", b"id,note\n1,one\n2,two\n");
    moto.land("shop/in/2.csv", b"note,id\nthree,3\n");
    moto.land("other/3.csv", b"id,note\n9,not ours\n");
    assert_eq!(session.number(&format!("SELECT count(*) FROM millrace.list('{place}/in/')")), 2);
    session.execute(&format!(
        "SELECT millrace.create_pipeline('p', source => '{place}/in/*.csv', columns => 'id int, note text', staging => 'staging.p',
            raw => '{place}/raw', semi_processed => '{place}/clean', every => NULL)"
    ));
    let rows = "SELECT string_agg(id || note, ' ' ORDER BY id) FROM staging.p";
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.value(rows), "1one 2two 3three");
    let version = "SELECT raw_version FROM millrace.pipelines WHERE pipeline = 'p'";
    let first = session.number(version);
    moto.land("shop/in/4.csv", b"id,note\n4,four\n");
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.value(rows), "1one 2two 3three 4four");
    assert!(session.number(version) > first);
    session.execute("CALL millrace.run('p')");
    assert_eq!(session.number("SELECT count(*) FROM staging.p"), 4);
    assert_verified(&mut session, "p");
    assert!(session.raises("SELECT count(*) FROM millrace.list('s3://none/in/')", "42704").hint().is_some());
    assert!(!server.log().lines().any(|line| line.contains("pg_millrace:") && line.contains("SECRET-OF-S3")));

    // Versions of a layer are safe from each other where a file can't be made twice, as this server has it.
    let commit = "shop/raw/_delta_log/00000000000000000001.json";
    let twice = moto.put(commit, b"{}", PutMode::Create);
    assert!(matches!(twice, Err(Error::AlreadyExists { .. })), "{twice:?}");
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let moto = Moto::start();
    let server = Server::shared(Preload::No);
    let mut session = server.create_database("s3_missing");
    session.execute(&format!(
        "CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location 's3://missing', endpoint {});
         CREATE USER MAPPING FOR PUBLIC SERVER lake OPTIONS (access_key_id 'test', secret_access_key 'test')",
        quote(&moto.endpoint)
    ));
    let error = session.raises("SELECT count(*) FROM millrace.list('s3://missing/in/')", "58P01");
    assert!(error.hint().unwrap().contains("no such container or bucket"), "{error:?}");
}
